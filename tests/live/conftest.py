"""What the tests on the real kernel need, set up and removed; or a skip that says why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from live.machine import machine_alone
from pgste.live import Refused
from pgste.live.check import flags_allowed
from pgste.live.pressure import MemoryLimit, SwapFile, swap_bytes
from pgste.live.tracefs import Instance, TraceFs, mounted_at


@pytest.fixture
def machine() -> Iterator[None]:
    """This machine's swap for one test, whatever other runs of the tests there are."""
    with machine_alone():
        yield


@pytest.fixture
def swap_file(machine: None, tmp_path: Path) -> Iterator[SwapFile]:
    """A swap file of 64 MiB; afterwards it is gone."""
    try:
        swap = SwapFile(64 << 20, tmp_path).__enter__()
    except Refused as refused:
        pytest.skip(f"no swap file here: {refused}")
    try:
        yield swap
    finally:
        swap.off()
    # how much of other swaps is used is not the test's business
    assert str(tmp_path) not in Path("/proc/swaps").read_text()


@pytest.fixture
def no_swap(machine: None) -> None:
    """A machine without swap."""
    if swap_bytes()[0]:
        pytest.skip("this machine has swap of its own on")


@pytest.fixture
def flags() -> None:
    """The right to read /proc/kpageflags."""
    if not flags_allowed():
        pytest.skip("/proc/kpageflags needs root")


@pytest.fixture
def memory_limit() -> Iterator[Callable[[int], MemoryLimit]]:
    """Memory cgroups by limit in bytes, removed at the end."""
    made: list[MemoryLimit] = []

    def make(limit_bytes: int) -> MemoryLimit:
        limit = MemoryLimit(limit_bytes)
        try:
            made.append(limit.__enter__())
        except Refused as refused:
            pytest.skip(f"no memory cgroup here: {refused}")
        return limit

    try:
        yield make
    finally:
        for limit in made:
            limit.remove()


def instances(root: Path, pid: int) -> list[str]:
    """Tracing instances of a process; others may be recording too."""
    return [path.name for path in (root / "instances").glob(f"pgste-{pid}-*")]


@pytest.fixture
def tracing() -> Iterator[Path]:
    """tracefs; afterwards it is mounted or not as before, and no instance of ours is left."""
    before = mounted_at()
    mount = TraceFs()
    try:
        root = mount.__enter__()
        with Instance(root):
            pass
    except Refused as refused:
        mount.__exit__(None, None, None)
        pytest.skip(f"no tracing here: {refused}")
    try:
        yield root
        assert not instances(root, os.getpid())
    finally:
        mount.__exit__(None, None, None)
    assert mounted_at() == before
    assert before is not None or not root.exists(), "mounted for this test, and there still"

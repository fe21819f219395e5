"""Swap files and memory cgroups come, work, and go."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pgste.errors import ArgumentError
from pgste.live import Memory, Refused
from pgste.live.counters import Counters
from pgste.live.pressure import Hierarchy, MemoryLimit, SwapFile, find_hierarchy, swap_bytes

pytestmark = pytest.mark.usefixtures("machine")

MIB = 1 << 20


def swaps() -> set[str]:
    return {line.split()[0] for line in Path("/proc/swaps").read_text().splitlines()[1:]}


def test_swap_file_is_on_inside_and_gone_after(tmp_path: Path) -> None:
    before = swaps(), swap_bytes()[0]
    try:
        with SwapFile(8 * MIB, tmp_path) as swap:
            assert str(swap.path) in Path("/proc/swaps").read_text()
            # A page of the file is its header.
            assert swap_bytes()[0] == before[1] + 8 * MIB - os.sysconf("SC_PAGE_SIZE")
            assert swap.path is not None
            assert swap.path.stat().st_mode & 0o777 == 0o600
    except Refused as refused:
        pytest.skip(f"no swap file here: {refused}")
    assert (swaps(), swap_bytes()[0]) == before
    assert not list(tmp_path.iterdir())


def test_swap_file_goes_on_an_error_too(tmp_path: Path, swap_file: SwapFile) -> None:
    swap = SwapFile(8 * MIB, tmp_path / "..")

    def fail() -> None:
        with swap:
            paths.append(swap.path)
            raise ZeroDivisionError

    paths: list[Path | None] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    path = paths[0]
    assert path is not None
    assert not path.exists()
    assert str(path) not in Path("/proc/swaps").read_text()


def test_swap_on_memory_is_refused_and_leaves_no_file() -> None:
    shm = Path("/dev/shm")
    if os.geteuid() != 0 or not shm.is_dir():
        pytest.skip("needs root and a tmpfs at /dev/shm")
    with pytest.raises(Refused) as caught, SwapFile(MIB, shm):
        pass
    assert caught.value.errno == errno.EINVAL
    assert "/dev/shm cannot hold a swap file" in str(caught.value)
    assert not list(shm.glob("pgste-swap-*"))


def test_swap_file_too_small() -> None:
    with pytest.raises(ArgumentError, match="size_bytes"):
        SwapFile(4096)


def test_limit_pushes_pages_out(
    memory_limit: Callable[[int], MemoryLimit], swap_file: SwapFile
) -> None:
    limit = memory_limit(24 * MIB)
    with Memory(8192, "none") as memory:
        limit.enter()
        counters = Counters(limit)
        memory.write(slice(None), 1)
        assert limit.usage() <= 24 * MIB
        count = memory.count()
        assert count.present * 4096 <= 24 * MIB
        assert count.swapped >= 8192 - 24 * 256
        assert counters.since()["swap_outs"] >= count.swapped
        assert limit.oom_kills() == 0
        assert (memory.read(slice(None)) == 1).all()


def test_limit_discards_lazyfree_pages_instead(
    memory_limit: Callable[[int], MemoryLimit], swap_file: SwapFile
) -> None:
    limit = memory_limit(24 * MIB)
    with Memory(16384) as memory:
        limit.enter()
        for first in range(0, 16384, 1024):
            memory.write(range(first, first + 1024), 1)
            memory.free(range(first, first + 1024))
        count = memory.count()
        assert count.none > 8192
        assert count.none + count.present > 16000, "hardly anything went to swap"


def test_limit_goes_and_everybody_is_home(memory_limit: Callable[[int], MemoryLimit]) -> None:
    home = Path("/proc/self/cgroup").read_text()
    limit = memory_limit(64 * MIB)
    directory = limit.directory
    assert directory is not None
    assert directory.is_dir()
    limit.enter()
    assert Path("/proc/self/cgroup").read_text() != home
    limit.remove()
    limit.remove()
    assert not directory.exists()
    assert Path("/proc/self/cgroup").read_text() == home


def test_limit_below_a_mebibyte() -> None:
    with pytest.raises(ArgumentError, match="limit_bytes"):
        MemoryLimit(1000)


def test_limit_without_a_directory_to_make_it_in(tmp_path: Path) -> None:
    nowhere = Hierarchy(2, tmp_path, "/not/there")
    with pytest.raises(Refused, match="mkdir"), MemoryLimit(MIB, nowhere):
        pass


def test_version_2_without_the_controller(tmp_path: Path) -> None:
    """A group that gets no memory.max says so, and the directory made for it is gone."""
    (tmp_path / "cgroup.subtree_control").write_text("")
    (tmp_path / "cgroup.procs").write_text("")
    limit = MemoryLimit(MIB, Hierarchy(2, tmp_path, "/"))
    original = Path.mkdir

    def mkdir(self: Path) -> None:
        original(self)
        (self / "cgroup.procs").write_text("")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        patch.setattr(Path, "rmdir", shutil.rmtree)  # cgroupfs lets a group with files go
        with pytest.raises(Refused, match="no memory controller"), limit:
            pass
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cgroup.procs",
        "cgroup.subtree_control",
    ]


# Lines as proc(5) and cgroups(7) describe them.
V1 = "31 23 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"
V2 = "30 23 0:26 / {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def test_hierarchy_of_version_1() -> None:
    found = find_hierarchy(V1, "4:memory:/a/b\n0::/c\n")
    assert found == Hierarchy(1, Path("/sys/fs/cgroup/memory"), "/a/b")
    assert found.directory == Path("/sys/fs/cgroup/memory/a/b")


def test_hierarchy_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user/cgroup.controllers").write_text("cpu memory pids\n")
    found = find_hierarchy(V2.format(mount=tmp_path), "0::/user\n")
    assert found == Hierarchy(2, tmp_path, "/user")


def test_hybrid_has_the_controller_in_version_1(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    mounts = V2.format(mount=tmp_path) + "\n" + V1
    assert find_hierarchy(mounts, "4:memory:/\n0::/\n") == Hierarchy(
        1, Path("/sys/fs/cgroup/memory"), "/"
    )


def test_container_sees_its_group_at_the_mount() -> None:
    mount = V1.replace(" / /sys", " /docker/17 /sys")
    found = find_hierarchy(mount, "4:memory:/docker/17/x\n")
    assert found == Hierarchy(1, Path("/sys/fs/cgroup/memory"), "/x")


def test_no_controller() -> None:
    assert find_hierarchy("22 1 8:1 / / rw - ext4 /dev/root rw", "0::/\n") is None

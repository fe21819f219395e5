# SPDX-License-Identifier: MIT
"""Trace files: opening each format, plain and compressed, and passes over one that was opened."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import limits, ringpages, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste.traces import Trace


def write(path: Path, style: str, trace: Trace) -> None:
    """A trace as a file of a format."""
    if style == "pgt":
        trace.save(path)
    elif style == "trace.dat":
        path.write_bytes(ringpages.trace_dat(ringpages.two_cpus(trace.events, trace.time)))
    else:
        path.write_bytes(workloads.trace_text(trace, style, len(trace)))


def bytes_of(path: Path) -> Any:
    """A file's bytes in memory, as an array."""
    return np.fromfile(path, np.uint8)


@pytest.mark.parametrize("style", ["ftrace", "trace-cmd", "perf", "trace.dat", "pgt"])
def bench_open(measure: Measure, style: str, short: bool, tmp_path: Path) -> None:
    """`Trace.open`; "pgt", the format of `Trace.save`, has its checksums checked."""
    nr = 100_000 if short else 1_000_000
    trace = workloads.sample_repeated(nr, distinct_times=style == "trace.dat")
    path = tmp_path / "trace"
    write(path, style, trace)
    data = bytes_of(path)
    bare = limits.load()
    against = {
        "reading the file": Limit(path.read_bytes, nr),
        "plain read": Limit(lambda: bare.read(data), nr),
    }
    if style == "pgt":
        against["zlib's checksum"] = Limit(lambda: zlib.crc32(data), nr)

    def check(opened: Trace) -> None:
        assert opened == trace

    measure(
        Plan(
            lambda: Trace.open(path),
            items=nr,
            unit="event",
            bytes=path.stat().st_size,
            check=check,
            limits=against,
        )
    )


def packers() -> dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]:
    """By name: packs and unpacks, those that this Python has."""
    found: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
        "xz": (lambda data: lzma.compress(data, preset=1), lzma.decompress),
        "gz": (lambda data: gzip.compress(data, 6), gzip.decompress),
        "bz2": (bz2.compress, bz2.decompress),
    }
    try:
        zstd: Any = import_module("compression.zstd")
    except ImportError:
        return found
    return {**found, "zstd": (zstd.compress, zstd.decompress)}


@pytest.mark.parametrize("style", ["ftrace", "pgt"])
@pytest.mark.parametrize("packer", ["xz", "gz", "bz2", "zstd"])
def bench_open_packed(
    measure: Measure, packer: str, style: str, short: bool, tmp_path: Path
) -> None:
    """`Trace.open` of a compressed file: against unpacking alone, in memory."""
    if packer not in packers():
        pytest.skip(f"this Python has no {packer}")
    nr = 20_000 if short else 100_000
    trace = workloads.sample_repeated(nr)
    path = tmp_path / "trace"
    write(path, style, trace)
    pack, unpack = packers()[packer]
    plain = path.read_bytes()
    packed = pack(plain)
    path.write_bytes(packed)

    def check(opened: Trace) -> None:
        assert opened == trace
        assert opened.compression == packer

    measure(
        Plan(
            lambda: Trace.open(path),
            items=nr,
            unit="event",
            bytes=len(plain),
            check=check,
            limits={"unpacking": Limit(lambda: unpack(packed), nr)},
            facts={"packed_bytes": len(packed)},
            rounds=5,
        )
    )


@pytest.mark.parametrize("what", ["summary", "columns"])
def bench_pass(measure: Measure, what: str, short: bool, tmp_path: Path) -> None:
    """Passes over the events of a .pgt: what is in it, and kind, order and pfn as arrays."""
    nr = 100_000 if short else 1_000_000
    trace = workloads.sample_repeated(nr)
    path = tmp_path / "trace"
    trace.save(path)
    expected = trace.summary()
    opened: list[Trace] = []
    bare = limits.load()

    def prepare() -> None:
        opened[:] = [Trace.open(path)]  # a trace keeps its columns

    def columns() -> tuple[np.ndarray, ...]:
        return opened[0].kind, opened[0].order, opened[0].pfn

    def check(answer: Any) -> None:
        if what == "summary":
            assert answer == expected
        else:
            kind, order, pfn = answer
            words = pfn << np.uint64(8) | order.astype(np.uint64) << np.uint64(2) | kind
            assert np.array_equal(words, trace.events)

    def read() -> object:
        return bare.read(opened[0].events.view(np.uint8))

    measure(
        Plan(
            (lambda: opened[0].summary()) if what == "summary" else columns,
            items=nr,
            unit="event",
            bytes=8 * nr,
            prepare=prepare,
            check=check,
            limits={"plain read": Limit(read, nr, prepare)},
        )
    )

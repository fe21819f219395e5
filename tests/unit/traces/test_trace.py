"""Trace: recorded files against the figures that came with them, arrays, damage of files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgste.errors import TraceError
from pgste.traces import Trace, sample_trace

TRACES = Path(__file__).parents[2] / "golden" / "traces"
FIGURES: dict[str, dict[str, Any]] = json.loads((TRACES / "figures.json").read_text())
SMALL = sorted(name for name in FIGURES if name.startswith("small."))
LARGE = sorted(set(FIGURES) - set(SMALL))
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}


def check_figures(trace: Trace, figures: dict[str, Any]) -> None:
    got = {**trace.counters, **trace.summary()}
    if trace.format == "trace-cmd":
        got["comments"] -= 1  # its first line, cpus=2, which the figures do not take for one
    for name, expected in figures.items():
        if name == "seconds":
            assert got[name] == pytest.approx(expected, abs=0.005)
        elif name.endswith("_orders"):
            assert got[name] == {int(order): count for order, count in expected.items()}
        else:
            assert got[name] == expected, name
    assert got["events"] == len(trace) == got["alloc_events"] + got["free_events"]


@pytest.mark.parametrize("name", SMALL)
def test_small(name: str) -> None:
    check_figures(Trace.open(TRACES / name), FIGURES[name])


@pytest.mark.parametrize("name", LARGE)
def test_large(name: str) -> None:
    folder = os.environ.get("PGSTE_TRACES")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"PGSTE_TRACES names no folder with {name}")
    check_figures(Trace.open(Path(folder) / name), FIGURES[name])


def test_sample() -> None:
    """The sample is the whole of a recording whose figures are known."""
    trace = sample_trace()
    check_figures(trace, FIGURES["mixed.ftrace.txt.xz"])
    assert trace.compression == "xz"
    assert trace.format == "ftrace"


def test_arrays() -> None:
    trace = Trace.from_arrays([0, 1], [5, 2**56 - 1], [3, 0], [7, 7])
    dtypes = [str(array.dtype) for array in (trace.kind, trace.pfn, trace.order, trace.time)]
    assert dtypes == ["uint8", "uint64", "uint8", "uint64"]
    assert trace.kind.tolist() == [0, 1]
    assert trace.pfn.tolist() == [5, 2**56 - 1]
    assert trace.order.tolist() == [3, 0]
    assert trace.time.tolist() == [7, 7]
    assert trace.events.tolist() == [5 << 8 | 3 << 2, (2**56 - 1) << 8 | 1]
    for array in (trace.kind, trace.pfn, trace.order, trace.time, trace.events):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert trace == Trace(trace.events, trace.time)
    assert trace != Trace.from_arrays([0, 1], [5, 2**56 - 1], [3, 0], [7, 8])
    assert trace != "trace"
    assert Trace.from_arrays([0, 1, 0], [1, 1, 1], [0, 0, 0]).time.tolist() == [0, 1, 2]
    assert len(Trace.from_arrays([], [], [])) == 0
    assert Trace.from_arrays([], [], []).summary()["peak_live"] == 0
    assert pickle.loads(pickle.dumps(trace)) == trace
    with pytest.raises(TypeError):
        hash(trace)


def test_arrays_are_copied() -> None:
    pfn = np.array([1, 2], np.uint64)
    trace = Trace.from_arrays([0, 1], pfn, [0, 0])
    pfn[0] = 9
    assert trace.pfn.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">u8"])
def test_dtypes(dtype: str) -> None:
    columns = [np.array(values, dtype) for values in ([0, 1], [8, 120], [3, 2], [5, 6])]
    trace = Trace.from_arrays(*columns)
    assert trace.pfn.tolist() == [8, 120]
    assert trace.order.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (([2], [0], [0]), ValueError, "kind: 2 at position 0"),
        (([0, -1], [0, 0], [0, 0]), ValueError, "kind: -1 at position 1"),
        (([0], [-1], [0]), ValueError, "pfn: -1"),
        (([0], [2**56], [0]), ValueError, f"pfn: {2**56} at position 0"),
        (([0], [2**56 - 1], [1]), ValueError, f"pfn: {2**56 - 1} at position 0: its block"),
        (([0], [2**64], [0]), ValueError, f"pfn: {2**64} at position 0"),
        (([0], [0], [40]), ValueError, "order: 40"),
        (([0], [0], [-1]), ValueError, "order: -1"),
        (([0], [0.0], [0]), TypeError, "pfn: dtype float64"),
        (([0], [0], [True]), TypeError, "order: dtype bool"),
        (([0], ["1"], [0]), TypeError, "pfn: dtype"),
        (([0], [[1]], [0]), TypeError, "pfn: 2 dimensions"),
        (([0], 1, [0]), TypeError, "pfn: 0 dimensions"),
        (([0, 1], [1], [0, 0]), ValueError, "pfn: 1 values for 2"),
        (([0, 1], [1, 1], [0]), ValueError, "order: 1 values for 2"),
        (([0, 1], [1, 1], [0, 0], [1]), ValueError, "time: 1 values for 2"),
        (([0, 1, 1], [1, 1, 1], [0, 0, 0], [1, 3, 2]), ValueError, "time: 2 at position 2"),
        (([0], [1], [0], [-1]), ValueError, "time: -1"),
        (([0], [1], [0], [0.5]), TypeError, "time: dtype"),
    ],
)
def test_bad_arrays(arrays: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Trace.from_arrays(*arrays)


def test_bad_events() -> None:
    for word, message in ((2, "kind: 2"), (40 << 2, "order: 40"), ((2**56 - 1) << 8 | 4, "pfn:")):
        with pytest.raises(ValueError, match=message):
            Trace(np.array([1, word], np.uint64), np.zeros(2, np.uint64))


def test_slices() -> None:
    trace = Trace.open(TRACES / "cut.ftrace.txt")
    part = trace[10:20]
    assert len(part) == 10
    assert part.pfn.tolist() == trace.pfn.tolist()[10:20]
    assert part.time.tolist() == trace.time.tolist()[10:20]
    assert trace[:] == trace
    assert len(trace[5:5]) == 0
    assert len(trace[-3:]) == 3
    with pytest.raises(ValueError, match="step: 2"):
        trace[::2]
    with pytest.raises(TypeError, match="slices, not 3"):
        trace[3]  # type: ignore[index]


def test_repr() -> None:
    trace = Trace.from_arrays([0, 1], [1, 1], [0, 0], [0, 1500000000])
    assert repr(trace) == "<Trace: 2 events, 1.5 s, arrays>"


@pytest.mark.parametrize("name", ["cut.ftrace.txt", "small.trace.dat"])
@pytest.mark.parametrize("compression", PACK)
def test_compressed(tmp_path: Path, name: str, compression: str) -> None:
    """A file's name says nothing; its content does."""
    plain = Trace.open(TRACES / name)
    packed = tmp_path / "trace.of-some-kind"
    packed.write_bytes(PACK[compression]((TRACES / name).read_bytes()))
    trace = Trace.open(packed)
    assert trace == plain
    assert (trace.compression, plain.compression) == (compression, None)
    assert trace.format == plain.format
    assert trace.counters == plain.counters


@pytest.mark.parametrize("compression", PACK)
def test_compressed_and_damaged(tmp_path: Path, compression: str) -> None:
    data = PACK[compression]((TRACES / "cut.ftrace.txt").read_bytes())
    path = tmp_path / "trace"
    for size in range(len(data) // 7, len(data), len(data) // 7):
        path.write_bytes(data[:size])
        with pytest.raises(TraceError, match=f"{compression}: damaged or cut off") as caught:
            Trace.open(path)
        assert caught.value.path == str(path)
        assert caught.value.offset is not None
        assert 0 < caught.value.offset <= size
    changed = bytearray(data)
    changed[len(data) // 2] ^= 0x55
    path.write_bytes(changed)
    with pytest.raises(TraceError):
        Trace.open(path)


def test_damaged_line_in_a_large_file(tmp_path: Path) -> None:
    """The number of the line counts over the pieces in which a file is read."""
    lines = lzma.decompress((TRACES / "small.trace-cmd.txt.xz").read_bytes()).splitlines(True)
    lines[31000] = lines[31000].replace(b"pfn=0x", b"pfn=0y")
    path = tmp_path / "trace"
    path.write_bytes(b"".join(lines))
    assert path.stat().st_size > 1 << 22
    with pytest.raises(TraceError, match=r"trace, line 31001: pfn is not a number") as caught:
        Trace.open(path)
    assert (caught.value.path, caught.value.line) == (str(path), 31001)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: the file is empty"),
        (lzma.compress(b""), "byte 0: the file is empty"),
        (b"\0" * 100, "line 1: "),
        (b"hello\nworld\n", "line 1: neither ftrace, perf script nor trace-cmd"),
        (b"#!/bin/sh\n\n", "holds no line of"),
        (b"PERFILE2" + bytes(100), "perf script first"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
        (b"\x17\x08\x44tracing5\0" + bytes(20), "version '5'"),
    ],
)
def test_no_trace(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        Trace.open(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_header_without_events(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("# tracer: nop\n#\n")
    assert len(Trace.open(path)) == 0


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Trace.open(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        Trace.open(tmp_path)
    with pytest.raises(TypeError):
        Trace.open(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cut.ftrace.txt", "small.trace.dat", "small.trace-cmd.txt.xz"])
def test_progress(name: str) -> None:
    calls: list[tuple[int, int]] = []
    Trace.open(TRACES / name, lambda done, total: calls.append((done, total)))
    size = (TRACES / name).stat().st_size
    assert {total for _, total in calls} == {size}
    done = [done for done, _ in calls]
    assert done == sorted(done)
    assert done[-1] == size


def test_error_pickles() -> None:
    error = TraceError("damaged", path="a", line=3)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.line, copy.offset) == ("a, line 3: damaged", "a", 3, None)

"""The .pgt format: round trips, the layout as docs/trace-format.md has it, every damage."""

from __future__ import annotations

import json
import lzma
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from pgste.errors import TraceError
from pgste.traces import Trace

TRACES = Path(__file__).parents[2] / "golden" / "traces"
MIB = 1 << 20


def some_trace(nr: int = 5) -> Trace:
    pfn = np.arange(nr, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(10)
    kind = np.arange(nr) % 2
    return Trace.from_arrays(kind, pfn, np.arange(nr) % 10, np.arange(nr) * 1000)


def assemble(events: list[int], times: list[int], text: bytes = b"{}") -> bytes:
    """A file put together from the description of the format alone."""

    def pad(data: bytes) -> bytes:
        return data + bytes(-len(data) % 64)

    parts = [struct.pack(f"<{len(words)}Q", *words) for words in (events, times)]
    at_times = 128 + len(pad(parts[0]))
    at_text = at_times + len(pad(parts[1]))
    body = pad(parts[0]) + pad(parts[1]) + pad(text)
    at_sums = 128 + len(body)
    blocks = [body[start : start + MIB] for start in range(0, len(body), MIB)]
    sums = b"".join(struct.pack("<I", zlib.crc32(block)) for block in blocks)
    offsets = (at_sums + len(sums), len(events), 128, at_times, at_text, len(text), at_sums, MIB)
    header = b"\x89PGT\r\n\x1a\n" + struct.pack("<II8Q40xI", 1, 128, *offsets, zlib.crc32(sums))
    return header + struct.pack("<I", zlib.crc32(header)) + body + sums


@pytest.mark.parametrize("nr", [0, 1, 8, 9, 131072, 131073, 300000])
def test_round_trip(tmp_path: Path, nr: int) -> None:
    """Sizes around those where parts end on 64 bytes and blocks on 1 MiB."""
    trace = some_trace(nr)
    path = tmp_path / "a.pgt"
    trace.save(path)
    back = Trace.open(path)
    assert back == trace
    assert (back.format, back.path) == ("arrays", str(path))
    text = json.dumps({"counters": {}, "format": "arrays"}).encode()
    assert path.read_bytes() == assemble(trace.events.tolist(), trace.time.tolist(), text)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pgt"]


def test_mapped(tmp_path: Path) -> None:
    """Columns of a plain file are views of the map, aligned to 64 bytes; nothing can write.

    On a big-endian machine they are copies, as the file is little-endian.
    """
    path = tmp_path / "a.pgt"
    some_trace(1000).save(path)
    trace = Trace.open(path)
    for array in (trace.events, trace.time):
        assert not array.flags.owndata
        assert not array.flags.writeable
        if sys.byteorder == "little":
            assert array.ctypes.data % 64 == 0


def test_recorded(tmp_path: Path) -> None:
    trace = Trace.open(TRACES / "small.lost.trace-pipe.txt.xz")
    path = tmp_path / "a.pgt"
    trace.save(path)
    packed = tmp_path / "b"
    packed.write_bytes(lzma.compress(path.read_bytes()))
    for back in (Trace.open(path), Trace.open(packed)):
        assert back == trace
        assert (back.format, back.counters) == (trace.format, trace.counters)


def test_save_over_the_open_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    trace = some_trace(100)
    trace.save(path)
    mapped = Trace.open(path)
    mapped[:10].save(path)
    assert mapped == trace
    assert Trace.open(path) == trace[:10]


def test_nothing_is_written_half(tmp_path: Path) -> None:
    """A folder cannot be replaced by a file: the error leaves no temporary file behind."""
    (tmp_path / "a.pgt").mkdir()
    with pytest.raises(OSError, match=r"a\.pgt"):
        some_trace().save(tmp_path / "a.pgt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pgt"]
    with pytest.raises(FileNotFoundError):
        some_trace().save(tmp_path / "missing" / "a.pgt")


def refused(path: Path, data: bytes) -> TraceError:
    path.write_bytes(data)
    with pytest.raises(TraceError) as caught:
        Trace.open(path)
    assert caught.value.path == str(path)
    return caught.value


def test_every_byte_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    some_trace().save(path)
    data = path.read_bytes()
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1 << i % 8
        error = refused(path, bytes(changed))
        if i < 8:  # no longer a .pgt: taken for text
            assert error.line == 1
        else:
            assert error.offset is not None
            assert error.offset <= i or "checksums" in error.reason


def test_every_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    some_trace().save(path)
    data = path.read_bytes()
    for size in range(8, len(data)):
        error = refused(path, data[:size])
        assert error.offset == size
        assert "cut off" in error.reason
    assert refused(path, data + b"x").offset == len(data)


def test_place_of_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    some_trace(300000).save(path)
    data = bytearray(path.read_bytes())
    data[128 + 3 * MIB + 12345] ^= 1
    error = refused(path, bytes(data))
    assert error.offset == 128 + 3 * MIB
    assert f"byte {128 + 3 * MIB}" in str(error)


@pytest.mark.parametrize(
    ("events", "times", "text", "message"),
    [
        ([2], [0], b"{}", "kind: 2 at position 0"),
        ([40 << 2], [0], b"{}", "order: 40"),
        ([(2**56 - 1) << 8 | 4], [0], b"{}", "above 2"),
        ([0, 0], [5, 4], b"{}", "time: 4 at position 1"),
        ([0], [0], b"{", "not JSON"),
        ([0], [0], b"\xff", "not JSON"),
        ([0], [0], b"[]", "not a JSON object"),
        ([0], [0], b'{"format": 1}', "wrong type"),
        ([0], [0], b'{"counters": {"lines": "x"}}', "wrong type"),
    ],
)
def test_checked_but_wrong(
    tmp_path: Path, events: list[int], times: list[int], text: bytes, message: str
) -> None:
    """Checksums that fit do not make a trace."""
    assert message in refused(tmp_path / "a.pgt", assemble(events, times, text)).reason


def test_other_version(tmp_path: Path) -> None:
    data = bytearray(assemble([0], [0]))
    data[8] = 3
    data[124:128] = struct.pack("<I", zlib.crc32(data[:124]))
    error = refused(tmp_path / "a.pgt", bytes(data))
    assert (error.offset, error.reason) == (8, "version 3 of the format is not known")


def test_offsets_that_lie(tmp_path: Path) -> None:
    for at in range(16, 80, 8):
        data = bytearray(assemble([0], [0]))
        data[at : at + 8] = struct.pack("<Q", 2**63)
        data[124:128] = struct.pack("<I", zlib.crc32(data[:124]))
        assert refused(tmp_path / "a.pgt", bytes(data)).offset in (12, 16)

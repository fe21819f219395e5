"""trace.dat: a recorded file against its report; files of version 6 and packed ones, put together
from the parts of that file by the manual pages trace-cmd.dat.v6(5) and v7(5); damage."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pgste.errors import TraceError
from pgste.traces import Trace
from pgste.traces.dat import merge, ring_layout

TRACES = Path(__file__).parents[2] / "golden" / "traces"
PATH = TRACES / "small.trace.dat"
RECORDED = PATH.read_bytes()
# Offsets in that file, read off a hex dump.
AT_HEADER_INFO, AT_FTRACE, AT_FORMATS = 0x20, 0x1F3, 0x3095


@dataclass(frozen=True)
class Parts:
    header_info: bytes
    ftrace: bytes
    formats: bytes
    pages: list[bytes]


def section(at: int) -> bytes:
    _, flags, _, size = struct.unpack_from("<HHIQ", RECORDED, at)
    assert flags == 0
    return RECORDED[at + 16 : at + 16 + size]


def parts() -> Parts:
    start = RECORDED.index(b"local\0", 0x125000) + 6
    _, nr_cpus = struct.unpack_from("<II", RECORDED, start)
    cpus = [struct.unpack_from("<IQQ", RECORDED, start + 8 + 20 * i) for i in range(nr_cpus)]
    pages = [RECORDED[offset : offset + size] for _, offset, size in cpus]
    return Parts(section(AT_HEADER_INFO), section(AT_FTRACE), section(AT_FORMATS), pages)


def version_6(some: Parts, *, kind: bytes = b"flyrecord\0", option: bytes = b"") -> bytes:
    data = b"\x17\x08\x44tracing6\0\0\x08" + struct.pack("<I", 4096)
    data += some.header_info + some.ftrace + some.formats
    data += struct.pack("<IIQ", 0, 0, 7) + b"1 init\n" + struct.pack("<I", len(some.pages))
    clock = b"[local] global\0"
    data += b"options  \0" + struct.pack("<HI", 4, len(clock)) + clock + option + bytes(2) + kind
    at = -(-(len(data) + 16 * len(some.pages)) // 4096) * 4096
    table, body = b"", b""
    for pages in some.pages:
        table += struct.pack("<QQ", at + len(body), len(pages))
        body += pages
    data += table
    return data + bytes(at - len(data)) + body


def version_7_packed(some: Parts, name: bytes = b"zlib", page_bytes: bool = True) -> bytes:
    """Sections and pages packed by zlib; pages in chunks of 16."""

    data = bytearray(b"\x17\x08\x44tracing7\0\0\x08" + struct.pack("<I", 4096))

    def put(number: int, content: bytes) -> int:
        packed = zlib.compress(content)
        at = len(data)
        data.extend(struct.pack("<HHIQ", number, 1, 0, 8 + len(packed)))
        data.extend(struct.pack("<II", len(packed), len(content)) + packed)
        return at

    data += name + b"\x001.2.13\0"
    at_first = len(data)
    data += bytes(8)
    at_info, at_formats = put(16, some.header_info), put(18, some.formats)
    cpus = b""
    for number, pages in enumerate(some.pages):
        chunks = [pages[start : start + 65536] for start in range(0, len(pages), 65536)]
        packed = [zlib.compress(chunk) for chunk in chunks]
        content = struct.pack("<I", len(chunks)) + b"".join(
            struct.pack("<II", len(small), len(chunk)) + small
            for small, chunk in zip(packed, chunks, strict=True)
        )
        cpus += struct.pack("<IQQ", number, len(data), len(content))
        data += content
    buffer = bytes(8) + b"\0local\0" + (struct.pack("<I", 4096) if page_bytes else b"")
    buffer += struct.pack("<I", len(some.pages)) + cpus
    options = struct.pack("<HIQ", 16, 8, at_info) + struct.pack("<HIQ", 18, 8, at_formats)
    options += struct.pack("<HI", 3, len(buffer)) + buffer + struct.pack("<HIQ", 0, 8, 0)
    at_options = put(0, options)
    data[at_first : at_first + 8] = struct.pack("<Q", at_options)
    return bytes(data)


def open_bytes(folder: Path, data: bytes) -> Trace:
    path = folder / "trace.dat"
    path.write_bytes(data)
    return Trace.open(path)


def test_report() -> None:
    """Same events in the same order as in the report of the file, which rounds to microseconds."""
    trace = Trace.open(PATH)
    report = Trace.open(TRACES / "small.trace-cmd.txt.xz")
    assert trace.events.tolist() == report.events.tolist()
    assert (
        ((trace.time + np.uint64(500)) // np.uint64(1000)) * np.uint64(1000) == report.time
    ).all()
    assert trace.format == "trace.dat"
    assert trace.counters["lost_lines"] == trace.counters["failed"] == 0


def test_version_6(tmp_path: Path) -> None:
    assert open_bytes(tmp_path, version_6(parts())) == Trace.open(PATH)


@pytest.mark.parametrize("page_bytes", [True, False])
def test_packed(tmp_path: Path, page_bytes: bool) -> None:
    assert open_bytes(tmp_path, version_7_packed(parts(), b"zlib", page_bytes)) == Trace.open(PATH)


def test_packed_by_something_else(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="compressed with 'lzo'"):
        open_bytes(tmp_path, version_7_packed(parts(), b"lzo"))


def test_recorded_as_text(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="recorded as text"):
        open_bytes(tmp_path, version_6(parts(), kind=b"latency  \0"))


def test_instance_in_version_6(tmp_path: Path) -> None:
    option = struct.pack("<HIQ", 3, 10, 0) + b"x\0"
    with pytest.raises(TraceError, match="tracing instances"):
        open_bytes(tmp_path, version_6(parts(), option=option))


def test_damaged_page(tmp_path: Path) -> None:
    data = bytearray(RECORDED)
    data[0x5000 + 7 * 4096 + 8 : 0x5000 + 7 * 4096 + 12] = struct.pack("<I", 5000)  # commit
    with pytest.raises(TraceError, match="damaged ring-buffer page") as caught:
        open_bytes(tmp_path, bytes(data))
    assert caught.value.offset == 0x5000 + 7 * 4096 + 8


@pytest.mark.parametrize(
    "size", [10, 11, 20, 40, 0x100, 0x3100, 0x4935, 0x5001, 0x100000, 0x125010]
)
def test_cut(tmp_path: Path, size: int) -> None:
    with pytest.raises(TraceError) as caught:
        open_bytes(tmp_path, RECORDED[:size])
    assert caught.value.offset is not None
    assert caught.value.offset <= size


def test_changed_bytes(tmp_path: Path) -> None:
    """Any change to what holds the pages together: a trace or a TraceError, nothing else."""
    some = parts()
    small = Parts(some.header_info, some.ftrace, some.formats, [p[:8192] for p in some.pages])
    choose = random.Random(20240501)
    refused = 0
    for data in (
        version_6(small),
        version_7_packed(small),
        RECORDED[:0x7000] + RECORDED[0x125000:],
    ):
        pages_at = data.find(small.pages[0][:64])
        places = [i for i in range(len(data)) if pages_at < 0 or i < pages_at]
        for i in [*range(11, 90), *choose.sample(places, 400)]:
            changed = bytearray(data)
            changed[i] = choose.choice(
                [0, 1, 0x7F, 0x80, 0xFF, changed[i] ^ 1 << choose.randrange(8)]
            )
            try:
                open_bytes(tmp_path, bytes(changed))
            except TraceError:
                refused += 1
    assert refused > 100


def test_merge() -> None:
    def words(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.array(values, np.uint64)

    streams = [(words(1, 2, 3), words(10, 20, 20)), (words(4, 5, 6, 7), words(5, 10, 9, 20))]
    events, times = merge(streams)
    assert events.tolist() == [4, 1, 5, 6, 2, 3, 7]
    assert times.tolist() == [5, 10, 10, 10, 20, 20, 20]
    assert len(merge([])[0]) == 0


def test_layout_needs_its_fields() -> None:
    page = "field: local_t commit; offset:8; size:8;\nfield: char data; offset:16; size:4080;"
    head = "name: mm_page_free\nID: 7\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\n"
    fields = "\tfield:unsigned long pfn;\toffset:8;\tsize:8;\n"
    fields += "\tfield:unsigned int order;\toffset:16;\tsize:4;\n"
    layout = ring_layout(page, [head + fields, "name: other\nID: 9\n"], big_endian=False)
    assert (layout["id_alloc"], layout["id_free"], layout["page_bytes"]) == (-1, 7, 4096)
    assert (layout["free_pfn_offset"], layout["free_order_offset"]) == (8, 16)
    assert ring_layout(page, [], big_endian=True, page_bytes=65536)["page_bytes"] == 65536
    for bad_page, formats in (
        ("", [head + fields]),
        (page, [head]),
        (page, [(head + fields).replace("ID: 7", "")]),
    ):
        with pytest.raises(TraceError):
            ring_layout(bad_page, formats, big_endian=False)

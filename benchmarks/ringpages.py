# SPDX-License-Identifier: MIT
"""Writes what a kernel and trace-cmd write: pages of the trace ring buffer, and a trace.dat.

Little-endian, 64-bit, pages of 4 KiB; the layout is that of the manual page trace-cmd.dat.v7(5)
and of the tracefs files header_page and events/kmem/*/format.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

PAGE_BYTES = 4096
DATA_OFFSET = 16  # behind the time of the page and the bytes in it
ID_ALLOC, ID_FREE = 653, 655
RUN = 64  # events until the other CPU has its turn

HEADER_PAGE = """\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
"""
_COMMON = """format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;
"""
FORMATS = (
    f"name: mm_page_alloc\nID: {ID_ALLOC}\n{_COMMON}"
    "\tfield:unsigned long gfp_flags;\toffset:24;\tsize:8;\tsigned:0;\n"
    "\tfield:int migratetype;\toffset:32;\tsize:4;\tsigned:1;\n",
    f"name: mm_page_free\nID: {ID_FREE}\n{_COMMON}",
)

# A record: type_len and time delta in one word; then the event's fields, in words of 4 bytes.
_ALLOC = struct.Struct("<IHBBiQI4xQi4x")
_FREE = struct.Struct("<IHBBiQI4x")
_EXTEND = struct.Struct("<II")
_TYPE_EXTEND = 30
_DELTA_BITS = 27
_GFP = 0x140CCA


def ring_pages(events: Words, times: Words) -> bytes:
    """Events of one CPU, as many pages as they take."""
    pages: list[bytes] = []
    start = before = int(times[0]) if times.size else 0
    data: list[bytes] = []
    used = 0
    for word, now in zip(events.tolist(), times.tolist(), strict=True):
        freeing = word & 3
        room = (_FREE if freeing else _ALLOC).size
        delta = now - before
        extend = _EXTEND.size if delta >> _DELTA_BITS else 0
        if used + extend + room > PAGE_BYTES - DATA_OFFSET:
            pages.append(_page(start, data, used))
            data, used, start, delta, extend = [], 0, now, 0, 0
        if extend:
            low = delta & ((1 << _DELTA_BITS) - 1)
            data.append(_EXTEND.pack(_TYPE_EXTEND | low << 5, delta >> _DELTA_BITS))
            delta = 0
        pfn, order = word >> 8, word >> 2 & 63
        head = (room - 4) // 4 | delta << 5
        if freeing:
            data.append(_FREE.pack(head, ID_FREE, 0, 0, 17722, pfn, order))
        else:
            data.append(_ALLOC.pack(head, ID_ALLOC, 0, 0, 17722, pfn, order, _GFP, 1))
        used += extend + room
        before = now
    if data:
        pages.append(_page(start, data, used))
    return b"".join(pages)


def _page(start: int, data: list[bytes], used: int) -> bytes:
    body = struct.pack("<QQ", start, used) + b"".join(data)
    return body + bytes(PAGE_BYTES - len(body))


def two_cpus(events: Words, times: Words) -> list[bytes]:
    """Pages of two CPUs that take turns."""
    of_first = np.arange(events.size) // RUN % 2 == 0
    return [ring_pages(events[own], times[own]) for own in (of_first, ~of_first)]


def trace_dat(cpus: list[bytes]) -> bytes:
    """A trace.dat of version 7, not compressed, of the pages of some CPUs."""
    data = bytearray(b"\x17\x08\x44tracing7\0\0\x08" + struct.pack("<I", PAGE_BYTES))
    data += b"none\0\0"
    at_options = len(data)
    data += bytes(8)

    def section(number: int, content: bytes) -> int:
        at = len(data)
        data.extend(struct.pack("<HHIQ", number, 0, 0, len(content)) + content)
        return at

    info = b"".join(
        name + struct.pack("<Q", len(text)) + text
        for name, text in ((b"header_page\0", HEADER_PAGE.encode()), (b"header_event\0", b""))
    )
    formats = struct.pack("<I", 1) + b"kmem\0" + struct.pack("<I", len(FORMATS))
    for text in FORMATS:
        formats += struct.pack("<Q", len(text)) + text.encode()
    at_info, at_formats = section(16, info), section(18, formats)
    data += bytes(-len(data) % PAGE_BYTES)
    table = b""
    for number, pages in enumerate(cpus):
        table += struct.pack("<IQQ", number, len(data), len(pages))
        data += pages
    buffer = struct.pack("<Q", 0) + b"\0local\0" + struct.pack("<II", PAGE_BYTES, len(cpus)) + table
    options = ((16, struct.pack("<Q", at_info)), (18, struct.pack("<Q", at_formats)), (3, buffer))
    content = b"".join(struct.pack("<HI", number, len(part)) + part for number, part in options)
    content += struct.pack("<HIQ", 0, 8, 0)
    struct.pack_into("<Q", data, at_options, section(0, content))
    return bytes(data)

# SPDX-License-Identifier: MIT
"""Small trace files from their parts, .pgt and trace.dat, whole ones and odd ones.

Written from docs/trace-format.md and the manual pages trace-cmd.dat.v6(5) and v7(5), and not
with the package's own writers, so that what cannot be written can be put together here.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

PGT_MAGIC = b"\x89PGT\r\n\x1a\n"
DAT_MAGIC = b"\x17\x08\x44tracing"
PGT_BLOCK = 1 << 20
_PGT_HEADER = struct.Struct("<8sIIQQQQQQQQQ32sI")

ALLOC, FREE, FREE_BATCHED = 653, 655, 654


def compress(name: str, data: bytes) -> bytes:
    """As xz, gz or bz2; the same bytes each time."""
    if name == "xz":
        return lzma.compress(data, preset=6)
    if name == "gz":
        return gzip.compress(data, mtime=0)
    if name == "bz2":
        return bz2.compress(data)
    raise ValueError(name)


# ---- .pgt -----------------------------------------------------------------------------------


def _align(offset: int) -> int:
    return -(-offset // 64) * 64


def pgt(
    events: Sequence[int],
    times: Sequence[int],
    text: bytes,
    accesses: Sequence[int] = (),
    places: Sequence[int] = (),
) -> bytes:
    """A trace file of this package; ``text`` is its description, JSON or not."""
    columns = [events, times, accesses, places] if accesses else [events, times]
    parts = [struct.pack(f"<{len(words)}Q", *words) for words in columns]
    body = b"".join(part.ljust(_align(len(part)), b"\0") for part in [*parts, text])
    return _pgt_of(len(events), len(accesses), len(text), body)


def _pgt_of(nr_events: int, nr_accesses: int, text_bytes: int, body: bytes) -> bytes:
    """Header, body and checksums that fit together."""
    at_times = _align(128 + 8 * nr_events)
    at_text = _align(at_times + 8 * nr_events) + 2 * _align(8 * nr_accesses)
    end = _align(at_text + text_bytes)
    body = body[: end - 128].ljust(end - 128, b"\0")
    blocks = [body[i : i + PGT_BLOCK] for i in range(0, len(body), PGT_BLOCK)]
    table = b"".join(struct.pack("<I", zlib.crc32(block)) for block in blocks)
    header = _PGT_HEADER.pack(
        PGT_MAGIC, 2 if nr_accesses else 1, 128, end + len(table), nr_events, 128, at_times,
        at_text, text_bytes, end, PGT_BLOCK, nr_accesses, bytes(32), zlib.crc32(table),
    )  # fmt: skip
    return header + struct.pack("<I", zlib.crc32(header)) + body + table


def repair_pgt(data: bytes) -> bytes:
    """The file with sizes, offsets and checksums that fit its counts of words and of text."""
    if len(data) < 128 or not data.startswith(PGT_MAGIC):
        return data
    fields = _PGT_HEADER.unpack_from(data)
    nr = min(fields[4], (len(data) - 128) // 16)
    nr_accesses = min(fields[11], (len(data) - 128) // 16)
    text_bytes = min(fields[8], len(data) - 128)
    return _pgt_of(nr, nr_accesses, text_bytes, data[128:])


# ---- ring-buffer pages ----------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What recorded: byte order, size of a page and of its commit field."""

    big_endian: bool = False
    page_bytes: int = 256
    commit_bytes: int = 8

    @property
    def order(self) -> str:
        return ">" if self.big_endian else "<"

    @property
    def data_offset(self) -> int:
        return 8 + self.commit_bytes

    def header_page(self) -> bytes:
        at = self.data_offset
        return (
            f"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
            f"\tfield: local_t commit;\toffset:8;\tsize:{self.commit_bytes};\tsigned:1;\n"
            f"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
            f"\tfield: char data;\toffset:{at};\tsize:{self.page_bytes - at};\tsigned:0;\n"
        ).encode()

    def record(self, number: int, pfn: int, block_order: int, delta: int = 1000) -> bytes:
        head = 5 << 27 | delta if self.big_endian else delta << 5 | 5
        body = struct.pack(self.order + "HBBiQI", number, 0, 0, 77, pfn, block_order)
        return struct.pack(self.order + "I", head) + body

    def page(self, records: bytes, time: int = 10**9, flags: int = 0) -> bytes:
        commit = "Q" if self.commit_bytes == 8 else "I"
        head = struct.pack(self.order + "Q" + commit, time, len(records) | flags)
        return (head + records).ljust(self.page_bytes, b"\0")

    def full_page(self, time: int = 10**9) -> bytes:
        """As many events as there is room for."""
        nr = (self.page_bytes - self.data_offset) // 24
        return self.page(self.record(FREE, 5, 0, 1) * nr, time)


def event_format(name: str, number: int, fields: bool = True) -> bytes:
    text = f"name: {name}\nID: {number}\nformat:\n"
    text += "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    text += "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
    if fields:
        text += "\tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;\n"
        text += "\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;\n"
    return text.encode()


FORMATS = (
    event_format("mm_page_alloc", ALLOC),
    event_format("mm_page_free", FREE),
    event_format("mm_page_free_batched", FREE_BATCHED, fields=False),
)


# ---- trace.dat ------------------------------------------------------------------------------


def header_info(machine: Machine) -> bytes:
    text = machine.header_page()
    order = machine.order
    return b"header_page\0" + struct.pack(order + "Q", len(text)) + text + (
        b"header_event\0" + struct.pack(order + "Q", 4) + b"none"
    )  # fmt: skip


def event_formats(machine: Machine, formats: Sequence[bytes] = FORMATS) -> bytes:
    order = machine.order
    data = struct.pack(order + "I", 1) + b"kmem\0" + struct.pack(order + "I", len(formats))
    return data + b"".join(struct.pack(order + "Q", len(text)) + text for text in formats)


def dat_v6(machine: Machine, cpus: Sequence[bytes], formats: Sequence[bytes] = FORMATS) -> bytes:
    o = machine.order
    data = DAT_MAGIC + b"6\0" + bytes([machine.big_endian]) + b"\x08"
    data += struct.pack(o + "I", 4096) + header_info(machine) + struct.pack(o + "I", 0)
    data += event_formats(machine, formats) + struct.pack(o + "IIQI", 0, 0, 0, len(cpus))
    clock = b"[local] global\0"
    data += b"options  \0" + struct.pack(o + "HI", 4, len(clock)) + clock + bytes(2)
    data += b"flyrecord\0"
    at = len(data) + 16 * len(cpus)
    for pages in cpus:
        data += struct.pack(o + "QQ", at, len(pages))
        at += len(pages)
    return data + b"".join(cpus)


@dataclass
class Dat7:
    """A file of version 7, put together section by section."""

    machine: Machine
    packed: bool = False
    level: int = 9
    name: bytes = b"zlib"

    def __post_init__(self) -> None:
        order = self.machine.order
        self.data = bytearray(DAT_MAGIC + b"7\0" + bytes([self.machine.big_endian]) + b"\x08")
        self.data += struct.pack(order + "I", 4096)
        self.data += (self.name if self.packed else b"none") + b"\x001.0\0"
        self.at_first = len(self.data)
        self.data += bytes(8)
        self.options: list[tuple[int, bytes]] = []

    def section(self, number: int, content: bytes) -> int:
        order, at = self.machine.order, len(self.data)
        if self.packed:
            small = zlib.compress(content, self.level)
            content = struct.pack(order + "II", len(small), len(content)) + small
        self.data += struct.pack(order + "HHIQ", number, int(self.packed), 0, len(content))
        self.data += content
        return at

    def point(self, number: int, content: bytes) -> None:
        """An option that says where a section is."""
        at = self.section(number, content)
        self.options.append((number, struct.pack(self.machine.order + "Q", at)))

    def pages(self, *chunks: bytes) -> tuple[int, int]:
        """Pages of a CPU, in chunks if they are packed: where, and how many bytes."""
        order, at = self.machine.order, len(self.data)
        if self.packed:
            self.data += struct.pack(order + "I", len(chunks))
            for chunk in chunks:
                small = zlib.compress(chunk, self.level)
                self.data += struct.pack(order + "II", len(small), len(chunk)) + small
        else:
            self.data += b"".join(chunks)
        return at, len(self.data) - at

    def buffer(self, cpus: Sequence[tuple[int, int]], name: bytes = b"") -> None:
        order = self.machine.order
        option = bytes(8) + name + b"\0local\0" + struct.pack(order + "I", self.machine.page_bytes)
        option += struct.pack(order + "I", len(cpus))
        for number, (at, size) in enumerate(cpus):
            option += struct.pack(order + "IQQ", number, at, size)
        self.options.append((3, option))

    def finish(self) -> bytes:
        order = self.machine.order
        content = b"".join(
            struct.pack(order + "HI", number, len(option)) + option
            for number, option in [*self.options, (0, bytes(8))]
        )
        at = self.section(0, content)
        self.data[self.at_first : self.at_first + 8] = struct.pack(order + "Q", at)
        return bytes(self.data)


def dat_v7(machine: Machine, cpus: Sequence[bytes], *, packed: bool, level: int = 9) -> bytes:
    dat = Dat7(machine, packed, level)
    dat.point(16, header_info(machine))
    dat.point(18, event_formats(machine))
    places = [dat.pages(pages) for pages in cpus]
    dat.buffer(places)
    return dat.finish()

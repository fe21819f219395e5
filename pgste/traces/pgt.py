# SPDX-License-Identifier: MIT
"""The compact trace file of this package (.pgt): docs/trace-format.md says what is in it.

`write` makes a file, whole or not at all; `parse` reads and checks one; `view` takes one as it is.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import zlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np

from pgste.errors import TraceError
from pgste.files.saving import save
from pgste.files.texts import load_json
from pgste.traces.events import Words
from pgste.traces.source import Source

__all__ = ["MAGIC", "parse", "view", "write"]

MAGIC = b"\x89PGT\r\n\x1a\n"
VERSION = 1
HEADER_BYTES = 128
ALIGN_BYTES = 64
BLOCK_BYTES = 1 << 20
_JSON_BYTES = 64  # of memory for a byte of JSON, at most: "[],[],[]" as lists
# magic, version, header bytes, file bytes, events, offsets of event words, times, description,
# bytes of description, offset of checksums, block bytes, zeros, checksum of checksums
_HEADER = struct.Struct("<8sIIQQQQQQQQ40sI")
_CRC = struct.Struct("<I")


def _align(offset: int) -> int:
    return -(-offset // ALIGN_BYTES) * ALIGN_BYTES


def _layout(nr_events: int, description_bytes: int) -> tuple[int, int, int, int, int]:
    """Offsets of event words, times, description, checksums; bytes of the file."""
    times = _align(HEADER_BYTES + 8 * nr_events)
    description = _align(times + 8 * nr_events)
    checksums = _align(description + description_bytes)
    nr_blocks = -(-(checksums - HEADER_BYTES) // BLOCK_BYTES)
    return HEADER_BYTES, times, description, checksums, checksums + 4 * nr_blocks


class _BlockWriter:
    """Writes and keeps the checksum of each block of BLOCK_BYTES."""

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self.write = write
        self.nr_bytes = 0
        self.checksums: list[int] = []

    def put(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            done = self.nr_bytes % BLOCK_BYTES
            part = view[: BLOCK_BYTES - done]
            before = self.checksums.pop() if done else 0
            self.checksums.append(zlib.crc32(part, before))
            self.write(part)
            self.nr_bytes += len(part)
            view = view[len(part) :]

    def pad_to(self, offset: int) -> None:
        self.put(bytes(offset - HEADER_BYTES - self.nr_bytes))


def _put_words(out: _BlockWriter, words: Words) -> None:
    for start in range(0, len(words), BLOCK_BYTES):
        part = np.ascontiguousarray(words[start : start + BLOCK_BYTES], dtype="<u8")
        out.put(part.data)


def write(
    path: str | os.PathLike[str], events: Words, times: Words, description: dict[str, Any]
) -> None:
    """Write a trace file, whole or not at all (`pgste.files.saving.save`).

    ``description`` is kept as JSON.  OSError if it cannot be written.
    """
    text = json.dumps(description, sort_keys=True).encode()
    at_events, at_times, at_text, at_checksums, file_bytes = _layout(len(events), len(text))

    def put(file: IO[bytes]) -> None:
        file.write(bytes(HEADER_BYTES))
        out = _BlockWriter(file.write)
        _put_words(out, events)
        out.pad_to(at_times)
        _put_words(out, times)
        out.pad_to(at_text)
        out.put(text)
        out.pad_to(at_checksums)
        table = struct.pack(f"<{len(out.checksums)}I", *out.checksums)
        file.write(table)
        header = _HEADER.pack(
            MAGIC, VERSION, HEADER_BYTES, file_bytes, len(events), at_events, at_times,
            at_text, len(text), at_checksums, BLOCK_BYTES, bytes(40), zlib.crc32(table),
        )  # fmt: skip
        file.seek(0)
        file.write(header + _CRC.pack(zlib.crc32(header)))

    save(path, put)


class _Header(NamedTuple):
    file_bytes: int
    nr_events: int
    at_times: int
    at_text: int
    text_bytes: int
    at_checksums: int
    table_crc: int


def _check_header(header: bytes, size: int | None) -> _Header:
    """What the header says; ``size`` is that of the file, None if that is not known yet."""
    if len(header) < HEADER_BYTES:
        raise TraceError("the header of the file is cut off", offset=len(header))
    fields = _HEADER.unpack_from(header)
    if fields[0] != MAGIC:
        raise TraceError("not a trace file of pgste", offset=0)
    if fields[1] != VERSION:
        raise TraceError(f"version {fields[1]} of the format is not known", offset=8)
    if zlib.crc32(header[: _HEADER.size]) != _CRC.unpack_from(header, _HEADER.size)[0]:
        raise TraceError("the header is altered: its checksum differs", offset=0)
    file_bytes, nr_events, at_events, at_times, at_text, text_bytes, at_checksums = fields[3:10]
    layout = (at_events, at_times, at_text, at_checksums, file_bytes)
    if fields[2] != HEADER_BYTES or fields[10] != BLOCK_BYTES or any(fields[11]):
        raise TraceError("the header has a value that version 1 does not allow", offset=12)
    if layout != _layout(nr_events, text_bytes):
        raise TraceError("the offsets in the header do not fit together", offset=16)
    if size is not None and size < file_bytes:
        raise _cut_off(file_bytes, size)
    if size is not None and size > file_bytes:
        raise TraceError("there is something behind the end of the trace", offset=file_bytes)
    return _Header(file_bytes, nr_events, at_times, at_text, text_bytes, at_checksums, fields[12])


def _cut_off(file_bytes: int, size: int) -> TraceError:
    return TraceError(f"the file is cut off: it should have {file_bytes} bytes", offset=size)


def _aligned(nr_bytes: int) -> memoryview:
    """New memory that starts at a multiple of ALIGN_BYTES; touched only as it is filled."""
    room = np.empty(nr_bytes + ALIGN_BYTES, np.uint8)
    skip = -room.ctypes.data % ALIGN_BYTES
    return room[skip : skip + nr_bytes].data


def _read_body(source: Source, header: _Header) -> memoryview:
    """All between header and checksums, each block checked as it came to lie in memory."""
    nr_bytes = header.at_checksums - HEADER_BYTES
    body = _aligned(nr_bytes)
    checksums = []
    for start in range(0, nr_bytes, BLOCK_BYTES):
        block = body[start : start + BLOCK_BYTES]
        got = source.read_into(block)
        if got < len(block):
            raise _cut_off(header.file_bytes, HEADER_BYTES + start + got)
        checksums.append(zlib.crc32(block))
    table = memoryview(bytearray(header.file_bytes - header.at_checksums))
    got = source.read_into(table)
    if got < len(table):
        raise _cut_off(header.file_bytes, header.at_checksums + got)
    if source.read(1):
        raise TraceError("there is something behind the end of the trace", offset=header.file_bytes)
    if zlib.crc32(table) != header.table_crc:
        raise TraceError("the checksums are altered", offset=header.at_checksums)
    for i, (expected,) in enumerate(_CRC.iter_unpack(table)):
        if checksums[i] != expected:
            start = HEADER_BYTES + i * BLOCK_BYTES
            stop = min(start + BLOCK_BYTES, header.at_checksums)
            reason = f"altered: the checksum of the bytes up to {stop} differs"
            raise TraceError(reason, offset=start)
    return body.toreadonly()


def _description(text: bytes, offset: int) -> dict[str, Any]:
    try:
        description = load_json(text)
    except ValueError as error:
        raise TraceError(f"the description is not JSON: {error}", offset=offset) from error
    if not isinstance(description, dict):
        raise TraceError("the description is not a JSON object", offset=offset)
    return description


def parse(source: Source) -> tuple[Words, Words, dict[str, Any]]:
    """Event words, times (views of private memory on a little-endian machine), description.

    The header is checked, and what it says held against the budget, before the rest is read or
    unpacked.  Every byte is covered by a checksum.  TraceError with the byte offset (for an
    altered block that of its first byte).  The event words themselves are not looked at.
    """
    start = bytearray(HEADER_BYTES)
    header = _check_header(bytes(start[: source.read_into(memoryview(start))]), source.size)
    source.meter.memory(header.file_bytes, f"a trace of {header.file_bytes:,} bytes")
    source.meter.memory(
        _JSON_BYTES * header.text_bytes, f"a description of {header.text_bytes:,} bytes"
    )
    body = _read_body(source, header)
    at_text = header.at_text - HEADER_BYTES
    description = _description(bytes(body[at_text : at_text + header.text_bytes]), header.at_text)
    events = np.frombuffer(body, "<u8", header.nr_events, 0)
    times = np.frombuffer(body, "<u8", header.nr_events, header.at_times - HEADER_BYTES)
    if sys.byteorder == "big":
        return events.astype(np.uint64), times.astype(np.uint64), description
    return events, times, description


def view(data: bytes | mmap.mmap) -> tuple[Words, Words]:
    """Event words and times of a whole file in memory, without a copy on a little-endian machine.

    For files that this package has made and keeps to itself: the header is checked, checksums
    are not.  TraceError as from `parse`.
    """
    header = _check_header(data[:HEADER_BYTES], len(data))
    events = np.frombuffer(data, "<u8", header.nr_events, HEADER_BYTES)
    times = np.frombuffer(data, "<u8", header.nr_events, header.at_times)
    if sys.byteorder == "big":
        return events.astype(np.uint64), times.astype(np.uint64)
    return events, times

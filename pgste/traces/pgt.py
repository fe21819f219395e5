# SPDX-License-Identifier: MIT
"""The compact trace file of this package (.pgt): docs/trace-format.md says what is in it.

`write` makes a file, whole or not at all; `parse` checks one that lies in memory or in a map.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from pgste.errors import TraceError
from pgste.traces.events import Words

__all__ = ["MAGIC", "parse", "write"]

Progress: TypeAlias = Callable[[int, int], object]

MAGIC = b"\x89PGT\r\n\x1a\n"
VERSION = 1
HEADER_BYTES = 128
ALIGN_BYTES = 64
BLOCK_BYTES = 1 << 20
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
    """Write a trace file under a temporary name beside ``path``, then rename it to ``path``.

    ``description`` is kept as JSON.  OSError as from open and rename; the file that was at
    ``path`` then stays as it was.
    """
    path = os.fspath(path)
    text = json.dumps(description, sort_keys=True).encode()
    at_events, at_times, at_text, at_checksums, file_bytes = _layout(len(events), len(text))
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
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
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _check_header(data: memoryview) -> tuple[int, int, int, int, int, int, int]:
    if len(data) < HEADER_BYTES:
        raise TraceError("the header of the file is cut off", offset=len(data))
    header = bytes(data[: _HEADER.size])
    fields = _HEADER.unpack(header)
    if fields[0] != MAGIC:
        raise TraceError("not a trace file of pgste", offset=0)
    if fields[1] != VERSION:
        raise TraceError(f"version {fields[1]} of the format is not known", offset=8)
    if zlib.crc32(header) != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise TraceError("the header is altered: its checksum differs", offset=0)
    file_bytes, nr_events, at_events, at_times, at_text, text_bytes, at_checksums = fields[3:10]
    layout = (at_events, at_times, at_text, at_checksums, file_bytes)
    if fields[2] != HEADER_BYTES or fields[10] != BLOCK_BYTES or any(fields[11]):
        raise TraceError("the header has a value that version 1 does not allow", offset=12)
    if layout != _layout(nr_events, text_bytes):
        raise TraceError("the offsets in the header do not fit together", offset=16)
    if len(data) < file_bytes:
        raise TraceError(
            f"the file is cut off: it should have {file_bytes} bytes", offset=len(data)
        )
    if len(data) > file_bytes:
        raise TraceError("there is something behind the end of the trace", offset=file_bytes)
    return nr_events, at_events, at_times, at_text, text_bytes, at_checksums, fields[12]


def parse(
    data: memoryview, progress: Progress | None = None
) -> tuple[Words, Words, dict[str, Any]]:
    """Event words, times (both views of ``data`` on a little-endian machine), description.

    Every byte is covered by a checksum.  TraceError with the byte offset (for an altered block
    that of its first byte).  The event words themselves are not looked at.
    """
    nr_events, at_events, at_times, at_text, text_bytes, at_checksums, table_crc = _check_header(
        data
    )
    table = data[at_checksums:]
    if zlib.crc32(table) != table_crc:
        raise TraceError("the checksums are altered", offset=at_checksums)
    for i, (expected,) in enumerate(_CRC.iter_unpack(table)):
        start = HEADER_BYTES + i * BLOCK_BYTES
        stop = min(start + BLOCK_BYTES, at_checksums)
        if zlib.crc32(data[start:stop]) != expected:
            reason = f"altered: the checksum of the bytes up to {stop} differs"
            raise TraceError(reason, offset=start)
        if progress is not None:
            progress(stop, len(data))
    try:
        description = json.loads(bytes(data[at_text : at_text + text_bytes]))
    except ValueError as error:
        raise TraceError(f"the description is not JSON: {error}", offset=at_text) from error
    if not isinstance(description, dict):
        raise TraceError("the description is not a JSON object", offset=at_text)
    events = np.frombuffer(data, "<u8", nr_events, at_events)
    times = np.frombuffer(data, "<u8", nr_events, at_times)
    if sys.byteorder == "big":
        return events.astype(np.uint64), times.astype(np.uint64), description
    return events, times, description

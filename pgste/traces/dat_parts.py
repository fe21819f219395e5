# SPDX-License-Identifier: MIT
"""Parts of a trace.dat: numbers, strings and packed parts, each charged to the budget."""

from __future__ import annotations

import zlib
from typing import Any

from pgste.errors import TraceError
from pgste.traces.budget import STEP, UNPACKED_BYTE, Meter
from pgste.traces.source import Content, InMemory

__all__ = ["Reader", "decompress"]


class Reader:
    """Numbers and strings at a position of the file, in the file's byte order.

    Each is charged to the meter, as parts of a file may point at one another.
    """

    def __init__(
        self,
        content: Content,
        meter: Meter,
        position: int = 0,
        end: int | None = None,
        big_endian: bool = False,
    ) -> None:
        self.content = content
        self.meter = meter
        self.position = position
        self.end = content.size if end is None else min(end, content.size)
        self.big_endian = big_endian

    def at(self, position: int) -> Reader:
        return Reader(self.content, self.meter, position, self.end, self.big_endian)

    def within(self, data: bytes | memoryview) -> Reader:
        """A reader of other bytes, of the same file."""
        return Reader(InMemory(data), self.meter, big_endian=self.big_endian)

    def skip(self, nr_bytes: int) -> None:
        end = self.position + nr_bytes
        if end > self.end:
            raise TraceError("the file is cut off here", offset=min(self.position, self.end))
        self.meter.work(STEP, "reading what trace.dat says of itself")
        self.position = end

    def take(self, nr_bytes: int) -> memoryview:
        start = self.position
        self.skip(nr_bytes)
        self.meter.work(nr_bytes, "reading what trace.dat says of itself")
        return self.content.take(start, nr_bytes)

    def number(self, nr_bytes: int) -> int:
        return int.from_bytes(self.take(nr_bytes), "big" if self.big_endian else "little")

    def string(self) -> str:
        start = self.position
        text = bytes(self.content.take(start, max(min(4096, self.end - start), 0)))
        length = text.find(b"\0")
        if length < 0:
            raise TraceError("a string has no end", offset=min(start, self.end))
        self.skip(length + 1)
        return text[:length].decode("latin-1")

    def expect(self, text: bytes) -> None:
        start = self.position
        if bytes(self.take(len(text))) != text:
            raise TraceError(f"no {text.rstrip(bytes(1)).decode()!r} here", offset=start)


def decompress(
    name: str, data: memoryview, unpacked_bytes: int, offset: int, meter: Meter
) -> bytes:
    """Unpack what the file says are so many bytes; what they take is charged first."""
    what = f"unpacking {unpacked_bytes:,} bytes"
    meter.work(STEP + UNPACKED_BYTE * unpacked_bytes, what)
    meter.memory(unpacked_bytes, what)
    meter.give_back(unpacked_bytes)
    if name == "zlib":
        unpacker, errors = zlib.decompressobj(), zlib.error
    else:
        unpacker, errors = _zstd(name, offset)
    try:
        unpacked: bytes = unpacker.decompress(data, unpacked_bytes + 1)
    except errors as error:
        raise TraceError(f"{name}: {error}", offset=offset) from error
    if len(unpacked) != unpacked_bytes:
        raise TraceError(
            f"{name}: damaged, or of other than the {unpacked_bytes} bytes that the file says",
            offset=offset,
        )
    return unpacked


def _zstd(name: str, offset: int) -> Any:
    """A decompressor for zstd and its exception, where Python has them."""
    if name == "zstd":
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            pass
        else:
            return zstd.ZstdDecompressor(), zstd.ZstdError
    raise TraceError(
        f"compressed with {name!r}, which this Python has no module for: record with "
        "--compression none, or convert with trace-cmd convert --compression none",
        offset=offset,
    )

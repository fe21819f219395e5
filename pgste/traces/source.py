# SPDX-License-Identifier: MIT
"""The bytes of a trace file: read once into private memory, unpacked piece by piece.

Nothing is mapped: what has been read stays as it was read, whoever writes to the file or
truncates it, and pipes are read like files.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol, TypeAlias

from pgste.errors import TraceError
from pgste.traces.budget import PIPE_BYTE, UNPACKED_BYTE, Meter

__all__ = ["Content", "InMemory", "OnDisk", "Progress", "Source"]

Progress: TypeAlias = Callable[[int, int], object]

COMPRESSIONS = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_CHUNK_BYTES = 1 << 22
_PACKED_BYTES = 1 << 16
_WINDOW_BYTES = 1 << 16


class _Input:
    """The file itself: what was read of it, and how many bytes it has."""

    def __init__(self, file: IO[bytes], progress: Progress | None, meter: Meter) -> None:
        self.file = file
        self.progress = progress
        self.meter = meter
        about = os.fstat(file.fileno())
        #: Size of a file that stays where it is; 0 for pipes, devices, and files of the kernel
        self.size = about.st_size if stat.S_ISREG(about.st_mode) else 0
        meter.input_bytes = self.size
        self.position = 0
        self.start = b""  # read, but not taken yet

    def peek(self, nr_bytes: int) -> bytes:
        while len(self.start) < nr_bytes and (part := self.file.read(nr_bytes - len(self.start))):
            self.start += part
        return self.start

    def read(self, nr_bytes: int) -> bytes:
        """Some bytes, at most so many; none at the end."""
        if self.start:
            data, self.start = self.start[:nr_bytes], self.start[nr_bytes:]
        else:
            data = self.file.read(nr_bytes)
        self._took(len(data))
        return data

    def read_into(self, view: memoryview) -> int:
        if self.start:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        nr_bytes: int = self.file.readinto(view)  # type: ignore[attr-defined]
        self._took(nr_bytes)
        return nr_bytes

    def _took(self, nr_bytes: int) -> None:
        self.position += nr_bytes
        if self.size:
            self.meter.input_bytes = max(self.size, self.position)
        else:  # it may have no end, so that its bytes give it no right to more
            what = f"reading {self.position:,} bytes and more, of a pipe"
            self.meter.work(PIPE_BYTE * nr_bytes, what)

    def tell_progress(self, done: int | None = None) -> None:
        """A pipe has no size: what was read of it counts as all."""
        if self.progress is not None:
            done = self.position if done is None else done
            total = self.size or self.position
            self.progress(min(done, total), total)


class _Decompressor(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor of gzip with the interface of those of lzma and bz2."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    eof = property(lambda self: self._inner.eof)
    unused_data = property(lambda self: self._inner.unused_data)
    needs_input = property(lambda self: not self._inner.unconsumed_tail)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _unpacker(
    name: str, memory_limit: int
) -> tuple[Callable[[], Any], tuple[type[BaseException], ...]]:
    """What makes a decompressor, and what that raises when the bytes are damaged."""
    if name == "xz":
        import lzma

        return (
            lambda: lzma.LZMADecompressor(memlimit=max(memory_limit, 1 << 27)),
            (lzma.LZMAError, EOFError),
        )
    if name == "gz":
        return _Gzip, (zlib.error, EOFError)
    if name == "bz2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise TraceError("compressed by zstd, which needs Python 3.14", offset=0) from None
    return zstd.ZstdDecompressor, (zstd.ZstdError, EOFError)


class _Unpacked:
    """The bytes of one or more compressed streams, one behind the other, a piece at a time."""

    def __init__(self, source: _Input, name: str, meter: Meter) -> None:
        self.source = source
        self.name = name
        self.meter = meter
        self.make, self.errors = _unpacker(name, meter.memory_limit)
        self.decompressor: _Decompressor = self.make()
        self.nr_bytes = 0
        self.packed = b""  # not yet given to the decompressor

    def read(self, nr_bytes: int) -> bytes:
        try:
            data = self._read(nr_bytes)
        except self.errors as error:
            if "memory usage limit" in str(error).lower():  # xz says in its header what it takes
                raise self.meter.passed("unpacking xz of such a dictionary") from None
            reason = f"{self.name}: damaged or cut off: {error}"
            raise TraceError(reason, offset=self.source.position) from error
        self.nr_bytes += len(data)
        self.meter.work(UNPACKED_BYTE * len(data), f"unpacking {self.nr_bytes:,} bytes and more")
        return data

    def _read(self, nr_bytes: int) -> bytes:
        while True:
            if self.decompressor.eof and not self._next_stream():
                return b""
            if self.decompressor.needs_input and not self.packed:
                self.packed = self.source.read(_PACKED_BYTES)
                if not self.packed:
                    raise EOFError("the compressed data ends before its end marker")
            packed, self.packed = self.packed, b""
            data = self.decompressor.decompress(packed, nr_bytes)
            if data:
                return data

    def _next_stream(self) -> bool:
        """Whether another stream follows; zeros between and behind streams are padding."""
        self.packed = (self.decompressor.unused_data + self.packed).lstrip(b"\0")
        while not self.packed:
            more = self.source.read(_PACKED_BYTES)
            if not more:
                return False
            self.packed = more.lstrip(b"\0")
        self.decompressor = self.make()
        return True


class Content(Protocol):
    """Bytes that can be read anywhere."""

    size: int

    def take(self, start: int, nr_bytes: int) -> memoryview: ...


class InMemory:
    """Bytes that are in memory."""

    def __init__(self, data: memoryview | bytes | bytearray) -> None:
        self.data = memoryview(data)
        self.size = len(self.data)

    def take(self, start: int, nr_bytes: int) -> memoryview:
        return self.data[start : start + nr_bytes]


class OnDisk:
    """Bytes of a file, read when they are asked for; small parts by way of a window."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self._window = memoryview(b"")
        self._at = 0

    def take(self, start: int, nr_bytes: int) -> memoryview:
        if nr_bytes > _WINDOW_BYTES:
            return self._read(start, nr_bytes)
        if not self._at <= start <= start + nr_bytes <= self._at + len(self._window):
            self._window = self._read(start, min(_WINDOW_BYTES, self.size - start))
            self._at = start
        return self._window[start - self._at : start - self._at + nr_bytes]

    def _read(self, start: int, nr_bytes: int) -> memoryview:
        view = memoryview(bytearray(nr_bytes))
        done = 0
        while done < nr_bytes:
            part = os.preadv(self.descriptor, [view[done:]], start + done)
            if not part:
                raise TraceError("the file became shorter while it was read", offset=start + done)
            done += part
        return view.toreadonly()


class Source:
    """The unpacked bytes of an open file, once from the start to the end, within a budget.

    ``file`` has no buffer of its own.  ``start`` is the first few bytes, ``compression`` what
    they are packed by, ``size`` how many there are if that is known, else None.
    """

    def __init__(self, file: IO[bytes], progress: Progress | None, meter: Meter) -> None:
        self.meter = meter
        self.input = _Input(file, progress, meter)
        start = self.input.peek(16)
        self.compression = next(
            (name for magic, name in COMPRESSIONS.items() if start.startswith(magic)), None
        )
        self._stream: _Input | _Unpacked = self.input
        self._rest = b""
        self.size = self.input.size or None
        if self.compression is not None:
            self._stream = _Unpacked(self.input, self.compression, meter)
            self.size = None
            start = b""
            while len(start) < 16 and (part := self._stream.read(16 - len(start))):
                start += part
            self._rest = start
        self.start = start

    def read(self, nr_bytes: int = _CHUNK_BYTES) -> bytes:
        """Some bytes, at most so many; none at the end."""
        if self._rest:
            data, self._rest = self._rest[:nr_bytes], self._rest[nr_bytes:]
            return data
        data = self._stream.read(nr_bytes)
        self.input.tell_progress()
        return data

    def read_into(self, view: memoryview) -> int:
        """Fill the view; less than all of it only at the end."""
        done = 0
        while done < len(view):
            if self._stream is self.input:
                part = self.input.read_into(view[done:])
            else:
                data = self.read(len(view) - done)
                part = len(data)
                view[done : done + part] = data
            if not part:
                break
            done += part
        self.input.tell_progress()
        return done

    def content(self) -> Content:
        """All bytes, to be read in any order: on disk if they lie there, else in memory."""
        if self.compression is None and self.input.size:
            return OnDisk(self.input.file.fileno(), self.input.size)
        parts = io.BytesIO()
        while data := self.read():
            self.meter.memory(len(data), f"more than {parts.tell():,} unpacked bytes")
            parts.write(data)
        return InMemory(parts.getbuffer())

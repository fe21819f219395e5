# SPDX-License-Identifier: MIT
"""Reading of trace files: what a file is, unpacking it, and the events in it."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from typing import IO, NamedTuple, Protocol, TypeAlias

import numpy as np

from pgste._engine.trace import TextDecoder
from pgste.errors import ArgumentError, TraceError
from pgste.traces import dat, pgt
from pgste.traces.events import Words, check_events, check_times

__all__ = ["Progress", "Recording", "read"]

Progress: TypeAlias = Callable[[int, int], object]

CHUNK_BYTES = 1 << 22
COMPRESSIONS = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Recording(NamedTuple):
    """What a trace file holds; `pgste.Trace` says what the parts are."""

    events: Words
    times: Words
    format: str
    counters: dict[str, int]
    compression: str | None


class _Stream(Protocol):
    def read(self, nr_bytes: int, /) -> bytes: ...

    def seek(self, position: int, /) -> object: ...


class _Source:
    """The bytes of a file, unpacked, with errors and progress in bytes of the file."""

    def __init__(self, file: IO[bytes], progress: Progress | None) -> None:
        self.file = file
        self.progress = progress
        self.total = os.fstat(file.fileno()).st_size
        start = file.read(8)
        file.seek(0)
        self.compression = next(
            (name for magic, name in COMPRESSIONS.items() if start.startswith(magic)), None
        )
        self.stream, self.errors = _unpacker(file, self.compression)

    def read(self, nr_bytes: int) -> bytes:
        try:
            data = self.stream.read(nr_bytes)
        except self.errors as error:
            reason = f"{self.compression}: damaged or cut off: {error}"
            raise TraceError(reason, offset=self.file.tell()) from error
        if self.progress is not None:
            self.progress(min(self.file.tell(), self.total), self.total)
        return data

    def read_all(self) -> memoryview:
        if self.compression is None:
            return memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))
        parts = bytearray()
        while data := self.read(CHUNK_BYTES):
            parts += data
        return memoryview(parts).toreadonly()


def _unpacker(
    file: IO[bytes], compression: str | None
) -> tuple[_Stream, tuple[type[BaseException], ...]]:
    """A stream of the unpacked bytes, and what it raises when they are damaged."""
    if compression == "xz":
        import lzma

        return lzma.LZMAFile(file), (lzma.LZMAError, EOFError)
    if compression == "gz":
        import gzip

        return gzip.GzipFile(fileobj=file, mode="rb"), (gzip.BadGzipFile, EOFError, zlib.error)
    if compression == "bz2":
        import bz2

        return bz2.BZ2File(file), (OSError, EOFError)
    if compression == "zstd":
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise TraceError("compressed by zstd, which needs Python 3.14", offset=0) from None
        return zstd.ZstdFile(file), (zstd.ZstdError, EOFError)
    return file, ()


def read(file: IO[bytes], progress: Progress | None) -> Recording:
    """Read an open file; `pgste.Trace.open` says which kinds, and what goes wrong."""
    if not file.seekable():
        with _all_of(file) as copy:
            return read(copy, progress)
    source = _Source(file, progress)
    start = source.read(len(dat.MAGIC))
    source.stream.seek(0)
    if not start:
        raise TraceError("the file is empty", offset=0)
    if start.startswith(b"PERFILE"):
        raise TraceError("binary data of perf: print it with perf script first", offset=0)
    if start.startswith(pgt.MAGIC):
        return _read_own(source)
    if start.startswith(dat.MAGIC):
        data = source.read_all()
        found = dat.parse(data, progress if source.compression is None else None)
        return Recording(found.events, found.times, "trace.dat", found.counters, source.compression)
    return _read_text(source)


def _all_of(pipe: IO[bytes]) -> IO[bytes]:
    """A file with all that comes out of a pipe: what it is shows at its start and at its end."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        shutil.copyfileobj(pipe, copy, CHUNK_BYTES)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _read_own(source: _Source) -> Recording:
    data = source.read_all()
    events, times, description = pgt.parse(
        data, source.progress if source.compression is None else None
    )
    counters = description.get("counters", {})
    recorder = description.get("format", "arrays")
    if (
        not isinstance(recorder, str)
        or not isinstance(counters, dict)
        or not all(isinstance(count, int) for count in counters.values())
    ):
        raise TraceError("the description has a value of the wrong type")
    try:
        check_events(events)
        check_times(times)
    except ArgumentError as error:
        raise TraceError(str(error)) from error
    return Recording(events, times, recorder, counters, source.compression)


def _read_text(source: _Source) -> Recording:
    decoder = TextDecoder()
    all_events, all_times = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    rest = b""
    end = False
    while not end:
        data = source.read(CHUNK_BYTES)
        end = not data
        data = rest + data
        events, times, used = decoder.feed(data, end)
        rest = data[used:]
        all_events.append(events)
        all_times.append(times)
    if decoder.format is None:
        reason = "holds no line of ftrace, perf script or trace-cmd report text"
        raise TraceError(reason, line=decoder.counters["lines"])
    return Recording(
        np.concatenate(all_events),
        np.concatenate(all_times),
        decoder.format,
        decoder.counters,
        source.compression,
    )

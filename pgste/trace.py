"""Page allocator traces: alloc and free events of the kernel, read from what recorded them.

The events are ``kmem:mm_page_alloc`` and ``kmem:mm_page_free`` (include/trace/events/kmem.h).
"""

from __future__ import annotations

import mmap
import operator
import os
import zlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pgste import trace_dat, tracefile
from pgste._trace import TextDecoder, summarize
from pgste.errors import ArgumentError, ArgumentTypeError, TraceError

__all__ = ["Trace", "sample_trace"]

Words: TypeAlias = npt.NDArray[np.uint64]
Progress: TypeAlias = Callable[[int, int], object]

ALLOC, FREE = 0, 1
MAX_ORDER = 39
MAX_PFN = 1 << 56
_CHUNK_BYTES = 1 << 22
_CHECK_EVENTS = 1 << 20
_COMPRESSIONS = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Trace:
    """A sequence of page allocator events, in the order in which they happened.

    Made by `Trace.open` or `Trace.from_arrays`; never changes.  All arrays are read-only and
    have one element an event:

    ========== ======= =================================================================
    ``kind``   uint8   0: ``mm_page_alloc``, 1: ``mm_page_free``
    ``pfn``    uint64  first page of the block (4 KiB pages), below 2^56
    ``order``  uint8   the block has 2^order pages, 0 .. 39
    ``time``   uint64  ns of the trace clock, never going back
    ``events`` uint64  all but the time in one word: ``pfn << 8 | order << 2 | kind``
    ========== ======= =================================================================

    A clock that counts no nanoseconds ("counter", "x86-tsc") gives its own units as time.
    Traces are equal if their events and times are.  ``trace[a:b]`` is the trace of these events.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        events: npt.ArrayLike,
        time: npt.ArrayLike,
        *,
        format: str = "arrays",
        counters: Mapping[str, int] | None = None,
        path: str | None = None,
        compression: str | None = None,
    ) -> None:
        """A trace of packed events and their times (two uint64 arrays of one length).

        Errors as from `from_arrays`.
        """
        words = _integers("events", events, (1 << 64) - 1, np.uint64)
        times = _integers("time", time, (1 << 64) - 1, np.uint64)
        if len(words) != len(times):
            raise ArgumentError(f"time: {len(times)} values for {len(words)} events")
        _check_events(words)
        _check_times(times)
        self._events, self._time = _read_only(words), _read_only(times)
        self._format = format
        self._counters = dict(counters or {})
        self._path = path
        self._compression = compression
        self._columns: dict[str, npt.NDArray[Any]] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str], progress: Progress | None = None) -> Trace:
        """Read a trace file; what it is shows from its content, its name does not matter.

        Read are ftrace text (``trace``, ``trace_pipe``), ``perf script`` text, ``trace-cmd
        report`` text, trace.dat of ``trace-cmd record`` (versions 6 and 7), and the format of
        `save`, which is mapped and not copied; each as it is or compressed by xz, gzip, bzip2
        (and zstd where Python has it).

        ``progress(done_bytes, total_bytes)`` is called now and then, in bytes of the file.
        OSError if the file cannot be read; `TraceError` with path and line or byte offset if it
        is damaged, cut off, or of no known format.
        """
        name = os.fspath(path)
        with open(name, "rb") as file:
            try:
                return _read(file, name, progress)
            except TraceError as error:
                raise TraceError(
                    error.reason, path=name, line=error.line, offset=error.offset
                ) from error.__cause__

    @classmethod
    def from_arrays(
        cls,
        kind: npt.ArrayLike,
        pfn: npt.ArrayLike,
        order: npt.ArrayLike,
        time: npt.ArrayLike | None = None,
    ) -> Trace:
        """A trace from integer arrays of one length (any integer dtype); they are copied.

        ``kind`` 0 (alloc) or 1 (free); ``pfn`` 0 and up, and blocks end at 2^56; ``order``
        0 .. 39; ``time`` in ns and not going back, or None: one event each ns from 0 on.
        ArgumentTypeError for other dtypes or shapes, ArgumentError for values, both with the
        argument's name, the value and its position.
        """
        kinds = _integers("kind", kind, FREE, np.uint64)
        pfns = _integers("pfn", pfn, MAX_PFN - 1, np.uint64)
        orders = _integers("order", order, MAX_ORDER, np.uint64)
        for name, array in (("pfn", pfns), ("order", orders)):
            if len(array) != len(kinds):
                raise ArgumentError(f"{name}: {len(array)} values for {len(kinds)} kinds")
        words = pfns << np.uint64(8) | orders << np.uint64(2) | kinds
        times = np.arange(len(words), dtype=np.uint64) if time is None else time
        return cls(words, times)

    @classmethod
    def _trusted(cls, events: Words, times: Words, **about: Any) -> Trace:
        """Without copies and checks: for what the decoders in C made."""
        trace = cls((), (), **about)
        trace._events, trace._time = _read_only(events), _read_only(times)
        return trace

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace in the package's own format (.pgt, see docs/trace-format.md).

        The file appears whole or not at all.  OSError if it cannot be written.
        """
        description = {"format": self._format, "counters": self._counters}
        tracefile.write(path, self._events, self._time, description)

    def summary(self) -> dict[str, Any]:
        """What the trace holds, counted in the order of the events; the live set starts empty.

        Events by kind and order, pages, frees by what they free, peaks, lowest and highest pfn
        (struct pgste_trace_summary in pgste.h has the list), ``events`` and ``seconds``.
        MemoryError for traces whose pages need more than half of this machine's memory.
        """
        result: dict[str, Any] = {"events": len(self), "seconds": self.seconds}
        result.update(summarize(self._events))
        return result

    @property
    def events(self) -> Words:
        """Packed events, uint64: ``pfn << 8 | order << 2 | kind`` (PGSTE_EVENT in pgste.h)."""
        return self._events

    @property
    def time(self) -> Words:
        """Times, uint64, in ns of the trace clock."""
        return self._time

    @property
    def kind(self) -> npt.NDArray[np.uint8]:
        """Kinds, uint8: 0 alloc, 1 free."""
        column: npt.NDArray[np.uint8] = self._column("kind", 0, 3, np.uint8)
        return column

    @property
    def order(self) -> npt.NDArray[np.uint8]:
        """Orders, uint8: an event is about 2^order pages."""
        column: npt.NDArray[np.uint8] = self._column("order", 2, 63, np.uint8)
        return column

    @property
    def pfn(self) -> Words:
        """First pages, uint64."""
        column: Words = self._column("pfn", 8, MAX_PFN - 1, np.uint64)
        return column

    @property
    def seconds(self) -> float:
        """Time from the first event to the last."""
        return float(int(self._time[-1]) - int(self._time[0])) / 1e9 if len(self) else 0.0

    @property
    def format(self) -> str:
        """What recorded it: "ftrace", "perf", "trace-cmd", "trace.dat", "arrays"."""
        return self._format

    @property
    def compression(self) -> str | None:
        """Compression of the file: "xz", "gz", "bz2", "zstd" or None."""
        return self._compression

    @property
    def path(self) -> str | None:
        """The file that it was read from, if any."""
        return self._path

    @property
    def counters(self) -> dict[str, int]:
        """What the decoder counted (struct pgste_decode_stats in pgste.h), for all of the file.

        Empty for a trace from arrays, kept by `save`.
        """
        return dict(self._counters)

    def _column(self, name: str, shift: int, mask: int, dtype: Any) -> Any:
        if name not in self._columns:
            bits = self._events >> np.uint64(shift) & np.uint64(mask)
            self._columns[name] = _read_only(bits.astype(dtype, copy=False))
        return self._columns[name]

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, key: slice) -> Trace:
        if not isinstance(key, slice):
            raise ArgumentTypeError(f"a trace takes slices, not {key!r}")
        if key.step not in (None, 1):
            raise ArgumentError(f"step: {key.step!r}; a part of a trace is a run of its events")
        return Trace._trusted(
            self._events[key],
            self._time[key],
            format=self._format,
            counters=self._counters,
            path=self._path,
            compression=self._compression,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return np.array_equal(self._events, other._events) and np.array_equal(
            self._time, other._time
        )

    def __repr__(self) -> str:
        where = "" if self._path is None else f", {self._path!r}"
        return f"<Trace: {len(self):,} events, {self.seconds:.6g} s, {self._format}{where}>"


def sample_trace() -> Trace:
    """The trace that comes with the package; pgste/data/README.md says what was recorded."""
    with resources.as_file(resources.files("pgste") / "data" / "sample.pgt.xz") as path:
        return Trace.open(path)


# ---- checks ---------------------------------------------------------------------------------


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _integers(name: str, values: npt.ArrayLike, highest: int, dtype: Any) -> Words:
    """A new array of dtype, from integers 0 .. highest in one dimension."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ArgumentTypeError(f"{name}: {array.ndim} dimensions instead of one")
    if array.size == 0:
        return np.empty(0, dtype)
    if array.dtype.kind == "O":  # Python integers beyond 64 bits; anything else is no integer
        try:
            numbers = [operator.index(value) for value in array.tolist()]
        except TypeError as error:
            raise ArgumentTypeError(f"{name}: {error}") from None
        for i, number in enumerate(numbers):
            if not 0 <= number <= highest:
                raise ArgumentError(f"{name}: {number} at position {i} is not in 0 .. {highest}")
        return np.array(numbers, dtype)
    if array.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name}: dtype {array.dtype} instead of integers")
    wrong = array < 0 if array.dtype.kind == "i" else np.zeros(1, bool)
    if not wrong.any() and highest < np.iinfo(array.dtype).max:
        wrong = array > highest
    if wrong.any():
        i = int(wrong.argmax())
        raise ArgumentError(f"{name}: {array[i]} at position {i} is not in 0 .. {highest}")
    return array.astype(dtype)


def _check_events(words: Words) -> None:
    """Kinds, orders and ends of blocks, a piece at a time: maps may exceed memory."""
    for start in range(0, len(words), _CHECK_EVENTS):
        part = words[start : start + _CHECK_EVENTS]
        order = part >> np.uint64(2) & np.uint64(63)
        for name, value, wrong in (
            ("kind", part & np.uint64(3), part & np.uint64(2) != 0),
            ("order", order, order > MAX_ORDER),
        ):
            if wrong.any():
                i = int(wrong.argmax())
                raise ArgumentError(f"{name}: {value[i]} at position {start + i} is out of range")
        pfn = part >> np.uint64(8)
        wrong = pfn + (np.uint64(1) << order) > MAX_PFN
        if wrong.any():
            i = int(wrong.argmax())
            raise ArgumentError(
                f"pfn: {pfn[i]} at position {start + i}: its block of order {order[i]} "
                "reaches above 2^56"
            )


def _check_times(times: Words) -> None:
    for start in range(0, len(times), _CHECK_EVENTS):
        part = times[start : start + _CHECK_EVENTS + 1]
        wrong = part[1:] < part[:-1]
        if wrong.any():
            i = int(wrong.argmax()) + 1
            raise ArgumentError(f"time: {part[i]} at position {start + i} is before {part[i - 1]}")


# ---- files ----------------------------------------------------------------------------------


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
            (name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), None
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
        while data := self.read(_CHUNK_BYTES):
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


def _read(file: IO[bytes], name: str, progress: Progress | None) -> Trace:
    source = _Source(file, progress)
    about: dict[str, Any] = {"path": name, "compression": source.compression}
    start = source.read(len(trace_dat.MAGIC))
    source.stream.seek(0)
    if not start:
        raise TraceError("the file is empty", offset=0)
    if start.startswith(b"PERFILE"):
        raise TraceError("binary data of perf: print it with perf script first", offset=0)
    if start.startswith(tracefile.MAGIC):
        return _read_own(source, about)
    if start.startswith(trace_dat.MAGIC):
        data = source.read_all()
        dat = trace_dat.parse(data, progress if source.compression is None else None)
        about |= {"format": "trace.dat", "counters": dat.counters}
        return Trace._trusted(dat.events, dat.times, **about)
    return _read_text(source, about)


def _read_own(source: _Source, about: dict[str, Any]) -> Trace:
    data = source.read_all()
    events, times, description = tracefile.parse(
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
        _check_events(events)
        _check_times(times)
    except ArgumentError as error:
        raise TraceError(str(error)) from error
    about |= {"format": recorder, "counters": counters}
    return Trace._trusted(events, times, **about)


def _read_text(source: _Source, about: dict[str, Any]) -> Trace:
    decoder = TextDecoder()
    all_events, all_times = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    rest = b""
    end = False
    while not end:
        data = source.read(_CHUNK_BYTES)
        end = not data
        data = rest + data
        events, times, used = decoder.feed(data, end)
        rest = data[used:]
        all_events.append(events)
        all_times.append(times)
    if decoder.format is None:
        reason = "holds no line of ftrace, perf script or trace-cmd report text"
        raise TraceError(reason, line=decoder.counters["lines"])
    about |= {"format": decoder.format, "counters": decoder.counters}
    return Trace._trusted(np.concatenate(all_events), np.concatenate(all_times), **about)

# SPDX-License-Identifier: MIT
"""Page allocator traces: alloc and free events of the kernel, read from what recorded them.

The events are ``kmem:mm_page_alloc`` and ``kmem:mm_page_free`` (include/trace/events/kmem.h).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine.arguments import as_array
from pgste._engine.names import shown
from pgste._engine.trace import summarize
from pgste.errors import ArgumentError, ArgumentTypeError, ModelMemoryError, TraceError
from pgste.traces import pgt
from pgste.traces.budget import PAGE, Budget, Meter
from pgste.traces.events import (
    FREE,
    LOAD,
    MAX_ORDER,
    MAX_PFN,
    STORE,
    Words,
    check_accesses,
    check_events,
    check_times,
    integers,
)
from pgste.traces.reading import read
from pgste.traces.source import Progress

__all__ = ["Trace"]

_WORD_BYTES = 16
"""An event's word and time."""


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

    A trace may have accesses too (`with_accesses`): loads and stores of pages, which are no events
    and have two arrays of their own:

    ============ ======= ===============================================================
    ``accesses`` uint64  ``pfn << 8 | kind``, kind 2: load, 3: store
    ``places``   uint64  how many events come before it, never going back
    ============ ======= ===============================================================

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
        accesses: npt.ArrayLike = (),
        places: npt.ArrayLike = (),
    ) -> None:
        """A trace of packed events and their times (two uint64 arrays of one length), and accesses.

        Errors as from `from_arrays`.
        """
        if counters is not None and not isinstance(counters, Mapping):
            raise ArgumentTypeError(f"counters: {shown(counters)} is not a mapping")
        words = integers("events", events, (1 << 64) - 1, np.uint64)
        times = integers("time", time, (1 << 64) - 1, np.uint64)
        if len(words) != len(times):
            raise ArgumentError(f"time: {len(times)} values for {len(words)} events")
        check_events(words)
        check_times(times)
        words_touched = integers("accesses", accesses, (1 << 64) - 1, np.uint64)
        touched_at = integers("places", places, (1 << 64) - 1, np.uint64)
        check_accesses(words_touched, touched_at, len(words))
        self._accesses, self._places = _read_only(words_touched), _read_only(touched_at)
        self._events, self._time = _read_only(words), _read_only(times)
        self._format = format
        self._counters = dict(counters or {})
        self._path = path
        self._compression = compression
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._derived: dict[str, Any] = {}  # what others have worked out of it once
        self._budget: Budget | None = None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        budget: Budget | None = None,
    ) -> Trace:
        """Read a trace file; its kind is found from its content, not from its name.

        It reads ftrace text (``trace``, ``trace_pipe``), ``perf script`` text, ``trace-cmd
        report`` text, trace.dat of ``trace-cmd record`` (versions 6 and 7), and the format of
        `save`; each as it is or compressed by xz, gzip, bzip2 (and zstd where Python has it).
        The file may be a pipe (``/dev/stdin``).  It is read into memory of this process and
        checked there: what is done to the file later changes nothing.

        Parameters
        ----------
        path : str or path
            The file.
        progress : callable, optional
            Called now and then with (bytes done, bytes of the file); of a pipe, whose size no
            one knows, both are what was read of it.
        budget : Budget, optional
            The memory and work that the file may take; `summary` keeps to it too.

        Raises
        ------
        OSError
            The file cannot be read.
        TraceError
            With path and line or byte offset: it is damaged, cut off, of no known format, or
            takes more than the budget.
        ModelMemoryError
            This machine has no memory for it.
        """
        name = os.fspath(path)
        _check_budget(budget)
        with open(name, "rb", buffering=0) as file:
            try:
                recording = read(file, progress, Meter(budget))
            except TraceError as error:
                raise TraceError(
                    error.reason, path=name, line=error.line, offset=error.offset
                ) from error.__cause__
            except MemoryError:
                raise ModelMemoryError(f"{name}: there is no memory to read it") from None
        trace = cls._trusted(
            recording.events,
            recording.times,
            format=recording.format,
            counters=recording.counters,
            path=name,
            compression=recording.compression,
        )
        trace._accesses = _read_only(recording.accesses)
        trace._places = _read_only(recording.places)
        trace._budget = budget
        return trace

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
        kinds = integers("kind", kind, FREE, np.uint64)
        pfns = integers("pfn", pfn, MAX_PFN - 1, np.uint64)
        orders = integers("order", order, MAX_ORDER, np.uint64)
        for name, array in (("pfn", pfns), ("order", orders)):
            if len(array) != len(kinds):
                raise ArgumentError(f"{name}: {len(array)} values for {len(kinds)} kinds")
        words = pfns << np.uint64(8) | orders << np.uint64(2) | kinds
        times = np.arange(len(words), dtype=np.uint64) if time is None else time
        return cls(words, times)

    def with_accesses(
        self, pfn: npt.ArrayLike, time: npt.ArrayLike, store: npt.ArrayLike = False
    ) -> Trace:
        """This trace with loads and stores in place of those that it has.

        Parameters
        ----------
        pfn : array of int
            The page of each access; pages that no event names are of no use, since nothing tells
            whether they are in use, and are left out (`counters`: ``accesses_left_out``).
        time : array of int
            When it was made, on the clock of the events and not going back.  An access comes after
            the events of its time and before later ones.
        store : array of bool, or a bool for all
            Whether it was a store; else it was a load.

        Raises
        ------
        ArgumentTypeError, ArgumentError
            With the argument's name, the value and its position.
        """
        pages = integers("pfn", pfn, MAX_PFN - 1, np.uint64)
        times = integers("time", time, (1 << 64) - 1, np.uint64)
        stores = as_array(store, "store")
        if stores.dtype != np.bool_:
            raise ArgumentTypeError(f"store: dtype {stores.dtype} instead of bool")
        if stores.ndim == 0:
            stores = np.broadcast_to(stores, pages.shape)
        for name, array in (("time", times), ("store", stores)):
            if array.shape != pages.shape:
                raise ArgumentError(f"{name}: {array.size} values for {len(pages)} pages")
        check_times(times)
        named = self._names(pages)
        words = pages << np.uint64(8) | np.where(stores, STORE, LOAD).astype(np.uint64)
        places = np.searchsorted(self._time, times, side="right").astype(np.uint64)
        left_out = int(np.count_nonzero(~named))
        counters = {**self._counters, "accesses_left_out": left_out} if left_out else self._counters
        return self._touched(words[named], places[named], counters)

    def _touched(self, accesses: Words, places: Words, counters: Mapping[str, int]) -> Trace:
        """This trace with accesses that are known to be right."""
        trace = Trace._trusted(
            self._events,
            self._time,
            format=self._format,
            counters=counters,
            path=self._path,
            compression=self._compression,
        )
        trace._accesses, trace._places = _read_only(accesses), _read_only(places)
        trace._budget = self._budget
        return trace

    def _names(self, pages: Words) -> npt.NDArray[np.bool_]:
        """For each page whether an event is about it."""
        blocks = np.unique(self.pfn | self.order.astype(np.uint64) << np.uint64(56))
        found = np.zeros(len(pages), np.bool_)
        for order in np.unique(self.order).tolist():
            heads = blocks[blocks >> np.uint64(56) == order] & np.uint64(MAX_PFN - 1)
            found |= np.isin(pages >> np.uint64(order) << np.uint64(order), heads)
            uneven = heads[heads & np.uint64((1 << order) - 1) != 0]
            for head in uneven.tolist():  # no block of the kernel's is
                found |= (pages >= head) & (pages < head + (1 << order))
        return found

    @classmethod
    def _trusted(cls, events: Words, times: Words, **about: Any) -> Trace:
        """Without copies and checks: for what the decoders in C made."""
        trace = cls((), (), **about)
        trace._events, trace._time = _read_only(events), _read_only(times)
        return trace

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace in the package's own format (.pgt, see docs/trace-format.md).

        The file appears whole or not at all (`pgste.files.saving`).  OSError if it cannot be
        written.
        """
        description = {"format": self._format, "counters": self._counters}
        pgt.write(path, self._events, self._time, description, self._accesses, self._places)

    def summary(self, budget: Budget | None = None) -> dict[str, Any]:
        """What the trace holds, counted in the order of the events; the live set starts empty.

        Events by kind and order, pages, frees by what they free, peaks, lowest and highest pfn
        (struct pgste_trace_summary in pgste.h has the list), ``events`` and ``seconds``.

        Parameters
        ----------
        budget : Budget, optional
            The memory and work that it may take, 4 units of work for each page of each event; by
            default what `open` was given.

        Raises
        ------
        TraceError
            The trace takes more than the budget.
        MemoryError
            It takes more than half of this machine's memory.
        """
        _check_budget(budget)
        if budget is not None:
            return self._summed_up(budget, None)
        if "summary" not in self._derived:
            self._derived["summary"] = self._summed_up(None, None)
        return copy.deepcopy(self._derived["summary"])

    def _in_use(self) -> npt.NDArray[np.int64]:
        """How many pages are in use after each event; TraceError as for `summary`."""
        in_use = np.empty(len(self), np.int64)
        in_use += self._summed_up(None, in_use.view(np.uint64))["live_at_start"]
        return in_use

    def _summed_up(self, budget: Budget | None, in_use: Words | None) -> dict[str, Any]:
        meter = Meter(self._budget if budget is None else budget, _WORD_BYTES * len(self))
        result: dict[str, Any] = {"events": len(self), "seconds": self.seconds}
        if in_use is not None:
            meter.memory(in_use.nbytes, "a number for each event")
        left = meter.memory_limit - meter.memory_taken
        counted = summarize(self._events, meter.work_limit // PAGE, left, in_use)
        if isinstance(counted, str):
            error = (
                meter.passed("counting the pages of all its events", "work")
                if counted == "pages"
                else meter.passed("a table of the pages in its events")
            )
            raise TraceError(error.reason, path=self._path)
        result.update(counted)
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
    def accesses(self) -> Words:
        """Loads and stores, uint64: ``pfn << 8 | kind`` (enum pgste_access_kind in trace.h)."""
        return self._accesses

    @property
    def places(self) -> Words:
        """For each access how many events come before it, uint64."""
        return self._places

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
        """What the decoder counted in the whole file (struct pgste_decode_stats in pgste.h).

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
            raise ArgumentTypeError(f"a trace takes slices, not {shown(key)}")
        if key.step not in (None, 1):
            raise ArgumentError(
                f"step: {shown(key.step)}; a part of a trace is a run of its events"
            )
        try:
            key.indices(len(self))
        except TypeError as error:
            raise ArgumentTypeError(f"slices are of integers, not {shown(key)}") from error
        part = Trace._trusted(
            self._events[key],
            self._time[key],
            format=self._format,
            counters=self._counters,
            path=self._path,
            compression=self._compression,
        )
        first, end, _ = key.indices(len(self))
        kept = slice(*np.searchsorted(self._places, [first, end], side="left"))
        if end == len(self):
            kept = slice(kept.start, None)
        part._accesses = self._accesses[kept]
        part._places = _read_only(self._places[kept] - np.uint64(first))
        part._budget = self._budget
        return part

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return all(
            np.array_equal(mine, its)
            for mine, its in (
                (self._events, other._events),
                (self._time, other._time),
                (self._accesses, other._accesses),
                (self._places, other._places),
            )
        )

    def __repr__(self) -> str:
        where = "" if self._path is None else f", {self._path!r}"
        return f"<Trace: {len(self):,} events, {self.seconds:.6g} s, {self._format}{where}>"


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_budget(budget: object) -> None:
    if not isinstance(budget, Budget | None):
        raise ArgumentTypeError(f"budget: a Budget or None, not {shown(budget)}")

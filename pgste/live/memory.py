# SPDX-License-Identifier: MIT
"""Live memory: the guest's verbs over real anonymous memory and the real ``madvise(2)``.

`Memory` takes the place of a `pgste.Guest` on the real kernel of this machine: free and alloc
tell the kernel by the mechanism chosen, write and read are real stores and loads, and the page
states are what ``/proc/self/pagemap`` shows.  Facts about each advice: ``madvise(2)`` and the
kernel's ``mm/madvise.c``.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine import live
from pgste.errors import (
    ArgumentError,
    ArgumentTypeError,
    PgsteError,
    StateError,
    UnknownNameError,
)
from pgste.live.refused import Refused, why_refused

Gfns = Any
"""An int, a range, a slice, or a one-dimensional array of integers."""


class Advice(IntEnum):
    """Advice numbers of ``madvise(2)`` (asm-generic/mman-common.h)."""

    WILLNEED = 3
    DONTNEED = 4
    FREE = 8
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    COLD = 20
    PAGEOUT = 21
    POPULATE_READ = 22
    POPULATE_WRITE = 23
    DONTNEED_LOCKED = 24
    COLLAPSE = 25


class State(IntFlag):
    """What the kernel shows of a page; 0 is a page of which it holds nothing."""

    PRESENT = live.PRESENT
    SWAPPED = live.SWAPPED
    ZERO = live.ZERO
    HUGE = live.HUGE
    EXCLUSIVE = live.EXCLUSIVE
    LAZYFREE = live.LAZYFREE
    SWAPCACHE = live.SWAPCACHE
    WRITEBACK = live.WRITEBACK


HINTS: dict[str, Advice | None] = {
    "none": None,
    "madv_dontneed": Advice.DONTNEED,
    "madv_free": Advice.FREE,
}


@dataclass(frozen=True)
class Counts:
    """Pages of a live memory by residency; they add up to its size."""

    present: int
    """With a frame of their own."""
    zero: int
    """Mapped to the kernel's shared zero page by a load."""
    swapped: int
    none: int
    huge: int
    """Of the present ones, part of a huge mapping."""


@dataclass
class Stats:
    """Counters of a live memory, named as those of a `pgste.Guest`; times in nanoseconds."""

    hints: int = 0
    """madvise calls made for free (a vectored call is one)."""
    hint_pages: int = 0
    hint_ns: int = 0
    pages_freed: int = 0
    pages_allocated: int = 0
    double_frees: int = 0
    double_allocs: int = 0
    write_ns: int = 0
    read_ns: int = 0


class Memory:
    """Real memory of this process, freed and allocated page by page.

    Args:
        pages: size, in pages of the machine (4 KiB on x86-64 and s390x).
        mechanism: what `free` tells the kernel: ``"none"``, ``"madv_dontneed"`` or
            ``"madv_free"``.
        backing: ``"anonymous"`` (private, what a guest's memory is), ``"shared"``, ``"file"``
            (private mapping of `file`), or ``"hugetlb"``; the others are for finding out what the
            kernel refuses.
        locked: lock the pages as they are touched (``mlock2``).
        huge: ask for transparent huge pages; by default they are switched off for the mapping.
        file: an open file of at least `pages` pages, or its descriptor.
        strict: freeing a free page and allocating one in use is a `StateError` that changes
            nothing, instead of being counted.
        vector: use ``process_madvise`` for several runs where the kernel allows it.
        scan: use the pagemap's ``PAGEMAP_SCAN`` where the kernel has it.

    Raises:
        Refused: the kernel refused the mapping or the lock; says which and why.
        ArgumentError, ArgumentTypeError: an argument is out of range; nothing was mapped.

    Use in one process: a child made by fork does not have the mapping.  Threads may share it: one
    call at a time is in the mapping, and `close` waits for those that came before.
    """

    def __init__(
        self,
        pages: int,
        mechanism: str = "madv_free",
        *,
        backing: str = "anonymous",
        locked: bool = False,
        huge: bool = False,
        file: Any = None,
        strict: bool = False,
        vector: bool = True,
        scan: bool = True,
    ) -> None:
        if mechanism not in HINTS:
            raise UnknownNameError(
                f"mechanism: {mechanism!r} is not one of those of live memory, {', '.join(HINTS)}"
            )
        if backing == "file" and file is None:
            raise ArgumentError("file: backing='file' needs an open file")
        fd = -1 if file is None else file if isinstance(file, int) else file.fileno()
        self.mechanism = mechanism
        self.backing = backing
        self.locked = locked
        self.strict = strict
        self._pid = os.getpid()
        self._stats = Stats()
        self._bookkeeping = threading.Lock()  # never held while code of others runs
        with self._explained("mmap"):
            self._map = live.Mapping(pages, backing, fd)
        self._map.allow(vector, scan)
        self._free = np.zeros(self._map.pages, dtype=bool)
        try:
            if huge:
                self.advise(Advice.HUGEPAGE)
            if locked:
                with self._explained("mlock2"):
                    self._map.lock()
        except Refused:
            self.close()
            raise

    # ---- the object ----------------------------------------------------------------------

    def close(self) -> None:
        """Give the memory back; any later use raises GuestClosedError."""
        self._map.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._map.pages

    @property
    def pages(self) -> int:
        """Size in pages (hugetlb: rounded up to whole huge pages)."""
        return self._map.pages

    @property
    def page_bytes(self) -> int:
        """Bytes of a page of this machine."""
        return self._map.page_bytes

    @property
    def address(self) -> int:
        """Address of the first byte, as in /proc/self/maps."""
        return self._map.address

    def stats(self) -> Stats:
        """A copy of the counters."""
        return Stats(**vars(self._stats))

    @contextmanager
    def _explained(self, call: str) -> Iterator[None]:
        if os.getpid() != self._pid:
            raise PgsteError("live memory belongs to the process that made it, not to its child")
        try:
            yield
        except live.RefusedCall as refused:
            why = why_refused(call, refused.errno, self.backing, self.locked)
            raise Refused(refused.errno, call, why, refused.gfn, refused.pages) from None

    # ---- free and alloc ------------------------------------------------------------------

    def free(self, gfns: Gfns, order: int = 0) -> None:
        """The guest frees blocks of 2**order pages: the kernel is told by the mechanism.

        Raises GfnError for a gfn outside, StateError for a strict memory's double free, and
        `Refused`; on the last, blocks before the refused run have been told.
        """
        self._set_free(gfns, order, True)
        hint = HINTS[self.mechanism]
        if hint is not None:
            pages, calls, ns = self._advise(hint, gfns, order)
            self._stats.hints += calls
            self._stats.hint_pages += pages
            self._stats.hint_ns += ns

    def alloc(self, gfns: Gfns, order: int = 0) -> None:
        """The guest takes blocks of 2**order pages; no mechanism here tells the kernel that."""
        self._set_free(gfns, order, False)

    def free_page(self, gfn: int) -> None:
        """`free` of one page."""
        self.free(gfn)

    def alloc_page(self, gfn: int) -> None:
        """`alloc` of one page."""
        self.alloc(gfn)

    def is_free(self, gfns: Gfns = None) -> npt.NDArray[np.bool_]:
        """Whether the guest's allocator has each page free (default: all pages)."""
        return self._free.copy() if gfns is None else self._free[self._map.blocks(gfns)]

    def _set_free(self, gfns: Gfns, order: int, free: bool) -> None:
        pages = self._map.blocks(gfns, order)
        changed = np.unique(pages)
        with self._bookkeeping:
            changed = changed[self._free[changed] != free]
            doubled = pages.size - changed.size
            if doubled and self.strict:
                raise StateError(
                    f"gfns: {doubled} of {pages.size} pages are "
                    f"{'free' if free else 'in use'} already"
                )
            self._free[changed] = free
            stats = self._stats
            if free:
                stats.pages_freed += pages.size
                stats.double_frees += doubled
            else:
                stats.pages_allocated += pages.size
                stats.double_allocs += doubled

    # ---- content -------------------------------------------------------------------------

    def write(self, gfns: Gfns, tags: npt.ArrayLike, offset: int = 0) -> None:
        """Store a 32-bit tag at a byte offset of each page; the rest of the page stays.

        tags: one uint32 for each gfn, or one for all. Raises GfnError, ArgumentError (number or
        range of tags, offset not a multiple of 4 within the page).
        """
        words = np.atleast_1d(np.asarray(tags))
        if words.ndim != 1 or words.dtype.kind not in "ui":
            raise ArgumentTypeError(f"tags: {tags!r} is neither an integer nor an array of them")
        if words.size and not 0 <= int(words.min()) <= int(words.max()) < 1 << 32:
            raise ArgumentError("tags: not all are in 0 .. 4294967295")
        self._check_offset(offset, 1)
        with self._explained("store"):
            self._stats.write_ns += self._map.store(
                gfns, np.ascontiguousarray(words, dtype=np.uint32), offset
            )

    def read(self, gfns: Gfns, offset: int = 0) -> npt.NDArray[np.uint32]:
        """Load the 32-bit word at a byte offset of each page, faulting pages in."""
        return self.words(gfns, 1, offset)[:, 0]

    def words(self, gfns: Gfns, nr_words: int, offset: int = 0) -> npt.NDArray[np.uint32]:
        """Load nr_words words of each page from a byte offset on: shape (gfns, nr_words)."""
        self._check_offset(offset, nr_words)
        with self._explained("load"):
            words, ns = self._map.load(gfns, nr_words, offset)
        self._stats.read_ns += ns
        return words

    def _check_offset(self, offset: int, nr_words: int) -> None:
        if offset % 4 or offset < 0 or nr_words < 0 or offset + 4 * nr_words > self.page_bytes:
            raise ArgumentError(
                f"offset: {offset} with {nr_words} words of 4 bytes does not lie within a page "
                f"of {self.page_bytes} bytes at a multiple of 4"
            )

    # ---- advice and pressure -------------------------------------------------------------

    def advise(self, advice: Advice | int, gfns: Gfns = slice(None), order: int = 0) -> int:
        """One `madvise(2)` over each run of the gfns (default: all): the number of calls.

        Raises `Refused` with the run that was refused; the runs before it have been told.
        """
        return self._advise(Advice(advice), gfns, order)[1]

    def _advise(self, advice: Advice, gfns: Gfns, order: int) -> tuple[int, int, int]:
        with self._explained(f"madvise(MADV_{advice.name})"):
            return self._map.advise(gfns, advice, order)

    def page_out(self, gfns: Gfns = slice(None)) -> int:
        """Reclaim the pages now (``MADV_PAGEOUT``): how many pages lost their frame.

        Clean lazyfree pages are discarded, others go to swap as far as there is any; the kernel
        may leave pages alone.
        """
        before = self.states(gfns)
        self.advise(Advice.PAGEOUT, gfns)
        return int(np.count_nonzero(before & ~self.states(gfns) & State.PRESENT))

    def page_in(self, gfns: Gfns = slice(None)) -> None:
        """Fault the pages in for reading, by a load of each."""
        self.read(gfns)

    # ---- what the kernel shows -----------------------------------------------------------

    def states(self, gfns: Gfns = slice(None), flags: bool = False) -> npt.NDArray[np.uint8]:
        """`State` bits of each page, from the pagemap, without touching it.

        flags: add LAZYFREE, SWAPCACHE and WRITEBACK from ``/proc/kpageflags``, which needs
        root (`Refused` without).
        """
        with self._explained("/proc/kpageflags" if flags else "/proc/self/pagemap"):
            return self._map.states(gfns, flags)

    def mincore(self, gfns: Gfns = slice(None)) -> npt.NDArray[np.bool_]:
        """What ``mincore(2)`` says; a lazyfree page counts as resident until its discard."""
        with self._explained("mincore"):
            return self._map.mincore(gfns).astype(bool)

    def count(self) -> Counts:
        """Pages by residency over the whole memory, by ``PAGEMAP_SCAN`` where it exists."""
        with self._explained("/proc/self/pagemap"):
            present, swapped, zero, huge = self._map.count()
        return Counts(present, zero, swapped, self.pages - present - swapped - zero, huge)

    def smaps(self) -> dict[str, int]:
        """Fields of ``/proc/self/smaps`` for this memory, in bytes: Rss, LazyFree, Swap ...

        LazyFree is what the kernel could discard without writing; it lags by the pages that a
        CPU has queued (up to 31 for each).
        """
        end = self.address + self.pages * self.page_bytes
        sums: dict[str, int] = {}
        inside = False
        with open("/proc/self/smaps") as file:
            for line in file:
                if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                    inside = self.address <= int(found[1], 16) < end
                elif inside and (found := re.match(r"(\w+):\s+(\d+) kB", line)):
                    sums[found[1]] = sums.get(found[1], 0) + int(found[2]) * 1024
        return sums

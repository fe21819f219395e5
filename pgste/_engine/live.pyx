# SPDX-License-Identifier: MIT
"""Live memory of this process: the binding of src_c/live/.

Thin: arguments become C arrays, the GIL is released around whatever may fault or sleep, and
error codes come back as exceptions.  `pgste.live.Memory` is the class for users.
"""

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from pgste._engine._c cimport (
    PGSTE_E_GFN,
    PGSTE_E_NOMEM,
    PGSTE_LIVE_ANONYMOUS,
    PGSTE_LIVE_EXCLUSIVE,
    PGSTE_LIVE_FILE,
    PGSTE_LIVE_HUGE,
    PGSTE_LIVE_HUGETLB,
    PGSTE_LIVE_LAZYFREE,
    PGSTE_LIVE_PRESENT,
    PGSTE_LIVE_SHARED,
    PGSTE_LIVE_SWAPCACHE,
    PGSTE_LIVE_SWAPPED,
    PGSTE_LIVE_ZERO,
    PGSTE_OS_ERRNO,
    pgste_live,
    pgste_live_advise,
    pgste_live_allow,
    pgste_live_base,
    pgste_live_config,
    pgste_live_cost,
    pgste_live_count,
    pgste_live_counts,
    pgste_live_free,
    pgste_live_load,
    pgste_live_lock,
    pgste_live_mincore,
    pgste_live_new,
    pgste_live_page_bytes,
    pgste_live_pages,
    pgste_live_replay,
    pgste_live_replay_run,
    pgste_live_replay_setup,
    pgste_live_replay_stats_name,
    pgste_live_states,
    pgste_live_store,
)
from pgste._engine.arguments cimport integer
from pgste._engine.gfns cimport Gfns, gfns_argument
from pgste._engine.names cimport names_of, with_names

import numpy as np

from pgste.errors import (
    ArgumentError,
    GfnError,
    GuestClosedError,
    ModelMemoryError,
    UnknownNameError,
)

cdef extern from "<sys/swap.h>" nogil:
    int c_swapon "swapon"(const char *path, int flags)
    int c_swapoff "swapoff"(const char *path)

cdef extern from "<sys/mount.h>" nogil:
    int c_mount "mount"(const char *source, const char *target, const char *kind,
                        unsigned long flags, const void *data)
    int c_unmount "umount2"(const char *target, int flags)
    int MNT_DETACH

PRESENT = PGSTE_LIVE_PRESENT
SWAPPED = PGSTE_LIVE_SWAPPED
ZERO = PGSTE_LIVE_ZERO
HUGE = PGSTE_LIVE_HUGE
EXCLUSIVE = PGSTE_LIVE_EXCLUSIVE
LAZYFREE = PGSTE_LIVE_LAZYFREE
SWAPCACHE = PGSTE_LIVE_SWAPCACHE

cdef tuple STATS = names_of(pgste_live_replay_stats_name)
cdef dict BACKINGS = {
    "anonymous": PGSTE_LIVE_ANONYMOUS,
    "shared": PGSTE_LIVE_SHARED,
    "file": PGSTE_LIVE_FILE,
    "hugetlb": PGSTE_LIVE_HUGETLB,
}


class RefusedCall(Exception):
    """A system call that the kernel refused: errno, and the run of pages it was for."""

    def __init__(self, int os_errno, uint64_t gfn=0, uint64_t pages=0):
        super().__init__(os_errno, gfn, pages)
        self.errno = os_errno
        self.gfn = gfn
        self.pages = pages


cdef object failure(int64_t code, Gfns gfns=None, uint64_t pages=0, unsigned order=0,
                    pgste_live_cost *cost=NULL):
    """The exception for an error of a call."""
    cdef int os_errno = PGSTE_OS_ERRNO(code)
    if os_errno and cost is not NULL:
        return RefusedCall(os_errno, cost.failed_gfn, cost.failed_pages)
    if os_errno:
        return RefusedCall(os_errno)
    if code == PGSTE_E_NOMEM:
        return ModelMemoryError("no memory for the bookkeeping of a live mapping")
    if code == PGSTE_E_GFN and gfns is not None:
        return GfnError(gfns.outside(pages, order, "gfns"))
    return ArgumentError("an argument that the core of live memory does not take")


cdef class Mapping:
    """A mapping of this process; see struct pgste_live_config for the arguments."""

    cdef pgste_live *live
    cdef readonly uint64_t pages
    cdef readonly uint64_t page_bytes
    cdef readonly uintptr_t address

    def __init__(self, pages, str backing="anonymous", int fd=-1):
        cdef pgste_live_config config
        cdef int ret
        if self.live is not NULL:
            raise RuntimeError("a Mapping is made once")
        if backing not in BACKINGS:
            raise UnknownNameError(f"backing: {backing!r} is not one of {', '.join(BACKINGS)}")
        config.nr_pages = integer(pages, "pages", 1, 1 << 40)
        config.backing = BACKINGS[backing]
        config.fd = fd
        with nogil:
            ret = pgste_live_new(&config, &self.live)
        if ret:
            raise failure(ret)
        self.pages = pgste_live_pages(self.live)
        self.page_bytes = pgste_live_page_bytes(self.live)
        self.address = <uintptr_t>pgste_live_base(self.live)

    def __dealloc__(self):
        pgste_live_free(self.live)

    def close(self):
        """Unmap; any later use is refused."""
        pgste_live_free(self.live)
        self.live = NULL

    cdef int opened(self) except -1:
        if self.live is NULL:
            raise GuestClosedError("the live memory is closed")
        return 0

    def lock(self):
        """mlock2(MLOCK_ONFAULT) of the whole mapping."""
        cdef int ret
        self.opened()
        with nogil:
            ret = pgste_live_lock(self.live)
        if ret:
            raise failure(ret)

    def blocks(self, gfns, order=0):
        """int64 array of the pages of the blocks, in order, once they have been checked."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        order = integer(order, "order", 0, 39)
        if g.array is None:
            first = np.arange(g.c.first, g.c.first + g.c.nr, dtype=np.int64)
        else:
            first = g.array.astype(np.int64)
        if first.size and not 0 <= first.min() <= first.max() <= <object>self.pages - (1 << order):
            raise GfnError(g.outside(self.pages, order, "gfns"))
        if order == 0:
            return first
        return (first[:, None] + np.arange(1 << order)).reshape(-1)

    def allow(self, bint vector, bint scan):
        """Whether process_madvise and PAGEMAP_SCAN may be used."""
        self.opened()
        pgste_live_allow(self.live, vector, scan)

    def advise(self, gfns, int advice, order=0):
        """(pages, calls, ns) of madvise over the gfns' blocks."""
        self.opened()
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef unsigned c_order = integer(order, "order", 0, 39)
        cdef pgste_live_cost cost
        cdef int64_t ret
        with nogil:
            ret = pgste_live_advise(self.live, &g.c, c_order, advice, &cost)
        if ret < 0:
            raise failure(ret, g, self.pages, c_order, &cost)
        return cost.pages, cost.calls, cost.ns

    def store(self, gfns, words, unsigned offset=0):
        """Store a word, or one for each gfn (uint32 array); nanoseconds."""
        self.opened()
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef const uint32_t[::1] view = words
        cdef pgste_live_cost cost
        cdef unsigned step = 0 if view.shape[0] == 1 else 1
        cdef int ret
        if view.shape[0] != 1 and <uint64_t>view.shape[0] != g.c.nr:
            raise ArgumentError(
                f"tags: {view.shape[0]} values for {g.c.nr} gfns; one value, or one for each gfn"
            )
        if g.c.nr == 0:
            return 0
        with nogil:
            ret = pgste_live_store(self.live, &g.c, offset, &view[0], step, &cost)
        if ret:
            raise failure(ret, g, self.pages)
        return cost.ns

    def load(self, gfns, unsigned nr_words=1, unsigned offset=0):
        """(uint32 array of shape (gfns, nr_words), nanoseconds)."""
        self.opened()
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef pgste_live_cost cost
        cdef int ret
        words = np.zeros((g.c.nr, nr_words), dtype=np.uint32)
        if words.size == 0:
            return words, 0
        cdef uint32_t[:, ::1] view = words
        with nogil:
            ret = pgste_live_load(self.live, &g.c, offset, &view[0, 0], nr_words, &cost)
        if ret:
            raise failure(ret, g, self.pages)
        return words, cost.ns

    def states(self, gfns, bint flags=False):
        """uint8 array: bits PRESENT, SWAPPED and so on of each gfn."""
        self.opened()
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef int ret
        states = np.zeros(g.c.nr, dtype=np.uint8)
        if g.c.nr == 0:
            return states
        cdef uint8_t[::1] view = states
        with nogil:
            ret = pgste_live_states(self.live, &g.c, &view[0], flags)
        if ret:
            raise failure(ret, g, self.pages)
        return states

    def mincore(self, gfns):
        """uint8 array: 1 where mincore(2) says that the page is in memory."""
        self.opened()
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef int ret
        resident = np.zeros(g.c.nr, dtype=np.uint8)
        if g.c.nr == 0:
            return resident
        cdef uint8_t[::1] view = resident
        with nogil:
            ret = pgste_live_mincore(self.live, &g.c, &view[0])
        if ret:
            raise failure(ret, g, self.pages)
        return resident

    def count(self):
        """(present, swapped, zero, huge) pages of the whole mapping."""
        self.opened()
        cdef pgste_live_counts counts
        cdef int ret
        with nogil:
            ret = pgste_live_count(self.live, &counts)
        if ret:
            raise failure(ret)
        return counts.present, counts.swapped, counts.zero, counts.huge


cdef class Replay:
    """Replay of events whose pfn is a gfn of the mapping; advice -1 tells the host nothing."""

    cdef Mapping mapping
    cdef object in_use
    cdef pgste_live_replay c

    def __init__(self, Mapping mapping, in_use, int advice):
        mapping.opened()
        self.in_use = np.array(in_use, dtype=np.uint8)
        if self.in_use.shape != (mapping.pages,):
            raise ArgumentError(f"in_use: shape {self.in_use.shape}, not ({mapping.pages},)")
        self.mapping = mapping
        cdef uint8_t[::1] view = self.in_use
        self.c.live = mapping.live
        self.c.in_use = &view[0]
        self.c.advice = advice

    def setup(self):
        """Store to every page that is in use."""
        self.mapping.opened()
        with nogil:
            pgste_live_replay_setup(&self.c)

    def run(self, events, bint end):
        """Replay packed events (uint64): how many."""
        self.mapping.opened()
        cdef const uint64_t[::1] view = events
        cdef uint64_t nr = <uint64_t>view.shape[0]
        cdef const uint64_t *data = &view[0] if nr else NULL
        cdef int64_t ret
        with nogil:
            ret = pgste_live_replay_run(&self.c, data, nr, end)
        if ret < 0:
            raise failure(ret)
        return ret

    def stats(self):
        """Counters by name, as a dict."""
        return with_names(STATS, &self.c.stats)


def swap_on(bytes path):
    """swapon(2)."""
    cdef const char *c_path = path
    cdef int ret
    with nogil:
        ret = c_swapon(c_path, 0)
    if ret:
        raise RefusedCall(errno)


def swap_off(bytes path):
    """swapoff(2)."""
    cdef const char *c_path = path
    cdef int ret
    with nogil:
        ret = c_swapoff(c_path)
    if ret:
        raise RefusedCall(errno)


def mount(bytes source, bytes target, bytes kind):
    """mount(2) without options."""
    cdef const char *c_source = source
    cdef const char *c_target = target
    cdef const char *c_kind = kind
    cdef int ret
    with nogil:
        ret = c_mount(c_source, c_target, c_kind, 0, NULL)
    if ret:
        raise RefusedCall(errno)


def unmount(bytes target):
    """umount2(2), lazily."""
    cdef const char *c_target = target
    cdef int ret
    with nogil:
        ret = c_unmount(c_target, MNT_DETACH)
    if ret:
        raise RefusedCall(errno)

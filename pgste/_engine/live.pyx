# SPDX-License-Identifier: MIT
"""Live memory of this process: the binding of src_c/live/.

Thin: arguments become C arrays, the GIL is released around whatever may fault or sleep, and
error codes come back as exceptions.  `pgste.live.Memory` is the class for users.
"""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from pgste._engine._c cimport (
    PGSTE_E_CHANGED,
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
    PGSTE_LIVE_WRITEBACK,
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
    pgste_live_lock_others,
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
from pgste._engine.arguments cimport Gfns, gfns_argument, integer, plain_array
from pgste._engine.names cimport names_of, with_names
from pgste._engine.unit cimport Unit

import os

import numpy as np

from pgste.errors import (
    ArgumentError,
    ChangedError,
    GfnError,
    GuestClosedError,
    ModelMemoryError,
    PgsteError,
    UnknownNameError,
)

cdef extern from "<sys/swap.h>" nogil:
    int c_swapon "swapon"(const char *path, int flags)
    int c_swapoff "swapoff"(const char *path)
    int SWAP_FLAG_PREFER

cdef extern from "<sys/mount.h>" nogil:
    int c_mount "mount"(const char *source, const char *target, const char *kind,
                        unsigned long flags, const void *data)
    int c_unmount "umount2"(const char *target, int flags)
    int MNT_DETACH

cdef extern from "<sys/prctl.h>" nogil:
    int c_prctl "prctl"(int option, unsigned long value)
    int PR_SET_PDEATHSIG

PRESENT = PGSTE_LIVE_PRESENT
SWAPPED = PGSTE_LIVE_SWAPPED
ZERO = PGSTE_LIVE_ZERO
HUGE = PGSTE_LIVE_HUGE
EXCLUSIVE = PGSTE_LIVE_EXCLUSIVE
LAZYFREE = PGSTE_LIVE_LAZYFREE
SWAPCACHE = PGSTE_LIVE_SWAPCACHE
WRITEBACK = PGSTE_LIVE_WRITEBACK

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
    if code == PGSTE_E_CHANGED:
        return ChangedError("gfns: the array was changed during the call")
    if code == PGSTE_E_GFN and gfns is not None:
        return GfnError(gfns.outside(pages, order, "gfns"))
    return ArgumentError("an argument that the core of live memory does not take")


cdef class Mapping:
    """A mapping of this process; see struct pgste_live_config for the arguments.

    One call at a time is in it, in the order of their coming (`Unit`, the lock of guests); all
    arguments are read before a call is in, since reading them may run code that closes it.
    """

    cdef pgste_live *live
    cdef Unit turn  # of the calls; it has no host
    cdef object pid  # of the process that the mapping is in; None before it is made
    cdef readonly uint64_t pages
    cdef readonly uint64_t page_bytes
    cdef readonly uintptr_t address

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(self, pages, str backing="anonymous", int fd=-1):
        cdef pgste_live_config config
        cdef int ret
        cdef pgste_live *live = NULL
        if backing not in BACKINGS:
            raise UnknownNameError(f"backing: {backing!r} is not one of {', '.join(BACKINGS)}")
        config.nr_pages = integer(pages, "pages", 1, 1 << 40)
        config.backing = BACKINGS[backing]
        config.fd = fd
        if self.pid is not None:
            raise RuntimeError("a Mapping is made once")
        self.pid = os.getpid()
        with nogil:
            ret = pgste_live_new(&config, &live)
        if ret:
            raise failure(ret)
        self.live = live
        self.pages = pgste_live_pages(self.live)
        self.page_bytes = pgste_live_page_bytes(self.live)
        self.address = <uintptr_t>pgste_live_base(self.live)

    def __cinit__(self, *args, **kwargs):
        self.turn = Unit()

    def __dealloc__(self):
        pgste_live_free(self.live)

    def close(self):
        """Unmap, when the calls that came before are done; any later use is refused."""
        self.turn.lock()
        pgste_live_free(self.live)
        self.live = NULL
        self.turn.unlock()

    cdef int opened(self) except -1:
        if self.live is NULL:
            raise GuestClosedError("the live memory is closed")
        if self.pid != os.getpid():
            raise PgsteError("live memory belongs to the process that made it, not to its child")
        return 0

    cdef int begin(self) except -1:
        """Be in alone; the caller must `end`."""
        self.turn.lock()
        try:
            self.opened()
        except BaseException:
            self.turn.unlock()
            raise
        return 0

    cdef void end(self) noexcept:
        self.turn.unlock()

    def lock(self):
        """mlock2(MLOCK_ONFAULT) of the whole mapping."""
        cdef int ret
        self.begin()
        with nogil:
            ret = pgste_live_lock(self.live)
        self.end()
        if ret:
            raise failure(ret)

    def lock_others(self):
        """mlockall(MCL_ONFAULT) of all that the process has and will have but this mapping."""
        cdef int ret
        self.begin()
        with nogil:
            ret = pgste_live_lock_others(self.live)
        self.end()
        if ret:
            raise failure(ret)

    def blocks(self, gfns, order=0):
        """int64 array of the pages of the blocks, in order, once they have been checked."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        order = integer(order, "order", 0, 39)
        self.opened()
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
        self.begin()
        pgste_live_allow(self.live, vector, scan)
        self.end()

    def advise(self, gfns, int advice, order=0):
        """(pages, calls, ns) of madvise over the gfns' blocks."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef unsigned c_order = integer(order, "order", 0, 39)
        cdef pgste_live_cost cost
        cdef int64_t ret
        self.begin()
        with nogil:
            ret = pgste_live_advise(self.live, &g.c, c_order, advice, &cost)
        self.end()
        if ret < 0:
            raise failure(ret, g, self.pages, c_order, &cost)
        return cost.pages, cost.calls, cost.ns

    def store(self, gfns, words, unsigned offset=0):
        """Store a word, or one for each gfn (uint32 array); nanoseconds."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef cnp.ndarray array = plain_array(words, "tags", sizeof(uint32_t))
        cdef const uint32_t *data = <const uint32_t *>cnp.array_data(array)
        cdef uint64_t nr = <uint64_t>cnp.array_dim(array, 0)
        cdef pgste_live_cost cost
        cdef unsigned step = 0 if nr == 1 else 1
        cdef int ret
        if nr not in (1, g.c.nr):
            raise ArgumentError(
                f"tags: {nr} values for {g.c.nr} gfns; one value, or one for each gfn"
            )
        if g.c.nr == 0:
            return 0
        self.begin()
        with nogil:
            ret = pgste_live_store(self.live, &g.c, offset, data, step, &cost)
        self.end()
        if ret:
            raise failure(ret, g, self.pages)
        return cost.ns

    def load(self, gfns, unsigned nr_words=1, unsigned offset=0):
        """(uint32 array of shape (gfns, nr_words), nanoseconds)."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef pgste_live_cost cost
        cdef int ret
        cdef cnp.ndarray words = np.zeros((g.c.nr, nr_words), dtype=np.uint32)
        cdef uint32_t *data = <uint32_t *>cnp.array_data(words)
        if g.c.nr == 0 or nr_words == 0:
            return words, 0
        self.begin()
        with nogil:
            ret = pgste_live_load(self.live, &g.c, offset, data, nr_words, &cost)
        self.end()
        if ret:
            raise failure(ret, g, self.pages)
        return words, cost.ns

    def states(self, gfns, bint flags=False):
        """uint8 array: bits PRESENT, SWAPPED and so on of each gfn."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef int ret
        cdef cnp.ndarray states = np.zeros(g.c.nr, dtype=np.uint8)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(states)
        if g.c.nr == 0:
            return states
        self.begin()
        with nogil:
            ret = pgste_live_states(self.live, &g.c, data, flags)
        self.end()
        if ret:
            raise failure(ret, g, self.pages)
        return states

    def mincore(self, gfns):
        """uint8 array: 1 where mincore(2) says that the page is in memory."""
        cdef Gfns g = gfns_argument(gfns, self.pages)
        cdef int ret
        cdef cnp.ndarray resident = np.zeros(g.c.nr, dtype=np.uint8)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(resident)
        if g.c.nr == 0:
            return resident
        self.begin()
        with nogil:
            ret = pgste_live_mincore(self.live, &g.c, data)
        self.end()
        if ret:
            raise failure(ret, g, self.pages)
        return resident

    def count(self):
        """(present, swapped, zero, huge) pages of the whole mapping."""
        cdef pgste_live_counts counts
        cdef int ret
        self.begin()
        with nogil:
            ret = pgste_live_count(self.live, &counts)
        self.end()
        if ret:
            raise failure(ret)
        return counts.present, counts.swapped, counts.zero, counts.huge


cdef class Replay:
    """Replay of events whose pfn is a gfn of the mapping; advice -1 tells the host nothing."""

    cdef Mapping mapping
    cdef object in_use
    cdef cnp.ndarray accesses
    cdef cnp.ndarray places
    cdef pgste_live_replay c

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(self, Mapping mapping not None, in_use, int advice, accesses=None, places=None):
        cdef cnp.ndarray taken = np.array(in_use, dtype=np.uint8)  # a copy that nobody else has
        if (<object>taken).shape != (mapping.pages,):
            raise ArgumentError(f"in_use: shape {(<object>taken).shape}, not ({mapping.pages},)")
        if self.mapping is not None:
            raise RuntimeError("a Replay is made once")
        mapping.opened()
        self.mapping = mapping
        self.in_use = taken
        self.c.live = mapping.live
        self.c.in_use = <uint8_t *>cnp.array_data(taken)
        self.c.advice = advice
        if accesses is not None:
            self.accesses = plain_array(accesses, "accesses", sizeof(uint64_t))
            self.places = plain_array(places, "places", sizeof(uint64_t))
            if cnp.array_dim(self.accesses, 0) != cnp.array_dim(self.places, 0):
                raise ArgumentError(f"places: {len(places)} places for {len(accesses)} accesses")
            self.c.accesses = <const uint64_t *>cnp.array_data(self.accesses)
            self.c.places = <const uint64_t *>cnp.array_data(self.places)
            self.c.nr_accesses = <uint64_t>cnp.array_dim(self.accesses, 0)

    cdef int begin(self) except -1:
        """Be in the mapping alone, which this replay's own state is under too."""
        if self.mapping is None:
            raise GuestClosedError("a replay that was not made")
        return self.mapping.begin()

    def setup(self):
        """Store to every page that is in use."""
        self.begin()
        with nogil:
            pgste_live_replay_setup(&self.c)
        self.mapping.end()

    def run(self, events, bint end):
        """Replay packed events (uint64): how many."""
        cdef cnp.ndarray array = plain_array(events, "events", sizeof(uint64_t))
        cdef uint64_t nr = <uint64_t>cnp.array_dim(array, 0)
        cdef const uint64_t *data = <const uint64_t *>cnp.array_data(array)
        cdef int64_t ret
        self.begin()
        with nogil:
            ret = pgste_live_replay_run(&self.c, data, nr, end)
        self.mapping.end()
        if ret < 0:
            raise failure(ret)
        return ret

    def stats(self):
        """Counters by name, as a dict."""
        return with_names(STATS, &self.c.stats)


def swap_on(bytes path, int priority=32767):
    """swapon(2) with a priority, 0 .. 32767 (SWAP_FLAG_PRIO_MASK): the highest is used first."""
    cdef const char *c_path = path
    cdef int ret
    if not 0 <= priority <= 32767:
        raise ArgumentError(f"priority: {priority} is not in 0 .. 32767")
    with nogil:
        ret = errno if c_swapon(c_path, SWAP_FLAG_PREFER | priority) else 0
    if ret:
        raise RefusedCall(ret)


def swap_off(bytes path):
    """swapoff(2)."""
    cdef const char *c_path = path
    cdef int ret
    with nogil:
        ret = errno if c_swapoff(c_path) else 0
    if ret:
        raise RefusedCall(ret)


def mount(bytes source, bytes target, bytes kind):
    """mount(2) without options."""
    cdef const char *c_source = source
    cdef const char *c_target = target
    cdef const char *c_kind = kind
    cdef int ret
    with nogil:
        ret = errno if c_mount(c_source, c_target, c_kind, 0, NULL) else 0
    if ret:
        raise RefusedCall(ret)


def unmount(bytes target):
    """umount2(2), lazily."""
    cdef const char *c_target = target
    cdef int ret
    with nogil:
        ret = errno if c_unmount(c_target, MNT_DETACH) else 0
    if ret:
        raise RefusedCall(ret)


def die_with_parent():
    """Have this process killed when the thread that made it ends (prctl(2), PR_SET_PDEATHSIG)."""
    c_prctl(PR_SET_PDEATHSIG, 9)

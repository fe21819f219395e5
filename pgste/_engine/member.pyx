# SPDX-License-Identifier: MIT
"""One C guest of a unit: how it comes and goes, how calls on it begin and end, how they fail."""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pgste._engine._c cimport (
    PGSTE_E_GFN,
    PGSTE_E_NO_FRAME,
    PGSTE_E_NO_SWAP,
    PGSTE_E_NOMEM,
    PGSTE_E_PGM_ADDRESSING,
    PGSTE_E_PGM_OPERATION,
    PGSTE_E_PGM_PRIVILEGED,
    PGSTE_E_PGM_SPECIFICATION,
    PGSTE_E_STATE,
    PGSTE_GEN_DAT,
    pgste_fault_gfn,
    pgste_get_free,
    pgste_gfns,
    pgste_guest_config,
    pgste_guest_new,
    pgste_guest_number,
    pgste_guest_page_bits,
    pgste_pgm_code,
    pgste_slots_cover,
    pgste_strerror,
)
from pgste._engine.arguments cimport Gfns, integer
from pgste._engine.names cimport strerror
from pgste._engine.unit cimport KEEP_GIL, Node, PyThreadState, Unit
from pgste._engine.watch cimport (
    rest_function,
    watch_begin,
    watch_begin_resting,
    watch_end,
    watch_is_out,
    watch_raise,
    watch_rests_by,
)

from pgste.errors import BY_CODE, GuestClosedError, ModelMemoryError

cdef int CLOSED = 1


cdef int rest(PyObject *unit, PyObject *member, uint8_t *claim) except -1 with gil:
    """How a long call lets others go first (watch.pyx)."""
    cdef Unit host = <Unit>unit
    if member != NULL:
        return (<Member>member).rest(claim)
    host.rest(None, NULL)
    if host.c == NULL:
        host.unlock()
        host.raise_closed()
    return 0


watch_rests_by(<rest_function>rest)


@cython.no_gc_clear  # __dealloc__ needs the host
cdef class Member:
    """A C guest of a unit; `Guest` is what users see of it."""

    def __cinit__(self, *args, **kwargs):
        self.gate = &CLOSED

    def __dealloc__(self):
        if self.node != NULL:
            if self.host.busy:
                # A call on another guest is in; it frees this one when it ends.
                self.node.owner = NULL
                self.host.orphans = True
            else:
                self.host.remove(self.node)
        free(self.claimed)

    # ---- life

    cdef int join(self, Unit host, const pgste_guest_config *config) except -1:
        """Make the C guest and add it to a unit."""
        cdef int error
        cdef Node *node
        # Only cmma guests may be entered by several vcpus at once (pgste.h, Threads).
        if self.mechanism == "cmma" and config.nr_vcpus > 1:
            free(self.claimed)
            self.claimed = <uint8_t *>calloc(<size_t>config.nr_vcpus + 1, 1)
            if self.claimed == NULL:
                raise ModelMemoryError(f"vcpus: {config.nr_vcpus}: {strerror(PGSTE_E_NOMEM)}")
        node = <Node *>calloc(1, sizeof(Node))
        if node == NULL:
            raise ModelMemoryError(f"pages: {config.nr_pages}: {strerror(PGSTE_E_NOMEM)}")
        try:
            host.begin(0)
        except BaseException:
            free(node)
            raise
        error = pgste_guest_new(host.c, config, &node.c)
        if error == 0:
            self.nr_pages = config.nr_pages
            self.nr_vcpus = config.nr_vcpus
            self.dat = config.generation == PGSTE_GEN_DAT
            self.nodat = config.nodat
            self.keyed = config.storage_keys
            self.guest_number = pgste_guest_number(node.c)
            self.page_bits = pgste_guest_page_bits(node.c)
            self.host = host
            self.c = node.c
            self.node = node
            self.gate = &host.busy
            node.owner = <PyObject *>self
            host.add(node)
        host.end(NULL)
        if error < 0:
            free(node)
            raise BY_CODE[error](f"pages: {config.nr_pages}: {strerror(error)}")
        return 0

    cdef int close_guest(self) except -1:
        """Free the C guest; a second call does nothing."""
        if self.c == NULL:
            return 0
        self.host.lock()
        if self.c != NULL:
            self.detach()
        self.host.unlock()
        return 0

    cdef void detach(self) noexcept:
        """Free the C guest; the caller is in alone."""
        self.host.remove(self.node)
        self.node = NULL
        self.c = NULL
        self.gate = &CLOSED

    # ---- calls

    cdef PyThreadState *take(self, uint64_t n) except? NULL:
        """`begin` of a call that is long, or has to wait, or must not be."""
        if self.c == NULL:
            self.raise_closed()
        self.host.lock()
        if self.c == NULL:
            self.host.unlock()
            self.raise_closed()
        return watch_begin(<PyObject *>self.host) if n > KEEP_GIL else NULL

    cdef PyThreadState *begin_resting(self, uint64_t n) except? NULL:
        """The same for a call that lets others go first between two parts."""
        self.begin(0)
        return self.rests(n, NULL)

    cdef PyThreadState *rests(self, uint64_t n, uint8_t *claim) noexcept:
        if n <= KEEP_GIL:
            return NULL
        return watch_begin_resting(
            <PyObject *>self.host, &self.host.waiting, <PyObject *>self, claim
        )

    cdef int give(self, PyThreadState *ts) except -1:
        cdef bint ended = ts != NULL and watch_end(ts)
        if not (ended and watch_is_out()):
            self.host.unlock()
        return watch_raise() if ended else 0

    cdef PyThreadState *take_vcpu(self, uint32_t vcpu, uint64_t n) except? NULL:
        if self.claimed == NULL:
            return self.begin_resting(n)
        if self.c == NULL:
            self.raise_closed()
        self.host.enter(self, &self.claimed[vcpu])
        if self.c == NULL:
            self.host.leave(&self.claimed[vcpu])
            self.raise_closed()
        return self.rests(n, &self.claimed[vcpu])

    cdef int give_vcpu(self, uint32_t vcpu, PyThreadState *ts) except -1:
        cdef bint ended = ts != NULL and watch_end(ts)
        if ended and watch_is_out():
            pass
        elif self.claimed == NULL:
            self.host.unlock()
        else:
            self.host.leave(&self.claimed[vcpu])
        return watch_raise() if ended else 0

    cdef int rest(self, uint8_t *claim) except -1:
        """Let others go first; they may close this guest."""
        self.host.rest(self, claim)
        if self.c == NULL:
            if claim == NULL:
                self.host.unlock()
            else:
                self.host.leave(claim)
            self.raise_closed()
        return 0

    cdef int raise_closed(self) except -1:
        if self.host is not None and self.host.c == NULL:
            raise GuestClosedError("use of a guest after its host is gone")
        raise GuestClosedError("use of a guest that was closed")

    cdef uint32_t vcpu_argument(self, object vcpu) except? 0xFFFFFFFF:
        return <uint32_t>integer(vcpu, "vcpu", 0, self.nr_vcpus - 1)

    # ---- errors

    cdef int check(self, int64_t result, Gfns gfns=None, str name="gfns") except -1:
        """Raise the exception for what a call returned, if that is an error code."""
        if result < 0:
            self.fail(<int>result, gfns, name)
        return 0

    cdef int check_touch(self, int error, Gfns gfns) except -1:
        """`check` after loads and stores, which z/VM may refuse at an address."""
        if error < 0 and pgste_pgm_code(error):
            self.fail_touch(error)
        return self.check(error, gfns)

    cdef int fail(
        self, int error, Gfns gfns, str name, unsigned order=0, uint32_t vcpu=0,
        unsigned orc=0, bint freeing=False
    ) except -1:
        """Raise the exception for an error code, with the element that is at fault."""
        cdef str message = pgste_strerror(error).decode()
        if error == PGSTE_E_GFN:
            message = self.no_memory(gfns, order, name)
        elif error == PGSTE_E_PGM_ADDRESSING:
            message = f"addressing exception (0x0005): {self.no_memory(gfns, 0, name)}"
        elif error == PGSTE_E_PGM_OPERATION:
            message = f"operation exception (0x0001): no ESSA with mechanism {self.mechanism!r}"
        elif error == PGSTE_E_PGM_PRIVILEGED:
            message = f"privileged-operation exception (0x0002): vcpu {vcpu} is in problem state"
        elif error == PGSTE_E_PGM_SPECIFICATION:
            most = "7" if self.nodat else "6, and 7 with nodat=True only"
            message = f"specification exception (0x0006): orc {orc} is not in 0 .. {most}"
        elif error == PGSTE_E_STATE:
            message = self.offender(gfns, order, freeing, name)
        elif error == PGSTE_E_NO_FRAME:
            message = f"{message} (the host has {self.host.config.nr_frames} frames)"
        elif error == PGSTE_E_NO_SWAP:
            message = f"{message} (the host has {self.host.config.nr_swap_slots})"
        elif gfns is not None and gfns.one:
            message = f"{name}: {gfns.c.first}: {message}"
        elif gfns is not None:
            message = f"{name}: of {gfns.c.nr} pages: {message}"
        raise BY_CODE[error](message)

    cdef str no_memory(self, Gfns gfns, unsigned order, str name):
        """A sentence on the first gfn that has no memory: outside the pages, or every slot."""
        cdef uint64_t bad = 0
        cdef object last = <object>self.nr_pages - (<uint64_t>1 << order)
        cdef bint covered
        if gfns.array is None:
            inside = gfns.c.nr and gfns.at(gfns.c.nr - 1) <= last
        else:
            inside = not ((gfns.array < 0) | (gfns.array > last)).any()
        if inside:
            self.begin(0)
            covered = pgste_slots_cover(self.c, &gfns.c, <uint64_t>1 << order, &bad)
            self.end(NULL)
            if not covered:
                what = f"page {bad}" if order == 0 else f"a page of the block at {bad}"
                return f"{name}: {what} is outside every memory slot"
        return gfns.outside(self.nr_pages, order, name)

    cdef int fail_touch(self, int error) except -1:
        """Raise the exception for a load or store that z/VM refuses, or outside every slot."""
        cdef object address = <object>pgste_fault_gfn(self.c) << 12
        why = "is unused" if self.flavour == "zvm" else "is outside every memory slot"
        if error != PGSTE_E_PGM_ADDRESSING:
            why = "was discarded"
        name = "addressing exception" if error == PGSTE_E_PGM_ADDRESSING else "discard fault"
        exception = BY_CODE[error](
            f"{name} ({pgste_pgm_code(error):#06x}): the page at {address:#x} {why}"
        )
        exception.address = address
        raise exception

    cdef str offender(self, Gfns gfns, unsigned order, bint freeing, str name):
        """A sentence on the first page that a strict guest refused to free or allocate."""
        cdef pgste_gfns page
        cdef uint8_t is_free = 0
        cdef uint64_t i, gfn
        cdef set seen = set()
        memset(&page, 0, sizeof(page))
        page.nr = 1
        for i in range(gfns.c.nr):
            gfn = gfns.at(i)
            place = name if gfns.one else f"{name}[{i}]"
            for page.first in range(gfn, gfn + (<uint64_t>1 << order)):
                self.begin(0)
                pgste_get_free(self.c, &page, &is_free)
                self.end(NULL)
                if (is_free != 0) == freeing:
                    state = "free" if freeing else "in use"
                    return f"{place}: page {page.first} is {state} already"
                if page.first in seen:
                    return f"{place}: page {page.first} is named twice"
                seen.add(page.first)
        return f"{name}: {strerror(PGSTE_E_STATE)}"

# SPDX-License-Identifier: MIT
"""A guest's clock, and free page reporting, which goes by it (mm/page_reporting.c)."""

cimport cython
from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from pgste._engine._c cimport (
    PGSTE_E_BUSY,
    PGSTE_E_NAME,
    PGSTE_E_NOMEM,
    PGSTE_MAX_NS,
    PGSTE_MAX_ORDER,
    PGSTE_MAX_PAGES,
    PGSTE_REPORTING_CAPACITY,
    pgste_advance,
    pgste_advice,
    pgste_block,
    pgste_now,
    pgste_poison,
    pgste_reporting_config,
    pgste_reporting_configure,
    pgste_reporting_free_list,
    pgste_reporting_get_state,
    pgste_reporting_isolated,
    pgste_reporting_parked,
    pgste_reporting_state,
)
from pgste._engine.arguments cimport boolean, choice, integer
from pgste._engine.names cimport strerror
from pgste._engine.ptes cimport Ptes
from pgste._engine.unit cimport PyThreadState

from pgste._engine.names import ADVICES, POISONS
from pgste.errors import BY_CODE, ArgumentError, StateError, UnknownNameError

cdef tuple STATUSES = ("off", "idle", "requested", "active")


@cython.no_gc_clear
cdef class Reporting(Ptes):
    """The part of `Guest` that is about its clock and free page reporting."""

    @property
    def now_ns(self):
        """The guest's clock in nanoseconds, 0 for a new guest."""
        cdef uint64_t now
        self.begin(0)
        now = pgste_now(self.c)
        self.end(NULL)
        return now

    def advance(self, ns):
        """Let `ns` nanoseconds pass, with what the mechanism does by the clock on the way."""
        cdef uint64_t time = integer(ns, "ns", 0, PGSTE_MAX_NS)
        cdef int error
        cdef PyThreadState *ts = self.begin(UINT64_MAX)
        error = pgste_advance(self.c, time)
        self.end(ts)
        if error < 0:
            raise ArgumentError(f"ns: {ns}: the clock would pass {PGSTE_MAX_NS}")

    cdef int report_failed(self, int error) except -1:
        if error == PGSTE_E_NAME:
            raise UnknownNameError(f"mechanism: {self.mechanism!r} is not 'reporting'")
        if error == PGSTE_E_BUSY:
            raise StateError("settings change before the first free only, and at time 0")
        raise BY_CODE[error](strerror(error))

    def set_reporting(
        self, *, order=None, max_order=None, parked_order=None, parked_high=None,
        parked_batch=None, capacity=None, delay_ns=None, ack_ns=None, min=None, low=None,
        spare=None, poison=None, negotiated=None, inhibited=None, advice=None,
    ):
        """Change settings of free page reporting; those left None stay (mm/page_reporting.c).

        Only for mechanism ``reporting``, before anything was freed and at time 0.
        docs/model.md section 11 has the defaults.

        Parameters
        ----------
        order : int
            Smallest order of a free block that is reported, 0 .. `max_order`.
        max_order : int
            Largest order of a block in the buddy allocator, 0 .. 39.
        parked_order, parked_high, parked_batch : int
            Blocks up to this order are parked on the vcpu that frees them; at this many
            pages, the oldest `parked_batch` (1 or more) are released to the buddy.
        capacity : int
            Blocks in one call, 1 .. 32.
        delay_ns, ack_ns : int
            From a request to its pass, and what a call takes, in nanoseconds.
        min, low : int
            Watermarks of the zone, in pages.
        spare : int
            Free pages of the zone that the view does not show; they count for watermarks.
        poison : {"none", "init_on_free", "page_poison"}
            What the guest does to free pages.
        negotiated : bool
            The device has PAGE_POISON.
        inhibited : bool
            The host acks reports and does not discard.
        advice : {"madv_dontneed", "madv_free"}
            How the host discards: QEMU's way, or MADV_FREE in its place.

        Raises
        ------
        UnknownNameError
            The guest has another mechanism, or `poison` or `advice` is not known.
        StateError
            Too late.
        """
        cdef pgste_reporting_state state
        cdef int error
        self.begin(0)
        error = pgste_reporting_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        cdef pgste_reporting_config *to = &state.config
        if max_order is not None:
            to.max_order = <uint32_t>integer(max_order, "max_order", 0, PGSTE_MAX_ORDER)
        if order is not None:
            to.order = <uint32_t>integer(order, "order", 0, to.max_order)
        if parked_order is not None:
            to.parked_order = <uint32_t>integer(parked_order, "parked_order", 0, to.max_order)
        if to.order > to.max_order or to.parked_order > to.max_order:
            raise ArgumentError(
                f"max_order: {to.max_order} is less than order {to.order} or"
                f" parked_order {to.parked_order}"
            )
        if parked_high is not None:
            to.parked_high = integer(parked_high, "parked_high", 0, PGSTE_MAX_PAGES)
        if parked_batch is not None:
            to.parked_batch = <uint32_t>integer(parked_batch, "parked_batch", 1, UINT32_MAX)
        if capacity is not None:
            to.capacity = <uint32_t>integer(capacity, "capacity", 1, PGSTE_REPORTING_CAPACITY)
        if delay_ns is not None:
            to.delay_ns = integer(delay_ns, "delay_ns", 0, PGSTE_MAX_NS)
        if ack_ns is not None:
            to.ack_ns = integer(ack_ns, "ack_ns", 0, PGSTE_MAX_NS)
        if min is not None:
            to.min = integer(min, "min", 0, PGSTE_MAX_PAGES)
        if low is not None:
            to.low = integer(low, "low", 0, PGSTE_MAX_PAGES)
        if spare is not None:
            to.spare = integer(spare, "spare", 0, PGSTE_MAX_PAGES)
        if poison is not None:
            to.poison = <pgste_poison>choice(poison, "poison", POISONS)
        if negotiated is not None:
            to.negotiated = boolean(negotiated, "negotiated")
        if inhibited is not None:
            to.inhibited = boolean(inhibited, "inhibited")
        if advice is not None:
            to.advice = <pgste_advice>choice(advice, "advice", ADVICES)
        self.begin(0)
        error = pgste_reporting_configure(self.c, to)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)

    def reporting(self):
        """Settings and state of free page reporting.

        Returns
        -------
        dict
            Every setting of `set_reporting`, and: "status" ("off", "idle", "requested" or
            "active"), "due_ns" (when the worker runs next, or None), "pages_free",
            "pages_parked", "pages_isolated", "blocks_isolated", "passes", "passes_skipped"
            (for want of free memory), "blocks_reported".
        """
        cdef pgste_reporting_state state
        cdef int error
        self.begin(0)
        error = pgste_reporting_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        return {
            "order": state.config.order,
            "max_order": state.config.max_order,
            "parked_order": state.config.parked_order,
            "parked_high": state.config.parked_high,
            "parked_batch": state.config.parked_batch,
            "capacity": state.config.capacity,
            "delay_ns": state.config.delay_ns,
            "ack_ns": state.config.ack_ns,
            "min": state.config.min,
            "low": state.config.low,
            "spare": state.config.spare,
            "poison": POISONS[<int>state.config.poison],
            "negotiated": bool(state.config.negotiated),
            "inhibited": bool(state.config.inhibited),
            "advice": ADVICES[<int>state.config.advice],
            "status": STATUSES[<int>state.status],
            "due_ns": None if state.due_ns == UINT64_MAX else state.due_ns,
            "pages_free": state.pages_free,
            "pages_parked": state.pages_parked,
            "pages_isolated": state.pages_isolated,
            "blocks_isolated": state.blocks_isolated,
            "passes": state.passes,
            "passes_skipped": state.passes_skipped,
            "blocks_reported": state.blocks_reported,
        }

    @property
    def _due_ns(self):
        """"due_ns" of `reporting`, for callers that ask often."""
        cdef pgste_reporting_state state
        cdef int error
        self.begin(0)
        error = pgste_reporting_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        return None if state.due_ns == UINT64_MAX else state.due_ns

    def free_blocks(self, order):
        """Free blocks of one order in the buddy view of mechanism ``reporting``.

        Returns
        -------
        list of (int, int, bool)
            First gfn, order, whether it is Reported; head of the list first.
        """
        cdef unsigned o = <unsigned>integer(order, "order", 0, PGSTE_MAX_ORDER)
        return self.blocks(0, o)

    def parked_blocks(self, vcpu=0):
        """Blocks parked on a vcpu's list, oldest first, as `free_blocks` gives them."""
        return self.blocks(1, self.vcpu_argument(vcpu))

    def isolated_blocks(self):
        """Blocks in the report call under way, in order of isolation, as `free_blocks`."""
        return self.blocks(2, 0)

    cdef int64_t copy_blocks(self, int which, uint32_t i, pgste_block *to, uint64_t most) noexcept:
        if which == 0:
            return pgste_reporting_free_list(self.c, i, to, most)
        if which == 1:
            return pgste_reporting_parked(self.c, i, to, most)
        return pgste_reporting_isolated(self.c, to, most)

    cdef list blocks(self, int which, uint32_t i):
        cdef pgste_block *found = NULL
        cdef uint64_t room = 0
        cdef int64_t nr, k
        self.begin(0)
        nr = self.copy_blocks(which, i, NULL, 0)
        if nr > 0:
            room = nr
            found = <pgste_block *>malloc(room * sizeof(pgste_block))
            if found == NULL:
                nr = PGSTE_E_NOMEM
            else:
                self.copy_blocks(which, i, found, room)
        self.end(NULL)
        try:
            if nr < 0:
                self.report_failed(<int>nr)
            return [(found[k].gfn, found[k].order, bool(found[k].reported)) for k in range(nr)]
        finally:
            free(found)

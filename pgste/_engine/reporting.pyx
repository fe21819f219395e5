# SPDX-License-Identifier: MIT
"""A guest's clock, and free page reporting, which goes by it (mm/page_reporting.c)."""

cimport cython
from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from pgste._engine._c cimport (
    PGSTE_E_BUSY,
    PGSTE_E_NAME,
    PGSTE_E_NOMEM,
    PGSTE_MAX_NS,
    PGSTE_MAX_ORDER,
    PGSTE_MAX_PAGES,
    PGSTE_MIGRATETYPES,
    PGSTE_PAGEBLOCK_ORDER_MIN,
    PGSTE_REPORTING_CAPACITY,
    PGSTE_REPORTING_ZONES,
    pgste_advance,
    pgste_advice,
    pgste_block,
    pgste_migratetype,
    pgste_now,
    pgste_poison,
    pgste_reporting_config,
    pgste_reporting_configure,
    pgste_reporting_free_list,
    pgste_reporting_get_state,
    pgste_reporting_isolated,
    pgste_reporting_parked,
    pgste_reporting_state,
    pgste_reporting_type,
    pgste_reporting_watermarks,
    pgste_reporting_zone,
)
from pgste._engine.arguments cimport boolean, choice, integer, is_integer
from pgste._engine.names cimport strerror
from pgste._engine.ptes cimport Ptes
from pgste._engine.unit cimport PyThreadState

from pgste._engine.names import ADVICES, MIGRATETYPES, POISONS, shown
from pgste.errors import BY_CODE, ArgumentError, ArgumentTypeError, StateError, UnknownNameError

cdef tuple STATUSES = ("off", "idle", "requested", "active")


cdef tuple items(object value, str name, str what):
    """What a list or a tuple has, as it is now."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    raise ArgumentTypeError(f"{name}: {shown(value)} is neither {what} nor a list or tuple")


cdef int set_zones(pgste_reporting_config *to, object zones, uint64_t pages) except -1:
    """First gfns of zones; their numbers stay as they were."""
    cdef tuple given = items(zones, "zones", "None")
    cdef uint64_t least = 0
    cdef Py_ssize_t i
    if not 1 <= len(given) <= PGSTE_REPORTING_ZONES:
        raise ArgumentError(f"zones: {len(given)} of them, not 1 .. {PGSTE_REPORTING_ZONES}")
    for i in range(len(given)):
        to.zones[i].first = integer(given[i], f"zones: {i}", least, pages - 1 if i else 0)
        to.zones[i].spare = 0
        least = to.zones[i].first + 1
    to.nr_zones = <uint32_t>len(given)
    return 0


cdef object shares(pgste_reporting_config *to, uint64_t pages, object value, str name):
    """A number for each zone: one is shared out by size, as the kernel does (do_div)."""
    cdef tuple given
    cdef uint32_t z
    if is_integer(value):
        whole = integer(value, name, 0, PGSTE_MAX_PAGES)
        ends = [to.zones[z].first for z in range(1, to.nr_zones)] + [pages]
        return [whole * (ends[z] - to.zones[z].first) // pages for z in range(to.nr_zones)]
    given = items(value, name, "a number")
    if len(given) != to.nr_zones:
        raise ArgumentError(f"{name}: {len(given)} numbers for {to.nr_zones} zones")
    return [integer(each, name, 0, PGSTE_MAX_PAGES) for each in given]


cdef bytes types_of(object value, uint64_t pages, unsigned order):
    """The number of the migratetype of each pageblock."""
    cdef uint64_t nr = ((pages - 1) >> order) + 1
    cdef tuple given
    if isinstance(value, str):
        return bytes([choice(value, "migratetypes", MIGRATETYPES)]) * nr
    given = items(value, "migratetypes", "a name")
    if len(given) != nr:
        raise ArgumentError(
            f"migratetypes: {len(given)} for the {nr} pageblocks of order {order} that the guest has"
        )
    return bytes([choice(each, "migratetypes", MIGRATETYPES) for each in given])


cdef object of_zones(list numbers):
    """As `set_reporting` takes them: of one zone its number."""
    return numbers[0] if len(numbers) == 1 else numbers


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
        spare=None, poison=None, negotiated=None, inhibited=None, advice=None, zones=None,
        migratetypes=None, pageblock_order=None,
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
        min, low : int, or list of int
            Watermarks in pages, one of each zone.  One number is shared out by their sizes.
        spare : int, or list of int
            Free pages that the view does not show, of each zone, or shared out; they count for
            watermarks.
        poison : {"none", "init_on_free", "page_poison"}
            What the guest does to free pages.
        negotiated : bool
            The device has PAGE_POISON.
        inhibited : bool
            The host acks reports and does not discard.
        advice : {"madv_dontneed", "madv_free"}
            How the host discards: QEMU's way, or MADV_FREE in its place.
        zones : list or tuple of int
            First gfn of each zone, ascending from 0, 1 .. 16 of them.  Sets `min` and `low` to the
            kernel's for these zones, and `spare` to 0, where they are not given.
        migratetypes : {"unmovable", "movable", "reclaimable", "highatomic", "cma", "isolate"}
            What each pageblock is when the guest starts: one name for all, or a list or tuple.
        pageblock_order : int
            Order of a pageblock, 2 .. 39 (a new guest has 9); only with `migratetypes`.

        Raises
        ------
        UnknownNameError
            The guest has another mechanism, or a name is not known.
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
        cdef bytes types
        if pageblock_order is not None:
            if migratetypes is None:
                raise ArgumentError(f"pageblock_order: {shown(pageblock_order)} comes without"
                                    " migratetypes, which are of pageblocks")
            to.pageblock_order = <uint32_t>integer(
                pageblock_order, "pageblock_order", PGSTE_PAGEBLOCK_ORDER_MIN, PGSTE_MAX_ORDER
            )
        if migratetypes is not None:
            types = types_of(migratetypes, self.nr_pages, to.pageblock_order)
            to.types = <const uint8_t *><char *>types
            to.nr_types = <uint64_t>len(types)
        if zones is not None:
            set_zones(to, zones, self.nr_pages)
            pgste_reporting_watermarks(self.c, to)
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
            for z, number in enumerate(shares(to, self.nr_pages, min, "min")):
                to.zones[<uint32_t>z].min = number
        if low is not None:
            for z, number in enumerate(shares(to, self.nr_pages, low, "low")):
                to.zones[<uint32_t>z].low = number
        if spare is not None:
            for z, number in enumerate(shares(to, self.nr_pages, spare, "spare")):
                to.zones[<uint32_t>z].spare = number
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
            Every setting of `set_reporting` but "migratetypes" (of several zones, "min", "low" and
            "spare" are lists), and: "status" ("off", "idle", "requested" or "active"), "due_ns"
            (when the worker runs next, or None), "pages_free", "pages_parked", "pages_isolated",
            "blocks_isolated", "passes", "passes_skipped" (zones, for want of free memory),
            "blocks_reported".
        """
        cdef pgste_reporting_state state
        cdef int error
        cdef uint32_t z
        self.begin(0)
        error = pgste_reporting_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        nr = state.config.nr_zones
        return {
            "order": state.config.order,
            "max_order": state.config.max_order,
            "parked_order": state.config.parked_order,
            "parked_high": state.config.parked_high,
            "parked_batch": state.config.parked_batch,
            "capacity": state.config.capacity,
            "delay_ns": state.config.delay_ns,
            "ack_ns": state.config.ack_ns,
            "min": of_zones([state.config.zones[z].min for z in range(nr)]),
            "low": of_zones([state.config.zones[z].low for z in range(nr)]),
            "spare": of_zones([state.config.zones[z].spare for z in range(nr)]),
            "poison": POISONS[<int>state.config.poison],
            "negotiated": bool(state.config.negotiated),
            "inhibited": bool(state.config.inhibited),
            "advice": ADVICES[<int>state.config.advice],
            "zones": [state.config.zones[z].first for z in range(nr)],
            "pageblock_order": state.config.pageblock_order,
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

    def free_blocks(self, order, *, zone=None, migratetype=None):
        """Free blocks of one order in the buddy view of mechanism ``reporting``.

        Parameters
        ----------
        order : int
            0 .. 39.
        zone : int
            Only blocks of this zone, counted from 0; of all, if None.
        migratetype : str
            Only blocks on lists of this migratetype; of all, if None.

        Returns
        -------
        list of (int, int, bool)
            First gfn, order, whether it is Reported; head of the list first.  Of several lists, in
            the order in which a pass goes through them: by zone, then by migratetype.

        Raises
        ------
        UnknownNameError
            The guest has another mechanism, or `migratetype` is not known.
        """
        cdef unsigned o = <unsigned>integer(order, "order", 0, PGSTE_MAX_ORDER)
        cdef int z = -1, t = -1
        if zone is not None:
            z = <int>integer(zone, "zone", 0, self.zones() - 1)
        if migratetype is not None:
            t = <int>choice(migratetype, "migratetype", MIGRATETYPES)
        return self.blocks(0, o, z, t)

    cdef uint32_t zones(self) except 0:
        cdef pgste_reporting_state state
        cdef int error
        self.begin(0)
        error = pgste_reporting_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        return state.config.nr_zones

    def migratetypes(self):
        """The migratetype of each pageblock now (get_pageblock_migratetype).

        Returns
        -------
        list of str
            Names as `set_reporting` takes them.  A report of half a pageblock or more makes it
            movable, if it was unmovable or reclaimable.

        Raises
        ------
        UnknownNameError
            The guest has another mechanism.
        """
        cdef pgste_reporting_state state
        cdef uint64_t pages = self.nr_pages, gfn = 0
        cdef int type
        found = []
        self.begin(0)
        type = pgste_reporting_get_state(self.c, &state)
        while type >= 0 and gfn < pages:
            type = pgste_reporting_type(self.c, gfn)
            found.append(type)
            gfn += <uint64_t>1 << state.config.pageblock_order
        self.end(NULL)
        if type < 0:
            self.report_failed(type)
        return [MIGRATETYPES[each] for each in found]

    def parked_blocks(self, vcpu=0):
        """Blocks parked on a vcpu's list, oldest first, as `free_blocks` gives them."""
        return self.blocks(1, self.vcpu_argument(vcpu))

    def isolated_blocks(self):
        """Blocks in the report call under way, in order of isolation, as `free_blocks`."""
        return self.blocks(2, 0)

    cdef int64_t copy_free(self, unsigned order, int zone, int type, pgste_block *to,
                           uint64_t most) noexcept:
        """The lists of an order, of one zone and type, or of all (-1), behind one another."""
        cdef pgste_reporting_state state
        cdef int64_t nr = 0, more = pgste_reporting_get_state(self.c, &state)
        cdef uint32_t z, t
        if more < 0:
            return more
        for z in range(state.config.nr_zones):
            for t in range(PGSTE_MIGRATETYPES):
                if zone >= 0 and z != <uint32_t>zone or type >= 0 and t != <uint32_t>type:
                    continue
                more = pgste_reporting_free_list(
                    self.c, z, <pgste_migratetype><int>t, order, to + nr if most else NULL,
                    most - <uint64_t>nr if most else 0,
                )
                nr += more
        return nr

    cdef int64_t copy_blocks(self, int which, uint32_t i, int zone, int type, pgste_block *to,
                             uint64_t most) noexcept:
        if which == 0:
            return self.copy_free(i, zone, type, to, most)
        if which == 1:
            return pgste_reporting_parked(self.c, i, to, most)
        return pgste_reporting_isolated(self.c, to, most)

    cdef list blocks(self, int which, uint32_t i, int zone=-1, int type=-1):
        cdef pgste_block *found = NULL
        cdef uint64_t room = 0
        cdef int64_t nr, k
        self.begin(0)
        nr = self.copy_blocks(which, i, zone, type, NULL, 0)
        if nr > 0:
            room = nr
            found = <pgste_block *>malloc(room * sizeof(pgste_block))
            if found == NULL:
                nr = PGSTE_E_NOMEM
            else:
                self.copy_blocks(which, i, zone, type, found, room)
        self.end(NULL)
        try:
            if nr < 0:
                self.report_failed(<int>nr)
            return [(found[k].gfn, found[k].order, bool(found[k].reported)) for k in range(nr)]
        finally:
            free(found)

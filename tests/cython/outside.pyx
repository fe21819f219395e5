# cython: language_level=3
"""What a program of others does: drives a guest through the C core from its own loop."""

from libc.stdint cimport uint64_t

from pgste._c cimport (
    PGSTE_CONTENT_ZERO,
    PGSTE_EVENT,
    PGSTE_EVENT_FREE,
    PGSTE_EVENT_ORDER,
    PGSTE_EVENT_PFN,
    PGSTE_GFN_RANGE,
    PGSTE_ORC_SET_UNUSED,
    PGSTE_ZERO,
    pgste_count_states,
    pgste_essa_page,
    pgste_free,
    pgste_gfns,
    pgste_guest_config,
    pgste_host_config,
    pgste_state_counts,
)
from pgste._engine._c cimport pgste_strerror
from pgste._engine cimport Guest, Host, PyThreadState


def free_every_other_page(Guest guest, uint64_t nr_pages):
    """ESSA set unused on every second page; the sum of the results."""
    cdef uint64_t gfn, total = 0
    cdef int result = 0
    cdef PyThreadState *ts = guest.begin(nr_pages)
    for gfn in range(0, nr_pages, 2):
        result = pgste_essa_page(guest.c, 0, PGSTE_ORC_SET_UNUSED, gfn)
        if result < 0:
            break
        total += <uint64_t>result
    guest.end(ts)
    if result < 0:
        raise RuntimeError(pgste_strerror(result).decode())
    return total


def free_range(Guest guest, uint64_t first, uint64_t nr):
    """pgste_free through a struct of the header."""
    cdef pgste_gfns gfns
    cdef PyThreadState *ts
    cdef int error
    gfns.type = PGSTE_GFN_RANGE
    gfns.data = NULL
    gfns.first = first
    gfns.nr = nr
    ts = guest.begin_vcpu(0, nr)
    error = pgste_free(guest.c, 0, &gfns, 0)
    guest.end_vcpu(0, ts)
    return error


def unused_zero(Guest guest):
    cdef pgste_state_counts counts
    guest.begin(0)
    pgste_count_states(guest.c, 1, &counts)
    guest.end(NULL)
    return counts.pages[1][2]


def facts(Host host):
    cdef uint64_t event = PGSTE_EVENT(PGSTE_EVENT_FREE, 3, 77)
    return {
        "event": event,
        "order": PGSTE_EVENT_ORDER(event),
        "pfn": PGSTE_EVENT_PFN(event),
        "zero": PGSTE_ZERO,
        "content": <int>PGSTE_CONTENT_ZERO,
        "sizes": (sizeof(pgste_gfns), sizeof(pgste_host_config), sizeof(pgste_guest_config)),
        "frames": host.config.nr_frames,
    }

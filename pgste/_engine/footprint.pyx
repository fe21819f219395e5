# SPDX-License-Identifier: MIT
"""Binding of src_c/footprint/: what a host with room for all holds for one guest."""

cimport pgste._engine._numpy as cnp
from libc.stdint cimport int64_t, uint32_t, uint64_t

from pgste._engine._c cimport (
    PGSTE_E_ARG,
    PGSTE_E_NOMEM,
    PGSTE_OK,
    pgste_advice,
    pgste_footprint,
    pgste_footprint_config,
    pgste_footprint_count_name,
    pgste_footprint_result,
    pgste_footprint_rule,
    pgste_place,
    pgste_place_config,
    pgste_placement,
    pgste_poison,
    pgste_reporting_config,
)
from pgste._engine.arguments cimport plain_array
from pgste._engine.names cimport strerror
from pgste._engine.watch cimport PyThreadState, watch_begin, watch_end, watch_raise

import numpy as np

from pgste._engine.names import ADVICES, POISONS
from pgste.errors import BY_CODE, ArgumentError, ModelMemoryError

RULES = ("keep", "blocks", "reporting", "balloon", "age")
PLACEMENTS = ("lowest", "buddy")


cdef tuple count_names():
    cdef unsigned i = 0
    names = []
    while pgste_footprint_count_name(i) is not NULL:
        names.append(pgste_footprint_count_name(i).decode())
        i += 1
    return tuple(names)


COUNTS = count_names()


cdef const uint64_t *numbers(object value, str name, uint64_t *nr) except? NULL:
    """The elements of an array of uint64, and how many; NULL for none."""
    cdef cnp.ndarray array = plain_array(value, name, sizeof(uint64_t))
    nr[0] = cnp.array_dim(array, 0)
    return <const uint64_t *>cnp.array_data(array) if nr[0] else NULL


cdef int read_settings(dict settings, pgste_reporting_config *to) except -1:
    to.order = settings["order"]
    to.max_order = settings["max_order"]
    to.parked_order = settings["parked_order"]
    to.capacity = settings["capacity"]
    to.parked_high = settings["parked_high"]
    to.parked_batch = settings["parked_batch"]
    to.delay_ns = settings["delay_ns"]
    to.ack_ns = settings["ack_ns"]
    to.types = NULL
    to.nr_zones = 1
    to.zones[0].first = 0
    to.zones[0].min = settings["min"]
    to.zones[0].low = settings["low"]
    to.zones[0].spare = settings["spare"]
    to.poison = <pgste_poison><int>POISONS.index(settings["poison"])
    to.negotiated = settings["negotiated"]
    to.inhibited = settings["inhibited"]
    to.advice = <pgste_advice><int>ADVICES.index(settings["advice"])
    return 0


def one_guest(
    events,
    times,
    rule,
    *,
    uint64_t base,
    uint64_t pages,
    bint unnamed_free=False,
    uint32_t host_order=0,
    uint32_t block_order=0,
    uint64_t period_ns=0,
    uint64_t reserve=0,
    bint asks=False,
    bint populate=False,
    reporting=None,
    samples,
):
    """What is held for a guest of ``pages`` from ``base`` on, by one of `RULES`.

    pgste/footprint.h has the arguments.  ``reporting`` are settings as `Guest.reporting` tells
    them, ``samples`` times in ns after the first event, ascending.

    Returns
    -------
    dict
        Integers for each of `COUNTS`, ``held_seconds`` and ``used_seconds`` (pages times seconds),
        and an array of uint64 each for ``held`` and ``used`` at the samples.

    Raises
    ------
    ArgumentError, ModelMemoryError
    """
    cdef pgste_footprint_config config
    cdef pgste_reporting_config settings
    cdef uint64_t nr_times = 0
    cdef int error
    cdef PyThreadState *ts
    config.events = numbers(events, "events", &config.nr_events)
    config.times_ns = numbers(times, "times", &nr_times)
    config.samples_ns = numbers(samples, "samples", &config.nr_samples)
    if config.nr_events != nr_times:
        raise ArgumentError(f"times: {nr_times} values for {config.nr_events} events")
    config.base_pfn = base
    config.nr_pages = pages
    config.unnamed_free = unnamed_free
    config.host_order = host_order
    config.rule = <pgste_footprint_rule><int>RULES.index(rule)
    config.block_order = block_order
    config.period_ns = period_ns
    config.reserve = reserve
    config.asks = asks
    config.populate = populate
    config.reporting = NULL
    if reporting is not None:
        read_settings(reporting, &settings)
        config.reporting = &settings
    # counts and two numbers of 64 bits; a sample more, so that there is one to point at
    cdef cnp.ndarray result = np.zeros(len(COUNTS) + 2, np.uint64)
    cdef cnp.ndarray looks = np.zeros((2, config.nr_samples + 1), np.uint64)
    cdef pgste_footprint_result *to = <pgste_footprint_result *>cnp.array_data(result)
    cdef uint64_t *held = <uint64_t *>cnp.array_data(looks)
    ts = watch_begin(NULL)
    error = pgste_footprint(&config, to, held, held + config.nr_samples + 1)
    if watch_end(ts):
        watch_raise()
    if error == PGSTE_E_ARG:
        raise ArgumentError("events, times, pages, orders, period or samples: out of range")
    if error == PGSTE_E_NOMEM:
        raise ModelMemoryError("the pages of the guest need more memory than there is")
    if error != PGSTE_OK:
        raise BY_CODE[error](strerror(error))
    return {
        **dict(zip(COUNTS, result[: len(COUNTS)].tolist(), strict=True)),
        "held_seconds": to.held_seconds,
        "used_seconds": to.used_seconds,
        "held": looks[0, :-1].copy(),
        "used": looks[1, :-1].copy(),
    }


def place(events, placement, *, uint64_t base, uint64_t pages, uint64_t places, uint64_t most):
    """The events where another allocator, one of `PLACEMENTS`, would have had them.

    They are about ``pages`` from ``base`` on, and go into a guest of ``places`` pages, 2^n of them.
    ``most`` is how many they may become.

    Returns
    -------
    (array of uint64, array of uint64)
        Events, and which of the given ones each is from.

    Raises
    ------
    ArgumentError, OutOfFramesError, ModelMemoryError
    """
    cdef pgste_place_config config
    cdef int64_t nr
    cdef PyThreadState *ts
    config.events = numbers(events, "events", &config.nr_events)
    config.base_pfn = base
    config.nr_pages = pages
    config.placement = <pgste_placement><int>PLACEMENTS.index(placement)
    config.nr_places = places
    cdef cnp.ndarray placed = np.empty(most + 1, np.uint64)
    cdef cnp.ndarray which = np.empty(most + 1, np.uint64)
    ts = watch_begin(NULL)
    nr = pgste_place(
        &config, <uint64_t *>cnp.array_data(placed), <uint64_t *>cnp.array_data(which), most
    )
    if watch_end(ts):
        watch_raise()
    if nr == PGSTE_E_ARG:
        raise ArgumentError("events, pages, places or most: out of range")
    if nr < 0:
        raise BY_CODE[nr](strerror(nr))
    return placed[:nr].copy(), which[:nr].copy()

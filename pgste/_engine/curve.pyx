# SPDX-License-Identifier: MIT
"""Binding of src_c/curve/: one pass over a trace for hosts of many sizes."""

cimport pgste._engine._numpy as cnp
from libc.stdint cimport uint32_t, uint64_t

from pgste._engine._c cimport (
    PGSTE_E_ARG,
    PGSTE_E_NOMEM,
    PGSTE_OK,
    pgste_curve,
    pgste_curve_config,
    pgste_curve_point,
    pgste_curve_rule,
)
from pgste._engine.arguments cimport plain_array
from pgste._engine.names cimport strerror
from pgste._engine.watch cimport PyThreadState, watch_begin, watch_end, watch_raise

import numpy as np

from pgste.errors import BY_CODE, ArgumentError, ModelMemoryError

RULES = ("keep", "unused", "give", "lazy")
FIELDS = ("swap_outs", "swap_ins", "zero_fills", "discards", "frames", "slots")


cdef const uint64_t *numbers(object value, str name, uint64_t *nr) except? NULL:
    """The elements of an array of uint64, and how many; NULL for none."""
    cdef cnp.ndarray array = plain_array(value, name, sizeof(uint64_t))
    nr[0] = cnp.array_dim(array, 0)
    return <const uint64_t *>cnp.array_data(array) if nr[0] else NULL


def one_pass(
    events,
    rule,
    sizes,
    *,
    uint32_t guests=1,
    samples,
    given,
    given_at,
    uint64_t share=1 << 32,
):
    """What hosts of these sizes (frames, ascending) would do with a trace, in exact LRU order.

    ``rule`` is one of `RULES`: what becomes of a page that the guest frees (pgste/curve.h).
    ``given`` are pfns that it gives back beside, right before the events ``given_at``; ``samples``
    numbers of events after which memory is looked at; ``share`` of 2^32 the pages that count.

    Returns
    -------
    dict
        An array of uint64 for each of `FIELDS`, with an element for each size; ``frames`` and
        ``slots`` are sums over the samples.

    Raises
    ------
    ArgumentError, ModelMemoryError
    """
    cdef pgste_curve_config config
    cdef uint64_t places = 0
    cdef int error
    cdef PyThreadState *ts
    config.events = numbers(events, "events", &config.nr_events)
    config.sizes = numbers(sizes, "sizes", &config.nr_sizes)
    config.samples = numbers(samples, "samples", &config.nr_samples)
    config.given = numbers(given, "given", &config.nr_given)
    config.given_at = numbers(given_at, "given_at", &places)
    if config.nr_given != places:
        raise ArgumentError(f"given_at: {places} places for {config.nr_given} pages")
    config.nr_guests = guests
    config.rule = <pgste_curve_rule><int>RULES.index(rule)
    # a row more, so that there is one to point at
    cdef cnp.ndarray points = np.empty((config.nr_sizes + 1, len(FIELDS)), np.uint64)
    config.share = share
    ts = watch_begin(NULL)
    error = pgste_curve(&config, <pgste_curve_point *>cnp.array_data(points))
    if watch_end(ts):
        watch_raise()
    if error == PGSTE_E_ARG:
        raise ArgumentError("events, sizes or share: out of range, or sizes do not ascend")
    if error == PGSTE_E_NOMEM:
        raise ModelMemoryError("the pages of the trace need more memory than there is")
    if error != PGSTE_OK:
        raise BY_CODE[error](strerror(error))
    return {name: points[: len(sizes), i].copy() for i, name in enumerate(FIELDS)}

# SPDX-License-Identifier: MIT
"""Binding of src_c/curve/: one pass over a trace for hosts of many sizes."""

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
from pgste._engine.names cimport strerror
from pgste._engine.watch cimport PyThreadState, watch_begin, watch_end, watch_raise

import numpy as np

from pgste.errors import BY_CODE, ArgumentError, ModelMemoryError

RULES = ("keep", "unused", "give", "lazy")
FIELDS = ("swap_outs", "swap_ins", "zero_fills", "discards", "frames", "slots")


def one_pass(
    const uint64_t[::1] events not None,
    rule,
    const uint64_t[::1] sizes not None,
    *,
    uint32_t guests=1,
    const uint64_t[::1] samples not None,
    const uint64_t[::1] given not None,
    const uint64_t[::1] given_at not None,
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
    cdef Py_ssize_t nr = sizes.shape[0]
    cdef int error
    cdef PyThreadState *ts
    if given.shape[0] != given_at.shape[0]:
        raise ArgumentError(f"given_at: {given_at.shape[0]} places for {given.shape[0]} pages")
    points = np.empty((nr + 1, len(FIELDS)), np.uint64)
    cdef uint64_t[:, ::1] view = points
    config.events = &events[0] if events.shape[0] else NULL
    config.nr_events = events.shape[0]
    config.nr_guests = guests
    config.rule = <pgste_curve_rule><int>RULES.index(rule)
    config.given = &given[0] if given.shape[0] else NULL
    config.given_at = &given_at[0] if given.shape[0] else NULL
    config.nr_given = given.shape[0]
    config.sizes = &sizes[0] if nr else NULL
    config.nr_sizes = nr
    config.samples = &samples[0] if samples.shape[0] else NULL
    config.nr_samples = samples.shape[0]
    config.share = share
    ts = watch_begin(NULL)
    error = pgste_curve(&config, <pgste_curve_point *>&view[0, 0])
    if watch_end(ts):
        watch_raise()
    if error == PGSTE_E_ARG:
        raise ArgumentError("events, sizes or share: out of range, or sizes do not ascend")
    if error == PGSTE_E_NOMEM:
        raise ModelMemoryError("the pages of the trace need more memory than there is")
    if error != PGSTE_OK:
        raise BY_CODE[error](strerror(error))
    return {name: points[:nr, i].copy() for i, name in enumerate(FIELDS)}

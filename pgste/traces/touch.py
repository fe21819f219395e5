# SPDX-License-Identifier: MIT
"""Synthetic accesses: what stands in for the loads and stores that a recording does not have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pgste._engine.names import shown
from pgste.errors import ArgumentError, ArgumentTypeError
from pgste.traces.budget import Meter
from pgste.traces.events import LOAD, STORE, each_page
from pgste.traces.trace import Trace

__all__ = ["TOUCHES", "Lives", "touched"]

TOUCHES = "none, uniform:RATE, zipf:S or recorded"
STORE_SHARE = 0.25
"""Of synthetic accesses, those that are stores."""
MOST_RATE = 100.0
MOST_S = 10.0
_TRIES = 64
"""To find a page in use; where few of many are, the last accesses are left out."""

_EVENT_BYTES, _PAGE_BYTES = 16, 64  # of memory

if TYPE_CHECKING:  # else each command would import what only this needs
    from numpy.random import Generator

    Draw = Callable[[Generator, int], npt.NDArray[np.int64]]


class Lives:
    """Which pages are in use before which event."""

    def __init__(self, trace: Trace) -> None:
        counts = np.int64(1) << trace.order.astype(np.int64)
        meter = Meter(trace._budget, _EVENT_BYTES * len(trace))
        meter.memory(_PAGE_BYTES * sum(counts.tolist()), "a table of the pages of all events")
        pfn, events = each_page(trace.pfn, trace.order)
        self.pages, page = np.unique(pfn, return_inverse=True)
        kinds = trace.kind[events]
        self.step = len(trace) + 2
        keys = page.astype(np.int64) * self.step + events + 1
        order = np.argsort(keys)
        self.keys, self.is_alloc = keys[order], kinds[order] == 0

    def in_use(
        self, page: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Whether each page is in use before the event of the place."""
        at = np.searchsorted(self.keys, page * self.step + place, side="right") - 1
        own = (at >= 0) & (self.keys[at] // self.step == page)
        # before its first event a page is in use if that is a free
        first = np.searchsorted(self.keys, page * self.step)
        result: npt.NDArray[np.bool_] = np.where(own, self.is_alloc[at], ~self.is_alloc[first])
        return result


def _uniform(pages: int) -> Draw:
    return lambda rng, nr: rng.integers(0, pages, nr)


def _zipf(pages: int, s: float, rng: Generator) -> Draw:
    """Page number r of a random order with a weight of 1 / r^s."""
    order = rng.permutation(pages)
    edges = np.cumsum(np.arange(1, pages + 1, dtype=np.float64) ** -s)
    return lambda rng, nr: order[np.searchsorted(edges, rng.random(nr) * edges[-1])]


def _number(text: str, what: str, most: float) -> float:
    name, _, rest = text.partition(":")
    try:
        value = float(rest)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise ArgumentError(
            f"touch: {shown(text)}; {name}:{what} has a number above 0, at most {most:g}"
        )
    return value


def touched(trace: Trace, touch: str, seed: int = 1) -> Trace:
    """The trace with accesses of the kind that ``touch`` names.

    ``none``: without any.  ``recorded``: those that it has; ArgumentError if it has none.
    ``uniform:RATE``: RATE accesses for each event, each of a page in use then, all alike.
    ``zipf:S``: one for each event; of the pages, in a random order, number r has a weight of
    1 / r^S.  A quarter of them are stores.  The same seed gives the same accesses.

    ArgumentError, ArgumentTypeError for another ``touch``; TraceError if the pages of all events
    take more than the trace's budget.
    """
    if not isinstance(touch, str):
        raise ArgumentTypeError(f"touch: {shown(touch)} is not a str")
    name, _, rest = touch.partition(":")
    empty = np.empty(0, np.uint64)
    if touch == "none":
        return trace._touched(empty, empty, trace.counters)
    if touch == "recorded":
        if not len(trace.accesses):
            raise ArgumentError("touch: 'recorded', and the trace has no accesses")
        return trace
    if name not in ("uniform", "zipf") or not rest:
        raise ArgumentError(f"touch: {shown(touch)} is none of {TOUCHES}")
    if not len(trace):
        return trace._touched(empty, empty, trace.counters)
    rate = _number(touch, "RATE", MOST_RATE) if name == "uniform" else 1.0
    lives, rng = Lives(trace), np.random.default_rng(seed)
    draw = (
        _uniform(len(lives.pages))
        if name == "uniform"
        else _zipf(len(lives.pages), _number(touch, "S", MOST_S), rng)
    )
    nr = round(rate * len(trace))
    place = np.sort(rng.integers(0, len(trace) + 1, nr))
    page = np.full(nr, -1, np.int64)
    left = np.arange(nr)
    for _ in range(_TRIES):
        drawn = draw(rng, len(left))
        good = lives.in_use(drawn, place[left])
        page[left[good]] = drawn[good]
        left = left[~good]
        if not len(left):
            break
    found = page >= 0
    kind = np.where(rng.random(nr) < STORE_SHARE, STORE, LOAD)[found]
    words = lives.pages[page[found]].astype(np.uint64) << np.uint64(8) | kind.astype(np.uint64)
    return trace._touched(words, place[found].astype(np.uint64), trace.counters)

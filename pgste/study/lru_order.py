# SPDX-License-Identifier: MIT
"""Hosts of all sizes whose pages leave in exact LRU order: one pass over a trace (src_c/curve/)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine import Guest, Replay
from pgste._engine.curve import one_pass
from pgste.enums import State
from pgste.study.setting import COUNTS, Setting, with_watermarks
from pgste.study.sizes import guest_pages, kernel_watermarks
from pgste.traces.events import Words, each_page
from pgste.traces.trace import Trace

__all__ = [
    "Given",
    "Values",
    "given_by",
    "knee_of",
    "lru_values",
    "pass_values",
    "sample_events",
    "used_frames",
]

Values = dict[str, npt.NDArray[np.float64]]
Given = tuple[Words, Words]
"""Pages that a guest gives back beside what its mechanism does, and before which events."""

_RULES = {"none": "keep", "cmma": "unused", "madv_dontneed": "give", "madv_free": "lazy"}
_RULES["reporting"] = "keep"
_NOTHING: Words = np.empty(0, np.uint64)
SAMPLES = 64  # looks at memory, evenly over trace time
_LOOKS = 1024  # for pages that were reported, evenly over the events


def sample_events(trace: Trace) -> npt.NDArray[np.uint64]:
    """Numbers of events that are done at `SAMPLES` moments, evenly over trace time."""
    span = int(trace.time[-1]) - int(trace.time[0])
    moments = (np.arange(SAMPLES) + 0.5) / SAMPLES
    if not span:
        return (moments * len(trace)).astype(np.uint64)
    times = int(trace.time[0]) + (moments * span).astype(np.uint64)
    return np.searchsorted(trace.time, times, side="right").astype(np.uint64)


def used_frames(setting: Setting, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What hosts keep in use, ascending: half way between their watermarks fewer than they have.

    One with room for every page has no reason to reclaim any.
    """
    marks = [sum(kernel_watermarks(int(n))) // 2 for n in frames]
    used = np.where(frames < setting.most_frames, frames - np.array(marks, np.int64), frames)
    return np.maximum.accumulate(used)


def given_by(setting: Setting, mechanism: str) -> Given:
    """What `lru_values` gets."""
    return _reported(setting) if mechanism == "reporting" else (_NOTHING, _NOTHING)


def lru_values(
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    samples: npt.NDArray[np.uint64],
    share: float,
    given: Given,
) -> Values:
    """One pass: what hosts of so many frames do if pages leave in exact LRU order.

    given: what `given_by` tells.
    """
    used = used_frames(setting, frames) * share
    values = pass_values(
        setting.trace.events, mechanism, used, setting.guests, samples, given, share
    )
    weight = _weight(setting, share)
    return {name: each * (weight if name in COUNTS else 1 / share) for name, each in values.items()}


def pass_values(
    events: Words,
    mechanism: str,
    used: npt.NDArray[np.floating[Any]],
    guests: int,
    samples: Words,
    given: Given,
    share: float = 1.0,
) -> Values:
    """What one pass over a share of the pages counts, for hosts with so many frames in use."""
    counted = one_pass(
        events,
        _RULES[mechanism],
        np.maximum(np.rint(used), 1).astype(np.uint64),
        guests=guests,
        samples=samples,
        given=given[0],
        given_at=given[1],
        share=round(share * (1 << 32)),
    )
    values = {name: counted[name].astype(np.float64) for name in COUNTS}
    values["frames_mean"] = counted["frames"] / len(samples)
    values["swap_mean"] = counted["slots"] / len(samples)
    return values


def knee_of(values: Values) -> int:
    """The first size (its index) from which on nothing is written to swap, or the last of all."""
    return int(np.argmin(values["swap_outs"] > 0)) or len(values["swap_outs"]) - 1


def _weight(setting: Setting, share: float) -> float:
    """How many stores stand behind one that was looked at: some pages have more than others."""
    if share == 1:
        return 1.0
    # where a free page is given back, each store is a zero fill
    looked_at = one_pass(
        setting.trace.events,
        "give",
        np.ones(1, np.uint64),
        guests=1,
        samples=_NOTHING,
        given=_NOTHING,
        given_at=_NOTHING,
        share=round(share * (1 << 32)),
    )
    return float(setting.summary["pages_allocated"]) / max(int(looked_at["zero_fills"][0]), 1)


def _reported(setting: Setting) -> Given:
    """Pages that free page reporting gives back, and before which event: no host changes that.

    On a host with room for all, a page that loses its frame was reported.
    """
    alone = replace(setting, guests=1)
    frames = with_watermarks(alone.summary["unique_pages"]) + 64
    with alone.replay("reporting", frames) as (replay, _):
        return _reported_by(replay, setting)


def _reported_by(replay: Replay, setting: Setting) -> Given:
    """What a replay with one guest gives back, from its start to its end."""
    trace, guest = setting.trace, replay.guests[0]
    base, _ = guest_pages(setting.summary)
    pages, events = [_NOTHING], [_NOTHING]
    absent, hints, since = _absent(guest), 0, 0
    step = -(-len(trace) // _LOOKS)
    while replay.run(step):
        if guest.stats()["hints"] == hints:
            continue
        hints, at = guest.stats()["hints"], replay.position
        absent[_allocated(trace, since, at) - base] = False
        now = _absent(guest)
        gone = np.flatnonzero(now & ~absent)
        pages.append((gone + base).astype(np.uint64))
        events.append(np.full(len(gone), at, np.uint64))
        absent, since = now, at
    return np.concatenate(pages), np.concatenate(events)


def _absent(guest: Guest) -> npt.NDArray[np.bool_]:
    """Pages without a frame, of a host that never reclaims."""
    absent: npt.NDArray[np.bool_] = (guest.states() & State.VALID) == 0
    return absent


def _allocated(trace: Trace, start: int, stop: int) -> npt.NDArray[np.int64]:
    """Pages of the blocks that these events allocate."""
    which = np.flatnonzero(trace.kind[start:stop] == 0) + start
    return each_page(trace.pfn[which], trace.order[which])[0]

# SPDX-License-Identifier: MIT
"""Replays of a share of a trace's pages, on hosts as much smaller: as in SHARDS, with the engine.

They tell what makes the engine differ from exact LRU order, at a share of the time: the difference
is that between the engine and one pass (src_c/curve/), both of these pages alone, so that which
pages they are matters little.  What the engine does in batches is scaled as the host is:
watermarks, and entries of the CBRL.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgste._engine import Guest, Host, Replay
from pgste._engine.trace import share_of, summarize
from pgste.study.correction import with_added
from pgste.study.lru_order import (
    Given,
    Values,
    given_by,
    knee_of,
    lru_values,
    pass_values,
    sample_events,
    used_frames,
)
from pgste.study.setting import COUNTS, Setting, counts_of
from pgste.study.sizes import kernel_watermarks
from pgste.traces.events import FREE, STORE, Words, distinct

__all__ = ["STEPS", "Part", "guessed", "off_at", "part_of"]

STEPS = 32  # between the sizes for which hosts are replayed
_PAGES = 2500
_LEAST_TIMES = 4  # as many in the whole trace, or nothing is saved
_CBRL_ENTRIES = 511
_LEAST_FRAMES = 8
_SHIFT = np.uint64(8)


@dataclass(frozen=True)
class Part:
    """Events of a share of the pages, which are numbered from 0 on; each is of one page."""

    events: Words
    places: Words
    """For each how many events of the trace come before the one that it is of."""
    times: Words
    pfns: Words
    """Of the pages, ascending: a page's number is its place here."""
    share: float
    """Of the pages of the trace."""
    weight: float
    """How many stores of the trace stand behind one of these."""


def part_of(setting: Setting, most: float) -> Part | None:
    """Pages that stand for all, at most this share of them; None if that would save nothing."""
    trace, summary = setting.trace, setting.summary
    share = min(_PAGES / summary["unique_pages"], most)
    if share * _LEAST_TIMES > 1:
        return None
    events, places = share_of(trace.events, max(round(share * (1 << 32)), 1))
    pfns = distinct(events >> _SHIFT)
    if len(pfns) == 0:
        return None
    events = _numbered(pfns, events >> _SHIFT) << _SHIFT | events & np.uint64(3)
    found = summarize(events, 1 << 62, 1 << 62)
    assert isinstance(found, dict)
    return Part(
        events=events,
        places=places,
        times=trace.time[places],
        pfns=pfns,
        share=len(pfns) / summary["unique_pages"],
        weight=summary["pages_allocated"] / max(found["pages_allocated"], 1),
    )


def guessed(
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    samples: Words,
    share: float,
    part: Part | None,
    *,
    done: Callable[[], object],
) -> tuple[Values, list[int]]:
    """Exact LRU order (`lru_values`), corrected by small hosts for some sizes, and which (indices).

    done: called after each of them; without a part there is none.
    """
    given = given_by(setting, mechanism)
    values = lru_values(setting, mechanism, frames, samples, share, given)
    if part is None:
        return values, []
    last = len(frames) - 1
    at = sorted({knee_of(values), *(last * k // STEPS for k in range(STEPS + 1))})
    # where there is room for every page, nothing is off
    most = setting.most_frames
    small = [i for i in at if frames[i] < most]
    off = off_at(part, setting, mechanism, frames[small], given, done)
    nothing = np.zeros(len(at) - len(small))
    padded = {name: np.append(each, nothing) for name, each in off.items()}
    return with_added(frames, values, at, padded), small


def _numbered(pfns: Words, which: Words) -> Words:
    return np.searchsorted(pfns, which).astype(np.uint64)


def off_at(
    part: Part,
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    given: Given,
    done: Callable[[], object],
) -> Values:
    """How much more than exact LRU order the engine counts on hosts of so many frames.

    frames: of the whole hosts, as are the counts.  given: what `lru_values` gets.  done: called
    after each.
    """
    given = _in_part(part, given)
    samples = _numbered(part.places, sample_events(setting.trace))
    used = used_frames(setting, frames) * part.share
    lru = pass_values(part.events, mechanism, used, setting.guests, samples, given)
    play = _reporting(part, given) if mechanism == "reporting" else _Play(mechanism, part.events)
    counted = []
    for size in frames.tolist():
        counted.append(_counted(part, setting.guests, play, size))
        done()
    off = {}
    for name, in_order in lru.items():
        scale = part.weight if name in COUNTS else 1 / part.share
        off[name] = (np.array([one[name] for one in counted]) - in_order) * scale
    return off


def _in_part(part: Part, given: Given) -> Given:
    """Those of the pages that are in the part, by their numbers there, and before which event."""
    pages, places = given
    number = np.minimum(np.searchsorted(part.pfns, pages), len(part.pfns) - 1)
    known = part.pfns[number] == pages
    return number[known].astype(np.uint64), _numbered(part.places, places[known])


# ---- the engine -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Play:
    """What guests are replayed with."""

    mechanism: str
    events: Words
    times: Words | None = None
    """Those of the part, if None."""
    accesses: Words | None = None
    places: Words | None = None


def _counted(part: Part, nr_guests: int, play: _Play, frames: int) -> dict[str, float]:
    low, high = (max(round(mark * part.share), 1) for mark in kernel_watermarks(frames))
    small = max(round(frames * part.share), _LEAST_FRAMES)
    with closing(
        Host(small, nr_guests * len(part.pfns) + 64, low=low, high=max(high, low + 1))
    ) as host:
        entries = max(round(_CBRL_ENTRIES * part.share), 1)
        guests = [
            Guest(len(part.pfns), host=host, mechanism=play.mechanism, cbrl_entries=entries)
            for _ in range(nr_guests)
        ]
        times = part.times if play.times is None else play.times
        replay = Replay(guests, play.events, times, accesses=play.accesses, places=play.places)
        replay.run()
        return counts_of(replay, host)


def _reporting(part: Part, given: Given) -> _Play:
    """A guest that gives back what was reported, when it was, and nothing else.

    Whether a block is whole is not to be seen in a part of the pages.  So frees are those of
    reported pages, and a page that is allocated without such a free before it is stored to.
    """
    reports = list(zip(*(each.tolist() for each in given), strict=True))[::-1]
    seen: set[int] = set()
    mapped: set[int] = set()
    live: dict[int, None] = {}  # at the start, and not given back yet
    events, at, stores, places = [], [], [], []
    for i, event in enumerate(part.events.tolist()):
        while reports and reports[-1][1] <= i:
            page = reports.pop()[0]
            live.pop(page, None)
            if page in mapped:
                mapped.remove(page)
                events.append(page << 8 | FREE)
                at.append(i)
        page = event >> 8
        if event & FREE:
            if page not in seen:
                live[page] = None
                mapped.add(page)
        elif page in mapped:
            stores.append(page)
            places.append(len(events))
        else:
            mapped.add(page)
            events.append(page << 8)
            at.append(i)
        seen.add(page)
    # No event names these, and so they would not be set up.
    events += [page << 8 | FREE for page in live]
    at += [len(part.events) - 1] * len(live)
    return _Play(
        mechanism="madv_dontneed",
        events=np.array(events, np.uint64),
        times=part.times[np.array(at, np.int64)],
        accesses=np.array(stores, np.uint64) << _SHIFT | np.uint64(STORE),
        places=np.array(places, np.uint64),
    )

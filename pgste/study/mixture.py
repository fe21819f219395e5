# SPDX-License-Identifier: MIT
"""Guests that live through different parts of different traces on one host.

Which parts is drawn from a seed.  The first guests of a seed are the same however many follow, so
a host with more guests has more work.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pgste._engine import Guest, Host, Replay
from pgste.errors import OutOfFramesError
from pgste.study.compare import DEFAULT_RECLAIM, FLUSH_NS, host_settings
from pgste.study.result import OutOfMemory
from pgste.study.sizes import guest_pages
from pgste.traces.trace import Trace

__all__ = ["TURN_NS", "Part", "draw", "run_mixture"]

TURN_NS = 1_000_000
"""Trace time for which one guest runs before the next has its turn."""


@dataclass(frozen=True)
class Part:
    """What one guest lives through: a part of a trace, and what is in it."""

    trace: Trace
    start_ns: int
    """Trace time at which the guest's time 0 is."""
    summary: dict[str, Any]


def draw(traces: Sequence[Trace], seed: int, guests: int, window: float) -> list[Part]:
    """Parts of ``window`` seconds: of each guest the trace, then the moment, evenly.

    A part without events is drawn again.  A trace that is shorter than a window is taken whole.
    """
    parts = []
    for guest in range(guests):
        # only random() gives the same numbers in every version of Python
        numbers = random.Random(f"pgste {seed} {guest}")
        while True:
            trace = traces[int(numbers.random() * len(traces))]
            first, last = int(trace.time[0]), int(trace.time[-1])
            span = int(window * 1e9)
            start = first + int(numbers.random() * max(last - first - span, 0))
            ends = np.array([start, start + span], np.uint64)
            begin, end = np.searchsorted(trace.time, ends)
            if last - first <= span:
                begin, end = 0, len(trace)
            if begin < end:
                break
        part = trace[int(begin) : int(end)]
        parts.append(Part(part, start, part.summary()))
    return parts


@dataclass
class Mixed:
    """What a mixture did: sums over its guests, and of the host."""

    guests: dict[str, int]
    host: dict[str, int]
    replay: dict[str, float]
    means: dict[str, float] = field(default_factory=dict)
    out_of_memory: OutOfMemory | None = None


def run_mixture(
    parts: Sequence[Part],
    mechanism: str,
    host_frames: int,
    swap_slots: int,
    reporting: Mapping[str, Any],
    turn_ns: int = TURN_NS,
    reclaim: str = DEFAULT_RECLAIM,
) -> Mixed:
    """Replay the parts, all from time 0 on, a turn of each after another.

    Counts begin after the setup of all guests.  Where memory runs out, the counts are those until
    then, and the event is that of its guest.  ``turn_ns`` divides 2 seconds.
    """
    _, settings = host_settings(host_frames, reclaim)
    with closing(Host(host_frames, swap_slots, **settings)) as host:
        return _mixed(parts, mechanism, host, reporting, turn_ns)


def _mixed(
    parts: Sequence[Part],
    mechanism: str,
    host: Host,
    reporting: Mapping[str, Any],
    turn_ns: int,
) -> Mixed:
    """What the parts do on a host of their own."""
    guests: list[Guest] = []
    replays: list[Replay] = []
    area = {"frames_mean": 0.0, "swap_mean": 0.0}
    ended: OutOfMemory | None = None
    for part in parts:
        base, pages = guest_pages(part.summary)
        guest = Guest(pages, host=host, mechanism=mechanism)
        if mechanism == "reporting":
            spare = pages - part.summary["unique_pages"]
            guest.set_reporting(**{"spare": spare, **reporting})
        guests.append(guest)
        try:
            replays.append(Replay([guest], part.trace.events, part.trace.time, base))
        except OutOfFramesError:
            Replay(guests, [])  # it resets the counters
            ended = OutOfMemory(None, 0.0)
            break
    turns = 0
    if ended is None:
        host.flush_stats()
        for turn in _turns(parts, turn_ns):
            ended = _one_turn(parts, replays, turn, (turns + 1) * turn_ns - 1)
            if ended:
                break
            stats = host.stats()
            turns += 1
            if host.reclaim_model == "lru" and turns * turn_ns % FLUSH_NS == 0:
                host.flush_stats()
            area["frames_mean"] += stats["frames"] - stats["frames_free"]
            area["swap_mean"] += stats["swap_slots"] - stats["swap_slots_free"]
    each = [guest.stats() for guest in guests]
    told = [replay.stats() for replay in replays]
    return Mixed(
        guests={name: sum(stats[name] for stats in each) for name in each[0]},
        host=host.stats(),
        replay={name: sum(stats[name] for stats in told) for name in ("events", "stale_allocs")},
        means={name: total / max(turns, 1) for name, total in area.items()},
        out_of_memory=ended,
    )


def _turns(parts: Sequence[Part], turn_ns: int) -> list[list[int]]:
    """For each turn, the number of events that each guest has behind it afterwards."""
    last = max(int(part.trace.time[-1]) - part.start_ns for part in parts)
    ends = np.arange(1, last // turn_ns + 2) * turn_ns
    steps = [
        np.searchsorted(part.trace.time, (ends + part.start_ns).astype(np.uint64)) for part in parts
    ]
    turns: list[list[int]] = np.stack(steps, axis=1).tolist()
    return turns


def _one_turn(
    parts: Sequence[Part], replays: Sequence[Replay], turn: Sequence[int], until: int
) -> OutOfMemory | None:
    """Events of each guest up to a time, and what its mechanism does by the clock till then."""
    for part, replay, step in zip(parts, replays, turn, strict=True):
        at = replay.position
        if step <= at and replay.guests[0].mechanism != "reporting":  # nothing happens
            continue
        try:
            replay.run_until(part.start_ns + until)
        except OutOfFramesError:
            at = replay.position
            return OutOfMemory(at, (int(part.trace.time[at]) - part.start_ns) * 1e-9)
    return None

# SPDX-License-Identifier: MIT
"""Guests with traces of their own on one host, in turns, against the reference model."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import reference
from reference.reporting import Reporting, Settings

import pgste
from differential.traces import packed, random_events
from pgste.study.mixture import Part, run_mixture
from pgste.study.sizes import kernel_watermarks

TURN = 1000
MECHANISMS = ("none", "cmma", "madv_dontneed", "madv_free", "reporting")
# Every block is reported, half a turn after a free.
REPORTING = {"order": 0, "parked_order": 0, "parked_high": 0, "delay_ns": 500, "min": 0, "low": 0}
Drawn = tuple[list[tuple[int, int, int]], list[int], int]
COUNTERS = ("swap_outs", "swap_ins", "zero_fills", "unused_discards", "lazyfree_discards", "hints")


def drawn(random: Random) -> list[Drawn]:
    """For each guest: events, times, and the time at which it begins."""
    found = []
    for _ in range(random.randint(1, 4)):
        events = random_events(random, random.randint(1, 80), random.randint(8, 30), 1024)
        start = random.randrange(10**6)
        times = sorted(start + random.randrange(10 * TURN) for _ in events)
        found.append((events, times, start))
    return found


def by_engine(
    those: list[Drawn], mechanism: str, frames: int, slots: int
) -> tuple[dict[str, int], tuple[int, ...] | None]:
    parts = []
    for events, times, start in those:
        trace = pgste.Trace(np.array(packed(events), np.uint64), times)
        parts.append(Part(trace, start, trace.summary()))
    settings: dict[str, int] = {**REPORTING, "spare": 1000} if mechanism == "reporting" else {}
    mixed = run_mixture(parts, mechanism, frames, slots, settings, TURN, reclaim="simple")
    end = mixed.out_of_memory
    told = {name: mixed.guests[name] for name in COUNTERS}
    told |= {name: mixed.host[name] for name in ("frames_peak", "swap_peak", "frames_free")}
    return told, None if end is None else (-1 if end.event is None else end.event,)


def by_model(
    those: list[Drawn], mechanism: str, frames: int, slots: int
) -> tuple[dict[str, int], tuple[int, ...] | None]:
    low, high = kernel_watermarks(frames)
    host = reference.Host(frames, slots, low=low, high=high)
    guests, replays = [], []
    end: tuple[int, ...] | None = None
    for events, times, _ in those:
        pages = max(pfn + (1 << order) for _, order, pfn in events) - 1024
        guest = reference.Guest(pages, host, mechanism=mechanism)
        if mechanism == "reporting":
            told = {**vars(Settings.for_guest(pages, 1)), **REPORTING, "spare": 1000}
            guest.reporting = Reporting(guest, Settings(**told))
        guests.append(guest)
        try:
            replays.append(reference.Replay([guests[-1]], 1024, events, times))
        except reference.OutOfFrames:
            end = (-1,)
            host.reset_stats()
            for guest in guests:
                guest.reset_stats()
            break
    turn = 0
    while end is None and any(replay.position < len(replay.events) for replay in replays):
        turn += 1
        for (_, times, start), replay in zip(those, replays, strict=True):
            until = sum(time < start + turn * TURN for time in times)
            try:
                if mechanism == "reporting":
                    replay.run_until(start + turn * TURN - 1)
                else:
                    replay.run(until - replay.position)
            except reference.OutOfFrames:
                end = (replay.position,)
                break
    told = {name: sum(guest.count[name] for guest in guests) for name in COUNTERS}
    told |= {name: host.stats()[name] for name in ("frames_peak", "swap_peak", "frames_free")}
    return told, end


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mixtures(mechanism: str) -> None:
    ends: dict[bool, int] = {True: 0, False: 0}
    for seed in range(120):
        random = Random(f"{mechanism} {seed}")
        those = drawn(random)
        frames, slots = random.randint(4, 60), random.choice((0, 5, 200))
        engine = by_engine(those, mechanism, frames, slots)
        assert engine == by_model(those, mechanism, frames, slots), seed
        ends[engine[1] is None] += 1
    assert min(ends.values()) > 8

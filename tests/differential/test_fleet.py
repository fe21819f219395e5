# SPDX-License-Identifier: MIT
"""Fleets of random traces against reference guests whose events are sorted by time."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
import reference
from reference.replay import FREE, Event, first_kinds
from reference.reporting import Reporting, Settings

import pgste
from differential.traces import packed, random_events, random_times
from pgste.study.fleet import COUNTS, Fleet, Member
from pgste.study.sizes import kernel_watermarks

PAGES = 16
Job = tuple[list[Event], list[int], int, int]  # events, times, start, guests


def counts_of(guest: reference.Guest) -> dict[str, int]:
    discards = guest.count["unused_discards"] + guest.count["lazyfree_discards"]
    return {name: discards if name == "discards" else guest.count[name] for name in COUNTS}


def in_use_after(events: list[Event], nr: int) -> int:
    """Pages in use after so many events of a trace."""
    used = {page for page, kind in first_kinds(events).items() if kind == FREE}
    for kind, order, pfn in events[:nr]:
        block = set(range(pfn, pfn + (1 << order)))
        used = used - block if kind == FREE else used | block
    return len(used)


def draw(random: Random) -> tuple[list[Member], list[Job]]:
    members, jobs = [], []
    for i in range(random.randint(1, 3)):
        events = random_events(random, random.randint(1, 40), PAGES, 1000)
        times = random_times(random, len(events))
        trace = pgste.Trace(np.array(packed(events), np.uint64), np.array(times, np.uint64))
        shift, weight = random.randint(0, 10**9), random.randint(1, 2)
        stagger = random.choice([0, 10**9]) if weight > 1 else 0
        asked = {"weight": weight, "stagger": stagger * 1e-9, "name": f"m{i}"}
        members.append(Member(trace, shift * 1e-9, **asked))  # type: ignore[arg-type]
        starts = [shift + k * stagger for k in range(weight if stagger else 1)]
        jobs += [(events, times, start, 1 if stagger else weight) for start in starts]
    return members, jobs


def in_order(jobs: list[Job]) -> list[int]:
    """Whose event is next."""
    order = sorted(
        (start + time - times[0], job, at)
        for job, (_, times, start, _) in enumerate(jobs)
        for at, time in enumerate(times)
    )
    return [job for _, job, _ in order]


def replay(jobs: list[Job], mechanism: str, host: reference.Host) -> list[dict[str, int]] | None:
    """Counts of each guest; None if a frame was missing."""
    replays: dict[int, reference.Replay] = {}
    guests: list[list[reference.Guest]] = [[] for _ in jobs]
    try:
        for job in in_order(jobs):
            events, times, _, weight = jobs[job]
            if job not in replays:
                base = min(pfn for _, _, pfn in events) // 1024 * 1024
                pages = max(pfn + (1 << order) for _, order, pfn in events) - base
                guests[job] = [
                    reference.Guest(pages, host, mechanism=mechanism) for _ in range(weight)
                ]
                replays[job] = reference.Replay(guests[job], base, events, times)
            replays[job].run(1)
    except reference.OutOfFrames:
        return None
    return [counts_of(guest) for each in guests for guest in each]


def peak_of(jobs: list[Job]) -> int:
    done: dict[int, int] = {}
    most = 0
    for job in in_order(jobs):
        for step in (0, 1) if job not in done else (1,):  # what it has at its start counts too
            done[job] = done.get(job, 0) + step
            used = (jobs[j][3] * in_use_after(jobs[j][0], nr) for j, nr in done.items())
            most = max(most, sum(used))
    return most


# Every block is reported, some events after its free.
REPORTING = {"order": 0, "parked_order": 0, "parked_high": 0, "min": 0, "low": 0, "spare": 1000}


def replay_by_the_clock(
    jobs: list[Job], settings: dict[str, int], host: reference.Host
) -> list[dict[str, int]] | None:
    """As `replay`, of reporting guests: all of them are brought to each nanosecond, in turn."""
    replays: dict[int, reference.Replay] = {}
    guests: list[list[reference.Guest]] = [[] for _ in jobs]
    try:
        for now in range(max(start + times[-1] - times[0] for _, times, start, _ in jobs) + 1):
            for job, (events, times, start, weight) in enumerate(jobs):
                if now == start:
                    base = min(pfn for _, _, pfn in events) // 1024 * 1024
                    pages = max(pfn + (1 << order) for _, order, pfn in events) - base
                    for _ in range(weight):
                        guest = reference.Guest(pages, host, mechanism="reporting")
                        told = {**vars(Settings.for_guest(pages, 1)), **settings}
                        guest.reporting = Reporting(guest, Settings(**told))
                        guests[job].append(guest)
                    replays[job] = reference.Replay(guests[job], base, events, times)
                if now >= start:
                    replays[job].run_until(now - start + times[0])
    except reference.OutOfFrames:
        return None
    return [counts_of(guest) for each in guests for guest in each]


def test_reporting_acts_at_its_time_between_the_events_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random("fleet reporting")
    settings: dict[str, int] = {}

    class Told(pgste.Guest):
        """A guest of so few pages has nothing to report by the kernel's settings."""

        def set_reporting(self, **_: Any) -> None:
            super().set_reporting(**settings)  # type: ignore[arg-type]

    monkeypatch.setattr("pgste.study.fleet.Guest", Told)
    ends = {True: 0, False: 0}
    hints = 0
    for case in range(250):
        settings = {
            **REPORTING,
            "delay_ns": random.choice([0, 1, 7, 40]),
            "ack_ns": random.choice([0, 0, 3, 20]),
            "capacity": random.choice([1, 2, 32]),
        }
        members, jobs = [], []
        for _ in range(random.randint(1, 4)):
            events = random_events(random, random.randint(1, 40), PAGES, 1000)
            times = [random.randrange(10**9)]
            while len(times) < len(events):
                times.append(times[-1] + random.choice((0, 0, 1, 3, 30)))
            trace = pgste.Trace(np.array(packed(events), np.uint64), np.array(times, np.uint64))
            shift, weight = random.randint(0, 200), random.randint(1, 2)
            members.append(Member(trace, shift * 1e-9, weight=weight))
            jobs.append((events, times, shift, weight))
        frames, slots = random.randint(4, 3 * PAGES), random.choice([3, 400])
        found = Fleet(members).compare(["reporting"], frames, swap_slots=slots, reclaim="simple")
        low, high = kernel_watermarks(frames)
        host = reference.Host(frames, slots, low=low, high=high)
        expected = replay_by_the_clock(jobs, settings, host)
        result = found["reporting"]
        assert (result.out_of_memory is not None) == (expected is None), case
        ends[expected is None] += 1
        if expected is not None:
            assert [one.counts for one in result.guests] == expected, case
            hints += result.counts["hints"]
    assert min(ends.values()) > 5
    assert hints > 500


@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free"])
def test_fleets_are_guests_in_order_of_time(mechanism: str) -> None:
    random = Random(f"fleet {mechanism}")
    out_of_memory = 0
    for _ in range(60):
        members, jobs = draw(random)
        frames, slots = random.randint(4, 3 * PAGES), random.choice([3, 400])
        found = Fleet(members).compare([mechanism], frames, swap_slots=slots, reclaim="simple")
        low, high = kernel_watermarks(frames)
        expected = replay(jobs, mechanism, reference.Host(frames, slots, low=low, high=high))
        result = found[mechanism]
        assert (result.out_of_memory is not None) == (expected is None)
        out_of_memory += expected is None
        if expected is not None:
            assert [one.counts for one in result.guests] == expected
            starts = [start * 1e-9 for _, _, start, weight in jobs for _ in range(weight)]
            assert [one.start for one in result.guests] == pytest.approx(starts)
        assert found.peak_of_sum == peak_of(jobs)
    assert 0 < out_of_memory < 40

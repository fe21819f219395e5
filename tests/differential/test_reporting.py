# SPDX-License-Identifier: MIT
"""Free page reporting: the engine against the reference, and the buddy view against brute force.

The brute force knows nothing of lists or merging: the free blocks of a buddy allocator are
fixed by which pages are free, as every pair of free halves merges.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference
from reference.guest import snapshot as model_snapshot
from reference.reporting import TYPES, Reporting, Settings, watermarks
from stateful.pair import engine_snapshot

import pgste
from pgste.traces import Trace

TRACES = Path(__file__).parents[1] / "golden" / "traces"
Blocks = set[tuple[int, int]]


def reporting_snapshot(guest: pgste.Guest) -> dict[str, object]:
    """The same plain data as `Reporting.snapshot`."""
    told = guest.reporting()
    return {
        "state": told["status"],
        "now": guest.now_ns,
        "due": told["due_ns"],
        "nr_free": told["pages_free"],
        "lists": {
            (zone, kind, order): blocks
            for zone in range(len(told["zones"]))
            for kind in TYPES
            for order in range(told["max_order"] + 1)
            if (blocks := guest.free_blocks(order, zone=zone, migratetype=kind))
        },
        "types": guest.migratetypes(),
        "parked": [
            [block[:2] for block in guest.parked_blocks(vcpu)] for vcpu in range(guest.vcpus)
        ],
        "batch": [block[:2] for block in guest.isolated_blocks()],
        "passes": told["passes"],
        "skipped": told["passes_skipped"],
        "blocks": told["blocks_reported"],
    }


def brute_force_blocks(free: set[int], max_order: int, pages: int) -> Blocks:
    """Largest aligned blocks that the free pages fill, each page in one."""
    blocks: Blocks = set()
    left = set(free)
    for order in range(max_order, -1, -1):
        size = 1 << order
        for first in range(0, pages, size):
            block = range(first, first + size)
            if left.issuperset(block):
                blocks.add((first, order))
                left.difference_update(block)
    return blocks


def check_view(guest: pgste.Guest) -> None:
    """Each free page is in one block; the buddy's blocks are those of brute force."""
    told = guest.reporting()
    free = {
        page
        for order in range(told["max_order"] + 1)
        for first, size, _ in guest.free_blocks(order)
        for page in range(first, first + (1 << size))
    }
    elsewhere = [*guest.isolated_blocks()]
    for vcpu in range(guest.vcpus):
        elsewhere += guest.parked_blocks(vcpu)
    pages = [page for first, size, _ in elsewhere for page in range(first, first + (1 << size))]
    assert len(pages) == len(set(pages)) == told["pages_parked"] + told["pages_isolated"]
    assert not free & set(pages)
    assert len(free) == told["pages_free"]
    assert free | set(pages) == set(np.flatnonzero(guest.is_free()).tolist())
    blocks = {
        (first, size)
        for order in range(told["max_order"] + 1)
        for first, size, _ in guest.free_blocks(order)
    }
    if len(told["zones"]) == 1 and set(guest.migratetypes()) <= set(TYPES[:3]):
        assert blocks == brute_force_blocks(free, told["max_order"], guest.pages)


class Twins:
    """A host with reporting guests in the engine and in the reference."""

    def __init__(
        self, rng: random.Random, frames: int, nr_guests: int = 1, zones: bool = False
    ) -> None:
        self.host = pgste.Host(frames, 4 * frames)
        self.model_host = reference.Host(frames, 4 * frames)
        self.engines: list[pgste.Guest] = []
        self.models: list[reference.Guest] = []
        for _ in range(nr_guests):
            pages, vcpus = rng.choice((48, 64, 100)), rng.choice((1, 2))
            settings = draw_settings(rng)
            types = draw_zones(rng, pages, settings) if zones else None
            engine = pgste.Guest(pages, self.host, mechanism="reporting", vcpus=vcpus)
            engine.set_reporting(**settings, migratetypes=types)
            model = reference.Guest(pages, self.model_host, mechanism="reporting", vcpus=vcpus)
            model.reporting = Reporting(
                model, Settings(**{**vars(Settings.for_guest(pages, vcpus)), **settings})
            )
            order = model.reporting.settings.pageblock_order
            model.reporting.types = types or ["movable"] * (((pages - 1) >> order) + 1)
            self.engines.append(engine)
            self.models.append(model)

    def check(self) -> None:
        self.host.validate()
        assert engine_snapshot(self.host, self.engines) == model_snapshot(
            self.model_host, self.models
        )
        for engine, model in zip(self.engines, self.models, strict=True):
            assert model.reporting is not None
            assert reporting_snapshot(engine) == model.reporting.snapshot()
            check_view(engine)


def draw_settings(rng: random.Random) -> dict[str, Any]:
    max_order = rng.choice((0, 2, 4, 5))
    return {
        "order": rng.randint(0, max_order),
        "max_order": max_order,
        "parked_order": rng.randint(0, max_order),
        "parked_high": rng.choice((0, 1, 4, 9, 30)),
        "parked_batch": rng.choice((1, 2, 7)),
        "capacity": rng.choice((1, 1, 2, 3, 32)),
        "delay_ns": rng.choice((0, 1, 10, 25)),
        "ack_ns": rng.choice((0, 0, 1, 7, 40)),
        "min": rng.choice((0, 0, 3)),
        "low": rng.choice((0, 0, 6)),
        "spare": rng.choice((0, 40, 1000)),
        "poison": rng.choice(("none", "none", "init_on_free", "page_poison")),
        "negotiated": rng.random() < 0.8,
        "inhibited": rng.random() < 0.2,
        "advice": rng.choice(("madv_dontneed", "madv_free")),
    }


def draw_zones(rng: random.Random, pages: int, settings: dict[str, Any]) -> list[str] | None:
    """Zones and what is set for each; the migratetype of each pageblock, or None."""
    bounds = rng.sample(range(1, pages), rng.choice((0, 1, 1, 3)))
    if rng.random() < 0.5:
        bounds = [bound & ~7 for bound in bounds]
    settings["zones"] = sorted({0, *bounds})
    if len(settings["zones"]) > 1:
        for name in ("min", "low", "spare"):
            most = settings[name]
            settings[name] = [rng.choice((most, most // 2, 0)) for _ in settings["zones"]]
    if rng.random() < 0.2:
        return None
    settings["pageblock_order"] = rng.choice((2, 3, 3, 4))
    nr = ((pages - 1) >> settings["pageblock_order"]) + 1
    few = rng.choice((TYPES[:3], TYPES[:5], TYPES))
    return [rng.choice((*few, "movable")) for _ in range(nr)]


def one_step(rng: random.Random, twins: Twins) -> None:
    i = rng.randrange(len(twins.engines))
    engine, model = twins.engines[i], twins.models[i]
    assert model.reporting is not None
    what = rng.random()
    vcpu = rng.randrange(engine.vcpus)
    order = rng.choice((0, 0, 0, 1, 2, 3, 6))
    room = engine.pages - (1 << order)
    nr = rng.choice((1, 1, 2, 5))
    gfns = [rng.randint(0, max(room, 0)) for _ in range(nr)]
    if rng.random() < 0.7:
        gfns = [gfn >> order << order for gfn in gfns]
    if what < 0.35:
        if room >= 0:
            engine.free(gfns, order=order, vcpu=vcpu)
            model.free(gfns, order, vcpu)
    elif what < 0.55:
        if room >= 0:
            engine.alloc(gfns, order=order, vcpu=vcpu)
            model.alloc(gfns, order, vcpu)
    elif what < 0.6:
        first = rng.randrange(engine.pages)
        run = range(first, rng.randint(first, engine.pages))
        engine.free(run, vcpu=vcpu)
        model.free(run, 0, vcpu)
    elif what < 0.75:
        tags = [rng.randint(1, 9) for _ in range(nr)]
        gfns = [rng.randrange(engine.pages) for _ in range(nr)]
        engine.write(gfns, tags)
        model.write(gfns, tags)
    elif what < 0.8:
        gfns = [rng.randrange(engine.pages) for _ in range(nr)]
        assert engine.read(gfns).tolist() == model.read(gfns)
    elif what < 0.85:
        assert twins.host.swap_out(engine, gfns) == model.swap_out(gfns)
    else:
        ns = rng.choice((0, 1, 5, 10, 30))
        engine.advance(ns)
        model.reporting.advance(ns)


@pytest.mark.parametrize("seed", range(15))
def test_random_runs_agree_with_the_reference(seed: int) -> None:
    rng = random.Random(seed)
    twins = Twins(rng, frames=rng.choice((60, 210)), nr_guests=rng.choice((1, 2)))
    for _ in range(150):
        one_step(rng, twins)
        twins.check()


@pytest.mark.parametrize("seed", range(60))
def test_zones_and_migratetypes_agree_with_the_reference(seed: int) -> None:
    rng = random.Random(4000 + seed)
    twins = Twins(rng, rng.choice((60, 210)), rng.choice((1, 2)), zones=True)
    for _ in range(150):
        one_step(rng, twins)
        twins.check()


@pytest.mark.parametrize("seed", range(15))
def test_replays_with_zones_agree_with_the_reference(seed: int) -> None:
    rng = random.Random(5000 + seed)
    twins, events, times, base = draw_replay(rng, zones=True)
    words = [pfn << 8 | order << 2 | kind for kind, order, pfn in events]
    engine = pgste.Replay(twins.engines, np.array(words), times, base)
    model = reference.Replay(twins.models, base, events, times)
    twins.check()
    while engine.position < len(events):
        n = rng.choice((1, 1, 3, 20))
        assert engine.run(n) == model.run(n)
        twins.check()


def draw_replay(
    rng: random.Random,
    zones: bool = False,
) -> tuple[Twins, list[tuple[int, int, int]], list[int], int]:
    """Guests, events, times, and the first pfn."""
    nr_guests = rng.choice((1, 1, 2))
    twins = Twins(rng, frames=rng.choice((60, 210)), nr_guests=nr_guests, zones=zones)
    pages = min(guest.pages for guest in twins.engines)
    base = 64 * rng.randint(0, 3)
    events: list[tuple[int, int, int]] = []
    times: list[int] = []
    now = rng.randint(0, 100)
    for _ in range(120):
        order = rng.choice((0, 0, 0, 1, 2, 3, 5))
        first = rng.randint(0, pages - (1 << order))
        if rng.random() < 0.9:
            first = first >> order << order
        events.append((rng.randint(0, 1), order, base + first))
        times.append(now)
        now += rng.choice((0, 0, 1, 4, 60))
    return twins, events, times, base


@pytest.mark.parametrize("seed", range(15))
def test_random_replays_agree_with_the_reference(seed: int) -> None:
    rng = random.Random(1000 + seed)
    twins, events, times, base = draw_replay(rng)
    words = [pfn << 8 | order << 2 | kind for kind, order, pfn in events]
    timed = rng.random() < 0.9
    engine = pgste.Replay(twins.engines, np.array(words), times if timed else None, base)
    model = reference.Replay(twins.models, base, events, times if timed else None)
    twins.check()
    while engine.position < len(events):
        n = rng.choice((1, 1, 3, 20))
        assert engine.run(n) == model.run(n)
        twins.check()
    told = engine.stats()
    assert {name: told[name] for name in model.stats} == model.stats
    assert told["frame_seconds"] == pytest.approx(model.frame_ns * 1e-9)
    assert told["swap_seconds"] == pytest.approx(model.swap_ns * 1e-9)
    assert told["seconds"] == pytest.approx(model.ns * 1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_run_until_agrees_with_the_reference(seed: int) -> None:
    """Whole state at times that are no event's, between runs by number and other calls."""
    rng = random.Random(2000 + seed)
    twins, events, times, base = draw_replay(rng)
    words = [pfn << 8 | order << 2 | kind for kind, order, pfn in events]
    engine = pgste.Replay(twins.engines, np.array(words), times, base)
    model = reference.Replay(twins.models, base, events, times)
    ns = times[0]
    while engine.position < len(events):
        what = rng.random()
        if what < 0.15:
            n = rng.choice((0, 1, 3))
            assert engine.run(n) == model.run(n)
        elif what < 0.25:
            one_step(rng, twins)
        else:
            ns += rng.choice((-30, 0, 1, 1, 5, 20, 100, 100))
            ns = max(ns, 0)
            assert engine.run_until(ns) == model.run_until(ns)
        twins.check()
        assert engine.stats()["seconds"] == pytest.approx(model.ns * 1e-9)
        assert engine.stats()["frame_seconds"] == pytest.approx(model.frame_ns * 1e-9)
    assert engine.run_until(2**64 - 1) == 0


def test_run_until_in_parts_is_a_run() -> None:
    """Stops at any times leave what a run alone leaves; each time stands where it was asked to."""
    for seed in range(40):
        seen = []
        for by_time in (False, True):
            rng = random.Random(3000 + seed)
            twins, events, times, base = draw_replay(rng)
            words = [pfn << 8 | order << 2 | kind for kind, order, pfn in events]
            replay = pgste.Replay(twins.engines, np.array(words), times, base)
            before = [guest.now_ns for guest in twins.engines]
            for ns in (
                sorted(rng.randint(times[0], times[-1]) for _ in range(50)) if by_time else ()
            ):
                replay.run_until(ns)
                assert replay.position == sum(at <= ns for at in times)
                for guest, start in zip(twins.engines, before, strict=True):
                    assert guest.now_ns == start + ns - times[0]
            replay.run()
            told = [reporting_snapshot(guest) for guest in twins.engines]
            seen.append((engine_snapshot(twins.host, twins.engines), told))
        assert seen[0] == seen[1], seed


@pytest.mark.parametrize("pages", [1, 63, 1024, 4096, 100_000, 2**20, 2**28, 2**40])
@pytest.mark.parametrize("vcpus", [1, 3])
def test_default_settings(pages: int, vcpus: int) -> None:
    host = pgste.Host(1, 0)
    guest = pgste.Guest(min(pages, 2**34), host, mechanism="reporting", vcpus=vcpus)
    expected = Settings.for_guest(min(pages, 2**34), vcpus)
    told = guest.reporting()
    assert {name: told[name] for name in vars(expected)} == {**vars(expected), "zones": [0]}


@pytest.mark.parametrize("pages", [300, 4096, 100_000, 2**20])
def test_watermarks_of_zones_by_default(pages: int) -> None:
    """min_free_kbytes by the pages of each zone, and low from these (__setup_per_zone_wmarks)."""
    zones = [0, 3 * pages // 10, pages - 1]
    guest = pgste.Guest(pages, pgste.Host(1, 0), mechanism="reporting")
    guest.set_reporting(spare=7 * pages, zones=zones)
    ends = [*zones[1:], pages]
    marks = [watermarks(end - first, pages) for first, end in zip(zones, ends, strict=True)]
    told = guest.reporting()
    assert told["zones"] == zones
    assert told["min"] == [lowest for lowest, _ in marks]
    assert told["low"] == [low for _, low in marks]
    assert told["spare"] == [7 * (end - first) for first, end in zip(zones, ends, strict=True)]
    guest.set_reporting(**{name: told[name] for name in ("zones", "min", "low", "spare")})
    assert guest.reporting() == told


@pytest.mark.parametrize("name", ["small.tgid.ftrace.txt.xz", "small.trace.dat"])
def test_the_view_on_a_recorded_trace(name: str) -> None:
    """Every 1,000 events and at the end; frees and allocs as the trace orders them."""
    trace = Trace.open(TRACES / name)
    summary = trace.summary()
    base = summary["lowest_pfn"] >> 10 << 10
    guest = pgste.Guest(summary["highest_pfn"] + 1 - base, mechanism="reporting")
    guest.set_reporting(order=4, delay_ns=20_000_000, spare=1 << 20)
    replay = pgste.Replay(guest, trace.events, trace.time, base)
    check_view_fast(guest)
    while replay.run(1000):
        check_view_fast(guest)
    assert guest.reporting()["blocks_reported"] > 0


def check_view_fast(guest: pgste.Guest) -> None:
    """`check_view` with bitmaps: level by level, both halves filled make a filled whole."""
    told = guest.reporting()
    pages = -(-guest.pages // 1024) * 1024
    filled: npt.NDArray[np.bool_] = np.zeros(pages, np.bool_)
    filled[: guest.pages] = guest.is_free()
    for first, size, _ in [*guest.parked_blocks(), *guest.isolated_blocks()]:
        assert filled[first : first + (1 << size)].all()
        filled[first : first + (1 << size)] = False
    assert filled.sum() == told["pages_free"]
    for order in range(told["max_order"] + 1):
        if order < told["max_order"]:
            above = np.logical_and(filled[0::2], filled[1::2])
            alone = np.logical_and(filled, ~np.repeat(above, 2))
        else:
            above, alone = filled, filled
        expected = np.flatnonzero(alone) << order
        assert sorted(first for first, _, _ in guest.free_blocks(order)) == expected.tolist()
        filled = above

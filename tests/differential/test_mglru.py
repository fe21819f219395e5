# SPDX-License-Identifier: MIT
"""Hosts of reclaim="mglru": whole state against the reference, in random calls and replays.

PGSTE_CASES says how many random calls there are in all.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from stateful.draw import step
from stateful.pair import Pair

from differential.test_replay_against_reference import Both, guests
from differential.traces import random_events, random_times

CASES = int(os.environ.get("PGSTE_CASES", "100000"))
CALLS = 1000


def config(random: Random, frames: int) -> dict[str, Any]:
    """Everything that a host of this kind can be told, and half of the time nothing."""
    settings: dict[str, Any] = {"reclaim": "mglru", "mm_walk": random.random() < 0.6}
    if random.random() < 0.7:
        settings["batch"] = random.choice((1, 2, 4, 8, 100))
    if random.random() < 0.4:
        settings["low"] = random.randint(0, frames - 1)
        settings["high"] = random.randint(settings["low"] + 1, frames)
    if random.random() < 0.7:
        settings["swappiness"] = random.choice((0, 1, 60, 100, 199, 200))
        settings["page_cluster"] = random.choice((0, 1, 2, 3, 5))
        settings["rotational"] = random.random() < 0.5
    settings["write_delay"] = random.choice((0, 0, 1, 2, 5, 30, 200))
    settings["rearm"] = random.choice(("referenced", "dirty"))
    return settings


@pytest.mark.parametrize("seed", range(-(-CASES // CALLS)))
def test_random_calls(seed: int) -> None:
    random = Random(seed)
    frames = random.choice((1, 3, 8, 12, 24))
    pair = Pair(frames, random.choice((60, 66, 80, 120)), **config(random, frames))
    for _ in range(CALLS):
        step(pair, random)
        if random.random() < 0.02:
            pair.reclaim(random.randint(0, 12))
        pair.check()


@pytest.mark.parametrize("seed", range(60))
def test_random_replay(seed: int) -> None:
    random = Random(seed)
    pages = random.randint(1, 60)
    events = random_events(random, random.randint(1, 300), pages, 0)
    times = random_times(random, len(events))
    frames = random.randint(4, 3 * pages + 4)
    pair = Pair(frames, random.choice((100, 200, 600)), **config(random, frames))
    guests(random, pair, pages)
    both = Both(pair, 0, events, times)
    if both.refused is not None:
        assert both.refused == ("refused", "frames")
        return
    pair.check()
    while both.model.position < len(events):
        if both.run(random.choice((1, 7, 100))):
            return


@pytest.mark.parametrize("seed", range(20))
def test_page_tables(seed: int) -> None:
    """Guests of several page tables, so that filters matter; swap that is half full."""
    random = Random(seed)
    frames = random.choice((90, 200, 400))
    settings = {**config(random, frames), "mm_walk": seed % 4 > 0}
    pair = Pair(frames, random.choice((150, 400, 2000)), **settings)
    kinds = ("none", "madv_free", "cmma")
    for _ in range(random.randint(1, 2)):
        pair.create(random.choice((300, 520, 700, 1100)), mechanism=random.choice(kinds))
    for turn in range(250):
        i = random.randrange(len(pair.guests))
        pages = pair.guests[i][0].pages
        first = random.randrange(pages)
        some = range(first, min(first + random.choice((1, 8, 40, 70)), pages))
        call = random.randrange(12)
        if call < 4:
            pair.write(i, some, turn)
        elif call < 7:
            pair.read(i, some)
        elif call == 7:
            pair.swap_out(i, some)
            pair.read(i, some)
        elif call == 8:
            pair.free(i, some, 0, 0)
        elif call == 9:
            pair.pin(i, some, random.random() < 0.3)
        elif call == 10:
            what = random.choice(("locked", "writeback"))
            pair.set_folio(i, some, what, random.random() < 0.3)
        else:
            pair.reclaim(random.randint(0, 100))
        if turn % 10 == 9:
            pair.check()
    pair.check()


@pytest.mark.parametrize("seed", range(12))
def test_tiers(seed: int) -> None:
    """MADV_PAGEOUT keeps PG_workingset, so that refaults are counted by tier."""
    random = Random(seed)
    settings = {
        **config(random, 1200),
        "low": 0,
        "high": 32,
        "mm_walk": seed % 3 == 0,
        "swappiness": random.choice((1, 60, 199, 200)),
        "page_cluster": random.choice((0, 3)),
    }
    pair = Pair(1200, 3000, **settings)
    pair.create(1100, mechanism="madv_free")
    hot = range(0, random.choice((70, 150, 300)))
    pair.write(0, range(1100), 1)
    pair.swap_out(0, range(300, random.choice((400, 1100))))
    for _ in range(random.randint(2, 8)):
        pair.swap_out(0, hot)
        pair.read(0, hot)
    pair.check()
    for turn in range(40):
        pair.reclaim(random.choice((1, 20, 100)))
        if turn % 2:
            pair.swap_out(0, hot)
            pair.read(0, hot)
        first = random.randrange(1000)
        pair.free(0, range(first, first + 20), 0, 0)
        pair.check()


@pytest.mark.parametrize("seed", range(8))
def test_slots_are_given_back(seed: int) -> None:
    """Pinned pages that still have a slot when swap is half full."""
    random = Random(seed)
    settings = {**config(random, 400), "low": 0, "high": 32, "swappiness": 60}
    pair = Pair(400, 1000, **settings)
    pair.create(1300, mechanism="none")
    pair.write(0, range(700), 1)
    some = range(0, random.choice((20, 60)))
    pair.read(0, some)
    pair.pin(0, some, True)
    pair.check()
    for turn in range(18):
        pair.write(0, range(700 + turn * 30, 730 + turn * 30), 2)
        pair.check()

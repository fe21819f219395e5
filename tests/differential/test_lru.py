# SPDX-License-Identifier: MIT
"""Hosts of reclaim="lru": whole state against the reference, in random calls and replays."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from stateful.draw import step
from stateful.pair import Pair

from differential.test_replay_against_reference import Both, guests
from differential.traces import random_events, random_times


def config(random: Random, frames: int) -> dict[str, Any]:
    """Everything that a host of this kind can be told, and half of the time nothing."""
    settings: dict[str, Any] = {"reclaim": "lru"}
    if random.random() < 0.7:
        settings["batch"] = random.choice((1, 2, 4, 8))
    if random.random() < 0.4:
        settings["low"] = random.randint(0, frames - 1)
        settings["high"] = random.randint(settings["low"] + 1, frames)
    if random.random() < 0.7:
        settings["swappiness"] = random.choice((0, 1, 60, 100, 200))
        settings["page_cluster"] = random.choice((0, 1, 2, 3, 5))
        settings["rotational"] = random.random() < 0.5
    settings["write_delay"] = random.choice((0, 0, 1, 2, 5, 30, 200))
    settings["fresh_stats"] = random.random() < 0.7
    settings["rearm"] = random.choice(("referenced", "dirty"))
    return settings


def flush(pair: Pair, random: Random) -> None:
    if random.random() < 0.05:
        pair.host.flush_stats()
        pair.model.flush_stats()  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(40))
def test_random_calls(seed: int) -> None:
    random = Random(seed)
    frames = random.choice((1, 3, 8, 12, 24))
    pair = Pair(frames, random.choice((0, 1, 8, 24, 60)), **config(random, frames))
    for _ in range(800):
        step(pair, random)
        flush(pair, random)
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
    pair = Pair(frames, random.choice((8, 200, 600)), **config(random, frames))
    guests(random, pair, pages)
    both = Both(pair, 0, events, times)
    if both.refused is not None:
        assert both.refused == ("refused", "frames")
        return
    pair.check()
    while both.model.position < len(events):
        if both.run(random.choice((1, 7, 100))):
            return
        flush(pair, random)

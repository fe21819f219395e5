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

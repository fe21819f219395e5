# SPDX-License-Identifier: MIT
"""Long random runs from fixed seeds: the engine and the reference stay equal throughout."""

from __future__ import annotations

from random import Random

import pytest

from stateful.draw import host_config, step
from stateful.pair import Pair

STEPS = 2000


@pytest.mark.parametrize("seed", range(20))
def test_long_run(seed: int) -> None:
    random = Random(seed)
    pair = Pair(**host_config(random))
    for _ in range(STEPS):
        step(pair, random)
        pair.check()

# SPDX-License-Identifier: MIT
"""Figures of random traces against the reference, which counts with sets."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import reference

from differential.traces import packed, random_events
from pgste.traces import Trace


@pytest.mark.parametrize("seed", range(100))
def test_summary(seed: int) -> None:
    random = Random(seed)
    pages = random.choice((1, 8, 60, 300))
    base = random.choice((0, 1, 0x10007B, 2**40 - 7))
    events = random_events(random, random.randint(0, 300), pages, base)
    if random.random() < 0.5:  # pages so far apart have no table of their own
        events.insert(random.randint(0, len(events)), (random.randrange(2), 0, 2**55 + 64))
    times = np.arange(len(events), dtype=np.uint64) * 250_000_000
    summary = Trace(np.array(packed(events), np.uint64), times).summary()
    expected = reference.summarize(events)
    expected |= {"events": len(events), "seconds": max(0, len(events) - 1) / 4}
    assert summary == expected

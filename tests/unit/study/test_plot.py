# SPDX-License-Identifier: MIT
"""The map of pages: which class a page is of."""

from __future__ import annotations

import numpy as np

import pgste
from pgste.study.plot import MAP_CLASSES, classify


def test_classify_tells_states_apart() -> None:
    state = pgste.State
    cases = [
        (0, False, False, "nothing mapped"),
        (int(state.VALID), True, False, "in use, resident"),
        (0, True, False, "in use, resident"),  # aged: present and invalid
        (int(state.SWAP), False, False, "in use, on swap"),
        (int(state.VALID) | 1, True, True, "free, still resident"),
        (int(state.SWAP) | 1, False, True, "free, on swap"),
        (1, False, True, "free, nothing mapped"),
        (3 | int(state.VALID), True, False, "volatile"),
        (2, False, False, "volatile"),
    ]
    states, present, free, names = zip(*cases, strict=True)
    classes = classify(np.array(states, np.uint8), np.array(present), np.array(free))
    for number, name in zip(classes, names, strict=True):
        assert name in MAP_CLASSES[number][0]

# SPDX-License-Identifier: MIT
"""ESSA on arrays that are partly runs of neighbours, which the engine does by vectors.

Whole state against the reference, with lists that fill in the middle of runs and pages that
are swapped out, so that an intercept zaps pages which the same array names again.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from stateful.pair import Pair

import pgste

PAGES = 200  # of which every number is also one of an 8-bit type


@pytest.fixture(params=[name for name, supported in pgste.isa_variants() if supported])
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    before = pgste.isa_name()
    pgste.isa_select(request.param)
    yield request.param
    pgste.isa_select(before)


def nearly_runs(random: Random) -> list[int]:
    """Runs up and down, some with a number that is out of place, and single numbers."""
    gfns: list[int] = []
    while len(gfns) < 400:
        first = random.randrange(PAGES)
        run = list(range(first, min(PAGES, first + random.choice((1, 2, 31, 32, 33, 64, 130)))))
        kind = random.randrange(4)
        if kind == 0:
            run[random.randrange(len(run))] = random.randrange(PAGES)
        elif kind == 1:
            run.reverse()
        gfns += run
    return gfns


def words(random: Random) -> tuple[list[int], list[int]]:
    """PGSTEs in every state; PTEs none, present or swapped, of no frame or slot of the host."""
    pgste_words = [
        random.getrandbits(2) << 24 | random.getrandbits(2) << 30 | random.getrandbits(1) << 49
        for _ in range(PAGES)
    ]
    absent = random.random()
    kinds = random.choices((0x10003D, 0x400, 0x5600), (1 - absent, absent, absent / 3), k=PAGES)
    return pgste_words, [kind + (i << 20 if kind != 0x400 else 0) for i, kind in enumerate(kinds)]


@pytest.mark.parametrize("seed", range(40))
def test_arrays_with_runs(variant: str, seed: int) -> None:
    random = Random(seed)
    pair = Pair(frames=1, swap_slots=1)
    pair.create(
        pages=PAGES,
        mechanism="cmma",
        generation=random.choice(("pgtable", "dat")),
        nodat=True,
        vcpus=random.choice((1, 1, 2)),
        cbrl_entries=random.choice((1, 5, 31, 32, 33, 64, 511)),
    )
    pgste_words, pte_words = words(random)
    pair.set_words(0, range(PAGES), pgste_words, pte_words)
    for _ in range(4):
        gfns = np.array(nearly_runs(random), random.choice(("u1", "u2", "i4", "i8", "u8")))
        pair.essa(0, random.randrange(8), gfns, 0)
        pair.check()

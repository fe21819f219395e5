# SPDX-License-Identifier: MIT
"""Every state of a page under every ESSA and the zap, engine against reference."""

from __future__ import annotations

import numpy as np
import pytest
from stateful.draw import GENERATIONS
from stateful.pair import Pair

from exhaustive.every_state import DIRTY, STATES, SWAP, VALID, words

PAGES = len(STATES)
OTHERS = ("clear", "set", "random", "own")


def pair_in_every_state(
    generation: str, others: str, migration: bool = False, mechanism: str = "cmma"
) -> Pair:
    """Page n in state n.  With "own" its frame or swap slot is one of the host."""
    pair = Pair(PAGES, PAGES)
    pair.create(PAGES, generation=generation, mechanism=mechanism, nodat=True)
    load = words("clear" if others == "own" else others)
    if migration:
        pair.set_migration(0, True)
    if others == "own":
        pair.write(0, range(PAGES), 7)
        pair.swap_out(0, np.array([n for n in STATES if n & SWAP and not n & VALID]))
        for n, pte in enumerate(pair.guests[0][1].pte):
            if n & (SWAP | VALID) in (SWAP, VALID):
                load.pte[n] = pte
    pair.set_words(0, list(STATES), load.pgste, load.pte)
    pair.check()
    return pair


def expected_states(generation: str, migration: bool) -> list[int]:
    """In `pgtable` attribute-dirty is no bit of the word: all in migration mode, else none."""
    if generation == "dat":
        return list(STATES)
    return [state | DIRTY if migration else state & ~DIRTY for state in STATES]


@pytest.mark.parametrize("migration", [False, True], ids=["normal", "migration"])
@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_states_are_the_eight_bits(generation: str, others: str, migration: bool) -> None:
    engine = pair_in_every_state(generation, others, migration).guests[0][0]
    assert engine.states().tolist() == expected_states(generation, migration)


@pytest.mark.parametrize("migration", [False, True], ids=["normal", "migration"])
@pytest.mark.parametrize("orc", range(8))
@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_essa(generation: str, others: str, orc: int, migration: bool) -> None:
    pair = pair_in_every_state(generation, others, migration)
    pair.essa(0, orc, range(PAGES), 0)
    pair.check()
    # The second finds what the first left, appended pages among them; then the list goes.
    pair.essa(0, orc, range(PAGES), 0)
    pair.check()
    pair.intercept(0, 0)
    pair.check()


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_zap(generation: str, others: str) -> None:
    pair = pair_in_every_state(generation, others)
    scanned = pair_in_every_state(generation, others)
    zappable = [n for n in STATES if pair.guests[0][1].zappable(n)]
    assert pair.guests[0][0].count_zappable() == len(zappable)
    for n in STATES:
        pair.zap(0, n)
    pair.check()
    scanned.zap_scan(0)
    scanned.check()
    assert scanned.guests[0][0].pte().tolist() == pair.guests[0][0].pte().tolist()
    # Of the 128 states with SWAP a quarter is unused; of the rest half have ZERO.
    assert len(zappable) == 32 + 48


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("others", OTHERS)
def test_reset_and_migration(generation: str, others: str) -> None:
    pair = pair_in_every_state(generation, others)
    pair.set_migration(0, True)
    pair.check()
    pair.reset_cmma(0)
    pair.check()
    pair.set_migration(0, True)
    pair.check()
    pair.set_migration(0, False)
    pair.check()


@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free"])
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("others", OTHERS)
def test_free_access_and_reclaim(generation: str, others: str, mechanism: str) -> None:
    """Every state freed, read, written, aged and reclaimed; foreign pages refuse access."""
    pair = pair_in_every_state(generation, others, mechanism=mechanism)
    for n in STATES:
        if n % 3 == 0:
            pair.read(0, n)
        elif n % 3 == 1:
            pair.write(0, n, n)
    pair.check()
    pair.free(0, range(PAGES), 0, 0)
    pair.check()
    for n in range(0, PAGES, 5):
        pair.write(0, n, n)
    pair.reclaim(PAGES // 2)
    pair.check()
    pair.reclaim(PAGES)
    pair.check()
    pair.alloc(0, range(PAGES), 0, 0)
    pair.check()

# SPDX-License-Identifier: MIT
"""Scans of tables that are too large for the narrow counters inside of the vector kernels.

The answers are counted by NumPy from `Guest.states`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pgste
from pgste import Guest, State

# The widest of these counters, 16 bits of the AVX-512 kernel, hold 2^21 pages all alike.
PAGES = (1 << 22) + 12345
USAGES = ("stable", "unused", "pot_volatile", "volatile")


@pytest.fixture(params=[name for name, supported in pgste.isa_variants() if supported])
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    before = pgste.isa_name()
    pgste.isa_select(request.param)
    yield request.param
    pgste.isa_select(before)


def dat_guest(mix: str) -> tuple[Guest, np.ndarray]:
    """Pages in all 256 states, at random or all in the one with every bit set."""
    rng = np.random.default_rng(5)
    pgste_words = rng.integers(0, 1 << 63, PAGES, dtype=np.uint64)
    present = rng.integers(0, 2, PAGES, dtype=np.uint64)
    pte = np.uint64(0x5000) | present | rng.integers(0, 4, PAGES, dtype=np.uint64) << np.uint64(9)
    if mix == "full":
        pgste_words[:] = 0x00020000C3008000
        pte[:] = 0x5200  # PROTECT without INVALID and PRESENT
    guest = Guest(PAGES, generation="dat")
    guest.set_words(range(PAGES), pgste=pgste_words, pte=pte)
    return guest, guest.states()


def counted(states: np.ndarray) -> dict[str, Any]:
    usage = states & State.USAGE
    valid, zero = (states & State.VALID) != 0, (states & State.ZERO) != 0
    swap = (states & State.SWAP) != 0
    counts: dict[str, Any] = {
        name: {
            "resident": int((valid & (usage == i)).sum()),
            "preserved": int((~valid & ~zero & (usage == i)).sum()),
            "zero": int((~valid & zero & (usage == i)).sum()),
        }
        for i, name in enumerate(USAGES)
    }
    counts["nodat"] = int(((states & State.NODAT) != 0).sum())
    counts["dirty"] = int(((states & State.DIRTY) != 0).sum())
    counts["swap"] = int(swap.sum())
    counts["zappable"] = int((swap & ((usage == 1) | zero)).sum())
    return counts


@pytest.mark.parametrize("mix", ["random", "full"])
def test_counts(variant: str, mix: str) -> None:
    guest, states = dat_guest(mix)
    if mix == "full":
        assert (states == 0xFF).all()
    else:
        assert np.unique(states).size == 256
    expected = counted(states)
    assert guest.count_states() == expected
    assert guest.count_zappable() == expected["zappable"]


@pytest.mark.parametrize("mask", [0x00, 0x20, 0x87, 0xFF])
def test_search(variant: str, mask: int) -> None:
    guest, states = dat_guest("random")
    for value in {0, mask, mask & 0x85}:
        expected = np.flatnonzero((states & mask) == value)
        found = guest.find(mask, value)
        assert np.array_equal(found, expected)
        assert np.array_equal(guest.find(mask, value, limit=100), expected[:100])
        later = guest.find(mask, value, start=777, limit=3)
        assert np.array_equal(later, expected[expected >= 777][:3])

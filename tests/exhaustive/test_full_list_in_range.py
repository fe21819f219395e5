# SPDX-License-Identifier: MIT
"""ESSA on a range whose list fills in the middle of a vector, against page after page.

A full list is processed before the next ESSA of the vcpu, also when that appends nothing
(docs/model.md, section 2): pages behind the one that filled it must see it empty.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import pgste
from pgste import Guest, Orc

PRESENT = 0x10000000 | 0x3D
SWAP = 0x600 | 0x5000
PAGES = 320


@pytest.fixture(params=[name for name, supported in pgste.isa_variants() if supported])
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    before = pgste.isa_name()
    pgste.isa_select(request.param)
    yield request.param
    pgste.isa_select(before)


def guest_with(absent: np.ndarray, entries: int) -> Guest:
    """Present pages, those of `absent` none, and every third of these swapped out."""
    guest = Guest(PAGES, cbrl_entries=entries)
    pte = np.full(PAGES, PRESENT, np.uint64)
    pte[absent] = 0x400
    pte[absent[::3]] = SWAP
    guest.set_words(range(PAGES), pte=pte)
    return guest


@pytest.mark.parametrize("entries", [1, 2, 4, 31, 32, 33, 63, 64, 65, 511])
@pytest.mark.parametrize("first", [0, 1, 63])
def test_list_fills_anywhere(variant: str, entries: int, first: int) -> None:
    rng = np.random.default_rng(entries * 64 + first)
    for share in (0.02, 0.3, 1.0):
        for nr in (1, 31, 32, 64, 65, 127, PAGES - first):
            absent = np.flatnonzero(rng.random(PAGES) < share)
            of_range, of_pages = guest_with(absent, entries), guest_with(absent, entries)
            for guest in (of_range, of_pages):  # the list is not empty at the start
                guest.essa(Orc.SET_UNUSED, 0)
            results = of_range.essa(Orc.SET_UNUSED, range(first, first + nr))
            one_by_one = [of_pages.essa_page(Orc.SET_UNUSED, first + i) for i in range(nr)]
            assert results.tolist() == one_by_one
            assert of_range.cbrl().tolist() == of_pages.cbrl().tolist()
            assert of_range.stats() == of_pages.stats()
            assert np.array_equal(of_range.states(), of_pages.states())
            assert np.array_equal(of_range.pte(), of_pages.pte())

# SPDX-License-Identifier: MIT
"""One page at a time, an array of any integer type, a range, a slice: all the same call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stateful.draw import DTYPES, GENERATIONS, Generation
from stateful.pair import engine_snapshot

import pgste
from exhaustive.every_state import STATES, words

PAGES = len(STATES)
FORMS = (
    *DTYPES,
    ">u4",
    ">i8",
    "list",
    "slice",
    "strided",
    "reversed view",
    "read-only",
)


def machine(generation: Generation, cbrl_entries: int = 100) -> tuple[pgste.Host, pgste.Guest]:
    """A guest with page n in state n; the list overflows within one pass over the table."""
    host = pgste.Host(PAGES, 4)
    guest = pgste.Guest(
        PAGES, host=host, generation=generation, nodat=True, cbrl_entries=cbrl_entries
    )
    load = words("random")
    guest.set_words(
        range(PAGES), pgste=np.array(load.pgste, np.uint64), pte=np.array(load.pte, np.uint64)
    )
    return host, guest


def in_form(first: int, end: int, form: str) -> Any:
    if form == "list":
        return list(range(first, end))
    if form == "slice":
        return slice(first, end)
    if form == "strided":
        return np.arange(2 * first, 2 * end)[::2] // 2
    if form == "reversed view":
        return np.arange(first, end)[::-1].copy()[::-1]
    array = np.arange(first, end).astype("u8" if form == "read-only" else form)
    if form == "read-only":
        array.flags.writeable = False
    return array


def reach(form: str) -> int:
    """The first gfn that the form cannot hold, or the end of the guest."""
    return 128 if form == "i1" else PAGES


@pytest.mark.parametrize("orc", range(8))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_essa(generation: Generation, form: str, orc: int) -> None:
    end = reach(form)
    one, by_page = machine(generation)
    two, by_range = machine(generation)
    three, by_form = machine(generation)
    results = [by_page.essa_page(orc, gfn) for gfn in range(end)]
    assert by_range.essa(orc, range(end)).tolist() == results
    assert by_form.essa(orc, in_form(0, end, form)).tolist() == results
    expected = engine_snapshot(one, [by_page])
    assert engine_snapshot(two, [by_range]) == expected
    assert engine_snapshot(three, [by_form]) == expected


@pytest.mark.parametrize("order", [0, 1, 3, 6])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_free_and_alloc(generation: Generation, form: str, order: int) -> None:
    """A block is its pages one by one."""
    end = reach(form)
    one, by_page = machine(generation)
    two, by_form = machine(generation)
    three, by_range = machine(generation)
    heads = in_form(0, end, form)
    heads = heads[:: 1 << order] if not isinstance(heads, slice) else range(0, end, 1 << order)
    for gfn in range(end):
        by_page.free_page(gfn)
    by_form.free(heads, order=order)
    by_range.free(range(end))
    expected = engine_snapshot(one, [by_page])
    assert engine_snapshot(two, [by_form]) == expected
    assert engine_snapshot(three, [by_range]) == expected
    for gfn in range(end):
        by_page.alloc_page(gfn)
    by_form.alloc(heads, order=order)
    by_range.alloc(range(end))
    expected = engine_snapshot(one, [by_page])
    assert engine_snapshot(two, [by_form]) == expected
    assert engine_snapshot(three, [by_range]) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_content_and_words(generation: Generation, form: str) -> None:
    end = reach(form)
    seen = []
    for gfns in (range(end), in_form(0, end, form), None):
        host = pgste.Host(40, 400, low=3, high=9, batch=2)
        guest = pgste.Guest(PAGES, host=host, generation=generation)
        if gfns is None:
            for gfn in range(end):
                guest.write(gfn, gfn + 1)
            tags = [int(guest.read(gfn)[0]) for gfn in range(end)]
            out = sum(host.swap_out(guest, gfn) for gfn in range(end))
            ptes = [int(guest.pte(gfn)[0]) for gfn in range(end)]
            pgstes = [int(guest.pgste(gfn)[0]) for gfn in range(end)]
        else:
            guest.write(gfns, np.arange(1, end + 1, dtype=np.uint32))
            tags = guest.read(gfns).tolist()
            out = host.swap_out(guest, gfns)
            ptes, pgstes = guest.pte(gfns).tolist(), guest.pgste(gfns).tolist()
        assert tags == list(range(1, end + 1))
        seen.append((out, ptes, pgstes, engine_snapshot(host, [guest])))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_order_and_repeats_count(generation: Generation) -> None:
    """An array is processed in order, and a gfn named twice is two instructions."""
    random = np.random.default_rng(7)
    gfns = random.integers(0, PAGES, 5000)
    for orc in range(8):
        one, by_page = machine(generation, cbrl_entries=3)
        two, by_array = machine(generation, cbrl_entries=3)
        results = [by_page.essa_page(orc, int(gfn)) for gfn in gfns]
        assert by_array.essa(orc, gfns).tolist() == results
        assert engine_snapshot(two, [by_array]) == engine_snapshot(one, [by_page])


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("migration", [False, True], ids=["normal", "migration"])
def test_ranges_anywhere(generation: Generation, migration: bool) -> None:
    """Ranges of every length up to two vectors and from every alignment."""
    for first in range(0, 70, 3):
        for length in (0, 1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130):
            orc = (first + length) % 8
            _, by_array = machine(generation)
            _, by_range = machine(generation)
            by_array.migration_mode = by_range.migration_mode = migration
            gfns = range(first, first + length)
            expected = by_array.essa(orc, np.array(gfns, np.int64)).tolist()
            assert by_range.essa(orc, gfns).tolist() == expected
            assert by_range.states().tolist() == by_array.states().tolist()
            assert by_range.cbrl().tolist() == by_array.cbrl().tolist()
            assert by_range.stats() == by_array.stats()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("variant", [name for name, supported in pgste.isa_variants() if supported])
def test_pages_of_a_range_that_were_so_already(variant: str, share: float) -> None:
    """Double frees and allocs are counted page by page, over words of bits and parts of words."""
    pages = 3000
    rng = np.random.default_rng(9)
    before = pgste.isa_name()
    pgste.isa_select(variant)
    try:
        for first, end in ((0, pages), (1, pages - 1), (64, 128), (60, 700), (128, 2048), (5, 6)):
            guest = pgste.Guest(pages)
            is_free = rng.random(pages) < share
            guest.free(np.flatnonzero(is_free))
            guest.free(range(first, end))
            assert guest.stats()["double_frees"] == is_free[first:end].sum()
            is_free[first:end] = True
            assert np.array_equal(guest.is_free(), is_free)
            guest.alloc(slice(None))
            assert guest.stats()["double_allocs"] == pages - is_free.sum()
            assert not guest.is_free().any()
    finally:
        pgste.isa_select(before)

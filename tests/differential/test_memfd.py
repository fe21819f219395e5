# SPDX-License-Identifier: MIT
"""Guests whose memory is a shared mapping of a file, and devices that store to frames: random runs
of the engine against the reference model, whole state after every step, and by hand."""

from __future__ import annotations

import random

import pytest
from stateful.pair import Pair

import pgste

PAGES = 5


def one_step(rng: random.Random, pair: Pair) -> None:
    gfn = rng.randrange(PAGES)
    engine, model = pair.guests[0]
    match rng.choice(("write", "read", "free", "alloc", "swap_out", "reclaim", "poke", "other")):
        case "write":
            pair.write(0, [gfn, rng.randrange(PAGES)], [rng.randint(1, 9), rng.randint(1, 9)])
        case "read":
            pair.read(0, [gfn])
        case "free":
            pair.free(0, [gfn], 0, 0)
        case "alloc":
            pair.alloc(0, [gfn], 0, 0)
        case "swap_out":
            pair.swap_out(0, [gfn])
        case "reclaim":
            pair.reclaim(1 + gfn % 3)
        case "poke":
            pair.both(lambda: engine.poke(gfn, 11), lambda: model.poke(gfn, 11))
        case "other":
            if len(pair.guests) > 1:
                pair.write(1, [gfn % 2], [5])
            elif engine.mechanism == "cmma":
                pair.both(engine.intercept, model.intercept)


@pytest.mark.parametrize("memory", ["memfd", "host"])
@pytest.mark.parametrize("generation", ["pgtable", "dat"])
@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free"])
@pytest.mark.parametrize("seed", range(4))
def test_random_runs(seed: int, mechanism: str, generation: str, memory: str) -> None:
    """With two frames and few slots, so that calls fail half way and are undone."""
    rng = random.Random(seed)
    pair = Pair(rng.choice((1, 2, 3)), rng.choice((0, 1, 3)))
    pair.create(PAGES, mechanism=mechanism, generation=generation, memory=memory)
    if seed % 2:
        pair.create(2, mechanism="none")
    for _ in range(300):
        one_step(rng, pair)
        pair.check()


@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free"])
def test_a_page_that_leaves_memory_is_in_the_file(mechanism: str) -> None:
    host = pgste.Host(2, 2)
    guest = pgste.Guest(2, host, mechanism, memory="memfd")
    guest.write(0, 5)
    guest.free(0)
    host.swap_out(guest, 0)
    assert guest.pte(0).tolist() == [0x400], "no swap entry for a file's page"
    assert host.stats()["swap_slots_free"] == 2
    assert guest.peek(0).tolist() == guest.read(0).tolist() == [5]
    host.validate()


def test_a_zap_finds_no_swap_entry() -> None:
    host = pgste.Host(2, 2)
    guest = pgste.Guest(2, host, "cmma", memory="memfd")
    guest.write(0, 5)
    host.swap_out(guest, 0)
    guest.free(0)
    assert guest.cbrl().tolist() == [0]
    assert (guest.intercept(), guest.zap(0), guest.read(0).tolist()) == (0, False, [5])


def test_madv_free_is_refused() -> None:
    """madvise_free_single_vma: not an anonymous VMA."""
    host = pgste.Host(2, 2)
    guest = pgste.Guest(2, host, "madv_free", memory="memfd")
    guest.write(0, 5)
    guest.free(0)
    assert guest.pte(0).tolist() != [0x400]
    assert host.stats()["frames_lazyfree"] == 0


@pytest.mark.parametrize(("advice", "content"), [("madv_dontneed", 0), ("madv_free", 5)])
def test_reporting_punches_a_hole(advice: str, content: int) -> None:
    """ram_block_discard_range, for a block with a file."""
    guest = pgste.Guest(4, pgste.Host(4, 4), "reporting", memory="memfd")
    guest.set_reporting(
        order=0, parked_high=0, min=0, low=0, spare=1 << 20,
        advice=advice,  # type: ignore[arg-type]
    )  # fmt: skip
    guest.write(2, 5)
    guest.free_page(2)
    guest.advance(2 * 10**9)
    assert guest.peek(2).tolist() == [content]


def test_a_device_stores_to_the_frame() -> None:
    """A clean page that a device stored to is dropped as one that nobody stored to."""
    host = pgste.Host(2, 2)
    guest = pgste.Guest(2, host, "madv_free")
    guest.write(0, 5)
    guest.free(0)
    word = guest.pte(0).tolist()
    assert guest.poke([0, 1], [6, 7]) == 1
    assert (guest.peek(0).tolist(), guest.pte(0).tolist()) == ([6], word)
    host.reclaim(1)
    assert guest.read(0).tolist() == [0]


def test_refused() -> None:
    with pytest.raises(pgste.UnknownNameError, match="memory: 'file'"):
        pgste.Guest(2, memory="file")
    with pytest.raises(pgste.ArgumentError, match="memory: unknown to generation 'zvm'"):
        pgste.Guest(2, generation="zvm", memory="memfd")
    host = pgste.Host(2, 2)
    guest = pgste.Guest(2, host, memory="memfd")
    guest.write(0, 1)
    with pytest.raises(pgste.ArgumentError):
        host.set_folio(guest, 0, "shared")
    with pytest.raises(pgste.GfnError, match=r"gfns\[1\]: 2"):
        guest.poke([0, 2], 1)
    assert guest.peek(0).tolist() == [1]

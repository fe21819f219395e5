# SPDX-License-Identifier: MIT
"""Guests whose memory the host has locked: random runs of the engine against the reference model,
whole state after every step, and by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest
from stateful.pair import Pair

import pgste
from differential.test_two_tables import TwoTables

PAGES = 4
STEPS = (
    *("write", "read", "free", "alloc", "swap_out", "reclaim", "poke", "folio", "list"),
    *("other", "other"),
)


def one_step(rng: random.Random, pair: Pair, at: int) -> None:
    gfn = rng.randrange(PAGES)
    engine, model = pair.guests[at]
    match rng.choice(STEPS):
        case "write":
            pair.write(at, [gfn, rng.randrange(PAGES)], [rng.randint(1, 9), rng.randint(1, 9)])
        case "read":
            pair.read(at, [gfn])
        case "free":
            pair.free(at, [gfn], 0, 0)
        case "alloc":
            pair.alloc(at, [gfn], 0, 0)
        case "swap_out":
            pair.swap_out(at, [gfn])
        case "reclaim":
            pair.reclaim(1 + gfn)
        case "poke":
            pair.both(lambda: engine.poke(gfn, 11), lambda: model.poke(gfn, 11))
        case "folio":
            on = rng.random() < 0.5
            pair.both(
                lambda: pair.host.set_folio(engine, gfn, "locked", on),
                lambda: model.set_folio(gfn, "locked", on),
            )
        case "list":
            if engine.mechanism == "cmma":
                pair.both(engine.intercept, model.intercept)
        case "other":
            pair.write(1 - at, [rng.randrange(3)], [5])


def pairs(seed: int, generation: str, **config: Any) -> Pair:
    kind = TwoTables if generation == "dat" else Pair
    pair = kind(PAGES + seed % 3, 3)
    if seed % 2:  # what it has is to be reclaimed for the locked pages
        pair.create(3, mechanism="none", generation=generation)
        pair.write(0, [0, 1, 2], [5, 6, 7])
        pair.create(PAGES, generation=generation, mlock=True, **config)
    else:
        pair.create(PAGES, generation=generation, mlock=True, **config)
        pair.create(3, mechanism="none", generation=generation)
    return pair


@pytest.mark.parametrize("memory", ["host", "memfd"])
@pytest.mark.parametrize("generation", ["pgtable", "dat"])
@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free"])
@pytest.mark.parametrize("seed", range(6))
def test_random_runs(seed: int, mechanism: str, generation: str, memory: str) -> None:
    """With a frame more than the locked pages, two more, or none."""
    rng = random.Random(seed)
    pair = pairs(seed, generation, mechanism=mechanism, memory=memory)
    pair.check()
    for _ in range(200):
        one_step(rng, pair, seed % 2)
        pair.check()
    engine = pair.guests[seed % 2][0]
    assert engine.stats()["swap_outs"] == engine.stats()["unused_discards"] == 0
    assert pair.host.stats()["scanned"]


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free", "reporting"])
def test_nothing_leaves_memory(mechanism: str, generation: str) -> None:
    host = pgste.Host(6, 6)
    guest = pgste.Guest(4, host, mechanism, generation, mlock=True)
    assert host.stats()["frames_free"] == 2
    assert guest.stats()["zero_fills"] == 4
    if generation == "dat":  # in the host's table; the guest's is empty
        assert (guest.pte() == 0x400).all()
        assert (guest.host_ptes() & 0x1).all()
    guest.write(range(4), [1, 2, 3, 4])
    guest.free(range(3))
    guest.advance(10**10)
    assert host.swap_out(guest, range(4)) == host.reclaim(4) == 0
    if mechanism == "cmma":
        assert guest.intercept() == guest.zap_scan() == 0
    assert guest.peek(range(4)).tolist() == [1, 2, 3, 4]
    guest.alloc(range(3))
    assert guest.read(range(4)).tolist() == [1, 2, 3, 4]
    assert host.stats()["frames_free"] == 2


def test_a_hole_is_punched_into_a_file() -> None:
    """fallocate knows of no lock: what a guest reports goes, and is faulted in again."""
    host = pgste.Host(4, 4)
    guest = pgste.Guest(4, host, "reporting", memory="memfd", mlock=True)
    guest.set_reporting(order=0, max_order=0, parked_order=0, parked_high=1, parked_batch=1,
                        capacity=1, min=0, low=0)  # fmt: skip
    guest.write(range(4), [1, 2, 3, 4])
    guest.free(range(2))
    guest.advance(10**10)
    assert host.stats()["frames_free"] > 0
    assert guest.peek(range(4)).tolist()[2:] == [3, 4]
    assert 0 in guest.peek(range(2)).tolist()


def test_other_guests_go_for_it() -> None:
    host = pgste.Host(6, 6)
    other = pgste.Guest(6, host, "none")
    other.write(range(6), 7)
    guest = pgste.Guest(4, host, "none", mlock=True)
    assert other.stats()["swap_outs"] == 4
    with pytest.raises(pgste.OutOfFramesError):
        pgste.Guest(5, host, "none", mlock=True)
    guest.write(range(4), 1)
    assert other.read(range(6)).tolist() == [7] * 6


def test_a_host_that_is_too_small_stays_as_it_was() -> None:
    host = pgste.Host(6, 6)
    other = pgste.Guest(6, host, "none")
    other.write(range(6), 7)
    before = host.stats(), other.pte().tolist(), [host.frame_info(f) for f in range(6)]
    with pytest.raises(pgste.OutOfFramesError, match="pages: 7"):
        pgste.Guest(7, host, "none", mlock=True)
    assert (host.stats(), other.pte().tolist(), [host.frame_info(f) for f in range(6)]) == before
    host.validate()


def test_refused() -> None:
    with pytest.raises(pgste.ArgumentError, match="mlock: unknown to generation 'zvm'"):
        pgste.Guest(2, generation="zvm", mlock=True)
    with pytest.raises(pgste.ArgumentError, match="mlock: True with memory 'caller'"):
        pgste.Guest(2, memory="caller", mlock=True)
    with pytest.raises(pgste.ArgumentTypeError, match="mlock: 3"):
        pgste.Guest(2, mlock=3)  # type: ignore[arg-type]
    for reclaim in ("lru", "mglru"):
        with pytest.raises(pgste.ArgumentError, match=f"mlock: True on a host of '{reclaim}'"):
            pgste.Guest(2, pgste.Host(4, 4, reclaim=reclaim), mlock=True)

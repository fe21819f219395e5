# SPDX-License-Identifier: MIT
"""Guests with the host's own memory: faults, reclaim, madvise and ageing move storage keys and fire
notifications as the functions they are made of do.  Engine against reference, whole state.

`PGSTE_CASES` is how many random calls a run has.
"""

from __future__ import annotations

import os
import random

import pytest
from reference.ptes import EAGAIN, IN, VSIE
from stateful.pair import Pair

import pgste

CASES = int(os.environ.get("PGSTE_CASES", "20000"))
PAGES = 6


def layer(pair: Pair, i: int, rng: random.Random) -> None:
    """One call of the PTE layer on a guest with memory of the host."""
    engine, model = pair.guests[i]
    gfn = rng.randrange(PAGES)
    model.loading = True
    match rng.randrange(9):
        case 0:
            engine.set_notify(gfn, IN | VSIE)
            model.ptep_set_notify(gfn, IN | VSIE)
        case 1:
            assert engine.test_and_clear_dirty(gfn)[0] == model.ptep_test_and_clear_uc(gfn)
        case 2:
            prot = rng.randrange(3)
            assert engine.force_prot(gfn, prot, IN)[0] == model.ptep_force_prot(gfn, prot, IN)
        case 3:
            young, before = engine.age(gfn)
            assert (young[0], before[0]) == model.ptep_test_and_clear_young(gfn)
        case 4:
            assert engine.xchg_pte(gfn, 0x400)[0] == model.ptep_xchg(gfn, 0x400)
        case 5:
            word = model.pte[gfn] ^ rng.choice((0x200, 0x400, 0x20))
            engine.set_pte_at(gfn, word)
            model.set_pte_at(gfn, word)
        case 6:
            engine.clear_soft_dirty(gfn)
            model.clear_soft_dirty(gfn)
        case 7:
            assert engine.modify_prot_start(gfn)[0] == model.ptep_modify_prot_start(gfn)
            word = model.pte[gfn] & ~0x400
            engine.modify_prot_commit(gfn, word)
            model.ptep_modify_prot_commit(gfn, word)
        case 8:
            engine.zap_key(gfn)
            model.ptep_zap_key(gfn)
    model.loading = False


def key(pair: Pair, i: int, rng: random.Random) -> None:
    """One instruction on a storage key."""
    engine, model = pair.guests[i]
    gfn, value = rng.randrange(PAGES), rng.getrandbits(8) & 0xFE
    kind = rng.randrange(5)
    if kind == 3:
        assert engine.get_storage_key(gfn)[0] == model.get_guest_storage_key(gfn)
        return
    if kind == 4:
        if rng.random() < 0.02:
            pair.both(engine.reset_storage_keys, model.reset_skeys)
        return
    mr, mc = rng.random() < 0.5, rng.random() < 0.5

    def execute() -> object:
        if kind == 0:
            engine.set_storage_key(gfn, value)
            return None
        if kind == 1:
            rc, old = engine.cond_set_storage_key(gfn, value, mr, mc)
            return int(rc[0]), int(old[0])
        return int(engine.reset_reference(gfn)[0])

    def expected() -> object:
        model.enable_skey()  # for which there may be too few frames
        if kind == 0:
            model.set_guest_storage_key(gfn, value)
            return None
        if kind == 1:
            done, was = model.cond_set_guest_storage_key(gfn, value, mr, mc)
            return done, was or 0
        return model.reset_guest_reference_bit(gfn)

    pair.both(execute, expected)


def check_notes(pair: Pair) -> None:
    for engine, model in pair.guests:
        gfns, bits = engine.notifications()
        assert list(zip(gfns.tolist(), bits.tolist(), strict=True)) == model.notes
        model.notes.clear()
        assert engine.uses_storage_keys == model.uses_skeys
        assert engine.allow_cow_sharing == model.allow_cow_sharing


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mechanism", ["cmma", "madv_dontneed", "madv_free"])
def test_against_the_reference(mechanism: str, seed: int) -> None:
    rng = random.Random(f"{mechanism}{seed}")
    pair = Pair(8, 7, rearm=rng.choice(["referenced", "dirty"]))
    for keys in (True, False, rng.random() < 0.5):
        zero = rng.random() < 0.7
        pair.create(
            PAGES, mechanism=mechanism, nodat=True, storage_keys=keys, allow_cow_sharing=zero
        )
    for step in range(max(CASES // 9, 400)):
        i = rng.randrange(3)
        gfns = [rng.randrange(PAGES) for _ in range(rng.randrange(1, 4))]
        match rng.randrange(12):
            case 0 | 1:
                pair.write(i, gfns, rng.randrange(1, 9))
            case 2 | 3:
                pair.read(i, gfns)
            case 4:
                pair.swap_out(i, gfns)
            case 5:
                pair.reclaim(rng.randrange(1, 6))
            case 6:
                pair.free(i, gfns, 0, 0)
            case 7:
                pair.alloc(i, gfns, 0, 0)
            case 8:
                if mechanism == "cmma":
                    pair.essa(i, rng.randrange(8), gfns, 0)
                    pair.intercept(i, 0)
            case 9:
                layer(pair, i, rng)
            case _:
                # the middle one never uses keys
                if i != 1:
                    key(pair, i, rng)
        pair.check()
        check_notes(pair)
        if step % 50 == 49:
            # foreign words, which nobody can use, do not pile up
            for i, (_, model) in enumerate(pair.guests):
                gone = [gfn for gfn in range(PAGES) if model.foreign[gfn] or step % 500 == 499]
                pair.set_words(i, gone, None, [0x400] * len(gone))
            pair.check()
    assert not pair.guests[1][0].uses_storage_keys


def test_a_guest_without_keys_touches_no_frame_key() -> None:
    host = pgste.Host(4, 4)
    guest = pgste.Guest(4, host)
    host.set_frame_key(range(4), 0xF0)
    guest.write(range(4), 1)
    host.swap_out(guest, range(4))
    guest.read(range(4))
    assert host.frame_key(range(4)).tolist() == [0xF0] * 4
    assert guest.pgste().tolist() == [1 << 47] * 4
    assert not guest.uses_storage_keys


def test_room_for_notifications_that_fire_at_once() -> None:
    """Bits are set page by page, and fire together: none is lost, in the order of the changes."""
    pages = 1000
    guest = pgste.Guest(pages, memory="caller")
    for gfn in range(pages):
        guest.set_notify(gfn, IN)
    guest.xchg_pte(range(pages), 0x400)
    gfns, bits = guest.notifications()
    assert gfns.tolist() == list(range(pages))
    assert set(bits.tolist()) == {IN}
    assert guest.notifications()[0].size == 0


def test_a_page_that_reclaim_puts_back_notifies() -> None:
    """A lazyfree page that was stored to: its PTE is exchanged, and then set as it was."""
    host = pgste.Host(4, 4)
    guest = pgste.Guest(2, host, mechanism="madv_free", storage_keys=True)
    guest.write(0, 1)
    guest.set_storage_key(0, 0x70)
    guest.free(0)
    guest.write(0, 2)
    guest.age(0)
    guest.set_notify(0, VSIE)
    before = guest.pte()[0]
    assert host.swap_out(guest, 0) == 0
    assert [part.tolist() for part in guest.notifications()] == [[0], [VSIE]]
    assert guest.pte()[0] == before
    assert guest.get_storage_key(0)[0] & 0xF8 == 0x70


def test_notifications_of_a_call_that_fails_are_forgotten() -> None:
    """All is as before, keys and notifications too, when memory runs out half way."""
    host = pgste.Host(3, 0)
    guest = pgste.Guest(8, host, storage_keys=True)
    guest.write(range(2), 1)
    guest.set_notify(range(2), IN)
    before = (guest.pgste().tolist(), guest.pte().tolist(), host.frame_key(range(3)).tolist())
    with pytest.raises(pgste.OutOfFramesError):
        guest.write([0, 1, 2, 3, 4, 5], 2)
    after = (guest.pgste().tolist(), guest.pte().tolist(), host.frame_key(range(3)).tolist())
    assert after == before
    assert guest.notifications()[0].size == 0
    guest.xchg_pte(range(2), 0x400)
    assert guest.notifications()[0].tolist() == [0, 1]
    assert EAGAIN == 11

# SPDX-License-Identifier: MIT
"""PTE layer and storage keys of generation "dat": random calls, engine against reference.

Two guests whose memory is the caller's, the second of which stands for a shadow table.  After
each call both tables, PGSTEs, frames' keys and notifications are compared.  PGSTE_CASES says how
many calls each function gets at least, in the three revisions together; tests/reference/dat.py is
the reference.
"""

from __future__ import annotations

import os
from collections import Counter
from random import Random
from typing import Any

import pytest
from reference.dat import (
    ACC,
    DIRTY,
    EMPTY,
    FP,
    GC,
    GMEM,
    GR,
    HC,
    HR,
    PREFIX,
    SPECIAL,
    USAGE,
    VSIE,
    WRITE,
    ZERO,
    DatMachine,
    pfra,
)

import pgste

CASES = int(os.environ.get("PGSTE_CASES", "1000"))
PAGES, FRAMES = 4, 4
PGSTE_BITS = ACC | FP | HR | HC | GR | GC | ZERO | USAGE | PREFIX | VSIE | GMEM | 1 << 30


class Both:
    """The same calls for a guest of the engine and the reference."""

    def __init__(self, host: pgste.Host, revision: str, keys: dict[int, int]) -> None:
        self.guest = pgste.Guest(
            PAGES, host=host, generation="dat", revision=revision, memory="caller"
        )
        self.ref = DatMachine(PAGES, FRAMES, revision, keys)

    def check(self) -> None:
        self.guest.host.validate()
        shown = [word & ~0 for word in self.ref.words()]
        assert self.guest.pte().tolist() == shown
        assert self.guest.host_ptes().tolist() == self.ref.hpte
        assert self.guest.pgste().tolist() == self.ref.pgste
        keys = [self.ref.real_keys.get(frame, 0) for frame in range(FRAMES)]
        assert self.guest.host.frame_key(range(FRAMES)).tolist() == keys


def host_word(random: Random, old: int) -> int:
    low = random.getrandbits(12)
    frame = random.randrange(FRAMES + 1) << 12
    kind = random.randrange(6)
    if kind == 0:
        return EMPTY
    if kind == 1:
        return random.randrange(4) << 12 | 0x600 | low & 0x9FE
    if kind == 2:
        return frame | low & ~0x201
    if kind == 3:
        return old ^ 1 << random.randrange(12)
    return frame | low | 1


def on_table(one: Both, random: Random, gfn: int, kind: str) -> None:
    guest, ref = one.guest, one.ref
    word = host_word(random, ref.hpte[gfn])
    if kind == "set":
        guest.set_pte_at(gfn, word)
        ref.set_ptes(gfn, word)
    elif kind == "xchg":
        lazy = random.random() < 0.5
        assert guest.xchg_pte(gfn, word, lazy).tolist() == [ref.ptep_xchg(gfn, word)]
    elif kind == "prot":
        assert guest.modify_prot_start(gfn).tolist() == [ref.ptep_modify_prot_start(gfn)]
        one.check()
        guest.modify_prot_commit(gfn, word)
        ref.ptep_modify_prot_commit(gfn, word)
    elif kind == "soft":
        assert guest.soft_dirty(gfn).tolist() == [bool(ref.hpte[gfn] & 2)]
        guest.clear_soft_dirty(gfn)
        ref.clear_soft_dirty(gfn)
    elif kind == "map":
        now = ref.gpte[gfn] if random.random() < 0.5 else ref.hpte[gfn]
        if random.random() < 0.7:
            word = now & ~0xFFF | word & 0xFFF
        guest.map_pte(gfn, word)
        ref.gmap_link(gfn, pfra(word), bool(word & WRITE), bool(word & DIRTY), bool(word & SPECIAL))
    elif kind == "unmap":
        after = guest.unmap_pte(gfn).tolist()
        ref._gmap_unmap_pte(gfn)
        assert after == [ref.hpte[gfn]]
    elif kind == "age":
        young, was = guest.age(gfn)
        assert (bool(young[0]), int(was[0])) == ref.age(gfn)
    elif kind == "dirty":
        assert guest.test_and_clear_dirty(gfn).tolist() == [ref.test_and_clear_dirty(gfn)]
    elif kind == "force_prot":
        bits = random.choice((0, VSIE, VSIE | GMEM, PREFIX))
        if random.random() < 0.1:
            assert guest.force_prot(gfn, random.choice((0, 2)), bits).tolist() == [-11]
        else:
            assert guest.force_prot(gfn, 1, bits).tolist() == [ref.gmap_protect_rmap(gfn, bits)]
    elif kind == "set_notify":
        guest.set_notify(gfn, PREFIX)
        ref.dat_set_pn_pte(gfn)
    elif kind == "pgste":
        mask = random.getrandbits(64) & PGSTE_BITS
        value = random.getrandbits(64)
        guest.set_pgste_bits(gfn, mask, value)
        ref.pgste[gfn] = ref.pgste[gfn] & ~mask | value & mask
    else:
        pages, told = guest.notifications()
        assert list(zip(pages.tolist(), told.tolist(), strict=True)) == ref.notes
        ref.notes = []


def on_keys(one: Both, random: Random, gfn: int, kind: str) -> None:
    guest, ref = one.guest, one.ref
    key = random.getrandbits(8) & (0xFE if random.random() < 0.9 else 0xFF)
    nq = random.random() < 0.5
    if kind == "set_key":
        ref.gmap_enable_skeys()
        guest.set_storage_key(gfn, key, nq)
        ref.dat_set_storage_key(gfn, key)
    elif kind == "get_key":
        assert guest.get_storage_key(gfn).tolist() == [ref.dat_get_storage_key(gfn)]
    elif kind == "cond_set":
        ref.gmap_enable_skeys()
        mr, mc = random.random() < 0.5, random.random() < 0.5
        rc, old = guest.cond_set_storage_key(gfn, key, mr, mc, nq)
        assert (int(rc[0]), int(old[0])) == ref.dat_cond_set_storage_key(gfn, key, mr, mc)
    elif kind == "rrbe":
        ref.gmap_enable_skeys()
        cc = ref.dat_reset_reference_bit(gfn)
        assert guest.reset_reference(gfn).tolist() == [cc]
    elif kind == "reset":
        guest.reset_storage_keys()
        ref.dat_reset_skeys()
    else:
        guest.host.set_frame_key(gfn, key)
        ref.real_keys[gfn] = key & 0xFE


TABLE = (
    "set", "xchg", "prot", "soft", "map", "map", "map", "unmap", "age", "dirty", "force_prot",
    "set_notify", "pgste", "notes",
)  # fmt: skip
KEYS = ("set_key", "get_key", "cond_set", "rrbe", "frame", "frame")


@pytest.mark.parametrize("revision", ["7.0", "7.1", "7.1.5", "7.2"])
def test_random_calls(revision: str) -> None:
    done: Counter[str] = Counter()
    kinds: tuple[Any, ...] = (*TABLE, *KEYS, "shadow", "unshadow")
    seed = 0
    while min(done[kind] for kind in kinds) * 3 < CASES:
        random = Random(f"{revision} {seed}")
        seed += 1
        host = pgste.Host(FRAMES, 4)
        keys: dict[int, int] = {}
        parent, shadow = Both(host, revision, keys), Both(host, revision, keys)
        uses_keys = random.random() < 0.7
        for _ in range(200):
            one = parent if random.random() < 0.8 else shadow
            gfn = random.randrange(PAGES)
            kind = random.choice(kinds)
            if kind in KEYS and not uses_keys:
                continue
            done[kind] += 1
            if kind in TABLE:
                on_table(one, random, gfn, kind)
            elif kind == "shadow":
                target, word = random.randrange(PAGES), random.choice((0, 0x200))
                result = parent.guest.shadow_pte(gfn, shadow.guest, target, word).tolist()
                assert result == [parent.ref._do_shadow_pte(gfn, shadow.ref, target, bool(word))]
            elif kind == "unshadow":
                shadow.guest.unshadow_pte(gfn)
                shadow.ref.gmap_unshadow_level(gfn)
            else:
                rare = "reset" if kind == "frame" and random.random() < 0.05 else kind
                on_keys(one, random, gfn, rare)
            parent.check()
            shadow.check()

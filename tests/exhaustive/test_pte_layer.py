# SPDX-License-Identifier: MIT
"""The PTE layer and storage keys against the reference, function by function.

`test_every_pattern` goes through every combination of the bits that a function looks at;
`test_random_words` through random words of 64 bits, with frames that pages share, so that the
order counts; `test_sequences` through long runs of all functions on few pages.  Compared is the
whole state each time: results, PGSTEs, PTEs, keys of frames, notifications.

`PGSTE_CASES` is how many random cases a function gets.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
from reference.ptes import GC, GR, HC, HR, IN, PCL, UC, VSIE, ZERO, Machine

import pgste

CASES = int(os.environ.get("PGSTE_CASES", "20000"))
CHUNK = 20000

#: Bits of a PTE that the functions look at: INVALID PROTECT UNUSED WRITE YOUNG SOFT_DIRTY PRESENT.
PTE_BITS = (0x400, 0x200, 0x080, 0x020, 0x004, 0x002, 0x001)


class Both:
    """A guest whose memory is the caller's, and a reference machine."""

    def __init__(self, pages: int, frames: int, storage_keys: bool) -> None:
        self.pages = pages
        self.host = pgste.Host(frames, 0)
        self.guest = pgste.Guest(pages, self.host, memory="caller", storage_keys=storage_keys)
        self.table = pgste.Guest(pages, self.host, memory="caller")
        self.machine = Machine(pages, frames)
        self.shadow = Machine(pages, frames)
        if storage_keys:
            self.machine.enable_skey()
        self.shadow.real_keys = self.machine.real_keys

    def load(
        self, pgste: Sequence[int], pte: Sequence[int], keys: Sequence[int], table: Sequence[int]
    ) -> None:
        everything = slice(None)
        self.guest.set_words(
            everything, np.array(pgste, dtype=np.uint64), np.array(pte, dtype=np.uint64)
        )
        self.table.set_words(everything, 0, np.array(table, dtype=np.uint64))
        self.host.set_frame_key(range(len(keys)), np.array(keys, dtype=np.uint8))
        self.machine.pgste = [word & ~PCL for word in pgste]
        self.machine.pte = list(pte)
        self.shadow.pgste = [0] * self.pages
        self.shadow.pte = list(table)
        self.machine.real_keys.clear()
        self.machine.real_keys.update(enumerate(key & 0xFE for key in keys))

    def check(self) -> None:
        guest, machine = self.guest, self.machine
        assert guest.pte().tolist() == machine.pte
        assert guest.pgste().tolist() == machine.words()
        assert self.table.pte().tolist() == self.shadow.pte
        assert self.table.pgste().tolist() == self.shadow.words()
        frames = range(self.host.frames)
        keys = [machine.real_keys.get(frame, 0) for frame in frames]
        assert self.host.frame_key(frames).tolist() == keys
        gfns, bits = guest.notifications()
        assert list(zip(gfns.tolist(), bits.tolist(), strict=True)) == machine.notes
        machine.notes.clear()
        self.host.validate()


#: A function for the same random arguments on both sides: what it returned, as lists.
Results = tuple[object, object]
Call = Callable[[Both, list[int], random.Random], Results]


def words(rng: random.Random, nr: int, frames: int) -> list[int]:
    return [rng.randrange(frames + 2) << 12 | rng.getrandbits(12) for _ in range(nr)]


def as_words(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def set_pte_at(b: Both, gfns: list[int], rng: random.Random) -> Results:
    new = words(rng, len(gfns), b.host.frames)
    for gfn, word in zip(gfns, new, strict=True):
        b.machine.set_pte_at(gfn, word)
    b.guest.set_pte_at(gfns, as_words(new))
    return None, None


def xchg_pte(b: Both, gfns: list[int], rng: random.Random) -> Results:
    new = words(rng, len(gfns), b.host.frames)
    expected = [b.machine.ptep_xchg(gfn, word) for gfn, word in zip(gfns, new, strict=True)]
    return b.guest.xchg_pte(gfns, as_words(new), lazy=rng.random() < 0.5).tolist(), expected


def age(b: Both, gfns: list[int], rng: random.Random) -> Results:
    young, before = b.guest.age(gfns)
    got = list(zip(young.tolist(), before.tolist(), strict=True))
    return got, [b.machine.ptep_test_and_clear_young(gfn) for gfn in gfns]


def modify_prot(b: Both, gfns: list[int], rng: random.Random) -> Results:
    gfns = list(dict.fromkeys(gfns))
    old = b.guest.modify_prot_start(gfns).tolist()
    expected = [b.machine.ptep_modify_prot_start(gfn) for gfn in gfns]
    b.check()
    new = [word ^ rng.choice(PTE_BITS) for word in old]
    b.guest.modify_prot_commit(gfns, as_words(new))
    for gfn, word in zip(gfns, new, strict=True):
        b.machine.ptep_modify_prot_commit(gfn, word)
    return old, expected


def test_and_clear_dirty(b: Both, gfns: list[int], rng: random.Random) -> Results:
    got = b.guest.test_and_clear_dirty(gfns).tolist()
    return got, [b.machine.ptep_test_and_clear_uc(gfn) for gfn in gfns]


def clear_soft_dirty(b: Both, gfns: list[int], rng: random.Random) -> Results:
    got = b.guest.soft_dirty(gfns).tolist()
    expected = [b.machine.soft_dirty(gfn) for gfn in gfns]
    b.guest.clear_soft_dirty(gfns)
    for gfn in gfns:
        b.machine.clear_soft_dirty(gfn)
    return got, expected


def zap_key(b: Both, gfns: list[int], rng: random.Random) -> Results:
    for gfn in gfns:
        b.machine.ptep_zap_key(gfn)
    b.guest.zap_key(gfns)
    return None, None


def force_prot(b: Both, gfns: list[int], rng: random.Random) -> Results:
    prot, bit = rng.randrange(3), rng.choice((0, IN, VSIE, IN | VSIE))
    got = b.guest.force_prot(gfns, prot, bit).tolist()
    return got, [b.machine.ptep_force_prot(gfn, prot, bit) for gfn in gfns]


def set_notify(b: Both, gfns: list[int], rng: random.Random) -> Results:
    bits = rng.choice((IN, VSIE, IN | VSIE))
    for gfn in gfns:
        b.machine.ptep_set_notify(gfn, bits)
    b.guest.set_notify(gfns, bits)
    return None, None


def set_pgste_bits(b: Both, gfns: list[int], rng: random.Random) -> Results:
    mask, value = rng.getrandbits(64), rng.getrandbits(64)
    for gfn in gfns:
        b.machine.set_pgste_bits(gfn, mask, value)
    b.guest.set_pgste_bits(gfns, mask, value)
    return None, None


def shadow_pte(b: Both, gfns: list[int], rng: random.Random) -> Results:
    targets = [rng.randrange(b.pages) for _ in gfns]
    rights = [rng.choice((0, 0x200)) | rng.getrandbits(8) for _ in gfns]
    got = b.guest.shadow_pte(gfns, b.table, targets, as_words(rights)).tolist()
    return got, [
        b.machine.ptep_shadow_pte(gfn, b.shadow, target, word)
        for gfn, target, word in zip(gfns, targets, rights, strict=True)
    ]


def unshadow_pte(b: Both, gfns: list[int], rng: random.Random) -> Results:
    for gfn in gfns:
        b.shadow.ptep_unshadow_pte(gfn)
    b.table.unshadow_pte(gfns)
    return None, None


def set_storage_key(b: Both, gfns: list[int], rng: random.Random) -> Results:
    keys = [rng.getrandbits(8) for _ in gfns]
    b.machine.enable_skey()
    for gfn, key in zip(gfns, keys, strict=True):
        b.machine.set_guest_storage_key(gfn, key)
    b.guest.set_storage_key(gfns, keys, nq=rng.random() < 0.5)
    return None, None


def get_storage_key(b: Both, gfns: list[int], rng: random.Random) -> Results:
    if rng.random() < 0.5:
        got = b.guest.get_storage_key(gfns).tolist()
    else:
        b.machine.enable_skey()
        got = b.guest.insert_storage_key(gfns).tolist()
    return got, [b.machine.get_guest_storage_key(gfn) for gfn in gfns]


def cond_set_storage_key(b: Both, gfns: list[int], rng: random.Random) -> Results:
    b.machine.enable_skey()
    mr, mc = rng.random() < 0.5, rng.random() < 0.5
    keys = [
        b.machine.get_guest_storage_key(gfn) ^ rng.choice((0, 0, 2, 4, 6, 0x10, 0x18))
        for gfn in gfns
    ]
    rcs, old = b.guest.cond_set_storage_key(gfns, keys, mr, mc, nq=rng.random() < 0.5)
    expected = [
        b.machine.cond_set_guest_storage_key(gfn, key, mr, mc)
        for gfn, key in zip(gfns, keys, strict=True)
    ]
    return (
        list(zip(rcs.tolist(), old.tolist(), strict=True)),
        [(rc, was or 0) for rc, was in expected],
    )


def reset_reference(b: Both, gfns: list[int], rng: random.Random) -> Results:
    b.machine.enable_skey()
    got = b.guest.reset_reference(gfns).tolist()
    return got, [b.machine.reset_guest_reference_bit(gfn) for gfn in gfns]


def zap(b: Both, gfns: list[int], rng: random.Random) -> Results:
    got = [b.guest.zap(gfn, entries=True).tolist() for gfn in gfns[:50]]
    expected = [b.machine.ptep_zap_unused(gfn) for gfn in gfns[:50]]
    scanned = b.guest.zap_scan(threads=rng.choice((1, 2)), entries=True).tolist()
    rest = [b.machine.ptep_zap_unused(gfn) for gfn in range(b.pages)]
    return (
        (got, scanned),
        ([[e] if e else [] for e in expected], [entry for entry in rest if entry]),
    )


CALLS: dict[str, Call] = {
    call.__name__: call
    for call in (
        set_pte_at,
        xchg_pte,
        age,
        modify_prot,
        test_and_clear_dirty,
        clear_soft_dirty,
        zap_key,
        force_prot,
        set_notify,
        set_pgste_bits,
        shadow_pte,
        unshadow_pte,
        set_storage_key,
        get_storage_key,
        cond_set_storage_key,
        reset_reference,
        zap,
    )
}
# pytest would take it for a test
test_and_clear_dirty.__test__ = False  # type: ignore[attr-defined]

#: Functions with arguments that are the same for all pages get as many rounds of patterns.
ROUNDS = {"force_prot": 24, "set_notify": 6, "cond_set_storage_key": 12}


def random_state(b: Both, rng: random.Random) -> None:
    nr, frames = b.pages, b.host.frames
    pgste = [rng.getrandbits(64) for _ in range(nr)]
    keys = [rng.getrandbits(8) for _ in range(frames)]
    b.load(pgste, words(rng, nr, frames), keys, words(rng, nr, frames))


@pytest.mark.parametrize("storage_keys", [False, True], ids=["no-keys", "keys"])
@pytest.mark.parametrize("name", CALLS)
def test_every_pattern(name: str, storage_keys: bool) -> None:
    """128 PTEs, 2^9 PGSTEs (usage unused or stable), and for R and C of the frame."""
    rng = random.Random(name)
    ptes = [sum(bits) for bits in product(*[(0, bit) for bit in PTE_BITS])]
    pgste_bits = (GR, GC, HR, HC, UC, IN, VSIE, ZERO, 1 << 24)
    pgstes = [sum(bits) for bits in product(*[(0, bit) for bit in pgste_bits])]
    pages = len(ptes) * len(pgstes)
    b = Both(pages, pages, storage_keys)
    pgste, pte, keys = [], [], []
    for gfn, (low, word) in enumerate(product(ptes, pgstes)):
        pte.append(gfn << 12 | low)
        pgste.append(word | rng.getrandbits(5) << 59)
        keys.append(rng.getrandbits(8))
    table = [rng.choice((0x400, 0x3000, 0x3200)) for _ in range(pages)]
    for _ in range(ROUNDS.get(name, 1)):
        b.load(pgste, pte, keys, table)
        got, expected = CALLS[name](b, list(range(pages)), rng)
        assert got == expected
        b.check()


@pytest.mark.parametrize("storage_keys", [False, True], ids=["no-keys", "keys"])
@pytest.mark.parametrize("name", CALLS)
def test_random_words(name: str, storage_keys: bool) -> None:
    rng = random.Random(name)
    pages = 500
    b = Both(pages, 64, storage_keys)
    done = 0
    while done < CASES:
        random_state(b, rng)
        gfns = [rng.randrange(pages) for _ in range(min(CHUNK, CASES - done))]
        for start in range(0, len(gfns), 2000):
            got, expected = CALLS[name](b, gfns[start : start + 2000], rng)
            assert got == expected
            b.check()
        done += len(gfns)


@pytest.mark.parametrize("seed", range(4))
def test_sequences(seed: int) -> None:
    rng = random.Random(seed)
    names = list(CALLS)
    b = Both(6, 5, storage_keys=False)
    random_state(b, rng)
    for step in range(max(1, CASES // 4)):
        name = rng.choice(names)
        # keys come late, so that much is done without
        if step < CASES // 16 and name in ("set_storage_key", "cond_set_storage_key"):
            continue
        gfns = [rng.randrange(6) for _ in range(rng.randrange(1, 4))]
        got, expected = CALLS[name](b, gfns, rng)
        assert got == expected, (step, name)
        b.check()
        if step % 200 == 0:
            random_state(b, rng)
    assert b.guest.uses_storage_keys
    assert b.machine.uses_skeys

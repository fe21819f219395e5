# SPDX-License-Identifier: MIT
"""Functions of dat's PTE layer and keys on arrays of pages in random states, against reference.

Each page is a case: a random PGSTE, a random PTE in the guest's table, in the host's, or in both,
and a random key in its frame.  PGSTE_CASES says how many cases a function gets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference.dat import (
    DIRTY,
    EMPTY,
    HOST_MAPPED,
    PRESENT,
    SPECIAL,
    VSIE,
    WRITE,
    DatMachine,
    pfra,
)

import pgste

CASES = int(os.environ.get("PGSTE_CASES", "20000"))
REVISIONS = ("7.0", "7.1", "7.1.5", "7.2")
PAGES = 1 << 11  # of a call, each with a frame of its own

Words = npt.NDArray[np.uint64]


class Table:
    """Pages in random states, in the engine and in the reference."""

    def __init__(self, random: np.random.Generator, revision: str) -> None:
        self.random = random
        host = pgste.Host(PAGES, 1)
        self.guest = guest = pgste.Guest(
            PAGES, host=host, generation="dat", revision=revision, memory="caller"
        )
        self.ref = DatMachine(PAGES, PAGES, revision, {})
        self.ref.uses_skeys = bool(random.random() < 0.8)
        if self.ref.uses_skeys:
            guest.enable_storage_keys()
        frames = random.permutation(PAGES).astype(np.uint64) << np.uint64(12)
        low = random.integers(0, 1 << 12, PAGES, np.uint64)
        kind = random.random(PAGES)
        words = frames | low
        words = np.where(kind < 0.7, words | np.uint64(PRESENT), np.uint64(EMPTY))
        guest.set_words(range(PAGES), pte=words)
        host_low = random.integers(0, 1 << 12, PAGES, np.uint64) | np.uint64(PRESENT)
        own = np.where(kind < 0.7, frames | host_low, self.anything(frames))
        own = np.where((kind >= 0.7) & (kind < 0.8), np.uint64(EMPTY), own)
        guest.set_host_ptes(range(PAGES), own)
        pgstes = random.integers(0, 1 << 64, PAGES, np.uint64) & ~np.uint64(1 << 55)
        guest.set_words(range(PAGES), pgste=pgstes)
        keys = random.integers(0, 128, PAGES, np.uint8) << 1
        host.set_frame_key(range(PAGES), keys)
        guest.notifications()
        self.ref.gpte, self.ref.hpte = words.tolist(), own.tolist()
        self.ref.pgste = pgstes.tolist()
        self.ref.real_keys = dict(enumerate(keys.tolist()))
        self.check()

    def anything(self, frames: Words) -> Words:
        """Host PTEs: present, swap entries (which are nobody's), or of no kind."""
        low = self.random.integers(0, 1 << 12, PAGES, np.uint64)
        swap = (low & np.uint64(0x9FE)) | np.uint64(0x600)
        present = low | np.uint64(PRESENT)
        none = low & np.uint64(0xFFF & ~0x201)
        kind = self.random.random(PAGES)
        return frames | np.where(kind < 0.4, present, np.where(kind < 0.8, swap, none))

    def bits(self) -> list[bool]:
        found: list[bool] = (self.random.random(PAGES) < 0.5).tolist()
        return found

    def keys(self) -> npt.NDArray[np.uint8]:
        return self.random.integers(0, 256, PAGES, np.uint8)

    def check(self) -> None:
        guest, ref = self.guest, self.ref
        guest.host.validate()
        assert guest.pte().tolist() == ref.words()
        assert guest.host_ptes().tolist() == ref.hpte
        assert guest.pgste().tolist() == ref.pgste
        keys = guest.host.frame_key(range(PAGES)).tolist()
        assert keys == [ref.real_keys[frame] for frame in range(PAGES)]
        gfns, bits = guest.notifications()
        assert list(zip(gfns.tolist(), bits.tolist(), strict=True)) == ref.notes
        ref.notes = []


def each(call: Callable[[int], Any]) -> list[Any]:
    return [call(gfn) for gfn in range(PAGES)]


ALL = range(PAGES)


def set_key(t: Table) -> None:
    t.ref.gmap_enable_skeys()
    keys = t.keys()
    t.guest.set_storage_key(ALL, keys)
    each(lambda gfn: t.ref.dat_set_storage_key(gfn, int(keys[gfn]) & 0xFE))


def get_key(t: Table) -> None:
    assert t.guest.get_storage_key(ALL).tolist() == each(t.ref.dat_get_storage_key)


def insert_key(t: Table) -> None:
    t.ref.gmap_enable_skeys()
    assert t.guest.insert_storage_key(ALL).tolist() == each(t.ref.dat_get_storage_key)


def cond_set_key(t: Table) -> None:
    t.ref.gmap_enable_skeys()
    mr, mc = t.bits()[:2]
    keys = t.keys()
    # half of the keys differ from the frame's in R and C at most
    for gfn in range(0, PAGES, 2):
        keys[gfn] = t.ref.dat_get_storage_key(gfn) ^ (int(keys[gfn]) & 6)
    rcs, olds = t.guest.cond_set_storage_key(ALL, keys, mr, mc)
    got = list(zip(rcs.tolist(), olds.tolist(), strict=True))
    assert got == each(
        lambda gfn: t.ref.dat_cond_set_storage_key(gfn, int(keys[gfn]) & 0xFE, mr, mc)
    )


def reset_reference(t: Table) -> None:
    t.ref.gmap_enable_skeys()
    assert t.guest.reset_reference(ALL).tolist() == each(t.ref.dat_reset_reference_bit)


def reset_keys(t: Table) -> None:
    t.guest.reset_storage_keys()
    t.ref.dat_reset_skeys()


def host_words(t: Table) -> Words:
    frames = np.array(t.ref.hpte, np.uint64) & ~np.uint64(0xFFF)
    same = t.anything(frames) | np.uint64(PRESENT)
    others = t.anything(t.random.integers(0, PAGES + 9, PAGES, np.uint64) << np.uint64(12))
    others[::7] = EMPTY
    return np.where(t.random.random(PAGES) < 0.5, same, others)


def set_pte(t: Table) -> None:
    words = host_words(t)
    t.guest.set_pte_at(ALL, words)
    each(lambda gfn: t.ref.set_ptes(gfn, int(words[gfn])))


def xchg_pte(t: Table) -> None:
    words = host_words(t)
    assert t.guest.xchg_pte(ALL, words).tolist() == each(
        lambda gfn: t.ref.ptep_xchg(gfn, int(words[gfn]))
    )


def modify_prot(t: Table) -> None:
    words = host_words(t)
    assert t.guest.modify_prot_start(ALL).tolist() == each(t.ref.ptep_modify_prot_start)
    t.check()
    t.guest.modify_prot_commit(ALL, words)
    each(lambda gfn: t.ref.ptep_modify_prot_commit(gfn, int(words[gfn])))


def clear_soft_dirty(t: Table) -> None:
    assert t.guest.soft_dirty(ALL).tolist() == [bool(word & 2) for word in t.ref.hpte]
    t.guest.clear_soft_dirty(ALL)
    each(t.ref.clear_soft_dirty)


def map_pte(t: Table) -> None:
    words = host_words(t)
    t.guest.map_pte(ALL, words)
    for gfn, word in enumerate(words.tolist()):
        flags = bool(word & WRITE), bool(word & DIRTY), bool(word & SPECIAL)
        t.ref.gmap_link(gfn, pfra(word), *flags)


def unmap_pte(t: Table) -> None:
    after = t.guest.unmap_pte(ALL).tolist()
    each(t.ref._gmap_unmap_pte)
    assert after == t.ref.hpte


def age(t: Table) -> None:
    young, before = t.guest.age(ALL)
    assert list(zip(young.tolist(), before.tolist(), strict=True)) == each(t.ref.age)


def test_and_clear_dirty(t: Table) -> None:
    assert t.guest.test_and_clear_dirty(ALL).tolist() == each(t.ref.test_and_clear_dirty)


test_and_clear_dirty.__test__ = False  # type: ignore[attr-defined]  # a function of the kernel's


def force_prot(t: Table) -> None:
    assert t.guest.force_prot(ALL, 1, VSIE).tolist() == each(
        lambda gfn: t.ref.gmap_protect_rmap(gfn, VSIE)
    )


def set_notify(t: Table) -> None:
    t.guest.set_notify(ALL, 0x4000)
    each(t.ref.dat_set_pn_pte)


def shadow(t: Table) -> None:
    table = pgste.Guest(
        PAGES, host=t.guest.host, generation="dat", revision=t.ref.revision, memory="caller"
    )
    ref = DatMachine(PAGES, PAGES, t.ref.revision, t.ref.real_keys)
    targets = t.random.permutation(PAGES)
    words = np.where(t.random.random(PAGES) < 0.5, np.uint64(0x200), np.uint64(0))
    assert t.guest.shadow_pte(ALL, table, targets, words).tolist() == each(
        lambda gfn: t.ref._do_shadow_pte(gfn, ref, int(targets[gfn]), bool(words[gfn]))
    )
    assert table.pte().tolist() == ref.gpte
    table.unshadow_pte(ALL)
    assert table.pte().tolist() == [EMPTY] * PAGES


FUNCTIONS: tuple[Callable[[Table], None], ...] = (
    *(set_key, get_key, insert_key, cond_set_key, reset_reference, reset_keys, set_pte, xchg_pte),
    *(modify_prot, clear_soft_dirty, map_pte, unmap_pte, age, test_and_clear_dirty, force_prot),
    *(set_notify, shadow),
)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_function(function: Callable[[Table], None], revision: str) -> None:
    random = np.random.default_rng(FUNCTIONS.index(function) * 3 + REVISIONS.index(revision))
    for _ in range(-(-CASES // (PAGES * len(REVISIONS)))):
        table = Table(random, revision)
        function(table)
        table.check()


def test_host_mapped_is_what_a_fault_leaves() -> None:
    guest = pgste.Guest(1, generation="dat", memory="caller")
    guest.map_pte(0, 5 << 12 | WRITE | PRESENT)
    assert guest.host_ptes().tolist() == [5 << 12 | HOST_MAPPED]

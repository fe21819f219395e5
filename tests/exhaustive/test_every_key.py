# SPDX-License-Identifier: MIT
"""Storage keys, both generations: every pattern of the bits that an instruction looks at.

A page for each state: four kinds of PTE; ACC and F of the PGSTE and of the frame, one bit each, as
the kernel only copies them and asks whether they are equal; R and C of the guest, the host and the
frame; UC.  Each instruction gets all of them, with every key and every mr, mc and nq.  Compared are
results, PGSTEs, PTEs and frames' keys.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from reference import dat, ptes

import pgste

RW, READ_ONLY, AGED, NONE = 0x13F, 0x31D, 0x73B, 0x400
DAT_RW, DAT_READ_ONLY, DAT_AGED = 0x02D, 0x225, 0x621
KEYS = [acc | f | rc for acc in (0, 0x30) for f in (0, 8) for rc in (0, 2, 4, 6)]
FLAGS = list(product((False, True), repeat=3))
#: Engine's generation and revision.
RELEASES = [("pgtable", None), ("dat", "7.0"), ("dat", "7.2")]


class Both:
    def __init__(self, generation: str, revision: str | None) -> None:
        is_dat = generation == "dat"
        kinds = (DAT_RW, DAT_READ_ONLY, DAT_AGED, NONE) if is_dat else (RW, READ_ONLY, AGED, NONE)
        guest_bits = (ptes.GR, ptes.GC, ptes.HR, ptes.HC, *(() if is_dat else (ptes.UC,)))
        self.states = [
            (kind, (key & 0xF8) << 56 | sum(bits), real)
            for kind in kinds
            for key in (0, 8, 0x30, 0x38)
            for bits in product(*[(0, bit) for bit in guest_bits])
            for real in KEYS
        ]
        pages = len(self.states)
        self.host = pgste.Host(pages, 0)
        self.guest = pgste.Guest(
            pages,
            self.host,
            generation=generation,
            revision=revision,
            memory="caller",
            storage_keys=True,
        )
        self.keys: dict[int, int] = {}
        self.model: ptes.Machine | dat.DatMachine
        if is_dat:
            self.model = dat.DatMachine(pages, pages, revision or "", self.keys)
        else:
            self.model = ptes.Machine(pages, pages)
            self.model.real_keys = self.keys
        self.model.uses_skeys = True

    def load(self) -> None:
        pte = [NONE if kind == NONE else gfn << 12 | kind for gfn, (kind, _, _) in self.numbered()]
        words = [word for _, word, _ in self.states]
        real = [key for _, _, key in self.states]
        everything = slice(None)
        self.guest.set_words(everything, np.array(words, np.uint64), np.array(pte, np.uint64))
        self.host.set_frame_key(range(len(real)), np.array(real, np.uint8))
        self.model.pgste = words
        if isinstance(self.model, dat.DatMachine):
            self.model.gpte = pte
        else:
            self.model.pte = pte
        self.keys.update(enumerate(real))

    def numbered(self) -> list[tuple[int, tuple[int, int, int]]]:
        return list(enumerate(self.states))

    def check(self) -> None:
        model = self.model
        table = model.gpte if isinstance(model, dat.DatMachine) else model.pte
        assert self.guest.pgste().tolist() == model.pgste
        assert self.guest.pte().tolist() == table
        pages = len(self.states)
        assert self.host.frame_key(range(pages)).tolist() == [self.keys[i] for i in range(pages)]

    def cond_set(self, gfn: int, key: int, mr: bool, mc: bool) -> tuple[int, int]:
        if isinstance(self.model, dat.DatMachine):
            return self.model.dat_cond_set_storage_key(gfn, key, mr, mc)
        rc, was = self.model.cond_set_guest_storage_key(gfn, key, mr, mc)
        return rc, was or 0


class Calls(NamedTuple):
    """The other instructions of a reference, under one name."""

    set: Callable[[int, int], None]
    get: Callable[[int], int]
    reset_reference: Callable[[int], int]
    reset: Callable[[], None]


def calls_of(model: ptes.Machine | dat.DatMachine) -> Calls:
    if isinstance(model, dat.DatMachine):
        return Calls(
            model.dat_set_storage_key,
            model.dat_get_storage_key,
            model.dat_reset_reference_bit,
            model.dat_reset_skeys,
        )
    return Calls(
        model.set_guest_storage_key,
        model.get_guest_storage_key,
        model.reset_guest_reference_bit,
        model.reset_skeys,
    )


@pytest.mark.parametrize(("generation", "revision"), RELEASES)
def test_every_conditional_set(generation: str, revision: str | None) -> None:
    both = Both(generation, revision)
    everything = range(len(both.states))
    for key, (mr, mc, nq) in product(KEYS, FLAGS):
        both.load()
        rcs, old = both.guest.cond_set_storage_key(everything, key, mr, mc, nq=nq)
        expected = [both.cond_set(gfn, key, mr, mc) for gfn in everything]
        assert list(zip(rcs.tolist(), old.tolist(), strict=True)) == expected
        both.check()


@pytest.mark.parametrize(("generation", "revision"), RELEASES)
def test_every_other_instruction(generation: str, revision: str | None) -> None:
    both = Both(generation, revision)
    guest, everything = both.guest, range(len(both.states))
    model = calls_of(both.model)
    for key, nq in product(KEYS, (False, True)):
        both.load()
        guest.set_storage_key(everything, key, nq=nq)
        for gfn in everything:
            model.set(gfn, key)
        both.check()
    both.load()
    expected = [model.get(gfn) for gfn in everything]
    assert guest.get_storage_key(everything).tolist() == expected
    assert guest.insert_storage_key(everything).tolist() == expected
    both.check()
    ccs = [model.reset_reference(gfn) for gfn in everything]
    assert guest.reset_reference(everything).tolist() == ccs
    both.check()
    both.load()
    guest.reset_storage_keys()
    model.reset()
    both.check()

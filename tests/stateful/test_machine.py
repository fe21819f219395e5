# SPDX-License-Identifier: MIT
"""Hypothesis looks for a short run of calls after which engine and reference differ.

One to three guests of any mechanism and generation share a host so small that frames, slots
and lists run out.  A failure is printed as the shortest run of rules that shows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from stateful.draw import DTYPES, GENERATIONS, MAX_GUESTS, MECHANISMS, folios
from stateful.pair import Pair

MAX_PAGES = 12
MAX_SLOTS = 8

guest = st.integers(0, MAX_GUESTS - 1)
vcpu = st.integers(0, 1)
page = st.integers(0, MAX_PAGES - 1)
pages = st.lists(page, max_size=5)
form = st.sampled_from(("int", "range", *DTYPES))
tag = st.integers(0, 2**32 - 1)
bits = st.integers(0, 0xFFF)
slot = st.integers(0, MAX_SLOTS + 1)

pgste_words = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(
        lambda usage, zero, nodat, gc, dirty: (
            usage << 24 | zero << 31 | nodat << 30 | gc << 49 | dirty << 15
        ),
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
)
pte_words = st.one_of(
    st.just(0x400),
    slot.map(lambda number: number << 12 | 0x600),  # of this host, if the slot is in use
    st.builds(lambda number, low: number << 12 | 0x200 | low & ~1, slot, bits),  # swap
    st.builds(lambda number, low: number << 12 | low | 1, slot, bits),  # present
    st.builds(lambda number, low: number << 12 | low & ~0x201, slot, bits),  # nothing of these
    st.integers(0, 2**64 - 1),
)


def as_form(gfns: list[int], form: str, end: int) -> Any:
    """The same pages, brought into a guest of `end` pages, as an int, a range or an array."""
    inside = [gfn % end for gfn in gfns] or [0]
    if form == "int":
        return inside[0]
    if form == "range":
        return range(min(inside), max(inside) + 1)
    return np.array(inside if gfns else [], form)


class EngineAndReference(RuleBasedStateMachine):
    @initialize(
        frames=st.integers(1, 8),
        swap_slots=st.integers(0, MAX_SLOTS),
        rearm=st.sampled_from(("referenced", "dirty", "discard")),
        marks=st.none() | st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3)),
    )
    def host(
        self, frames: int, swap_slots: int, rearm: str, marks: tuple[int, int, int] | None
    ) -> None:
        config: dict[str, Any] = {"rearm": rearm}
        if marks is not None:
            low = min(marks[0], frames - 1)
            config |= {"low": low, "high": min(low + marks[1], frames), "batch": marks[2]}
        self.pair = Pair(frames, swap_slots, **config)

    @invariant()
    def equal(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()

    def at(self, guest: int) -> tuple[int, int, int]:
        """Index of a guest that exists, its pages, its vcpus."""
        i = guest % len(self.pair.guests)
        model = self.pair.guests[i][1]
        return i, len(model.pte), len(model.cbrl)

    def has_guest(self) -> bool:
        return bool(self.pair.guests)

    def load_words(self, i: int, *words: Any) -> None:
        """What z/VM makes of words that it never writes itself is not modelled."""
        if self.pair.guests[i][1].flavour == "kvm":
            self.pair.set_words(i, *words)

    @precondition(lambda self: len(self.pair.guests) < MAX_GUESTS)
    @rule(
        pages=st.integers(1, MAX_PAGES),
        mechanism=st.sampled_from(MECHANISMS),
        generation=st.sampled_from(GENERATIONS),
        nodat=st.booleans(),
        vcpus=st.integers(1, 2),
        cbrl_entries=st.integers(1, 3),
        strict=st.booleans(),
    )
    def create(self, **config: Any) -> None:
        self.pair.create(**config)

    @precondition(lambda self: len(self.pair.guests) < MAX_GUESTS)
    @rule(
        pages=st.integers(1, MAX_PAGES),
        mechanism=st.sampled_from(("cmma", "none")),
        nodat=st.booleans(),
        vcpus=st.integers(1, 2),
    )
    def create_zvm(self, **config: Any) -> None:
        self.pair.create(flavour="zvm", **config)

    @precondition(has_guest)
    @rule(guest=guest)
    def drop(self, guest: int) -> None:
        self.pair.drop(self.at(guest)[0])

    @precondition(has_guest)
    @rule(guest=guest, orc=st.integers(0, 8), gfns=pages, form=form, vcpu=vcpu)
    def essa(self, guest: int, orc: int, gfns: list[int], form: str, vcpu: int) -> None:
        i, end, vcpus = self.at(guest)
        self.pair.essa(i, orc, as_form(gfns, form, end), vcpu % vcpus)

    @precondition(has_guest)
    @rule(guest=guest, orc=st.integers(0, 7), gfns=pages, beyond=st.integers(0, 3), vcpu=vcpu)
    def essa_beyond_the_end(
        self, guest: int, orc: int, gfns: list[int], beyond: int, vcpu: int
    ) -> None:
        i, end, vcpus = self.at(guest)
        inside = [gfn % end for gfn in gfns]
        self.pair.essa(i, orc, np.array([*inside, end + beyond, *inside]), vcpu % vcpus)

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form, order=st.integers(0, 3), vcpu=vcpu)
    def free(self, guest: int, gfns: list[int], form: str, order: int, vcpu: int) -> None:
        i, end, vcpus = self.at(guest)
        self.pair.free(i, as_form(gfns, form, end), order, vcpu % vcpus)

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form, order=st.integers(0, 3), vcpu=vcpu)
    def alloc(self, guest: int, gfns: list[int], form: str, order: int, vcpu: int) -> None:
        i, end, vcpus = self.at(guest)
        self.pair.alloc(i, as_form(gfns, form, end), order, vcpu % vcpus)

    @precondition(has_guest)
    @rule(guest=guest, gfn=page, free=st.booleans())
    def free_or_alloc_page(self, guest: int, gfn: int, free: bool) -> None:
        i, _, _ = self.at(guest)
        (self.pair.free_page if free else self.pair.alloc_page)(i, gfn)

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form, tag=tag, each=st.booleans())
    def write(self, guest: int, gfns: list[int], form: str, tag: int, each: bool) -> None:
        i, end, _ = self.at(guest)
        where = as_form(gfns, form, end)
        if isinstance(where, int) or not each:
            self.pair.write(i, where, tag)
        else:
            self.pair.write(i, where, [(tag + n) % 2**32 for n in range(len(where))])

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form)
    def read(self, guest: int, gfns: list[int], form: str) -> None:
        i, end, _ = self.at(guest)
        self.pair.read(i, as_form(gfns, form, end))

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form)
    def swap_out(self, guest: int, gfns: list[int], form: str) -> None:
        i, end, _ = self.at(guest)
        self.pair.swap_out(i, as_form(gfns, form, end))

    @rule(n=st.integers(0, 6))
    def reclaim(self, n: int) -> None:
        self.pair.reclaim(n)

    @precondition(has_guest)
    @rule(guest=guest, gfn=page, vcpu=vcpu)
    def zap(self, guest: int, gfn: int, vcpu: int) -> None:
        i, end, _ = self.at(guest)
        self.pair.zap(i, gfn % end)

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form, on=st.booleans())
    def pin(self, guest: int, gfns: list[int], form: str, on: bool) -> None:
        i, end, _ = self.at(guest)
        self.pair.pin(i, as_form(gfns, form, end), on)

    @precondition(has_guest)
    @rule(guest=guest, gfns=pages, form=form, which=st.integers(0, 3), on=st.booleans())
    def set_folio(self, guest: int, gfns: list[int], form: str, which: int, on: bool) -> None:
        i, end, _ = self.at(guest)
        could = folios(self.pair.guests[i][1])
        self.pair.set_folio(i, as_form(gfns, form, end), could[which % len(could)], on)

    @precondition(has_guest)
    @rule(guest=guest, gfn=page, on=st.booleans())
    def set_changed(self, guest: int, gfn: int, on: bool) -> None:
        i, end, _ = self.at(guest)
        self.pair.set_changed(i, gfn % end, on)

    @precondition(has_guest)
    @rule(guest=guest)
    def zap_scan(self, guest: int) -> None:
        self.pair.zap_scan(self.at(guest)[0])

    @precondition(has_guest)
    @rule(guest=guest, vcpu=vcpu)
    def intercept(self, guest: int, vcpu: int) -> None:
        i, _, vcpus = self.at(guest)
        self.pair.intercept(i, vcpu % vcpus)

    @precondition(has_guest)
    @rule(guest=guest, gfn=page, pgste=pgste_words)
    def set_pgste(self, guest: int, gfn: int, pgste: int) -> None:
        i, end, _ = self.at(guest)
        self.load_words(i, [gfn % end], [pgste], None)

    @precondition(has_guest)
    @rule(guest=guest, gfns=st.lists(page, min_size=1, max_size=3), pte=pte_words)
    def set_pte(self, guest: int, gfns: list[int], pte: int) -> None:
        i, end, _ = self.at(guest)
        self.load_words(i, [gfn % end for gfn in gfns], None, [pte] * len(gfns))

    @precondition(has_guest)
    @rule(guest=guest, gfn=page, flip=bits, pgste=pgste_words)
    def change_pte(self, guest: int, gfn: int, flip: int, pgste: int) -> None:
        """Other bits of the word that is there: the same frame or slot, perhaps."""
        i, end, _ = self.at(guest)
        gfn %= end
        self.load_words(i, [gfn], [pgste], [self.pair.guests[i][1].pte[gfn] ^ flip])

    @precondition(has_guest)
    @rule(guest=guest)
    def reset_cmma(self, guest: int) -> None:
        self.pair.reset_cmma(self.at(guest)[0])

    @precondition(has_guest)
    @rule(guest=guest, on=st.booleans())
    def migration(self, guest: int, on: bool) -> None:
        self.pair.set_migration(self.at(guest)[0], on)

    @precondition(has_guest)
    @rule(guest=guest, vcpu=vcpu, on=st.booleans())
    def problem_state(self, guest: int, vcpu: int, on: bool) -> None:
        i, _, vcpus = self.at(guest)
        self.pair.set_problem_state(i, vcpu % vcpus, on)

    @precondition(has_guest)
    @rule(guest=guest)
    def reset_stats(self, guest: int) -> None:
        self.pair.reset_stats()
        self.pair.reset_guest_stats(self.at(guest)[0])


TestEngineAndReference = EngineAndReference.TestCase
TestEngineAndReference.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

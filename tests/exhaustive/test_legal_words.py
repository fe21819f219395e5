# SPDX-License-Identifier: MIT
"""The tables of legal PTEs and state bytes in pgste/word.h, held against the engine.

Random runs of everything that changes a page must come to each word that the header lists, and
to no other.  The predicates that it gives as mask and value must say what the engine says.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

import pgste
from pgste import Guest, Host, PgsteError

HEADER = (Path(pgste.get_include()) / "pgste" / "word.h").read_text(encoding="utf-8")
GENERATIONS = ("pgtable", "dat", "zvm")
MOST_STEPS = 2_000_000
PAGES = 3


class Match(NamedTuple):
    mask: int
    value: int

    def __call__(self, word: int) -> bool:
        return word & self.mask == self.value


def rows(heading: str) -> list[list[str]]:
    """The lines of a table in a comment, from below its heading to the next empty line."""
    lines = HEADER.splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(rf"^ \*   {heading}", line))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith(" *   "):
            break
        table.append(re.split(r"\s{2,}", line[5:].strip()))
    assert table
    return table


def predicates(heading: str) -> dict[str, list[Match]]:
    found: dict[str, list[Match]] = {}
    for name, mask, value in rows(heading):
        found.setdefault(name, []).append(Match(int(mask, 16), int(value, 16)))
    return found


def generations(text: str) -> set[str]:
    return set(GENERATIONS) if text == "all" else set(text.split())


def legal_ptes(generation: str) -> set[int]:
    return {int(bits, 16) for bits, who, *_ in rows("bits") if generation in generations(who)}


def legal_states(generation: str) -> set[int]:
    never = [
        Match(int(mask, 16), int(value, 16))
        for mask, value, who, _ in rows("mask   value   never in")
        if generation in generations(who)
    ]
    return {state for state in range(256) if not any(rule(state) for rule in never)}


def act(random: Random, host: Host, guest: Guest, step: int) -> None:
    """One of the things that change a page."""
    gfn = random.randrange(PAGES)
    match random.randrange(19):
        case 0 | 1 | 2:
            guest.write(gfn, step + 1)
        case 3 | 4:
            guest.read(gfn)
        case 5 | 6 | 7:
            guest.essa(random.randrange(8), gfn)
        case 8:
            guest.free_page(gfn)
        case 9:
            guest.alloc_page(gfn)
        case 10:
            host.swap_out(guest, gfn)
        case 11:
            host.reclaim(1)
        case 12:
            guest.zap(gfn)
        case 13 if random.random() < 0.2:
            guest.zap_scan()
        case 14:
            guest.migration_mode = not guest.migration_mode
        case 15 if random.random() < 0.5:
            guest.set_changed(gfn, random.random() < 0.5)
        case 16 if random.random() < 0.2:
            guest.reset_cmma()
        case 17:
            guest.advance(1)
        case 18 if random.random() < 0.5:
            host.pin(guest, gfn, random.random() < 0.5)
        case _:
            pass


def new_guest(generation: str, mechanism: str) -> Guest:
    flavour = "zvm" if generation == "zvm" else "kvm"
    return Guest(
        PAGES,
        host=Host(2, 4),
        mechanism=mechanism,
        generation="pgtable" if generation == "zvm" else generation,
        flavour=flavour,
        nodat=True,
        cbrl_entries=2,
    )


def reached(generation: str, mechanism: str, states: set[int], ptes: set[int]) -> None:
    """What a long run comes to, added to both sets; it ends when nothing legal is left."""
    random = Random(2019)
    guest = new_guest(generation, mechanism)
    all_states, all_ptes = legal_states(generation), legal_ptes(generation)
    for step in range(MOST_STEPS):
        try:
            act(random, guest.host, guest, step)
        except PgsteError:
            continue  # refused, and so nothing changed
        states.update(guest.states().tolist())
        ptes.update((guest.pte() & 0xFFF).tolist())
        if states >= all_states and ptes >= all_ptes:
            break


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_legal_word_is_reached_and_no_other(generation: str) -> None:
    mechanisms = ("cmma", "none") if generation == "zvm" else ("madv_free", "madv_dontneed", "cmma")
    states: set[int] = set()
    ptes: set[int] = set()
    for mechanism in mechanisms:
        reached(generation, mechanism, states, ptes)
    assert {hex(pte) for pte in ptes} == {hex(pte) for pte in legal_ptes(generation)}
    assert {hex(state) for state in states} == {hex(state) for state in legal_states(generation)}


def test_the_header_counts_them() -> None:
    counts = re.search(r"(\d+) in pgtable, (\d+) in dat,\s+\*\s+(\d+) on z/VM", HEADER)
    assert counts is not None
    assert [int(n) for n in counts.groups()] == [len(legal_states(g)) for g in GENERATIONS]


def test_pte_predicates_say_what_the_table_says() -> None:
    said = predicates("pte        mask")
    assert set(said) == {"none", "swap", "present", "valid", "writable", "dirty", "young"}
    for bits, _, what, *_ in rows("bits"):
        words = re.split(r"[ ,]+", what)
        for name, [match] in said.items():
            assert match(int(bits, 16)) == (name in words), (bits, name)


def test_pte_predicates_say_what_the_engine_says() -> None:
    said = {name: match for name, [match] in predicates("pte        mask").items()}
    guest = new_guest("pgtable", "cmma")
    assert all(said["none"](pte) for pte in guest.pte().tolist())
    guest.write(0, 1)
    guest.write(1, 1)
    guest.host.swap_out(guest, 0)
    swapped, written = guest.pte([0, 1]).tolist()
    assert said["swap"](swapped)
    assert not said["present"](swapped)
    assert all(said[name](written) for name in ("present", "valid", "writable", "dirty", "young"))
    guest.read(0)
    read = int(guest.pte(0)[0])
    assert said["present"](read)
    assert said["valid"](read)
    assert not said["writable"](read)
    assert not said["dirty"](read)


def test_state_predicates_say_what_the_engine_says() -> None:
    said = predicates("state      mask")
    guest = Guest(256, host=Host(256, 256))
    for state in range(256):
        pgste_word = (state & 3) << 24 | (state & 4) << 29 | (state & 8) << 27
        pte = (0 if state & 0x40 else 0x400) | (0x200 if state & 0x80 else 0)
        guest.set_words(state, pgste_word, pte)
    states = guest.states().tolist()
    for state, result in zip(states, guest.essa(0, range(256)).tolist(), strict=True):
        assert (result >> 2 & 3 == pgste.Usage.UNUSED) == said["unused"][0](state)
        assert (result & 3 == pgste.Content.RESIDENT) == said["valid"][0](state)
    assert guest.find(0x80, 0x80).tolist() == [
        gfn for gfn, state in enumerate(states) if said["swapped"][0](state)
    ]
    zapped = [gfn for gfn in range(256) if guest.zap(gfn)]
    assert zapped == [
        gfn for gfn, state in enumerate(states) if any(each(state) for each in said["zappable"])
    ]

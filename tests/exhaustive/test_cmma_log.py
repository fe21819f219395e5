# SPDX-License-Identifier: MIT
"""The CMMA log against the reference: every dirty pattern of small machines, every start, every
count, and every layout of slots; then long random runs of all calls, with the whole state.

`PGSTE_CASES` is how many random calls each function gets at least, in the three revisions together.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from reference.cmma_log import KernelError, Machine, Slot

import pgste

CASES = int(os.environ.get("PGSTE_CASES", "1500"))
#: The whole state is compared after so many calls: what went wrong stays wrong.
EVERY = 1 if CASES < 100_000 else 8
REVISIONS = ["pgtable", "dat", "dat_new"]
FUNCTIONS = 11
ALL = 2**64 - 1
NOWHERE = np.uint64(ALL)


class Two:
    """An engine's guest and a reference machine that get the same calls."""

    def __init__(self, limit: int, slots: list[tuple[int, int]], revision: str) -> None:
        generation = "pgtable" if revision == "pgtable" else "dat"
        host = pgste.Host(8, 8)
        self.guest = pgste.Guest(
            limit,
            host,
            generation=generation,
            nodat=True,
            slots=[(base, pages, base, True) for base, pages in slots],
            log_revision=revision,
        )
        self.machine = Machine(limit, [Slot(b, n, b, True) for b, n in slots], revision)

    def both(self, engine: Callable[[], object], model: Callable[[], object]) -> object:
        expected, got = outcome(model), outcome(engine)
        assert got == expected
        return expected

    def get(self, start: int, count: int, flags: int = 0) -> object:
        return self.both(
            lambda: plain(self.guest.get_cmma_bits(start, count, flags=flags)),
            lambda: self.machine.get(start, count, flags),
        )

    def check(self) -> None:
        guest, machine = self.guest, self.machine
        states = guest.states()
        inside = np.zeros(machine.limit, bool)
        hosts = np.full(machine.limit, NOWHERE)
        for slot in machine.slots.values():
            inside[slot.base : slot.base + slot.pages] = True
            hosts[slot.base : slot.base + slot.pages] = range(slot.host, slot.host + slot.pages)
        assert (states & pgste.State.DIRTY != 0).tolist() == [p.dirty for p in machine.pages]
        values = (states & 3) | (states & 8) << 3
        expected = np.array([p.value for p in machine.pages])
        assert values[inside].tolist() == expected[inside].tolist()
        assert guest.dirty_count == machine.dirty_pages % 2**64
        assert guest.migration_mode == machine.migration
        assert guest.uses_cmm == machine.uses_cmm
        assert np.array_equal(guest.host_gfn(slice(None)), hosts)
        assert guest.slots == {
            n: (s.base, s.pages, s.host, s.log_dirty) for n, s in machine.slots.items()
        }


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except (KernelError, pgste.KvmError) as refusal:
        return ("errno", refusal.errno)


def plain(bits: pgste.CmmaBits) -> tuple[int, int, int, list[int]]:
    assert len(bits.values) == bits.count
    return bits.start_gfn, bits.count, bits.remaining, bits.values.tolist()


# ---- every pattern

LAYOUTS = [
    (8, [(0, 8)]),
    (9, [(0, 4), (4, 5)]),  # neighbours
    (9, [(1, 3), (5, 3)]),  # holes before, between and behind
    (8, [(0, 2), (6, 2)]),
]


def set_dirty(two: Two, pattern: int) -> None:
    gfns = [g for g in range(two.machine.limit) if pattern >> g & 1 and two.machine.slot_of(g)]
    two.guest.set_log(gfns)
    for gfn, page in enumerate(two.machine.pages):
        page.dirty = gfn in gfns
    two.machine.dirty_pages = len(gfns)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(("limit", "slots"), LAYOUTS, ids=str)
def test_every_pattern(limit: int, slots: list[tuple[int, int]], revision: str) -> None:
    two = Two(limit, slots, revision)
    for gfn in range(limit):
        if two.machine.slot_of(gfn):
            orc = (1, 2, 7)[gfn % 3]
            two.guest.essa(orc, gfn)
            two.machine.essa(orc, gfn)
    two.guest.start_migration()
    two.machine.start_migration()
    patterns = [
        p
        for p in range(1 << limit)
        if all(two.machine.slot_of(g) for g in range(limit) if p >> g & 1)
    ]
    for pattern in patterns:
        for start in range(limit + 2):
            for count in range(1, limit + 2):
                set_dirty(two, pattern)
                two.get(start, count)
                assert two.guest.dirty_count == two.machine.dirty_pages
    two.check()


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("slots", [[(0, 60)], [(0, 20), (20, 40)], [(0, 19), (24, 36)]], ids=str)
def test_every_three_pages(slots: list[tuple[int, int]], revision: str) -> None:
    """Distances around 16, with and without a hole in between, and buffers that end there."""
    two = Two(60, slots, revision)
    two.guest.essa(2, [0, 1, 2])
    for gfn in range(3):
        two.machine.essa(2, gfn)
    two.guest.start_migration()
    two.machine.start_migration()
    for first in (0, 3):
        for second in range(first + 1, 24):
            for third in range(second + 1, 60):
                for count in (16, 17, 18, 35, 100):
                    set_dirty(two, 1 << first | 1 << second | 1 << third)
                    two.get(0, count)
                    two.check() if third == 40 else None


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_peek(revision: str) -> None:
    """Across page tables of 256 pages with and without holes in them."""
    two = Two(1200, [(10, 100), (120, 200), (512, 256), (1000, 30)], revision)
    gfns = [g for g in range(1200) if two.machine.slot_of(g)]
    for gfn in gfns:
        orc = (1, 2, 7)[gfn % 3]
        two.machine.essa(orc, gfn)
    for orc in (1, 2, 7):
        two.guest.essa(orc, [g for g in gfns if (1, 2, 7)[g % 3] == orc])
    two.check()
    edges = [
        0,
        9,
        10,
        60,
        109,
        110,
        115,
        120,
        255,
        256,
        319,
        320,
        400,
        511,
        512,
        767,
        768,
        999,
        1000,
        1029,
        1030,
        1199,
        1200,
        1201,
        2000,
        1 << 20,
    ]
    for start in edges:
        for count in (1, 2, 10, 11, 100, 156, 200, 257, 300, 512, 700, 1500, 1 << 20):
            two.get(start, count, flags=1)


def test_peek_over_two_gigabytes() -> None:
    two = Two(2**19 + 600, [(2**19 - 300, 100), (2**19, 10), (2**19 + 300, 100)], "dat")
    two.guest.essa(2, range(2**19, 2**19 + 10))
    for gfn in range(2**19, 2**19 + 10):
        two.machine.essa(2, gfn)
    for start in (2**19 - 600, 2**19 - 300, 2**19 - 250, 2**19 - 100, 2**19 - 1, 2**19 + 5):
        for count in (10, 60, 200, 340, 700, 900):
            two.get(start, count, flags=1)


# ---- random runs


def steps(rng: random.Random, two: Two) -> Iterator[tuple[str, Callable[[], object]]]:
    guest, machine, limit = two.guest, two.machine, two.machine.limit

    def gfns() -> list[int]:
        inside = [g for g in range(limit) if machine.slot_of(g)]
        first = rng.randrange(limit)
        return [g for g in inside if first <= g < first + rng.choice((1, 5, 40))]

    def slot() -> tuple[int, int, int, bool]:
        pages = rng.choice((0, 1, 3, 10, 20, 40, 256, 300, limit + 1))
        base = rng.choice((0, 256, 512)) if rng.random() < 0.2 else rng.randrange(limit + 5)
        return base, pages, base + 1000 * rng.randrange(2), rng.random() < 0.8

    def number() -> int:
        return rng.randrange(len(machine.slots) + 1)

    def essa() -> object:
        orc, pages = rng.choice((1, 2, 7)), gfns()
        guest.essa(orc, pages)
        for gfn in pages:
            machine.essa(orc, gfn)
        return None

    def get() -> object:
        start, count = rng.randrange(limit + 20), rng.choice((0, 1, 7, 16, 17, 50, 2**21))
        return two.get(start, count, rng.choice((0, 0, 0, 0, 1, 1, 2, 3)))

    def set_bits() -> object:
        start = rng.randrange(limit + 20)
        values = [rng.randrange(256) for _ in range(rng.choice((0, 1, 9, 40)))]
        mask = rng.choice((ALL, 0, 3 << 24, 1 << 30, 1 << 24, rng.getrandbits(64)))
        flags = rng.random() < 0.05
        return two.both(
            lambda: guest.set_cmma_bits(start, values, mask, flags=int(flags)),
            lambda: machine.set(start, values, mask, int(flags)),
        )

    def add() -> object:
        base, pages, host, log = slot()
        taken = any(
            s.host < host + pages and host < s.host + s.pages for s in machine.slots.values()
        )
        if taken and not machine._overlap(base, pages, None):
            return None  # what the model has no tables for
        return two.both(
            lambda: guest.add_slot(base, pages, host, log),
            lambda: machine.add_slot(base, pages, host, log),
        )

    def move() -> object:
        n, base = number(), rng.randrange(limit + 5)
        return two.both(lambda: guest.move_slot(n, base), lambda: machine.move_slot(n, base))

    def delete() -> object:
        n = number()
        return two.both(lambda: guest.delete_slot(n), lambda: machine.delete_slot(n))

    def log() -> object:
        n, on = number(), rng.random() < 0.8
        return two.both(
            lambda: guest.set_dirty_logging(n, on), lambda: machine.set_dirty_logging(n, on)
        )

    def mark() -> object:
        pages = gfns()
        return two.both(lambda: guest.mark_dirty(pages), lambda: machine.mark_dirty(pages))

    def start() -> object:
        return two.both(guest.start_migration, machine.start_migration)

    def stop() -> object:
        return two.both(guest.stop_migration, machine.stop_migration)

    def clear() -> object:
        return two.both(guest.clear_cmma, machine.clear_cmma)

    often = [
        (essa, 5),
        (get, 8),
        (set_bits, 4),
        (add, 4),
        (move, 3),
        (delete, 3),
        (log, 4),
        (mark, 4),
        (start, 6),
        (stop, 3),
        (clear, 3),
    ]
    chances = [(step.__name__, step) for step, _ in often], [weight for _, weight in often]
    while True:
        yield rng.choices(*chances)[0]


@pytest.mark.parametrize("revision", REVISIONS)
def test_random_runs(revision: str) -> None:
    rng = random.Random(f"{revision} {CASES}")
    done: Counter[str] = Counter()
    while len(done) < FUNCTIONS or min(done.values()) * len(REVISIONS) < CASES:
        limit = rng.choice((30, 30, 30, 30, 80, 80, 80, 300, 600))
        two = Two(limit, [(0, limit // 3), (limit // 3 + 2, limit // 3)], revision)
        for (name, step), left in zip(steps(rng, two), reversed(range(100)), strict=False):
            step()
            if left % EVERY == 0:
                two.check()
            done[name] += 1
        two.guest.host.validate()

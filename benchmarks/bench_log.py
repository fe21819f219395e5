# SPDX-License-Identifier: MIT
"""The CMMA log and memory slots: read-out, next dirty page, attributes set; slots that move.

The bare loops read and write as many bytes as the call must touch: a state byte a page, and a byte
of the buffer.
"""

from __future__ import annotations

import io

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest, Orc, migration

MAX = 1 << 20  # KVM_S390_CMMA_SIZE_MAX
ALL = 2**64 - 1
GENERATIONS = ["pgtable", "dat"]


def migrating(pages: int, generation: str) -> Guest:
    """A guest in migration mode whose attributes are a mix, every page dirty."""
    guest = Guest(pages, generation=generation)
    guest.essa(Orc.SET_UNUSED, range(0, pages // 2))
    guest.start_migration()
    return guest


def read_out(guest: Guest) -> int:
    """As QEMU does it: from the position on, until nothing is dirty; how many values came."""
    at = values = 0
    while guest.dirty_count:
        block = guest.get_cmma_bits(at, MAX)
        values += block.count
        at = block.start_gfn + block.count
    return values


@pytest.mark.most(26)
@pytest.mark.parametrize("generation", GENERATIONS)
def bench_read_out(measure: Measure, exponent: int, generation: str) -> None:
    """Every page is dirty: values to the buffer, and the marks taken off."""
    pages = 1 << exponent
    guest = migrating(pages, generation)
    bare = limits.load()
    states, buffer = np.ones(pages, np.uint8), np.ones(min(pages, MAX), np.uint8)

    def change_and_write() -> None:
        for start in range(0, pages, buffer.size):
            bare.change(states[start : start + buffer.size])
            bare.write(buffer, 1)

    def check(values: int) -> None:
        assert values == pages

    measure(
        Plan(
            lambda: read_out(guest),
            items=pages,
            bytes=2 * pages,
            prepare=lambda: guest.set_log(range(pages)),
            check=check,
            limits={"bare change and write": Limit(change_and_write, pages)},
            series=f"log read-out, {generation}",
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("generation", GENERATIONS)
def bench_read_out_of_few(measure: Measure, exponent: int, generation: str) -> None:
    """One page in 512 is dirty: a block each, and a call each."""
    pages = 1 << exponent
    guest = migrating(pages, generation)
    bare = limits.load()
    beside = np.ones(pages, np.uint8)
    dirty = np.arange(0, pages, 512, dtype=np.int64)

    def read_and_update() -> None:
        bare.read(beside)
        bare.update(beside, dirty)

    measure(
        Plan(
            lambda: read_out(guest),
            items=dirty.size,
            unit="block",
            bytes=pages,
            prepare=lambda: guest.set_log(dirty),
            limits={"plain read, bare update": Limit(read_and_update, dirty.size)},
            series=f"log read-out, few dirty, {generation}",
        )
    )


@pytest.mark.parametrize("generation", GENERATIONS)
def bench_next_dirty(measure: Measure, exponent: int, generation: str) -> None:
    """The only dirty page is the last one."""
    pages = 1 << exponent
    guest = migrating(pages, generation)
    bare = limits.load()
    beside = np.ones(pages, np.uint8)

    def check(block: tuple[int, int, int, object]) -> None:
        assert block[:3] == (pages - 1, 1, 0)

    measure(
        Plan(
            lambda: guest.get_cmma_bits(0, 1),
            items=pages,
            bytes=pages,
            prepare=lambda: guest.set_log(pages - 1),
            check=check,
            limits={"plain read": Limit(lambda: bare.read(beside), pages)},
            series=f"next dirty page, {generation}",
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("name", ["save", "load"])
def bench_stream(measure: Measure, exponent: int, name: str) -> None:
    """QEMU's stream in memory: a byte a page is read and written on the way."""
    pages = 1 << exponent
    guest = Guest(pages)
    guest.essa(Orc.SET_UNUSED, range(pages // 2))
    bare = limits.load()
    states = np.ones(pages, np.uint8)
    stream = io.BytesIO()
    migration.save(guest, stream)

    def save() -> int:
        return migration.save(guest, io.BytesIO()).pages

    def load() -> int:
        stream.seek(0)
        return migration.load(guest, stream).pages_set

    def check(nr: int) -> None:
        assert nr == pages

    measure(
        Plan(
            save if name == "save" else load,
            items=pages,
            bytes=2 * pages,
            check=check,
            limits={"bare change": Limit(lambda: bare.change(states), pages)},
            series=f"stream, {name}",
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("generation", GENERATIONS)
def bench_set_attributes(measure: Measure, exponent: int, generation: str) -> None:
    """What the target of a migration does with the values."""
    pages = 1 << exponent
    guest = Guest(pages, generation=generation)
    bare = limits.load()
    states = np.ones(pages, np.uint8)
    values = np.tile(np.array([0, 1, 2, 3, 0x40], np.uint8), pages // 5 + 1)[:pages].copy()

    def set_all() -> None:
        for start in range(0, pages, MAX):
            guest.set_cmma_bits(start, values[start : start + MAX], ALL)

    def read_and_change() -> None:
        for start in range(0, pages, MAX):
            bare.read(values[start : start + MAX])
            bare.change(states[start : start + MAX])

    measure(
        Plan(
            set_all,
            items=pages,
            bytes=2 * pages,
            limits={"plain read, bare change": Limit(read_and_change, pages)},
            series=f"attributes set, {generation}",
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("name", ["mark_dirty, random", "host_gfn, random"])
def bench_in_random_order(measure: Measure, exponent: int, name: str) -> None:
    """A machine of 1,000 slots."""
    pages = 1 << exponent
    slot = pages // 1000
    slots = [(i * slot, slot, None, True) for i in range(1000)]
    guest = Guest(pages, slots=slots)
    guest.start_migration()
    bare = limits.load()
    beside = np.ones(pages, np.uint8)
    gfns = workloads.random_gfns(pages)
    gfns = gfns[gfns < 1000 * slot]

    measure(
        Plan(
            lambda: guest.mark_dirty(gfns) if name.startswith("mark") else guest.host_gfn(gfns),
            items=gfns.size,
            bytes=gfns.size * 9,
            prepare=lambda: guest.set_log([]),
            limits={"bare update": Limit(lambda: bare.update(beside, gfns), gfns.size)},
            series=name,
        )
    )


@pytest.mark.most(22)
@pytest.mark.parametrize("generation", GENERATIONS)
def bench_slot_moves(measure: Measure, exponent: int, generation: str) -> None:
    """Half of the pages to the other half; the tables of a page are 11 bytes, 13 in `dat`."""
    pages = 1 << exponent
    half = pages // 2
    guest = Guest(pages, generation=generation, slots=[(0, half)])
    guest.write(range(half), 1)
    bare = limits.load()
    nr_bytes = half * (13 if generation == "dat" else 11)
    here, there = np.ones(nr_bytes, np.uint8), np.ones(nr_bytes, np.uint8)

    def change_both() -> None:
        bare.change(here)
        bare.change(there)

    def move() -> None:
        guest.move_slot(0, half)
        guest.move_slot(0, 0)

    measure(
        Plan(
            move,
            items=2 * half,
            bytes=4 * nr_bytes,
            limits={"bare change of both": Limit(change_both, half)},
            series=f"slot moves, {generation}",
        )
    )

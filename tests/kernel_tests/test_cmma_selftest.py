# SPDX-License-Identifier: MIT
"""What tools/testing/selftests/kvm/s390/cmma_test.c of Linux checks, asked of the model.

Every check of that program and its counterpart here:

| program | checks | here |
|---|---|---|
| test_migration_mode | start without memory is EINVAL, mode stays off | `test_migration_mode`, 1 |
| | one ESSA executes | 2 |
| | start with slots that log nothing is EINVAL, mode stays off | 3 |
| | start with logging succeeds, mode is on | 4 |
| | ESSA in migration mode executes | 5 |
| | a new slot without logging ends the mode | 6 |
| | ESSA executes afterwards | 7 |
| | logging on for that slot, start succeeds, mode is on | 8 |
| | logging off by a change of flags ends the mode | 9 |
| | ESSA executes afterwards | 10 |
| test_get_cmma_basic | GET without CMMA is ENXIO | `test_get_cmma_basic`, 1 |
| | GET without migration mode is EINVAL | 2 |
| | GET with PEEK succeeds | 3 |
| | unknown flags are EINVAL | 4 |
| test_get_initial_dirty | all of MAIN, then all of TEST_DATA, then nothing | `all_slots_dirty` |
| | nothing is dirty from page 0 on | `nothing_dirty` |
| test_get_skip_holes | nine queries: first page, count, values, buffer behind | `QUERIES` |
| | nothing is dirty at the end | `nothing_dirty` |

"The buffer behind is untouched" is here that the answer has no more values than its count.
What is not here: exits of the vcpu by DIAGNOSE 0x501 (how that program's guest says that it has
come to its end), and whether the machine has CMMA.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

import pgste
from pgste import Orc

MAIN, DATA, DATA_PAGES, TWO, TWO_PAGES = 512, 4096, 512, 8192, 256
BUFFER = MAIN + DATA_PAGES
#: The program was written for "pgtable"; "dat" as released in v7.0 does not wrap around.
REVISIONS = [("pgtable", "pgtable"), ("dat", "dat_new")]


def machine(generation: str, revision: str, *, slots: bool = True) -> pgste.Guest:
    guest = pgste.Guest(
        TWO + TWO_PAGES, generation=generation, log_revision=revision, slots=[], cmma=False
    )
    if slots:
        add_slots(guest)
    return guest


def add_slots(guest: pgste.Guest) -> None:
    assert guest.add_slot(0, MAIN) == 0
    assert guest.add_slot(DATA, DATA_PAGES) == 1


def log_dirty_pages(guest: pgste.Guest) -> None:
    guest.set_dirty_logging(0, True)
    guest.set_dirty_logging(1, True)


def one_essa(guest: pgste.Guest) -> None:
    """The first page of TEST_DATA and the first of its second MiB; it executes, that is all."""
    for page in (DATA, DATA + 256):
        guest.essa_page(Orc.SET_STABLE, page)


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the errno is what counts
        call()
    assert caught.value.errno == number


def nothing_dirty(guest: pgste.Guest) -> None:
    assert guest.get_cmma_bits(0, BUFFER)[:3] == (0, 0, 0)


def all_slots_dirty(guest: pgste.Guest) -> None:
    assert guest.get_cmma_bits(0, BUFFER)[:3] == (0, MAIN, DATA_PAGES)
    assert guest.get_cmma_bits(MAIN, BUFFER)[:3] == (DATA, DATA_PAGES, 0)
    assert guest.get_cmma_bits(DATA + DATA_PAGES, BUFFER)[:3] == (0, 0, 0)


@pytest.mark.parametrize(("generation", "revision"), [*REVISIONS, ("dat", "dat")])
def test_migration_mode(generation: str, revision: str) -> None:
    guest = machine(generation, revision, slots=False)
    refused(errno.EINVAL, guest.start_migration)  # 1
    assert not guest.migration_mode
    add_slots(guest)
    guest.enable_cmma()
    one_essa(guest)  # 2
    refused(errno.EINVAL, guest.start_migration)  # 3
    assert not guest.migration_mode
    log_dirty_pages(guest)
    guest.start_migration()  # 4
    assert guest.migration_mode
    one_essa(guest)  # 5
    assert guest.migration_mode
    two = guest.add_slot(TWO, TWO_PAGES)  # 6
    assert not guest.migration_mode
    one_essa(guest)  # 7
    guest.set_dirty_logging(two, True)
    guest.start_migration()  # 8
    assert guest.migration_mode
    guest.set_dirty_logging(two, False)  # 9
    assert not guest.migration_mode
    one_essa(guest)  # 10


@pytest.mark.parametrize(("generation", "revision"), [*REVISIONS, ("dat", "dat")])
def test_get_cmma_basic(generation: str, revision: str) -> None:
    guest = machine(generation, revision)
    refused(errno.ENXIO, lambda: guest.get_cmma_bits(0, BUFFER))  # 1
    guest.enable_cmma()
    one_essa(guest)
    refused(errno.EINVAL, lambda: guest.get_cmma_bits(0, BUFFER))  # 2
    guest.get_cmma_bits(0, BUFFER, flags=1)  # 3
    log_dirty_pages(guest)
    guest.start_migration()
    refused(errno.EINVAL, lambda: guest.get_cmma_bits(0, BUFFER, flags=0xFEEDC0FE))  # 4


@pytest.mark.parametrize(("generation", "revision"), [*REVISIONS, ("dat", "dat")])
def test_get_initial_dirty(generation: str, revision: str) -> None:
    guest = machine(generation, revision)
    guest.enable_cmma()
    one_essa(guest)
    log_dirty_pages(guest)
    guest.start_migration()
    all_slots_dirty(guest)
    nothing_dirty(guest)


#: From which page, how many are asked for, first page of the answer, how many it has.
QUERIES = [
    (0, 1, DATA, 1),
    (DATA + DATA_PAGES, 0x20, DATA + 1, 0x20),  # from behind the last slot: around to the first
    (DATA + 0x41, 0x20, DATA + 0x41, 0x20),
    (DATA, 1, DATA + 0x21, 1),
    (DATA + 0x23, 15, DATA + 0x23, 15),
    (DATA + 0x22, 17, DATA + 0x22, 17),  # clean pages in the middle, bridged
    (DATA + 0x40, 25, DATA + 0x40, 1),  # more than 16 clean pages behind: the block ends
    (DATA + 0x33, 0x40 - 0x33, DATA + 0x33, 0x40 - 0x33),
    (DATA, DATA_PAGES - 0x61, DATA + 0x61, DATA_PAGES - 0x61),
]


def log_with_only_data_dirty(generation: str, revision: str) -> pgste.Guest:
    guest = machine(generation, revision)
    guest.enable_cmma()
    data = range(DATA, DATA + DATA_PAGES)
    guest.essa(Orc.SET_STABLE, data)
    log_dirty_pages(guest)
    guest.start_migration()
    all_slots_dirty(guest)
    guest.essa(Orc.SET_STABLE, data)
    return guest


@pytest.mark.parametrize(("generation", "revision"), REVISIONS)
def test_get_skip_holes(generation: str, revision: str) -> None:
    guest = log_with_only_data_dirty(generation, revision)
    for start, count, first, nr in QUERIES:
        bits = guest.get_cmma_bits(start, count)
        assert (bits.start_gfn, bits.count) == (first, nr)
        assert bits.values.tolist() == [0] * nr
    nothing_dirty(guest)


def test_the_program_fails_on_linux_7_0() -> None:
    """What sends it around to the first slot was lost in the rewrite, and came back in 2026."""
    guest = log_with_only_data_dirty("dat", "dat")
    start, count, first, nr = QUERIES[0]
    assert guest.get_cmma_bits(start, count)[:2] == (first, nr)
    start, count, _, _ = QUERIES[1]
    assert guest.get_cmma_bits(start, count)[:2] == (start, 0)

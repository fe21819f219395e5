# SPDX-License-Identifier: MIT
"""What each method of a guest does.  Expected values are worked out from docs/model.md."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import pgste
from pgste import Orc, PgsteBits, PteBits, State

NONE = 0x400
#: A PTE after zero fill by load or store, or swap-in by store (section 3, pgtable).
FILLED = 0x13F
#: The bits of a PTE that has been aged: YOUNG off, INVALID on.
AGED = FILLED & ~0x004 | 0x400
#: UC is set in the PGSTE whenever a PTE becomes present and writable (section 3).
UC = int(PgsteBits.UC)


def test_a_new_guest() -> None:
    guest = pgste.Guest(100)
    assert (guest.pages, guest.vcpus, guest.mechanism, guest.generation) == (
        100,
        1,
        "cmma",
        "pgtable",
    )
    assert guest.number == 0
    assert not guest.migration_mode
    assert 8 < guest.bytes_per_page <= 12
    assert guest.pte().tolist() == [NONE] * 100
    assert guest.pgste().tolist() == [0] * 100
    assert not guest.states().any()
    assert not guest.is_free().any()
    assert guest.cbrl().tolist() == []
    assert set(guest.stats().values()) == {0}


def test_its_own_host_has_room_for_all_of_it() -> None:
    guest = pgste.Guest(100)
    assert (guest.host.frames, guest.host.swap_slots, guest.host.low) == (100, 100, 0)
    guest.write(slice(None), 7)
    assert guest.host.stats()["frames_free"] == 0
    assert guest.host.swap_out(guest, slice(None)) == 100
    assert guest.read(slice(None)).tolist() == [7] * 100


def test_a_host_of_its_own_is_never_larger_than_hosts_may_be() -> None:
    guest = pgste.Guest(2**33)
    assert guest.host.frames == guest.host.swap_slots == 2**32 - 2


@pytest.mark.parametrize(
    ("orc", "result", "usage", "zero", "nodat"),
    [
        (Orc.GET_STATE, 0x02, 0, False, False),
        (Orc.SET_STABLE, 0x02, 0, False, False),
        (Orc.SET_UNUSED, 0x02, 1, True, False),
        (Orc.SET_VOLATILE, 0x02, 3, True, False),
        (Orc.SET_POT_VOLATILE, 0x02, 3, True, False),
        (Orc.SET_STABLE_RESIDENT, 0x02, 0, False, False),
        (Orc.SET_STABLE_IF_RESIDENT, 0x02, 0, False, False),
        (Orc.SET_STABLE_NODAT, 0x02, 0, False, True),
    ],
)
def test_each_orc_on_a_page_without_mapping(
    orc: Orc, result: int, usage: int, zero: bool, nodat: bool
) -> None:
    """Section 2: no PTE is not valid and not ZERO, so content 2; append sets ZERO."""
    guest = pgste.Guest(4, nodat=True)
    results = guest.essa(orc, 2)
    assert results.dtype == np.uint8
    assert results.tolist() == [result]
    word = usage << 24 | (0x80000000 if zero else 0) | (0x40000000 if nodat else 0)
    assert guest.pgste().tolist() == [0, 0, word, 0]
    assert guest.cbrl().tolist() == ([2] if zero else [])
    content = 3 if zero else 2
    assert guest.essa_page(Orc.GET_STATE, 2) == usage << 2 | content | (0x20 if nodat else 0)
    assert guest.stats()["essa"] == 2


def test_essa_on_a_resident_page_appends_nothing() -> None:
    guest = pgste.Guest(4)
    guest.write(1, 5)
    assert guest.essa(Orc.SET_UNUSED, [1, 0]).tolist() == [0, 2]
    assert guest.essa(Orc.GET_STATE, [1, 0]).tolist() == [1 << 2, 1 << 2 | 3]
    assert guest.cbrl().tolist() == [0]


@pytest.mark.parametrize("gfns", [[1, 0, 1], range(3), np.array([2, 0, 0], np.int16), slice(1, 4)])
def test_results_go_to_out(gfns: Any) -> None:
    guest, other = pgste.Guest(4), pgste.Guest(4)
    out = np.full(3, 0xAA, np.uint8)
    assert guest.essa(Orc.SET_UNUSED, gfns, out=out) is out
    assert out.tolist() == other.essa(Orc.SET_UNUSED, gfns).tolist()
    before = out.copy()
    with pytest.raises(pgste.AddressingException):
        guest.essa(Orc.SET_UNUSED, [0, 1, 4], out=out)
    assert np.array_equal(out, before)


def test_a_gfn_that_comes_twice_is_processed_twice() -> None:
    guest = pgste.Guest(8)
    assert guest.essa(Orc.SET_UNUSED, [4, 4]).tolist() == [2, 7]
    assert guest.cbrl().tolist() == [4, 4]


def test_a_full_list_is_processed_by_the_next_essa() -> None:
    guest = pgste.Guest(8, cbrl_entries=2)
    guest.essa(Orc.SET_UNUSED, range(2))
    assert guest.cbrl().tolist() == [0, 1]
    assert guest.stats()["intercepts"] == 0
    guest.essa(Orc.SET_UNUSED, 5)
    assert guest.cbrl().tolist() == [5]
    stats = guest.stats()
    assert (stats["intercepts"], stats["processed"], stats["appended"]) == (1, 2, 3)


def test_lists_belong_to_vcpus() -> None:
    guest = pgste.Guest(8, vcpus=2)
    guest.essa(Orc.SET_UNUSED, 1, vcpu=1)
    guest.free(2, vcpu=0)
    assert guest.essa_page(Orc.SET_UNUSED, 3, 1) == 2
    assert guest.cbrl().dtype == np.uint64
    assert (guest.cbrl(0).tolist(), guest.cbrl(vcpu=1).tolist()) == ([2], [1, 3])


def test_dat_answers_0x10_outside_the_guest() -> None:
    guest = pgste.Guest(4, generation="dat")
    assert guest.essa(Orc.SET_STABLE, [1, 4, 2**50]).tolist() == [2, 0x10, 0x10]
    assert guest.essa(Orc.GET_STATE, range(3, 6)).tolist() == [2, 0x10, 0x10]
    assert guest.essa_page(Orc.GET_STATE, 2**40) == 0x10
    assert guest.pgste().tolist() == [0, int(PgsteBits.CMMA_D), 0, 0]


@pytest.mark.parametrize("migrating", [False, True])
@pytest.mark.parametrize("vcpus", [1, 2])
def test_a_range_that_leaves_the_guest_is_as_gfn_by_gfn(vcpus: int, migrating: bool) -> None:
    """Results, lists, words and counters; the first gfn outside empties a list that is full."""
    for first, nr in ((0, 9), (5, 600), (8, 3), (100, 50), (7, 1), (8, 0), (3, 5)):
        seen = []
        for by_gfn in (False, True):
            guest = pgste.Guest(8, generation="dat", vcpus=vcpus, cbrl_entries=3)
            guest.write(slice(None), 1)
            guest.host.swap_out(guest, slice(None))
            guest.migration_mode = migrating
            results = [guest.essa(Orc.SET_UNUSED, range(3)).tolist()]
            gfns = range(first, first + nr)
            if by_gfn:
                results.append([guest.essa_page(Orc.SET_UNUSED, gfn) for gfn in gfns])
            else:
                results.append(guest.essa(Orc.SET_UNUSED, gfns).tolist())
            words = guest.pgste().tolist(), guest.pte().tolist(), guest.cbrl().tolist()
            seen.append((results, words, guest.stats()))
            guest.host.validate()
        assert seen[0] == seen[1]


def test_a_long_range_outside_the_guest_is_quick_and_bounded() -> None:
    guest = pgste.Guest(4, generation="dat")
    out = np.empty(1 << 26, np.uint8)
    started = time.process_time()
    guest.essa(Orc.SET_UNUSED, range(4, 4 + len(out)), out=out)  # it took 4 ns each
    assert time.process_time() - started < 0.25
    assert (out == 0x10).all()
    assert guest.stats()["essa"] == len(out)
    before = guest.stats()
    with pytest.raises(pgste.ModelMemoryError, match="results of 4503599627370488 gfns"):
        guest.essa(Orc.SET_UNUSED, range(8, 1 << 52))
    assert guest.stats() == before


def test_program_interruptions_have_their_codes() -> None:
    guest = pgste.Guest(4, vcpus=2)
    with pytest.raises(pgste.OperationException, match="0x0001") as operation:
        pgste.Guest(4, mechanism="none").essa(0, 0)
    assert operation.value.code == 1
    guest.set_problem_state(1, np.True_)
    with pytest.raises(pgste.PrivilegedOperationException, match="vcpu 1") as privileged:
        guest.essa(0, 0, vcpu=1)
    assert privileged.value.code == 2
    assert guest.essa(0, 0, vcpu=0).tolist() == [2]
    guest.set_problem_state(1, False)
    assert guest.essa(0, 0, vcpu=1).tolist() == [2]
    with pytest.raises(pgste.AddressingException, match=r"gfns: 4 ") as addressing:
        guest.essa(0, 4)
    assert addressing.value.code == 5
    with pytest.raises(pgste.SpecificationException, match=r"orc 7 .*nodat") as specification:
        guest.essa(7, 0)
    assert specification.value.code == 6
    assert pgste.Guest(4, nodat=True).essa(7, 0).tolist() == [2]


def test_free_and_alloc_tell_the_host_by_essa() -> None:
    guest = pgste.Guest(16)
    guest.free(4, order=2)
    assert np.flatnonzero(guest.is_free()).tolist() == [4, 5, 6, 7]
    assert guest.is_free().dtype == np.bool_
    assert guest.cbrl().tolist() == [4, 5, 6, 7]
    guest.alloc([6, 4], order=1)
    assert not guest.is_free().any()
    assert guest.essa(Orc.GET_STATE, range(4, 8)).tolist() == [3] * 4  # stable, ZERO stays
    stats = guest.stats()
    assert (stats["pages_freed"], stats["pages_allocated"]) == (4, 4)
    assert (stats["hints"], stats["hint_pages"], stats["appended"]) == (8, 8, 4)
    assert (stats["double_frees"], stats["double_allocs"]) == (0, 0)


def test_free_page_and_alloc_page() -> None:
    guest = pgste.Guest(16, nodat=True)
    guest.free_page(3)
    assert guest.is_free([2, 3]).tolist() == [False, True]
    guest.alloc_page(np.uint16(3))
    assert guest.states(3).tolist() == [State.ZERO | State.NODAT]  # orc 7
    assert guest.stats()["hints"] == 2


def test_what_is_free_may_be_freed_again_and_is_counted() -> None:
    guest = pgste.Guest(16)
    guest.free([1, 2, 1])
    guest.free_page(2)
    guest.alloc([1, 3])
    guest.alloc_page(3)
    stats = guest.stats()
    assert (stats["pages_freed"], stats["double_frees"]) == (4, 2)
    assert (stats["pages_allocated"], stats["double_allocs"]) == (3, 2)


def test_mechanism_none_says_nothing() -> None:
    guest = pgste.Guest(8, mechanism="none")
    guest.write(range(4), 9)
    guest.free(range(4))
    assert guest.is_free().tolist() == [True] * 4 + [False] * 4
    assert guest.read(range(4)).tolist() == [9] * 4
    assert (guest.stats()["hints"], guest.stats()["hint_pages"]) == (0, 0)


def test_madv_dontneed_drops_at_once_with_one_call_a_run() -> None:
    guest = pgste.Guest(8, mechanism="madv_dontneed")
    guest.write(range(6), 9)
    guest.free([0, 1, 2, 4])
    stats = guest.stats()
    assert (stats["hints"], stats["hint_pages"], stats["hint_frames_freed"]) == (2, 4, 4)
    assert guest.peek(range(6)).tolist() == [0, 0, 0, 9, 0, 9]
    assert guest.pte(range(3)).tolist() == [NONE] * 3


def test_madv_free_queues_pages_for_reclaim() -> None:
    guest = pgste.Guest(8, mechanism="madv_free")
    guest.write(range(4), 9)
    guest.free(range(3))
    assert guest.host.frame_list("lazyfree").tolist() == [2, 1, 0]
    assert guest.read(range(3)).tolist() == [9] * 3
    # Section 3: YOUNG and DIRTY off, INVALID and PROTECT on; the load made it young again.
    lazy = FILLED & ~0x00C | 0x600
    assert guest.pte(0).tolist() == [lazy & ~0x400 | 0x004]


def test_write_and_read_fault_pages_in() -> None:
    guest = pgste.Guest(8)
    guest.write([2, 0], [5, 2**32 - 1])
    tags = guest.read(range(3))
    assert tags.dtype == np.uint32
    assert tags.tolist() == [2**32 - 1, 0, 5]
    # Frames that were never used come in ascending order (section 4).
    assert guest.pte(range(4)).tolist() == [0x1000 | FILLED, 0x2000 | FILLED, FILLED, NONE]
    assert guest.pgste(range(4)).tolist() == [UC, UC, UC, 0]
    assert guest.stats()["zero_fills"] == 3
    assert guest.host.frame_list("inactive").tolist() == [2, 1, 0]


def test_dat_maps_a_load_without_dirty() -> None:
    guest = pgste.Guest(4, generation="dat")
    guest.read(0)
    guest.write(1, 1)
    assert guest.pte(range(2)).tolist() == [0x225, 0x1000 | 0x2D]
    guest.write(0, 1)  # the first store: DIRTY, WRITE on, PROTECT off
    assert guest.pte(0).tolist() == [0x225 & ~0x200 | 0x028]


def test_one_tag_for_all_and_peek_without_a_fault() -> None:
    guest = pgste.Guest(8)
    guest.write(range(2, 5), 77)
    assert guest.peek(range(8)).tolist() == [0, 0, 77, 77, 77, 0, 0, 0]
    assert guest.peek(0).dtype == np.uint32
    assert guest.stats()["zero_fills"] == 3
    guest.write([1, 1], [3, 4])  # in order: the last one stays
    assert guest.read(1).tolist() == [4]


def test_swap_out_and_swap_in() -> None:
    guest = pgste.Guest(10)
    host = guest.host
    guest.write(3, 7)
    assert host.swap_out(guest, [3, 3, 4]) == 1
    assert guest.pte(3).tolist() == [0x600]
    assert guest.states(3).tolist() == [State.SWAP]
    assert guest.pgste(3).tolist() == [UC]
    assert guest.peek(3).tolist() == [7]
    assert host.slot_info(0) == {"count": 1, "frame": None, "tag": 7}
    assert guest.stats()["swap_outs"] == 1
    assert guest.read(3).tolist() == [7]
    assert guest.pte(3).tolist() == [0x315]
    # Swap is far from full and it was a load: the slot stays with the frame.
    assert host.slot_info(0) == {"count": 0, "frame": 0, "tag": 7}
    assert guest.stats()["swap_ins"] == 1


def test_an_unused_page_is_dropped_unwritten() -> None:
    guest = pgste.Guest(10)
    guest.write(2, 5)
    guest.free(2)
    assert guest.cbrl().tolist() == []  # resident: not appended
    assert guest.host.swap_out(guest, 2) == 1
    assert guest.pte(2).tolist() == [NONE]
    assert guest.read(2).tolist() == [0]
    assert (guest.stats()["unused_discards"], guest.stats()["swap_outs"]) == (1, 0)


def _swapped_out_then_freed() -> pgste.Guest:
    guest = pgste.Guest(10)
    guest.write(range(1, 4), 5)
    guest.host.swap_out(guest, slice(None))
    guest.free(range(1, 4))
    return guest


def test_intercept_zaps_what_the_list_holds() -> None:
    guest = _swapped_out_then_freed()
    assert guest.cbrl().tolist() == [1, 2, 3]
    assert guest.count_zappable() == 3
    assert guest.intercept() == 3
    assert guest.cbrl().tolist() == []
    assert guest.pte(range(1, 4)).tolist() == [NONE] * 3
    stats = guest.stats()
    assert (stats["zapped"], stats["zap_slots_freed"], stats["processed"]) == (3, 3, 3)
    assert stats["intercepts"] == 1
    assert guest.host.stats()["swap_slots_free"] == 10
    assert guest.count_zappable() == 0
    assert guest.intercept(vcpu=0) == 0


def test_zap_and_zap_scan() -> None:
    guest = _swapped_out_then_freed()
    assert guest.zap(2) is True
    assert guest.zap(2) is False
    assert guest.zap(np.int8(0)) is False
    assert guest.zap_scan() == 2
    assert guest.zap_scan() == 0
    assert guest.stats()["zapped"] == 3
    assert guest.cbrl().tolist() == [1, 2, 3]


def test_count_states() -> None:
    guest = pgste.Guest(10, nodat=True)
    guest.write(range(4), 1)  # resident
    guest.host.swap_out(guest, [3])
    guest.free([0, 3, 5])  # resident; swapped: append, ZERO; none: the same
    guest.essa(Orc.SET_VOLATILE, 1)
    guest.essa(Orc.SET_POT_VOLATILE, 2)
    guest.essa(Orc.SET_STABLE_NODAT, 9)
    assert guest.count_states() == {
        "stable": {"resident": 0, "preserved": 5, "zero": 0},  # 4, 6, 7, 8, 9
        "unused": {"resident": 1, "preserved": 0, "zero": 2},
        "pot_volatile": {"resident": 1, "preserved": 0, "zero": 0},
        "volatile": {"resident": 1, "preserved": 0, "zero": 0},
        "nodat": 1,
        "dirty": 0,
        "swap": 1,
        "zappable": 1,
    }


def test_find() -> None:
    guest = pgste.Guest(20000)
    wanted = list(range(3, 20000, 7))
    guest.essa(Orc.SET_UNUSED, wanted)
    found = guest.find(State.USAGE, 1)
    assert found.dtype == np.uint64
    assert found.tolist() == wanted
    assert guest.find(State.USAGE, 1, 10).tolist() == wanted[1:]
    assert guest.find(State.USAGE, 1, start=11, limit=2).tolist() == wanted[2:4]
    assert guest.find(State.USAGE, 1, limit=0).tolist() == []
    assert guest.find(State.USAGE, 1, start=20000).tolist() == []
    assert guest.find(State.USAGE, 2).tolist() == []
    assert guest.find(0, 0).tolist() == list(range(20000))


def test_reset_cmma() -> None:
    guest = pgste.Guest(4, nodat=True)
    guest.essa(Orc.SET_STABLE_NODAT, 1)
    guest.essa(Orc.SET_UNUSED, 2)
    guest.reset_cmma()
    assert guest.pgste().tolist() == [0, 0, int(PgsteBits.ZERO), 0]
    assert guest.cbrl().tolist() == [2]


@pytest.mark.parametrize(
    ("generation", "revision", "left"),
    [("pgtable", None, 0), ("dat", "7.0", 3), ("dat", "7.1.5", 3), ("dat", "7.2", 0)],
)
def test_migration_mode(generation: str, revision: str | None, left: int) -> None:
    guest = pgste.Guest(3, generation=generation, revision=revision)
    guest.migration_mode = True
    assert guest.migration_mode is True
    assert guest.count_states()["dirty"] == 3
    guest.essa(Orc.SET_UNUSED, [0, 1])  # each ESSA intercepts and processes the list
    assert guest.cbrl().tolist() == []
    assert (guest.stats()["intercepts"], guest.stats()["processed"]) == (2, 2)
    guest.migration_mode = False
    assert guest.migration_mode is False
    assert guest.count_states()["dirty"] == left


def test_words_come_back_bit_for_bit() -> None:
    rng = np.random.default_rng(5)
    for generation in ("pgtable", "dat"):
        guest = pgste.Guest(64, generation=generation)
        pgstes = rng.integers(0, 2**64, 64, dtype=np.uint64, endpoint=False)
        ptes = rng.integers(0, 2**64, 64, dtype=np.uint64, endpoint=False)
        guest.set_words(slice(None), pgste=pgstes, pte=ptes)
        pcl = np.uint64(int(PgsteBits.PCL))
        assert guest.pgste().dtype == guest.pte().dtype == np.uint64
        assert guest.pgste().tolist() == (pgstes & ~pcl).tolist()
        assert guest.pte().tolist() == ptes.tolist()
        assert guest.pte([5, 5, 0]).tolist() == ptes[[5, 5, 0]].tolist()


def test_set_words_of_one_kind_leaves_the_other() -> None:
    guest = pgste.Guest(4)
    guest.set_words(range(2), pgste=0x01000000)
    guest.set_words(1, pte=0x0600 | 99 << 12)
    assert guest.pgste().tolist() == [0x01000000, 0x01000000, 0, 0]
    assert guest.pte().tolist() == [NONE, 0x0600 | 99 << 12, NONE, NONE]
    guest.set_words([2, 3], pgste=[1 << 31, 2**63], pte=np.array([NONE, 0x401], dtype=">i4"))
    assert guest.pgste().tolist() == [0x01000000, 0x01000000, 1 << 31, 2**63]
    assert guest.pte([2, 3]).tolist() == [NONE, 0x401]


def test_states_are_the_packed_bits() -> None:
    guest = pgste.Guest(4)
    guest.write(1, 1)
    guest.essa(Orc.SET_UNUSED, [1, 2])
    guest.set_words(3, pgste=int(PgsteBits.GC | PgsteBits.NODAT))
    states = guest.states()
    assert states.dtype == np.uint8
    assert states.tolist() == [0, State.VALID | 1, State.ZERO | 1, State.GC | State.NODAT]
    assert guest.states([2, 1]).tolist() == [State.ZERO | 1, State.VALID | 1]


def test_a_foreign_word_cannot_be_accessed_and_costs_nothing() -> None:
    guest = pgste.Guest(4)
    guest.set_words(1, pte=PteBits.PRESENT | PteBits.READ)
    assert guest.host.stats()["frames_free"] == 4
    for access in (guest.read, lambda gfn: guest.write(gfn, 1)):
        with pytest.raises(pgste.ForeignPteError, match="gfns: 1"):
            access(1)
    assert guest.peek(1).tolist() == [0]


def test_reset_stats() -> None:
    guest = pgste.Guest(4)
    guest.free(range(4))
    assert guest.stats()["essa"] == 4
    guest.reset_stats()
    assert set(guest.stats().values()) == {0}
    assert guest.cbrl().tolist() == [0, 1, 2, 3]


def test_repr_says_what_it_is() -> None:
    guest = pgste.Guest(4, mechanism="none", generation="dat")
    assert "4 pages" in repr(guest)
    assert "none" in repr(guest)
    assert "4 frames" in repr(guest.host)
    guest.host.close()
    assert "closed" in repr(guest)
    assert "closed" in repr(guest.host)

# SPDX-License-Identifier: MIT
"""The reference model against facts worked out by hand from the kernel (docs/model.md)."""

from __future__ import annotations

import pytest

from reference import (
    ForeignPage,
    Guest,
    Host,
    OutOfFrames,
    OutOfSwap,
    ProgramInterruption,
    Replay,
    StateError,
    summarize,
)
from reference.essa import perform_essa
from reference.guest import snapshot
from reference.words import PGSTE_CMMA_D, PGSTE_GC, PGSTE_NODAT, PGSTE_UC, PGSTE_ZERO

VALID, INVALID = 0x1F001, 0x400
GENERATIONS = ("pgtable", "dat")
CONDITIONS = {
    "valid": (VALID, 0),
    "invalid": (INVALID, 0),
    "zero": (INVALID, PGSTE_ZERO),
    "gc": (INVALID, PGSTE_GC),
    "zero gc": (INVALID, PGSTE_ZERO | PGSTE_GC),
}
# New usage (letters S U P V, "." as it was, "+" appended) for orc 0 to 7 in generation
# pgtable, where the page starts with the usage given.  One row for each condition.
TRANSITIONS = {
    "valid": ". S U V P S S S",
    "invalid": ". S U+ V+ V+ S . S",
    "zero": ". S U+ V+ V S . S",
    "gc": ". S U+ V+ S S . S",
    "zero gc": ". S U+ V+ V S . S",
}
LETTERS = "SUPV"


@pytest.mark.parametrize("usage", range(4))
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_essa_transitions(generation: str, condition: str, usage: int) -> None:
    pte, bits = CONDITIONS[condition]
    for orc, cell in enumerate(TRANSITIONS[condition].split()):
        if generation == "dat" and condition == "gc" and orc == 4:
            cell = "."
        start = bits | usage << 24 | PGSTE_NODAT
        result, pgste, append = perform_essa(generation, orc, start, pte)
        content = 0 if pte == VALID else 3 if bits & PGSTE_ZERO else 2
        assert result == 0x20 + 4 * usage + content
        assert append == cell.endswith("+")
        new = usage if cell == "." else LETTERS.index(cell[0])
        expected = bits & PGSTE_GC | new << 24
        expected |= PGSTE_NODAT if orc != 1 else 0
        if append or (generation == "pgtable" and bits & PGSTE_ZERO):
            expected |= PGSTE_ZERO
        if generation == "dat" and orc != 0:
            expected |= PGSTE_CMMA_D
        assert pgste == expected, (orc, cell)


def test_orc_7_sets_nodat() -> None:
    assert perform_essa("pgtable", 7, 0, VALID) == (0, PGSTE_NODAT, False)


def guest_on(
    frames: int = 4, slots: int = 8, pages: int = 4, low: int | None = None, **kwargs: object
) -> Guest:
    return Guest(pages, Host(frames, slots, low=low), **kwargs)  # type: ignore[arg-type]


def test_essa_refusals() -> None:
    guest = guest_on()
    for orc in (7, 8, 255):
        with pytest.raises(ProgramInterruption) as refusal:
            guest.essa(orc, [0])
        assert refusal.value.code == 6
    with pytest.raises(ProgramInterruption) as refusal:
        guest.essa(2, [0, 4])
    assert refusal.value.code == 5
    assert guest.essa(0, [0]) == [2]
    assert guest_on(generation="dat").essa(1, [4, 0]) == [0x10, 2]
    guest.problem_state[0] = True
    with pytest.raises(ProgramInterruption) as refusal:
        guest.essa(0, [0])
    assert refusal.value.code == 2
    with pytest.raises(ProgramInterruption) as refusal:
        guest_on(mechanism="none").essa(0, [0])
    assert refusal.value.code == 1


def test_full_list_is_processed_by_the_next_essa() -> None:
    guest = guest_on(cbrl_entries=2)
    guest.write([0, 1], [10, 11])
    guest.swap_out([0, 1])
    guest.essa(2, [0, 1])
    assert guest.cbrl == [[0, 1]]
    assert guest.count["intercepts"] == 0
    guest.essa(0, [3])
    assert guest.cbrl == [[]]
    assert guest.pte[:2] == [0x400, 0x400]
    assert (guest.count["intercepts"], guest.count["processed"]) == (1, 2)
    assert (guest.count["zapped"], guest.count["zap_slots_freed"]) == (2, 2)
    assert guest.read([0, 1]) == [0, 0]


def test_migration_mode_processes_after_each_essa() -> None:
    guest = guest_on(cbrl_entries=1)
    guest.essa(2, [0])
    assert guest.cbrl == [[0]]
    guest.set_migration(True)
    assert all(guest.dirty_bit)
    guest.essa(2, [1])
    assert guest.cbrl == [[]]
    assert (guest.count["intercepts"], guest.count["processed"]) == (1, 2)
    guest.set_migration(False)
    assert not any(guest.dirty_bit)


def test_resident_page_is_not_appended_and_dropped_by_reclaim() -> None:
    """B2, B4: an unused resident page goes without a write, but a slot must be free."""
    for slots in (0, 1):
        guest = guest_on(slots=slots)
        guest.write([0], [7])
        guest.free([0])
        assert guest.cbrl == [[]]
        assert guest.read([0]) == [7]
        assert guest.host.reclaim(1) == slots  # aged at the first look, dropped at the second
    assert guest.host.count["unused_discards"] == 1
    assert guest.host.count["swap_outs"] == 0
    assert guest.host.swap_peak == 1
    assert guest.pte[0] == 0x400
    assert guest.read([0]) == [0]


def test_swap_out_words_and_zero() -> None:
    """Swap-out goes by set_pte_at in pgtable, which clears ZERO, and by unmap in dat."""
    for generation, bits in (("pgtable", 0x13F), ("dat", 0x02D)):
        guest = guest_on(generation=generation)
        guest.write([1], [5])
        assert guest.pte[1] == bits
        guest.set_words(1, pgste=PGSTE_ZERO)
        guest.write([0], [6])
        guest.swap_out([0, 1])
        assert guest.pte[0:2] == [0x600, 0x1600]
        assert guest.pgste[1] == 0
        assert guest.read([1]) == [5]
        # Frame 1 (of page 0, given back first) lies below frame 0 (of page 1) on the stack.
        assert guest.pte[1] == (0x315 if generation == "pgtable" else 0x225)
        guest.write([1], [8])
        assert guest.pte[1] == (0x13F if generation == "pgtable" else 0x02D)


def test_user_dirty() -> None:
    guest = guest_on()
    guest.write([0], [1])
    assert guest.pgste[0] == PGSTE_UC
    guest.swap_out([0])
    guest.set_words(0, pgste=0)
    guest.read([0])
    assert guest.pgste[0] == 0  # mapped read-only


def test_swap_cache_saves_the_second_write() -> None:
    """E4: read back and unmodified, the page leaves without a write."""
    guest = guest_on()
    guest.write([0], [5])
    guest.swap_out([0])
    guest.read([0])
    assert guest.host.slots[0].frame == 0
    guest.swap_out([0])
    assert (guest.host.count["swap_outs"], guest.host.count["clean_evictions"]) == (1, 1)
    guest.read([0])
    guest.write([0], [6])
    guest.swap_out([0])
    assert guest.host.count["swap_outs"] == 2
    assert guest.read([0]) == [6]


def test_swap_cache_is_not_kept_when_swap_is_nearly_full() -> None:
    guest = guest_on(slots=1)
    guest.write([0], [5])
    guest.swap_out([0])
    assert guest.read([0]) == [5]
    assert guest.host.slots[0].frame is None
    assert guest.host.frames[0].dirty


def test_store_while_unused_may_be_lost_on_kvm() -> None:
    """A10, section J: works silently, and is gone once the host reclaims."""
    guest = guest_on()
    guest.write([0], [5])
    guest.free([0])
    guest.write([0], [6])
    assert guest.read([0]) == [6]
    guest.swap_out([0])
    assert guest.read([0]) == [0]


def test_zap_after_set_stable_needs_zero() -> None:
    """The page was appended while swapped out, then made stable: ZERO still has it zapped."""
    for generation, content in (("pgtable", 0), ("dat", 5)):
        guest = guest_on(generation=generation)
        guest.write([0], [5])
        guest.swap_out([0])
        guest.essa(2, [0])
        guest.essa(1, [0])
        guest.intercept()
        assert guest.read([0]) == [content]


def test_madv_free_store_rearms_and_clean_is_discarded() -> None:
    """C3, C4: a completed store is never lost, a clean page goes without swap."""
    guest = guest_on(slots=0, mechanism="madv_free")
    guest.write([0, 1], [5, 6])
    guest.free([0, 1])
    assert guest.host.lists["lazyfree"] == [1, 0]
    assert guest.read([0]) == [5]
    guest.write([1], [7])
    guest.host.reclaim(4)
    assert guest.host.lists["active"] == [1]
    assert not guest.host.lists["inactive"]
    assert not guest.host.lists["lazyfree"]
    assert guest.read([0, 1]) == [0, 7]
    assert guest.count["lazyfree_discards"] == 1
    assert guest.host.count["lazyfree_rearmed"] == 1
    assert (guest.count["hints"], guest.count["hint_pages"]) == (1, 2)


def test_madvise_frees_swap_at_once() -> None:
    """C1, C6: swap entries are freed by both calls."""
    for mechanism in ("madv_free", "madv_dontneed"):
        guest = guest_on(mechanism=mechanism)
        guest.write([0], [5])
        guest.swap_out([0])
        guest.free([0])
        assert guest.count["hint_slots_freed"] == 1
        assert guest.read([0]) == [0]


def test_madv_dontneed_frees_frames() -> None:
    guest = guest_on(mechanism="madv_dontneed")
    guest.write([0, 1, 2], [5, 6, 7])
    guest.free([0, 2, 3])
    assert (guest.count["hints"], guest.count["hint_frames_freed"]) == (2, 2)
    assert guest.read([0, 1, 2]) == [0, 6, 0]


def test_second_chance_and_active_list() -> None:
    """A page found valid twice in a row becomes active."""
    guest = guest_on(frames=2)
    guest.write([0], [5])
    guest.host.reclaim(1)
    # Aged, then written at the second look: nothing else was there to take.
    assert guest.pte[0] == 0x600
    guest.write([1], [6])
    frame = guest.frame[1]
    assert frame is not None
    guest.host.frames[frame].referenced = True
    guest.host.shrink(frame)
    assert guest.host.lists["active"] == [frame]
    assert guest.host.frames[frame].referenced
    assert guest.pte[1] == frame << 12 | 0x53B  # 0x13f, YOUNG off, INVALID on


def test_ageing_in_dat_moves_dirty_to_the_frame() -> None:
    guest = guest_on(generation="dat")
    guest.write([0], [5])
    guest.host.frames[0].dirty = False
    guest.host.age(0)
    assert guest.pte[0] == 0x621  # 0x2d: YOUNG, DIRTY off; INVALID, PROTECT on
    assert guest.host.frames[0].dirty


def test_failures_change_nothing() -> None:
    guest = guest_on(frames=2, slots=0)
    guest.write([0, 1], [1, 2])
    before = snapshot(guest.host, [guest])
    with pytest.raises(OutOfFrames):
        guest.write([0, 2], [9, 9])
    with pytest.raises(OutOfSwap):
        guest.swap_out([0, 1])
    assert snapshot(guest.host, [guest]) == before


def test_one_zap_does_not_harm_another_use_of_the_slot() -> None:
    """D2, D5: two PTEs with one entry."""
    guest = guest_on()
    guest.write([0], [5])
    guest.swap_out([0])
    guest.set_words(1, pte=0x600)
    assert guest.host.slots[0].count == 2
    guest.essa(2, [0])
    assert guest.intercept() == 1
    assert guest.count["zap_slots_freed"] == 0
    assert guest.read([0, 1]) == [0, 5]


@pytest.mark.parametrize("pte", [0x1601, 0x600, 0x604, 0x200, 0x0, 0x99601])
def test_foreign_words(pte: int) -> None:
    guest = guest_on()
    guest.write([0], [5])
    guest.set_words(0, pte=pte)
    assert guest.pte[0] == pte
    assert guest.host.frames_in_use() == 0
    with pytest.raises(ForeignPage):
        guest.read([0])
    guest.set_words(0, pte=0x400)
    assert guest.read([0]) == [0]


def test_reset_leaves_zero_and_the_list() -> None:
    guest = guest_on(nodat=True)
    guest.essa(2, [0])
    guest.alloc([1])
    assert guest.pgste[1] == PGSTE_NODAT
    guest.reset_cmma()
    assert guest.pgste == [PGSTE_ZERO, 0, 0, 0]
    assert guest.cbrl == [[0]]


def test_double_frees_are_counted_or_refused() -> None:
    guest = guest_on()
    guest.free([0, 1, 0])
    assert (guest.count["pages_freed"], guest.count["double_frees"]) == (3, 1)
    guest.alloc([0, 2])
    assert guest.count["double_allocs"] == 1
    strict = guest_on(strict=True)
    with pytest.raises(StateError):
        strict.free([0, 0])
    assert strict.free_bit == [False] * 4


def test_watermarks() -> None:
    guest = guest_on(frames=4, slots=8, low=1)
    guest.host.high = 3
    guest.write([0, 1, 2], [1, 2, 3])
    assert guest.host.count["reclaims"] == 0
    guest.write([3], [4])  # one free frame: reclaim until three are
    assert guest.host.count["reclaims"] == 1
    assert len(guest.host.free_frames) == 2
    assert guest.host.count["swap_outs"] == 2
    # All three were young: each is aged once, then 0 and 1, the oldest, go.
    assert guest.host.count["scanned"] == 5
    assert guest.pte[:2] == [0x600, 0x1600]


def test_replay_of_a_small_trace() -> None:
    """Page 11 is live at the start; 10 is allocated twice without a free seen."""
    events = [(0, 0, 10), (1, 0, 11), (0, 0, 10), (1, 0, 11), (0, 0, 11)]
    host = Host(8, 8)
    guests = [Guest(2, host, "none"), Guest(2, host, "madv_dontneed")]
    replay = Replay(guests, 10, events, [0, 10, 20, 30, 40])
    # Setup: page 11 of both guests holds a tag, page 10 nothing.
    assert [guest.peek(1) for guest in guests] == [1, 2]
    assert replay.run(100) == 5
    assert replay.stats == {
        "events": 10,
        "stale_allocs": 2,  # "none": 10 again, and 11; "madv_dontneed" has neither
        "stale_pages": 2,
        "implied_frees": 2,
        "ignored_frees": 2,
        "loads": 0,
        "stores": 0,
        "ignored_accesses": 0,
    }
    assert guests[1].count["hints"] == 2
    # Page 10 of both guests comes at event 0; the madvise of page 11 waits for event 2, which
    # then drops both pages of the second guest and stores to one: 4, 4, 3, 3 frames.
    assert (replay.ns, replay.frame_ns, replay.swap_ns) == (40, 140, 0)
    assert [guest.peek(0) for guest in guests] == [5, 6]
    assert [guest.peek(1) for guest in guests] == [7, 8]


def test_summary_by_hand() -> None:
    events = [(0, 2, 8), (1, 1, 8), (1, 1, 10), (1, 0, 8), (0, 0, 20), (0, 0, 20), (1, 0, 20)]
    summary = summarize(events)
    expected = {
        "alloc_events": 3,
        "free_events": 4,
        "pages_allocated": 6,
        "pages_freed": 6,
        "frees_of_allocated": 3,
        "frees_of_unknown": 1,
        "frees_of_block": 1,
        "frees_of_part": 2,
        "allocs_of_live": 1,
        "unique_allocated": 5,
        "unique_pages": 5,
        "peak_live": 4,
        "live_at_end": 0,
        "live_at_start": 0,
        "peak_in_use": 4,
        "lowest_pfn": 8,
        "highest_pfn": 20,
        "alloc_orders": {0: 2, 2: 1},
        "free_orders": {0: 2, 1: 2},
    }
    assert summary == expected

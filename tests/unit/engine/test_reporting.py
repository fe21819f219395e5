# SPDX-License-Identifier: MIT
"""Free page reporting, rule by rule (mm/page_reporting.c and virtio_balloon.c of Linux 6.1)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import pgste

SECOND = 10**9
PAGES = 1 << 16  # 256 MiB


def guest_of(pages: int = PAGES, **settings: Any) -> pgste.Guest:
    """A reporting guest whose pages go straight to the buddy and whose watermarks are 0."""
    plain = {"parked_high": 0, "parked_batch": 1, "min": 0, "low": 0, "spare": 1 << 30}
    guest = pgste.Guest(pages, mechanism="reporting")
    guest.set_reporting(**{**plain, **settings})
    return guest


def idle_guest(pages: int = PAGES, **settings: Any) -> pgste.Guest:
    """The same after its first pass, which had nothing to do."""
    guest = guest_of(pages, **settings)
    guest.advance(guest.reporting()["delay_ns"])
    assert guest.reporting()["status"] == "idle"
    return guest


def reported(guest: pgste.Guest, order: int) -> list[int]:
    return sorted(gfn for gfn, _, flag in guest.free_blocks(order) if flag)


# ---- what is reported, and when ------------------------------------------------------------


def test_pageblock_order_is_the_default_threshold() -> None:
    guest = idle_guest()
    guest.write([0, 1024], [5, 6])
    guest.free(0, order=9)
    guest.free(1024, order=8)
    guest.advance(2 * SECOND)
    assert reported(guest, 9) == [0]
    assert reported(guest, 8) == []
    assert guest.peek([0, 1024]).tolist() == [0, 6]


def test_s390_reports_from_order_8() -> None:
    guest = idle_guest(order=8)
    guest.write(1024, 6)
    guest.free(1024, order=8)
    guest.advance(2 * SECOND)
    assert guest.peek(1024).tolist() == [0]


def test_a_block_below_the_threshold_does_not_wake_the_worker() -> None:
    guest = idle_guest()
    guest.free(0, order=8)
    assert guest.reporting()["status"] == "idle"
    guest.free(256, order=8)  # merges to order 9
    assert guest.reporting()["status"] == "requested"


def test_the_first_pass_comes_2_s_after_registration() -> None:
    guest = guest_of()
    guest.free(0, order=9)
    guest.advance(2 * SECOND - 1)
    assert guest.reporting()["passes"] == 0
    guest.advance(1)
    assert guest.reporting()["passes"] == 1
    assert reported(guest, 9) == [0]


def test_a_pass_comes_2_s_after_the_free_that_asked_for_it() -> None:
    guest = idle_guest()
    guest.advance(5 * SECOND)
    guest.free(0, order=9)
    guest.advance(SECOND)
    guest.free(1024, order=9)  # asked for already: not put off
    assert guest.reporting()["due_ns"] == 9 * SECOND
    guest.advance(SECOND)
    assert reported(guest, 9) == [0, 1024]
    assert guest.reporting()["status"] == "idle"
    assert guest.reporting()["due_ns"] is None


def test_a_free_during_a_pass_asks_for_another_one_2_s_after_it() -> None:
    guest = idle_guest(ack_ns=100)
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    assert guest.reporting()["status"] == "active"
    guest.free(1024, order=9)
    assert guest.reporting()["status"] == "requested"
    guest.advance(100)
    assert guest.reporting()["due_ns"] == guest.now_ns + 2 * SECOND
    assert reported(guest, 9) == [0]
    guest.advance(2 * SECOND + 100)
    assert reported(guest, 9) == [0, 1024]


# ---- parked pages ---------------------------------------------------------------------------


def test_pages_on_per_cpu_lists_are_never_reported() -> None:
    guest = idle_guest(parked_high=600, parked_batch=63)
    guest.free(range(512))
    guest.advance(10 * SECOND)
    assert guest.reporting()["pages_parked"] == 512
    assert guest.reporting()["blocks_reported"] == 0


def test_a_full_per_cpu_list_gives_its_oldest_pages_to_the_buddy() -> None:
    guest = idle_guest(parked_high=8, parked_batch=3)
    guest.free([1, 3, 5, 7, 9, 11, 13])
    assert guest.reporting()["pages_free"] == 0
    guest.free(15)
    assert [gfn for gfn, _, _ in guest.parked_blocks()] == [7, 9, 11, 13, 15]
    assert sorted(gfn for gfn, _, _ in guest.free_blocks(0)) == [1, 3, 5]


def test_costly_orders_are_not_parked() -> None:
    guest = idle_guest(parked_high=1000)
    guest.free(0, order=3)
    guest.free(16, order=4)
    assert guest.parked_blocks() == [(0, 3, False)]
    assert guest.free_blocks(4) == [(16, 4, False)]


def test_each_vcpu_has_a_list_of_its_own() -> None:
    guest = pgste.Guest(64, mechanism="reporting", vcpus=2)
    guest.free(3, vcpu=1)
    guest.free(4, vcpu=0)
    assert guest.parked_blocks(0) == [(4, 0, False)]
    assert guest.parked_blocks(1) == [(3, 0, False)]


def test_1_gib_of_memory_has_the_kernels_batch_of_63() -> None:
    # mm/page_alloc.c:zone_batchsize: a 1024th of the zone, at most 1 MiB, a quarter of it,
    # one and a half times that, down to a power of two, less one: 63 from 1 GiB on.
    told = pgste.Guest(1 << 18, mechanism="reporting").reporting()
    assert told["parked_batch"] == 63
    # min_free_kbytes of 1 GiB is 4 * sqrt(2^20 KiB) = 4096 KiB: 1024 pages; low is above it by
    # the larger of a quarter (256) and watermark_scale_factor, a 1000th of the zone (262)
    assert (told["min"], told["low"]) == (1024, 1286)
    assert told["parked_high"] == 1286


# ---- merge, split, the flag ------------------------------------------------------------------


def test_the_flag_goes_with_alloc_split_and_merge() -> None:
    guest = idle_guest()
    for first in (0, 1024, 2048):
        guest.free(first, order=9)
    guest.advance(2 * SECOND)
    assert reported(guest, 9) == [0, 1024, 2048]
    guest.alloc(0, order=9)
    guest.alloc(1024, order=7)  # the rest of this one is split
    guest.free(2048 + 512, order=9)  # merges to order 10
    assert reported(guest, 9) == []
    assert guest.free_blocks(7) == [(1024 + 128, 7, False)]
    assert guest.free_blocks(8) == [(1024 + 256, 8, False)]
    assert guest.free_blocks(10) == [(2048, 10, False)]
    guest.advance(2 * SECOND)
    assert guest.free_blocks(10) == [(2048, 10, True)]  # again, and whole
    assert guest.stats()["hint_pages"] == 3 * 512 + 1024


def test_remainders_of_a_split_wait_for_somebody_elses_request() -> None:
    guest = idle_guest(order=8)
    guest.free(0, order=10)
    guest.advance(2 * SECOND)
    guest.alloc(0, order=8)
    assert guest.reporting()["status"] == "idle"
    guest.advance(100 * SECOND)
    assert guest.reporting()["passes"] == 2
    guest.free(2048, order=8)
    guest.advance(2 * SECOND)
    assert reported(guest, 8) == [256, 2048]
    assert reported(guest, 9) == [512]


def test_allocating_a_reported_block_tells_the_host_nothing() -> None:
    guest = idle_guest()
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    before = guest.stats()["hints"]
    guest.alloc(0, order=9)
    guest.advance(10 * SECOND)
    assert guest.stats()["hints"] == before == 1


def test_reported_blocks_are_off_the_list_until_the_ack_and_return_to_its_tail() -> None:
    guest = idle_guest(ack_ns=50)
    guest.write(range(0, 2048, 512), [1, 2, 3, 4])
    guest.free(1024, order=9)
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    assert guest.free_blocks(9) == []
    assert [gfn for gfn, _, _ in guest.isolated_blocks()] == [0, 1024]
    assert guest.reporting()["pages_isolated"] == 1024
    assert guest.peek(0).tolist() == [1]
    guest.free(4096, order=9)
    guest.advance(50)
    assert guest.free_blocks(9) == [(4096, 9, False), (1024, 9, True), (0, 9, True)]
    assert guest.peek(0).tolist() == [0]


def test_a_block_that_merges_on_return_is_not_flagged() -> None:
    guest = idle_guest(ack_ns=50)
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    guest.free(512, order=9)  # its other half, while it is away
    assert guest.free_blocks(9) == [(512, 9, False)]
    guest.advance(50)
    assert guest.free_blocks(10) == [(0, 10, False)]
    guest.advance(2 * SECOND + 50)
    assert guest.free_blocks(10) == [(0, 10, True)]


def test_an_alloc_of_an_isolated_page_waits_for_the_ack() -> None:
    guest = idle_guest(ack_ns=SECOND)
    guest.write(0, 7)
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    guest.alloc(0)
    assert guest.isolated_blocks() == []
    assert guest.peek(0).tolist() == [0]
    guest.write(0, 8)
    guest.advance(5 * SECOND)
    assert guest.peek(0).tolist() == [8]


def test_a_store_before_the_ack_may_be_lost_and_one_after_it_is_not() -> None:
    guest = idle_guest(ack_ns=50)
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    guest.write(0, 9)  # nobody may do this: the block is with the host
    guest.advance(50)
    assert guest.read(0).tolist() == [0]
    guest.write(0, 10)  # nor this, but the host has no say any more
    guest.advance(60 * SECOND)
    assert guest.read(0).tolist() == [10]


# ---- batch, budget, watermarks -----------------------------------------------------------------


def free_apart(guest: pgste.Guest, order: int, nr: int) -> None:
    """Free blocks that cannot merge."""
    guest.free(np.arange(nr) * (2 << order), order=order)


def test_32_blocks_a_call() -> None:
    guest = idle_guest(order=4)
    free_apart(guest, 4, 33)
    guest.advance(2 * SECOND)
    assert guest.stats()["hints"] == 2
    assert guest.stats()["hint_pages"] == 33 * 16
    assert guest.reporting()["passes"] == 2


@pytest.mark.parametrize(("blocks", "calls"), [(512, 2), (513, 3), (1024, 3), (1025, 4)])
def test_the_budget_is_a_16th_of_the_list_and_a_call(blocks: int, calls: int) -> None:
    guest = idle_guest(1 << 17, order=4)
    free_apart(guest, 4, blocks)
    guest.advance(2 * SECOND)
    # The budget ends the list; what the batch holds by then (nothing) would follow.
    assert guest.stats()["hints"] == calls
    assert guest.reporting()["blocks_reported"] == 32 * calls
    assert guest.reporting()["status"] == "requested"


def test_an_idle_system_is_reported_in_about_30_seconds() -> None:
    guest = idle_guest(1 << 18, order=4)
    free_apart(guest, 4, 8192)
    passes = 0
    while guest.reporting()["status"] == "requested":
        guest.advance(2 * SECOND)
        passes += 1
    assert guest.reporting()["blocks_reported"] == 8192
    assert 14 <= passes <= 17  # a 16th of the list and one call each, 2 s apart


def test_a_list_is_rotated_to_where_the_pass_goes_on() -> None:
    guest = idle_guest(order=0, max_order=4, capacity=1, ack_ns=10)
    guest.free(8, order=1)
    guest.free(4, order=2)
    guest.advance(4 * SECOND)
    guest.free(2, order=1)  # 4 .. 7 is free, so 0 .. 7 may merge soon: to the tail
    guest.free(20)
    assert guest.free_blocks(1) == [(8, 1, True), (2, 1, False)]
    guest.advance(2 * SECOND)
    # the call is full with page 20; what is to follow it was moved to the head
    assert guest.isolated_blocks() == [(20, 0, False)]
    assert guest.free_blocks(1) == [(2, 1, False), (8, 1, True)]


def test_each_list_has_a_budget_of_its_own() -> None:
    guest = idle_guest(1 << 18, order=3, parked_order=0)
    free_apart(guest, 3, 600)
    guest.free(np.arange(600) * 32 + (1 << 17), order=4)
    guest.advance(2 * SECOND)
    # ceil(600 / 512) + 1 calls for each
    assert guest.stats()["hints"] == 6
    assert sum(flag for _, _, flag in guest.free_blocks(3)) == 96
    assert sum(flag for _, _, flag in guest.free_blocks(4)) == 96


@pytest.mark.parametrize(("spare", "skipped"), [(0, 1), (1, 0)])
def test_a_zone_at_low_and_a_full_batch_is_left_alone(spare: int, skipped: int) -> None:
    # free pages must be more than low + (32 << order)
    guest = idle_guest(order=4, low=100, spare=spare)
    guest.free([0, 64, 128], order=5)
    guest.free([512, 1024], order=8)
    guest.free(2048, order=2)
    assert guest.reporting()["pages_free"] == 3 * 32 + 2 * 256 + 4 == 100 + (32 << 4)
    before = guest.reporting()["passes_skipped"]
    guest.advance(2 * SECOND)
    assert guest.reporting()["passes_skipped"] - before == skipped
    assert (guest.reporting()["blocks_reported"] == 0) == bool(skipped)


def test_isolating_a_block_leaves_the_min_watermark() -> None:
    # 128 pages free in 8 blocks: one more may go while more than min + 16 = 96 are free
    guest = idle_guest(order=4, max_order=4, capacity=4, min=80, low=0, spare=0, ack_ns=1)
    guest.free(np.arange(8) * 32, order=4)
    guest.advance(2 * SECOND)
    assert guest.reporting()["blocks_isolated"] == 2
    assert guest.reporting()["pages_free"] == 96
    guest.advance(1)
    assert guest.reporting()["status"] == "idle"
    assert guest.stats()["hint_pages"] == 2 * 16


# ---- the host ----------------------------------------------------------------------------------


def host_side(**settings: Any) -> tuple[str, int, int]:
    """Status, what the page holds after the report, and whether the block is flagged."""
    guest = guest_of(**settings)
    guest.write(0, 5)
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    return guest.reporting()["status"], int(guest.peek(0)[0]), len(reported(guest, 9))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("idle", 0, 1)),
        ({"negotiated": False}, ("idle", 0, 1)),
        ({"poison": "init_on_free"}, ("idle", 0, 1)),  # poison value 0: still discarded
        ({"poison": "page_poison"}, ("idle", 5, 1)),  # 0xaaaaaaaa: never discarded, yet acked
        ({"poison": "init_on_free", "negotiated": False}, ("off", 5, 0)),
        ({"poison": "page_poison", "negotiated": False}, ("off", 5, 0)),
        ({"inhibited": True}, ("idle", 5, 1)),  # the guest is not told
    ],
)
def test_poison_rules(settings: dict[str, Any], expected: tuple[str, int, int]) -> None:
    assert host_side(**settings) == expected


def test_a_host_that_uses_madv_free() -> None:
    """The page stays until reclaim comes; a store after the ack makes it an ordinary one."""
    host = pgste.Host(1024, 1024)
    guest = pgste.Guest(1024, host, mechanism="reporting")
    guest.set_reporting(spare=1 << 20, advice="madv_free")
    guest.write(range(512), range(1, 513))
    host.swap_out(guest, range(100))
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    stats = guest.stats()
    assert (stats["hint_frames_freed"], stats["hint_slots_freed"]) == (0, 100)
    assert host.stats()["frames_lazyfree"] == 412
    assert guest.peek(range(512)).tolist() == [0] * 100 + list(range(101, 513))
    guest.write(200, 7)
    host.reclaim(1024)
    assert guest.peek(range(512)).tolist() == [0] * 200 + [7] + [0] * 311
    assert host.stats()["lazyfree_discards"] == 411
    with pytest.raises(pgste.UnknownNameError, match="advice: 'madv_cold' is not one of"):
        guest_of(advice="madv_cold")


def test_a_discard_gives_back_frames_and_swap_slots() -> None:
    host = pgste.Host(2048, 2048)
    guest = pgste.Guest(2048, host, mechanism="reporting")
    guest.set_reporting(spare=1 << 20)
    guest.write(range(512), range(1, 513))
    host.swap_out(guest, range(100))
    guest.free(0, order=9)
    guest.advance(2 * SECOND)
    stats = guest.stats()
    assert (stats["hint_frames_freed"], stats["hint_slots_freed"]) == (412, 100)
    assert host.stats()["frames_free"] == host.stats()["frames"]
    assert host.stats()["swap_slots_free"] == 2048
    assert guest.read(range(512)).tolist() == [0] * 512


# ---- replay ------------------------------------------------------------------------------------


def event(kind: str, pfn: int, order: int) -> int:
    return pfn << 8 | order << 2 | (kind == "free")


def test_blocks_free_before_the_trace_were_reported_long_ago() -> None:
    guest = guest_of(1 << 13)
    events = [event("alloc", first, 9) for first in range(0, 4096, 512)]
    events += [event("free", 0, 9), event("alloc", 5000, 0)]
    times = [0] * 8 + [SECOND, 10 * SECOND]
    replay = pgste.Replay(guest, events, times)
    assert reported(guest, 10) == [0, 1024, 2048, 3072]
    assert guest.stats()["hints"] == 0
    replay.run()
    assert reported(guest, 9) == [0]
    assert guest.stats()["hints"] == 1
    # 4096 pages for 3 s, then 512 fewer for 7 s
    assert replay.stats()["frame_seconds"] == pytest.approx(4096 * 3 + 3584 * 7)


def test_without_times_the_worker_never_runs() -> None:
    guest = guest_of(1 << 12)
    pgste.Replay(guest, [event("alloc", 0, 9), event("free", 0, 9)]).run()
    assert guest.stats()["hints"] == 0


# ---- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"order": 11},
        {"order": -1},
        {"max_order": 40},
        {"max_order": 8},  # below the order that is reported
        {"parked_order": 11},
        {"capacity": 0},
        {"capacity": 33},
        {"parked_batch": 0},
        {"delay_ns": -1},
        {"ack_ns": 2**62 + 1},
        {"low": 2**40 + 1},
        {"poison": "zero"},
    ],
)
def test_settings_out_of_range_change_nothing(settings: dict[str, Any]) -> None:
    guest = pgste.Guest(64, mechanism="reporting")
    before = guest.reporting()
    name, value = next(iter(settings.items()))
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        guest.set_reporting(**{"spare": 7, **settings})
    assert guest.reporting() == before


# ---- zones and migratetypes ----------------------------------------------------------------


def small_guest(**settings: Any) -> pgste.Guest:
    """64 pages, pageblocks of 8, blocks of 4 and more reported at once."""
    plain = {"order": 2, "max_order": 4, "parked_order": 0, "parked_high": 9, "delay_ns": 10}
    return idle_guest(64, **{**plain, **settings})


def test_blocks_do_not_merge_across_zones() -> None:
    guest = small_guest(zones=[0, 8])
    guest.free([0, 8], order=3)
    assert guest.free_blocks(3, zone=0) == [(0, 3, False)]
    assert guest.free_blocks(3, zone=1) == [(8, 3, False)]
    assert guest.free_blocks(4) == []
    guest.free(16, order=3)
    guest.free(24, order=3)
    assert guest.free_blocks(4) == [(16, 4, False)]


def test_a_block_in_two_zones_comes_in_page_by_page() -> None:
    guest = small_guest(zones=[0, 6], parked_high=0)
    guest.free(0, order=3)
    assert guest.free_blocks(2) == [(0, 2, False)]
    assert guest.free_blocks(1) == [(4, 1, False), (6, 1, False)]


def test_each_zone_ends_with_a_call_of_its_own() -> None:
    for zones, calls in (([0], 1), ([0, 16], 2), ([0, 16, 32, 48], 3)):
        guest = small_guest(zones=zones, spare=1000)
        guest.free([0, 16, 32], order=3)  # no two of them halves of one block
        guest.advance(10)
        assert guest.stats()["hints"] == calls
        assert guest.reporting()["passes"] == 2


def test_a_zone_that_is_short_does_not_keep_others_from_reporting() -> None:
    """PAGE_REPORTING_CAPACITY << order and low are of each zone, and so is min."""
    guest = small_guest(zones=[0, 32], capacity=1, low=[0, 5], min=0, spare=[1, 1])
    guest.free([0, 32], order=3)
    guest.advance(10)
    assert reported(guest, 3) == [0]  # 9 > 0 + 4, not 9 > 5 + 4
    assert guest.reporting()["passes_skipped"] == 2 + 1  # of the first pass both
    guest = small_guest(zones=[0, 32], capacity=1, low=0, min=[0, 1], spare=[0, 0])
    guest.free([0, 32], order=3)
    guest.advance(10)
    assert reported(guest, 3) == []  # not 8 > 0 + 8
    guest = small_guest(zones=[0, 32], capacity=1, low=0, min=[0, 1], spare=[1, 1])
    guest.free([0, 32], order=3)
    guest.advance(10)
    assert reported(guest, 3) == [0]  # 9 > 0 + 8, not 9 > 1 + 8


def test_lists_of_an_order_are_reported_by_migratetype() -> None:
    """Batches go on from list to list; the lower type is first, whatever was freed first."""
    types = ["movable", "unmovable", "reclaimable", "cma", "highatomic", *["movable"] * 3]
    guest = small_guest(migratetypes=types, pageblock_order=3, ack_ns=1, spare=1000)
    for gfn in (0, 32, 24, 16, 8):
        guest.free(gfn, order=2)
    guest.advance(10)
    assert [gfn for gfn, _, _ in guest.isolated_blocks()] == [8, 0, 16, 32, 24]


def test_isolated_pageblocks_are_not_reported_nor_counted_nor_parked() -> None:
    guest = small_guest(migratetypes="isolate", pageblock_order=3, spare=1000)
    guest.free(0, order=3)
    guest.free(16)
    guest.advance(10)
    assert guest.free_blocks(3, migratetype="isolate") == [(0, 3, False)]
    assert guest.reporting()["pages_parked"] == 0
    types = ["isolate", *["movable"] * 7]
    guest = small_guest(migratetypes=types, pageblock_order=3, spare=0, capacity=1, low=3)
    guest.free([0, 8], order=3)
    guest.advance(10)
    assert guest.reporting()["passes_skipped"] == 1  # the first; then 8 > 3 + 4
    assert reported(guest, 3) == []  # not 8 > 0 + 8, though 16 pages are free


def test_the_high_atomic_reserve_does_not_count() -> None:
    for kind, skipped in (("cma", 1), ("highatomic", 2)):
        types = [kind, *["movable"] * 7]
        guest = small_guest(migratetypes=types, pageblock_order=3, spare=0, capacity=1)
        guest.free(8, order=3)
        guest.advance(10)
        assert guest.reporting()["passes_skipped"] == skipped, kind  # 8 > 4, not 8 - 8 > 4


def test_types_stay_when_zones_are_set() -> None:
    """And the reserve is counted anew, of the zone that it lies in."""
    guest = guest_of(64, order=3, max_order=3, capacity=1)
    guest.set_reporting(migratetypes=["highatomic", *["movable"] * 7], pageblock_order=3)
    guest.set_reporting(zones=[0, 32], min=0, low=0, spare=[8, 8])
    guest.free([8, 40], order=3)
    guest.advance(2 * SECOND)
    assert reported(guest, 3) == [40]  # 16 > 8, not 16 - 8 > 8


@pytest.mark.parametrize("kind", ["unmovable", "reclaimable", "highatomic", "cma"])
def test_half_a_pageblock_that_is_isolated_makes_it_movable(kind: str) -> None:
    """__isolate_free_page, for types that may merge; the block comes back on that list."""
    after = kind if kind in ("highatomic", "cma") else "movable"
    guest = small_guest(migratetypes=kind, pageblock_order=3, spare=1000)
    guest.free(0, order=2)
    guest.free(8, order=3)
    guest.advance(10)
    assert guest.migratetypes() == [after] * 2 + [kind] * 6
    assert guest.free_blocks(2, migratetype=after) == [(0, 2, True)]
    guest = small_guest(order=1, migratetypes=kind, pageblock_order=3, spare=1000)
    guest.free(0, order=1)
    guest.advance(10)
    assert guest.migratetypes() == [kind] * 8
    assert guest.free_blocks(1, migratetype=kind) == [(0, 1, True)]


@pytest.mark.parametrize(("other", "merged"), [("unmovable", True), ("cma", False)])
def test_which_pageblocks_merge(other: str, merged: bool) -> None:
    """migratetype_is_mergeable; the list is that of what was freed last."""
    guest = small_guest(migratetypes=["movable", other] * 4, pageblock_order=3)
    guest.free(0, order=3)
    guest.free(8, order=3)
    assert (guest.free_blocks(4, migratetype=other) == [(0, 4, False)]) is merged
    assert (guest.free_blocks(3) == []) is merged


def test_what_is_left_of_a_block_stays_on_lists_of_its_type() -> None:
    """expand() is told the type of the list, not of the pageblock."""
    guest = small_guest(migratetypes=["movable", "unmovable"] * 4, pageblock_order=3)
    guest.free([0, 8], order=3)
    guest.alloc(0)
    told = [guest.free_blocks(order, migratetype="unmovable") for order in range(4)]
    assert told == [[(1, 0, False)], [(2, 1, False)], [(4, 2, False)], [(8, 3, False)]]


@pytest.mark.parametrize(("last", "kind"), [("movable", "unmovable"), ("isolate", "movable")])
def test_the_type_of_a_parked_page(last: str, kind: str) -> None:
    """As when it was freed; read again if the zone has isolated pageblocks (free_pcppages_bulk)."""
    types = [*["unmovable"] * 7, last]
    guest = small_guest(migratetypes=types, pageblock_order=3, spare=1000, parked_high=2)
    guest.free(0)
    guest.free(4, order=2)
    guest.advance(10)  # makes the pageblock movable
    guest.free(2)
    assert guest.free_blocks(0, migratetype=kind) == [(0, 0, False)]


@pytest.mark.parametrize(("blocks", "calls"), [(16, 2), (32, 6)])
def test_the_budget_is_of_all_lists_of_an_order(blocks: int, calls: int) -> None:
    """area->nr_free: a sixteenth of all, and one call more, for each list of 16 blocks."""
    guest = small_guest(
        order=1,
        max_order=1,
        migratetypes=[*["movable"] * 4, *["unmovable"] * 4],
        pageblock_order=3,
        capacity=1,
        spare=1000,
    )
    guest.free(range(0, 2 * blocks, 2), order=1)
    guest.advance(10)
    assert guest.stats()["hints"] == calls
    assert guest.reporting()["status"] == "requested"


def test_a_number_for_several_zones_is_shared_by_their_size() -> None:
    guest = pgste.Guest(64, mechanism="reporting")
    guest.set_reporting(zones=[0, 16, 24], min=9, low=[1, 2, 3], spare=64)
    told = guest.reporting()
    assert (told["min"], told["low"], told["spare"]) == ([2, 1, 5], [1, 2, 3], [16, 8, 40])
    guest.set_reporting(order=3)
    assert guest.reporting() == {**told, "order": 3}
    guest.set_reporting(zones=(0,), min=3)
    assert (guest.reporting()["min"], guest.reporting()["spare"]) == (3, 0)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"zones": []}, "zones: 0 of them"),
        ({"zones": [0] * 17}, "zones: 17 of them"),
        ({"zones": [1]}, "zones: 0: 1 is not in 0 .. 0"),
        ({"zones": [0, 64]}, "zones: 1: 64 is not in 1 .. 63"),
        ({"zones": [0, 9, 9]}, "zones: 2: 9 is not in 10 .. 63"),
        ({"zones": [0, 32], "min": [1]}, "min: 1 numbers for 2 zones"),
        ({"zones": [0, 32], "low": [1, -1]}, "low: -1"),
        ({"spare": [1, 2]}, "spare: 2 numbers for 1 zones"),
        ({"migratetypes": ["movable"] * 3, "pageblock_order": 5}, "migratetypes: 3 for the 2"),
        ({"migratetypes": "fixed"}, "migratetypes: 'fixed'"),
        ({"migratetypes": ["fixed"]}, "migratetypes: 'fixed'"),
        ({"migratetypes": "movable", "pageblock_order": 1}, "pageblock_order: 1 is not in 2"),
        ({"pageblock_order": 5}, "pageblock_order: 5 comes without migratetypes"),
    ],
)
def test_zones_and_types_that_cannot_be(settings: dict[str, Any], error: str) -> None:
    guest = pgste.Guest(64, mechanism="reporting")
    before = guest.reporting(), guest.migratetypes()
    with pytest.raises((pgste.ArgumentError, pgste.UnknownNameError), match=error):
        guest.set_reporting(**settings)
    assert (guest.reporting(), guest.migratetypes()) == before
    for name in ("zones", "migratetypes", "min"):
        with pytest.raises(pgste.ArgumentTypeError, match=name):
            guest.set_reporting(**{name: cast("Any", {0: 1})})
    with pytest.raises(pgste.ArgumentError, match="zone: 1"):
        guest.free_blocks(0, zone=1)
    with pytest.raises(pgste.UnknownNameError, match="migratetype: 'fixed'"):
        guest.free_blocks(0, migratetype="fixed")


def test_settings_come_before_the_first_free() -> None:
    guest = pgste.Guest(64, mechanism="reporting")
    guest.free(0)
    with pytest.raises(pgste.StateError, match="first free"):
        guest.set_reporting(order=3)
    later = pgste.Guest(64, mechanism="reporting")
    later.advance(1)
    with pytest.raises(pgste.StateError, match="time 0"):
        later.set_reporting(order=3)


def test_other_mechanisms_do_not_report() -> None:
    guest = pgste.Guest(64, mechanism="cmma")
    for call in (
        guest.reporting,
        lambda: guest.set_reporting(order=3),
        lambda: guest.free_blocks(0),
        lambda: guest.free_blocks(0, zone=0),
        guest.migratetypes,
        lambda: guest.parked_blocks(0),
        guest.isolated_blocks,
    ):
        with pytest.raises(pgste.UnknownNameError, match="cmma"):
            call()


def test_the_clock_only_goes_forward_and_not_beyond_its_end() -> None:
    guest = pgste.Guest(64, mechanism="none")
    guest.advance(2**62)
    assert guest.now_ns == 2**62
    with pytest.raises(pgste.ArgumentError, match="ns: 1"):
        guest.advance(1)
    with pytest.raises(pgste.ArgumentError, match="ns"):
        guest.advance(-1)

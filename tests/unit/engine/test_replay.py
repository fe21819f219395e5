# SPDX-License-Identifier: MIT
"""Replay through the binding.  Expected values are worked out from docs/model.md section 9."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

import pgste

Unchanged = Callable[..., AbstractContextManager[None]]
ALLOC, FREE = 0, 1


def event(kind: int, pfn: int, order: int = 0) -> int:
    return pfn << 8 | order << 2 | kind


def test_setup_makes_the_state_before_the_trace() -> None:
    guest = pgste.Guest(8)
    events = [event(ALLOC, 2, 1), event(FREE, 5), event(FREE, 2), event(ALLOC, 5)]
    replay = pgste.Replay(guest, events)
    # Pages 2 and 3 come with an alloc first: free.  Page 5 with a free: stored to.
    assert np.flatnonzero(guest.is_free()).tolist() == [2, 3]
    assert guest.peek(slice(None)).tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert set(guest.stats().values()) == {0}
    assert replay.position == 0


def test_run_in_pieces() -> None:
    guest = pgste.Guest(8)
    events = np.array([event(ALLOC, 2, 1), event(FREE, 5), event(FREE, 2)], dtype=np.uint64)
    replay = pgste.Replay([guest], events)
    assert replay.run(2) == 2
    assert replay.position == 2
    assert guest.is_free(range(2, 6)).tolist() == [False, False, False, True]
    assert guest.peek(range(2, 6)).tolist() == [2, 3, 0, 1]  # tags go on from the setup's
    assert replay.run(10) == 1
    assert replay.run(1) == replay.run() == 0
    stats = replay.stats()
    assert (stats["events"], stats["stale_pages"], stats["implied_frees"]) == (3, 0, 0)
    assert (stats["seconds"], stats["frame_seconds"], stats["swap_seconds"]) == (0.0, 0.0, 0.0)
    assert (guest.stats()["pages_freed"], guest.stats()["pages_allocated"]) == (2, 2)


def test_lost_events_and_stale_data() -> None:
    guest = pgste.Guest(4, mechanism="none")
    events = [event(ALLOC, 0), event(ALLOC, 0, 1), event(FREE, 0), event(FREE, 0, 1)]
    replay = pgste.Replay(guest, events)
    assert replay.run() == 4
    stats = replay.stats()
    # The second alloc finds page 0 in use: freed first, and it keeps its old content.
    assert stats["implied_frees"] == 1
    assert (stats["stale_allocs"], stats["stale_pages"]) == (1, 1)
    assert stats["ignored_frees"] == 1
    assert guest.is_free().tolist() == [True, True, False, False]


def test_times_and_base() -> None:
    guest = pgste.Guest(4, mechanism="none")
    events = [event(ALLOC, 100), event(ALLOC, 101), event(FREE, 100)]
    times = [5_000_000_000, 6_000_000_000, 8_500_000_000]
    replay = pgste.Replay(guest, events, times, base_pfn=100)
    replay.run()
    stats = replay.stats()
    assert stats["seconds"] == pytest.approx(3.5)
    assert stats["frame_seconds"] == pytest.approx(1 * 1.0 + 2 * 2.5)
    assert guest.is_free().tolist() == [True, False, False, False]


def test_each_guest_gets_every_event() -> None:
    host = pgste.Host(8, 8)
    guests = [pgste.Guest(4, host), pgste.Guest(4, host, "madv_dontneed")]
    replay = pgste.Replay(tuple(guests), [event(ALLOC, 1), event(FREE, 1), event(ALLOC, 1)])
    assert replay.run() == 3
    assert replay.stats()["events"] == 6
    assert [guest.stats()["pages_allocated"] for guest in guests] == [2, 2]
    assert replay.stats()["stale_allocs"] == 1  # cmma leaves a resident page as it is
    host.validate()


@pytest.mark.parametrize("dtype", ["u8", "i8", ">u8", "u4"])
def test_events_of_other_dtypes(dtype: str) -> None:
    events = np.array([event(ALLOC, 1), event(FREE, 1)] * 2, dtype=dtype)
    guest = pgste.Guest(4)
    replay = pgste.Replay(guest, events[::2], events[::2] * 0)
    assert replay.run() == 2
    assert replay.stats()["implied_frees"] == 1


def test_no_events() -> None:
    replay = pgste.Replay(pgste.Guest(4), [])
    assert replay.run() == 0


def test_arrays_are_kept_and_not_copied() -> None:
    guest = pgste.Guest(4)
    events = np.array([event(ALLOC, 0), event(ALLOC, 1)], dtype=np.uint64)
    replay = pgste.Replay(guest, events)
    events[1] = event(ALLOC, 2)  # not to be done; it shows that the array is the same one
    assert replay.run(1) == 1
    del events
    assert replay.run() == 1
    assert guest.peek(2).tolist() == [2]


def test_out_of_frames_tells_the_event() -> None:
    guest = pgste.Guest(4, pgste.Host(2, 0))
    replay = pgste.Replay(guest, [event(ALLOC, 0), event(ALLOC, 1), event(ALLOC, 2)])
    with pytest.raises(pgste.OutOfFramesError, match=r"events\[2\]"):
        replay.run()
    assert replay.position == 2
    assert guest.peek(range(2)).tolist() == [1, 2]
    with pytest.raises(pgste.OutOfFramesError, match="setup"):
        pgste.Replay(pgste.Guest(4, pgste.Host(2, 0)), [event(FREE, 0, 2)])


def random_events(pages: int, nr: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(nr)
    events = rng.integers(0, pages, nr).astype(np.uint64) << np.uint64(8) | rng.integers(
        0, 2, nr
    ).astype(np.uint64)
    return events, np.sort(rng.integers(0, 10**6, nr)).astype(np.uint64)


@pytest.mark.parametrize("by_events", [False, True])
@pytest.mark.parametrize("reclaim", ["simple", "lru"])
def test_samples_are_what_calls_between_see(reclaim: str, by_events: bool) -> None:
    """On two hosts: one call, and a call for each step; moments twice, before and behind all."""
    events, times = random_events(300, 4000)
    marks = {"low": 0, "high": 8} if reclaim == "simple" else {"fresh_stats": False}
    hosts = [pgste.Host(100, 800, reclaim=reclaim, **marks) for _ in range(2)]
    guests = [[pgste.Guest(300, host) for _ in range(2)] for host in hosts]
    one, other = (pgste.Replay(pair, events, times) for pair in guests)
    most = len(events) if by_events else 10**6
    at = np.sort([0, 0, most + 5, *np.linspace(0, most, 40).astype(int), 777, 777])
    flush = np.arange(len(at)) % 3 == 1
    seen = one.run_samples(at, flush, events=by_events)
    expected = []
    for moment, is_flush in zip(at.tolist(), flush.tolist(), strict=True):
        if by_events:
            other.run(max(moment - other.position, 0))
        else:
            other.run_until(moment)
        if is_flush:
            hosts[1].flush_stats()
        host, guest = hosts[1].stats(), guests[1][0].stats()
        expected.append(
            (
                other.position,
                host["frames"] - host["frames_free"],
                host["swap_slots"] - host["swap_slots_free"],
                guest["pages_allocated"],
                guest["pages_freed"],
            )
        )
    assert list(seen) == ["events", "frames", "swap_slots", "pages_allocated", "pages_freed"]
    assert list(zip(*(each.tolist() for each in seen.values()), strict=True)) == expected
    assert {each.dtype for each in seen.values()} == {np.dtype(np.uint64)}
    assert one.position == len(events)
    assert one.stats() == other.stats()
    assert hosts[0].stats() == hosts[1].stats()
    for mine, theirs in zip(*guests, strict=True):
        assert mine.stats() == theirs.stats()
        assert np.array_equal(mine.states(), theirs.states())
        assert np.array_equal(mine.pte(), theirs.pte())
    if reclaim == "lru":
        assert hosts[0].stats()["swap_outs"] > 0


def test_samples_end_where_memory_does() -> None:
    host = pgste.Host(3, 0)
    replay = pgste.Replay(pgste.Guest(8, host), [event(ALLOC, i) for i in range(8)])
    seen = replay.run_samples([1, 2, 3, 5, 7], events=True)
    assert seen["events"].tolist() == seen["frames"].tolist() == [1, 2, 3]
    assert replay.position == 3
    with pytest.raises(pgste.OutOfFramesError, match=r"events\[3\]"):
        replay.run_samples([5, 7], events=True)
    assert pgste.Replay(pgste.Guest(4), []).run_samples([], events=True)["frames"].size == 0


def test_samples_of_bad_moments(unchanged: Unchanged) -> None:
    guest = pgste.Guest(4)
    replay = pgste.Replay(guest, [event(ALLOC, 1), event(FREE, 1)], [5, 9])
    untimed = pgste.Replay(pgste.Guest(4), [event(ALLOC, 1)])
    bad: list[tuple[pgste.Replay, Any, Any, type[Exception], str]] = [
        (replay, [5, 4], None, pgste.ArgumentError, "at: the moments do not ascend"),
        (replay, [-1], None, pgste.ArgumentError, r"at\[0\]: -1"),
        (replay, [1.5], None, pgste.ArgumentTypeError, r"at\[0\]: 1.5"),
        (replay, 5, None, pgste.ArgumentTypeError, "at: 5"),
        (replay, [5, 6], [True], pgste.ArgumentError, r"flush: \[True\] is not an array of 2"),
        (replay, [5], [1], pgste.ArgumentError, r"flush: \[1\] is not an array of 1"),
        (untimed, [5], None, pgste.ArgumentError, "at: times, of a replay .* without times"),
    ]
    for subject, at, flush, error, match in bad:
        with unchanged(guest), pytest.raises(error, match=match):
            subject.run_samples(at, flush)
    with pytest.raises(pgste.ArgumentTypeError, match="events: 2"):
        replay.run_samples([5], events=2)  # type: ignore[arg-type]
    assert (replay.position, untimed.position) == (0, 0)
    with pytest.raises(pgste.ArgumentError, match="never made"):
        pgste.Replay.__new__(pgste.Replay).run_samples([1])


BAD_EVENTS: list[tuple[Any, type[Exception], str]] = [
    ([event(ALLOC, 0), 2], pgste.ArgumentError, r"events\[1\]: kind 2"),
    ([3], pgste.ArgumentError, r"events\[0\]: kind 3"),
    ([event(FREE, 0, 40)], pgste.ArgumentError, r"events\[0\]: order 40 is not in 0 .. 39"),
    ([event(ALLOC, 4)], pgste.ArgumentError, r"events\[0\]: .* pfn 4 .* 4 pages from base_pfn 0"),
    ([event(ALLOC, 3, 1)], pgste.ArgumentError, r"events\[0\]: the block of 2\*\*1 pages at pfn 3"),
    ([event(ALLOC, 0, 39)], pgste.ArgumentError, r"events\[0\]: the block of 2\*\*39"),
    ([event(ALLOC, 2**56 - 1)], pgste.ArgumentError, r"events\[0\]: .* pfn 72057594037927935"),
    ([0, -1], pgste.ArgumentError, r"events\[1\]: -1"),
    ([0, 2**64], pgste.ArgumentError, r"events\[1\]: 18446744073709551616"),
    (np.array([0, -1]), pgste.ArgumentError, r"events\[1\]: -1"),
    (np.array([0.0]), pgste.ArgumentTypeError, "events: .*float64"),
    (np.zeros((2, 2), dtype="u8"), pgste.ArgumentError, r"events: .*\(2, 2\)"),
    (0, pgste.ArgumentTypeError, "events: 0"),
    (None, pgste.ArgumentTypeError, "events: None"),
]


@pytest.mark.parametrize(("events", "error", "match"), BAD_EVENTS)
def test_bad_events(events: Any, error: type[Exception], match: str, unchanged: Unchanged) -> None:
    guest = pgste.Guest(4)
    guest.write(0, 1)
    with unchanged(guest), pytest.raises(error, match=match):
        pgste.Replay(guest, events)


def test_bad_arguments(unchanged: Unchanged) -> None:
    guest, stranger = pgste.Guest(4), pgste.Guest(4)
    good = [event(ALLOC, 1)]
    bad: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        (([], good), pgste.ArgumentError, "guests: none"),
        (([guest, stranger], good), pgste.ArgumentError, r"guests\[1\]: .* another host"),
        (([guest, guest], good), pgste.ArgumentError, r"guests\[1\]: .* twice"),
        (([guest, 5], good), pgste.ArgumentTypeError, r"guests\[1\]: 5 is not a Guest"),
        ((5, good), TypeError, "guests: 5"),
        ((guest, good, [1, 2]), pgste.ArgumentError, "times: 2 times for 1 events"),
        ((guest, good, [-1]), pgste.ArgumentError, r"times\[0\]: -1"),
        ((guest, good, [1.5]), pgste.ArgumentTypeError, r"times\[0\]: 1.5"),
        ((guest, good, 5), pgste.ArgumentTypeError, "times: 5"),
        ((guest, good, None, -1), pgste.ArgumentError, "base_pfn: -1"),
        ((guest, good, None, 2), pgste.ArgumentError, r"events\[0\]: .* pfn 1 .* base_pfn 2"),
        ((guest, good, None, 1.0), pgste.ArgumentTypeError, "base_pfn: 1.0"),
    ]
    for arguments, error, match in bad:
        with unchanged(guest, stranger), pytest.raises(error, match=match):
            pgste.Replay(*arguments)
    replay = pgste.Replay(guest, good)
    with unchanged(guest):
        for n, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError)):
            with pytest.raises(error, match=f"n: {n}"):
                replay.run(n)  # type: ignore[arg-type]
        with pytest.raises(pgste.ArgumentError, match="exists already"):
            replay.__init__(guest, good)  # type: ignore[misc]
    assert replay.run() == 1


def test_events_outside_every_memory_slot_are_refused(unchanged: Unchanged) -> None:
    host = pgste.Host(64, 64)
    whole = pgste.Guest(32, host)
    holes = pgste.Guest(32, host, slots=[(0, 8), (8, 4), (16, 16)])
    events = [event(ALLOC, 100 + 6, 2), event(FREE, 100 + 16, 4), event(ALLOC, 100 + 10, 1)]
    replay = pgste.Replay([whole, holes], events, base_pfn=100)
    assert replay.run() == 3
    for bad in (event(FREE, 100 + 12), event(ALLOC, 100 + 8, 3), event(FREE, 100, 4)):
        with (
            unchanged(whole),
            unchanged(holes),
            pytest.raises(pgste.ArgumentError, match=r"events\[1\]: .* outside every memory slot"),
        ):
            pgste.Replay([whole, holes], [events[0], bad], base_pfn=100)
    assert pgste.Replay(whole, [event(FREE, 12)]).run() == 1


def test_a_slot_that_goes_ends_the_replay(unchanged: Unchanged) -> None:
    guest = pgste.Guest(32, slots=[(0, 16), (16, 16)])
    replay = pgste.Replay(guest, [event(FREE, 3), event(FREE, 20), event(FREE, 4)])
    guest.delete_slot(1)
    assert replay.run(1) == 1
    with unchanged(guest), pytest.raises(pgste.GfnError, match=r"events\[1\]"):
        replay.run()
    assert replay.position == 1
    assert guest.is_free([3, 4, 20]).tolist() == [True, False, False]


# ---- accesses ----


def access(kind: int, pfn: int) -> int:
    return pfn << 8 | kind


LOAD, STORE = 2, 3


def test_accesses_come_between_the_events_of_their_places() -> None:
    guest = pgste.Guest(4)
    events = [event(ALLOC, 1), event(ALLOC, 2), event(FREE, 1), event(FREE, 2)]
    words = [
        access(STORE, 1),
        access(STORE, 1),
        access(LOAD, 2),
        access(STORE, 1),
        access(STORE, 2),
    ]
    replay = pgste.Replay(guest, events, accesses=words, places=[0, 1, 1, 3, 4])
    assert replay.run(1) == 1  # before it page 1 is free: its first store is left out
    assert (replay.stats()["stores"], replay.stats()["ignored_accesses"]) == (0, 1)
    assert guest.peek([1]).tolist() == [1]
    replay.run(1)  # page 1 is stored to first, page 2, free, is not read
    assert guest.peek([1, 2]).tolist() == [2, 3]
    replay.run()
    stats = replay.stats()
    assert (stats["loads"], stats["stores"], stats["ignored_accesses"]) == (0, 1, 4)
    assert stats["events"] == 4


def test_a_load_brings_a_page_back_from_swap() -> None:
    host = pgste.Host(frames=2, swap_slots=8)
    guest = pgste.Guest(4, host=host, mechanism="none")
    events = [event(ALLOC, pfn) for pfn in range(4)]
    words = [access(LOAD, pfn) for pfn in range(4)]
    replay = pgste.Replay(guest, events, accesses=words, places=[4] * 4)
    replay.run()
    assert replay.stats()["loads"] == 4
    assert guest.stats()["swap_ins"] >= 2
    assert guest.peek(range(4)).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("words", "places", "text"),
    [
        ([access(ALLOC, 1)], [0], r"accesses\[0\]: 0x100 is not a load"),
        ([access(LOAD, 1), access(LOAD, 1) | 4], [0, 0], r"accesses\[1\]: 0x106 is not a load"),
        ([access(STORE, 4)], [0], r"accesses\[0\]: pfn 4 is not inside the 4 pages"),
        ([access(LOAD, 1)], [2], r"places\[0\]: 2 is more than the 1 events"),
        ([access(LOAD, 1)] * 2, [1, 0], r"places\[1\]: 0 is before 1"),
        ([access(LOAD, 1)] * 2, [1], "places: 1 places for 2 accesses"),
    ],
)
def test_wrong_accesses_change_nothing(words: list[int], places: list[int], text: str) -> None:
    guest = pgste.Guest(4)
    with pytest.raises(pgste.ArgumentError, match=text):
        pgste.Replay(guest, [event(FREE, 1)], accesses=words, places=places)
    assert guest.peek(slice(None)).tolist() == [0] * 4
    assert not guest.is_free().any()


def test_accesses_without_places() -> None:
    with pytest.raises(pgste.ArgumentError, match="one without the other"):
        pgste.Replay(pgste.Guest(4), [event(FREE, 1)], accesses=[access(LOAD, 1)])


def test_an_access_outside_every_slot() -> None:
    guest = pgste.Guest(8, slots=[(0, 4), (6, 2)])
    with pytest.raises(pgste.ArgumentError, match="outside every memory slot"):
        pgste.Replay(guest, [event(FREE, 1)], accesses=[access(LOAD, 5)], places=[0])
    pgste.Replay(guest, [event(FREE, 1)], accesses=[access(LOAD, 6)], places=[0]).run()

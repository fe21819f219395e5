# SPDX-License-Identifier: MIT
"""`pgste.compare`: bookkeeping, defaults and errors; what it computes is the replay's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste.study.plot import finding
from pgste.study.result import ROWS, OutOfMemory

ALLOC, FREE = 0, 1
MS = 1_000_000


def make_trace(events: Iterable[tuple[int, int, int]]) -> pgste.Trace:
    """A trace of (kind, pfn, order), an event each millisecond."""
    kind, pfn, order = zip(*events, strict=True)
    times = np.arange(len(kind), dtype=np.uint64) * np.uint64(MS)
    return pgste.Trace.from_arrays(
        np.array(kind, np.uint8), np.array(pfn, np.uint64), np.array(order, np.uint8), times
    )


def churn() -> pgste.Trace:
    """64 pages are filled and freed, then 64 others, three times over."""
    events = []
    for _ in range(3):
        for base in (1024, 1088):
            events += [(ALLOC, base + i, 0) for i in range(64)]
            events += [(FREE, base + i, 0) for i in range(64)]
    return make_trace(events)


def test_mechanisms_differ_as_they_must() -> None:
    result = pgste.compare(churn(), ["none", "cmma", "madv_dontneed", "madv_free"], host_frames=64)
    # A host that is told nothing writes the first 64 pages out to make room for the others...
    assert result["none"].values["swap_outs"] > 0
    assert result["none"].values["discards"] == 0
    # ... one whose guest marks them unused, or whose free pages are lazyfree, drops them...
    assert result["cmma"].values["discards"] > 0
    assert result["cmma"].values["swap_outs"] < result["none"].values["swap_outs"]
    assert result["madv_free"].values["discards"] > 0
    assert result["madv_free"].values["swap_outs"] < result["none"].values["swap_outs"]
    # ... and one that takes them back at once gives every allocation a new page.
    values = result["madv_dontneed"].values
    assert values["discards"] == values["stale_allocs"] == 0
    assert values["hint_frames_freed"] + values["zap_slots_freed"] == 6 * 64


def test_hints_are_counted_by_page_or_by_call() -> None:
    result = pgste.compare(churn(), ["cmma", "madv_dontneed"], host_frames=1000)
    assert result["cmma"].values["hints"] == 2 * 6 * 64  # an ESSA for each page freed or allocated
    assert result["madv_dontneed"].values["hints"] == 6  # a call for each run of 64
    assert result["madv_dontneed"].values["zero_fills"] == 6 * 64
    assert result["madv_dontneed"].values["frames_peak"] == 64


def report_trace() -> pgste.Trace:
    """Blocks of order 9 are filled and freed; 5 s later a page is allocated elsewhere."""
    first = [(ALLOC, 4096 + 1024 * i, 9) for i in range(4)]
    first += [(FREE, 4096 + 1024 * i, 9) for i in range(4)]
    trace = make_trace([*first, (ALLOC, 40000, 0), (FREE, 40000, 0)])
    times = np.array([*range(8), 5000, 5001], np.uint64) * np.uint64(MS)
    return pgste.Trace.from_arrays(trace.kind, trace.pfn, trace.order, times)


def test_reporting_takes_its_settings_and_says_them() -> None:
    trace = report_trace()
    by_default = pgste.compare(trace, ["reporting"], host_frames=5000)
    assert by_default.reporting is not None
    assert (by_default.reporting["order"], by_default.reporting["delay_ns"]) == (9, 2 * 10**9)
    # the guest's pages from 4096 on that are in no event; those named are 4 * 512 and 1
    assert by_default.reporting["spare"] == 40001 - 4096 - 4 * 512 - 1
    assert by_default["reporting"].values["hints"] == 1
    assert by_default["reporting"].values["hint_frames_freed"] == 4 * 512
    assert by_default["reporting"].values["zero_fills"] == 4 * 512 + 1
    too_late = pgste.compare(trace, ["reporting"], reporting={"delay_ns": 6 * 10**9})
    assert too_late["reporting"].values["hints"] == 0
    too_large = pgste.compare(trace, ["reporting"], reporting={"order": 10})
    assert too_large["reporting"].values["hints"] == 0
    # the order-9 blocks lie between pages that no event names: free, these make order 10
    merged = pgste.compare(trace, ["reporting"], reporting={"order": 10}, unseen_free=True)
    assert merged["reporting"].values["hint_pages"] == 4 * 1024
    assert pgste.compare(trace, ["none"]).reporting is None
    with pytest.raises(pgste.ArgumentError, match="order: 11"):
        pgste.compare(trace, reporting={"order": 11})


def test_means_are_over_time() -> None:
    trace = make_trace([(ALLOC, 0, 0), (ALLOC, 1, 0), (FREE, 0, 0), (ALLOC, 8, 0)])
    times = np.array([0, 1, 2, 4], np.uint64) * np.uint64(MS)
    trace = pgste.Trace.from_arrays(trace.kind, trace.pfn, trace.order, times)
    values = pgste.compare(trace, ["madv_dontneed"], host_frames=10)["madv_dontneed"].values
    # 1 page for 1 ms, 2 for 1 ms; the free waits for its madvise call, which the next event
    # issues, so 2 for 2 ms; the last event has no time after it
    assert values["frames_mean"] == pytest.approx((1 + 2 + 2 * 2) / 4)
    assert values["frames_peak"] == 2


def test_samples_end_with_the_last_event() -> None:
    series = pgste.compare(churn(), ["none"], samples=10)["none"]
    assert len(series.seconds) == len(series.frames_used) == len(series.swap_used) <= 12
    assert series.seconds[0] == 0
    assert series.seconds[-1] == pytest.approx(0.767)
    assert bool(np.all(np.diff(series.seconds) >= 0))


def test_pages_in_use_are_those_of_the_trace() -> None:
    # page 3 is live at the start (its first event is a free); page 8 is allocated twice with no
    # free seen between, so it counts once; the second free of page 3 changes nothing
    trace = make_trace(
        [(ALLOC, 8, 0), (FREE, 3, 0), (ALLOC, 8, 0), (FREE, 3, 0), (ALLOC, 4, 1), (FREE, 8, 0)]
    )
    assert trace.summary()["peak_in_use"] == 3
    for guests in (1, 3):
        result = pgste.compare(trace, host_frames=100, guests=guests, samples=10)
        for one in result.results:
            # before the first event, then every half millisecond, and an event every whole one
            in_use = (1, 2, 1, 1, 1, 1, 1, 1, 3, 3, 2)
            assert one.pages_in_use.tolist() == [guests * n for n in in_use]


def test_a_sample_in_a_pause_shows_what_has_happened_by_then() -> None:
    # 8 pages are freed after a second; then nothing for 9 s, and the report comes after 2 of them
    second = 10**9
    trace = pgste.Trace.from_arrays([0, 1, 0], [0, 0, 8], [3, 3, 0], [0, second, 10 * second])
    settings = {"order": 3, "min": 0, "low": 0, "spare": 1000, "parked_order": 0}
    one = pgste.compare(trace, ["reporting"], 20, reporting=settings, samples=20)["reporting"]
    assert one.seconds.tolist() == pytest.approx([k / 2 for k in range(21)])
    # 8 in use to 1 s; free and kept to 3 s; then given back, before the last event takes a page
    assert one.frames_used.tolist() == [0] + 5 * [8] + 14 * [0] + [1]
    assert one.pages_in_use.tolist() == [0, 8] + 18 * [0] + [1]


def test_zones_of_reporting_have_what_no_event_names_of_their_own() -> None:
    # pages 0 to 7 and 96 to 99 are named; the first zone has 56 of the others, the second 32
    trace = pgste.Trace.from_arrays([0, 0], [0, 96], [3, 2], [0, 10**9])
    settings = {"zones": [0, 64], "order": 3, "min": 0, "low": [1, 2], "parked_order": 0}
    told = pgste.compare(trace, ["reporting"], 20, reporting=settings).reporting
    assert told is not None
    assert (told["zones"], told["spare"], told["low"]) == ([0, 64], [56, 32], [1, 2])
    told = pgste.compare(trace, ["reporting"], 20, reporting={**settings, "spare": 50}).reporting
    assert told is not None
    assert told["spare"] == [32, 18]
    free = pgste.compare(trace, ["reporting"], 20, reporting=settings, unseen_free=True)
    assert free.reporting is not None
    assert free.reporting["spare"] == [0, 0]


def test_pages_in_use_are_held_somewhere() -> None:
    for one in pgste.compare(pgste.sample_trace()).results:
        held = one.frames_used + one.swap_used
        assert bool(np.all(held >= one.pages_in_use))
        assert int(one.pages_in_use.max()) <= 61138  # peak_in_use of the sample


def test_defaults_are_said() -> None:
    trace = churn()
    result = pgste.compare(trace, ["none"], guests=2)
    assert trace.summary()["peak_in_use"] == 64
    assert result.host_frames == 96
    assert "75 %" in result.host_frames_reason
    assert "128" in result.host_frames_reason
    assert result["none"].replay_stats["events"] == 2 * len(trace)


def test_guests_do_the_same_each() -> None:
    one = pgste.compare(churn(), ["cmma"], host_frames=1000)["cmma"].values
    three = pgste.compare(churn(), ["cmma"], host_frames=3000, guests=3)["cmma"].values
    for key in ("zero_fills", "hints", "stale_allocs", "frames_peak"):
        assert three[key] == 3 * one[key] > 0


def test_result_is_json_and_complete() -> None:
    result = pgste.compare(churn(), ["none", "cmma"], host_frames=64)
    data = json.loads(json.dumps(result.to_dict()))
    assert list(data["mechanisms"]) == ["none", "cmma"]
    for column in data["mechanisms"].values():
        assert {row.key for row in ROWS} <= set(column)
        assert len(column["samples"]["seconds"]) == len(column["samples"]["frames_used"])
    assert "samples" not in result.to_dict(samples=False)["mechanisms"]["none"]
    with pytest.raises(KeyError, match="madv_free"):
        result["madv_free"]


def test_progress_counts_up_for_each_mechanism() -> None:
    seen: dict[str, list[int]] = {}
    trace = churn()

    def progress(mechanism: str, done: int, total: int) -> None:
        assert total == len(trace)
        seen.setdefault(mechanism, []).append(done)

    pgste.compare(trace, ["none", "cmma"], progress=progress, samples=7)
    assert list(seen) == ["none", "cmma"]
    for steps in seen.values():
        assert steps == sorted(steps)
        assert steps[-1] == len(trace)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"mechanisms": ["balloon"]}, ValueError, "balloon"),
        ({"mechanisms": []}, ValueError, "mechanisms"),
        ({"mechanisms": ["none", "none"]}, ValueError, "none twice"),
        ({"mechanisms": "none"}, TypeError, "string 'none'"),
        ({"guests": 0}, ValueError, "guests: 0"),
        ({"guests": 1.5}, TypeError, "guests"),
        ({"host_frames": 0}, ValueError, "host_frames: 0"),
        ({"host_frames": True}, TypeError, "host_frames"),
        ({"samples": 0}, ValueError, "samples: 0"),
        ({"generation": "v7"}, ValueError, "v7"),
        ({"swap_slots": -1}, ValueError, "swap_slots"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        pgste.compare(churn(), **arguments)
    assert isinstance(caught.value, pgste.PgsteError)


def test_no_events() -> None:
    with pytest.raises(pgste.ArgumentError, match="no events"):
        pgste.compare(churn()[:0])


def test_out_of_memory_is_a_result_and_the_others_go_on() -> None:
    """64 pages fill 64 frames; the 65th page is that of event 128, as 64 frees are between."""
    result = pgste.compare(churn(), ["none", "cmma", "madv_free"], host_frames=64, swap_slots=0)
    for name in ("none", "cmma"):  # Linux looks at no anonymous page without a free slot
        assert result[name].out_of_memory == OutOfMemory(128, 0.128)
        assert str(result[name].out_of_memory) == "out of memory at event 128 (0.13 s)"
        assert result[name].seconds[-1] == pytest.approx(0.128)
        assert result[name].frames_used[-1] == 64
        assert result[name].replay_stats["events"] == 128
    assert result["madv_free"].out_of_memory is None
    assert result["madv_free"].replay_stats["events"] == 768
    alone = pgste.compare(churn(), ["madv_free"], host_frames=64, swap_slots=0)
    assert_same(alone["madv_free"].values, result["madv_free"].values)
    data = json.loads(json.dumps(result.to_dict()))["mechanisms"]
    assert data["none"]["out_of_memory"] == {"event": 128, "seconds": 0.128}
    assert data["madv_free"]["out_of_memory"] is None


def assert_same(one: dict[str, float], other: dict[str, float]) -> None:
    """All but the rate, which is that of the machine."""
    assert {**one, "events_per_second": 0} == {**other, "events_per_second": 0}


def test_what_is_live_at_the_start_does_not_fit() -> None:
    trace = make_trace([(FREE, 1024 + i, 0) for i in range(64)])
    result = pgste.compare(trace, ["none", "madv_dontneed"], host_frames=10, swap_slots=10)
    for one in result.results:
        assert one.out_of_memory == OutOfMemory(None, 0.0)
        assert str(one.out_of_memory) == "out of memory before the first event"
        assert one.values["swap_outs"] == one.replay_stats["events"] == 0
        assert one.host_stats["swap_outs"] == one.host_stats["zero_fills"] == 0
    assert not pgste.compare(trace, ["none"], host_frames=64, swap_slots=0)["none"].out_of_memory


def test_what_is_free_at_the_start_is_not_in_use_when_memory_ends_there() -> None:
    """Pages that are set up as free were counted as fewer in use than none."""
    rows = [(FREE, 1024 + i, 0) for i in range(64)] + [(ALLOC, 1200 + i, 0) for i in range(90)]
    result = pgste.compare(make_trace(rows), ["none", "cmma"], host_frames=10, swap_slots=0)
    for one in result.results:
        assert one.out_of_memory == OutOfMemory(None, 0.0)
        assert one.pages_in_use.tolist() == [64]
        assert one.guest_stats["pages_freed"] == 0


def test_progress_ends_where_memory_does() -> None:
    seen: dict[str, list[int]] = {}

    def progress(mechanism: str, done: int, total: int) -> None:
        seen.setdefault(mechanism, []).append(done)

    pgste.compare(churn(), ["none", "madv_free"], 64, swap_slots=0, progress=progress, samples=9)
    assert seen["none"][-1] == seen["madv_free"][-1] == 768
    assert seen["none"] == sorted(seen["none"])


def test_out_of_memory_with_several_guests() -> None:
    """The second guest's first page of the second half is the one too many."""
    result = pgste.compare(churn(), ["none"], host_frames=129, guests=2, swap_slots=0)
    assert result["none"].out_of_memory == OutOfMemory(128, 0.128)
    assert result["none"].frames_used[-1] == 129


@pytest.mark.filterwarnings("error")
def test_plot_of_what_ran_out_of_memory(tmp_path: Path) -> None:
    some = pgste.compare(churn(), ["none", "cmma", "madv_free"], host_frames=64, swap_slots=0)
    some.plot(tmp_path / "some.svg")
    assert finding(some).startswith("Out of memory with none and cmma.  Else: madv_free writes 0")
    every = pgste.compare(churn(), ["none"], host_frames=64, swap_slots=0)
    every.plot(tmp_path / "every.svg")
    assert finding(every) == "Every mechanism runs out of memory"
    start = make_trace([(FREE, 1024 + i, 0) for i in range(64)])
    pgste.compare(start, ["none"], host_frames=10, swap_slots=0).plot(tmp_path / "start.svg")


def test_plot_is_a_picture(tmp_path: Path) -> None:
    result = pgste.compare(churn(), ["none", "cmma"], host_frames=64)
    result.plot(tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    result.plot(tmp_path / "c.svg")
    assert b"<svg" in (tmp_path / "c.svg").read_bytes()[:2000]
    with pytest.raises(pgste.ArgumentError, match=r"c\.txt"):
        result.plot(tmp_path / "c.txt")


def test_the_title_of_the_plot_is_the_finding(tmp_path: Path) -> None:
    def title(**arguments: Any) -> str:
        result = pgste.compare(churn(), **arguments)
        result.plot(tmp_path / "t.svg")  # every shape of a comparison can be drawn
        return finding(result)

    swapping = title(mechanisms=["none", "cmma"], host_frames=64)
    assert swapping.startswith("Swap writes fall from ")
    assert "(none)" in swapping
    assert "(cmma)" in swapping
    roomy = title(mechanisms=["none", "madv_dontneed"], host_frames=1000)
    assert roomy.startswith("Nothing is written to swap; ")
    assert roomy.endswith("(madv_dontneed)")
    assert title(mechanisms=["none"], host_frames=64).startswith("none writes ")


def test_what_is_swapped_although_unused() -> None:
    """Generation "dat": a lock that is held, or a guest PTE that is gone, costs a write."""
    trace = churn()
    one = pgste.compare(trace, ["cmma"], host_frames=64)["cmma"].values
    assert "unused_swap_outs" not in one
    two = pgste.compare(trace, ["cmma", "none"], host_frames=64, generation="dat")
    assert two.two_tables == {"revision": "7.2", "contention": 0.0, "notifiers": 0.0}
    values = two["cmma"].values
    assert values["unused_swap_outs"] == values["lock_failures"] == 0
    assert values["discards"] == one["discards"] > 0
    held = pgste.compare(trace, ["cmma"], host_frames=64, generation="dat", contention=1)
    values = held["cmma"].values
    assert values["unused_swap_outs"] > 0
    assert values["discards"] == 0
    gone = pgste.compare(
        trace, ["cmma"], host_frames=64, generation="dat", revision="7.0", notifiers=0.5
    )
    assert gone["cmma"].values["unused_swap_outs"] > 0
    assert gone["cmma"].values["lock_failures"] == 0
    assert gone.to_dict()["two_tables"]["notifiers"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"contention": 0.5}, "contention: 0.5 is for generation 'dat'"),
        ({"notifiers": 1}, "notifiers: 1 is for generation 'dat'"),
        ({"revision": "7.0"}, "revision: '7.0' is for generation 'dat'"),
        ({"generation": "dat", "contention": 2}, "contention: 2 is not in 0 .. 1"),
        ({"generation": "dat", "notifiers": "all"}, "notifiers: 'all' is not a number"),
        ({"generation": "dat", "revision": "6.1"}, "revision: '6.1'"),
    ],
)
def test_two_tables_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(pgste.PgsteError, match=text):
        pgste.compare(churn(), **arguments)

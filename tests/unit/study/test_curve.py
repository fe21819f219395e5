# SPDX-License-Identifier: MIT
"""`pgste.curve` and `pgste.smallest_hosts`: what they make of passes and replays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste.study.compare import Comparison, compare
from pgste.study.correction import levels_of
from pgste.study.curve import curve
from pgste.study.lru_order import SAMPLES, sample_events
from pgste.study.setting import setting_of
from pgste.study.sizes import kernel_watermarks


def compare_simple(*args: Any, **kwargs: Any) -> Comparison:
    """By the reclaim that curves and sizes have."""
    return compare(*args, reclaim="simple", **kwargs)


ALLOC, FREE = 0, 1
MS = 1_000_000


def make_trace(events: list[tuple[int, int, int]]) -> pgste.Trace:
    """A trace of (kind, pfn, order), an event each millisecond."""
    kind, pfn, order = zip(*events, strict=True)
    times = np.arange(len(kind), dtype=np.uint64) * np.uint64(MS)
    return pgste.Trace.from_arrays(
        np.array(kind, np.uint8), np.array(pfn, np.uint64), np.array(order, np.uint8), times
    )


def two_halves(pages: int = 64) -> pgste.Trace:
    """Pages are filled and freed, then as many others; pages in use are never twice as many."""
    events = []
    for base in (1024, 1024 + pages):
        events += [(ALLOC, base + i, 0) for i in range(pages)]
        events += [(FREE, base + i, 0) for i in range(pages)]
    return make_trace(events)


def test_what_the_engine_counts_is_near() -> None:
    """The sample, at sizes that nothing was corrected by: 2 % of each curve's top on average."""
    trace = pgste.sample_trace()
    found = pgste.curve(trace, sizes=60)
    setting = setting_of(trace, ["none"], 1, None, 1)
    for line in found.lines:
        assert line.error is not None
        assert max(line.error.mean.values()) < 0.02
        off = []
        for i in (5, 17, 28, 41, 53):
            frames = int(found.sizes[i])
            assert frames not in line.replayed
            counted = setting.counted(line.mechanism, frames)
            traffic = counted["swap_outs"] + counted["swap_ins"]
            off.append(abs(line.swap_traffic[i] - traffic) / line.swap_traffic.max())
            for name in ("frames_mean", "swap_mean"):
                assert abs(line.values[name][i] - counted[name]) < 0.03 * line.values[name].max()
        assert np.mean(off) < 0.02
        assert line.replayed == ()  # it was near enough at once
        assert line.swap_traffic[-1] == 0  # there is room for all
        assert int(found.sizes[0]) in line.small
        assert int(found.sizes[-1]) not in line.small
        assert 0.02 < found.small_share < 0.05


@pytest.mark.parametrize(("sizes", "replayed"), [(30, 4), (5, 5)])
def test_replayed_sizes_are_as_the_engine_counts(sizes: int, replayed: int) -> None:
    """Nothing is near enough for tolerance 0, so replays of whole hosts correct as well."""
    trace = pgste.sample_trace()
    found = pgste.curve(trace, ["cmma", "madv_free"], sizes, tolerance=0)
    setting = setting_of(trace, ["none"], 1, None, 1)
    for line in found.lines:
        assert len(line.replayed) == replayed
        assert (line.error is None) == (sizes == replayed)
        assert bool(line.small) == (sizes > replayed)
        for frames in line.replayed[:2]:
            at = found.sizes.tolist().index(frames)
            for name, value in setting.counted(line.mechanism, frames).items():
                assert line.values[name][at] == pytest.approx(value)


def test_few_pages_have_no_small_hosts() -> None:
    rng = np.random.default_rng(1)
    events = [(int(rng.integers(2)), int(pfn), 0) for pfn in rng.integers(1024, 4096, 20_000)]
    found = pgste.curve(make_trace(events), ["none", "cmma"])
    assert found.small_share == 0
    for line in found.lines:
        assert line.small == ()
        assert set(line.replayed) >= {int(found.sizes[0]), int(found.sizes[-1])}
        assert line.error is not None
        assert max(line.error.mean.values()) < 0.02


def test_what_is_known_of_its_error_is_told() -> None:
    trace = pgste.sample_trace()
    told = {
        "Replays at 4 other sizes were": pgste.curve(trace, ["none"]),
        "Every size was replayed": pgste.curve(trace, ["none"], 2),
        "not checked": pgste.curve(trace, ["none"], share=0.05),
        "Exact LRU order": pgste.curve(trace, ["none"], replays=0),
    }
    for text, found in told.items():
        assert text in found.error_text()


def test_without_replays_it_is_exact_lru_order() -> None:
    found = pgste.curve(two_halves(), ["none", "madv_dontneed"], [1, 64, 65, 128, 200], replays=0)
    assert found.sizes.tolist() == [1, 64, 65, 128, 200]
    for line in found.lines:
        assert line.error is None
        assert line.replayed == ()
    # The host's watermarks keep a few frames free, unless there is room for all; nobody reads a
    # page again.
    expected = [max(128 - n + sum(kernel_watermarks(n)) // 2, 0) for n in (1, 64, 65)] + [0, 0]
    assert found["none"].values["swap_outs"].tolist() == expected
    assert found["none"].values["swap_ins"].sum() == 0
    assert found["madv_dontneed"].values["swap_outs"][-3:].tolist()[1:] == [0, 0]


def test_what_is_reported_is_given_back() -> None:
    """Blocks of order 9 are freed; reported 2 s later, they make room for as many others."""
    events = [(ALLOC, 4096 + 512 * i, 9) for i in range(4)]
    events += [(FREE, 4096 + 512 * i, 9) for i in range(4)]
    later = [(ALLOC, 8192 + 512 * i, 9) for i in range(4)]
    trace = make_trace([*events, (ALLOC, 40000, 0), *later])
    times = np.array([*range(8), 5000, *range(6000, 6004)], np.uint64) * np.uint64(MS)
    trace = pgste.Trace.from_arrays(trace.kind, trace.pfn, trace.order, times)
    sizes = [2200, 5000]
    with_none = pgste.curve(trace, ["none"], sizes, replays=0)["none"]
    reported = pgste.curve(trace, ["reporting"], sizes, replays=0)["reporting"]
    assert with_none.values["swap_outs"][0] > 1800
    assert reported.values["swap_outs"].tolist() == [0, 0]
    late = pgste.curve(trace, ["reporting"], sizes, replays=0, reporting={"delay_ns": 10**11})
    assert late["reporting"].values["swap_outs"][0] == with_none.values["swap_outs"][0]


def test_shares_of_the_pages_are_near_all_of_them() -> None:
    trace = pgste.sample_trace()
    exact = pgste.curve(trace, ["cmma"], replays=0)["cmma"]
    shared = pgste.curve(trace, ["cmma"], share=0.1)["cmma"]
    assert shared.error is None
    assert shared.replayed == ()
    off = np.abs(shared.swap_traffic - exact.swap_traffic) / exact.swap_traffic.max()
    assert 0 < off.mean() < 0.02


def test_guests_need_as_much_each() -> None:
    one = pgste.curve(two_halves(), ["madv_free"], [40, 80], replays=0)["madv_free"]
    three = pgste.curve(two_halves(), ["madv_free"], [120, 240], 3, replays=0)["madv_free"]
    assert three.values["zero_fills"][1] == 3 * one.values["zero_fills"][1] > 0


@pytest.mark.parametrize("replays", [6, 9, 18, 40])
def test_levels_are_of_different_sizes_and_no_more_than_asked_for(replays: int) -> None:
    levels = levels_of(100, 80, replays)
    every = [i for level in levels for i in level]
    assert len(every) == len(set(every)) <= replays
    assert levels[0] == [0, 49, 80, 99]
    assert levels_of(100, 80, 5) == []
    assert levels_of(1, 0, 18) == [[0]]
    assert levels_of(3, 2, 18) == [[0, 1, 2]]
    assert levels_of(100, 80, 18, has_small=True) == [
        [12, 37, 61, 86],
        [6, 18, 30, 43, 55, 68, 80, 92],
    ]


def test_samples_are_even_over_time() -> None:
    trace = two_halves()
    samples = sample_events(trace)
    assert len(samples) == SAMPLES
    assert np.abs(samples / len(trace) - (np.arange(SAMPLES) + 0.5) / SAMPLES).max() < 0.02


def test_result_is_json_and_a_picture(tmp_path: Path) -> None:
    found = pgste.curve(two_halves(), sizes=12)
    data = json.loads(json.dumps(found.to_dict()))
    assert list(data["mechanisms"]) == list(pgste.mechanisms())
    assert len(data["mechanisms"]["none"]["swap_outs"]) == len(data["sizes"]) == 12
    found.plot(tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert found.finding().startswith("Host memory for ")
    roomy = pgste.curve(two_halves(), ["none"], [1000])
    roomy.plot(tmp_path / "r.svg")
    assert roomy.finding() == "Nothing is written to swap"
    with pytest.raises(KeyError, match="cmma"):
        roomy["cmma"]


def test_progress_and_threads_change_nothing_else() -> None:
    seen: dict[str, list[int]] = {}

    def progress(mechanism: str, done: int, total: int) -> None:
        seen.setdefault(mechanism, []).append(done)
        assert done <= total

    trace = two_halves()
    one = pgste.curve(trace, progress=progress)
    assert set(seen) == set(pgste.mechanisms())
    for steps in seen.values():
        assert steps == sorted(steps)
    assert one.to_dict() == pgste.curve(trace, threads=3).to_dict()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"mechanisms": ["balloon"]}, ValueError, "balloon"),
        ({"mechanisms": []}, ValueError, "mechanisms"),
        ({"sizes": 0}, ValueError, "sizes: 0"),
        ({"sizes": []}, ValueError, "sizes: 0 of them"),
        ({"sizes": [5, 0]}, ValueError, r"sizes\[1\]: 0"),
        ({"sizes": "12"}, TypeError, "sizes"),
        ({"guests": 0}, ValueError, "guests: 0"),
        ({"share": 0}, ValueError, "share: 0"),
        ({"share": 1.5}, ValueError, "share: 1.5"),
        ({"share": True}, TypeError, "share"),
        ({"share": float("nan")}, ValueError, "share: nan"),
        ({"tolerance": -1}, ValueError, "tolerance: -1"),
        ({"replays": -1}, ValueError, "replays: -1"),
        ({"threads": 0}, ValueError, "threads: 0"),
        ({"reporting": {"order": 11}}, ValueError, "order: 11"),
        ({"reporting": {"shape": 1}}, ValueError, "shape"),
        ({"reporting": 7}, TypeError, "reporting"),
        ({"progress": 7}, TypeError, "progress"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        curve(two_halves(), **arguments)


# ---- the smallest host --------------------------------------------------------------------


def test_without_swap_it_is_what_is_kept_at_once() -> None:
    found = pgste.smallest_hosts(two_halves(), no_swap=True)
    for name in ("none", "cmma", "reporting"):  # all that is ever touched
        assert found[name].frames == 128
    for name in ("madv_dontneed", "madv_free"):  # what is in use at once
        assert found[name].frames == 64
    for one in found.results:
        assert one.swap_rate is None
        enough = compare_simple(two_halves(), [one.mechanism], one.frames, swap_slots=0)
        below = compare_simple(two_halves(), [one.mechanism], one.frames - 1, swap_slots=0)
        assert enough[one.mechanism].out_of_memory is None
        assert below[one.mechanism].out_of_memory is not None


@pytest.mark.parametrize("rate", [0, 2e7])
def test_a_rate_is_kept_and_missed_one_frame_below(rate: float) -> None:
    trace = pgste.sample_trace()
    found = pgste.smallest_hosts(trace, ["cmma", "madv_dontneed"], max_swap_rate=rate)
    for one in found.results:
        for frames, told in ((one.frames, one.swap_rate), (one.frames - 1, one.swap_rate_below)):
            values = compare_simple(trace, [one.mechanism], frames)[one.mechanism].values
            bytes_moved = 4096 * (values["swap_outs"] + values["swap_ins"])
            assert told == pytest.approx(bytes_moved / trace.summary()["seconds"])
        assert one.swap_rate is not None
        assert one.swap_rate_below is not None
        assert one.swap_rate <= rate < one.swap_rate_below
    assert json.loads(json.dumps(found.to_dict()))["max_swap_rate"] == rate


def test_any_host_is_enough() -> None:
    found = pgste.smallest_hosts(two_halves(), ["none"], max_swap_rate=1e12)["none"]
    assert (found.frames, found.swap_rate_below) == (1, None)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "give one"),
        ({"no_swap": True, "max_swap_rate": 1}, ValueError, "give one"),
        ({"max_swap_rate": -1}, ValueError, "max_swap_rate: -1"),
        ({"max_swap_rate": "1"}, TypeError, "max_swap_rate"),
        ({"no_swap": 1}, TypeError, "no_swap"),
        ({"no_swap": True, "guests": 0}, ValueError, "guests: 0"),
    ],
)
def test_bad_goals_are_named(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        pgste.smallest_hosts(two_halves(), **arguments)


def test_a_trace_that_takes_no_time_has_no_rate() -> None:
    trace = pgste.Trace.from_arrays(
        np.zeros(2, np.uint8), np.arange(2, dtype=np.uint64), np.zeros(2, np.uint8),
        np.zeros(2, np.uint64),
    )  # fmt: skip
    with pytest.raises(pgste.ArgumentError, match="no time"):
        pgste.smallest_hosts(trace, max_swap_rate=1)
    assert pgste.smallest_hosts(trace, ["none"], no_swap=True)["none"].frames == 2

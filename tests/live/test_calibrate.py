"""Calibration measures what it says, and estimates add up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import pgste
from live.machine import machine_alone
from pgste.errors import ArgumentError
from pgste.live.calibrate import LENGTHS, Cost, Estimate, Profile, calibrate, estimate

pytestmark = pytest.mark.alone  # it measures the kernel


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    with machine_alone():
        return calibrate(2.0, swap_directory=str(tmp_path_factory.mktemp("swap")))


def test_costs_are_times_in_order(profile: Profile) -> None:
    for name, cost in profile.costs.items():
        assert 0 <= cost.q1 <= cost.median <= cost.q3, name
        assert cost.rounds >= 1
    median = {name: cost.median for name, cost in profile.costs.items()}
    for name in ("dontneed", "free"):
        assert median[f"{name}_{LENGTHS[-1]}"] > 10 * median[f"{name}_1"]
        assert median[f"{name}_page"] > 0
    # What nobody doubts: a page fault costs more than a store, and zeroing is part of it.
    assert median["touch_dontneed"] > 5 * median["touch_present"]
    assert median["touch_free_kept"] < median["touch_dontneed"]
    assert median["touch_free_discarded"] > 5 * median["touch_present"]


def test_swap_is_measured_or_skipped_with_the_reason(profile: Profile) -> None:
    if "swap" in profile.skipped:
        assert len(profile.skipped["swap"]) > 10
        pytest.skip(f"swap was not measured: {profile.skipped['swap']}")
    assert profile.costs["swap_in_cached"].median < profile.costs["swap_in_random"].median


def test_machine_is_named(profile: Profile) -> None:
    assert profile.machine["kernel"] == os.uname().release
    assert profile.machine["cpus"] == os.cpu_count()
    assert profile.date.startswith("20")


def test_profile_comes_back(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    profile.save(path)
    assert Profile.load(path) == profile


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "pgste-costs", "version": 2}',
        '{"format": "pgste-costs", "version": 1, "costs": {"a": {"median": 1}}}',
        '{"format": "pgste-costs", "version": 1, "costs": {"a": {"median": -1, "q1": 1, "q3": 1, '
        '"rounds": 1, "unit": "", "meaning": ""}}, "machine": {}, "date": "", "seconds": 1, '
        '"skipped": {}}',
    ],
)
def test_what_is_no_profile(text: str, tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=r"costs\.json"):
        Profile.load(path)


def made_up(**costs: float) -> Profile:
    known = {name: Cost(ns, ns, ns, 1, "ns a page", name) for name, ns in costs.items()}
    return Profile({}, "", 0.0, known, {})


COUNTERS = {
    "hints": 10,
    "hint_pages": 100,
    "zero_fills": 50,
    "pages_allocated": 90,
    "swap_ins": 7,
    "swap_outs": 3,
}


def test_estimate_by_hand() -> None:
    costs = made_up(
        free_call=1000, free_page=10, dontneed_call=2000, dontneed_page=20, touch_dontneed=100,
        touch_free_kept=5, swap_out=300, swap_in_random=5000,
    )  # fmt: skip
    lazy = estimate(costs, "madv_free", COUNTERS)
    assert lazy.hints == pytest.approx(11_000e-9)
    assert lazy.faults == pytest.approx((50 * 100 + (90 - 50 - 7) * 5) * 1e-9)
    assert lazy.swap == pytest.approx((3 * 300 + 7 * 5000) * 1e-9)
    assert lazy.total == pytest.approx(
        sum(part for part in (lazy.hints, lazy.faults, lazy.swap) if part is not None)
    )
    eager = estimate(costs, "madv_dontneed", COUNTERS)
    assert eager.hints == pytest.approx(22_000e-9)
    assert eager.faults == pytest.approx(5_000e-9)


def test_a_page_that_was_read_ahead_is_no_random_read() -> None:
    costs = made_up(swap_out=0, swap_in_random=5000, swap_in_cached=100, touch_dontneed=0)
    some = estimate(costs, "none", {**COUNTERS, "hints": 0, "readahead_hits": 4})
    assert some.swap == pytest.approx((3 * 5000 + 4 * 100) * 1e-9)
    all_of_them = estimate(costs, "none", {**COUNTERS, "hints": 0, "readahead_hits": 9})
    assert all_of_them.swap == pytest.approx(7 * 100e-9), "no more than there were swap-ins"


def test_what_is_not_known_is_not_invented() -> None:
    costs = made_up(touch_dontneed=100)
    assert estimate(costs, "cmma", COUNTERS) == Estimate(None, 50 * 100.0 * 1e-9, None)
    assert estimate(costs, "cmma", COUNTERS).total is None
    quiet = {**COUNTERS, "hints": 0, "hint_pages": 0, "swap_ins": 0, "swap_outs": 0}
    assert estimate(costs, "none", quiet).total == pytest.approx(5e-6)


def test_estimates_of_a_real_comparison(profile: Profile) -> None:
    result = pgste.compare(pgste.sample_trace()[:20000], ["none", "madv_free", "madv_dontneed"])
    lazy, eager = (
        estimate(profile, name, result[name].guest_stats) for name in ("madv_free", "madv_dontneed")
    )
    assert lazy.faults is not None
    assert eager.faults is not None
    assert lazy.faults < eager.faults, "the point of MADV_FREE"
    assert json.dumps(vars(lazy))


def test_bad_seconds() -> None:
    with pytest.raises(ArgumentError, match="seconds"):
        calibrate(0)

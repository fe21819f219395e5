# SPDX-License-Identifier: MIT
"""Costs that a user gives, and who is ahead up to which cost."""

from __future__ import annotations

import json
import math
import random

import pytest

import pgste
from pgste.cli import main
from pgste.study.breakeven import break_evens, missing_costs, parse_cost, with_costs
from pgste.study.costs import OPERATIONS, estimate, operations

COUNTERS = (
    "hints", "hint_pages", "intercepts", "zero_fills", "swap_ins", "swap_outs", "pages_allocated",
)  # fmt: skip


def random_stats(rng: random.Random) -> dict[str, dict[str, float]]:
    def one() -> dict[str, float]:
        stats = {name: float(rng.choice([0, rng.randrange(1, 1000)])) for name in COUNTERS}
        return {**stats, "pages_allocated": 3000.0}

    return {name: one() for name in pgste.mechanisms()}


def test_times_are_counts_times_costs() -> None:
    """Each operation has a cost of its own, a power of ten: digits say how often it counts."""
    stats = dict(zip(COUNTERS, (3, 4, 5, 6, 2, 7, 17), strict=True))
    costs = with_costs(None, {name: 10.0**i for i, name in enumerate(OPERATIONS)})
    position = {name: 10.0**i for i, name in enumerate(OPERATIONS)}

    def spent(**counts: int) -> float:
        return sum(nr * position[name] for name, nr in counts.items()) * 1e-9

    common = {"touch_dontneed": 6, "swap_out": 7, "swap_in_random": 2}
    expected = {
        "none": spent(**common),
        "cmma": spent(essa=3, intercept=5, **common),
        "madv_dontneed": spent(dontneed_call=3, dontneed_page=4, **common),
        "madv_free": spent(free_call=3, free_page=4, touch_free_kept=9, **common),
        "reporting": spent(report_call=3, report_page=4, **common),
    }
    for name, seconds in expected.items():
        counted = {**stats, "hints": 0} if name == "none" else stats
        assert estimate(costs, name, counted).total == pytest.approx(seconds, rel=1e-12)


def test_pages_read_ahead_cost_no_wait() -> None:
    """By reclaim lru: who asked for a page waited, who found it read ahead did not."""
    for result in pgste.compare(pgste.sample_trace(), ["none", "cmma"], samples=1).results:
        swap = operations(result.mechanism, result.cost_stats)["swap"]
        host = result.host_stats
        assert 0 < host["readahead_hits"] < host["readaheads"] < host["swap_ins"]
        assert swap["swap_in_random"] == host["swap_ins"] - host["readaheads"]
        assert swap["swap_in_cached"] == host["readahead_hits"]
    simple = pgste.compare(pgste.sample_trace(), ["none"], samples=1, reclaim="simple")["none"]
    swap = operations("none", simple.cost_stats)["swap"]
    assert swap["swap_in_random"] == simple.host_stats["swap_ins"]
    assert "swap_in_cached" not in swap


def test_ranges_have_ends() -> None:
    stats = dict.fromkeys(COUNTERS, 0) | {"swap_outs": 10}
    costs = with_costs(None, {"swap_out": (100.0, 300.0)})
    assert estimate(costs, "none", stats, "q1").total == pytest.approx(1e-6)
    assert estimate(costs, "none", stats).total == pytest.approx(2e-6)
    assert estimate(costs, "none", stats, "q3").total == pytest.approx(3e-6)


def test_who_is_ahead_is_who_takes_least() -> None:
    """Against times at many costs of the operation, each by itself."""
    rng = random.Random(3)
    ranges = 0
    for _ in range(200):
        stats = random_stats(rng)
        operation = rng.choice(list(OPERATIONS))
        prices: dict[str, float] = {name: rng.uniform(1, 1000) for name in OPERATIONS}
        found = break_evens(with_costs(None, prices), stats, operation)
        ranges += len(found)
        used = any(
            operation in part for name in stats for part in operations(name, stats[name]).values()
        )
        assert bool(found) == used
        for cost in [0.0, *(10 ** rng.uniform(-3, 6) for _ in range(40))] if used else []:
            costs = with_costs(None, {**prices, operation: cost})
            times = {name: estimate(costs, name, one).total or 0.0 for name, one in stats.items()}
            ahead = [one.mechanism for one in found if one.above <= cost <= one.below]
            assert min(times.values()) == pytest.approx(times[ahead[0]], rel=1e-9)
    assert ranges > 150


def test_the_cost_at_which_two_are_even() -> None:
    nothing = dict.fromkeys(COUNTERS, 0)
    stats = {"none": {**nothing, "swap_outs": 10}, "cmma": {**nothing, "hints": 50}}
    costs = with_costs(None, {"swap_out": (500.0, 1500.0)})
    cmma, none = break_evens(costs, stats, "essa")  # 50 ESSA for ten pages of 1000 ns in the middle
    assert (cmma.mechanism, cmma.above, cmma.below) == ("cmma", 0.0, 200.0)
    assert (none.mechanism, none.above, none.below) == ("none", 200.0, math.inf)
    assert break_evens(costs, stats, "report_call") == []
    assert missing_costs(costs, stats) == {"cmma": ("essa",)}
    # with another cost that is not known, cmma has no line, and nobody pays for ESSA
    stats["cmma"]["intercepts"] = 1
    assert break_evens(costs, stats, "essa") == []


def test_texts_of_costs() -> None:
    assert parse_cost("essa=60ns") == ("essa", (60.0, 60.0))
    assert parse_cost("swap_out=8us..20.5µs") == ("swap_out", (8000.0, 20500.0))
    assert parse_cost("swap_out=1ms..2s") == ("swap_out", (1e6, 2e9))
    for text in ("essa", "essa=", "essa=60", "essa=-1ns", "=1ns", "essa=1ns..", "essa=1ns2", "\n"):
        with pytest.raises(pgste.ArgumentError, match="NAME=TIME"):
            parse_cost(text)


def test_costs_that_are_none() -> None:
    with pytest.raises(pgste.UnknownNameError, match="esa"):
        with_costs(None, {"esa": 1.0})
    for value in (-1.0, (2.0, 1.0), math.nan, math.inf):
        with pytest.raises(pgste.ArgumentError, match="cost essa"):
            with_costs(None, {"essa": value})
    with pytest.raises(pgste.UnknownNameError, match="operation 'esa'"):
        break_evens(with_costs(None, {}), {}, "esa")


GIVEN = (
    "essa=40ns..90ns", "intercept=2us", "touch_dontneed=500ns", "touch_free_kept=150ns",
    "swap_out=8us", "swap_in_random=90us", "swap_in_cached=3us", "dontneed_call=900ns",
    "dontneed_page=100ns",
    "free_call=1us", "free_page=80ns", "report_call=5us", "report_page=50ns",
)  # fmt: skip


def test_the_table_has_no_question_marks(capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for cost in GIVEN for word in ("--cost", cost)]
    assert main(["compare", *words]) == 0
    shown = capsys.readouterr().out
    assert "?" not in shown
    assert "at least" in shown
    assert "ahead: cmma while essa costs less than" in shown
    assert main(["compare", *words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    evens = [one for one in data["break_even"] if one["operation"] == "essa"]
    assert [one["mechanism"] for one in evens] == ["cmma", "madv_free"]
    assert evens[0]["below"] == evens[1]["above"]
    assert evens[1]["below"] is None
    assert main(["compare", "--cost", "essa=60ns"]) == 0
    assert "none: touch_dontneed, swap_out" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", "--cost", "esa=60ns"]) == 1
    assert "esa" in capsys.readouterr().err

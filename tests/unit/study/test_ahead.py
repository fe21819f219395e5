# SPDX-License-Identifier: MIT
"""Who does best: figures that were made up, and those of a comparison and a fleet."""

from __future__ import annotations

import pytest

import pgste
from pgste.study.ahead import Ahead, ahead_text, who_is_ahead

MIB = 256  # pages


def test_the_least_and_what_is_as_good() -> None:
    found = who_is_ahead(
        {
            "none": {"swap_traffic": 1000.0, "faults": 5.0},
            "cmma": {"swap_traffic": 101.0, "faults": 5.0},
            "madv_free": {"swap_traffic": 100.0, "faults": 5.04},
            "madv_dontneed": {"swap_traffic": 102.0, "faults": 5.0},
        }
    )
    assert found == (Ahead("swap_traffic", ("cmma", "madv_free"), 100.0, "none", 1000.0),)


def test_without_none_it_is_compared_with_the_most() -> None:
    found = who_is_ahead({"cmma": {"faults": 7}, "madv_free": {"faults": 3}, "x": {"faults": 5}})
    assert found == (Ahead("faults", ("madv_free",), 3, "cmma", 7),)


def test_none_is_compared_with_although_another_has_more() -> None:
    found = who_is_ahead({"none": {"faults": 5}, "cmma": {"faults": 3}, "x": {"faults": 9}})
    assert found == (Ahead("faults", ("cmma",), 3, "none", 5),)


@pytest.mark.parametrize("figures", [{}, {"none": {"faults": 3}}])
def test_one_alone_is_not_ahead(figures: dict[str, dict[str, float]]) -> None:
    assert who_is_ahead(figures) == ()


def test_nothing_at_all_is_the_least_there_is() -> None:
    found = who_is_ahead({"a": {"faults": 0}, "b": {"faults": 1}})
    assert found == (Ahead("faults", ("a",), 0, "b", 1),)


def test_the_text_has_units() -> None:
    found = [
        Ahead("swap_traffic", ("a", "b"), 3 * MIB, "none", 9 * MIB),
        Ahead("faults", ("none",), 1234, "b", 5678),
        Ahead("frames_mean", ("a",), MIB, "none", 2 * MIB),
    ]
    assert ahead_text(found).splitlines() == [
        "least swap traffic: a, b (3 MiB; none 9 MiB)",
        "fewest page faults: none (1,234; b 5,678)",
        "least host memory, on average: a (1 MiB; none 2 MiB)",
    ]


def test_a_comparison_leaves_out_who_ran_out_of_memory() -> None:
    trace = pgste.sample_trace()
    found = pgste.compare(trace, swap_slots=0, host_frames=62_000)
    ended = {one.mechanism for one in found.results if not one.out_of_memory}
    assert ended == {"madv_dontneed", "madv_free"}
    assert [one.figure for one in found.ahead()] == ["faults", "frames_mean"]
    for one in found.ahead():
        assert {*one.mechanisms, one.other} == ended
    assert found.to_dict()["ahead"][0]["figure"] == "faults"


def test_faults_are_those_that_somebody_waited_for() -> None:
    """Pages that were read ahead are no faults, and the faults that found them are."""
    found = pgste.compare(pgste.sample_trace(), ["none", "madv_dontneed"])
    none = found["none"]
    host = none.host_stats
    faults = none.values["zero_fills"] + host["swap_ins"] - host["readaheads"]
    faults += host["readahead_hits"]
    [ahead] = [one for one in found.ahead() if one.figure == "faults"]
    assert (ahead.mechanisms, ahead.least) == (("none",), faults)


def test_a_fleet_tells_of_its_swap_traffic() -> None:
    trace = pgste.sample_trace()
    found = pgste.Fleet([trace, pgste.Member(trace, start=1)]).compare(["none", "cmma"])
    [ahead] = found.ahead()
    counts = found["cmma"].counts
    assert ahead == Ahead(
        "swap_traffic",
        ("cmma",),
        counts["swap_outs"] + counts["swap_ins"],
        "none",
        found["none"].counts["swap_outs"] + found["none"].counts["swap_ins"],
    )
    assert found.to_dict()["ahead"][0]["mechanisms"] == ("cmma",)

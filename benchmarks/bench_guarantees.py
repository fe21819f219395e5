# SPDX-License-Identifier: MIT
"""The search behind `pgste guarantees`: states and transitions a second."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cores, limits
from benchmarks.harness import Limit, Measure, Plan
from pgste.guarantees import Guarantees, guarantees

# Columns of the table in docs/guarantees.md: states that are searched, and some of the answers.
STATES = {
    "none": 14_610,
    "madv_dontneed": 9_846,
    "madv_free": 163_860,
    "cmma_zvm": 61_180,
    "reporting": 326_616,
}
LONG = ("cmma_zvm", "madv_free", "reporting")  # 0.2 to 1 s
ANSWERS = {
    ("none", "zapped-ever"): "no",
    ("none", "stale"): "yes",
    ("madv_dontneed", "stale"): "no",
    ("madv_free", "zero-after-zap"): "yes",
    ("madv_free", "touch-while-free"): "yes",
    ("cmma_zvm", "touch-while-free"): "no",
    ("cmma_zvm", "announce-reuse"): "yes",
    ("reporting", "lost-before-alloc"): "yes",
    ("reporting", "lost-after-alloc"): "no",
}


def check(result: Guarantees) -> None:
    for key, nr in result.states.items():
        assert nr == STATES[key]
    for (key, question), answer in ANSWERS.items():
        if key in result.states:
            assert result.cell(key, question).answer == answer


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("none", "state"),
        ("madv_free", "state"),
        ("cmma_zvm", "state"),
        ("reporting", "state"),
        ("none", "transition"),
        ("cmma_zvm", "transition"),
    ],
)
def bench_search(measure: Measure, column: str, unit: str, short: bool) -> None:
    """One column on one thread: against looking as many random keys up in a hash table."""
    if short and column in LONG:
        pytest.skip("a short run")
    found = guarantees([column], threads=1)
    check(found)
    states, transitions = found.states[column], found.transitions[column]
    items = states if unit == "state" else transitions
    bare = limits.load()
    measure(
        Plan(
            lambda: guarantees([column], threads=1),
            items=items,
            unit=unit,
            check=check,
            limits={
                "hash table of the states": Limit(lambda: bare.visits(states, transitions), items)
            },
            facts={"states": states, "transitions": transitions},
            rounds=5,
        )
    )


@cores.two_cores
def bench_two_threads(measure: Measure, short: bool) -> None:
    """Two columns, `threads=2` against `threads=1`."""
    columns = ["none", "madv_dontneed"] if short else ["madv_free", "cmma_zvm"]
    expected: list[Any] = [guarantees(columns, threads=1)]

    def same(result: Guarantees) -> None:
        check(result)
        assert result == expected[0]

    states = sum(STATES[column] for column in columns)
    measure(
        Plan(
            lambda: guarantees(columns, threads=2),
            items=states,
            unit="state",
            check=same,
            limits={"one thread": Limit(lambda: guarantees(columns, threads=1), states)},
            gauges=cores.GAUGES,
            rounds=5,
        )
    )

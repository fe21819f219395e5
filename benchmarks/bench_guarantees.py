# SPDX-License-Identifier: MIT
"""The search behind `pgste guarantees`: states and transitions a second, memory of a state."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cores, limits
from benchmarks.harness import Limit, Measure, Plan
from pgste._engine.watch import Progress
from pgste.guarantees import MECHANISMS, SYSTEMS, Guarantees, System, guarantees
from pgste.guarantees.search import _search

# Columns of the table in docs/guarantees.md: states that are searched, and some of the answers.
STATES = {
    "none": 14_610,
    "madv_dontneed": 9_846,
    "madv_free": 132_720,
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


#: A search of one system: 56,864 states.
ONE = System(2, 1, 2, 2, two_tables=False)


def bytes_a_state(column: str) -> float:
    """Of the column's largest search: every table of the states, with its room for more."""
    subject = next(each for each in MECHANISMS if each.key == column)
    found = [_search(subject, system, Progress()) for system in SYSTEMS if system.fits(subject)]
    largest = max(found, key=lambda each: each["states"])
    return largest["state_bytes"] / largest["states"]


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
            facts={
                "states": states,
                "transitions": transitions,
                "bytes_a_state": round(bytes_a_state(column), 1),
            },
            rounds=5,
        )
    )


@cores.two_cores
def bench_one_search_on_two_threads(measure: Measure) -> None:
    """One system, `threads=2` against `threads=1`: both try steps, one adds what is new."""
    expected = guarantees(["cmma"], [ONE], threads=1)
    states = expected.states["cmma"]

    def same(result: Guarantees) -> None:
        assert states == 56_864
        assert result == expected

    measure(
        Plan(
            lambda: guarantees(["cmma"], [ONE], threads=2),
            items=states,
            unit="state",
            check=same,
            limits={"one thread": Limit(lambda: guarantees(["cmma"], [ONE], threads=1), states)},
            gauges=cores.GAUGES,
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

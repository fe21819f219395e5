# SPDX-License-Identifier: MIT
"""What is held for a guest, by every rule, against the reference."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from reference import footprint as reference
from reference import placement as placement_reference
from reference.reporting import Settings

import pgste
from differential.test_curve import random_events, words
from pgste._engine.footprint import COUNTS, PLACEMENTS, RULES, one_guest, place

Times = list[int]


def engine(events: list[reference.Event], times: Times, setup: reference.Setup) -> dict[str, Any]:
    return one_guest(
        words(events),
        np.array(times, np.uint64),
        setup.rule,
        base=setup.base,
        pages=setup.pages,
        unnamed_free=setup.unnamed_free,
        host_order=setup.host_order,
        block_order=setup.block_order,
        period_ns=setup.period,
        reserve=setup.reserve,
        asks=setup.asks,
        populate=setup.populate,
        reporting=asdict(setup.reporting) if setup.reporting else None,
        samples=np.array(setup.samples, np.uint64),
    )


def check(events: list[reference.Event], times: Times, setup: reference.Setup) -> dict[str, Any]:
    got = engine(events, times, setup)
    compare(got, reference.footprint(events, times, setup), f"{setup}\n{events}\n{times}")
    return got


def compare(got: dict[str, Any], expected: dict[str, Any], said: str) -> None:
    assert {name: got[name] for name in COUNTS} == {name: expected[name] for name in COUNTS}, said
    assert list(zip(got["held"].tolist(), got["used"].tolist(), strict=True)) == expected["samples"]
    assert got["held_seconds"] == expected["held_ns"] / 1e9
    assert got["used_seconds"] == expected["used_ns"] / 1e9


def a_setup(rng: random.Random, rule: str, pages: int, base: int, end: int) -> reference.Setup:
    block_order = rng.choice([0, 1, 2, 3])
    period = rng.choice([1, 7, 40, 300])
    settings = Settings(
        min=rng.choice([0, 3]),
        low=rng.choice([0, 4]),
        parked_batch=rng.choice([1, 3]),
        parked_high=rng.choice([0, 4]),
        order=rng.choice([0, 1, 2, 3]),
        max_order=3,
        parked_order=rng.choice([0, 1]),
        capacity=rng.choice([1, 2, 32]),
        delay_ns=period,
        ack_ns=rng.choice([0, 0, 2]),
        spare=rng.choice([0, 50]),
        inhibited=rng.random() < 0.1,
    )
    return reference.Setup(
        rule,
        pages,
        base,
        unnamed_free=rng.random() < 0.5,
        host_order=0 if rule == "age" else rng.choice([0, 0, 2, 3]),
        block_order=block_order,
        period=0 if rule == "blocks" and rng.random() < 0.3 else period,
        reserve=rng.choice([0, 1, 5, pages // 2]),
        asks=rng.random() < 0.5,
        populate=rng.random() < 0.5,
        reporting=settings if rule == "reporting" else None,
        samples=sorted(rng.randrange(end + 5) for _ in range(6)),
    )


def a_case(rng: random.Random, rule: str) -> tuple[list[reference.Event], Times, reference.Setup]:
    pages = rng.choice([8, 16, 32])
    base = rng.choice([0, 5, 1 << 40])
    nr = rng.choice([10, 60])
    events = [(k, o, base + p) for k, o, p in random_events(rng, pages, nr, 3)]
    gaps = [rng.choice([0, 0, 1, 10, 100]) for _ in events]
    times = [1000 + sum(gaps[: i + 1]) for i in range(len(gaps))]
    return events, times, a_setup(rng, rule, pages, base, times[-1] - times[0])


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule: str) -> None:
    rng = random.Random(rule)
    seen = dict.fromkeys(COUNTS, 0)
    for _ in range(400):
        got = check(*a_case(rng, rule))
        seen = {name: seen[name] + got[name] for name in COUNTS}
    happens = {
        "keep": {"faults", "peak"},
        "blocks": {"faults", "peak", "calls", "discards", "waits", "splits", "given"},
        "reporting": {"faults", "peak", "calls", "discards", "splits", "given"},
        "balloon": {"faults", "peak", "calls", "discards", "waits", "splits", "given", "moved"},
        "age": {"faults", "peak", "given", "swap_outs", "swap_outs_used", "swap_ins"},
    }
    assert {name for name, nr in seen.items() if nr} == happens[rule]


def balloons() -> list[tuple[list[reference.Event], Times, reference.Setup]]:
    """More pages than fit into a message, and than are given back when none is free."""
    rng = random.Random(3)
    events = [(reference.ALLOC, 0, page) for page in range(900)]
    events += [(reference.FREE, 0, page) for page in rng.sample(range(900), 800)]
    events += [(reference.ALLOC, 0, page) for page in rng.sample(range(900), 700)]
    times = [i * 3 for i in range(len(events))]
    return [
        (events, times, reference.Setup("balloon", 1024, period=period, reserve=reserve))
        for period, reserve in ((500, 0), (500, 300), (10**6, 0))
    ]


def test_a_balloon_of_many_messages() -> None:
    assert [check(*case)["waits"] > 2 for case in balloons()][-1]


def a_placement(rng: random.Random) -> tuple[list[reference.Event], int, int, int]:
    pages, orders = rng.choice([(16, 3), (1 << 10, 4), (1 << 11, 10), (1 << 12, 11)])
    base = rng.choice([0, 5, 1 << 40])
    nr = rng.choice([20, 120])
    events = [(k, o, base + p) for k, o, p in random_events(rng, pages, nr, orders)]
    return events, base, pages, rng.choice([1 << 10, 1 << 11])


Placed = tuple[list[reference.Event], list[int]]  # events, and which of the given each is from


def check_placement(
    events: list[reference.Event],
    placement: str,
    base: int,
    pages: int,
    places: int,
    expected: Placed | None,
) -> None:
    most = sum((1 << order) + 1 for _, order, _ in events)
    arguments = {"base": base, "pages": pages, "places": places, "most": most}
    if expected is None:
        with pytest.raises(pgste.OutOfFramesError):
            place(words(events), placement, **arguments)
        return
    got, which = place(words(events), placement, **arguments)
    assert got.tolist() == words(expected[0]).tolist(), events
    assert which.tolist() == expected[1]
    with pytest.raises(pgste.ArgumentError):
        place(words(events), placement, **{**arguments, "most": len(got) - 1})


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_placement(placement: str) -> None:
    rng = random.Random(placement)
    full = 0
    for _ in range(100):
        events, base, pages, places = a_placement(rng)
        expected = placement_reference.place(events, placement, places)
        full += expected is None
        check_placement(events, placement, base, pages, places, expected)
    assert 0 < full < 60

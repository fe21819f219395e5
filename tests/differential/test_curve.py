# SPDX-License-Identifier: MIT
"""One pass for hosts of all sizes, against a host of each size for itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
from reference import curve as reference

import pgste
from pgste._engine.curve import FIELDS, RULES, one_pass

NONE = np.empty(0, np.uint64)


def words(events: list[reference.Event]) -> np.ndarray:
    return np.array([kind | order << 2 | pfn << 8 for kind, order, pfn in events], np.uint64)


def random_events(rng: random.Random, pages: int, nr: int, orders: int) -> list[reference.Event]:
    """Events that fit together mostly: frees of what is live, and a few of anything."""
    events = []
    live: list[tuple[int, int]] = []
    for _ in range(nr):
        order = rng.choice(range(orders + 1)) if rng.random() < 0.4 else 0
        block = (order, rng.randrange(pages >> order) << order)
        if live and rng.random() < 0.5:
            block = live.pop(rng.randrange(len(live)))
            events.append((reference.FREE, *block))
        elif rng.random() < 0.1:
            events.append((reference.FREE, *block))
        else:
            live.append(block)
            events.append((reference.ALLOC, *block))
    return events


def check(
    events: list[reference.Event], rule: str, guests: int, given: list[tuple[int, int]]
) -> None:
    pages = {pfn for _, order, first in events for pfn in range(first, first + (1 << order))}
    sizes = list(range(1, guests * len(pages) + 3))
    samples = [0, len(events) // 3, len(events) // 2, len(events) // 2, len(events)]
    got = one_pass(
        words(events),
        rule,
        np.array(sizes, np.uint64),
        guests=guests,
        samples=np.array(samples, np.uint64),
        given=np.array([pfn for _, pfn in given], np.uint64),
        given_at=np.array([at for at, _ in given], np.uint64),
    )
    for i, frames in enumerate(sizes):
        expected = reference.replay(
            events, frames, rule, guests=guests, samples=samples, given=given
        )
        assert {name: int(got[name][i]) for name in FIELDS} == expected, (frames, events)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("guests", [1, 2])
def test_every_size_is_what_a_host_of_it_does(rule: str, guests: int) -> None:
    rng = random.Random(f"{rule} {guests}")
    for _ in range(120 // guests):
        pages, nr = rng.choice([(4, 20), (8, 40), (16, 90)])
        base = rng.choice([0, 3, 1 << 30])
        events = [(k, o, base + p) for k, o, p in random_events(rng, pages, nr, 2)]
        check(events, rule, guests, [])


def test_pages_that_a_guest_gives_back_later() -> None:
    rng = random.Random(7)
    for _ in range(120):
        events = random_events(rng, 12, 60, 1)
        given = sorted((rng.randrange(61), rng.randrange(12)) for _ in range(20))
        check(events, "keep", rng.choice([1, 2]), given)


def test_a_long_trace_uses_every_stamp_many_times() -> None:
    """A few pages and thousands of stores: stamps, of which there are twice as many, start anew."""
    rng = random.Random(11)
    events = random_events(rng, 100, 3000, 2)
    for rule in RULES:
        sizes = [1, 5, 33, 64, 65, 99, 100]
        got = one_pass(
            words(events),
            rule,
            np.array(sizes, np.uint64),
            samples=np.array([2999], np.uint64),
            given=NONE,
            given_at=NONE,
        )
        for i, frames in enumerate(sizes):
            expected = reference.replay(events, frames, rule, samples=[2999])
            assert {name: int(got[name][i]) for name in FIELDS} == expected


def test_sizes_of_a_grid_are_those_of_all() -> None:
    events = pgste.sample_trace().events[:20000]
    every = np.arange(1, 12000, dtype=np.uint64)
    some = every[[0, 1, 500, 3000, 3001, 7000, 11000]]
    samples = np.array([9999], np.uint64)
    for rule in RULES:
        of_all, of_some = (
            one_pass(events, rule, sizes, samples=samples, given=NONE, given_at=NONE)
            for sizes in (every, some)
        )
        for name in FIELDS:
            assert of_some[name].tolist() == of_all[name][some.astype(int) - 1].tolist()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sizes": np.array([0], np.uint64)}, "sizes"),
        ({"sizes": np.array([5, 4], np.uint64)}, "sizes"),
        ({"events": np.array([2], np.uint64)}, "events"),
        ({"events": np.array([40 << 2], np.uint64)}, "events"),
        ({"events": np.array([1 << 2 | (1 << 56) - 1 << 8], np.uint64)}, "events"),
        ({"share": (1 << 32) + 1}, "share"),
        ({"guests": 0}, "out of range"),
        ({"guests": 65536}, "out of range"),
        ({"given": np.array([1], np.uint64)}, "given_at"),
    ],
)  # fmt: skip
def test_bad_arguments(changed: dict[str, object], says: str) -> None:
    right = {
        "events": words([(reference.ALLOC, 0, 5)]), "rule": "give",
        "sizes": np.array([1], np.uint64), "samples": NONE, "given": NONE, "given_at": NONE,
    }  # fmt: skip
    assert one_pass(**right)["zero_fills"].tolist() == [1]  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentError, match=says):
        one_pass(**{**right, **changed})  # type: ignore[arg-type]

# SPDX-License-Identifier: MIT
"""Traces without the pages that no event names: they count what whole ones do."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

import pgste
from pgste._engine.trace import dense
from pgste.study import dense as study_dense
from pgste.study.sizes import guest_pages
from pgste.traces import Trace
from pgste.traces.touch import touched

ALLOC, FREE = 0, 1


def sparse_trace(random: Random, events: int = 600) -> Trace:
    """Blocks in islands of 16 pages, some of which touch, far between the others."""
    span = random.choice((3_000, 10_000, 30_000))
    islands = sorted(random.sample(range(span // 16), span // 160))
    rows = []
    for i in range(random.randint(300, events)):
        size = random.choice((0, 0, 0, 1, 2, 4))
        page = 16 * random.choice(islands) + (random.randrange(16) >> size << size)
        rows.append((random.choice((ALLOC, FREE)), page + 5_000, size, i * 8_000_000))
    kind, pfn, order, time = zip(*rows, strict=True)
    return Trace.from_arrays(kind, pfn, order, time)


def pages_of(event: int) -> range:
    return range(event >> 8, (event >> 8) + (1 << (event >> 2 & 63)))


@pytest.mark.parametrize("seed", range(40))
def test_new_numbers(seed: int) -> None:
    """Against sets: pages in order, a page between what does not follow."""
    trace = touched(sparse_trace(Random(seed)), "uniform:0.5")
    base, pages = guest_pages(trace.summary())
    events, accesses, left = dense(trace.events, trace.accesses, base, pages)
    named = {page for event in trace.events.tolist() for page in pages_of(event)}
    number: dict[int, int] = {}
    for page in sorted(named):
        after = number.get(page - 1)
        gap = 2 if number else 0
        number[page] = after + 1 if after is not None else max(number.values(), default=0) + gap
    assert left in (max(number.values()) + 1, max(number.values()) + 2)  # one behind, in the guest
    for old, new in zip(
        [*trace.events.tolist(), *trace.accesses.tolist()],
        [*events.tolist(), *accesses.tolist()],
        strict=True,
    ):
        assert new & 0xFF == old & 0xFF
        assert list(pages_of(new)) == [number[page] for page in pages_of(old)]


def without_rates(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_rates(v) for k, v in value.items() if k != "events_per_second"}
    return value


def whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(study_dense, "_is_dense", lambda trace, summary: False)


@pytest.mark.parametrize("seed", range(30))
def test_compare_counts_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(f"compare {seed}")
    trace = sparse_trace(random)
    if random.random() < 0.5:
        trace = touched(trace, "uniform:0.5")
    settings: dict[str, Any] = {
        "host_frames": random.choice((None, random.randint(60, 400))),
        "guests": random.randint(1, 3),
        "samples": 20,
        "reclaim": random.choice(("lru", "simple", "mglru")),
        "swap_slots": random.choice((None, None, random.randint(0, 300))),
        "generation": random.choice(("pgtable", "dat", "zvm")),
    }
    if settings["generation"] == "dat":
        settings["contention"] = random.choice((0, 0.3))
        settings["notifiers"] = random.choice((0, 0.3))
    assert study_dense._is_dense(trace, trace.summary())
    given = pgste.compare(trace, **settings)
    whole(monkeypatch)
    assert without_rates(given.to_dict()) == without_rates(
        pgste.compare(trace, **settings).to_dict()
    )


@pytest.mark.parametrize("seed", range(4))
def test_curves_and_fleets_count_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(f"others {seed}")
    traces = [sparse_trace(random) for _ in range(3)]
    reclaim = random.choice(("lru", "simple", "mglru"))

    def told() -> tuple[Any, Any]:
        fleet = pgste.Fleet([pgste.Member(one, shift=0.3 * i) for i, one in enumerate(traces)])
        return pgste.curve(traces[0], sizes=9).to_dict(), fleet.compare(reclaim=reclaim).to_dict()

    given = told()
    whole(monkeypatch)
    assert given == told()


def test_which_traces_are_made_dense() -> None:
    """A guest of fewer pages, where few are named but not one in a hundred."""
    few = Trace.from_arrays([ALLOC, ALLOC, ALLOC], [1024, 1030, 1050], [0, 0, 0])
    summary = few.summary()
    assert study_dense.pages_for(few, summary, "cmma").pages == 5
    assert study_dense.pages_for(few, summary, "cmma").events.tolist() == [0, 2 << 8, 4 << 8]
    assert study_dense.pages_for(few, summary, "reporting").pages == 27
    assert study_dense.pages_for(few, summary, "cmma", neighbours=True).pages == 27
    assert study_dense.guests_pages(few, summary, ["cmma", "reporting"]) == {
        "cmma": 6,
        "reporting": 27,
    }
    near = Trace.from_arrays([ALLOC, ALLOC], [1024, 1025], [0, 0])
    assert study_dense.pages_for(near, near.summary(), "cmma").events is near.events
    far = Trace.from_arrays([ALLOC, ALLOC], [1024, 1 << 20], [0, 0])
    assert study_dense.pages_for(far, far.summary(), "cmma").events is far.events


def test_events_of_other_pages() -> None:
    """What a file's mapping may become while it is read."""
    events, none = np.array([5 << 8, 9 << 8], np.uint64), np.empty(0, np.uint64)
    for base, pages in ((6, 10), (0, 9), (5, 4)):
        with pytest.raises(pgste.ChangedError, match="trace: its events were changed"):
            dense(events, none, base, pages)
    with pytest.raises(pgste.ChangedError):
        dense(events, np.array([7 << 8 | 2], np.uint64), 5, 5)
    with pytest.raises(pgste.ChangedError):
        dense(np.array([5 << 8 | 63 << 2], np.uint64), none, 0, 100)
    assert dense(events, events, 5, 5)[2] == 3

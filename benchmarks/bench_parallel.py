# SPDX-License-Identifier: MIT
"""`threads=2` against `threads=1`: whole-table scans, mechanisms of a comparison, replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pgste
from benchmarks import cores
from benchmarks.bench_replay import PRESSURE, Run
from benchmarks.bench_scans import scan_guest
from benchmarks.bench_zap import refill, swapped_guest
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest, State

pytestmark = cores.two_cores

Scan = Callable[[int], Any]


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A guest of 2^28 pages of which none can be zapped or is dirty (a short run: 2^22)."""
    guest = scan_guest(1 << (22 if request.config.getoption("--short") else 28))
    yield guest
    guest.close()


def scan_of(guest: Guest, name: str) -> Scan:
    """A scan that takes the number of threads."""
    scans: dict[str, Scan] = {
        "zap scan": guest.zap_scan,
        "count zappable": guest.count_zappable,
        "count states": guest.count_states,
        "dirty search": lambda threads: guest.find(State.DIRTY, State.DIRTY, threads=threads),
        "search, 15 % hits": lambda threads: guest.find(State.VALID, 0, threads=threads),
    }
    return scans[name]


@pytest.mark.parametrize(
    "name", ["zap scan", "count zappable", "count states", "dirty search", "search, 15 % hits"]
)
def bench_scan_threads(measure: Measure, table: Guest, name: str) -> None:
    scan = scan_of(table, name)
    expected = scan(1)
    beside = np.ones(table.pages, np.uint8)

    def check(answer: Any) -> None:
        assert np.array_equal(answer, expected)

    measure(
        Plan(
            lambda: scan(2),
            items=table.pages,
            bytes=table.pages,
            check=check,
            limits={
                "one thread": Limit(lambda: scan(1), table.pages),
                **cores.read_limits(beside),
            },
            gauges=cores.GAUGES,
            rounds=9,
        )
    )


def bench_zap_threads(measure: Measure, short: bool) -> None:
    """A scan that zaps one page of 64; the zaps themselves are one thread's."""
    pages = 1 << (18 if short else 22)
    unused = np.arange(0, pages, 64)
    one, two = (swapped_guest(pages) for _ in range(2))
    words = one.pgste(unused) | np.uint64(1 << 24)

    def renew(guest: Guest) -> None:
        refill(guest)
        guest.set_words(unused, pgste=words)

    def check(zapped: int) -> None:
        assert zapped == unused.size
        assert np.array_equal(one.states(), two.states())
        assert np.array_equal(one.pte(unused), two.pte(unused))

    measure(
        Plan(
            lambda: two.zap_scan(threads=2),
            items=pages,
            bytes=pages,
            prepare=lambda: renew(two),
            check=check,
            limits={"one thread": Limit(one.zap_scan, pages, lambda: renew(one))},
            gauges=cores.GAUGES,
            rounds=7,
        )
    )


def figures(comparison: pgste.Comparison) -> list[Any]:
    """Everything that a comparison found, except speeds."""
    return [
        (
            each.mechanism,
            (each.guest_stats, each.host_stats, each.replay_stats),
            [column.tolist() for column in (each.seconds, each.frames_used, each.swap_used)],
        )
        for each in comparison.results
    ]


@pytest.mark.parametrize("guests", [1, 4])
def bench_compare_threads(measure: Measure, guests: int, short: bool) -> None:
    """`compare` of all mechanisms on the trace that comes with the package."""
    trace = pgste.sample_trace()
    trace = trace[: 20_000 if short else len(trace)]
    items = len(trace) * guests * len(pgste.mechanisms())
    expected = figures(pgste.compare(trace, guests=guests))

    def check(comparison: pgste.Comparison) -> None:
        assert figures(comparison) == expected

    measure(
        Plan(
            lambda: pgste.compare(trace, guests=guests, threads=2),
            items=items,
            unit="event",
            check=check,
            limits={"one thread": Limit(lambda: pgste.compare(trace, guests=guests), items)},
            gauges=cores.GAUGES,
            rounds=9 if guests == 1 else 5,
        )
    )


@pytest.mark.parametrize("pressure", ["none", "heavy"])
def bench_replays_threads(measure: Measure, pressure: str) -> None:
    """`run_all` of four guests on hosts of their own."""
    runs = [Run("synthetic", "cmma", PRESSURE[pressure]) for _ in range(4)]
    items = sum(run.events.size for run in runs)
    answers: list[Any] = []

    def prepare() -> None:
        for run in runs:
            run.prepare()

    def replay(threads: int) -> list[int]:
        return pgste.run_all([run.replay for run in runs if run.replay], threads=threads)

    def one() -> None:
        replay(1)
        answers[:] = [run.stats() for run in runs]

    def check(done: list[int]) -> None:
        for run, nr in zip(runs, done, strict=True):
            run.check(nr)
        assert [run.stats() for run in runs] == answers

    measure(
        Plan(
            lambda: replay(2),
            items=items,
            unit="event",
            pages=sum(run.pages for run in runs),
            prepare=prepare,
            check=check,
            limits={"one thread": Limit(one, items, prepare)},
            gauges=cores.GAUGES,
            rounds=9,
        )
    )

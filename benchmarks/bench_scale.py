# SPDX-License-Identifier: MIT
"""What an event costs as guests grow, in pages and in number: each row against the small one."""

from __future__ import annotations

from functools import cache

import pytest

import pgste
from benchmarks import workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Host, Replay

SMALL = 16
"""Log2 of the pages whose tables a cache holds."""


@cache
def events_of(bits: int) -> workloads.Words:
    """Single pages anywhere, freed and allocated in turn: twice as many events as pages."""
    return workloads.single_pages_trace(1 << bits, min(1 << bits + 1, 1 << 22))


class UnderPressure:
    """Random pages on a host with frames for half of those in use; the first half is warm-up."""

    def __init__(self, bits: int) -> None:
        self.pages, self.events = 1 << bits, events_of(bits)
        self.items = self.events.size // 2
        self.host: Host | None = None
        self.replay: Replay | None = None

    def prepare(self) -> None:
        self.host = Host(self.pages // 4, self.pages)
        self.replay = Replay(Guest(self.pages, self.host, mechanism="none"), self.events)
        self.replay.run(self.events.size - self.items)
        self.host.reset_stats()

    def subject(self) -> int:
        assert self.replay is not None
        return self.replay.run()

    def check(self, done: int) -> None:
        assert done == self.items
        assert self.host is not None
        stats = self.host.stats()
        assert stats["swap_ins"] + stats["zero_fills"] > done // 8
        assert stats["swap_outs"] > done // 8


@pytest.mark.parametrize("bits", [SMALL, 18, 20, 22])
def bench_random_pages_under_pressure(measure: Measure, bits: int, short: bool) -> None:
    """Replay where nearly each allocation takes the frame of another page."""
    if short and bits > 18:
        pytest.skip("a short run")
    run, small = UnderPressure(bits), UnderPressure(SMALL)
    name = f"2^{SMALL} pages"
    bars = []
    if bits == 22:
        what = "replay under pressure, random pages of 2^22"
        bars = [
            Bar(f"{what}, against those of 2^{SMALL}", limit=name, at_most=2),
            Bar(what, at_least=12e6),
        ]
    measure(
        Plan(
            run.subject,
            items=run.items,
            unit="event",
            pages=run.pages,
            prepare=run.prepare,
            check=run.check,
            limits={name: Limit(small.subject, small.items, small.prepare)},
            bars=bars,
            facts={"frames": run.pages // 4},
        )
    )


@pytest.mark.parametrize("guests", [10, 100, 1000])
@pytest.mark.parametrize("mechanism", ["none", "cmma"])
def bench_many_guests(measure: Measure, mechanism: str, guests: int, short: bool) -> None:
    """`compare` of the sample for many guests on one host; the limit is one guest."""
    if short and guests > 10:
        pytest.skip("a short run")
    trace = pgste.sample_trace()

    def run(number: int) -> pgste.Comparison:
        return pgste.compare(trace, [mechanism], guests=number, samples=1, reclaim="simple")

    def check(comparison: pgste.Comparison) -> None:
        assert comparison.results[0].guest_stats["pages_freed"] == guests * freed

    freed = run(1).results[0].guest_stats["pages_freed"]
    what = f"{mechanism}: an event of one of {guests} guests, against one alone"
    measure(
        Plan(
            lambda: run(guests),
            items=guests * len(trace),
            unit="event",
            check=check,
            limits={"one guest": Limit(lambda: run(1), len(trace))},
            bars=[Bar(what, limit="one guest", at_most=1.5)] if guests > 10 else [],
            rounds=3 if guests == 1000 else 7,
        )
    )

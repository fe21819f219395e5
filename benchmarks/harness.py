# SPDX-License-Identifier: MIT
"""How one benchmark is measured: subject and limits in turn, round by round.

A round times every limit once and then the subject (through pytest-benchmark), so that what
the machine does meanwhile meets both; a ratio is taken within a round, and the report shows
median and quartiles of these.  State is rebuilt before each timing, outside of it: most
operations are no-ops when they are repeated.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import limits as build


@dataclass(frozen=True)
class Limit:
    """A bare loop or a peer: what it runs on how many items, and what makes its state anew.

    `check` gets what it returned, after every round and outside of the timing, and asserts.
    """

    run: Callable[[], Any]
    items: int
    prepare: Callable[[], object] | None = None
    check: Callable[[Any], object] | None = None


@dataclass(frozen=True)
class Bar:
    """A number to reach.

    Against a limit: `at_least` is a share of its speed (4 is "four times as fast"), `at_most` a
    multiple of its time an item.  Without a limit, of `value`: "rate" (items a second),
    "seconds", or a number that the benchmark measured by other means.
    """

    row: str
    limit: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    value: str | float = "rate"
    unit: str = ""


@dataclass
class Plan:
    """What one benchmark times.

    `items` (pages, events, calls) are what a time is divided by; `bytes` are those that the
    subject has to touch at the least.  `check` gets what the subject returned, after every
    round, and asserts.  There is at least one limit, so that every row has a ratio.  `sizes` are
    amounts of memory that were measured beside the times, in bytes; `gauges` are numbers about
    the machine that are measured once a round.
    """

    subject: Callable[[], Any]
    items: int
    unit: str = "page"
    bytes: int = 0
    pages: int = 0
    prepare: Callable[[], object] | None = None
    check: Callable[[Any], object] | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)
    bars: Sequence[Bar] = ()
    rounds: int | None = None
    series: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, Callable[[], float]] = field(default_factory=dict)


def spread(values: Sequence[float]) -> list[float]:
    """First quartile, median, third quartile."""
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


class Measure:
    """The `measure` fixture: runs a `Plan` and puts what came out into `extra_info`."""

    def __init__(self, benchmark: Any, rounds: int, facts: Mapping[str, object]) -> None:
        self._benchmark = benchmark
        self._rounds = rounds
        self._facts = facts

    def __call__(self, plan: Plan) -> None:
        """Time the plan; AssertionError if an answer is wrong."""
        assert plan.limits, "nothing to hold it against"
        times: dict[str, list[float]] = {name: [] for name in plan.limits}
        gauges: dict[str, list[float]] = {name: [] for name in plan.gauges}
        answers: list[Any] = []

        def between_rounds() -> None:
            if answers and plan.check is not None:
                plan.check(answers.pop())
            answers.clear()
            for name, limit in plan.limits.items():
                if limit.prepare is not None:
                    limit.prepare()
                start = time.perf_counter_ns()
                answer = limit.run()
                times[name].append((time.perf_counter_ns() - start) / limit.items)
                if limit.check is not None:
                    limit.check(answer)
            for name, gauge in plan.gauges.items():
                gauges[name].append(gauge())
            if plan.prepare is not None:
                plan.prepare()

        def subject() -> None:
            answers.append(plan.subject())

        self._benchmark.pedantic(
            subject,
            setup=between_rounds,
            rounds=min(plan.rounds or self._rounds, self._rounds),
            warmup_rounds=1,
        )
        assert answers, "the subject never ran"
        if plan.check is not None:
            plan.check(answers.pop())
        if self._benchmark.stats is not None:
            self._record(plan, times)
            found = {name: spread(own[1:]) for name, own in gauges.items()}
            self._benchmark.extra_info["gauges"] = found

    def _record(self, plan: Plan, times: Mapping[str, Sequence[float]]) -> None:
        subject = [seconds * 1e9 / plan.items for seconds in self._benchmark.stats.stats.data]
        info = self._benchmark.extra_info
        low, median, high = spread(subject)
        info.update(build.build_facts())
        info.update(self._facts)
        info.update(plan.facts)
        info.update(
            pages=plan.pages or plan.items,
            items=plan.items,
            unit=plan.unit,
            ns=median,
            ns_iqr=[low, high],
            rate=1e9 / median,
            series=plan.series,
            sizes=dict(plan.sizes),
        )
        if plan.bytes:
            info.update(bytes=plan.bytes, gb_per_s=plan.bytes / (median * plan.items))
        # the first timing of a limit was part of the warm-up round
        info["limits"] = {}
        for name, own in times.items():
            speeds = [a / b for a, b in zip(own[1:], subject, strict=True)]
            info["limits"][name] = {
                "ns": spread(own[1:])[1],
                "speed": spread(speeds),
                "rounds": [float(f"{speed:.4g}") for speed in speeds],
            }
        info["bars"] = [self._bar(bar, plan, info, subject) for bar in plan.bars]

    @staticmethod
    def _bar(
        bar: Bar, plan: Plan, info: Mapping[str, Any], subject: Sequence[float]
    ) -> dict[str, Any]:
        if bar.limit is not None:
            measured = list(info["limits"][bar.limit]["speed"])
            if bar.at_most is not None:
                measured = [1 / speed for speed in reversed(measured)]
        elif bar.value == "rate":
            measured = spread([1e9 / ns for ns in subject])
        elif bar.value == "seconds":
            measured = spread([ns * plan.items / 1e9 for ns in subject])
        else:
            measured = [float(bar.value)] * 3
        low = -math.inf if bar.at_least is None else bar.at_least
        high = math.inf if bar.at_most is None else bar.at_most
        return {
            "row": bar.row,
            "limit": bar.limit,
            "at_least": bar.at_least,
            "at_most": bar.at_most,
            "unit": bar.unit or ("x" if bar.limit else f"{plan.unit}s/s"),
            "measured": measured,
            "pass": low <= measured[1] <= high,
        }

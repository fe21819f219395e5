# SPDX-License-Identifier: MIT
"""Curves over the size of the host: one pass for 100 sizes, and all mechanisms with replays."""

from __future__ import annotations

import numpy as np
import pytest

import pgste
from benchmarks.bench_replay import Run, trace_of
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste._engine.curve import RULES, one_pass

SIZES = 100
NOTHING = np.empty(0, np.uint64)


def sizes_of(pages: int) -> np.ndarray:
    return np.arange(1, SIZES + 1, dtype=np.uint64) * np.uint64(pages) // np.uint64(SIZES)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["sample", "synthetic"])
def bench_one_pass(measure: Measure, name: str, rule: str) -> None:
    """Against a replay of the same trace under mild pressure, set up before."""
    trace, _, _, peak = trace_of(name)
    replay = Run(name, "cmma", 0.9)

    def subject() -> dict[str, np.ndarray]:
        return one_pass(
            trace.events, rule, sizes_of(peak), samples=NOTHING, given=NOTHING, given_at=NOTHING
        )

    def check(found: dict[str, np.ndarray]) -> None:
        assert found["zero_fills"][0] > 0

    measure(
        Plan(
            subject,
            items=len(trace),
            unit="event",
            pages=peak,
            check=check,
            limits={"a replay of one size": Limit(replay.subject, len(trace), replay.prepare)},
            facts={"sizes": SIZES},
        )
    )


@pytest.mark.parametrize("replays", [0, 18])
def bench_curve(measure: Measure, replays: int) -> None:
    """`pgste.curve` of the sample: 100 sizes and all mechanisms; a point is one of 500."""
    trace = pgste.sample_trace()

    def check(found: pgste.Curve) -> None:
        assert len(found.lines) == 5
        assert all((line.error is not None) == (replays > 0) for line in found.lines)

    measure(
        Plan(
            lambda: pgste.curve(trace, replays=replays),
            items=5 * SIZES,
            unit="point",
            check=check,
            limits={
                "a replay of each mechanism": Limit(
                    lambda: pgste.compare(trace, samples=1, reclaim="simple"), 5
                )
            },
            bars=[Bar(f"curve of the sample, {replays} replays", at_least=500 / 0.3)],
        )
    )

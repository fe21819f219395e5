# SPDX-License-Identifier: MIT
"""Trace decoding: text of each format, and the package's own format."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import pgste.trace
from benchmarks import limits, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste._trace import TextDecoder
from pgste.trace import Trace


@cache
def source(nr: int) -> Trace:
    """Events of the trace that comes with the package, repeated."""
    sample = pgste.trace.sample_trace()
    times = -(-nr // len(sample))
    span = int(sample.time[-1] - sample.time[0]) + 1000
    time = np.concatenate([sample.time + np.uint64(i * span) for i in range(times)])[:nr]
    events = np.tile(sample.events, times)[:nr]
    return Trace(events, time // np.uint64(1000) * np.uint64(1000))


@pytest.mark.parametrize("style", ["ftrace", "trace-cmd", "perf"])
def bench_text(measure: Measure, style: str, short: bool) -> None:
    """Text in memory into events and times; against finding the ends of its lines."""
    nr = 100_000 if short else 1_000_000
    trace = source(nr)
    text = workloads.trace_text(trace, style, nr)
    data = np.frombuffer(text, np.uint8)
    bare = limits.load()

    def subject() -> tuple[np.ndarray, np.ndarray]:
        decoder = TextDecoder()
        events, times, used = decoder.feed(text, end=True)
        assert used == len(text)
        return events, times

    def check(answer: tuple[np.ndarray, np.ndarray]) -> None:
        assert np.array_equal(answer[0], trace.events)
        assert np.array_equal(answer[1], trace.time)

    row = "decoding of ftrace text"
    measure(
        Plan(
            subject,
            items=nr,
            unit="event",
            bytes=len(text),
            check=check,
            limits={
                "memchr from line to line": Limit(lambda: bare.lines(data), nr),
                "plain read": Limit(lambda: bare.read(data), nr),
            },
            bars=[Bar(row, at_least=5e6)] if style == "ftrace" else [],
        )
    )


@pytest.mark.parametrize("style", ["ftrace", "saved"])
def bench_open(measure: Measure, style: str, short: bool, tmp_path: Path) -> None:
    """`Trace.open` of a file: text, and the format of `Trace.save`, which is mapped."""
    nr = 100_000 if short else 1_000_000
    trace = source(nr)
    path = tmp_path / "trace"
    if style == "saved":
        trace.save(path)
    else:
        path.write_bytes(workloads.trace_text(trace, style, nr))

    def check(opened: Trace) -> None:
        assert opened == trace

    measure(
        Plan(
            lambda: Trace.open(path),
            items=nr,
            unit="event",
            bytes=path.stat().st_size,
            check=check,
            limits={"reading the file": Limit(path.read_bytes, nr)},
        )
    )

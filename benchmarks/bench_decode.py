# SPDX-License-Identifier: MIT
"""Trace decoding in memory: text of each format, ring-buffer pages, trace.dat."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import limits, ringpages, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste._engine.trace import RingDecoder, TextDecoder
from pgste.traces import dat

Columns = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]

BATCH_PAGES = 256  # of one call, as the package's readers have it


@pytest.mark.parametrize("style", ["ftrace", "trace-cmd", "perf"])
def bench_text(measure: Measure, style: str, short: bool) -> None:
    """Text in memory into events and times; against finding the ends of its lines."""
    nr = 100_000 if short else 1_000_000
    trace = workloads.sample_repeated(nr)
    text = workloads.trace_text(trace, style, nr)
    data = np.frombuffer(text, np.uint8)
    bare = limits.load()

    def subject() -> Columns:
        decoder = TextDecoder()
        events, times, used = decoder.feed(text, end=True)
        assert used == len(text)
        return events, times

    def check(answer: Columns) -> None:
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


@cache
def recorded(nr: int) -> tuple[Columns, tuple[bytes, ...]]:
    """Events, times that all differ, and the ring-buffer pages of two CPUs that had them."""
    trace = workloads.sample_repeated(nr, distinct_times=True)
    return (trace.events, trace.time), tuple(ringpages.two_cpus(trace.events, trace.time))


def bench_ring(measure: Measure, short: bool) -> None:
    """Ring-buffer pages as the kernel gives them, one CPU after the other."""
    nr = 100_000 if short else 1_000_000
    (events, times), cpus = recorded(nr)
    layout = dat.ring_layout(ringpages.HEADER_PAGE, ringpages.FORMATS, big_endian=False)
    step = BATCH_PAGES * ringpages.PAGE_BYTES
    data = [np.frombuffer(pages, np.uint8) for pages in cpus]
    bare = limits.load()

    def subject() -> list[Columns]:
        decoder = RingDecoder(layout)
        return [
            decoder.decode(memoryview(pages)[at : at + step])
            for pages in cpus
            for at in range(0, len(pages), step)
        ]

    order = np.argsort(np.arange(nr) // ringpages.RUN % 2, kind="stable")

    def check(answer: list[Columns]) -> None:
        assert np.array_equal(np.concatenate([part[0] for part in answer]), events[order])
        assert np.array_equal(np.concatenate([part[1] for part in answer]), times[order])

    measure(
        Plan(
            subject,
            items=nr,
            unit="event",
            bytes=sum(len(pages) for pages in cpus),
            check=check,
            limits={"plain read": Limit(lambda: [bare.read(pages) for pages in data], nr)},
        )
    )


def bench_trace_dat(measure: Measure, short: bool) -> None:
    """A trace.dat in memory: pages of two CPUs, whose events are merged by time."""
    nr = 100_000 if short else 1_000_000
    (events, times), cpus = recorded(nr)
    content = ringpages.trace_dat(list(cpus))
    data = np.frombuffer(content, np.uint8)
    bare = limits.load()

    def check(answer: dat.TraceDat) -> None:
        assert np.array_equal(answer.events, events)
        assert np.array_equal(answer.times, times)

    def merge() -> object:
        return np.argsort(times, kind="stable")

    measure(
        Plan(
            lambda: dat.parse(memoryview(content)),
            items=nr,
            unit="event",
            bytes=len(content),
            check=check,
            limits={
                "plain read": Limit(lambda: bare.read(data), nr),
                "NumPy's stable sort of the times": Limit(merge, nr),
            },
        )
    )

# SPDX-License-Identifier: MIT
"""Replay of decoded traces through the mechanisms, without and under memory pressure."""

from __future__ import annotations

import struct
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from benchmarks import workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Host, Orc, Replay
from pgste.study.dense import pages_for
from pgste.traces import Trace

# Host frames as a share of the most pages in use at once; without pressure, one for each page.
PRESSURE = {"none": None, "mild": 0.9, "heavy": 0.5}
# Free page reporting with the kernel's defaults (order 9, 2 s) has next to nothing to report.
REPORT_ORDER, REPORT_DELAY_NS = 3, 10_000_000


@cache
def trace_of(name: str) -> tuple[Trace, int, int, int]:
    """Trace, lowest pfn, pages from there on, most pages in use at once."""
    if name == "sample":
        trace = pgste.sample_trace()
    else:  # as many events a second as the sample has
        events = workloads.allocator_trace(1 << 18, 1_000_000)
        trace = Trace(events, np.arange(events.size, dtype=np.uint64) * np.uint64(16_000))
    summary = trace.summary()
    base = summary["lowest_pfn"] & ~1023
    return trace, base, summary["highest_pfn"] + 1 - base, summary["peak_in_use"]


class Run:
    """A replay that is made anew for every round."""

    def __init__(self, name: str, mechanism: str, share: float | None, dense: bool = False) -> None:
        trace, self.base, self.pages, self.peak = trace_of(name)
        self.events, self.times = trace.events, trace.time
        if dense:  # as `compare` has it
            given = pages_for(trace, trace.summary(), mechanism)
            self.events, self.base, self.pages = given.events, given.base, given.pages
        self.mechanism = mechanism
        self.frames = self.pages if share is None else int(self.peak * share)
        self.replay: Replay | None = None
        self.host: Host | None = None
        self.guest: Guest | None = None

    def prepare(self) -> None:
        self.host = Host(self.frames, self.pages)
        guest = Guest(self.pages, self.host, mechanism=self.mechanism)
        times = None
        if self.mechanism == "reporting":  # the others have no use for time
            guest.set_reporting(order=REPORT_ORDER, delay_ns=REPORT_DELAY_NS)
            times = self.times
        self.guest = guest
        self.replay = Replay(guest, self.events, times, self.base)

    def subject(self) -> int:
        assert self.replay is not None
        return self.replay.run()

    def stats(self) -> tuple[dict[str, int], dict[str, int]]:
        """What guest and host counted."""
        assert self.guest is not None
        assert self.host is not None
        return self.guest.stats(), self.host.stats()

    def check(self, done: int) -> None:
        assert done == self.events.size
        assert self.replay is not None
        assert self.replay.stats()["events"] == done
        of_guest, stats = self.stats()
        assert (of_guest["hint_pages"] > 0) == (self.mechanism != "none")
        assert stats["frames_peak"] <= self.frames
        if self.frames == self.pages:
            assert stats["swap_outs"] == 0
        elif self.mechanism == "none":
            assert stats["swap_outs"] > 0


@cache
def essa_limit() -> Limit:
    """ESSA on random pages of 16 Mi, the cost that a row compares an event with."""
    words = workloads.tile("resident")
    guest = Guest(1 << 24)
    workloads.load(guest, words)
    gfns = workloads.random_gfns(1 << 24, 1 << 20)
    out = np.zeros(gfns.size, np.uint8)
    return Limit(
        lambda: guest.essa(Orc.SET_UNUSED, gfns, out=out),
        gfns.size,
        lambda: workloads.reload(guest, words, gfns),
    )


def lru_limit(events: np.ndarray, frames: int, folder: Path) -> dict[str, Limit]:
    """libcachesim's LRU with a request for each event, read from its own binary format."""
    try:
        libcachesim: Any = import_module("libcachesim")
    except ImportError:
        return {}
    record = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
    assert record.itemsize == struct.calcsize("<IQIq")
    requests = np.zeros(events.size, record)
    requests["time"], requests["id"] = np.arange(events.size), events >> np.uint64(8)
    requests["size"], requests["next"] = 1, -1
    path = folder / "requests.oracleGeneral"
    requests.tofile(path)
    state: dict[str, Any] = {}

    def prepare() -> None:
        kind = libcachesim.TraceType.ORACLE_GENERAL_TRACE
        state["reader"] = libcachesim.TraceReader(str(path), kind)
        state["cache"] = libcachesim.LRU(frames)

    return {
        "libcachesim, LRU": Limit(
            lambda: state["cache"].process_trace(state["reader"]), events.size, prepare
        )
    }


@pytest.mark.parametrize("pressure", PRESSURE)
@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free", "reporting"])
@pytest.mark.parametrize("name", ["sample", "synthetic"])
def bench_replay(
    measure: Measure, name: str, mechanism: str, pressure: str, tmp_path: Path
) -> None:
    run = Run(name, mechanism, PRESSURE[pressure])
    limits = {"ESSA, random": essa_limit()}
    bars: list[Bar] = []
    if mechanism == "cmma":
        limits.update(lru_limit(run.events, run.frames, tmp_path))
        what = f"replay of the {name} trace, cmma"
        if pressure == "none":
            bars = [
                Bar(f"{what}, against a random ESSA", limit="ESSA, random", at_most=6),
                Bar(f"{what}, no pressure", at_least=40e6),
            ]
        else:
            bars = [Bar(f"{what}, {pressure} pressure", at_least=10e6)]
    measure(
        Plan(
            run.subject,
            items=run.events.size,
            unit="event",
            pages=run.pages,
            prepare=run.prepare,
            check=run.check,
            limits=limits,
            bars=bars,
            facts={"frames": run.frames, "peak_in_use": run.peak},
        )
    )


class SmallOrders:
    """Free page reporting of single pages: as many events and passes, however large the guest."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.events = workloads.single_pages_trace(pages, 1 << 18)
        self.times = np.arange(self.events.size, dtype=np.uint64) * np.uint64(16_000)
        self.guest: Guest | None = None
        self.replay: Replay | None = None

    def prepare(self) -> None:
        self.guest = Guest(self.pages, Host(self.pages, 0), mechanism="reporting")
        self.guest.set_reporting(order=0, delay_ns=REPORT_DELAY_NS, spare=self.pages)
        self.replay = Replay(self.guest, self.events, self.times)

    def subject(self) -> int:
        assert self.replay is not None
        return self.replay.run()

    def check(self, done: int) -> None:
        assert done == self.events.size
        assert self.guest is not None
        assert self.guest.reporting()["blocks_reported"] > done // 2


@pytest.mark.parametrize("bits", [16, 18, 20])
def bench_reporting_of_order_0(measure: Measure, bits: int) -> None:
    """A pass costs what it reports, not what was reported before; the limit is a small guest."""
    run, small = SmallOrders(1 << bits), SmallOrders(1 << 14)
    name = "2^14 pages"
    bars = []
    if bits == 20:  # whose tables no cache holds
        what = "reporting of order 0, an event from 2^14 to 2^20 pages"
        bars = [Bar(what, limit=name, at_most=4)]
    measure(
        Plan(
            run.subject,
            items=run.events.size,
            unit="event",
            pages=run.pages,
            prepare=run.prepare,
            check=run.check,
            limits={name: Limit(small.subject, small.events.size, small.prepare)},
            bars=bars,
        )
    )


@pytest.mark.parametrize("pressure", ["none", "mild"])
def bench_replay_with_set_up_and_close(measure: Measure, pressure: str) -> None:
    """The sample by cmma, from no host at all to one that is closed; the limit is the run alone.

    Its guest has the pages that events name, as those of `compare` have.
    """
    run, alone = (Run("sample", "cmma", PRESSURE[pressure], dense=True) for _ in range(2))

    def whole() -> int:
        run.prepare()
        done = run.subject()
        assert run.host is not None
        run.host.close()  # and its guest, as `compare` does
        return done

    def check(done: int) -> None:
        assert done == run.events.size

    measure(
        Plan(
            whole,
            items=run.events.size,
            unit="event",
            pages=run.pages,
            check=check,
            limits={"the run alone": Limit(alone.subject, run.events.size, alone.prepare)},
            bars=[Bar("replay of the sample with set-up and close", at_least=50e6)]
            if pressure == "none"
            else [],
            facts={"frames": run.frames, "peak_in_use": run.peak},
        )
    )

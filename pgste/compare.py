# SPDX-License-Identifier: MIT
"""One trace through several mechanisms, on hosts of one size: what each saves and costs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine import Guest, Host, Replay, mechanisms
from pgste.errors import ArgumentError, ArgumentTypeError, UnknownNameError
from pgste.trace import Trace

__all__ = [
    "ROWS",
    "Comparison",
    "MechanismResult",
    "Row",
    "compare",
    "guest_pages",
    "kernel_watermarks",
]

Progress = Callable[[str, int, int], object]

# A guest starts on a multiple of this many pages below the lowest one of the trace, so that
# blocks keep their alignment.
_ALIGN = 1 << 10
_DEFAULT_SHARE = 0.75
_REPORTING = (
    "order",
    "max_order",
    "parked_order",
    "parked_high",
    "parked_batch",
    "capacity",
    "delay_ns",
    "ack_ns",
    "min",
    "low",
    "spare",
    "poison",
    "negotiated",
    "inhibited",
)


@dataclass(frozen=True)
class Row:
    """A line of the comparison: key in `MechanismResult.values`, its name, and what it counts."""

    key: str
    title: str
    meaning: str
    unit: str = "count"


ROWS = (
    Row("swap_outs", "swap-outs", "pages written to swap"),
    Row("swap_ins", "swap-ins", "pages read from swap"),
    Row("discards", "discarded unwritten", "free pages that reclaim dropped without a write"),
    Row("zap_slots_freed", "swap slots freed by zap", "by CBRL entries or by madvise"),
    Row("hint_frames_freed", "frames freed by hints", "given back at once, before any reclaim"),
    Row("zero_fills", "zero-fill faults", "page faults answered with a zeroed frame"),
    Row("hints", "hints", "ESSA instructions, madvise or report calls for free and alloc"),
    Row("hint_pages", "pages hinted", "pages that the hints covered"),
    Row("intercepts", "intercepts", "exits to process a full CBRL"),
    Row("frames_peak", "host frames, peak", "most frames in use at once"),
    Row("frames_mean", "host frames, mean", "over trace time"),
    Row("swap_peak", "swap slots, peak", "most slots in use at once"),
    Row("swap_mean", "swap slots, mean", "over trace time"),
    Row("stale_allocs", "allocs of stale pages", "a read before the first write sees it"),
    Row("events_per_second", "events a second", "replay speed on this machine", "rate"),
)


@dataclass(frozen=True)
class MechanismResult:
    """What a mechanism did: `values` by row key, and samples over trace time (arrays).

    ``seconds`` is the time of each sample.  ``frames_used`` and ``swap_used`` are the host
    frames and swap slots in use then.  ``pages_in_use`` is what the guests themselves need:
    pages that the trace shows as in use, over all guests.  These are the pages live at the
    start (their first event is a free) plus pages allocated less pages freed since.  A page
    that no event names never counts.  It is the same for every mechanism.
    """

    mechanism: str
    values: dict[str, float]
    seconds: npt.NDArray[np.float64]
    pages_in_use: npt.NDArray[np.uint64]
    frames_used: npt.NDArray[np.uint64]
    swap_used: npt.NDArray[np.uint64]
    guest_stats: dict[str, int]
    host_stats: dict[str, int]
    replay_stats: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: settings in common, and a `MechanismResult` for each mechanism."""

    trace: str
    summary: dict[str, Any]
    guests: int
    host_frames: int
    host_frames_reason: str
    swap_slots: int
    watermarks: tuple[int, int]
    generation: str
    results: tuple[MechanismResult, ...] = field(repr=False)
    #: Settings of free page reporting (`Guest.reporting`), if it took part.
    reporting: dict[str, Any] | None = None
    flavour: str = "kvm"

    def __getitem__(self, mechanism: str) -> MechanismResult:
        """The result of one mechanism, by name; KeyError names it."""
        for result in self.results:
            if result.mechanism == mechanism:
                return result
        raise KeyError(mechanism)

    def to_dict(self, samples: bool = True) -> dict[str, Any]:
        """Everything as plain data for JSON; without the samples over time on request."""
        columns: dict[str, Any] = {}
        for result in self.results:
            column: dict[str, Any] = {
                **result.values,
                "guest": result.guest_stats,
                "host": result.host_stats,
                "replay": result.replay_stats,
            }
            if samples:
                column["samples"] = {
                    "seconds": result.seconds.tolist(),
                    "pages_in_use": result.pages_in_use.tolist(),
                    "frames_used": result.frames_used.tolist(),
                    "swap_used": result.swap_used.tolist(),
                }
            columns[result.mechanism] = column
        return {
            "trace": self.trace,
            "summary": self.summary,
            "guests": self.guests,
            "host_frames": self.host_frames,
            "host_frames_reason": self.host_frames_reason,
            "swap_slots": self.swap_slots,
            "watermarks": {"low": self.watermarks[0], "high": self.watermarks[1]},
            "generation": self.generation,
            "flavour": self.flavour,
            "reporting": self.reporting,
            "mechanisms": columns,
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw what each mechanism holds beside what the guests use, into a picture file."""
        from pgste import plot

        plot.plot_comparison(self, path)


def kernel_watermarks(frames: int, batch: int = 32) -> tuple[int, int]:
    """Low and high watermark, in frames, for a host with this many frames.

    The kernel's ``min_free_kbytes`` (the root of 16 times the memory in KiB, mm/page_alloc.c)
    and its low and high, a quarter and a half above; never more than a quarter of the host.
    """
    minimum = math.isqrt(64 * frames) // 4
    low = max(minimum * 5 // 4, 1)
    high = max(minimum * 3 // 2, low + batch)
    low, high = min(low, frames // 4), min(high, frames // 4)
    return (low, high) if low < high else (0, max(high, 1))


def guest_pages(summary: dict[str, Any]) -> tuple[int, int]:
    """First pfn of a guest that has every page of the trace, and its pages."""
    base = summary["lowest_pfn"] // _ALIGN * _ALIGN
    return base, summary["highest_pfn"] + 1 - base


def _unseen_pages(trace: Trace, base: int, pages: int) -> npt.NDArray[np.int64]:
    """Pages of the guest that no event names, ascending."""
    edges = np.zeros(pages + 1, np.int64)
    first = trace.pfn.astype(np.int64) - base
    np.add.at(edges, first, 1)
    np.add.at(edges, first + (np.int64(1) << trace.order.astype(np.int64)), -1)
    return np.flatnonzero(np.cumsum(edges[:-1]) == 0)


def _set_up_reporting(
    guests: Sequence[Guest],
    trace: Trace,
    summary: Mapping[str, Any],
    base: int,
    settings: Mapping[str, Any],
    unseen_free: bool,
) -> dict[str, Any]:
    """Set up free page reporting; returns its settings.

    Pages that no event names were in use all the time, or free: the trace does not tell.
    Either they keep blocks from merging and count for the watermarks only, or they are free.
    """
    spare = 0 if unseen_free else guests[0].pages - summary["unique_pages"]
    unseen = _unseen_pages(trace, base, guests[0].pages) if unseen_free else None
    for guest in guests:
        guest.set_reporting(**{"spare": spare, **settings})
        if unseen is not None:
            guest.free(unseen)
    return {
        **{name: value for name, value in guests[0].reporting().items() if name in _REPORTING},
        "unseen_free": unseen_free,
    }


def _sample_steps(trace: Trace, samples: int) -> list[int]:
    """Numbers of events after which to sample, evenly over trace time; the last is the end."""
    nr = len(trace)
    span = int(trace.time[-1]) - int(trace.time[0]) if nr else 0
    if span:
        times = int(trace.time[0]) + np.linspace(0, span, samples + 1)[1:-1]
        steps = np.searchsorted(trace.time, times.astype(np.uint64))
    else:
        steps = np.linspace(0, nr, samples + 1)[1:-1].astype(np.int64)
    return [*(int(step) for step in np.unique(steps) if 0 < step < nr), nr]


def _replay(
    trace: Trace,
    mechanism: str,
    host: Host,
    guests: Sequence[Guest],
    base: int,
    live_at_start: int,
    samples: int,
    progress: Progress | None,
) -> MechanismResult:
    replay = Replay(guests, trace.events, trace.time, base)
    start = int(trace.time[0]) if len(trace) else 0
    rows: list[tuple[float, int, int, int]] = []

    def sample(at: int) -> None:
        stats = host.stats()
        now = (int(trace.time[at]) - start) * 1e-9 if len(trace) else 0.0
        used = stats["frames"] - stats["frames_free"]
        one = guests[0].stats()  # every guest has allocated and freed the same
        in_use = live_at_start + one["pages_allocated"] - one["pages_freed"]
        swap = stats["swap_slots"] - stats["swap_slots_free"]
        rows.append((now, len(guests) * in_use, used, swap))

    sample(0)
    elapsed, done = 0.0, 0
    for step in _sample_steps(trace, samples):
        begin = time.perf_counter()
        replay.run(step - done)
        elapsed += time.perf_counter() - begin
        done = step
        sample(max(step - 1, 0))
        if progress:
            progress(mechanism, done, len(trace))
    replay_stats: dict[str, float] = replay.stats()
    host_stats = host.stats()
    guest_stats = {name: sum(g.stats()[name] for g in guests) for name in guests[0].stats()}
    covered = replay_stats["seconds"]
    values: dict[str, float] = {
        **{row.key: guest_stats[row.key] for row in ROWS if row.key in guest_stats},
        "discards": guest_stats["unused_discards"] + guest_stats["lazyfree_discards"],
        "zap_slots_freed": guest_stats["zap_slots_freed"] + guest_stats["hint_slots_freed"],
        "frames_peak": host_stats["frames_peak"],
        "frames_mean": replay_stats["frame_seconds"] / covered if covered else rows[-1][2],
        "swap_peak": host_stats["swap_peak"],
        "swap_mean": replay_stats["swap_seconds"] / covered if covered else rows[-1][3],
        "stale_allocs": replay_stats["stale_allocs"],
        "events_per_second": replay_stats["events"] / elapsed if elapsed else 0.0,
    }
    seconds, in_use, frames, swap = zip(*rows, strict=True)
    return MechanismResult(
        mechanism=mechanism,
        values=values,
        seconds=np.array(seconds, np.float64),
        pages_in_use=np.array(in_use, np.uint64),
        frames_used=np.array(frames, np.uint64),
        swap_used=np.array(swap, np.uint64),
        guest_stats=guest_stats,
        host_stats=host_stats,
        replay_stats=replay_stats,
    )


def compare(
    trace: Trace,
    mechanisms: Iterable[str] | None = None,
    host_frames: int | None = None,
    guests: int = 1,
    *,
    swap_slots: int | None = None,
    generation: str = "pgtable",
    nodat: bool = False,
    flavour: str = "kvm",
    reporting: Mapping[str, Any] | None = None,
    unseen_free: bool = False,
    samples: int = 400,
    threads: int = 1,
    progress: Progress | None = None,
) -> Comparison:
    """Replay a trace through each mechanism and put side by side what it saves and costs.

    Every mechanism gets a new host of ``host_frames`` frames and ``guests`` guests, each of
    which lives through the whole trace (docs/model.md section 9: pages freed without an
    earlier allocation were live at the start; every allocation is followed by a first write).

    Parameters
    ----------
    trace: the events; at least one.
    mechanisms: names from `pgste.mechanisms()`; all of them by default.
    host_frames: frames of 4 KiB that the guests share; by default 75 % of the most pages that
        the guests have in use at once, those live at the start included.
    guests: number of guests, at least 1.
    swap_slots: by default enough for every page of every guest.
    generation, nodat, flavour: as for `Guest`; "zvm" has the mechanisms none and cmma only.
    reporting: settings of the mechanism ``reporting``, as for `Guest.set_reporting`.  ``spare``
        is by default the pages that no event names.
    unseen_free: for ``reporting``, these pages are free blocks that others merge with.
    samples: how often host memory is sampled, evenly over trace time.
    threads: how many mechanisms are replayed at once.  It changes nothing but speed.
    progress: called with (mechanism, events done, events), by these threads.

    ArgumentError, ArgumentTypeError or UnknownNameError for a bad argument; OutOfFramesError
    when host and swap together cannot hold what the guests use.
    """
    every = ("none", "cmma") if flavour == "zvm" else _engine_mechanisms()
    names = tuple(every if mechanisms is None else mechanisms)
    if isinstance(mechanisms, str):
        raise ArgumentTypeError(f"mechanisms: a sequence of names, not the string {mechanisms!r}")
    for name in names:
        if name not in _engine_mechanisms():
            raise UnknownNameError(
                f"mechanisms: {name!r} is none of {', '.join(_engine_mechanisms())}"
            )
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"mechanisms: {names!r} must name at least one, and none twice")
    if len(trace) == 0:
        raise ArgumentError("trace: has no events")
    _check_count("guests", guests)
    _check_count("samples", samples)
    _check_count("threads", threads)
    summary = trace.summary()
    peak = guests * summary["peak_in_use"]
    reason = f"given; the guests' peak of pages in use is {peak:,}"
    if host_frames is None:
        host_frames = max(int(peak * _DEFAULT_SHARE), 1)
        reason = f"75 % of the guests' peak of {peak:,} pages in use"
    _check_count("host_frames", host_frames)
    base, pages = guest_pages(summary)
    if swap_slots is None:
        swap_slots = guests * summary["unique_pages"] + 64
    low, high = kernel_watermarks(host_frames)
    used: dict[str, Any] | None = None

    def run(name: str) -> MechanismResult:
        nonlocal used
        host = Host(host_frames, swap_slots, low=low, high=high)
        members = [
            Guest(
                pages,
                host=host,
                mechanism=name,
                generation=generation,
                nodat=nodat,
                flavour=flavour,
            )
            for _ in range(guests)
        ]
        if name == "reporting":
            used = _set_up_reporting(members, trace, summary, base, reporting or {}, unseen_free)
        live = summary["live_at_start"]
        result = _replay(trace, name, host, members, base, live, samples, progress)
        host.close()
        return result

    with ThreadPoolExecutor(max_workers=threads) as pool:
        results = tuple(pool.map(run, names))
    return Comparison(
        trace=trace.path or "trace",
        summary=summary,
        guests=guests,
        host_frames=host_frames,
        host_frames_reason=reason,
        swap_slots=swap_slots,
        watermarks=(low, high),
        generation=generation,
        results=results,
        reporting=used,
        flavour=flavour,
    )


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ArgumentTypeError(f"{name}: an integer, not {value!r}")
    if value < 1:
        raise ArgumentError(f"{name}: {value} is less than 1")


# The plain name is that of `compare`'s parameter.
_engine_mechanisms = mechanisms

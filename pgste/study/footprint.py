# SPDX-License-Identifier: MIT
"""How much of a guest's free memory each mechanism gives back over time, at what cost: `footprint`.

The host has room for all, so nothing is reclaimed that nobody gave back.  Each mechanism is a pass
over the trace (`src_c/footprint/`).  docs/footprint.md has the rules, and where each is from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._checks import check_callable, count_of, items_of, name_of, names_of, number_of
from pgste._engine import Guest
from pgste._engine.footprint import COUNTS, PLACEMENTS, one_guest, place
from pgste._engine.names import shown
from pgste.errors import ArgumentError, ArgumentTypeError, OutOfFramesError, TraceError
from pgste.study.sizes import check_no_accesses
from pgste.traces.budget import Meter
from pgste.traces.trace import Trace
from pgste.units import PAGE_BYTES, format_bytes

__all__ = [
    "HOST_PAGES",
    "MECHANISMS",
    "PLACED",
    "UNNAMED",
    "Footprint",
    "FootprintLine",
    "footprint",
]

MECHANISMS = (
    "none", "page", "reporting", "hyperalloc", "balloon", "virtio-mem", "proactive"
)  # fmt: skip
HOST_PAGES = ("4K", "2M")
UNNAMED = ("used", "free")
PLACED = ("recorded", *PLACEMENTS)
GRANULES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
MAX_BLOCK = 15  # order of a block: 128 MiB
MAX_SAMPLES = 1 << 20
_MAX_SECONDS = 1e9
_HUGE = 9  # order of a huge page of x86, and of HyperAlloc's frames
_ALIGN = 1 << MAX_BLOCK
_BYTES_A_PAGE = 32  # of the tables of a pass
_PAGES_A_UNIT = 32  # of work: a pass looks at a few bytes of each page before it starts
_MOST_PLACES = 1 << 31
_GIB_PAGES = (1 << 30) // PAGE_BYTES

Progress = Callable[[str, int, int], object]


@dataclass(frozen=True)
class FootprintLine:
    """What one mechanism, with one setting, had the host hold."""

    mechanism: str
    setting: str
    """What tells it from other lines of the mechanism; may be empty."""
    held: npt.NDArray[np.int64] = field(repr=False)
    """Pages of 4 KiB that the host holds at each of the footprint's times."""
    held_mean: float
    """The same over all of the trace, weighted by time and exact."""
    saved: float
    """GiB times seconds that it holds less than the mechanism ``none``."""
    part: float
    """Of the free memory that ``none`` holds, what this one gave back; below 0 if it holds more."""
    counts: dict[str, int]
    """``calls``, ``discards``, ``faults``, ``waits`` and others: pgste/footprint.h has the list."""

    @property
    def name(self) -> str:
        """Mechanism and setting."""
        return f"{self.mechanism}, {self.setting}" if self.setting else self.mechanism


@dataclass(frozen=True)
class Footprint:
    """The result of `footprint`: a line for each mechanism and setting."""

    trace: str
    summary: dict[str, Any]
    host_pages: str
    unnamed: str
    placement: str
    times: npt.NDArray[np.float64] = field(repr=False)
    """Seconds after the first event at which it was looked at."""
    used: npt.NDArray[np.int64] = field(repr=False)
    """Pages in use at these times."""
    used_mean: float
    lines: tuple[FootprintLine, ...]
    granules: dict[int, dict[str, float]]
    """For an order of blocks and a size of host pages: the part of free memory that comes back if
    each wholly free block does at once."""

    def __getitem__(self, name: str) -> FootprintLine:
        """The first line of a mechanism, or the line of a mechanism and setting; KeyError."""
        for line in self.lines:
            if name in (line.mechanism, line.name):
                return line
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "trace": self.trace,
            "summary": self.summary,
            "host_pages": self.host_pages,
            "unnamed": self.unnamed,
            "placement": self.placement,
            "times": self.times.tolist(),
            "used": self.used.tolist(),
            "used_mean": self.used_mean,
            "lines": [
                {
                    "mechanism": line.mechanism,
                    "setting": line.setting,
                    "held": line.held.tolist(),
                    "held_mean": line.held_mean,
                    "saved_gib_seconds": line.saved,
                    "part_of_free": line.part,
                    **line.counts,
                }
                for line in self.lines
            ],
            "granules": [
                {"order": order, **{f"part_of_free_{name}": part for name, part in parts.items()}}
                for order, parts in self.granules.items()
            ],
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw what is held over time, and what came back, into a picture file."""
        from pgste.study.footprint_plot import plot_footprint  # matplotlib is slow to import

        plot_footprint(self, path)


@dataclass(frozen=True)
class _Setting:
    """What all passes have in common."""

    trace: Trace
    summary: dict[str, Any]
    base: int
    pages: int
    unnamed_free: bool
    samples: npt.NDArray[np.uint64]

    def run(self, host_pages: str, rule: str, **how: Any) -> dict[str, Any]:
        return one_guest(
            self.trace.events,
            self.trace.time,
            rule,
            base=self.base,
            pages=self.pages,
            unnamed_free=self.unnamed_free,
            host_order=_HUGE if host_pages == "2M" else 0,
            samples=self.samples,
            **how,
        )

    def reporting(self, order: int, delay: int) -> dict[str, Any]:
        """Settings of free page reporting; free pages in no event count for watermarks."""
        guest = Guest(self.pages, mechanism="reporting")
        spare = 0 if self.unnamed_free else self.pages - self.summary["unique_pages"]
        top = max(order, 10)
        guest.set_reporting(max_order=top, order=order, delay_ns=delay, spare=spare)
        settings: dict[str, Any] = guest.reporting()
        return settings

    def part(self, none: dict[str, Any], one: dict[str, Any]) -> float:
        """Of the free memory that is held with none, what the other does not hold."""
        free = none["held_seconds"] - none["used_seconds"]
        return (none["held_seconds"] - one["held_seconds"]) / free if free else 0.0


def footprint(
    trace: Trace,
    mechanisms: Iterable[str] | None = None,
    *,
    host_pages: str = "4K",
    unnamed: str = "used",
    placement: str = "recorded",
    orders: Iterable[int] = (9,),
    delays: Iterable[float] = (2.0,),
    scan: float = 5.0,
    policy: float = 1.0,
    reserve: int | None = None,
    blocks: Iterable[int] = (9, 11, 13, 15),
    age: float = 120.0,
    samples: int = 200,
    progress: Progress | None = None,
) -> Footprint:
    """How much host memory a guest holds over a trace, by how its free memory comes back.

    Parameters
    ----------
    trace: the events; at least one, and no accesses.
    mechanisms: of ``none``, ``page``, ``reporting``, ``hyperalloc``, ``balloon``, ``virtio-mem``
        and ``proactive``; all by default, but for ``proactive`` with host pages of 2 MiB, which
        it does not have.
    host_pages: "4K", or "2M": transparent huge pages.
    unnamed: what pages in no event are all the time: "used", and left out of what is held, or
        "free".
    placement: which pages the guest's allocator hands out: those "recorded", or in a guest that
        starts with next to nothing in use the "lowest" that are free, or those of the kernel's
        "buddy" allocator.
    orders, delays: of ``reporting``, each with each: the smallest order that is reported, 0 .. 15,
        and seconds from a free to the pass.
    scan: seconds from one scan of HyperAlloc's host to the next.
    policy: seconds from one decision of the host to the next, for ``balloon`` and ``virtio-mem``.
    reserve: bytes of free memory that these two leave to the guest; by default a sixteenth of its
        pages.
    blocks: orders of the blocks of ``virtio-mem``, 0 .. 15.
    age: seconds after which ``proactive`` pages out what was not touched.
    samples: how many times to look, evenly over trace time.
    progress: called with ("passes", passes done, passes).

    ArgumentError, ArgumentTypeError or UnknownNameError for a bad argument; ModelMemoryError, and
    TraceError if the pages of the guest take more than the trace's budget.
    """
    name_of("host_pages", host_pages, HOST_PAGES)
    name_of("unnamed", unnamed, UNNAMED)
    name_of("placement", placement, PLACED)
    every = MECHANISMS if host_pages == "4K" else MECHANISMS[:-1]
    names = every if mechanisms is None else names_of("mechanisms", mechanisms, MECHANISMS)
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"mechanisms: {shown(names)} must name at least one, and none twice")
    if "proactive" in names and host_pages == "2M":
        raise ArgumentError(
            "mechanisms: 'proactive' pages out pages of 4 KiB, not host pages of 2M"
        )
    how = {
        "orders": _orders("orders", orders),
        "delays": [_ns(f"delays[{i}]", one, 0) for i, one in enumerate(_several("delays", delays))],
        "scan": _ns("scan", scan, 1e-9),
        "policy": _ns("policy", policy, 1e-9),
        "blocks": _orders("blocks", blocks),
        "age": _ns("age", age, 1e-9),
    }
    if reserve is not None:
        reserve = count_of("reserve", reserve, 1 << 60, least=0)
    samples = count_of("samples", samples, MAX_SAMPLES)
    check_callable("progress", progress)
    _check_trace(trace)
    placed = trace if placement == "recorded" else _placed(trace, placement)
    setting = _setting(placed, unnamed == "free", samples)
    if reserve is None:
        reserve = setting.summary["unique_pages"] * PAGE_BYTES // 16
    plans = [plan for name in names for plan in _plans(name, how, reserve, setting)]
    total = len(plans) + len(GRANULES) * len(HOST_PAGES) + 2
    _check_room(setting, total)
    steps = iter(range(1, total + 1))

    def run(pages: str, rule: str, how: dict[str, Any]) -> dict[str, Any]:
        done = setting.run(pages, rule, **how)
        step = next(steps)
        if progress:
            progress("passes", step, total)
        return done

    if progress:
        progress("passes", 0, total)
    nones = {pages: run(pages, "keep", {}) for pages in HOST_PAGES}
    none = nones[host_pages]
    lines = [
        _line(setting, name, told, none, run(host_pages, rule, way))
        for name, told, rule, way in plans
    ]
    granules = {
        order: {
            pages: setting.part(nones[pages], run(pages, "blocks", {"block_order": order}))
            for pages in HOST_PAGES
        }
        for order in GRANULES
    }
    return Footprint(
        trace=trace.path or "trace",
        summary=setting.summary if placed is trace else trace.summary(),
        host_pages=host_pages,
        unnamed=unnamed,
        placement=placement,
        times=setting.samples / 1e9,
        used=none["used"].astype(np.int64),
        used_mean=_mean(setting, none, "used"),
        lines=tuple(lines),
        granules=granules,
    )


# ---- arguments ------------------------------------------------------------------------


def _several(name: str, values: object) -> tuple[Any, ...]:
    found = items_of(name, values, object, "numbers", 1 << 10)
    if not found:
        raise ArgumentError(f"{name}: none given")
    return found


def _orders(name: str, values: object) -> list[int]:
    return [
        count_of(f"{name}[{i}]", one, MAX_BLOCK, least=0)
        for i, one in enumerate(_several(name, values))
    ]


def _ns(name: str, value: Any, least: float) -> int:
    return round(number_of(name, value, least, _MAX_SECONDS, " s") * 1e9)


def _check_trace(trace: object) -> None:
    if not isinstance(trace, Trace):
        raise ArgumentTypeError(f"trace: {shown(trace)} is not a Trace")
    check_no_accesses(trace)
    if len(trace) == 0:
        raise ArgumentError("trace: has no events")


def _placed(trace: Trace, placement: str) -> Trace:
    """The trace in the pages that another allocator hands out, in a guest twice its peak or more.

    TraceError if it takes more than the trace's budget; OutOfFramesError if its blocks are larger
    than the allocator's.
    """
    summary = trace.summary()
    base, span = summary["lowest_pfn"], summary["highest_pfn"] + 1 - summary["lowest_pfn"]
    most = len(trace) + summary["pages_allocated"] + summary["pages_freed"]
    places = 1 << max((2 * summary["peak_in_use"] - 1).bit_length(), 10)
    meter = Meter(trace._budget, 16 * len(trace))
    try:
        meter.memory(16 * most + 5 * span + _BYTES_A_PAGE * places, "placing its pages anew")
    except TraceError as error:
        raise TraceError(error.reason, path=trace.path) from None
    while True:
        try:
            events, which = place(
                trace.events, placement, base=base, pages=span, places=places, most=most
            )
            break
        except OutOfFramesError:
            places *= 2  # no block is free that is large enough
            if places > _MOST_PLACES or places > 64 * summary["peak_in_use"] + (1 << 20):
                raise
    placed = Trace(events, trace.time[which.astype(np.int64)], path=trace.path)
    placed._budget = trace._budget
    return placed


def _setting(trace: Trace, unnamed_free: bool, samples: int) -> _Setting:
    summary = trace.summary()
    base = summary["lowest_pfn"] // _ALIGN * _ALIGN
    pages = -(-(summary["highest_pfn"] + 1 - base) // _ALIGN) * _ALIGN
    if pages >= 1 << 32:
        raise ArgumentError(
            f"trace: {pages:,} pages from the lowest to the highest, not below 2^32"
        )
    span = int(trace.time[-1]) - int(trace.time[0])
    at = [span * (i + 1) // samples for i in range(samples)] if samples > 1 else [span]
    return _Setting(trace, summary, base, pages, unnamed_free, np.array(at, np.uint64))


def _check_room(setting: _Setting, passes: int) -> None:
    trace, pages = setting.trace, setting.pages
    meter = Meter(trace._budget, 16 * len(trace))
    what = f"a guest of {pages:,} pages, of which events name {setting.summary['unique_pages']:,},"
    try:
        meter.work(passes * pages // _PAGES_A_UNIT, what)
        meter.memory(_BYTES_A_PAGE * pages, what)
    except TraceError as error:
        raise TraceError(error.reason, path=trace.path) from None


# ---- mechanisms -----------------------------------------------------------------------

_Plan = tuple[str, str, str, dict[str, Any]]  # mechanism, setting, rule, its arguments


def _plans(name: str, how: dict[str, Any], reserve: int, setting: _Setting) -> Iterator[_Plan]:
    kept = {"period_ns": how["policy"], "reserve": -(-reserve // PAGE_BYTES)}
    if name == "none":
        yield name, "", "keep", {}
    elif name == "page":
        yield name, "", "blocks", {"block_order": 0}
    elif name == "reporting":
        for order in how["orders"]:
            for delay in how["delays"]:
                told = f"order {order}, {_seconds(delay)}"
                yield name, told, "reporting", {"reporting": setting.reporting(order, delay)}
    elif name == "hyperalloc":
        frames = {"block_order": _HUGE, "period_ns": how["scan"], "asks": True, "populate": True}
        yield name, _seconds(how["scan"]), "blocks", frames
    elif name == "balloon":
        yield name, _seconds(how["policy"]), "balloon", kept
    elif name == "virtio-mem":
        for order in how["blocks"]:
            size = format_bytes(PAGE_BYTES << order)
            yield name, size, "blocks", {"block_order": order, "asks": True, **kept}
    else:
        yield name, _seconds(how["age"]), "age", {"period_ns": how["age"]}


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:g} s"


def _mean(setting: _Setting, one: dict[str, Any], name: str) -> float:
    seconds = setting.trace.seconds
    return float(one[f"{name}_seconds"] / seconds if seconds else one[name][-1])


def _line(
    setting: _Setting, name: str, told: str, none: dict[str, Any], one: dict[str, Any]
) -> FootprintLine:
    return FootprintLine(
        mechanism=name,
        setting=told,
        held=one["held"].astype(np.int64),
        held_mean=_mean(setting, one, "held"),
        saved=(none["held_seconds"] - one["held_seconds"]) / _GIB_PAGES,
        part=setting.part(none, one),
        counts={count: one[count] for count in COUNTS},
    )

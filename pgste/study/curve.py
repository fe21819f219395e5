# SPDX-License-Identifier: MIT
"""Swap traffic, faults and footprint of each mechanism over every size of the host: `curve`.

One pass over the trace tells what hosts of all sizes do if their pages leave in exact LRU order
(`src_c/curve/`); a few replays on the engine tell how far it is from that, and how far the
corrected curve still is.  docs/curve.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._checks import check_callable, count_of, items_of, names_of, number_of
from pgste._engine import Guest, Host, Replay, mechanisms
from pgste._engine.curve import one_pass
from pgste._engine.names import shown
from pgste._threads import run_each, threads_asked
from pgste.enums import State
from pgste.errors import ArgumentError, ArgumentTypeError
from pgste.study.dense import guests_pages, pages_for
from pgste.study.sizes import (
    check_no_accesses,
    check_reporting,
    check_room,
    guest_pages,
    kernel_watermarks,
)
from pgste.traces.events import each_page
from pgste.traces.trace import Trace

__all__ = ["Curve", "CurveError", "CurveLine", "curve"]

Progress = Callable[[str, int, int], object]
Values = dict[str, npt.NDArray[np.float64]]

MAX_FRAMES = (1 << 32) - 2  # of one host
MAX_GUESTS = 65535
MAX_POINTS = 1 << 24
MAX_REPLAYS = 1025
_POINTS = 100
_SAMPLES = 64  # looks at memory, evenly over trace time
_CHECKS = 8  # replays that tell whether a curve is within the tolerance; fewer must be nearer
_LOOKS = 1024  # for pages that were reported, evenly over the events
_RULES = {"none": "keep", "cmma": "unused", "madv_dontneed": "give", "madv_free": "lazy"}
_RULES["reporting"] = "keep"
_COUNTS = ("swap_outs", "swap_ins", "zero_fills", "discards")
_MEANS = ("frames_mean", "swap_mean")
_TOLD = ("swap_traffic", "faults")
_NOTHING = np.empty(0, np.uint64)


@dataclass(frozen=True)
class CurveError:
    """How far a corrected curve is from replays that it was not corrected by.

    Shares of the largest value of the curve, by name of the value: ``swap_traffic``, ``faults``.
    """

    sizes: tuple[int, ...]
    """Frames of the hosts that were replayed for it."""
    mean: dict[str, float]
    worst: dict[str, float]


@dataclass(frozen=True)
class CurveLine:
    """A mechanism over all sizes of the host.

    ``values`` has an array for each of ``swap_outs``, ``swap_ins``, ``zero_fills``, ``discards``
    (counts), ``frames_mean`` and ``swap_mean`` (frames and swap slots in use, over trace time).
    """

    mechanism: str
    values: Values = field(repr=False)
    replayed: tuple[int, ...]
    """Frames of the hosts that it was corrected by; none if it is exact LRU order."""
    error: CurveError | None
    """None: nothing was replayed, so nothing was measured."""

    @property
    def swap_traffic(self) -> npt.NDArray[np.float64]:
        """Pages written to swap and read from it, for each size."""
        return self.values["swap_outs"] + self.values["swap_ins"]

    @property
    def faults(self) -> npt.NDArray[np.float64]:
        """Page faults that need a frame, zeroed or filled from swap, for each size."""
        return self.values["zero_fills"] + self.values["swap_ins"]


@dataclass(frozen=True)
class Curve:
    """The result of `curve`: sizes of the host, and a `CurveLine` for each mechanism."""

    trace: str
    summary: dict[str, Any]
    guests: int
    sizes: npt.NDArray[np.int64] = field(repr=False)
    """Frames of the host, ascending."""
    share: float
    """Of the pages, those that the pass looked at."""
    lines: tuple[CurveLine, ...]

    def __getitem__(self, mechanism: str) -> CurveLine:
        """The line of one mechanism, by name; KeyError names it."""
        for line in self.lines:
            if line.mechanism == mechanism:
                return line
        raise KeyError(mechanism)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "trace": self.trace,
            "summary": self.summary,
            "guests": self.guests,
            "sizes": self.sizes.tolist(),
            "share": self.share,
            "mechanisms": {line.mechanism: _plain(line) for line in self.lines},
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw swap traffic and faults over the host's size, into a picture file."""
        from pgste.study.curve_plot import plot_curve  # matplotlib is slow to import

        plot_curve(self, path)


def _plain(line: CurveLine) -> dict[str, Any]:
    error = line.error
    return {
        **{name: values.tolist() for name, values in line.values.items()},
        "replayed": list(line.replayed),
        "error": error and {"sizes": list(error.sizes), "mean": error.mean, "worst": error.worst},
    }


@dataclass(frozen=True)
class Setting:
    """What all replays of a curve, or of a search for a size, have in common."""

    trace: Trace
    summary: dict[str, Any]
    guests: int
    reporting: Mapping[str, Any]
    at_once: int
    """Mechanisms that are replayed at the same time."""

    @property
    def most_frames(self) -> int:
        """Frames with which a host that is told nothing writes nothing to swap."""
        return _with_watermarks(self.guests * int(self.summary["unique_pages"]))

    def replay(self, mechanism: str, frames: int, *, swap: bool = True) -> tuple[Replay, Host]:
        """Guests on a host of so many frames, before the first event; the caller runs it.

        The host has a swap slot for each page of the trace, or none.
        """
        low, high = kernel_watermarks(frames)
        slots = self.guests * self.summary["unique_pages"] + 64 if swap else 0
        host = Host(frames, slots, low=low, high=high)
        given = pages_for(self.trace, self.summary, mechanism)
        members = [Guest(given.pages, host=host, mechanism=mechanism) for _ in range(self.guests)]
        if mechanism == "reporting":
            spare = given.pages - self.summary["unique_pages"]
            for member in members:
                member.set_reporting(**{"spare": spare, **self.reporting})
        return Replay(members, given.events, self.trace.time, given.base), host

    def counted(self, mechanism: str, frames: int) -> dict[str, float]:
        """What the engine counts on a host of so many frames."""
        replay, host = self.replay(mechanism, frames)
        replay.run()
        counts, means = host.stats(), replay.stats()
        host.close()
        seconds = means["seconds"] or 1
        return {
            **{name: float(counts[name]) for name in _COUNTS[:3]},
            "discards": float(counts["unused_discards"] + counts["lazyfree_discards"]),
            "frames_mean": means["frame_seconds"] / seconds,
            "swap_mean": means["swap_seconds"] / seconds,
        }


def _with_watermarks(used: int) -> int:
    """Frames of a host that has so many in use when it reclaims none."""
    frames = used
    while frames - kernel_watermarks(frames)[0] < used:
        frames += max(used - frames + kernel_watermarks(frames)[0], 1)
    return frames


def setting_of(
    trace: Trace,
    names: Sequence[str],
    guests: int,
    reporting: Mapping[str, Any] | None,
    threads: int | None,
) -> Setting:
    """Check what `curve` and `size` are given in common, and that replays have room."""
    if not isinstance(trace, Trace):
        raise ArgumentTypeError(f"trace: {shown(trace)} is not a Trace")
    check_no_accesses(trace)
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"mechanisms: {shown(names)} must name at least one, and none twice")
    if len(trace) == 0:
        raise ArgumentError("trace: has no events")
    check_reporting(reporting)
    summary = trace.summary()
    if guest_pages(summary)[1] > 1 << 40:
        raise ArgumentError(
            f"trace: {guest_pages(summary)[1]:,} pages, more than the 2^40 of a guest"
        )
    setting = Setting(trace, summary, guests, reporting or {}, 1)
    if reporting:
        Guest(1, mechanism="reporting").set_reporting(**reporting)  # refuses what it does not know
    at_once = check_room(
        trace,
        summary,
        guests=guests,
        host_frames=setting.most_frames,
        swap_slots=guests * summary["unique_pages"] + 64,
        mechanisms=names,
        at_once=threads,
        pages=guests_pages(trace, summary, names),
    )
    return replace(setting, at_once=at_once)


def curve(
    trace: Trace,
    mechanisms: Iterable[str] | None = None,
    sizes: int | Iterable[int] = _POINTS,
    guests: int = 1,
    *,
    reporting: Mapping[str, Any] | None = None,
    share: float = 1.0,
    tolerance: float = 0.02,
    replays: int = 18,
    threads: int | None = 1,
    progress: Progress | None = None,
) -> Curve:
    """What a host of each size would do with a trace, for each mechanism.

    Parameters
    ----------
    trace: the events; at least one.
    mechanisms: names from `pgste.mechanisms()`; all of them by default.
    sizes: frames of 4 KiB of the hosts; or how many of them, evenly up to what is enough for all.
    guests: number of guests, each of which lives through the whole trace.
    reporting: settings of the mechanism ``reporting``, as for `Guest.set_reporting`.
    share: of the pages, those that are looked at, chosen by a hash (SHARDS), above 0 .. 1.  With
        less than 1 nothing is replayed, so nothing is corrected and no error is known.
    tolerance: replays go on until swap traffic and faults at the sizes that were checked are
        within this share of the curve's largest value, 0 .. 1.
    replays: of each mechanism, at the most; fewer than 6 are none, and exact LRU order is told.
    threads: mechanisms at once, 1 .. 64; None is as many as there are CPUs, and memory,
        for.  It changes nothing but speed.
    progress: called with (mechanism, steps done, steps), by these threads.

    ArgumentError, ArgumentTypeError or UnknownNameError for a bad argument; ModelMemoryError
    and TraceError as for `compare`.
    """
    every = _engine_mechanisms()
    names = every if mechanisms is None else names_of("mechanisms", mechanisms, every)
    guests = count_of("guests", guests, MAX_GUESTS)
    replays = count_of("replays", replays, MAX_REPLAYS, least=0)
    number_of("share", share, 2.0**-32, 1)
    number_of("tolerance", tolerance, 0, 1)
    check_callable("progress", progress)
    setting = setting_of(trace, names, guests, reporting, threads_asked(threads))
    frames = _sizes_of(sizes, setting)
    samples = _sample_events(trace)

    def run(name: str) -> CurveLine:
        steps = 1 + replays

        def done(step: int) -> None:
            if progress:
                progress(name, step, steps)

        done(0)
        values = lru_values(setting, name, frames, samples, share)
        knee = int(np.argmin(values["swap_outs"] > 0)) or len(frames) - 1
        levels = _levels(len(frames), knee, replays if share == 1 else 0)
        line = _corrected(setting, name, frames, values, levels, tolerance, done)
        done(steps)
        return line

    return Curve(
        trace=trace.path or "trace",
        summary=setting.summary,
        guests=guests,
        sizes=frames,
        share=share,
        lines=tuple(run_each(run, names, setting.at_once)),
    )


def _sizes_of(sizes: int | Iterable[int], setting: Setting) -> npt.NDArray[np.int64]:
    if isinstance(sizes, Iterable) and not isinstance(sizes, str):
        items = items_of("sizes", sizes, object, "sizes", MAX_POINTS)
        given = sorted({count_of(f"sizes[{i}]", one, MAX_FRAMES) for i, one in enumerate(items)})
        if not given or len(given) > MAX_POINTS:
            raise ArgumentError(f"sizes: {len(given):,} of them, not 1 .. {MAX_POINTS:,}")
        return np.array(given, np.int64)
    number = count_of("sizes", sizes, MAX_POINTS)
    most = setting.most_frames
    every = np.maximum(np.arange(1, number + 1, dtype=np.int64) * most // number, 1)
    return every[np.diff(every, prepend=0) > 0]


def _sample_events(trace: Trace) -> npt.NDArray[np.uint64]:
    """Numbers of events that are done at `_SAMPLES` moments, evenly over trace time."""
    span = int(trace.time[-1]) - int(trace.time[0])
    moments = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    if not span:
        return (moments * len(trace)).astype(np.uint64)
    times = int(trace.time[0]) + (moments * span).astype(np.uint64)
    return np.searchsorted(trace.time, times, side="right").astype(np.uint64)


# ---- exact LRU order ------------------------------------------------------------------


def lru_values(
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    samples: npt.NDArray[np.uint64],
    share: float = 1.0,
) -> Values:
    """One pass: what hosts of so many frames do if pages leave in exact LRU order.

    A host keeps some frames free: it has half way between its watermarks fewer to use.
    """
    used = frames - np.array([sum(kernel_watermarks(int(n))) // 2 for n in frames])
    scaled = np.maximum(np.rint(np.maximum.accumulate(used) * share), 1).astype(np.uint64)
    given, given_at = _NOTHING, _NOTHING
    if mechanism == "reporting":
        given, given_at = _reported(setting)
    counted = one_pass(
        setting.trace.events,
        _RULES[mechanism],
        scaled,
        guests=setting.guests,
        samples=samples,
        given=given,
        given_at=given_at,
        share=round(share * (1 << 32)),
    )
    weight = _weight(setting, share)
    values = {name: counted[name].astype(np.float64) * weight for name in _COUNTS}
    values["frames_mean"] = counted["frames"] / (share * len(samples))
    values["swap_mean"] = counted["slots"] / (share * len(samples))
    return values


def _weight(setting: Setting, share: float) -> float:
    """How many stores stand behind one that was looked at: some pages have more than others."""
    if share == 1:
        return 1.0
    # where a free page is given back, each store is a zero fill
    looked_at = one_pass(
        setting.trace.events,
        "give",
        np.ones(1, np.uint64),
        guests=1,
        samples=_NOTHING,
        given=_NOTHING,
        given_at=_NOTHING,
        share=round(share * (1 << 32)),
    )
    return float(setting.summary["pages_allocated"]) / max(int(looked_at["zero_fills"][0]), 1)


def _reported(setting: Setting) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Pages that free page reporting gives back, and before which event: no host changes that.

    On a host with room for all, a page that loses its frame was reported.
    """
    trace = setting.trace
    alone = replace(setting, guests=1)
    replay, host = alone.replay("reporting", _with_watermarks(alone.summary["unique_pages"]) + 64)
    guest = replay.guests[0]
    base, _ = guest_pages(setting.summary)
    pages, events = [_NOTHING], [_NOTHING]
    absent, hints, since = _absent(guest), 0, 0
    step = -(-len(trace) // _LOOKS)
    while replay.run(step):
        if guest.stats()["hints"] == hints:
            continue
        hints, at = guest.stats()["hints"], replay.position
        absent[_allocated(trace, since, at) - base] = False
        now = _absent(guest)
        gone = np.flatnonzero(now & ~absent)
        pages.append((gone + base).astype(np.uint64))
        events.append(np.full(len(gone), at, np.uint64))
        absent, since = now, at
    host.close()
    return np.concatenate(pages), np.concatenate(events)


def _absent(guest: Guest) -> npt.NDArray[np.bool_]:
    """Pages without a frame, of a host that never reclaims."""
    absent: npt.NDArray[np.bool_] = (guest.states() & State.VALID) == 0
    return absent


def _allocated(trace: Trace, start: int, stop: int) -> npt.NDArray[np.int64]:
    """Pages of the blocks that these events allocate."""
    which = np.flatnonzero(trace.kind[start:stop] == 0) + start
    return each_page(trace.pfn[which], trace.order[which])[0]


# ---- the correction -------------------------------------------------------------------


def _levels(nr: int, knee: int, replays: int) -> list[list[int]]:
    """Which of the sizes (indices) to replay, level by level, each between those before.

    The first level has both ends, the middle, and the knee from which on nothing is swapped: what
    is off changes its course there.  What a level predicts is checked by the next.
    """
    last = nr - 1
    levels = [sorted({0, last // 2, knee, last})]
    seen = set(levels[0])
    parts = 4
    while True:
        new = sorted({last * k // parts for k in range(1, parts)} - seen)
        if not new or len(seen) + len(new) > replays:
            return levels if len(levels) > 1 else []
        seen.update(new)
        levels.append(new)
        parts *= 2


def _corrected(
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    lru: Values,
    levels: Sequence[Sequence[int]],
    tolerance: float,
    done: Callable[[int], None],
) -> CurveLine:
    """The line, with the difference that replays show added, in straight lines between them.

    Each level of replays first checks what those before predict, and then corrects, too, unless
    it is the last.
    """
    anchors: dict[int, dict[str, float]] = {}
    values, error = lru, None
    step = 1
    for number, level in enumerate(levels):
        counted = {}
        for i in level:
            done(step)
            counted[i] = setting.counted(mechanism, int(frames[i]))
            step += 1
        if number:
            error = _error(frames, values, counted)
            near = tolerance * min(len(level) / _CHECKS, 1)  # a few may be near by chance
            if number == len(levels) - 1 or max(error.worst.values()) <= near:
                break
        anchors.update(counted)
        values = _with_anchors(frames, lru, anchors)
    return CurveLine(mechanism, values, tuple(int(frames[i]) for i in sorted(anchors)), error)


def _with_anchors(
    frames: npt.NDArray[np.int64], lru: Values, anchors: Mapping[int, Mapping[str, float]]
) -> Values:
    at = sorted(anchors)
    values = {}
    for name, uncorrected in lru.items():
        off = [anchors[i][name] - uncorrected[i] for i in at]
        values[name] = np.maximum(uncorrected + np.interp(frames, frames[at], off), 0.0)
    return values


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Swap traffic and faults, from the counts that they are sums of."""
    return {
        "swap_traffic": values["swap_outs"] + values["swap_ins"],
        "faults": values["zero_fills"] + values["swap_ins"],
    }


def _error(
    frames: npt.NDArray[np.int64], values: Values, counted: Mapping[int, Mapping[str, float]]
) -> CurveError:
    predicted = told(values)
    off: dict[str, list[float]] = {}
    for name in _TOLD:
        most = max(float(predicted[name].max()), 1.0)
        off[name] = [abs(predicted[name][i] - told(one)[name]) / most for i, one in counted.items()]
    return CurveError(
        sizes=tuple(int(frames[i]) for i in counted),
        mean={name: float(np.mean(each)) for name, each in off.items()},
        worst={name: float(max(each)) for name, each in off.items()},
    )


# The plain name is that of a parameter.
_engine_mechanisms = mechanisms

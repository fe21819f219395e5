# SPDX-License-Identifier: MIT
"""Swap traffic, faults and footprint of each mechanism over every size of the host: `curve`.

One pass over the trace tells what hosts of all sizes do if their pages leave in exact LRU order
(`src_c/curve/`); a few replays on the engine tell how far it is from that, and how far the
corrected curve still is.  docs/curve.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._checks import check_callable, count_of, items_of, names_of, number_of
from pgste._engine import mechanisms
from pgste._threads import run_each, threads_asked
from pgste.errors import ArgumentError
from pgste.study.correction import CurveError, corrected, levels_of
from pgste.study.lru_order import Values, knee_of, sample_events
from pgste.study.setting import Setting, setting_of
from pgste.study.small_hosts import STEPS, Part, guessed, part_of
from pgste.traces.trace import Trace
from pgste.units import PAGE_BYTES, format_bytes

__all__ = ["Curve", "CurveError", "CurveLine", "curve"]

Progress = Callable[[str, int, int], object]

MAX_FRAMES = (1 << 32) - 2  # of one host
MAX_GUESTS = 65535
MAX_POINTS = 1 << 24
MAX_REPLAYS = 1025
LEAST_REPLAYS = 6  # fewer are none
_POINTS = 100


@dataclass(frozen=True)
class CurveLine:
    """A mechanism over all sizes of the host.

    ``values`` has an array for each of ``swap_outs``, ``swap_ins``, ``zero_fills``, ``discards``
    (counts), ``frames_mean`` and ``swap_mean`` (frames and swap slots in use, over trace time).
    """

    mechanism: str
    values: Values = field(repr=False)
    small: tuple[int, ...]
    """Frames of the hosts for which smaller ones were replayed, with `Curve.small_share` of the
    pages, to correct it first."""
    replayed: tuple[int, ...]
    """Frames of the hosts that it was corrected by."""
    error: CurveError | None
    """None: nothing was replayed that it could be measured by, or every size was."""

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
    small_share: float
    """Of the pages, those that replays on small hosts had; 0 if there were none."""
    lines: tuple[CurveLine, ...]

    def __getitem__(self, mechanism: str) -> CurveLine:
        """The line of one mechanism, by name; KeyError names it."""
        for line in self.lines:
            if line.mechanism == mechanism:
                return line
        raise KeyError(mechanism)

    def finding(self) -> str:
        """What it shows, in a sentence: memory for the same swap traffic."""
        base = next((line for line in self.lines if line.mechanism == "none"), self.lines[0])
        at = int(np.searchsorted(self.sizes, 0.75 * self.guests * self.summary["peak_in_use"]))
        traffic = float(base.swap_traffic[min(at, len(self.sizes) - 1)])
        if traffic == 0:
            return "Nothing is written to swap"
        needs = []
        for line in self.lines:
            frames = int(self.sizes[int(np.argmax(line.swap_traffic <= traffic))])
            needs.append(f"{line.mechanism} {format_bytes(frames * PAGE_BYTES)}")
        swapped = format_bytes(traffic * PAGE_BYTES)
        return f"Host memory for {swapped} of swap traffic: {', '.join(needs)}"

    def error_text(self) -> str:
        """What is known of how far it is from the engine, in a sentence."""
        errors = [line.error for line in self.lines if line.error]
        if errors:
            mean = max(max(error.mean.values()) for error in errors)
            worst = max(max(error.worst.values()) for error in errors)
            return (
                f"Replays at {min(len(error.sizes) for error in errors)} other sizes were up to "
                f"{mean:.1%} of a curve's top off on average, and {worst:.1%} at most"
            )
        if all(len(line.replayed) == len(self.sizes) for line in self.lines):
            return "Every size was replayed"
        if self.small_share:
            share = f"{self.small_share:.2%}"
            return f"Corrected by replays of {share} of the pages on small hosts, not checked"
        return "Exact LRU order, which no replay has corrected or checked"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "trace": self.trace,
            "summary": self.summary,
            "guests": self.guests,
            "sizes": self.sizes.tolist(),
            "share": self.share,
            "small_share": self.small_share,
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
        "small": list(line.small),
        "replayed": list(line.replayed),
        "error": error and {"sizes": list(error.sizes), "mean": error.mean, "worst": error.worst},
    }


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
        less than 1 no whole host is replayed, so no error is known.
    tolerance: replays go on until swap traffic and faults at the sizes that were checked are
        on average within this share of the curve's largest value, 0 .. 1.
    replays: of each mechanism, at the most, beside those on small hosts.  If there are no more
        sizes than that, each is replayed; or else fewer than 6 are none, not on small hosts
        either, and exact LRU order is told.
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
    part = part_of(setting, share) if replays >= LEAST_REPLAYS else None

    def run(name: str) -> CurveLine:
        steps, done = STEPS + 1 + replays, 0

        def step() -> None:
            nonlocal done
            if progress:
                progress(name, done, steps)
            done += 1

        line = _line(setting, name, frames, share, part, replays, tolerance, step)
        if progress:
            progress(name, steps, steps)
        return line

    lines = tuple(run_each(run, names, setting.at_once, work=setting.pages.__getitem__))
    return Curve(
        trace=trace.path or "trace",
        summary=setting.summary,
        guests=guests,
        sizes=frames,
        share=share,
        small_share=part.share if part and any(line.small for line in lines) else 0.0,
        lines=lines,
    )


def _line(
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    share: float,
    part: Part | None,
    replays: int,
    tolerance: float,
    done: Callable[[], object],
) -> CurveLine:
    done()
    is_few = share == 1 and len(frames) <= replays
    samples = sample_events(setting.trace)
    values, small = guessed(
        setting, mechanism, frames, samples, share, None if is_few else part, done=done
    )
    knee = knee_of(values)
    levels = []
    if share == 1 and (is_few or replays >= LEAST_REPLAYS):
        levels = levels_of(len(frames), knee, replays, has_small=bool(small))
    found = corrected(
        setting, mechanism, frames, values, levels, tolerance, is_guess=not small, done=done
    )
    return CurveLine(
        mechanism,
        found.values,
        small=tuple(frames[small].tolist()),
        replayed=found.replayed,
        error=found.error,
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


# The plain name is that of a parameter.
_engine_mechanisms = mechanisms

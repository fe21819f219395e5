# SPDX-License-Identifier: MIT
"""The smallest host on which a trace runs without swap, or swaps no more than so much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pgste._checks import check_callable, check_flag, count_of, names_of, number_of
from pgste._engine import mechanisms
from pgste._threads import run_each, threads_asked
from pgste.errors import ArgumentError, OutOfFramesError
from pgste.study.setting import Setting, setting_of, told
from pgste.study.small_hosts import Part, guessed, part_of
from pgste.traces.trace import Trace
from pgste.units import PAGE_BYTES

__all__ = ["Smallest", "SmallestHost", "smallest_hosts"]

MAX_GUESTS = 65535
_NO_SAMPLES = np.zeros(1, np.uint64)
_POINTS = 256  # sizes of the curve that the search starts from


@dataclass(frozen=True)
class SmallestHost:
    """What a mechanism needs.  Replays say that it is enough, and one frame less is not.

    ``swap_rate`` and ``swap_rate_below`` are bytes a second that the two replays wrote to swap and
    read from it; without swap they are None, as the smaller host runs out of memory.
    ``frames - 1`` is 0 for a host of one frame, which nothing was tried below.
    """

    mechanism: str
    frames: int
    swap_rate: float | None
    swap_rate_below: float | None
    replays: int


@dataclass(frozen=True)
class Smallest:
    """The result of `smallest_hosts`: what was asked for, and a `SmallestHost` a mechanism."""

    trace: str
    summary: dict[str, Any]
    guests: int
    max_swap_rate: float | None
    """None: hosts without swap."""
    results: tuple[SmallestHost, ...]

    def __getitem__(self, mechanism: str) -> SmallestHost:
        """The result of one mechanism, by name; KeyError names it."""
        for result in self.results:
            if result.mechanism == mechanism:
                return result
        raise KeyError(mechanism)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return asdict(self)


def smallest_hosts(
    trace: Trace,
    mechanisms: Iterable[str] | None = None,
    guests: int = 1,
    *,
    no_swap: bool = False,
    max_swap_rate: float | None = None,
    reporting: Mapping[str, Any] | None = None,
    threads: int | None = 1,
    progress: Callable[[str, int], object] | None = None,
) -> Smallest:
    """The smallest host for each mechanism, found and confirmed by replays on the engine.

    A size is a result if a replay on it does what was asked for, and one on a host with one frame
    less does not.  (More memory can mean more swap traffic: the kernel's reclaim has no
    inclusion property.  So even smaller hosts may exist.)

    Parameters
    ----------
    trace: the events; at least one.
    mechanisms: names from `pgste.mechanisms()`; all of them by default.
    guests: number of guests, each of which lives through the whole trace.
    no_swap: hosts have no swap, and the trace must run to its end.
    max_swap_rate: bytes a second, over the trace, that may be written to swap and read from it.
        Give either this or ``no_swap``.
    reporting: settings of the mechanism ``reporting``, as for `Guest.set_reporting`.
    threads: mechanisms at once, 1 .. 64; None is as many as there are CPUs, and memory,
        for.  It changes nothing but speed.
    progress: called with (mechanism, replays made), by these threads.

    ArgumentError, ArgumentTypeError or UnknownNameError for a bad argument; ModelMemoryError
    and TraceError as for `compare`.
    """
    every = _engine_mechanisms()
    names = every if mechanisms is None else names_of("mechanisms", mechanisms, every)
    guests = count_of("guests", guests, MAX_GUESTS)
    check_flag("no_swap", no_swap)
    if max_swap_rate is not None:
        number_of("max_swap_rate", max_swap_rate, 0, 1e18)
    if no_swap == (max_swap_rate is not None):
        raise ArgumentError(f"no_swap: {no_swap}, with max_swap_rate {max_swap_rate}: give one")
    check_callable("progress", progress)
    setting = setting_of(trace, names, guests, reporting, threads_asked(threads))
    if max_swap_rate is not None and not setting.summary["seconds"]:
        raise ArgumentError("max_swap_rate: the trace takes no time, so there is no rate")

    part = part_of(setting, 1.0) if max_swap_rate is not None else None

    def run(name: str) -> SmallestHost:
        return _Search(setting, name, max_swap_rate, part, progress).result()

    return Smallest(
        trace=trace.path or "trace",
        summary=setting.summary,
        guests=guests,
        max_swap_rate=max_swap_rate,
        results=tuple(run_each(run, names, setting.at_once, work=setting.pages.__getitem__)),
    )


class _Search:
    """Replays of one mechanism on hosts of different sizes, each made once."""

    def __init__(
        self,
        setting: Setting,
        mechanism: str,
        rate: float | None,
        part: Part | None,
        progress: Callable[[str, int], object] | None,
    ) -> None:
        self.setting, self.mechanism, self.rate = setting, mechanism, rate
        self.part = part
        self.progress = progress
        self.found: dict[int, tuple[bool, float | None]] = {}

    def enough(self, frames: int) -> bool:
        if frames < 1:
            return False
        if frames not in self.found:
            self.found[frames] = self._replay(frames)
            if self.progress:
                self.progress(self.mechanism, len(self.found))
        return self.found[frames][0]

    def _replay(self, frames: int) -> tuple[bool, float | None]:
        if self.rate is not None:
            counts = self.setting.counted(self.mechanism, frames)
            traffic = told(counts)["swap_traffic"] * PAGE_BYTES / self.setting.summary["seconds"]
            return traffic <= self.rate, traffic
        try:
            with self.setting.replay(self.mechanism, frames, swap=False) as (replay, _):
                replay.run()
        except OutOfFramesError:
            return False, None
        return True, None

    def result(self) -> SmallestHost:
        low, high = self._bracket(*self._guess())
        halve = False
        while high - low > 1:
            middle = (low + high) // 2 if halve else self._between(low, high)
            width = high - low
            low, high = (low, middle) if self.enough(middle) else (middle, high)
            halve = high - low > width // 2  # traffic is not so straight here
        below = self.found[low][1] if low else None
        return SmallestHost(self.mechanism, high, self.found[high][1], below, len(self.found))

    def _between(self, low: int, high: int) -> int:
        """Where traffic comes to the rate if it falls in a straight line, or half way."""
        below, above = self.found.get(low, (False, None))[1], self.found[high][1]
        if self.rate is None or below is None or above is None or below <= above:
            return (low + high) // 2
        part = (below - self.rate) / (below - above)
        return min(max(low + round((high - low) * part), low + 1), high - 1)

    def _bracket(self, guess: int, step: int) -> tuple[int, int]:
        """A size that is not enough, or 0, and a larger one that is, near the guess."""
        if self.enough(guess):
            low, high = max(guess - step, 0), guess
            while self.enough(low):
                step *= 2
                low, high = max(low - step, 0), low
            return low, high
        low, high = guess, guess + step
        while not self.enough(high):
            step *= 2
            low, high = high, high + step
        return low, high

    def _guess(self) -> tuple[int, int]:
        """What may be enough, and how near it is."""
        setting = self.setting
        most = setting.most_frames
        frames = np.maximum(np.arange(1, _POINTS + 1, dtype=np.int64) * most // _POINTS, 1)
        if self.rate is None and self.mechanism in ("madv_dontneed", "madv_free"):
            return setting.guests * int(setting.summary["peak_in_use"]), 1
        if self.rate is None:  # nothing is dropped without a swap slot: all that is ever touched
            return setting.guests * int(setting.summary["unique_pages"]), 1
        values, small = guessed(
            setting, self.mechanism, frames, _NO_SAMPLES, 1.0, self.part, done=lambda: None
        )
        traffic = told(values)["swap_traffic"] * PAGE_BYTES / setting.summary["seconds"]
        at = int(frames[int(np.argmax(traffic <= self.rate))])
        return at, max(most // (_POINTS if small else _POINTS // 4), 1)


# The plain name is that of a parameter.
_engine_mechanisms = mechanisms

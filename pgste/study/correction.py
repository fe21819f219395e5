# SPDX-License-Identifier: MIT
"""Replays on the engine that correct a curve of exact LRU order, and tell how far it is then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgste.study.lru_order import Values
from pgste.study.setting import Setting, told

__all__ = ["Corrected", "CurveError", "corrected", "levels_of", "with_added"]

TOLD = ("swap_traffic", "faults")
_CHECKS = 8  # replays that tell whether a curve is within the tolerance; fewer must be nearer


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
class Corrected:
    """A curve, the frames of the hosts that corrected it, and how far it is from others."""

    values: Values
    replayed: tuple[int, ...]
    error: CurveError | None


def levels_of(nr: int, knee: int, replays: int, *, has_small: bool = False) -> list[list[int]]:
    """Which of the sizes (indices) to replay, level by level, each between those before.

    The first level has both ends, the middle, and the knee from which on nothing is swapped: what
    is off changes its course there.  What a level predicts is checked by the next.  Where replays
    on small hosts have corrected the curve, there is no first level: the others check at once.
    If there are so few sizes, all of them are replayed.
    """
    if nr <= replays:
        return [list(range(nr))]
    last = nr - 1
    levels = [] if has_small else [sorted({0, last // 2, knee, last})]
    seen = {i for level in levels for i in level}
    least, parts = (1, 8) if has_small else (2, 4)
    while True:
        new = sorted({last * k // parts for k in range(1, parts, 2 if has_small else 1)} - seen)
        if not new or len(seen) + len(new) > replays:
            return levels if len(levels) >= least else []
        seen.update(new)
        levels.append(new)
        parts *= 2


def corrected(
    setting: Setting,
    mechanism: str,
    frames: npt.NDArray[np.int64],
    values: Values,
    levels: Sequence[Sequence[int]],
    tolerance: float,
    *,
    is_guess: bool,
    done: Callable[[], object],
) -> Corrected:
    """The values, with the difference that replays show added, in straight lines between them.

    Each level of replays first checks what those before predict, and then corrects, too, unless
    it is the last.  is_guess: there is nothing yet that the first level could check.
    """
    anchors: dict[int, dict[str, float]] = {}
    uncorrected, error = values, None
    for number, level in enumerate(levels):
        counted = {}
        for i in level:
            counted[i] = setting.counted(mechanism, int(frames[i]))
            done()
        if number or not is_guess:
            error = _error(frames, values, counted)
            near = tolerance * min(len(level) / _CHECKS, 1)  # a few may be near by chance
            if number == len(levels) - 1 or max(error.mean.values()) <= near:
                break
        anchors.update(counted)
        off = {
            name: [anchors[i][name] - uncorrected[name][i] for i in sorted(anchors)]
            for name in values
        }
        values = with_added(frames, uncorrected, sorted(anchors), off)
    return Corrected(values, tuple(int(frames[i]) for i in sorted(anchors)), error)


def with_added(
    frames: npt.NDArray[np.int64],
    values: Values,
    at: Sequence[int],
    off: Mapping[str, Sequence[float] | npt.NDArray[np.float64]],
) -> Values:
    """With what is added at some of the sizes, and between them in straight lines; not below 0."""
    return {
        name: np.maximum(each + np.interp(frames, frames[list(at)], off[name]), 0.0)
        for name, each in values.items()
    }


def _error(
    frames: npt.NDArray[np.int64], values: Values, counted: Mapping[int, Mapping[str, float]]
) -> CurveError:
    predicted = told(values)
    off: dict[str, list[float]] = {}
    for name in TOLD:
        most = max(float(predicted[name].max()), 1.0)
        off[name] = [abs(predicted[name][i] - told(one)[name]) / most for i, one in counted.items()]
    return CurveError(
        sizes=tuple(int(frames[i]) for i in counted),
        mean={name: float(np.mean(each)) for name, each in off.items()},
        worst={name: float(max(each)) for name, each in off.items()},
    )

# SPDX-License-Identifier: MIT
"""Costs that a user gives, and up to which cost of an operation a mechanism is ahead."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgste._engine.names import shown
from pgste.errors import ArgumentError, UnknownNameError
from pgste.study.costs import OPERATIONS, Cost, Profile, operations

__all__ = ["BreakEven", "break_evens", "missing_costs", "parse_cost", "with_costs"]

_UNITS = {"ns": 1.0, "us": 1e3, "\u00b5s": 1e3, "\u03bcs": 1e3, "ms": 1e6, "s": 1e9}
_TIME = rf"(\d{{1,12}}(?:\.\d{{1,12}})?)({'|'.join(_UNITS)})"
_COST = re.compile(rf"(\w{{1,40}})={_TIME}(?:\.\.{_TIME})?")
_MOST_NS = 1e15


def parse_cost(text: str) -> tuple[str, tuple[float, float]]:
    """Name and range, in ns, of ``essa=60ns`` or ``swap_out=8us..20us``; ArgumentError."""
    match = _COST.fullmatch(text.strip())
    if not match:
        raise ArgumentError(f"cost {shown(text)}: NAME=TIME, as essa=60ns or essa=40ns..90ns")
    name, low, unit, high, high_unit = match.groups()
    least = float(low) * _UNITS[unit]
    most = float(high) * _UNITS[high_unit] if high else least
    return name, (least, most)


def with_costs(
    profile: Profile | None, given: Mapping[str, float | tuple[float, float]]
) -> Profile:
    """A profile with some costs given, in ns: each a number, or the ends of a range.

    The middle of a range counts as its median.  UnknownNameError for a name that is not one of
    `OPERATIONS`; ArgumentError for what is no time.
    """
    costs = dict(profile.costs) if profile else {}
    for name, value in given.items():
        if name not in OPERATIONS:
            raise UnknownNameError(f"cost {shown(name)}: not one of {', '.join(OPERATIONS)}")
        low, high = value if isinstance(value, tuple) else (value, value)
        if not (0 <= low <= high < _MOST_NS):
            raise ArgumentError(f"cost {name}: {low:g} .. {high:g} ns is no range of times")
        costs[name] = Cost((low + high) / 2, low, high, 0, "ns", "given")
    if profile is None:
        return Profile(machine={}, date="", seconds=0.0, costs=costs, skipped={})
    return Profile(profile.machine, profile.date, profile.seconds, costs, profile.skipped)


def _counts(mechanism: str, stats: Mapping[str, float]) -> dict[str, float]:
    return {op: nr for part in operations(mechanism, stats).values() for op, nr in part.items()}


def missing_costs(
    profile: Profile, stats: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[str, ...]]:
    """Of each mechanism, by its counters, the operations whose cost the profile lacks."""
    lacks = {
        name: tuple(op for op in _counts(name, one) if op not in profile.costs)
        for name, one in stats.items()
    }
    return {name: ops for name, ops in lacks.items() if ops}


@dataclass(frozen=True)
class BreakEven:
    """No mechanism takes less time than this one while an operation costs so much, in ns."""

    mechanism: str
    operation: str
    above: float
    """0: from nothing on."""
    below: float
    """Infinite: whatever it costs."""
    others: tuple[str, ...]
    """What it was compared with; those with other costs that are not known are left out."""


def break_evens(
    profile: Profile, stats: Mapping[str, Mapping[str, float]], operation: str
) -> list[BreakEven]:
    """Which mechanism is ahead, as the cost of one operation goes from 0 up; all others stay.

    Time is a straight line over this cost for each mechanism, so each is ahead in one range, or
    nowhere.  ``stats`` are the counters of each (`Guest.stats`); mechanisms for which another
    cost is missing have no line.  Nothing is told of an operation that none of the lines has.
    """
    if operation not in OPERATIONS:
        raise UnknownNameError(f"operation {shown(operation)}: not one of {', '.join(OPERATIONS)}")
    lines = {}
    for name, one in stats.items():
        counts = _counts(name, one)
        times = counts.pop(operation, 0.0)
        if counts.keys() <= profile.costs.keys():
            rest = sum(nr * profile.costs[op].median for op, nr in counts.items())
            lines[name] = (rest, times)
    if not any(slope for _, slope in lines.values()):
        return []
    found = []
    for name in lines:
        others = {other: line for other, line in lines.items() if other != name}
        above, below = _ahead(lines[name], others.values())
        if others and above < below:
            found.append(BreakEven(name, operation, above, below, tuple(others)))
    return sorted(found, key=lambda one: one.above)


def _ahead(line: tuple[float, float], others: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Where no other line (height at 0, slope) is below this one, from 0 on; empty if nowhere."""
    above, below = 0.0, math.inf
    for rest, slope in others:
        head, steeper = rest - line[0], line[1] - slope
        if steeper > 0:
            below = min(below, head / steeper)
        elif steeper < 0:
            above = max(above, head / steeper)
        elif head < 0:
            return 0.0, 0.0
    return above, below

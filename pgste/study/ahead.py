# SPDX-License-Identifier: MIT
"""Which mechanism does best, in each respect that people choose by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgste.units import PAGE_BYTES, format_bytes, format_count

__all__ = ["Ahead", "ahead_text", "who_is_ahead"]

_NEAR = 1.01  # times the least: as good


@dataclass(frozen=True)
class Ahead:
    """The mechanisms that have the least of something, and one to compare with."""

    figure: str
    """``swap_traffic`` or ``frames_mean`` (pages), or ``faults``."""
    mechanisms: tuple[str, ...]
    """Those within 1 % of the least."""
    least: float
    other: str
    """``none`` if it took part, or that which has the most."""
    other_has: float


def who_is_ahead(figures: Mapping[str, Mapping[str, float]]) -> tuple[Ahead, ...]:
    """For each figure, by mechanism and name; nothing for one in which there is no difference."""
    found = []
    for name in next(iter(figures.values()), {}):
        each = {mechanism: values[name] for mechanism, values in figures.items()}
        least = min(each.values())
        best = tuple(mechanism for mechanism in each if each[mechanism] <= least * _NEAR)
        rest = [mechanism for mechanism in each if mechanism not in best]
        if rest:
            other = "none" if "none" in rest else max(rest, key=lambda mechanism: each[mechanism])
            found.append(Ahead(name, best, least, other, each[other]))
    return tuple(found)


_TITLES = {
    "swap_traffic": "least swap traffic",
    "faults": "fewest page faults",
    "frames_mean": "least host memory, on average",
}


def ahead_text(found: Iterable[Ahead]) -> str:
    """A line for each figure."""
    lines = []
    for one in found:
        has = format_count if one.figure == "faults" else _memory
        lines.append(
            f"{_TITLES[one.figure]}: {', '.join(one.mechanisms)} ({has(one.least)}; "
            f"{one.other} {has(one.other_has)})"
        )
    return "\n".join(lines)


def _memory(pages: float) -> str:
    return format_bytes(pages * PAGE_BYTES)

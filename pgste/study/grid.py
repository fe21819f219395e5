# SPDX-License-Identifier: MIT
"""The grid of a sweep: axes, their checks, and the cells that they span."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgste._checks import count_of
from pgste._engine import Guest, Host, mechanisms
from pgste._engine.names import RECLAIM_MODELS, shown
from pgste.errors import ArgumentError, ArgumentTypeError, UnknownNameError
from pgste.study.compare import DEFAULT_RECLAIM, MAX_GUESTS, MAX_SWAP_SLOTS
from pgste.units import parse_frames

__all__ = ["AXES", "Cell", "cells_of"]

AXES = (
    "trace",
    "mechanism",
    "host_memory",
    "guests",
    "swap_slots",
    "reclaim",
    "reporting",
    "seeds",
    "window",
)
"""Keys of a grid; docs/sweep.md says what each means."""

MAX_CELLS = 10_000_000
_MOST_SEEDS = 1 << 32


@dataclass(frozen=True)
class Cell:
    """One point of a grid: what is replayed, with which mechanism, on which host.

    ``trace`` is the name of a trace that all guests live through in step.  With a ``seed`` it is
    None: each guest then lives through ``window`` seconds of a trace, both drawn.
    """

    trace: str | None
    seed: int | None
    window: float | None
    mechanism: str
    host_memory: int | str
    guests: int
    swap_slots: int | None
    reclaim: str
    reporting: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> str:
        """The same text for the same cell, in every run."""
        return json.dumps(self.axes(), sort_keys=True)

    def axes(self) -> dict[str, Any]:
        """Where in the grid it is, as columns of a record."""
        return {
            "trace": self.trace,
            "seed": self.seed,
            "window": self.window,
            "mechanism": self.mechanism,
            "host_memory": str(self.host_memory),
            "guests": self.guests,
            "swap_slots": self.swap_slots,
            "reclaim": self.reclaim,
            "reporting": json.dumps(dict(self.reporting), sort_keys=True)
            if self.reporting
            else None,
        }


def cells_of(grid: Mapping[str, Any], traces: Sequence[str]) -> list[Cell]:
    """The cells of a grid over traces of these names, all checked.

    Settings of reporting make cells for the mechanism ``reporting`` only, as they change nothing
    for others.  Errors name the axis and the value.
    """
    if not isinstance(grid, Mapping):
        raise ArgumentTypeError(f"grid: {shown(grid)} is not a mapping")
    for name in grid:
        if name not in AXES:
            raise UnknownNameError(f"grid: {shown(name)} is not one of {', '.join(AXES)}")
    mechanism = _names(grid, "mechanism", mechanisms())
    host_memory = [_memory(value) for value in _values(grid, "host_memory", ["75%"])]
    guests = [count_of("grid: guests", value, MAX_GUESTS) for value in _values(grid, "guests", [1])]
    swap_slots = [
        None if value is None else count_of("grid: swap_slots", value, MAX_SWAP_SLOTS, least=0)
        for value in _values(grid, "swap_slots", [None])
    ]
    reclaim = _names(grid, "reclaim", RECLAIM_MODELS, (DEFAULT_RECLAIM,))
    settings = _reporting(grid)
    seeds = _seeds(grid)
    window = _window(grid, seeds)
    if seeds and "trace" in grid:
        raise ArgumentError("grid: trace and seeds: with seeds, traces are drawn from all")
    names = [] if seeds else _names(grid, "trace", tuple(traces))
    per = {name: settings if name == "reporting" else [()] for name in mechanism}
    count = sum(len(those) for those in per.values())
    for values in (seeds or names, host_memory, guests, swap_slots, reclaim):
        count *= len(values)
    if count > MAX_CELLS:
        raise ArgumentError(f"grid: {count:,} cells are more than {MAX_CELLS:,}")
    drawn = [*((None, seed) for seed in seeds), *((name, None) for name in names)]
    return [
        Cell(trace, seed, window, name, memory, nr, slots, way, setting)
        for (trace, seed), memory, nr, slots, way, name in itertools.product(
            drawn, host_memory, guests, swap_slots, reclaim, mechanism
        )
        for setting in per[name]
    ]


def _values(grid: Mapping[str, Any], name: str, default: Sequence[Any]) -> list[Any]:
    """Values of an axis: a list of them, or one alone; at least one, none twice."""
    value = grid.get(name, default)
    values = [value] if isinstance(value, (str, int, float)) or value is None else value
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, (Sequence, range)):
        raise ArgumentTypeError(f"grid: {name}: {shown(value)} is not a list of values")
    values = list(values)
    if not values:
        raise ArgumentError(f"grid: {name}: has no values")
    for i, one in enumerate(values):
        if any(one == other and type(one) is type(other) for other in values[:i][-1000:]):
            raise ArgumentError(f"grid: {name}: {shown(one)} is given twice")
    return values


def _names(
    grid: Mapping[str, Any],
    name: str,
    known: tuple[str, ...],
    default: tuple[str, ...] | None = None,
) -> list[str]:
    values = _values(grid, name, default or known)
    for value in values:
        if value not in known:
            raise UnknownNameError(f"grid: {name}: {shown(value)} is not one of {', '.join(known)}")
    return values


def _memory(value: Any) -> int | str:
    if isinstance(value, str):
        parse_frames(value, 1 << 20, "grid: host_memory")
        return value
    return count_of("grid: host_memory", value, (1 << 52) - 1)


def _seeds(grid: Mapping[str, Any]) -> Sequence[int]:
    value = grid.get("seeds")
    if value is None:
        return []
    if isinstance(value, int):
        return range(count_of("grid: seeds", value, MAX_CELLS))
    values = _values(grid, "seeds", [])
    return [count_of("grid: seeds", seed, _MOST_SEEDS, least=0) for seed in values]


def _window(grid: Mapping[str, Any], seeds: Sequence[int]) -> float | None:
    value = grid.get("window", 1.0 if seeds else None)
    if value is None:
        return None
    if not seeds:
        raise ArgumentError(f"grid: window: {shown(value)} is for guests that seeds draw")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"grid: window: {shown(value)} is not a number of seconds")
    if not 0 < value < 1e9:
        raise ArgumentError(f"grid: window: {shown(value)} is not in 0 .. 1e9 seconds")
    return float(value)


def _reporting(grid: Mapping[str, Any]) -> list[tuple[tuple[str, Any], ...]]:
    """Every combination of the settings of reporting."""
    given = grid.get("reporting", {})
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(f"grid: reporting: {shown(given)} is not a mapping")
    for name in ("zones", "migratetypes", "pageblock_order"):
        if name in given:
            raise ArgumentError(f"grid: reporting: {name} is of one guest, and a grid has many")
    axes = [[(name, value) for value in _values(given, name, [])] for name in sorted(given)]
    found = [tuple(setting) for setting in itertools.product(*axes)]
    _try_reporting(found)
    return found


def _try_reporting(settings: Sequence[tuple[tuple[str, Any], ...]]) -> None:
    """Errors of settings come before anything runs, from what takes them."""
    host = Host(1, 0)
    for setting in settings:
        guest = Guest(1024, host=host, mechanism="reporting")
        try:
            guest.set_reporting(**dict(setting))
        except TypeError as error:
            raise ArgumentTypeError(f"grid: reporting: {shown(dict(setting))}: {error}") from None
        except ValueError as error:
            raise ArgumentError(f"grid: reporting: {error}") from None
        finally:
            guest.close()

# SPDX-License-Identifier: MIT
"""The file of a sweep: traces and a grid, in TOML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgste._engine.names import shown
from pgste.errors import ArgumentError
from pgste.files.texts import load_toml, read_bounded
from pgste.study.sweep import MAX_TRACES
from pgste.traces.budget import Budget
from pgste.traces.sample import sample_trace
from pgste.traces.trace import Trace

__all__ = ["MAX_BYTES", "read_grid"]

MAX_BYTES = 1 << 20


def read_grid(
    path: str, budget: Budget | None = None
) -> tuple[dict[str, Trace], Mapping[str, Any]]:
    """Traces, each read within the budget, and grid of a file; ``-`` is standard input.

    Paths of traces are from the folder of the file, or from the current one.  ArgumentError for
    a file that is too long or is no TOML, and for what is neither traces nor grid; OSError and
    TraceError as `Trace.open` has them.
    """
    at_hand = path in ("-", "/dev/stdin")
    try:
        data = load_toml(read_bounded("/dev/stdin" if at_hand else path, MAX_BYTES))
    except ValueError as error:
        raise ArgumentError(f"{path} is no grid in TOML: {error}") from None
    for name in data:
        if name not in ("traces", "grid"):
            raise ArgumentError(f"{path}: {shown(name)} is neither traces nor grid")
    given = data.get("traces", [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ArgumentError(f"{path}: traces: {shown(given)} is not a list of paths")
    if len(given) > MAX_TRACES:
        raise ArgumentError(f"{path}: traces: {len(given):,} are more than {MAX_TRACES:,}")
    grid = data.get("grid", {})
    if not given:
        return {"sample": sample_trace()}, grid
    folder = Path() if at_hand else Path(path).parent
    found: dict[str, Trace] = {}
    for one in given:
        name = Path(one).name
        if name in found:
            raise ArgumentError(f"{path}: traces: {shown(name)} is the name of two")
        found[name] = Trace.open(folder / one, budget=budget)
    return found, grid

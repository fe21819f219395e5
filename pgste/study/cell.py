# SPDX-License-Identifier: MIT
"""One cell of a sweep, as a worker runs it: what it reads, and the record that it answers.

A worker gets a trace as the path of a .pgt file, which it maps, or as the bytes of one.
"""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Sequence
from typing import Any

from pgste.errors import PgsteError
from pgste.study.compare import compare
from pgste.study.grid import Cell
from pgste.study.mixture import draw, run_mixture
from pgste.study.result import LRU_ROWS, READ_AHEAD, ROWS, OutOfMemory
from pgste.traces import pgt
from pgste.traces.budget import Budget
from pgste.traces.trace import Trace
from pgste.units import parse_frames

__all__ = ["COLUMNS", "DONE", "FAILED", "OUT_OF_MEMORY", "VALUES", "failed", "run_cell"]

DONE, OUT_OF_MEMORY, FAILED = "done", "out of memory", "failed"
"""Status of a cell; what is out of memory is the host of the model."""

VALUES = (
    *(row.key for row in ROWS if row.key != "events_per_second"),
    *(row.key for row in LRU_ROWS),
    "pages_allocated",
)
"""Figures of a record; docs/compare.md says what they count."""


COLUMNS = (
    *("trace", "seed", "window", "mechanism", "host_memory", "guests", "swap_slots", "reclaim"),
    *("reporting", "host_frames", "status", "end_event", "end_seconds", "error", *VALUES),
    "seconds",
)
"""Names of a record, in order."""


_MOST_TRACES = 64
Which = tuple[str, "Budget | None"]
"""A trace by its digest, and the budget that it was opened with."""
_opened: dict[Which, Trace] = {}
"""What this worker has read."""


def _open(which: Which, data: str | bytes) -> Trace:
    if which not in _opened:
        if len(_opened) >= _MOST_TRACES:
            _opened.clear()
        if isinstance(data, str):
            with open(data, "rb") as file:
                events, times = pgt.view(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            events, times = pgt.view(data)
        _opened[which] = Trace._trusted(events, times)
        _opened[which]._budget = which[1]
    return _opened[which]


def run_cell(cell: Cell, which: Sequence[Which], *traces: str | bytes) -> dict[str, Any]:
    """The record of a cell: where it is in the grid, its status, and its figures.

    A cell that cannot be run answers why (`FAILED`): only the end of its process is no answer.
    """
    begin = time.perf_counter()
    try:
        opened = [_open(one, data) for one, data in zip(which, traces, strict=True)]
        record = _mixture(cell, opened) if cell.trace is None else _lockstep(cell, opened[0])
    except (PgsteError, MemoryError, OSError) as error:
        record = failed(cell, f"{type(error).__name__}: {error}")
    return {**record, "seconds": time.perf_counter() - begin}


def failed(cell: Cell, why: str) -> dict[str, Any]:
    """The record of a cell that has no figures."""
    return _record(cell, FAILED, error=why)


def _record(
    cell: Cell,
    status: str,
    *,
    host_frames: int | None = None,
    end: OutOfMemory | None = None,
    error: str | None = None,
    values: dict[str, float] | None = None,
) -> dict[str, Any]:
    known = values or {}
    return {
        **cell.axes(),
        "host_frames": host_frames,
        "status": status,
        "end_event": end.event if end else None,
        "end_seconds": end.seconds if end else None,
        "error": error,
        **{name: float(known[name]) if name in known else None for name in VALUES},
        "seconds": 0.0,
    }


def _frames(cell: Cell, peak: int) -> int:
    if isinstance(cell.host_memory, int):
        return cell.host_memory
    return parse_frames(cell.host_memory, peak, "host_memory")


def _lockstep(cell: Cell, trace: Trace) -> dict[str, Any]:
    frames = _frames(cell, cell.guests * trace.summary()["peak_in_use"])
    comparison = compare(
        trace,
        [cell.mechanism],
        frames,
        cell.guests,
        swap_slots=cell.swap_slots,
        reporting=dict(cell.reporting),
        samples=1,
        reclaim=cell.reclaim,
    )
    result = comparison.results[0]
    return _record(
        cell,
        OUT_OF_MEMORY if result.out_of_memory else DONE,
        host_frames=frames,
        end=result.out_of_memory,
        values={**result.values, "pages_allocated": result.guest_stats["pages_allocated"]},
    )


def _mixture(cell: Cell, traces: Sequence[Trace]) -> dict[str, Any]:
    assert cell.seed is not None
    parts = draw(traces, cell.seed, cell.guests, cell.window or math.inf)
    frames = _frames(cell, sum(part.summary["peak_in_use"] for part in parts))
    slots = cell.swap_slots
    if slots is None:
        slots = sum(part.summary["unique_pages"] for part in parts) + 64
    mixed = run_mixture(
        parts, cell.mechanism, frames, slots, dict(cell.reporting), reclaim=cell.reclaim
    )
    guests, host = mixed.guests, mixed.host
    values = {
        **{name: guests[name] for name in VALUES if name in guests},
        **mixed.means,
        "discards": guests["unused_discards"] + guests["lazyfree_discards"],
        "zap_slots_freed": guests["zap_slots_freed"] + guests["hint_slots_freed"],
        **{row.key: host[row.key] for row in LRU_ROWS if cell.reclaim in READ_AHEAD},
        "frames_peak": host["frames_peak"],
        "swap_peak": host["swap_peak"],
        "stale_allocs": mixed.replay["stale_allocs"],
    }
    return _record(
        cell,
        OUT_OF_MEMORY if mixed.out_of_memory else DONE,
        host_frames=frames,
        end=mixed.out_of_memory,
        values=values,
    )

# SPDX-License-Identifier: MIT
"""How large a host and its guests are made for a trace."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pgste._checks import names_of
from pgste._engine import Guest, zone_watermarks
from pgste._engine.names import shown
from pgste._threads import cpus
from pgste.errors import ArgumentError, ArgumentTypeError, ModelMemoryError, TraceError
from pgste.traces.budget import Meter
from pgste.traces.trace import Trace
from pgste.units import format_bytes

__all__ = [
    "REPORTING_SETTINGS",
    "check_no_accesses",
    "check_reporting",
    "check_room",
    "guest_pages",
    "kernel_watermarks",
]

# A guest starts on a multiple of this many pages below the lowest one of the trace, so that
# blocks keep their alignment.
_ALIGN = 1 << 10
#: What `Guest.set_reporting` may be told for a replay.
REPORTING_SETTINGS = (
    "order",
    "max_order",
    "parked_order",
    "parked_high",
    "parked_batch",
    "capacity",
    "delay_ns",
    "ack_ns",
    "min",
    "low",
    "spare",
    "poison",
    "negotiated",
    "inhibited",
    "advice",
    "zones",
    "migratetypes",
    "pageblock_order",
)


def check_reporting(reporting: object) -> None:
    """Refuse what is no mapping, or has a name that is no setting; values are checked by guests."""
    if reporting is None:
        return
    if not isinstance(reporting, Mapping):
        raise ArgumentTypeError(f"reporting: {shown(reporting)} is not a mapping")
    names_of("reporting", reporting.keys(), REPORTING_SETTINGS)


def kernel_watermarks(frames: int, batch: int = 32) -> tuple[int, int]:
    """Low and high watermark, in frames, for a host with this many frames.

    Those of the kernel for one zone without huge pages; never more than a quarter of the host.
    """
    _, low, high = zone_watermarks(frames)
    low, high = max(low, 1), max(high, low + batch)
    low, high = min(low, frames // 4), min(high, frames // 4)
    return (low, high) if low < high else (0, max(high, 1))


def check_no_accesses(trace: Trace, name: str = "trace") -> None:
    """Refuse a trace with accesses where they would be left out without a word."""
    if len(trace.accesses):
        raise ArgumentError(
            f"{name}: has accesses, which only `compare` and `live replay` replay; "
            "pgste.traces.touch.touched(trace, 'none') is the trace without them"
        )


def guest_pages(summary: Mapping[str, Any]) -> tuple[int, int]:
    """First pfn of a guest that has every page of the trace, and its pages."""
    base = summary["lowest_pfn"] // _ALIGN * _ALIGN
    return base, summary["highest_pfn"] + 1 - base


# src_c/host/host.h, lru.h and mglru.h
_FRAME_BYTES = {"simple": 24, "lru": 25, "mglru": 26}
_SLOT_BYTES = {"simple": 12, "lru": 16.125, "mglru": 16.125}
_TABLES = 5  # of a guest: what each page has one element of
_HUGE_BYTES = 2 << 20  # a table gets memory in such pieces, as soon as one byte is written
_CHUNK_SHIFT = 18  # pages whose PTEs fill one
_PAGES_A_UNIT = 32  # of work: the setup of a replay looks at a bit or two of each page


def _chunks_named(trace: Trace, base: int, pages: int) -> int:
    """In how many runs of 2^18 pages a guest has pages that events name."""
    first = (trace.pfn - np.uint64(base)) >> np.uint64(_CHUNK_SHIFT)
    named = np.zeros((pages >> _CHUNK_SHIFT) + 2, np.int32)
    named[first] = 1
    large = trace.order > _CHUNK_SHIFT
    if large.any():
        beyond = first[large] + (np.uint64(1) << (trace.order[large] - np.uint8(_CHUNK_SHIFT)))
        edges = np.zeros(len(named) + 1, np.int64)
        np.add.at(edges, first[large], 1)
        np.add.at(edges, beyond, -1)
        named |= np.cumsum(edges[:-1]) > 0
    return int(np.count_nonzero(named))


def _available() -> int:
    """Bytes of memory that this machine can give without swap."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_room(
    trace: Trace,
    summary: dict[str, Any],
    *,
    guests: int,
    host_frames: int,
    swap_slots: int,
    mechanisms: Sequence[str],
    generation: str = "pgtable",
    reclaim: str = "simple",
    at_once: int | None = 1,
    array_bytes: int = 0,
    pages: Mapping[str, int] | None = None,
) -> int:
    """Refuse replays that would not fit into memory, or mostly look at pages that nobody names.

    A guest has every page between the lowest and the highest of the trace, so few events can
    ask for a large one; ``pages`` has mechanisms whose guests have fewer.  Memory is had when it
    is first written, so that too much of it would be found in the middle of the replay, by the
    kernel.

    Returns
    -------
    int
        How many of the mechanisms can be replayed at once: ``at_once``, or if that is None, as
        many as there are CPUs and memory for.

    Raises
    ------
    ModelMemoryError
        What may be written, of ``at_once`` of the mechanisms, is more than is available.
    TraceError
        The pages of a guest, at a unit of work for each 32, pass the budget of the trace; or
        ``array_bytes`` of memory for each do.
    """
    base, whole = guest_pages(summary)
    if whole > 1 << 40:
        return at_once or 1  # no guest can have so many, and `Guest` says so
    meter = Meter(trace._budget, 16 * len(trace))
    what = f"a guest of {whole:,} pages, of which events name {summary['unique_pages']:,},"
    try:
        meter.work(len(mechanisms) * whole // _PAGES_A_UNIT, what)
        meter.memory(array_bytes * whole, what)
    except TraceError as error:
        raise TraceError(error.reason, path=trace.path) from None
    huge = _chunks_named(trace, base, whole) * _TABLES * _HUGE_BYTES
    touched = guests * summary["unique_pages"]

    def guest_bytes(name: str) -> int:
        each = Guest(1, mechanism=name, generation=generation).bytes_per_page
        return min(math.ceil((pages or {}).get(name, whole) * each), huge)

    needs = sorted(
        guests * guest_bytes(name)
        + min(host_frames, touched) * _FRAME_BYTES[reclaim]
        + math.ceil(min(swap_slots, touched) * _SLOT_BYTES[reclaim])
        for name in mechanisms
    )
    available = _available()
    if at_once is None:
        at_once = min(cpus(), len(needs))
        while at_once > 1 and sum(needs[-at_once:]) > available:
            at_once -= 1
    need = sum(needs[-at_once:])
    if need > available:
        raise ModelMemoryError(
            f"guests: {guests:,} of {whole:,} pages, with their host, may take "
            f"{format_bytes(need)}, and this machine has {format_bytes(available)} of memory "
            "available"
        )
    return at_once

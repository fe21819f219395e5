# SPDX-License-Identifier: MIT
"""Reading of trace files: what a file is, and the events in it."""

from __future__ import annotations

from typing import IO, NamedTuple

import numpy as np

from pgste._engine.trace import TextDecoder
from pgste.errors import ArgumentError, TraceError
from pgste.traces import dat, pgt
from pgste.traces.budget import LINE, Meter
from pgste.traces.events import Words, check_accesses, check_events, check_times
from pgste.traces.source import OnDisk, Progress, Source

__all__ = ["Progress", "Recording", "read"]

_EVENT_BYTES = 32  # of memory for an event: word and time, in pieces and put together


class Recording(NamedTuple):
    """What a trace file holds; `pgste.Trace` says what the parts are."""

    events: Words
    times: Words
    format: str
    counters: dict[str, int]
    compression: str | None
    accesses: Words = np.empty(0, np.uint64)
    places: Words = np.empty(0, np.uint64)


def read(file: IO[bytes], progress: Progress | None, meter: Meter) -> Recording:
    """Read an open file without a buffer; `pgste.Trace.open` says which kinds, and what goes wrong.

    What it takes is charged to ``meter``.
    """
    source = Source(file, progress, meter)
    if not source.start:
        raise TraceError("the file is empty", offset=0)
    if source.start.startswith(b"PERFILE"):
        raise TraceError("binary data of perf: print it with perf script first", offset=0)
    if source.start.startswith(pgt.MAGIC):
        return _read_own(source)
    if source.start.startswith(dat.MAGIC):
        content = source.content()
        on_disk = isinstance(content, OnDisk)
        found = dat.parse(content, progress if on_disk else None, meter)
        return Recording(found.events, found.times, "trace.dat", found.counters, source.compression)
    return _read_text(source)


def _read_own(source: Source) -> Recording:
    events, times, description, accesses, places = pgt.parse(source)
    counters = description.get("counters", {})
    recorder = description.get("format", "arrays")
    if (
        not isinstance(recorder, str)
        or not isinstance(counters, dict)
        or not all(type(count) is int and 0 <= count < 1 << 64 for count in counters.values())
    ):
        raise TraceError("the description has a value of the wrong type")
    try:
        check_events(events)
        check_times(times)
        check_accesses(accesses, places, len(events))
    except ArgumentError as error:
        raise TraceError(str(error)) from error
    return Recording(events, times, recorder, counters, source.compression, accesses, places)


def _read_text(source: Source) -> Recording:
    decoder = TextDecoder()
    all_events, all_times = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    rest = b""
    end = False
    lines = 0
    while not end:
        data = source.read()
        end = not data
        data = rest + data
        events, times, used = decoder.feed(data, end)
        rest = data[used:]
        before, lines = lines, decoder.counters["lines"]
        source.meter.work(LINE * (lines - before), f"reading {lines:,} lines and more")
        if len(events):
            all_events.append(events)
            all_times.append(times)
            source.meter.memory(_EVENT_BYTES * len(events), "this many events")
    if decoder.format is None:
        reason = "holds no line of ftrace, perf script or trace-cmd report text"
        raise TraceError(reason, line=decoder.counters["lines"])
    return Recording(
        np.concatenate(all_events),
        np.concatenate(all_times),
        decoder.format,
        decoder.counters,
        source.compression,
    )

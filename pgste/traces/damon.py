# SPDX-License-Identifier: MIT
"""Accesses from DAMON, the kernel's data access monitor: regions of memory into loads of pages.

DAMON looks at one page of each region every sampling interval, and tells after every aggregation
interval in how many of them that page had been accessed (``nr_accesses``; the kernel's
Documentation/mm/damon/design.rst).  It takes the pages of a region to be alike.  So what it tells
is an estimate for regions, and what `with_regions` makes of it is a model:

* In an aggregation interval of ``most`` samples, a page of a region of ``nr_accesses`` is loaded
  with probability ``nr_accesses / most``, once, at a random time in the interval.  So the pages
  loaded are as many as the samples found, if each looked at another page.  A page that was loaded
  more often in the interval counts once.
* DAMON does not tell loads from stores; all are loads.  A page that was clean stays clean.
* Pages that no event of the trace names, and pages that are not in use at that time, are left out.

Addresses are physical ones: an event's pfn times 4096.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine.names import shown
from pgste.errors import ArgumentError, ArgumentTypeError, TraceError
from pgste.files.texts import load_json
from pgste.traces.budget import PAGE, STEP, UNPACKED_BYTE, Budget, Meter
from pgste.traces.events import LOAD, MAX_PFN
from pgste.traces.source import Source
from pgste.traces.touch import Lives
from pgste.traces.trace import Trace

__all__ = ["LINE_OF_REGION", "Regions", "Snapshots", "read_damo", "with_damo", "with_regions"]

LINE_OF_REGION = re.compile(
    rb"\s*(?P<who>\S+)\s.*?(?P<s>\d{1,12})\.(?P<ns>\d{6,9}): +(?:damon:)?damon_aggregated:"
    rb" target_id=(?P<target>\d{1,20}) nr_regions=(?P<nr>\d{1,9})"
    rb" (?P<start>\d{1,20})-(?P<end>\d{1,20}): (?P<samples>-?\d{1,10})(?: -?\d{1,10}| None)?\s*$"
)
"""A line of perf script, of damo's own file of that name, or of ftrace: a region of a snapshot."""

PAGE_SHIFT = 12
_MAX_NS = (1 << 63) - 1
_REGION_BYTES = 400  # of memory for a region while it is read
_ACCESS_BYTES = 64
_LINE_BYTES = 1 << 16  # no line of a region is as long


@dataclass(frozen=True, eq=False)
class Regions:
    """What DAMON told: regions that were accessed, one element an array each.

    ============ ======= ===============================================================
    ``start``    uint64  first byte, a physical address
    ``end``      uint64  behind its last byte
    ``samples``  int64   in how many samples an access was found, above 0
    ``begin_ns`` int64   the interval that it is about, on the clock of the file
    ``end_ns``   int64
    ============ ======= ===============================================================
    """

    start: npt.NDArray[np.uint64]
    end: npt.NDArray[np.uint64]
    samples: npt.NDArray[np.int64]
    begin_ns: npt.NDArray[np.int64]
    end_ns: npt.NDArray[np.int64]
    most: int | None
    """Samples in an aggregation interval; None where the file does not say."""
    snapshots: int
    """Aggregation intervals, those in which nothing was accessed included."""
    told: int
    """Regions, those that were not accessed included."""


class Snapshots:
    """Collects regions as they come, in the order of time for each target."""

    def __init__(self, most: int | None = None, aggregation_ns: int | None = None) -> None:
        self.most = most
        self.aggregation_ns = aggregation_ns
        self.told = 0
        self._rows: list[tuple[int, int, int, int]] = []  # start, end, samples, snapshot
        self._ends: list[int] = []
        self._begins: list[int | None] = []
        self._of_target: dict[Any, list[int]] = {}
        # snapshot, regions that are to come, of how many, behind the last region
        self._open: dict[Any, tuple[int, int, int, int]] = {}

    def line(self, found: re.Match[bytes]) -> None:
        """A region as `LINE_OF_REGION` found it; ValueError if it cannot be.

        Regions of a snapshot come in the order of addresses; the first one may lack its start.
        """
        ns = int(found["s"]) * 1_000_000_000 + int(found["ns"].ljust(9, b"0"))
        key = (found["who"], found["target"])
        start, end, nr = (int(found[name]) for name in ("start", "end", "nr"))
        snapshot, left, of, behind = self._open.get(key, (-1, 0, 0, 0))
        if not left or nr != of or start < behind:
            snapshot, left = self.snapshot(key, ns), nr
        self._open[key] = (snapshot, left - 1, nr, end)
        self.region(snapshot, start, end, int(found["samples"]))

    def snapshot(self, key: Any, end_ns: int, begin_ns: int | None = None) -> int:
        """A new one of a target, and its number; its begin may be found later."""
        known = self._of_target.setdefault(key, [])
        if end_ns > _MAX_NS or (known and end_ns < self._ends[known[-1]]):
            raise ValueError(f"the time {end_ns} ns goes back, or is out of range")
        if begin_ns is not None and begin_ns > end_ns:
            raise ValueError(f"an interval ends at {end_ns} ns, before its begin")
        known.append(len(self._ends))
        self._ends.append(end_ns)
        self._begins.append(begin_ns)
        return known[-1]

    def region(self, snapshot: int, start: int, end: int, samples: int) -> None:
        """A region of a snapshot; below 0 samples is damo's mark for a snapshot that is none."""
        if not 0 <= start <= end < 1 << 64:
            raise ValueError(f"a region from {start} to {end}")
        if samples >= 1 << 31:
            raise ValueError(f"a region with {samples} accesses")
        self.told += samples >= 0
        if samples > 0 and end > start:
            self._rows.append((start, end, samples, snapshot))

    def last_ns(self) -> int:
        """When the latest interval ended; -1 if there is none."""
        return self._ends[-1] if self._ends else -1

    def regions(self) -> Regions:
        """All of them; ValueError if nothing says how long an interval was."""
        for numbers in self._of_target.values():
            for before, number in pairwise(numbers):
                if self._begins[number] is None:
                    self._begins[number] = self._ends[before]
            first, last = numbers[0], numbers[-1]
            if self._begins[first] is None:
                length = self.aggregation_ns
                if length is None and len(numbers) > 1:
                    length = (self._ends[last] - self._ends[first]) // (len(numbers) - 1)
                if length is None:
                    raise ValueError("one snapshot alone: nothing says how long it was")
                self._begins[first] = max(self._ends[first] - length, 0)
        start, end, samples, snapshot = ([row[i] for row in self._rows] for i in range(4))
        at = np.array(snapshot, np.int64)
        return Regions(
            np.array(start, np.uint64),
            np.array(end, np.uint64),
            np.array(samples, np.int64),
            np.array(self._begins, np.int64)[at],
            np.array(self._ends, np.int64)[at],
            self.most,
            len(self._ends),
            self.told,
        )


# ---- what damo writes ----------------------------------------------------------------------


def read_damo(path: str | os.PathLike[str], *, budget: Budget | None = None) -> Regions:
    """Read what ``damo record`` has written: json_compressed (its default), json or perf_script.

    Text of ``perf script`` and of ftrace with ``damon:damon_aggregated`` events is the third of
    these.  Each may be compressed once more, as traces may (`Trace.open`).

    Parameters
    ----------
    path : str or path
        The file.
    budget : Budget, optional
        The memory and work that it may take.

    Raises
    ------
    OSError
        The file cannot be read.
    TraceError
        With the path: it is damaged, cut off, of no such format, or takes more than the budget.
    """
    if budget is not None and not isinstance(budget, Budget):
        raise ArgumentTypeError(f"budget: {shown(budget)} is not a Budget")
    name = os.fspath(path)
    with open(name, "rb", buffering=0) as file:
        try:
            return _read(Source(file, None, Meter(budget)))
        except TraceError as error:
            raise TraceError(
                error.reason, path=name, line=error.line, offset=error.offset
            ) from error.__cause__
        except ValueError as error:
            raise TraceError(str(error), path=name) from error
        except MemoryError:
            raise TraceError("there is no memory to read it", path=name) from None


def _read(source: Source) -> Regions:
    start = source.start
    if not start:
        raise TraceError("the file is empty", offset=0)
    if start.startswith(b"PERFILE"):
        raise TraceError(
            "binary data of perf: print it with perf script first, or let damo write JSON "
            "(damo record --output_type json_compressed)",
            offset=0,
        )
    if start[:1] == b"\x78" and int.from_bytes(start[:2], "big") % 31 == 0:  # RFC 1950
        return _of_json(_inflated(source), source.meter)
    if start.lstrip()[:1] == b"[":
        return _of_json(b"".join(_parts(source)), source.meter)
    return _of_lines(source)


def _parts(source: Source) -> Iterator[bytes]:
    done = 0
    while data := source.read():
        done += len(data)
        source.meter.memory(2 * len(data), f"JSON of {done:,} bytes and more")
        yield data


def _inflated(source: Source) -> bytes:
    inflate, out = zlib.decompressobj(), []
    nr_bytes = 0
    rest = b""
    try:
        while not inflate.eof:
            data = rest or source.read(1 << 16)
            if not data:
                raise TraceError("cut off: the compressed data ends before its end marker")
            part = inflate.decompress(data, 1 << 20)
            rest = inflate.unconsumed_tail
            nr_bytes += len(part)
            what = f"unpacking {nr_bytes:,} bytes and more"
            source.meter.work(UNPACKED_BYTE * len(part), what)
            source.meter.memory(2 * len(part), what)
            out.append(part)
    except zlib.error as error:
        raise TraceError(f"damaged: {error}") from error
    if inflate.unused_data or source.read(1):
        raise TraceError("there is something behind the end of the compressed data")
    return b"".join(out)


def _of_json(text: bytes, meter: Meter) -> Regions:
    marks = text.count(b",") + text.count(b":")
    opened = text.count(b"[") + text.count(b"{")
    meter.memory(2 * len(text) + 80 * marks + 320 * opened, f"{len(text):,} bytes of JSON")
    try:
        records = load_json(text)
    except ValueError as error:
        raise TraceError(f"it is not JSON: {error}") from error
    if not isinstance(records, list) or not records:
        raise TraceError("it holds no list of records")
    found = Snapshots(most=_most(records))
    for number, record in enumerate(records):
        where = f"record {number}"
        snapshots = _field(record, "snapshots", where)
        if not isinstance(snapshots, list):
            raise TraceError(f"{where}: its snapshots are no list")
        for i, snapshot in enumerate(snapshots):
            _take(found, number, snapshot, f"{where}, snapshot {i}", meter)
    return found.regions()


def _take(found: Snapshots, key: int, snapshot: Any, where: str, meter: Meter) -> None:
    begin, end = (_number(snapshot, name, where) for name in ("start_time", "end_time"))
    regions = _field(snapshot, "regions", where)
    if not isinstance(regions, list):
        raise TraceError(f"{where}: its regions are no list")
    meter.work(STEP * len(regions), "reading this many regions")
    meter.memory(_REGION_BYTES * len(regions), "this many regions")
    try:
        number = found.snapshot(key, end, begin)
        for region in regions:
            found.region(
                number,
                _number(region, "start", where),
                _number(region, "end", where),
                _number(_field(region, "nr_accesses", where), "samples", where),
            )
    except TraceError:
        raise
    except ValueError as error:
        raise TraceError(f"{where}: {error}") from error


def _most(records: list[Any]) -> int | None:
    """Samples in an aggregation interval, where all records have the same intervals."""
    found = set()
    for number, record in enumerate(records):
        if not isinstance(record, dict) or record.get("intervals") is None:
            return None
        where = f"record {number}, intervals"
        sample, aggregation = (
            _number(record["intervals"], name, where) for name in ("sample_us", "aggr_us")
        )
        if not 0 < sample <= aggregation:
            raise TraceError(f"{where}: {sample} us of {aggregation} us")
        found.add(aggregation // sample)
    return found.pop() if len(found) == 1 else None


def _field(value: Any, name: str, where: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise TraceError(f"{where}: there is no {name}")
    return value[name]


def _number(value: Any, name: str, where: str) -> int:
    """A number, or one in quotes with or without commas: damo has written all of these."""
    number = _field(value, name, where)
    if isinstance(number, str) and len(number) < 40:
        text = number.replace(",", "")
        if re.fullmatch(r"-?\d+(\.\d+)?", text):
            number = int(text.partition(".")[0])
    if isinstance(number, float) and abs(number) < 1 << 63:
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise TraceError(
            f"{where}: {name} is {shown(number)}, no number (damo report raw writes them with "
            "--raw_number)"
        )
    return number


def _of_lines(source: Source) -> Regions:
    found = Snapshots()
    rest, end, nr = b"", False, 0
    while not end:
        data = source.read(1 << 20)
        end = not data
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > _LINE_BYTES:
            raise TraceError("a line that is longer than any of a region", line=nr + len(lines) + 1)
        for line in lines if not end else [*lines, rest]:
            nr += 1
            if b"damon_aggregated" in line and (match := LINE_OF_REGION.match(line)):
                try:
                    found.line(match)
                except ValueError as error:
                    raise TraceError(str(error), line=nr) from error
        source.meter.work(STEP * len(lines), f"reading {nr:,} lines and more")
        source.meter.memory(_REGION_BYTES * len(lines), "this many regions")
    if not found.told:
        raise TraceError(
            "holds no records of damo: neither JSON of damo record nor lines of "
            "damon:damon_aggregated"
        )
    return found.regions()


# ---- accesses of a trace -------------------------------------------------------------------


def with_damo(
    trace: Trace,
    path: str | os.PathLike[str],
    *,
    most: int | None = None,
    offset_ns: int = 0,
    seed: int = 1,
    budget: Budget | None = None,
) -> Trace:
    """The trace with accesses in place of those it has, from what ``damo record`` has written.

    Parameters
    ----------
    trace : Trace
        Of the same machine and time, its pfns those of the file's physical addresses.
    path : str or path
        A file of `read_damo`.
    most : int, optional
        Samples in an aggregation interval (the aggregation interval over the sampling interval,
        20 by DAMON's defaults); needed where the file does not say.
    offset_ns, seed, budget
        As for `with_regions` and `read_damo`.

    Raises
    ------
    OSError, TraceError
        As from `read_damo`; TraceError too if no accessed region has a page of the trace.
    ArgumentError, ArgumentTypeError
        With the argument's name and value.
    """
    return with_regions(
        trace, read_damo(path, budget=budget), most=most, offset_ns=offset_ns, seed=seed
    )


def with_regions(
    trace: Trace,
    regions: Regions,
    *,
    most: int | None = None,
    offset_ns: int = 0,
    seed: int = 1,
) -> Trace:
    """The trace with loads in place of the accesses it has, drawn from regions of DAMON.

    How, and what that leaves out, is at the top of this module.  ``counters`` of the result has
    ``accesses_left_out``, those drawn for pages that were not in use.

    Parameters
    ----------
    trace : Trace
        Its times are on the clock of the regions, but for ``offset_ns``.
    regions : Regions
        From `read_damo`, or of a recording.
    most : int, optional
        Samples in an aggregation interval, if the regions do not say.
    offset_ns : int
        What to add to the regions' times.
    seed : int
        For the draws: the same seed gives the same accesses.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        With the argument's name and value.
    TraceError
        No accessed region has a page of the trace, or the draws take more than its budget.
    """
    most = _checked(trace, regions, most, offset_ns, seed)
    empty = np.empty(0, np.uint64)
    if not len(trace) or not len(regions.start):
        return trace._touched(empty, empty, trace.counters)
    lives = Lives(trace)
    pages = lives.pages
    shift = np.uint64(PAGE_SHIFT)
    top = np.uint64(MAX_PFN - 1)
    first = np.minimum(regions.start >> shift, top).astype(np.int64)
    last = np.minimum((regions.end - np.uint64(1)) >> shift, top).astype(np.int64)
    low, high = np.searchsorted(pages, first), np.searchsorted(pages, last, side="right")
    counts = high - low
    total = int(counts.sum())
    if not total:
        raise TraceError(
            "no region that was accessed has a page of the trace; regions must be of physical "
            "addresses (damo record --ops paddr), of the same machine",
            path=trace.path,
        )
    meter = Meter(trace._budget, 16 * len(trace))
    meter.work(PAGE * total, "drawing the pages that were accessed")
    rng = np.random.default_rng(seed)
    page, ns = _drawn(rng, regions, low, counts, most, meter)
    ns += offset_ns
    inside = (ns >= _clock(trace, 0)) & (ns <= _clock(trace, -1))
    page, ns = page[inside], ns[inside]
    order = np.argsort(ns, kind="stable")
    page, ns = page[order], ns[order]
    place = np.searchsorted(trace.time, ns.astype(np.uint64), side="right").astype(np.int64)
    used = lives.in_use(page, place)
    words = pages[page[used]].astype(np.uint64) << np.uint64(8) | np.uint64(LOAD)
    left_out = int(np.count_nonzero(~used))
    counters = {**trace.counters, "accesses_left_out": left_out}
    return trace._touched(words, place[used].astype(np.uint64), counters)


def _clock(trace: Trace, i: int) -> int:
    return min(int(trace.time[i]), _MAX_NS)


def _checked(trace: Trace, regions: Regions, most: int | None, offset_ns: int, seed: int) -> int:
    """The samples in an aggregation interval, with all arguments looked at."""
    if not isinstance(trace, Trace):
        raise ArgumentTypeError(f"trace: {shown(trace)} is not a Trace")
    if not isinstance(regions, Regions):
        raise ArgumentTypeError(f"regions: {shown(regions)} is not Regions")
    for name, value, low, high in (
        ("most", most, 1, 1 << 31),
        ("offset_ns", offset_ns, -(1 << 62), 1 << 62),
        ("seed", seed, 0, 1 << 64),
    ):
        if name == "most" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ArgumentTypeError(f"{name}: {shown(value)} is not an int")
        if not low <= value < high:
            raise ArgumentError(f"{name}: {value} is not in {low} .. {high - 1}")
    found = regions.most if most is None else int(most)
    if found is None:
        raise ArgumentError(
            "most: the regions do not say how many samples an aggregation interval has; by DAMON's "
            "defaults 20 (--samples 20)"
        )
    return found


def _drawn(
    rng: np.random.Generator,
    regions: Regions,
    low: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    most: int,
    meter: Meter,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pages, by their numbers among those of the trace, and times, a region after the other."""
    share = np.minimum(regions.samples / most, 1.0)
    pages, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for i in np.flatnonzero(counts).tolist():
        drawn = np.flatnonzero(rng.random(int(counts[i])) < share[i]) + low[i]
        begin, end = int(regions.begin_ns[i]), int(regions.end_ns[i])
        meter.memory(_ACCESS_BYTES * len(drawn), "this many accesses")
        pages.append(drawn)
        times.append(rng.integers(begin, max(end, begin + 1), len(drawn)))
    return np.concatenate(pages), np.concatenate(times)

# SPDX-License-Identifier: MIT
"""One trace through several mechanisms, on hosts of one size: what each saves and costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._checks import check_callable, check_flag, count_of, names_of, number_of
from pgste._engine import Guest, Host, Replay, flavour_of, generation_of, mechanisms
from pgste._engine.names import RECLAIM_MODELS, shown
from pgste._threads import run_each, threads_asked
from pgste.errors import ArgumentError, ArgumentTypeError, OutOfFramesError
from pgste.study.dense import Pages, guests_pages, pages_for
from pgste.study.result import (
    DAT_ROWS,
    LRU_ROWS,
    READ_AHEAD,
    ROWS,
    Comparison,
    MechanismResult,
    OutOfMemory,
    Row,
)
from pgste.study.sizes import (
    REPORTING_SETTINGS,
    check_reporting,
    check_room,
    guest_pages,
    kernel_watermarks,
)
from pgste.traces.events import distinct
from pgste.traces.trace import Trace

__all__ = [
    "ROWS",
    "Comparison",
    "MechanismResult",
    "Row",
    "compare",
    "guest_pages",
    "kernel_watermarks",
]

Progress = Callable[[str, int, int], object]

_DEFAULT_SHARE = 0.75
DEFAULT_RECLAIM = "lru"  # it holds better against a kernel: docs/predictions.md
_CHARGE = 32  # frames that a memory cgroup reclaims at least (SWAP_CLUSTER_MAX)
FLUSH_NS = 2 * 10**9  # between two flushes of the kernel's statistics
_PARTS = 50  # of a replay, between two reports of progress
MAX_GUESTS = 65535  # of one host
MAX_SAMPLES = 1 << 20
MAX_SWAP_SLOTS = (1 << 32) - 2  # of one host


def _unseen_pages(trace: Trace, base: int, pages: int) -> npt.NDArray[np.int64]:
    """Pages of the guest that no event names, ascending."""
    edges = np.zeros(pages + 1, np.int64)
    first = trace.pfn.astype(np.int64) - base
    np.add.at(edges, first, 1)
    np.add.at(edges, first + (np.int64(1) << trace.order.astype(np.int64)), -1)
    return np.flatnonzero(np.cumsum(edges[:-1]) == 0)


def _set_up_reporting(
    guests: Sequence[Guest],
    trace: Trace,
    summary: Mapping[str, Any],
    base: int,
    settings: Mapping[str, Any],
    unseen_free: bool,
) -> dict[str, Any]:
    """Set up free page reporting; returns its settings.

    Pages that no event names were in use all the time, or free: the trace does not tell.
    Either they keep blocks from merging and count for the watermarks only, or they are free.
    """
    spare = 0 if unseen_free else guests[0].pages - summary["unique_pages"]
    unseen = (
        _unseen_pages(trace, base, guests[0].pages) if unseen_free or "zones" in settings else None
    )
    for guest in guests:
        guest.set_reporting(**{"spare": spare, **settings})
        if unseen is not None and not unseen_free and "spare" not in settings:
            bounds = [*guest.reporting()["zones"], guest.pages]
            guest.set_reporting(spare=np.diff(np.searchsorted(unseen, bounds)).tolist())
        if unseen is not None and unseen_free:
            guest.free(unseen)
    return {
        **{
            name: value
            for name, value in guests[0].reporting().items()
            if name in REPORTING_SETTINGS
        },
        "unseen_free": unseen_free,
    }


@dataclass(frozen=True)
class _Moments:
    """Where replays of a trace stop, ascending; the last is its end."""

    at: npt.NDArray[np.uint64]
    """Nanoseconds of the trace, or events if it takes no time."""
    sample: npt.NDArray[np.bool_]
    flush: npt.NDArray[np.bool_]
    timed: bool

    def parts(self, each: bool) -> list[int]:
        """Ends of the parts, at samples, that a replay goes through in one call: all, or some."""
        ends = np.flatnonzero(self.sample) + 1
        some = ends if each else ends[:: -(-len(ends) // _PARTS)]
        return sorted({*some.tolist(), len(self.at)})


def _marked(nr: int, which: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    marks = np.zeros(nr, np.bool_)
    marks[which] = True
    return marks


def _moments(trace: Trace, samples: int, flush: bool) -> _Moments:
    """Samples evenly over the trace, the last at its end; flushes every 2 seconds of it."""
    start, end = int(trace.time[0]), int(trace.time[-1])
    if start == end:
        steps = np.linspace(0, len(trace), samples + 1)[1:].astype(np.uint64)
        at = distinct(steps[steps > 0])
        return _Moments(at, at > 0, at == 0, False)
    within = np.uint64(start) + np.linspace(0, end - start, samples + 1)[1:-1].astype(np.uint64)
    stops = np.append(within[within > start], np.uint64(end))
    flushes = np.empty(0, np.uint64)
    if flush:
        if end - start > FLUSH_NS * MAX_SAMPLES:
            span = f"{(end - start) * 1e-9:g} s"
            raise ArgumentError(f"trace: spans {span}, too long for reclaim 'lru' ('simple' can)")
        steps = np.arange(1, (end - start) // FLUSH_NS + 1, dtype=np.uint64)
        flushes = np.uint64(start) + steps * np.uint64(FLUSH_NS)
    at = distinct(np.concatenate((stops, flushes)))
    sample, flushed = np.searchsorted(at, stops), np.searchsorted(at, flushes)
    return _Moments(at, _marked(len(at), sample), _marked(len(at), flushed), True)


class _Samples:
    """Memory over trace time: pages that the guests have in use, frames and swap slots."""

    def __init__(self, host: Host, guests: Sequence[Guest], live_at_start: int) -> None:
        self._host, self._guests, self._live = host, guests, live_at_start
        self._rows: list[tuple[npt.NDArray[Any], ...]] = []

    def now(self, seconds: float) -> None:
        """As counters are."""
        stats = self._host.stats()
        one = self._guests[0].stats()  # every guest has allocated and freed the same
        in_use = self._live + one["pages_allocated"] - one["pages_freed"]
        used = stats["frames"] - stats["frames_free"]
        swap = stats["swap_slots"] - stats["swap_slots_free"]
        self._rows.append(
            tuple(map(np.atleast_1d, (seconds, len(self._guests) * in_use, used, swap)))
        )

    def add(
        self,
        seconds: npt.NDArray[np.floating[Any]],
        seen: Mapping[str, npt.NDArray[np.uint64]],
        which: npt.NDArray[np.bool_],
    ) -> None:
        """Some of those that a replay took."""
        live = np.uint64(self._live)
        in_use = (live + seen["pages_allocated"] - seen["pages_freed"]) * len(self._guests)
        rows = (seconds, in_use, seen["frames"], seen["swap_slots"])
        self._rows.append(tuple(column[which] for column in rows))

    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        """Seconds (float64); pages in use, frames and slots (uint64)."""
        seconds, *counts = (np.concatenate(column) for column in zip(*self._rows, strict=True))
        return seconds, *(count.astype(np.uint64) for count in counts)


def _replay(
    trace: Trace,
    mechanism: str,
    host: Host,
    guests: Sequence[Guest],
    given: Pages,
    live_at_start: int,
    moments: _Moments,
    progress: Progress | None,
    between: Callable[[int], None] | None = None,
) -> MechanismResult:
    samples = _Samples(host, guests, live_at_start)
    try:
        replay = Replay(
            guests,
            given.events,
            trace.time,
            given.base,
            accesses=given.accesses,
            places=trace.places,
        )
    except OutOfFramesError:
        nothing = Replay(guests, []).stats()  # it resets the counters, too
        samples.now(0.0)
        if progress:
            progress(mechanism, len(trace), len(trace))
        return _result(mechanism, host, guests, nothing, 0.0, samples, OutOfMemory(None, 0.0))
    samples.now(0.0)
    host.flush_stats()
    start = int(trace.time[0])
    seconds = (moments.at - np.uint64(start)) * 1e-9 if moments.timed else 0.0 * moments.at
    elapsed, done = 0.0, 0
    ended: OutOfMemory | None = None
    for number, end in enumerate(moments.parts(between is not None)):
        if between:
            between(number)
        begin = time.perf_counter()
        try:
            while done < end:
                seen = replay.run_samples(
                    moments.at[done:end], moments.flush[done:end], events=not moments.timed
                )
                part = slice(done, done + len(seen["events"]))
                samples.add(seconds[part], seen, moments.sample[part])
                done = part.stop
        except OutOfFramesError:
            now = (int(trace.time[replay.position]) - start) * 1e-9
            ended = OutOfMemory(replay.position, now)
            samples.now(now)
        elapsed += time.perf_counter() - begin
        if progress:
            progress(mechanism, len(trace) if ended else replay.position, len(trace))
        if ended:
            break
    return _result(mechanism, host, guests, replay.stats(), elapsed, samples, ended)


def _result(
    mechanism: str,
    host: Host,
    guests: Sequence[Guest],
    replay_stats: dict[str, int | float],
    elapsed: float,
    samples: _Samples,
    out_of_memory: OutOfMemory | None,
) -> MechanismResult:
    """What the counters say after a replay, and the samples taken on the way."""
    host_stats = host.stats()
    guest_stats = {name: sum(g.stats()[name] for g in guests) for name in guests[0].stats()}
    covered = replay_stats["seconds"]
    seconds, in_use, frames, swap = samples.columns()
    values: dict[str, float] = {
        **{row.key: guest_stats[row.key] for row in ROWS if row.key in guest_stats},
        "discards": guest_stats["unused_discards"] + guest_stats["lazyfree_discards"],
        "zap_slots_freed": guest_stats["zap_slots_freed"] + guest_stats["hint_slots_freed"],
        "frames_peak": host_stats["frames_peak"],
        "frames_mean": replay_stats["frame_seconds"] / covered if covered else int(frames[-1]),
        "swap_peak": host_stats["swap_peak"],
        "swap_mean": replay_stats["swap_seconds"] / covered if covered else int(swap[-1]),
        "stale_allocs": replay_stats["stale_allocs"],
        **_lru_values(host),
        **_two_tables_values(guests),
        "events_per_second": replay_stats["events"] / elapsed if elapsed else 0.0,
    }
    return MechanismResult(
        mechanism=mechanism,
        values=values,
        seconds=seconds,
        pages_in_use=in_use,
        frames_used=frames,
        swap_used=swap,
        guest_stats=guest_stats,
        host_stats=host_stats,
        replay_stats=replay_stats,
        out_of_memory=out_of_memory,
    )


def _two_tables_values(guests: Sequence[Guest]) -> dict[str, float]:
    if guests[0].generation != "dat":
        return {}
    each = [guest.host_pte_stats() for guest in guests]
    return {row.key: sum(stats[row.key] for stats in each) for row in DAT_ROWS}


def _lru_values(host: Host) -> dict[str, float]:
    if host.reclaim_model not in READ_AHEAD:
        return {}
    stats = host.stats()
    return {row.key: stats[row.key] for row in LRU_ROWS}


def _unmap_some(guests: Sequence[Guest], share: float, turn: int) -> None:
    """MMU notifiers of the host take the guest's PTE of some pages away, evenly spread.

    The operation rewrites the host's PTEs, as page migration does.
    """
    count = int(guests[0].pages * share)
    if count:
        pages = (np.arange(count) * guests[0].pages // count + turn) % guests[0].pages
        for guest in guests:
            guest.notifier_unmap(pages, "set")


def compare(
    trace: Trace,
    mechanisms: Iterable[str] | None = None,
    host_frames: int | None = None,
    guests: int = 1,
    *,
    swap_slots: int | None = None,
    generation: str = "pgtable",
    nodat: bool = False,
    flavour: str | None = None,
    reporting: Mapping[str, Any] | None = None,
    unseen_free: bool = False,
    revision: str | None = None,
    contention: float = 0.0,
    notifiers: float = 0.0,
    reclaim: str = DEFAULT_RECLAIM,
    samples: int = 400,
    threads: int | None = 1,
    progress: Progress | None = None,
) -> Comparison:
    """Replay a trace through each mechanism and put side by side what it saves and costs.

    Every mechanism gets a new host of ``host_frames`` frames and ``guests`` guests, each of
    which lives through the whole trace (docs/model.md section 9: pages freed without an
    earlier allocation were live at the start; every allocation is followed by a first write).

    Parameters
    ----------
    trace: the events; at least one.
    mechanisms: names from `pgste.mechanisms()`; all of them by default.
    host_frames: frames of 4 KiB that the guests share; by default 75 % of the most pages that
        the guests have in use at once, those live at the start included.
    guests: number of guests, 1 .. 65,535.
    swap_slots: by default enough for every page of every guest; 0 is a host without swap.
    generation, nodat, flavour: as for `Guest`; a generation may not have all mechanisms.
    reporting: settings of the mechanism ``reporting``, as for `Guest.set_reporting`.  ``spare``
        is by default the pages that no event names.
    unseen_free: for ``reporting``, these pages are free blocks that others merge with.
    revision: of generation ``dat``, as for `Guest`.
    contention: for ``dat``, the share of tries of a host PTE's lock that fail, 0 .. 1
        (`Guest.set_contention`): such an unused page is written to swap.
    notifiers: for ``dat``, the share of pages, 0 .. 1, whose guest PTE an operation of the host
        takes away before each sample (`Guest.notifier_unmap`): if freed then, they are swapped.
    reclaim: as for `Host`, but "lru" by default, which holds better against a real kernel
        (docs/predictions.md).  With it the host is a memory cgroup of ``host_frames`` at its
        limit, whose statistics are flushed every 2 seconds of the trace.  "simple" is a machine
        with the kernel's watermarks.
    samples: how often host memory is sampled, evenly over trace time, 1 .. 2^20.
    threads: how many mechanisms are replayed at once, 1 .. 64; None is as many as there are CPUs,
        and memory, for.  It changes nothing but speed.
    progress: called with (mechanism, events done, events), by these threads.

    A mechanism whose host and swap cannot hold what the guests use has a result that says so
    (`MechanismResult.out_of_memory`); the others go on.

    ArgumentError, ArgumentTypeError or UnknownNameError for a bad argument.  ModelMemoryError
    before anything is done when this machine cannot hold the guests; TraceError when guests are
    larger, for the few pages that the trace names, than its budget allows.
    """
    generation = generation_of(generation, flavour)
    every = _engine_mechanisms(generation)
    names = every
    if mechanisms is not None:
        names = names_of("mechanisms", mechanisms, _engine_mechanisms())
    if not isinstance(trace, Trace):
        raise ArgumentTypeError(f"trace: {shown(trace)} is not a Trace")
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"mechanisms: {shown(names)} must name at least one, and none twice")
    if len(trace) == 0:
        raise ArgumentError("trace: has no events")
    guests = count_of("guests", guests, MAX_GUESTS)
    samples = count_of("samples", samples, MAX_SAMPLES)
    asked = threads_asked(threads)
    check_flag("unseen_free", unseen_free)
    two = _two_tables(generation, revision, contention, notifiers)
    names_of("reclaim", [reclaim], RECLAIM_MODELS)
    check_callable("progress", progress)
    check_reporting(reporting)
    summary = trace.summary()
    peak = guests * summary["peak_in_use"]
    reason = f"given; the guests' peak of pages in use is {peak:,}"
    if host_frames is None:
        host_frames = max(int(peak * _DEFAULT_SHARE), 1)
        reason = f"75 % of the guests' peak of {peak:,} pages in use"
    host_frames = count_of("host_frames", host_frames)
    if swap_slots is None:
        swap_slots = guests * summary["unique_pages"] + 64
    else:
        swap_slots = count_of("swap_slots", swap_slots, MAX_SWAP_SLOTS, least=0)
    # what unmaps pages of its own, and walks of page tables, see where pages are
    neighbours = reclaim == "mglru" or bool(two and two["notifiers"])
    pages = guests_pages(trace, summary, names, neighbours=neighbours)
    at_once = check_room(
        trace,
        summary,
        guests=guests,
        host_frames=host_frames,
        swap_slots=swap_slots,
        mechanisms=names,
        generation=generation,
        reclaim=reclaim,
        at_once=asked,
        pages=pages,
        array_bytes=24 if unseen_free and "reporting" in names else 0,
    )
    (low, high), settings = host_settings(host_frames, reclaim)
    moments = _moments(trace, samples, reclaim == "lru")
    used: dict[str, Any] | None = None

    def replayed(name: str, host: Host) -> MechanismResult:
        nonlocal used
        given = pages_for(trace, summary, name, neighbours=neighbours)
        members = [
            Guest(
                given.pages,
                host=host,
                mechanism=name,
                generation=generation,
                nodat=nodat,
                revision=revision,
            )
            for _ in range(guests)
        ]
        between: Callable[[int], None] | None = None
        if two and two["contention"]:
            for member in members:
                member.set_contention(two["contention"])
        if two and two["notifiers"]:
            between = partial(_unmap_some, members, two["notifiers"])
        if name == "reporting":
            used = _set_up_reporting(
                members, trace, summary, given.base, reporting or {}, unseen_free
            )
        live = summary["live_at_start"]
        return _replay(trace, name, host, members, given, live, moments, progress, between)

    def run(name: str) -> MechanismResult:
        with closing(Host(host_frames, swap_slots, **settings)) as host:  # at once if interrupted
            return replayed(name, host)

    return Comparison(
        trace=trace.path or "trace",
        summary=summary,
        guests=guests,
        host_frames=host_frames,
        host_frames_reason=reason,
        swap_slots=swap_slots,
        watermarks=(low, high),
        generation=generation,
        results=tuple(run_each(run, names, at_once, work=pages.__getitem__)),
        reporting=used,
        flavour=flavour_of(generation),
        two_tables=two,
        reclaim=reclaim,
    )


def host_settings(frames: int, reclaim: str) -> tuple[tuple[int, int], dict[str, Any]]:
    """Watermarks of a host with this many frames, and what `Host` is told."""
    if reclaim == "lru":
        return (0, min(_CHARGE, frames)), {"reclaim": "lru", "fresh_stats": False}
    if reclaim == "mglru":
        return (0, min(_CHARGE, frames)), {"reclaim": "mglru"}
    low, high = kernel_watermarks(frames)
    return (low, high), {"low": low, "high": high}


def _two_tables(
    generation: str, revision: str | None, contention: float, notifiers: float
) -> dict[str, Any] | None:
    """What the two tables of generation "dat" are set to; None for others, which have one."""
    shares: dict[str, Any] = {"contention": contention, "notifiers": notifiers}
    for name, share in shares.items():
        number_of(name, share, 0, 1)
    if generation == "dat":
        made = Guest(1, generation=generation, revision=revision)
        return {"revision": made.revision, **{n: float(s) for n, s in shares.items()}}
    asked = {name: share for name, share in shares.items() if share}
    if revision is not None:
        asked["revision"] = revision
    for name, given in asked.items():
        raise ArgumentError(f"{name}: {shown(given)} is for generation 'dat', not {generation!r}")
    return None


# The plain name is that of `compare`'s parameter.
_engine_mechanisms = mechanisms

# SPDX-License-Identifier: MIT
"""Different guests on one host, each with a trace of its own that starts when it likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._checks import check_callable, count_of, items_of, names_of, number_of
from pgste._engine import Guest, Host, Replay, mechanisms
from pgste._engine.names import RECLAIM_MODELS, shown
from pgste._threads import run_each, threads_asked
from pgste.errors import ArgumentError, ArgumentTypeError, OutOfFramesError
from pgste.study.ahead import Ahead, who_is_ahead
from pgste.study.compare import DEFAULT_RECLAIM, FLUSH_NS, host_settings
from pgste.study.dense import guests_pages, pages_for
from pgste.study.sizes import check_no_accesses, check_room
from pgste.traces.trace import Trace

__all__ = ["Fleet", "FleetComparison", "FleetGuest", "FleetResult", "Member"]

MAX_GUESTS = 4096
MAX_SWAP_SLOTS = (1 << 32) - 2
_MOST_SECONDS = 1e9
_SHARE = 0.75
#: Counters of a guest that are told, and that add up over guests.
COUNTS = ("swap_outs", "swap_ins", "discards", "zero_fills", "hints")


def _seconds(name: str, value: object) -> float:
    return number_of(name, value, 0, _MOST_SECONDS, " seconds")


@dataclass(frozen=True)
class Member:
    """Guests of a fleet that live through one trace.

    ``shift`` is when the first of them starts, in seconds of the fleet's time; each of ``weight``
    guests starts ``stagger`` seconds after the one before.  ``start`` and ``end`` are seconds of
    the trace: what is before and behind is left out.
    """

    trace: Trace = field(repr=False)
    shift: float = 0.0
    start: float = 0.0
    end: float | None = None
    weight: int = 1
    stagger: float = 0.0
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.trace, Trace):
            raise ArgumentTypeError(f"trace: {shown(self.trace)} is not a Trace")
        check_no_accesses(self.trace)
        for name in ("shift", "start", "stagger"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.end is not None:
            object.__setattr__(self, "end", _seconds("end", self.end))
        count_of("weight", self.weight, MAX_GUESTS)
        if self.name is not None and not isinstance(self.name, str):
            raise ArgumentTypeError(f"name: {shown(self.name)} is not a str")
        if not len(self.part()):
            raise ArgumentError(
                f"trace: {self.title} has no events from {self.start} to {self.end}"
            )

    @property
    def title(self) -> str:
        """The name, or that of the trace."""
        return self.name or self.trace.path or "trace"

    def part(self) -> Trace:
        """The events from ``start`` to ``end``."""
        if not len(self.trace):
            return self.trace
        times = self.trace.time
        first = int(times[0])
        low = np.searchsorted(times, np.uint64(first + round(self.start * 1e9)))
        if self.end is None:
            return self.trace[low:]
        high = np.searchsorted(times, np.uint64(first + round(self.end * 1e9)), side="right")
        return self.trace[low:high]


@dataclass(frozen=True)
class FleetGuest:
    """One guest: its name, when it starts, and what was counted, by the names of `COUNTS`."""

    name: str
    start: float
    counts: dict[str, int]


@dataclass(frozen=True)
class FleetResult:
    """What a mechanism did: each guest, and their host."""

    mechanism: str
    guests: tuple[FleetGuest, ...]
    counts: dict[str, int]
    """Sums over the guests."""
    frames_peak: int
    swap_peak: int
    """Both but for what guests do before their first event."""
    out_of_memory: tuple[str, float] | None
    """Which guest got no frame (of those that do the same, the first), and when, in seconds; all
    counts are those until then."""


@dataclass(frozen=True)
class FleetComparison:
    """The result of `Fleet.compare`."""

    peaks: dict[str, int]
    """The most pages that each guest has in use at once."""
    peak_of_sum: int
    """The most pages that all guests have in use at once, together."""
    peak_seconds: float
    """When that is."""
    host_frames: int
    swap_slots: int
    reclaim: str
    results: tuple[FleetResult, ...]

    @property
    def sum_of_peaks(self) -> int:
        """What the guests would need if all had their peaks at once."""
        return sum(self.peaks.values())

    def __getitem__(self, mechanism: str) -> FleetResult:
        """The result of one mechanism, by name; KeyError names it."""
        for result in self.results:
            if result.mechanism == mechanism:
                return result
        raise KeyError(mechanism)

    def ahead(self) -> tuple[Ahead, ...]:
        """Who does best in swap traffic, of those that ended."""
        return who_is_ahead(
            {
                one.mechanism: {"swap_traffic": one.counts["swap_outs"] + one.counts["swap_ins"]}
                for one in self.results
                if not one.out_of_memory
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            **asdict(self),
            "sum_of_peaks": self.sum_of_peaks,
            "ahead": [asdict(one) for one in self.ahead()],
        }


@dataclass(frozen=True)
class _Group:
    """Guests that do the same at the same time; a replay drives them all."""

    trace: Trace
    summary: dict[str, Any]
    names: tuple[str, ...]
    start: int  # ns of the fleet's time
    first: int  # ns of the trace's time
    times: npt.NDArray[np.int64]


class Fleet:
    """Guests with different traces on one host.

    Parameters
    ----------
    members : iterable of Member or Trace
        A trace is a guest that starts at once.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        No members, or one that is none.
    """

    def __init__(self, members: Iterable[Member | Trace]) -> None:
        given = items_of("members", members, object, "members")
        self.members = tuple(Member(one) if isinstance(one, Trace) else one for one in given)
        for i, one in enumerate(self.members):
            if not isinstance(one, Member):
                raise ArgumentTypeError(f"members[{i}]: {shown(one)} is neither Member nor Trace")
        number = sum(one.weight for one in self.members)
        if not 1 <= number <= MAX_GUESTS:
            raise ArgumentError(f"members: {number} guests, not 1 .. {MAX_GUESTS}")

    def peak_of_sum(self) -> int:
        """The most pages that all guests have in use at once, together."""
        return _peak_of_sum(self._groups())[0]

    def compare(
        self,
        mechanisms: Iterable[str] | None = None,
        host_frames: int | None = None,
        *,
        swap_slots: int | None = None,
        threads: int | None = 1,
        reclaim: str = DEFAULT_RECLAIM,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> FleetComparison:
        """Replay all guests through each mechanism: what each guest pays, and what the host needs.

        Events go to the host in the order of their times; of events at the same time, those of
        the member that was named first come first.  A guest has no memory before it starts, and
        keeps what it has when its trace ends, which is where its time ends, too.  What
        ``reporting`` does between two events of a guest happens at its time.

        Parameters
        ----------
        mechanisms: names from `pgste.mechanisms()`; all of them by default.
        host_frames: by default 75 % of the most pages that all guests have in use at once.
        swap_slots: by default enough for every page of every guest; 0 is a host without swap.
        threads: mechanisms at once, 1 .. 64; None is as many as there are CPUs, and memory,
            for.  It changes nothing but speed.
        reclaim: as for `pgste.compare`.
        progress: called with (mechanism, events done, events), by these threads.
        """
        every = _engine_mechanisms()
        names = every if mechanisms is None else names_of("mechanisms", mechanisms, every)
        if not names or len(set(names)) != len(names):
            raise ArgumentError(f"mechanisms: {shown(names)}: at least one, and none twice")
        asked = threads_asked(threads)
        names_of("reclaim", [reclaim], RECLAIM_MODELS)
        check_callable("progress", progress)
        groups = self._groups()
        peak, when = _peak_of_sum(groups)
        frames = max(int(peak * _SHARE), 1) if host_frames is None else host_frames
        frames = count_of("host_frames", frames)
        if swap_slots is None:
            swap_slots = 64 + sum(len(g.names) * g.summary["unique_pages"] for g in groups)
        swap_slots = count_of("swap_slots", swap_slots, MAX_SWAP_SLOTS, least=0)
        at_once = asked
        for group in groups:
            at_once = check_room(
                group.trace,
                group.summary,
                guests=len(group.names),
                host_frames=frames,
                swap_slots=swap_slots,
                mechanisms=names,
                at_once=at_once,
                reclaim=reclaim,
                pages=guests_pages(
                    group.trace, group.summary, names, neighbours=reclaim == "mglru"
                ),
            )
        _, settings = host_settings(frames, reclaim)
        turns = _turns(groups, FLUSH_NS if reclaim == "lru" else None)

        def run(name: str) -> FleetResult:
            with closing(Host(frames, swap_slots, **settings)) as host:
                return _Run(groups, name, host).result(turns, progress)

        return FleetComparison(
            peaks={name: g.summary["peak_in_use"] for g in groups for name in g.names},
            peak_of_sum=peak,
            peak_seconds=when,
            host_frames=frames,
            swap_slots=swap_slots,
            reclaim=reclaim,
            results=tuple(run_each(run, names, at_once or 1)),
        )

    def _groups(self) -> list[_Group]:
        found: list[_Group] = []
        taken: set[str] = set()
        for member in self.members:
            trace = member.part()
            summary = trace.summary()
            first = int(trace.time[0])
            times = (trace.time - np.uint64(first)).astype(np.int64)
            names = [_unused(member.title, taken) for _ in range(member.weight)]
            step = round(member.stagger * 1e9)
            start = round(member.shift * 1e9)
            if step == 0:
                found.append(_Group(trace, summary, tuple(names), start, first, times + start))
                continue
            for i, name in enumerate(names):
                at = start + i * step
                found.append(_Group(trace, summary, (name,), at, first, times + at))
        return found


def _unused(title: str, taken: set[str]) -> str:
    """The title, with a number behind if another guest has it."""
    number, name = 1, title
    while name in taken:
        number += 1
        name = f"{title} {number}"
    taken.add(name)
    return name


def _peak_of_sum(groups: Sequence[_Group]) -> tuple[int, float]:
    """The most pages in use at once, and when, in seconds."""
    times, changes = [], []
    for group in groups:
        guests = len(group.names)
        times += [np.array([group.start]), group.times]
        live = group.summary["live_at_start"]
        after = group.trace._in_use() - live
        changes += [np.array([guests * live]), guests * np.diff(after, prepend=0)]
    when = np.concatenate(times)
    order = np.argsort(when, kind="stable")
    in_use = np.cumsum(np.concatenate(changes)[order])
    at = int(np.argmax(in_use))
    return int(in_use[at]), float(when[order[at]]) * 1e-9


@dataclass(frozen=True)
class _Turn:
    """Events of one group, until another one's turn comes, or statistics are brought up to date."""

    group: int
    events: int
    flush: bool  # before the first of them


def _turns(groups: Sequence[_Group], flush_ns: int | None) -> list[_Turn]:
    """What is replayed one after another; statistics are flushed first, and every ``flush_ns``."""
    when = np.concatenate([group.times for group in groups])
    which = np.repeat(np.arange(len(groups)), [len(group.times) for group in groups])
    order = np.argsort(when, kind="stable")
    period = np.maximum((when[order] - 1) // flush_ns, 0) if flush_ns else np.zeros_like(when)
    which = which[order]
    starts = np.flatnonzero(np.diff(which, prepend=-1) | np.diff(period, prepend=-1))
    flush = np.diff(period[starts], prepend=-1) > 0
    events = np.diff(starts, append=len(which))
    columns = (which[starts].tolist(), events.tolist(), flush.tolist())
    return [_Turn(*row) for row in zip(*columns, strict=True)]


class _Run:
    """One mechanism: the host, the guests that have started, and their replays."""

    def __init__(self, groups: Sequence[_Group], mechanism: str, host: Host) -> None:
        self.groups, self.mechanism, self.host = groups, mechanism, host
        self.guests: list[list[Guest]] = [[] for _ in groups]
        self.replays: list[Replay | None] = [None for _ in groups]
        self.frames_peak = self.swap_peak = 0
        self.due: list[tuple[int, int]] = []  # a heap: when a group's mechanism acts, which
        self.next_due: dict[int, int] = {}  # of these, what holds

    def result(
        self,
        turns: Iterable[_Turn],
        progress: Callable[[str, int, int], object] | None,
    ) -> FleetResult:
        total = sum(len(group.times) for group in self.groups)
        done, told, ended = 0, 0, None
        for turn in turns:
            ended = self._turn(turn)
            done += turn.events
            if progress and (done - told >= total // 200 or ended):
                told = total if ended else done
                progress(self.mechanism, told, total)
            if ended:
                break
        if progress:
            progress(self.mechanism, total, total)
        self._keep_peaks()
        guests = tuple(
            FleetGuest(name, group.start * 1e-9, _counts(members[i] if members else None))
            for group, members in zip(self.groups, self.guests, strict=True)
            for i, name in enumerate(group.names)
        )
        counts = {name: sum(one.counts[name] for one in guests) for name in COUNTS}
        return FleetResult(self.mechanism, guests, counts, self.frames_peak, self.swap_peak, ended)

    def _turn(self, turn: _Turn) -> tuple[str, float] | None:
        """Which guest got no frame, and when, if one did not."""
        group = self.groups[turn.group]
        try:
            if self.mechanism == "reporting":
                self._turn_by_the_clock(turn)
            else:
                replay = self.replays[turn.group] or self._start(turn.group)
                if turn.flush:
                    self.host.flush_stats()
                replay.run(turn.events)
        except OutOfFramesError:
            at = self.replays[turn.group]
            when = group.start if at is None else int(group.times[at.position])
            return group.names[0], when * 1e-9
        return None

    def _turn_by_the_clock(self, turn: _Turn) -> None:
        """The turn's events, and what all mechanisms do until the last of them, in order of time.

        Of what happens at the same time, the member that was named first comes first.
        """
        which = turn.group
        times = self.groups[which].times
        old = self.replays[which]
        at = old.position if old else 0
        first, last = int(times[at]), int(times[at + turn.events - 1])
        if turn.flush:
            self._flush_until(first)
        self._act_before(first, which)
        replay = old or self._start(which)
        if turn.flush and not old:  # as for the other mechanisms, behind the set-up
            self.host.flush_stats()
        while acts := self._next_act(last, which):
            when, other = acts
            if other != which:  # its own comes with its events
                replay.run_until(self._trace_time(which, when - (other < which)))
                self._until(other, when)
            else:
                del self.next_due[which]
        self._until(which, last)

    def _flush_until(self, ns: int) -> None:
        """Flush the statistics at whole periods up to now, where something was done in one."""
        last = (ns - 1) // FLUSH_NS * FLUSH_NS  # what happens at its end belongs to a period
        while acts := self._next_act(last, len(self.groups)):
            self._act_before(-(-acts[0] // FLUSH_NS) * FLUSH_NS, len(self.groups))
            self.host.flush_stats()
        self.host.flush_stats()

    def _act_before(self, ns: int, which: int) -> None:
        """What mechanisms do before this time, and at it those of groups before this one."""
        while acts := self._next_act(ns, which):
            self._until(acts[1], acts[0])

    def _next_act(self, ns: int, which: int) -> tuple[int, int] | None:
        """When a mechanism acts next, and whose it is, if that is before this group's turn."""
        while self.due and self.next_due.get(self.due[0][1]) != self.due[0][0]:
            heappop(self.due)
        return self.due[0] if self.due and self.due[0] < (ns, which) else None

    def _until(self, which: int, ns: int) -> None:
        """Bring a group to this time of the fleet, and see when its mechanism acts next."""
        replay, group = self.replays[which], self.groups[which]
        assert replay is not None
        replay.run_until(self._trace_time(which, ns))
        self.next_due.pop(which, None)
        asked = (guest._due_ns for guest in self.guests[which])
        dues = [due for due in asked if due is not None]
        if dues and replay.position < len(group.times):
            self.next_due[which] = group.start + min(dues)
            heappush(self.due, (self.next_due[which], which))

    def _trace_time(self, which: int, ns: int) -> int:
        group = self.groups[which]
        return max(ns - group.start, 0) + group.first

    def _start(self, which: int) -> Replay:
        """A group's guests come to the host.  Their set-up resets the host's counters."""
        group = self.groups[which]
        walks = self.host.reclaim_model == "mglru"  # page tables, which have neighbours
        given = pages_for(group.trace, group.summary, self.mechanism, neighbours=walks)
        self.guests[which] = [
            Guest(given.pages, host=self.host, mechanism=self.mechanism) for _ in group.names
        ]
        if self.mechanism == "reporting":
            for guest in self.guests[which]:
                guest.set_reporting(spare=given.pages - group.summary["unique_pages"])
        self._keep_peaks()
        replay = Replay(self.guests[which], given.events, group.trace.time, given.base)
        self.replays[which] = replay
        return replay

    def _keep_peaks(self) -> None:
        stats = self.host.stats()
        self.frames_peak = max(self.frames_peak, stats["frames_peak"])
        self.swap_peak = max(self.swap_peak, stats["swap_peak"])


def _counts(guest: Guest | None) -> dict[str, int]:
    """Of a guest; nothing if it has not started."""
    if guest is None:
        return dict.fromkeys(COUNTS, 0)
    stats = guest.stats()
    discards = stats["unused_discards"] + stats["lazyfree_discards"]
    return {name: discards if name == "discards" else stats[name] for name in COUNTS}


# The plain name is that of a parameter.
_engine_mechanisms = mechanisms

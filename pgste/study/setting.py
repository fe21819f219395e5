# SPDX-License-Identifier: MIT
"""What all replays of a curve, or of a search for a size, have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pgste._engine import Guest, Host, Replay
from pgste._engine.names import shown
from pgste.errors import ArgumentError, ArgumentTypeError
from pgste.study.dense import guests_pages, pages_for
from pgste.study.sizes import (
    check_no_accesses,
    check_reporting,
    check_room,
    guest_pages,
    kernel_watermarks,
)
from pgste.traces.trace import Trace

__all__ = ["COUNTS", "Setting", "counts_of", "setting_of", "told", "with_watermarks"]

COUNTS = ("swap_outs", "swap_ins", "zero_fills", "discards")


@dataclass(frozen=True)
class Setting:
    """What all replays of a curve, or of a search for a size, have in common."""

    trace: Trace
    summary: dict[str, Any]
    guests: int
    reporting: Mapping[str, Any]
    pages: Mapping[str, int]
    """Of a guest, for each mechanism, at the most."""
    at_once: int
    """Mechanisms that are replayed at the same time."""

    @property
    def most_frames(self) -> int:
        """Frames with which a host that is told nothing writes nothing to swap."""
        return with_watermarks(self.guests * int(self.summary["unique_pages"]))

    @contextmanager
    def replay(
        self, mechanism: str, frames: int, *, swap: bool = True
    ) -> Iterator[tuple[Replay, Host]]:
        """Guests on a host of so many frames, before the first event; the caller runs it.

        The host has a swap slot for each page of the trace, or none.
        """
        low, high = kernel_watermarks(frames)
        slots = self.guests * self.summary["unique_pages"] + 64 if swap else 0
        given = pages_for(self.trace, self.summary, mechanism)
        with closing(Host(frames, slots, low=low, high=high)) as host:
            members = [
                Guest(given.pages, host=host, mechanism=mechanism) for _ in range(self.guests)
            ]
            if mechanism == "reporting":
                spare = given.pages - self.summary["unique_pages"]
                for member in members:
                    member.set_reporting(**{"spare": spare, **self.reporting})
            yield Replay(members, given.events, self.trace.time, given.base), host

    def counted(self, mechanism: str, frames: int) -> dict[str, float]:
        """What the engine counts on a host of so many frames."""
        with self.replay(mechanism, frames) as (replay, host):
            replay.run()
            return counts_of(replay, host)


def counts_of(replay: Replay, host: Host) -> dict[str, float]:
    """What a replay has counted so far, by the names of a curve's values."""
    counts, means = host.stats(), replay.stats()
    seconds = means["seconds"] or 1
    return {
        **{name: float(counts[name]) for name in COUNTS[:3]},
        "discards": float(counts["unused_discards"] + counts["lazyfree_discards"]),
        "frames_mean": means["frame_seconds"] / seconds,
        "swap_mean": means["swap_seconds"] / seconds,
    }


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Swap traffic and faults, from the counts that they are sums of."""
    return {
        "swap_traffic": values["swap_outs"] + values["swap_ins"],
        "faults": values["zero_fills"] + values["swap_ins"],
    }


def with_watermarks(used: int) -> int:
    """Frames of a host that has so many in use when it reclaims none."""
    frames = used
    while frames - kernel_watermarks(frames)[0] < used:
        frames += max(used - frames + kernel_watermarks(frames)[0], 1)
    return frames


def setting_of(
    trace: Trace,
    names: Sequence[str],
    guests: int,
    reporting: Mapping[str, Any] | None,
    threads: int | None,
) -> Setting:
    """Check what `curve` and `size` are given in common, and that replays have room."""
    if not isinstance(trace, Trace):
        raise ArgumentTypeError(f"trace: {shown(trace)} is not a Trace")
    check_no_accesses(trace)
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"mechanisms: {shown(names)} must name at least one, and none twice")
    if len(trace) == 0:
        raise ArgumentError("trace: has no events")
    check_reporting(reporting)
    summary = trace.summary()
    if guest_pages(summary)[1] > 1 << 40:
        raise ArgumentError(
            f"trace: {guest_pages(summary)[1]:,} pages, more than the 2^40 of a guest"
        )
    pages = guests_pages(trace, summary, names)
    setting = Setting(trace, summary, guests, reporting or {}, pages, 1)
    if reporting:
        Guest(1, mechanism="reporting").set_reporting(**reporting)  # refuses what it does not know
    at_once = check_room(
        trace,
        summary,
        guests=guests,
        host_frames=setting.most_frames,
        swap_slots=guests * summary["unique_pages"] + 64,
        mechanisms=names,
        at_once=threads,
        pages=pages,
    )
    return replace(setting, at_once=at_once)

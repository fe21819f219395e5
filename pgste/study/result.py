# SPDX-License-Identifier: MIT
"""What a comparison tells: a row for each figure, a result for each mechanism."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste.study.ahead import Ahead, who_is_ahead

__all__ = [
    "DAT_ROWS",
    "LRU_ROWS",
    "READ_AHEAD",
    "ROWS",
    "Comparison",
    "MechanismResult",
    "OutOfMemory",
    "Row",
]


@dataclass(frozen=True)
class Row:
    """A line of the comparison: key in `MechanismResult.values`, its name, and what it counts."""

    key: str
    title: str
    meaning: str
    unit: str = "count"


ROWS = (
    Row("swap_outs", "swap-outs", "pages written to swap"),
    Row("swap_ins", "swap-ins", "pages read from swap"),
    Row("discards", "discarded unwritten", "free pages that reclaim dropped without a write"),
    Row("zap_slots_freed", "swap slots freed by zap", "by CBRL entries or by madvise"),
    Row("hint_frames_freed", "frames freed by hints", "given back at once, before any reclaim"),
    Row("zero_fills", "zero-fill faults", "page faults answered with a zeroed frame"),
    Row("hints", "hints", "ESSA instructions, madvise or report calls for free and alloc"),
    Row("hint_pages", "pages hinted", "pages that the hints covered"),
    Row("intercepts", "intercepts", "exits to process a full CBRL"),
    Row("frames_peak", "host frames, peak", "most frames in use at once"),
    Row("frames_mean", "host frames, mean", "over trace time"),
    Row("swap_peak", "swap slots, peak", "most slots in use at once"),
    Row("swap_mean", "swap slots, mean", "over trace time"),
    Row("stale_allocs", "allocs of stale pages", "a read before the first write sees it"),
    Row("events_per_second", "events a second", "replay speed on this machine", "rate"),
)

#: What generation "dat" tells beside: its two tables (docs/dat.md) make these possible.
DAT_ROWS = (
    Row("unused_swap_outs", "of these, unused", "swap-outs of pages that the guest said it freed"),
    Row("lock_failures", "host locks not had", "of a host PTE, by who goes without it"),
)


#: Models of reclaim (`Host`) that read ahead, and count it.
READ_AHEAD = ("lru", "mglru")

#: What they tell beside (docs/reclaim.md): of the pages read from swap.
LRU_ROWS = (
    Row("readaheads", "of these, ahead", "read beside the page that a fault asked for"),
    Row("readahead_hits", "faults it saved", "that found such a page in memory"),
)


@dataclass(frozen=True)
class OutOfMemory:
    """Where a replay ended: the host had no frame left, and nothing that reclaim could take."""

    event: int | None
    """Index of the event that got no frame; None: what is live at the start does not fit."""
    seconds: float
    """Trace time of that event."""

    def __str__(self) -> str:
        if self.event is None:
            return "out of memory before the first event"
        return f"out of memory at event {self.event:,} ({self.seconds:.2f} s)"


@dataclass(frozen=True)
class MechanismResult:
    """What a mechanism did: `values` by row key, and samples over trace time (arrays).

    ``seconds`` is the time of each sample.  ``frames_used`` and ``swap_used`` are the host
    frames and swap slots in use then.  ``pages_in_use`` is what the guests themselves need:
    pages that the trace shows as in use, over all guests.  These are the pages live at the
    start (their first event is a free) plus pages allocated less pages freed since.  A page
    that no event names never counts.  It is the same for every mechanism.

    Where ``out_of_memory`` is not None, the replay ended there: values and samples are those
    until then, and not to be compared with those of a whole replay.
    """

    mechanism: str
    values: dict[str, float]
    seconds: npt.NDArray[np.float64]
    pages_in_use: npt.NDArray[np.uint64]
    frames_used: npt.NDArray[np.uint64]
    swap_used: npt.NDArray[np.uint64]
    guest_stats: dict[str, int]
    host_stats: dict[str, int]
    replay_stats: dict[str, float]
    out_of_memory: OutOfMemory | None = None

    @property
    def cost_stats(self) -> dict[str, int]:
        """Counters by which `pgste.study.costs.estimate` tells times.

        Those of the guests, but ``swap_ins`` are page faults: pages read ahead that no fault asked
        for cost nobody a wait, and faults that find such a page (``readahead_hits``) little.
        """
        hits = self.host_stats.get("readahead_hits", 0)
        asked = self.guest_stats["swap_ins"] - self.host_stats.get("readaheads", 0)
        return {**self.guest_stats, "swap_ins": asked + hits, "readahead_hits": hits}


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: settings in common, and a `MechanismResult` for each mechanism."""

    trace: str
    summary: dict[str, Any]
    guests: int
    host_frames: int
    host_frames_reason: str
    swap_slots: int
    watermarks: tuple[int, int]
    generation: str
    results: tuple[MechanismResult, ...] = field(repr=False)
    #: Settings of free page reporting (`Guest.reporting`), if it took part.
    reporting: dict[str, Any] | None = None
    flavour: str = "kvm"
    #: Generation "dat": the release, and what its host does; else None.
    two_tables: dict[str, Any] | None = None
    #: How the host takes frames (`Host`): "simple", "lru" or "mglru".
    reclaim: str = "simple"

    def __getitem__(self, mechanism: str) -> MechanismResult:
        """The result of one mechanism, by name; KeyError names it."""
        for result in self.results:
            if result.mechanism == mechanism:
                return result
        raise KeyError(mechanism)

    @property
    def rows(self) -> tuple[Row, ...]:
        """`ROWS`, and among them what only generation "dat", and "lru" and "mglru", tell."""
        dat = DAT_ROWS if self.two_tables else ()
        lru = LRU_ROWS if self.reclaim in READ_AHEAD else ()
        return (*ROWS[:1], *dat, *ROWS[1:2], *lru, *ROWS[2:])

    def ahead(self) -> tuple[Ahead, ...]:
        """Who does best in swap traffic, page faults and host memory, of those that ended."""
        return who_is_ahead(
            {
                one.mechanism: {
                    "swap_traffic": one.values["swap_outs"] + one.values["swap_ins"],
                    "faults": one.values["zero_fills"] + one.cost_stats["swap_ins"],
                    "frames_mean": one.values["frames_mean"],
                }
                for one in self.results
                if not one.out_of_memory
            }
        )

    def to_dict(self, samples: bool = True) -> dict[str, Any]:
        """Everything as plain data for JSON; without the samples over time on request."""
        columns: dict[str, Any] = {}
        for result in self.results:
            column: dict[str, Any] = {
                **result.values,
                "out_of_memory": asdict(result.out_of_memory) if result.out_of_memory else None,
                "guest": result.guest_stats,
                "host": result.host_stats,
                "replay": result.replay_stats,
            }
            if samples:
                column["samples"] = {
                    "seconds": result.seconds.tolist(),
                    "pages_in_use": result.pages_in_use.tolist(),
                    "frames_used": result.frames_used.tolist(),
                    "swap_used": result.swap_used.tolist(),
                }
            columns[result.mechanism] = column
        return {
            "trace": self.trace,
            "summary": self.summary,
            "guests": self.guests,
            "host_frames": self.host_frames,
            "host_frames_reason": self.host_frames_reason,
            "swap_slots": self.swap_slots,
            "watermarks": {"low": self.watermarks[0], "high": self.watermarks[1]},
            "generation": self.generation,
            "flavour": self.flavour,
            "reclaim": self.reclaim,
            "reporting": self.reporting,
            **({"two_tables": self.two_tables} if self.two_tables else {}),
            "ahead": [asdict(one) for one in self.ahead()],
            "mechanisms": columns,
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw what each mechanism holds beside what the guests use, into a picture file.

        Raises
        ------
        ArgumentError
            The file's name does not end in .png, .svg or .pdf.
        MissingPackageError
            matplotlib is not installed.
        """
        from pgste.study.plot import plot_comparison  # matplotlib is slow to import

        plot_comparison(self, path)

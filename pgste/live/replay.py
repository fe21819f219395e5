# SPDX-License-Identifier: MIT
"""Replay of a trace on real memory under a real memory limit, beside the model's prediction.

The pages of the trace become pages of a mapping: an alloc stores to them, a free is told to the
kernel by the mechanism (docs/model.md section 9, with the kernel in place of the model).  Each run
has a process, a memory cgroup and a swap file of its own (`pgste.live.worker`), and each mechanism
has several runs, since no two are alike.  The model gets the frames that the group really held.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from pgste.errors import ArgumentError
from pgste.live.alone import alone
from pgste.live.memory import HINTS
from pgste.live.mglru import mglru_on
from pgste.live.predicted import predict
from pgste.live.pressure import SwapFile, find_hierarchy
from pgste.live.scaled import CHUNK_PAGES, Scaled, scale
from pgste.live.worker import PAGE_BYTES, Killed, Run, run_on_kernel
from pgste.traces.trace import Trace

__all__ = [
    "CHUNK_PAGES",
    "FIGURES",
    "PAGE_BYTES",
    "Figure",
    "Killed",
    "LiveReplay",
    "MechanismReplay",
    "Run",
    "Scaled",
    "live_replay",
    "scale",
]

SPARE_SLOTS = 4096
"""Of swap, beyond the pages of the trace: those that wait in the swap cache keep theirs."""
_MOST_RUNS = 1000

FIGURES = (
    ("resident_peak", "resident_peak"),
    ("resident_mean", "resident_mean"),
    ("swapped_peak", "swapped_peak"),
    ("swap_outs", "swap_outs"),
    ("pages_read", "pages_read"),
    ("disk_faults", "disk_faults"),
    ("readahead_pages", "readahead_pages"),
    ("readahead_hits", "readahead_hits"),
    ("lazyfree_discards", "lazyfree_discards"),
    ("faults", "faults"),
    ("hints", "hints"),
    ("hint_pages", "hint_pages"),
    ("stale_allocs", "stale_allocs"),
    ("elapsed_seconds", ""),
    ("hint_seconds", ""),
    ("touch_seconds", ""),
    ("user_seconds", ""),
    ("system_seconds", ""),
)
"""Key of a figure among the kernel's values, and among the model's ("": it has none)."""


@dataclass(frozen=True)
class Figure:
    """A figure of the kernel's runs, and what the model says of it."""

    key: str
    kernel: tuple[float, ...]
    """Of each run that came to its end."""
    models: tuple[float, ...]
    """The model's, one for each phase of the timer (`pgste.live.predicted`)."""
    scope: str
    """``"group"``: of what was replayed alone; ``"whole machine"``: of all that ran meanwhile."""

    @property
    def median(self) -> float | None:
        return median(self.kernel) if self.kernel else None

    @property
    def model(self) -> float | None:
        """The median of the model's."""
        return median(self.models) if self.models else None

    @property
    def spread(self) -> float | None:
        """Largest less smallest, as a share of the median."""
        if len(self.kernel) < 2 or not self.median:
            return None
        return (max(self.kernel) - min(self.kernel)) / self.median

    @property
    def error(self) -> float | None:
        """By how much the model is off, as a share of the kernel's median."""
        if self.model is None or not self.median:
            return None
        return (self.model - self.median) / self.median

    @property
    def verdict(self) -> str | None:
        """Whether the model is ``"within"`` what the kernel's own runs span, or ``"outside"``."""
        if self.model is None or len(self.kernel) < 2:
            return None
        return "within" if min(self.kernel) <= self.model <= max(self.kernel) else "outside"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        names = ("median", "spread", "model", "error", "verdict", "scope")
        runs = {"runs": list(self.kernel), "model_runs": list(self.models)}
        return {**runs, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class MechanismReplay:
    """The kernel's runs of a mechanism, and the model's."""

    mechanism: str
    runs: tuple[Run, ...]
    """Those that came to their end."""
    killed: tuple[Killed, ...]
    frames: int
    """What the model had: what the group held where it was full, else the limit."""
    models: tuple[Run, ...]
    """What the model says, for each phase of the kernel's timer in which it has memory enough."""

    @property
    def model(self) -> Run | None:
        """The one of them that writes the median of pages, or the next fewer."""
        each = sorted(self.models, key=lambda run: run.values["swap_outs"])
        return each[(len(each) - 1) // 2] if each else None

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures, by key."""
        return {key: self._figure(key, model) for key, model in FIGURES}

    def _figure(self, key: str, model: str) -> Figure:
        return Figure(
            key=key,
            kernel=tuple(run.values[key] for run in self.runs if key in run.values),
            models=tuple(run.values[model] for run in self.models) if model else (),
            scope=next((run.scope.get(key, "group") for run in self.runs), "group"),
        )


@dataclass(frozen=True)
class LiveReplay:
    """The kernel's runs and the model's, mechanism by mechanism."""

    trace: str
    limit_pages: int
    scaled: Scaled
    swap_slots: int
    cgroup_version: int
    mechanisms: dict[str, MechanismReplay]
    mglru: bool = False
    """Whether the kernel reclaimed by the multi-gen LRU, which the model does not."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""

        def plain(run: Run) -> dict[str, Any]:
            return {
                **run.values,
                "samples": {
                    "position": run.position.tolist(),
                    "resident": run.resident.tolist(),
                    "swapped": run.swapped.tolist(),
                },
            }

        return {
            "trace": self.trace,
            "limit_pages": self.limit_pages,
            "events": len(self.scaled.events),
            "pages": int(self.scaled.pages),
            "peak_pages": self.scaled.peak,
            "share": self.scaled.share,
            "swap_slots": self.swap_slots,
            "cgroup_version": self.cgroup_version,
            "mglru": self.mglru,
            "mechanisms": {
                name: {
                    "frames": one.frames,
                    "figures": {key: figure.to_dict() for key, figure in one.figures.items()},
                    "kernel": [plain(run) for run in one.runs],
                    "killed": [vars(run) for run in one.killed],
                    "model": plain(one.model) if one.model else None,
                }
                for name, one in self.mechanisms.items()
            },
        }


def _frames(runs: tuple[Run, ...], limit_pages: int) -> int:
    """What the group held when it was full; the limit if it never was."""
    full = [run.values["resident_peak"] for run in runs if run.values.get("swap_outs", 1)]
    return int(median(full)) if full else limit_pages


def _available_pages() -> int:
    with open("/proc/meminfo") as file:
        found = re.search(r"^MemAvailable:\s+(\d+)", file.read(), re.MULTILINE)
    return int(found[1]) * 1024 // PAGE_BYTES if found else 1 << 18


def _check(mechanisms: tuple[str, ...], runs: int, samples: int) -> None:
    for name in mechanisms:
        if name not in HINTS:
            raise ArgumentError(f"mechanism: {name!r} is none of {', '.join(HINTS)}")
    for what, value in (("runs", runs), ("samples", samples)):
        if value < 1:
            raise ArgumentError(f"{what}: {value} is less than 1")
    if runs > _MOST_RUNS:
        raise ArgumentError(f"runs: {runs} is more than {_MOST_RUNS}")


def live_replay(
    trace: Trace,
    mechanisms: tuple[str, ...] = ("none", "madv_free", "madv_dontneed"),
    *,
    runs: int = 5,
    limit_pages: int | None = None,
    most_pages: int | None = None,
    samples: int = 200,
    swap_directory: str | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> LiveReplay:
    """Replay a trace on real memory under a limit, and in the model with as many frames.

    Args:
        trace: events; they are replayed one after another without waiting for their times.
        mechanisms: of ``none``, ``madv_free``, ``madv_dontneed``.
        runs: how often each is run on the kernel, 1 .. 1000.
        limit_pages: frames that the memory may have; by default 75 % of the peak of pages in use.
            The group's limit is that and what the process itself takes.
        most_pages: the trace is cut to that many pages in use at once (`scale`); by default half
            of the memory that the machine has available.
        samples: how often residency is sampled, evenly over the events.
        swap_directory: where the swap file goes; swap that is on already is not used before it.
        progress: called with (mechanism, events done, events of all runs).

    A run that the kernel kills for want of memory is in ``killed``, and the others go on.

    Raises `Refused` without the rights for a memory cgroup or swap and while another live run is
    going on.
    """
    _check(mechanisms, runs, samples)
    scaled = scale(trace, most_pages or _available_pages() // 2)
    if limit_pages is None:
        limit_pages = max(scaled.peak * 3 // 4, 256)
    if limit_pages < 256:
        raise ArgumentError(f"limit_pages: {limit_pages} is less than 256 (1 MiB)")
    swap_slots = scaled.used + SPARE_SLOTS
    results = {}
    with alone(swap_directory):
        for name in mechanisms:
            ended: list[Run] = []
            killed: list[Killed] = []
            for number in range(runs):

                def advance(
                    done: int, name: str = name, before: int = number * len(scaled.events)
                ) -> None:
                    if progress:
                        progress(name, before + done, runs * len(scaled.events))

                with SwapFile((swap_slots + 1) * PAGE_BYTES, swap_directory):
                    run = run_on_kernel(scaled, name, limit_pages, samples, advance)
                if isinstance(run, Killed):
                    killed.append(run)
                else:
                    ended.append(run)
            frames = _frames(tuple(ended), limit_pages)
            took = [run.values["elapsed_seconds"] for run in ended]
            seconds = median(took) if took else 0.0
            models = predict(scaled, name, frames, swap_slots, samples, seconds)
            results[name] = MechanismReplay(name, tuple(ended), tuple(killed), frames, models)
    hierarchy = find_hierarchy()
    version = hierarchy.version if hierarchy else 0
    return LiveReplay(
        trace.path or "trace", limit_pages, scaled, swap_slots, version, results, mglru_on()
    )

# SPDX-License-Identifier: MIT
"""Replay of a trace on real memory under a real memory limit, beside the model's prediction.

The pages of the trace become pages of a mapping: an alloc stores to them, a free is told to the
kernel by the mechanism (docs/model.md section 9, with the kernel in place of the model).  The
mapping lives in a process of its own inside a memory cgroup, so that the limit hits it and
nothing else, and its faults and CPU time are its own.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine import Guest, Host
from pgste._engine import Replay as ModelReplay
from pgste._engine.live import Mapping, RefusedCall, Replay, die_with_parent
from pgste.errors import ArgumentError, PgsteError
from pgste.live import ending
from pgste.live.alone import alone
from pgste.live.memory import HINTS, Advice
from pgste.live.pressure import MemoryLimit, SwapFile, other_swap
from pgste.live.refused import why_refused
from pgste.traces.trace import Trace

CHUNK_PAGES = 1 << 10
"""Pages are taken or left out in aligned chunks of the kernel's largest block (4 MiB)."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Scaled:
    """A trace cut to what fits: events with gfns of a compact memory in place of pfns."""

    events: npt.NDArray[np.uint64]
    times: npt.NDArray[np.uint64]
    pages: int
    """Size of the memory."""
    in_use: npt.NDArray[np.uint8]
    """1 for a page whose first event is a free: in use at the start."""
    peak: int
    """Most pages in use at once, those of the start included."""
    share: float
    """Of the trace's pages, those that are taken."""


@dataclass(frozen=True)
class Run:
    """What one mechanism did, on the kernel or in the model; arrays have a value a sample."""

    mechanism: str
    position: npt.NDArray[np.float64]
    """Share of the events done, 0 to 1."""
    resident: npt.NDArray[np.int64]
    """Pages in memory."""
    swapped: npt.NDArray[np.int64]
    """Pages in swap (model: slots in use)."""
    values: dict[str, float]


@dataclass(frozen=True)
class LiveReplay:
    """The kernel's runs and the model's, mechanism by mechanism."""

    trace: str
    limit_pages: int
    scaled: Scaled
    kernel: dict[str, Run]
    model: dict[str, Run]

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
            "kernel": {name: plain(run) for name, run in self.kernel.items()},
            "model": {name: plain(run) for name, run in self.model.items()},
        }


def scale(trace: Trace, most_pages: int) -> Scaled:
    """Cut a trace down to at most this many pages in use at once, and close the gaps between pfns.

    Aligned chunks of 4 MiB are taken or left out as a whole, every n-th of those that have events:
    a sample in space, in which each page lives as it did.  Blocks of more than a chunk are left
    out.
    """
    if not len(trace):
        raise ArgumentError("trace: has no events")
    if most_pages < 1:
        raise ArgumentError(f"most_pages: {most_pages} is less than 1")
    fits = trace.order <= CHUNK_PAGES.bit_length() - 1
    chunks, place = np.unique(trace.pfn // np.uint64(CHUNK_PAGES), return_inverse=True)
    whole = int(trace.summary()["unique_pages"])
    every = 1
    while True:
        kept = fits & (place % every == 0)
        scaled = _compact(trace, kept, place // every, len(chunks[::every]), whole)
        if scaled.peak <= most_pages or every >= len(chunks):
            return scaled
        every = max(every + 1, min(every * scaled.peak // most_pages, len(chunks)))


def _compact(
    trace: Trace, kept: npt.NDArray[np.bool_], chunk: npt.NDArray[np.int64], nr: int, whole: int
) -> Scaled:
    pfn = trace.pfn[kept]
    gfn = chunk[kept].astype(np.uint64) * np.uint64(CHUNK_PAGES) + pfn % np.uint64(CHUNK_PAGES)
    cut = Trace.from_arrays(trace.kind[kept], gfn, trace.order[kept], trace.time[kept])
    summary = cut.summary() if len(cut) else {"peak_in_use": 0, "unique_pages": 0}
    pages = max(nr, 1) * CHUNK_PAGES
    return Scaled(
        events=cut.events,
        times=cut.time,
        pages=pages,
        in_use=_first_is_free(cut, pages),
        peak=int(summary["peak_in_use"]),
        share=summary["unique_pages"] / whole if whole else 0.0,
    )


def _first_is_free(trace: Trace, pages: int) -> npt.NDArray[np.uint8]:
    """1 for each page whose first event is a free."""
    in_use = np.zeros(pages, dtype=np.uint8)
    # Later events first, so that the first one of a page is written last.
    order, pfn, kind = trace.order[::-1], trace.pfn[::-1].astype(np.int64), trace.kind[::-1]
    single = order == 0
    first = np.full(pages, -1, dtype=np.int64)
    at = np.arange(len(order))
    np.maximum.at(first, pfn[single], at[single])
    for number in at[~single]:
        first[pfn[number] : pfn[number] + (1 << int(order[number]))] = np.maximum(
            first[pfn[number] : pfn[number] + (1 << int(order[number]))], number
        )
    known = first >= 0
    in_use[known] = kind[first[known]]
    return in_use


# ---- the kernel --------------------------------------------------------------------------


def _worker(
    pipe: Connection,
    scaled: Scaled,
    mechanism: str,
    limit: MemoryLimit,
    limit_pages: int,
    samples: int,
    parent: int,
) -> None:
    """Body of the process that has the memory; sends ("done", n), and a Run or an error."""
    die_with_parent()
    if os.getppid() != parent:
        return
    try:
        limit.enter()
        pipe.send(_on_kernel(pipe, scaled, mechanism, limit, limit_pages, samples))
    except RefusedCall as refused:
        call = f"madvise(MADV_{mechanism.removeprefix('madv_').upper()})"
        why = why_refused(call, refused.errno, "anonymous", False)
        pipe.send(f"{call} refused: {why}")
    except (OSError, PgsteError) as error:
        pipe.send(str(error))


def _on_kernel(
    pipe: Connection,
    scaled: Scaled,
    mechanism: str,
    limit: MemoryLimit,
    limit_pages: int,
    samples: int,
) -> Run:
    hint = HINTS[mechanism]
    mapping = Mapping(scaled.pages)
    # What the process needs beside the pages, page tables above all, is not the replay's: have
    # it all in place, then set the limit above it.
    mapping.load(slice(None))
    mapping.advise(slice(None), Advice.DONTNEED)
    limit.set(limit_pages * PAGE_BYTES + limit.usage())
    replay = Replay(mapping, scaled.in_use, -1 if hint is None else int(hint))
    replay.setup()
    steps = np.linspace(0, len(scaled.events), samples + 1).astype(np.int64)
    rows = [mapping.count()]
    before, swaps = resource.getrusage(resource.RUSAGE_SELF), limit.swap_traffic()
    started, elapsed = time.monotonic(), 0.0
    for first, end in itertools.pairwise(steps):
        begin = time.perf_counter()
        replay.run(scaled.events[first:end], end == steps[-1])
        elapsed += time.perf_counter() - begin
        rows.append(mapping.count())
        if time.monotonic() - started > 0.1:
            pipe.send(("done", int(end)))
            started = time.monotonic()
    after, swaps_after = resource.getrusage(resource.RUSAGE_SELF), limit.swap_traffic()
    counts = np.array(rows, dtype=np.int64)
    stats = replay.stats()
    values: dict[str, float] = {
        **stats,
        "resident_peak": int(counts[:, 0].max()),
        "resident_mean": float(counts[:, 0].mean()),
        "swapped_peak": int(counts[:, 1].max()),
        "minor_faults": after.ru_minflt - before.ru_minflt,
        "major_faults": after.ru_majflt - before.ru_majflt,
        "user_seconds": after.ru_utime - before.ru_utime,
        "system_seconds": after.ru_stime - before.ru_stime,
        "elapsed_seconds": elapsed,
        "hint_seconds": stats["hint_ns"] * 1e-9,
        "touch_seconds": stats["touch_ns"] * 1e-9,
        "swap_ins": swaps_after[0] - swaps[0],
        "swap_outs": swaps_after[1] - swaps[1],
    }
    return Run(
        mechanism=mechanism,
        position=steps / max(len(scaled.events), 1),
        resident=counts[:, 0],
        swapped=counts[:, 1],
        values=values,
    )


def _run_kernel(
    scaled: Scaled,
    mechanism: str,
    limit_pages: int,
    samples: int,
    progress: Callable[[str, int, int], object] | None,
) -> Run:
    context = multiprocessing.get_context("spawn")
    with MemoryLimit(limit_pages * PAGE_BYTES + (1 << 30)) as limit:
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=_worker,
            args=(there, scaled, mechanism, limit, limit_pages, samples, os.getpid()),
            daemon=True,
        )
        _start(process)
        there.close()
        try:
            while True:
                try:
                    message = here.recv()
                except EOFError:
                    process.join()
                    raise PgsteError(_why_died(process.exitcode, limit_pages)) from None
                if isinstance(message, Run):
                    return message
                if isinstance(message, str):
                    raise PgsteError(f"replay of {mechanism}: {message}")
                if progress:
                    progress(mechanism, message[1], len(scaled.events))
        finally:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _start(process: SpawnProcess) -> None:
    """Start it with signals blocked, for its life: what the terminal sends is our business."""
    ensure_running()  # it would unblock them in the middle
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ending.ENDING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _why_died(status: int | None, limit_pages: int) -> str:
    if status == -9:
        return (
            f"the kernel killed the replay: {limit_pages} pages and the swap there is "
            "cannot hold what it uses"
        )
    return f"the replay's process ended with status {status}"


# ---- the model ---------------------------------------------------------------------------


def _run_model(scaled: Scaled, mechanism: str, limit_pages: int, samples: int) -> Run:
    # No watermarks: a memory cgroup reclaims when it is at its limit, not before.
    host = Host(limit_pages, scaled.pages + 64)
    guest = Guest(scaled.pages, host=host, mechanism=mechanism)
    replay = ModelReplay([guest], scaled.events, scaled.times)
    rows = []
    steps = np.linspace(0, len(scaled.events), samples + 1).astype(np.int64)
    for first, end in zip([0, *steps[:-1]], steps, strict=True):
        if end > first:
            replay.run(int(end - first))
        stats = host.stats()
        rows.append(
            (
                stats["frames"] - stats["frames_free"],
                stats["swap_slots"] - stats["swap_slots_free"],
            )
        )
    counts = np.array(rows, dtype=np.int64)
    guest_stats, replay_stats = guest.stats(), replay.stats()
    values: dict[str, float] = {
        **guest_stats,
        **{name: value for name, value in replay_stats.items() if name != "seconds"},
        "resident_peak": int(counts[:, 0].max()),
        "resident_mean": float(counts[:, 0].mean()),
        "swapped_peak": int(counts[:, 1].max()),
    }
    host.close()
    return Run(mechanism, steps / max(len(scaled.events), 1), counts[:, 0], counts[:, 1], values)


def _available_pages() -> int:
    with open("/proc/meminfo") as file:
        found = re.search(r"^MemAvailable:\s+(\d+)", file.read(), re.MULTILINE)
    return int(found[1]) * 1024 // PAGE_BYTES if found else 1 << 18


def live_replay(
    trace: Trace,
    mechanisms: tuple[str, ...] = ("none", "madv_free", "madv_dontneed"),
    *,
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
        limit_pages: frames that the memory may have; by default 75 % of the peak of pages in use.
            The group's limit is that and what the process itself takes.
        most_pages: the trace is cut to that many pages in use at once (`scale`); by default half
            of the memory that the machine has available.
        samples: how often residency is sampled, evenly over the events.
        swap_directory: where a swap file goes if the machine has no swap on.
        progress: called with (mechanism, events done, events).

    Raises `Refused` without the rights for a memory cgroup or swap and while another live run is
    going on, `PgsteError` if the kernel
    kills the replay for want of memory.
    """
    for name in mechanisms:
        if name not in HINTS:
            raise ArgumentError(f"mechanism: {name!r} is none of {', '.join(HINTS)}")
    if samples < 1:
        raise ArgumentError(f"samples: {samples} is less than 1")
    scaled = scale(trace, most_pages or _available_pages() // 2)
    if limit_pages is None:
        limit_pages = max(scaled.peak * 3 // 4, 256)
    if limit_pages < 256:
        raise ArgumentError(f"limit_pages: {limit_pages} is less than 256 (1 MiB)")
    kernel, model = {}, {}
    with ExitStack() as stack:
        stack.enter_context(alone(swap_directory))
        # "none" keeps every page that was ever used.
        needed = len(np.unique(scaled.events >> np.uint64(8))) * PAGE_BYTES + (16 << 20)
        if other_swap()[1] < needed:
            stack.enter_context(SwapFile(needed, swap_directory))
        for name in mechanisms:
            kernel[name] = _run_kernel(scaled, name, limit_pages, samples, progress)
            model[name] = _run_model(scaled, name, limit_pages, samples)
    return LiveReplay(trace.path or "trace", limit_pages, scaled, kernel, model)

# SPDX-License-Identifier: MIT
"""The process that replays on real memory, alone in a memory cgroup of its own.

All that Python needs is in memory before the process enters, and stays charged to the group where
it was; what it comes to need is locked.  So what the kernel swaps is the mapping's, and the process
reads nothing of its own from swap.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running

import numpy as np
import numpy.typing as npt

from pgste._engine.live import Mapping, RefusedCall, Replay, die_with_parent
from pgste.errors import PgsteError
from pgste.live import ending
from pgste.live.counters import Counters
from pgste.live.memory import HINTS, Advice
from pgste.live.pressure import MemoryLimit
from pgste.live.refused import Refused, why_refused
from pgste.live.scaled import Scaled
from pgste.units import format_bytes

__all__ = ["PAGE_BYTES", "Killed", "Run", "run_on_kernel"]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ROOM_BYTES = 1 << 30  # of the limit above the replay's, until that is set
_TELL_SECONDS = 0.1
_STAT = "pgpgin pgpgout pgfault pgmajfault pswpin pswpout workingset_refault_anon swapcached"


@dataclass(frozen=True, eq=False)
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
    scope: dict[str, str]
    """For each counter of the kernel's own whose it is: the group's or the whole machine's."""


@dataclass(frozen=True)
class Killed:
    """A run that was killed before its end."""

    mechanism: str
    events: int
    """Events that were done when it was last heard of, and pages in memory and swap then."""
    resident: int
    swapped: int
    by_group: bool
    """The kernel's OOM killer did it, as the group could hold no more."""
    stat: dict[str, int]
    """memory.stat of the group right after: what was in memory is gone, what was counted is not."""
    peak: int | None = None
    """The most bytes that were charged to the group, where the kernel counts them."""

    def __str__(self) -> str:
        who = "the kernel killed it for want of memory" if self.by_group else "killed by SIGKILL"
        stat = ", ".join(f"{name} {value}" for name, value in self.stat.items())
        peak = "" if self.peak is None else f", charged at most {format_bytes(self.peak)}"
        return (
            f"{who}; at event {self.events:,} it had {self.resident:,} pages in memory and "
            f"{self.swapped:,} in swap{peak}; memory.stat after it: {stat}"
        )


def _body(
    pipe: Connection,
    scaled: Scaled,
    mechanism: str,
    limit: MemoryLimit,
    limit_pages: int,
    samples: int,
    parent: int,
) -> None:
    """Body of the process that has the memory; sends the events done, and a Run or an error."""
    die_with_parent()
    if os.getppid() != parent:
        return
    try:
        pipe.send(_replay(pipe, scaled, mechanism, limit, limit_pages, samples))
    except RefusedCall as refused:
        call = f"madvise(MADV_{mechanism.removeprefix('madv_').upper()})"
        why = why_refused(call, refused.errno, "anonymous", False)
        pipe.send(f"{call} refused: {why}")
    except (OSError, PgsteError) as error:
        pipe.send(str(error))


def _warm_up(limit: MemoryLimit) -> None:
    """Do once, on a little memory, all that a replay does, so that it has what that needs."""
    mapping = Mapping(64)
    mapping.load(slice(None))
    replay = Replay(mapping, np.zeros(64, dtype=np.uint8), int(Advice.DONTNEED))
    replay.setup()
    replay.run(np.array([0, 1], dtype=np.uint64), True)
    replay.stats()
    mapping.count()
    mapping.close()
    Counters(limit).since()


def _replay(
    pipe: Connection,
    scaled: Scaled,
    mechanism: str,
    limit: MemoryLimit,
    limit_pages: int,
    samples: int,
) -> Run:
    hint = HINTS[mechanism]
    counts = np.zeros((samples + 1, 2), dtype=np.int64)
    steps = np.linspace(0, len(scaled.events), samples + 1).astype(np.int64)
    _warm_up(limit)
    limit.enter()
    mapping = Mapping(scaled.pages)
    # what the process has beside it stays in memory, so that what the group swaps is the mapping's
    with contextlib.suppress(RefusedCall):  # a small RLIMIT_MEMLOCK: then these are swapped, too
        mapping.lock_others()
    # What the mapping needs beside its pages, page tables above all, is not the replay's: have it
    # all in place, drop what the group was charged ahead, then set the limit above the rest.
    mapping.load(slice(None))
    mapping.advise(slice(None), Advice.DONTNEED)
    limit.empty()
    limit.set(limit_pages * PAGE_BYTES + limit.usage())
    replay = Replay(
        mapping,
        scaled.in_use,
        -1 if hint is None else int(hint),
        scaled.accesses,
        scaled.places,
    )
    replay.setup()
    counts[0] = mapping.count()[:2]
    before, counters = resource.getrusage(resource.RUSAGE_SELF), Counters(limit)
    told, elapsed = time.monotonic(), 0.0
    for number, (first, end) in enumerate(pairwise(steps), 1):
        begin = time.perf_counter()
        replay.run(scaled.events[first:end], end == steps[-1])
        elapsed += time.perf_counter() - begin
        counts[number] = mapping.count()[:2]
        if time.monotonic() - told > _TELL_SECONDS:
            pipe.send((int(end), *counts[number].tolist()))
            told = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_SELF)
    stats = replay.stats()
    values: dict[str, float] = {
        **stats,
        **counters.since(),
        "resident_peak": int(counts[:, 0].max()),
        "resident_mean": float(counts[:, 0].mean()),
        "swapped_peak": int(counts[:, 1].max()),
        "disk_faults": after.ru_majflt - before.ru_majflt,
        "faults": after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt,
        "user_seconds": after.ru_utime - before.ru_utime,
        "system_seconds": after.ru_stime - before.ru_stime,
        "elapsed_seconds": elapsed,
        "hint_seconds": stats["hint_ns"] * 1e-9,
        "touch_seconds": (stats["touch_ns"] + stats["access_ns"]) * 1e-9,
    }
    return Run(
        mechanism=mechanism,
        position=steps / max(len(scaled.events), 1),
        resident=counts[:, 0],
        swapped=counts[:, 1],
        values=values,
        scope=counters.scope,
    )


def run_on_kernel(
    scaled: Scaled,
    mechanism: str,
    limit_pages: int,
    samples: int,
    progress: Callable[[int], object],
) -> Run | Killed:
    """One run, in a process and a group that are gone afterwards.

    progress: called with the number of events done.  `PgsteError` if the replay fails otherwise
    than by being killed.
    """
    context = multiprocessing.get_context("spawn")
    with MemoryLimit(limit_pages * PAGE_BYTES + _ROOM_BYTES) as limit:
        _check_swap(limit, scaled)
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=_body,
            args=(there, scaled, mechanism, limit, limit_pages, samples, os.getpid()),
            daemon=True,
        )
        try:
            _start(process)
            there.close()
            return _follow(process, here, limit, mechanism, progress)
        finally:
            if process.pid is not None:
                process.join(5)
                if process.is_alive():
                    process.kill()
                    process.join()


def _check_swap(limit: MemoryLimit, scaled: Scaled) -> None:
    """A group above that forbids swap would have every run killed: say so before."""
    allowed, most = limit.swap_allowed(), scaled.used * PAGE_BYTES
    if allowed is not None and allowed < most:
        why = (
            f"a group above may have {format_bytes(allowed)} of swap, the trace takes up to "
            f"{format_bytes(most)}; start where it may have more (memory.swap.max)"
        )
        raise Refused(errno.ENOSPC, "a replay with swap", why)


def _follow(
    process: SpawnProcess,
    pipe: Connection,
    limit: MemoryLimit,
    mechanism: str,
    progress: Callable[[int], object],
) -> Run | Killed:
    """What the process sends in the end; if it is killed, what was known of it before.

    memory.stat is not read while it runs: that brings the statistics up to date by which the
    kernel chooses what to reclaim (mem_cgroup_flush_stats), and so changes the run.
    """
    events, resident, swapped = 0, 0, 0
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            process.join()
            if process.exitcode != -signal.SIGKILL:
                status = f"the replay's process ended with status {process.exitcode}"
                raise PgsteError(status) from None
            stat = limit.stat()
            quoted = {name: stat[name] for name in _STAT.split() if name in stat}
            by_group = limit.oom_kills() > 0
            peak = limit.peak()
            return Killed(mechanism, events, resident, swapped, by_group, quoted, peak)
        if isinstance(message, Run):
            return message
        if isinstance(message, str):
            raise PgsteError(f"replay of {mechanism}: {message}")
        events, resident, swapped = message
        progress(events)


def _start(process: SpawnProcess) -> None:
    """Start it with signals blocked, for its life: what the terminal sends is our business.

    They are blocked in this thread only.  Another one (a library's) may take a signal, whose
    handler then runs here: in a `step`, so that the process is told all it needs before.
    """
    ensure_running()  # it would unblock them in the middle
    with ending.step():
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ending.ENDING)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

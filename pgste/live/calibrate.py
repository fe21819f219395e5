# SPDX-License-Identifier: MIT
"""Calibration: what hints, faults and swap cost on the machine at hand, as a small profile.

It measures the real calls, loads and stores on memory of this process, each in rounds on fresh
state, with median and quartiles over the rounds.  `pgste.study.costs` says what a profile is for.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pgste._engine.live import Mapping as LiveMapping
from pgste.errors import ArgumentError
from pgste.live.alone import alone
from pgste.live.check import one_cpu
from pgste.live.memory import Advice
from pgste.live.pressure import MemoryLimit, SwapFile, other_swap
from pgste.live.refused import Refused
from pgste.study.costs import ESTIMATE_ROWS, Cost, Estimate, Profile, estimate

__all__ = [
    "ESTIMATE_ROWS",
    "LENGTHS",
    "Cost",
    "Estimate",
    "Profile",
    "calibrate",
    "estimate",
    "machine",
]

LENGTHS = (1, 4, 16, 64, 256, 1024)
"""Pages of the ranges that madvise is timed on."""
HUGE_PAGES = 512
BATCH_PAGES = 512
SWAP_PAGES = 2048


def machine() -> dict[str, Any]:
    """What the costs depend on."""
    cpu = platform.processor() or platform.machine()
    memory = 0
    try:
        found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        cpu = found[1] if found else cpu
        found = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
        memory = int(found[1]) * 1024 if found else 0
    except OSError:
        pass
    return {
        "cpu": cpu,
        "architecture": platform.machine(),
        "cpus": os.cpu_count() or 0,
        "memory_bytes": memory,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
    }


class _Bench:
    """Collects rounds of each cost until its share of the time is used."""

    def __init__(self, progress: Callable[[str], object] | None) -> None:
        self.samples: dict[str, list[float]] = {}
        self.about: dict[str, tuple[str, str]] = {}
        self.progress = progress

    def say(self, what: str) -> None:
        if self.progress:
            self.progress(what)

    def add(self, name: str, unit: str, meaning: str, ns: float) -> None:
        self.samples.setdefault(name, []).append(ns)
        self.about[name] = (unit, meaning)

    def costs(self) -> dict[str, Cost]:
        result = {}
        for name, values in self.samples.items():
            q1, median, q3 = (
                statistics.quantiles(values, n=4, method="inclusive")
                if len(values) > 1
                else (values[0],) * 3
            )
            unit, meaning = self.about[name]
            result[name] = Cost(median, q1, q3, len(values), f"ns a {unit}", meaning)
        return result


@contextmanager
def _fresh(pages: int, huge: bool = False) -> Iterator[LiveMapping]:
    """A mapping whose page tables exist and that has no pages."""
    mapping = LiveMapping(pages)
    try:
        if huge:
            mapping.advise(slice(None), Advice.HUGEPAGE)
        yield mapping
    finally:
        mapping.close()


ONE = np.ones(1, dtype=np.uint32)


def _rounds(seconds: float) -> Iterator[int]:
    """Round numbers until the time is over; at least five."""
    end = time.monotonic() + seconds
    number = 0
    while number < 5 or time.monotonic() < end:
        yield number
        number += 1


def _measure_advice(bench: _Bench, seconds: float) -> None:
    bench.say("madvise by length of the range")
    empty = range(LENGTHS[-1], LENGTHS[-1] + 1)
    with _fresh(LENGTHS[-1] + 1) as live:
        for _ in _rounds(seconds):
            for advice, name in ((Advice.DONTNEED, "dontneed"), (Advice.FREE, "free")):
                for length in LENGTHS:
                    pages = range(length)
                    live.store(pages, ONE)
                    # Not to charge the call with the pages that faults left queued on this CPU.
                    live.advise(empty, Advice.COLD)
                    ns = live.advise(pages, advice)[2]
                    bench.add(
                        f"{name}_{length}", "call", f"MADV_{advice.name} of {length} pages", ns
                    )
                    live.advise(pages, Advice.DONTNEED)
                ns = live.advise(empty, advice)[2]
                bench.add(f"{name}_nothing", "call", f"MADV_{advice.name} of a page of nothing", ns)


def _measure_touch(bench: _Bench, seconds: float) -> None:
    bench.say("page faults and touches")
    pages = range(BATCH_PAGES)
    nr = len(pages)
    with _fresh(BATCH_PAGES) as live:
        for _ in _rounds(seconds):
            live.advise(pages, Advice.DONTNEED)
            bench.add("read_none", "page", "load of nothing: maps the shared zero page",
                      live.load(pages)[1] / nr)  # fmt: skip
            bench.add("write_zero", "page", "store to the shared zero page: copies it",
                      live.store(pages, ONE) / nr)  # fmt: skip
            live.advise(pages, Advice.DONTNEED)
            bench.add("touch_dontneed", "page", "store after MADV_DONTNEED: zero fill",
                      live.store(pages, ONE) / nr)  # fmt: skip
            bench.add("touch_present", "page", "store to a page in use (for comparison)",
                      live.store(pages, ONE) / nr)  # fmt: skip
            live.advise(pages, Advice.FREE)
            bench.add("touch_free_kept", "page", "store after MADV_FREE, not yet discarded",
                      live.store(pages, ONE) / nr)  # fmt: skip
            live.advise(pages, Advice.FREE)
            # Twice: those queued by the CPU at the first are on the list at the second.
            took = live.advise(pages, Advice.PAGEOUT)[2] + live.advise(pages, Advice.PAGEOUT)[2]
            if live.count()[0] == 0:
                bench.add("discard", "page", "discard of a lazyfree page by MADV_PAGEOUT",
                          took / nr)  # fmt: skip
                bench.add("touch_free_discarded", "page",
                          "store after MADV_FREE and discard: zero fill",
                          live.store(pages, ONE) / nr)  # fmt: skip
    for _ in _rounds(seconds / 4):
        with _fresh(BATCH_PAGES) as live:
            bench.add("first_touch", "page", "first store to new memory: zero fill",
                      live.store(pages, ONE) / nr)  # fmt: skip


def _measure_huge(bench: _Bench, seconds: float) -> str | None:
    bench.say("transparent huge pages")
    pages = range(HUGE_PAGES)
    with _fresh(HUGE_PAGES, huge=True) as live:
        live.store(0, ONE)
        if live.count()[3] != HUGE_PAGES:
            return "the kernel gave no huge page (see /sys/kernel/mm/transparent_hugepage/enabled)"
        for _ in _rounds(seconds):
            live.advise(pages, Advice.DONTNEED)
            bench.add("huge_fault", "call", "huge page of 2 MiB: first store, zero fill",
                      live.store(0, ONE))  # fmt: skip
            bench.add("huge_free", "call", "huge page: MADV_FREE of all of it",
                      live.advise(pages, Advice.FREE)[2])  # fmt: skip
            bench.add("huge_touch_free_kept", "page", "huge page: store after that, each 4 KiB",
                      live.store(pages, ONE) / HUGE_PAGES)  # fmt: skip
            bench.add("huge_dontneed", "call", "huge page: MADV_DONTNEED of all of it",
                      live.advise(pages, Advice.DONTNEED)[2])  # fmt: skip
            live.store(0, ONE)
            bench.add("huge_dontneed_part", "call",
                      "huge page: MADV_DONTNEED of 4 KiB of it",
                      live.advise(range(1), Advice.DONTNEED)[2])  # fmt: skip
    return None


def _out_of_cache(limit: MemoryLimit, live: LiveMapping) -> bool:
    """Whether all pages have left the swap cache too; pages being written take a moment."""
    for _ in range(100):
        limit.empty()
        if not live.mincore(slice(None)).any():
            return True
        time.sleep(0.01)
    return False


def _measure_swap(bench: _Bench, seconds: float, directory: str | None) -> str | None:
    bench.say("swap")
    pages = range(SWAP_PAGES)
    tags = np.arange(1, SWAP_PAGES + 1, dtype=np.uint32)
    shuffled = np.random.default_rng(1).permutation(SWAP_PAGES)
    with ExitStack() as stack:
        try:
            limit = stack.enter_context(MemoryLimit(max(256 << 20, SWAP_PAGES * 16384)))
            if not other_swap()[1]:
                stack.enter_context(SwapFile(SWAP_PAGES * 3 * 4096, directory))
            limit.enter()
            live = stack.enter_context(_fresh(SWAP_PAGES))
            for number in _rounds(seconds):
                live.store(pages, tags)
                bench.add("swap_out", "page", "swap-out by MADV_PAGEOUT, written behind it",
                          live.advise(pages, Advice.PAGEOUT)[2] / SWAP_PAGES)  # fmt: skip
                bench.add("swap_in_cached", "page", "swap-in while still in the swap cache",
                          live.load(pages)[1] / SWAP_PAGES)  # fmt: skip
                live.store(pages, tags)
                live.advise(pages, Advice.PAGEOUT)
                if not _out_of_cache(limit, live):
                    return "the kernel kept swapped pages in its swap cache"
                order, name, text = (
                    (pages, "swap_in", "swap-in from the device, in order (read ahead)")
                    if number % 2
                    else (shuffled, "swap_in_random", "swap-in from the device, at random")
                )
                bench.add(name, "page", text, live.load(order)[1] / SWAP_PAGES)
                live.advise(pages, Advice.DONTNEED)
        except Refused as refused:
            return str(refused)
    return None


def calibrate(
    seconds: float = 30.0,
    *,
    swap: bool = True,
    swap_directory: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> Profile:
    """Measure this machine.

    Args:
        seconds: about how long to take; more rounds give steadier medians.
        swap: measure swap too, on swap that is on or else on a file that is set up and removed
            (root); what cannot be measured is in the profile's `skipped` with the reason.
        swap_directory: where that file goes.
        progress: called with what is measured now.

    Raises `Refused` while another live run is going on.
    """
    if not 0 < seconds <= 3600:
        raise ArgumentError(f"seconds: {seconds} is not above 0 and up to 3600")
    bench = _Bench(progress)
    skipped = {}
    started = time.monotonic()
    with alone(swap_directory), one_cpu():
        _measure_advice(bench, seconds * 0.3)
        _measure_touch(bench, seconds * 0.25)
        if why := _measure_huge(bench, seconds * 0.1):
            skipped["huge"] = why
        if not swap:
            skipped["swap"] = "left out on request"
        elif why := _measure_swap(bench, seconds * 0.3, swap_directory):
            skipped["swap"] = why
    return Profile(
        machine=machine(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        seconds=time.monotonic() - started,
        costs={**bench.costs(), **_slopes(bench)},
        skipped=skipped,
    )


def _slopes(bench: _Bench) -> dict[str, Cost]:
    """Cost a call and a page of madvise: line through the shortest and the longest range."""
    result = {}
    last = LENGTHS[-1]
    for name in ("dontneed", "free"):
        # Round by round, so that the quartiles are those of the rounds.
        pairs = zip(bench.samples[f"{name}_1"], bench.samples[f"{name}_{last}"], strict=True)
        slopes = [(one, (many - one) / (last - 1)) for one, many in pairs]
        for what, unit, values, meaning in (
            ("page", "page", [slope for _, slope in slopes], "each further page of the range"),
            ("call", "call", [one - slope for one, slope in slopes], "the call without its pages"),
        ):
            q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
            text = f"MADV_{name.upper()}: {meaning}"
            result[f"{name}_{what}"] = Cost(
                max(median, 0.0), max(q1, 0.0), max(q3, 0.0), len(values), f"ns a {unit}", text
            )
    return result

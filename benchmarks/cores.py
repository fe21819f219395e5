# SPDX-License-Identifier: MIT
"""Two threads: how they are run, and what two threads of a bare loop get from this machine.

A machine of two cores may lend one of them only, and memory may be as fast for one thread as
for two: rows on threads have both beside them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import limits
from benchmarks.harness import Limit

Bytes = npt.NDArray[np.uint8]

two_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core only")

SPIN_STEPS = 8_000_000  # about 10 ms


@cache
def pool() -> ThreadPoolExecutor:
    """Two threads that exist already."""
    return ThreadPoolExecutor(2)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What two calls return, each on a thread of its own."""
    return [part.result() for part in [pool().submit(call) for call in calls]]


def spin(threads: int) -> list[int]:
    """Arithmetic without memory: the same work by one thread or by two."""
    bare = limits.load()

    def half() -> int:
        return int(bare.spin(SPIN_STEPS // 2))

    return at_once(half, half) if threads == 2 else [half(), half()]


def cores_lent() -> float:
    """How many times as fast two threads are as one where nothing but cores counts."""
    start = time.perf_counter()
    spin(1)
    between = time.perf_counter()
    spin(2)
    return (between - start) / (time.perf_counter() - between)


GAUGES = {"cores for two threads": cores_lent}


def read_limits(data: Bytes) -> dict[str, Limit]:
    """A plain read of the same bytes by one thread and by two."""
    bare = limits.load()
    middle = data.size // 2
    halves = data[:middle], data[middle:]
    return {
        "plain read": Limit(lambda: bare.read(data), data.size),
        "plain read, two threads": Limit(
            lambda: at_once(lambda: bare.read(halves[0]), lambda: bare.read(halves[1])), data.size
        ),
    }

# SPDX-License-Identifier: MIT
"""Calls on arrays of gfns: loads and stores of pages that are there, free and alloc."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest

TAG = 5


def resident_guest(pages: int) -> Guest:
    """A guest of which every page is in a frame; neighbours are not in neighbouring frames."""
    guest = Guest(pages)
    guest.write(workloads.random_gfns(pages, pages, salt=1), TAG)
    return guest


@pytest.mark.most(22)
@pytest.mark.parametrize("order", ["random", "sorted"])
@pytest.mark.parametrize("what", ["write", "read", "peek"])
def bench_accesses(measure: Measure, exponent: int, what: str, order: str) -> None:
    """Of mapped pages; NumPy goes from a gfn to its frame and from there to the content."""
    pages = 1 << exponent
    guest = resident_guest(pages)
    gfns = workloads.ordered_gfns(pages, order, pages)
    bare = limits.load()
    beside = np.zeros(pages, np.uint8)
    frames = guest.pte() >> np.uint64(12)
    content = np.full(int(frames.max()) + 1, TAG, np.uint32)

    def by_numpy() -> object:
        if what == "write":
            content[frames[gfns]] = TAG + 1
            return content
        return content[frames[gfns]]

    calls: dict[str, Callable[[], object]] = {
        "write": lambda: guest.write(gfns, TAG + 1),
        "read": lambda: guest.read(gfns),
        "peek": lambda: guest.peek(gfns),
    }

    def check(answer: object) -> None:
        expected = TAG + 1 if what == "write" else TAG
        assert (guest.peek(range(pages)) == expected).all()
        assert what == "write" or (np.asarray(answer) == expected).all()
        assert guest.stats()["zero_fills"] == pages

    measure(
        Plan(
            calls[what],
            items=pages,
            # state, PTE, and the line of a frame that has the content
            bytes=pages * (8 + 1 + 8 + 4),
            check=check,
            limits={
                "NumPy": Limit(by_numpy, pages),
                "bare update": Limit(lambda: bare.update(beside, gfns), pages),
            },
            series=f"{what}, {order}",
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("order", ["random", "sorted", "clustered"])
def bench_free_and_alloc(measure: Measure, exponent: int, order: str) -> None:
    """Each page of an array is freed, then each is allocated."""
    pages = 1 << exponent
    guest = Guest(pages)
    gfns = workloads.ordered_gfns(pages, order, pages)
    bare = limits.load()
    beside = np.zeros(pages, np.uint8)

    def both() -> None:
        guest.free(gfns)
        guest.alloc(gfns)

    def check(_: object) -> None:
        stats = guest.stats()
        assert stats["pages_freed"] == stats["pages_allocated"] == pages
        assert stats["double_frees"] == stats["double_allocs"] == 0

    measure(
        Plan(
            both,
            items=2 * pages,
            prepare=guest.reset_stats,
            check=check,
            limits={"bare update": Limit(lambda: bare.update(beside, gfns), pages)},
            series=f"free and alloc, {order}",
        )
    )

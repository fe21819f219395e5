# SPDX-License-Identifier: MIT
"""One call from Python for one page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Orc

PAGES = CALLS = 1 << 16


def each(call: Callable[[int], object], gfns: Iterable[int]) -> None:
    """One call a gfn, with as little around it as Python can."""
    deque(map(call, gfns), maxlen=0)


def resident_guest(pages: int, gfns: workloads.Gfns) -> Guest:
    """A guest of which these pages are resident and nothing else was ever used."""
    guest = Guest(pages)
    workloads.reload(guest, workloads.tile("resident"), gfns)
    return guest


@pytest.mark.parametrize("what", ["free_page", "alloc_page"])
def bench_page(measure: Measure, exponent: int, what: str) -> None:
    """Pages in random places of guests of each size; the bar is for one that is in cache."""
    pages = 1 << exponent
    gfns = workloads.random_gfns(pages, CALLS)
    numbers = gfns.tolist()
    guest = resident_guest(pages, gfns)
    bare = limits.load()
    empty = bare.Empty()
    core = bare.Core(pages)
    freeing = what == "free_page"

    def renew() -> None:
        (guest.alloc if freeing else guest.free)(gfns)
        guest.reset_stats()

    def renew_core() -> None:
        (core.alloc_pages if freeing else core.free_pages)(gfns)

    def check(_: object) -> None:
        stats = guest.stats()
        assert stats["pages_freed" if freeing else "pages_allocated"] == CALLS
        assert stats["double_frees"] == stats["double_allocs"] == 0

    bar = Bar(f"{what} from Python, against an empty method", "empty method", at_most=1.5)
    measure(
        Plan(
            lambda: each(guest.free_page if freeing else guest.alloc_page, numbers),
            items=CALLS,
            unit="call",
            pages=pages,
            prepare=renew,
            check=check,
            limits={
                "empty method": Limit(lambda: each(empty.call, numbers), CALLS),
                "empty method, plain def": Limit(lambda: each(empty.call_keyword, numbers), CALLS),
                "the C core, called from C": Limit(
                    lambda: (core.free_pages if freeing else core.alloc_pages)(gfns),
                    CALLS,
                    renew_core,
                ),
            },
            bars=[bar] if pages == PAGES else [],
        )
    )


def bench_essa_page(measure: Measure, exponent: int) -> None:
    """One page of each call, of guests of each size; a result that is added up."""
    pages = 1 << exponent
    gfns = workloads.random_gfns(pages, CALLS)
    numbers = gfns.tolist()
    guest = resident_guest(pages, gfns)
    words = workloads.tile("resident")
    empty = limits.load().Empty()
    orc = Orc.SET_VOLATILE

    def subject() -> int:
        essa, total = guest.essa_page, 0
        for gfn in numbers:
            total += essa(orc, gfn)
        return total

    def empties() -> int:
        call, total = empty.call_keyword, 0
        for gfn in numbers:
            call(gfn)
            total += gfn
        return total

    expected = int(guest.essa(Orc.GET_STATE, gfns).astype(np.int64).sum())

    def check(total: int) -> None:
        assert total == expected

    measure(
        Plan(
            subject,
            items=CALLS,
            unit="call",
            pages=pages,
            prepare=lambda: workloads.reload(guest, words, gfns),
            check=check,
            limits={"empty method, plain def": Limit(empties, CALLS)},
        )
    )


@pytest.mark.parametrize("nr", [1, 64, 4096])
def bench_small_arrays(measure: Measure, nr: int) -> None:
    """ESSA on short arrays: what a call costs beside its pages."""
    gfns = workloads.random_gfns(PAGES)
    parts = [gfns[i : i + nr] for i in range(0, min(PAGES, 1024 * nr), nr)]
    guest = Guest(PAGES)
    words = workloads.tile("resident")
    workloads.load(guest, words)

    def subject() -> int:
        return sum(int(guest.essa(Orc.SET_UNUSED, part)[-1]) for part in parts)

    def prepare() -> None:
        workloads.reload(guest, words, gfns)

    prepare()
    expected = sum(int(guest.essa(Orc.GET_STATE, part)[-1]) for part in parts)

    def check(total: int) -> None:
        assert total == expected

    empty = limits.load().Empty()
    beside = np.ones(PAGES, np.uint8)
    bare = limits.load()
    measure(
        Plan(
            subject,
            items=len(parts),
            unit="call",
            pages=nr,
            prepare=prepare,
            check=check,
            limits={
                "empty method": Limit(lambda: each(empty.call, range(len(parts))), len(parts)),
                "bare update": Limit(
                    lambda: [bare.update(beside, part) for part in parts], len(parts)
                ),
            },
        )
    )

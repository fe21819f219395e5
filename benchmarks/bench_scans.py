# SPDX-License-Identifier: MIT
"""Whole-table questions: what can be zapped, counts by state, search for dirty pages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import limits, peers, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, State

ROW = "{} over 2^{} pages, against a plain read of the same bytes"
SCANS = ("zap scan", "count zappable", "count states", "dirty search")


def scan_guest(pages: int) -> Guest:
    """Pages in a mix of states of which none can be zapped any more, none dirty."""
    guest = Guest(pages)
    workloads.load(guest, workloads.tile("swapping"))
    guest.zap_scan()
    return guest


def scan_of(guest: Guest, name: str) -> tuple[Callable[[], object], object]:
    """A scan and the answer that it must give, counted by NumPy."""
    words = workloads.tile("swapping")
    states = peers.pack(words.pgste, words.pte)
    swapped = (states & State.SWAP) != 0
    zappable = swapped & (((states & State.USAGE) == 1) | ((states & State.ZERO) != 0))
    copies = guest.pages // workloads.TILE
    if name == "zap scan":
        return guest.zap_scan, 0
    if name == "count zappable":
        return guest.count_zappable, 0
    if name == "dirty search":
        return lambda: guest.find(State.DIRTY, State.DIRTY).size, 0
    valid, zero = (states & State.VALID) != 0, (states & State.ZERO) != 0
    usage = states & State.USAGE
    expected: dict[str, object] = {}
    for i, which in enumerate(("stable", "unused", "pot_volatile", "volatile")):
        expected[which] = {
            "resident": int(((usage == i) & valid).sum()) * copies,
            "preserved": int(((usage == i) & ~valid & ~zero).sum()) * copies,
            "zero": int(((usage == i) & ~valid & zero).sum()) * copies,
        }
    expected["nodat"] = int(((states & State.NODAT) != 0).sum()) * copies
    expected["dirty"] = 0
    expected["swap"] = int((swapped & ~zappable).sum()) * copies
    expected["zappable"] = 0
    return guest.count_states, expected


def repeated(call: Callable[[], object], times: int) -> Callable[[], object]:
    """Several calls: a scan changes nothing here, and a small one is too short to time."""

    def calls() -> object:
        for _ in range(times - 1):
            call()
        return call()

    return calls


@pytest.mark.parametrize("name", SCANS)
def bench_scan(measure: Measure, exponent: int, name: str) -> None:
    pages = 1 << exponent
    bare = limits.load()
    guest = scan_guest(pages)
    call, expected = scan_of(guest, name)
    times = max(1, (1 << 23) >> exponent)
    beside = np.ones(pages, np.uint8)
    bars = (
        [Bar(ROW.format(name, exponent), limit="plain read", at_least=0.9)]
        if exponent >= 24
        else []
    )

    def check(answer: object) -> None:
        assert answer == expected

    measure(
        Plan(
            repeated(call, times),
            items=pages * times,
            bytes=pages * times,
            pages=pages,
            check=check,
            limits={"plain read": Limit(lambda: bare.read(beside, times), pages * times)},
            bars=bars,
            series=name,
        )
    )


@pytest.mark.parametrize("name", SCANS)
def bench_growth(measure: Measure, name: str, short: bool) -> None:
    """Time a page of a large table against a small one, both out of the caches before."""
    bare = limits.load()
    small, large = 1 << 20, 1 << (24 if short else 28)
    guests = {pages: scan_guest(pages) for pages in (small, large)}
    call_small, _ = scan_of(guests[small], name)
    call_large, expected = scan_of(guests[large], name)
    other = np.ones(max(large, 1 << 26), np.uint8)  # reading it clears the caches

    def check(answer: object) -> None:
        assert answer == expected

    def clear() -> None:
        bare.read(other)

    row = f"growth of time a page from 2^20 to 2^28 pages, {name}"
    measure(
        Plan(
            call_large,
            items=large,
            bytes=large,
            prepare=clear,
            check=check,
            limits={
                "2^20 pages": Limit(call_small, small, prepare=clear),
                "plain read": Limit(lambda: bare.read(other[:large]), large, prepare=clear),
                "plain read of 2^20": Limit(lambda: bare.read(other[:small]), small, prepare=clear),
            },
            bars=[] if short else [Bar(row, limit="2^20 pages", at_most=1.5)],
        )
    )


def bench_dirty_hits(measure: Measure, exponent: int) -> None:
    """Search with many answers: every page of the mix that is not valid, in random places."""
    pages = 1 << exponent
    bare = limits.load()
    guest = scan_guest(pages)
    words = workloads.tile("swapping")
    states = peers.pack(words.pgste, words.pte)
    hits = int(((states & State.VALID) == 0).sum()) * (pages // workloads.TILE)
    beside = np.ones(pages, np.uint8)
    found = np.ones(hits, np.uint64)

    def check(gfns: np.ndarray) -> None:
        assert gfns.size == hits
        assert (np.diff(gfns.astype(np.int64)) > 0).all()

    def read_and_write() -> None:
        bare.read(beside)
        bare.write(found.view(np.uint8), 1)

    measure(
        Plan(
            lambda: guest.find(State.VALID, 0),
            items=pages,
            bytes=pages + 8 * hits,
            check=check,
            limits={"plain read and write": Limit(read_and_write, pages)},
            facts={"hits": hits},
            series="search, 15 % hits",
        )
    )

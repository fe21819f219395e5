# SPDX-License-Identifier: MIT
"""Intercepts, zap, swap-out and discard: pages with real swap slots and frames behind them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest, Host, Orc


def swapped_guest(pages: int) -> Guest:
    """Every page written once and then swapped out."""
    guest = Guest(pages)
    refill(guest)
    return guest


def refill(guest: Guest) -> None:
    """Every page into swap again, stable, with an empty list."""
    everything = range(guest.pages)
    guest.intercept()
    guest.essa(Orc.SET_STABLE, everything)
    guest.write(everything, 7)
    guest.host.swap_out(guest, everything)


@pytest.mark.most(24)
def bench_intercepts(measure: Measure, exponent: int) -> None:
    """Set unused on swapped pages in random order: every page is appended and zapped."""
    pages = 1 << exponent
    guest = swapped_guest(pages)
    gfns = workloads.random_gfns(pages)
    beside = np.ones(pages, np.uint8)
    bare = limits.load()

    def subject() -> None:
        guest.essa(Orc.SET_UNUSED, gfns)
        guest.intercept()

    def prepare() -> None:
        refill(guest)
        guest.reset_stats()

    def check(_: object) -> None:
        stats = guest.stats()
        assert stats["zapped"] == stats["zap_slots_freed"] == gfns.size
        assert stats["intercepts"] == -(-gfns.size // 511)

    measure(
        Plan(
            subject,
            items=gfns.size,
            pages=pages,
            bytes=gfns.size * 22,
            prepare=prepare,
            check=check,
            limits={"bare update": Limit(lambda: bare.update(beside, gfns), gfns.size)},
            rounds=7,
            series="ESSA and zap",
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("share", [1, 64])
def bench_zap_scan(measure: Measure, exponent: int, share: int) -> None:
    """A scan that zaps every page, or one of 64."""
    pages = 1 << exponent
    guest = swapped_guest(pages)
    unused = np.arange(0, pages, share)
    words = guest.pgste(unused) | np.uint64(1 << 24)
    bare = limits.load()
    beside = np.ones(pages, np.uint8)

    def prepare() -> None:
        refill(guest)
        guest.set_words(unused, pgste=words)

    def check(zapped: int) -> None:
        assert zapped == unused.size
        assert guest.host.stats()["swap_slots_free"] == unused.size

    measure(
        Plan(
            guest.zap_scan,
            items=pages,
            bytes=pages,
            prepare=prepare,
            check=check,
            limits={"plain read": Limit(lambda: bare.read(beside), pages)},
            facts={"zapped": unused.size},
            rounds=7,
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("what", ["written", "discarded"])
def bench_swap_out(measure: Measure, exponent: int, what: str) -> None:
    """MADV_PAGEOUT of all pages: stable ones are written to swap, unused ones dropped."""
    pages = 1 << exponent
    host = Host(pages, pages)
    guest = Guest(pages, host)
    bare = limits.load()

    def prepare() -> None:
        guest.intercept()
        guest.essa(Orc.SET_STABLE, range(pages))
        guest.write(range(pages), 7)
        if what == "discarded":
            guest.essa(Orc.SET_UNUSED, range(pages))
        host.reset_stats()

    def check(out: int) -> None:
        stats = host.stats()
        assert out == pages
        assert stats["swap_outs" if what == "written" else "unused_discards"] == pages

    # a state byte and a PTE of the guest, a frame and a slot of the host
    beside = np.ones(pages * 32, np.uint8)
    measure(
        Plan(
            lambda: host.swap_out(guest, range(pages)),
            items=pages,
            prepare=prepare,
            check=check,
            limits={"32 bytes a page changed in place": Limit(lambda: bare.change(beside), pages)},
            rounds=7,
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("access", ["zero fill", "swap-in", "resident"])
def bench_fault(measure: Measure, exponent: int, access: str) -> None:
    """Stores in random order."""
    pages = 1 << exponent
    gfns = workloads.random_gfns(pages)
    guest = Guest(pages, mechanism="madv_dontneed")
    host = guest.host
    beside = np.ones(pages, np.uint8)
    bare = limits.load()

    def prepare() -> None:
        guest.free(range(pages))
        guest.alloc(range(pages))
        if access != "zero fill":
            guest.write(range(pages), 7)
        if access == "swap-in":
            host.swap_out(guest, range(pages))
        host.reset_stats()

    def check(_: object) -> None:
        stats = host.stats()
        assert stats["zero_fills"] == (gfns.size if access == "zero fill" else 0)
        assert stats["swap_ins"] == (gfns.size if access == "swap-in" else 0)

    measure(
        Plan(
            lambda: guest.write(gfns, 9),
            items=gfns.size,
            pages=pages,
            prepare=prepare,
            check=check,
            limits={"bare update": Limit(lambda: bare.update(beside, gfns), gfns.size)},
            rounds=7,
        )
    )

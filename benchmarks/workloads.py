# SPDX-License-Identifier: MIT
"""What benchmarks work on: guests in a known mix of states, gfns, traces, trace texts.

Everything is made from fixed seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import pgste
from pgste import PgsteBits, PteBits

Words = npt.NDArray[np.uint64]
Gfns = npt.NDArray[np.int64]

TILE = 1 << 16  # pages after which the states repeat
BATCH = 1 << 22  # gfns of one call at most

# What a page's PTE may be.  The words name no frame or slot of the host ("foreign"), so that
# a guest costs no frames; ESSA, scans and searches look at the bits only.
PRESENT = int(PteBits.PRESENT | PteBits.WRITE | PteBits.READ | PteBits.DIRTY | PteBits.YOUNG)
NONE = int(PteBits.INVALID)
SWAP = int(PteBits.INVALID | PteBits.PROTECT)
SHARES = {  # of present, none and swapped pages
    "resident": (1.0, 0.0, 0.0),
    "mixed": (0.85, 0.15, 0.0),
    "swapping": (0.85, 0.1, 0.05),
    "absent": (0.0, 1.0, 0.0),
}


@dataclass(frozen=True)
class Words2:
    """PGSTEs and PTEs of the first TILE pages; the others repeat them."""

    pgste: Words
    pte: Words

    def of(self, gfns: npt.NDArray[Any]) -> tuple[Words, Words]:
        """PGSTEs and PTEs of some pages."""
        at = gfns & (TILE - 1)
        return self.pgste[at], self.pte[at]

    def whole(self, pages: int) -> tuple[Words, Words]:
        """PGSTEs and PTEs of all pages of a guest."""
        return np.resize(self.pgste, pages), np.resize(self.pte, pages)


@cache
def tile(mix: str) -> Words2:
    """Words of a mix of SHARES; USAGE, ZERO, NODAT and GC are random.

    As the kernel has it, ZERO is on pages without a mapping only, and pages are stable more
    often than not.
    """
    rng = np.random.default_rng(41)
    kind = rng.choice(3, TILE, p=SHARES[mix])
    frame = rng.integers(1 << 20, 1 << 24, TILE).astype(np.uint64) << np.uint64(12)
    pte = np.choose(kind, [frame | np.uint64(PRESENT), np.uint64(NONE), frame | np.uint64(SWAP)])
    usage = rng.choice(4, TILE, p=[0.7, 0.2, 0.05, 0.05]).astype(np.uint64)
    pgste = usage << np.uint64(24)
    pgste |= np.where((kind > 0) & (rng.random(TILE) < 0.3), np.uint64(PgsteBits.ZERO), 0)
    pgste |= np.where(rng.random(TILE) < 0.2, np.uint64(PgsteBits.NODAT), 0)
    pgste |= np.where(rng.random(TILE) < 0.1, np.uint64(PgsteBits.GC), 0)
    return Words2(pgste.astype(np.uint64), pte.astype(np.uint64))


def load(guest: pgste.Guest, words: Words2) -> None:
    """Put every page of a guest into its state."""
    step = min(guest.pages, 1 << 22)
    pgste_words, pte_words = words.whole(step)
    for first in range(0, guest.pages, step):
        here = range(first, min(first + step, guest.pages))
        guest.set_words(here, pgste=pgste_words[: len(here)], pte=pte_words[: len(here)])


def reload(guest: pgste.Guest, words: Words2, gfns: Gfns) -> None:
    """Put these pages back into their state, with an empty list on vcpu 0."""
    guest.intercept()
    pgste_words, pte_words = words.of(gfns)
    guest.set_words(gfns, pgste=pgste_words, pte=pte_words)


def random_gfns(pages: int, nr: int | None = None, salt: int = 0) -> Gfns:
    """Different gfns below `pages` (a power of two) in an order without pattern."""
    bits = pages.bit_length() - 1
    half = np.uint64((bits + 1) // 2)
    mask = np.uint64(pages - 1)
    x = np.arange(min(pages, BATCH) if nr is None else nr, dtype=np.uint64) + np.uint64(salt)
    for factor in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA5A5A5A5A5A5A5A5 | 1):
        # both steps are one-to-one on numbers of this many bits
        x = x * np.uint64(factor) & mask
        x ^= x >> half
    return x.astype(np.int64)


def ordered_gfns(pages: int, order: str, nr: int | None = None) -> Gfns:
    """`random_gfns` as they come ("random"), "sorted", or as runs of 64 pages ("clustered")."""
    if order == "clustered":
        starts = random_gfns(pages >> 6, (min(pages, BATCH) if nr is None else nr) >> 6) << 6
        return (starts[:, None] + np.arange(64)).ravel()
    gfns = random_gfns(pages, nr)
    return np.sort(gfns) if order == "sorted" else gfns


# ---- traces -----------------------------------------------------------------------------


def allocator_trace(pages: int, nr: int) -> Words:
    """Events of an allocator that lives in `pages` pages: most of them of order 0.

    Half of the blocks are allocated first; then a random one is freed or a free one is
    allocated, and what was freed last is allocated first, as the kernel's lists of pages do.
    """
    rng = np.random.default_rng(43)
    orders = np.where(rng.random(pages // 8) < 0.02, 3, 0)
    sizes = 1 << orders
    firsts = np.cumsum(sizes) - sizes
    firsts, orders = firsts[firsts + sizes <= pages], orders[firsts + sizes <= pages]
    free = list(range(len(firsts) - 1, -1, -1))
    live: list[int] = []
    word = (firsts << 8 | orders << 2).tolist()
    events = []
    wants_free = rng.random(nr) < 0.5
    picks = rng.random(nr).tolist()
    for i, freeing in enumerate(wants_free.tolist()):
        if live and (not free or (freeing and 2 * len(live) > len(firsts))):
            at = int(picks[i] * len(live))
            live[at], live[-1] = live[-1], live[at]
            block = live.pop()
            free.append(block)
            events.append(word[block] | 1)
        else:
            block = free.pop()
            live.append(block)
            events.append(word[block])
    return np.array(events, dtype=np.uint64)


def single_pages_trace(pages: int, nr: int) -> Words:
    """Events of single pages anywhere, each freed and allocated in turn.

    Half of the pages are free at the start, and few of them have a free neighbour to merge with.
    """
    rng = np.random.default_rng(43)
    gfns = rng.integers(0, pages, nr, dtype=np.uint64)
    order = np.argsort(gfns, kind="stable")
    places = np.arange(nr)
    begins = np.diff(gfns[order], prepend=np.uint64(pages)) != 0
    earlier = places - np.maximum.accumulate(np.where(begins, places, 0))
    first = rng.integers(0, 2, pages, dtype=np.uint64)
    kinds = np.empty(nr, np.uint64)
    kinds[order] = (first[gfns[order]] + earlier.astype(np.uint64)) & np.uint64(1)
    return gfns << np.uint64(8) | kinds


@cache
def sample_repeated(nr: int, distinct_times: bool = False) -> pgste.Trace:
    """This many events: the trace that comes with the package, repeated.

    Times are whole microseconds, as text has them, or nanoseconds that all differ.
    """
    sample = pgste.sample_trace()
    times = -(-nr // len(sample))
    span = int(sample.time[-1] - sample.time[0]) + 1000
    time = np.concatenate([sample.time + np.uint64(i * span) for i in range(times)])[:nr]
    time = time // np.uint64(1000) * np.uint64(1000)
    if distinct_times:
        time = time + np.arange(nr, dtype=np.uint64)
    return pgste.Trace(np.tile(sample.events, times)[:nr], time)


def trace_text(trace: pgste.Trace, style: str, nr: int) -> bytes:
    """The first events of a trace as text of "ftrace", "trace-cmd" or "perf"."""
    lines = {"ftrace": ["# tracer: nop", "#"], "trace-cmd": ["cpus=2"], "perf": []}[style]
    part = trace[:nr]
    for kind, pfn, order, ns in zip(
        part.kind.tolist(), part.pfn.tolist(), part.order.tolist(), part.time.tolist(), strict=True
    ):
        when = f"{ns // 10**9:5d}.{ns % 10**9 // 1000:06d}"
        name = ("mm_page_alloc", "mm_page_free")[kind]
        rest = "" if kind else " migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP"
        rest = f"pfn={pfn:#x} order={order}{rest}"
        if style == "ftrace":
            lines.append(
                f"{'cc1':>16}-17722   [001] ..... {when}: {name}: page=0000000083b60244 {rest}"
            )
        elif style == "trace-cmd":
            lines.append(f"{'cc1':>16}-17722 [001] {when}: {name + ':':<21}page={pfn:#x} {rest}")
        else:
            lines.append(
                f"{'cc1':>16} 17722 [001] {when}: {'kmem:' + name:>19}: page={pfn:#x} {rest}"
            )
    return ("\n".join(lines) + "\n").encode()

# SPDX-License-Identifier: MIT
"""Random traces of a page allocator, with everything that recorded ones have."""

from __future__ import annotations

from random import Random

from reference.replay import ALLOC, FREE, Event


def random_events(random: Random, nr: int, pages: int, base: int) -> list[Event]:
    """Blocks of order 0 to 3 in [base, base + pages), half of the frees as allocated.

    Frees of pages never seen allocated, double frees, frees in pieces, frees that span blocks,
    frees of neighbours one after another, and allocs of live pages are among them.
    """
    events: list[Event] = []
    blocks: list[tuple[int, int]] = []
    for _ in range(nr):
        order = min(random.choice((0, 0, 0, 0, 1, 1, 2, 3)), pages.bit_length() - 1)
        pfn = base + random.randrange(pages - (1 << order) + 1)
        if random.random() < 0.7:
            pfn = max(base, pfn >> order << order)
        kind = random.choice((ALLOC, FREE))
        if kind == ALLOC:
            blocks.append((order, pfn))
        elif blocks and random.random() < 0.5:
            order, pfn = blocks.pop(random.randrange(len(blocks)))
            if order and random.random() < 0.5:  # in pieces, in order
                events += [(FREE, 0, page) for page in range(pfn, pfn + (1 << order))]
                continue
        events.append((kind, order, pfn))
    return events


def random_times(random: Random, nr: int) -> list[int]:
    """Nanoseconds; many events share one, as in recorded traces."""
    times = [random.randrange(10**12)]
    while len(times) < nr:
        times.append(times[-1] + random.choice((0, 0, 1, 1000, random.randrange(10**9))))
    return times[:nr]


def packed(events: list[Event]) -> list[int]:
    """As in pgste.h: kind in bits 0-1, order in bits 2-7, pfn above."""
    return [pfn << 8 | order << 2 | kind for kind, order, pfn in events]

# SPDX-License-Identifier: MIT
"""A trace's events in the pages that another allocator hands out: docs/footprint.md."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from reference.replay import ALLOC, FREE, Event, first_kinds
from reference.reporting import Reporting, Settings

MAX_ORDER = 10


class Lowest:
    """The lowest aligned block of free pages."""

    def __init__(self, nr: int) -> None:
        self.nr, self.free = nr, set(range(nr))

    def take(self, order: int) -> int | None:
        for first in range(0, self.nr, 1 << order):
            pages = range(first, first + (1 << order))
            if self.free.issuperset(pages):
                self.free -= set(pages)
                return first
        return None

    def give(self, first: int, order: int) -> None:
        self.free |= set(range(first, first + (1 << order)))


class Buddy:
    """The first block on the list of the smallest order that has one; it is halved as needed."""

    def __init__(self, nr: int) -> None:
        settings = Settings(0, 0, 1, 0, order=MAX_ORDER, max_order=MAX_ORDER)
        self.view = Reporting(SimpleNamespace(cbrl=[None]), settings)  # type: ignore[arg-type]
        for first in range(0, nr, 1 << MAX_ORDER):
            self.view.to_buddy((first, MAX_ORDER), "movable", returned=True)

    def take(self, order: int) -> int | None:
        for at_least in range(order, MAX_ORDER + 1):
            blocks = self.view.lists[0, "movable", at_least]
            if blocks:
                first = blocks[0][0]
                self.view.alloc(first, 1 << order)
                return first
        return None

    def give(self, first: int, order: int) -> None:
        self.view.to_buddy((first, order), "movable")


def place(
    events: Sequence[Event], placement: str, places: int
) -> tuple[list[Event], list[int]] | None:
    """Events, and which of the given ones each is from; None: no block was free."""
    allocator: Lowest | Buddy = Lowest(places) if placement == "lowest" else Buddy(places)
    at: dict[int, int] = {}
    out: list[Event] = []
    which: list[int] = []
    for page, kind in first_kinds(events).items():
        if kind == FREE:
            got = allocator.take(0)
            if got is None:
                return None
            at[page] = got
    for i, (kind, order, pfn) in enumerate(events):
        pages = range(pfn, pfn + (1 << order))
        first = at.get(pfn, -1)
        whole = [at.get(page) for page in pages] == list(range(first, first + len(pages)))
        if kind == FREE and whole and first % len(pages) == 0 and order <= MAX_ORDER:
            out.append((FREE, order, first))
            allocator.give(first, order)
        else:
            for page in pages:
                if page in at:
                    out.append((FREE, 0, at[page]))
                    allocator.give(at[page], 0)
        for page in pages:
            at.pop(page, None)
        if kind == ALLOC:
            got = allocator.take(order)
            if got is None:
                return None
            out.append((ALLOC, order, got))
            at |= {page: got + page - pfn for page in pages}
        which += [i] * (len(out) - len(which))
    return out, which

# SPDX-License-Identifier: MIT
"""One host of a given size, whose pages leave in exact LRU order, one at a time: docs/curve.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reference.replay import ALLOC, FREE, Event, first_kinds

__all__ = ["ALLOC", "FREE", "Event", "LruHost", "replay"]

Page = tuple[int, int]  # guest, pfn


class LruHost:
    """Frames that hold pages in the order of their last store, oldest first.

    ``rule`` says what becomes of a page that a guest frees: "keep", "unused" (it loses its swap
    slot, and is dropped when its turn comes), "give" (it loses frame and slot), "lazy" (it loses
    its slot, and is dropped before all pages in use, the first freed first).
    """

    def __init__(self, frames: int, rule: str) -> None:
        self.frames, self.rule = frames, rule
        self.memory: list[Page] = []  # in use or kept, last stored to at the end
        self.unused: set[Page] = set()
        self.lazy: list[Page] = []  # first freed first; these have frames, too
        self.swap: set[Page] = set()
        self.count = dict.fromkeys(("swap_outs", "swap_ins", "zero_fills", "discards"), 0)

    def frames_in_use(self) -> int:
        return len(self.memory) + len(self.lazy)

    def _make_room(self) -> None:
        if self.frames_in_use() < self.frames:
            return
        if self.lazy:
            self.lazy.pop(0)
            self.count["discards"] += 1
            return
        victim = self.memory.pop(0)
        if victim in self.unused:
            self.unused.remove(victim)
            self.count["discards"] += 1
        else:
            self.swap.add(victim)
            self.count["swap_outs"] += 1

    def store(self, page: Page) -> None:
        if page in self.memory:
            self.memory.remove(page)
            self.unused.discard(page)
        elif page in self.lazy:
            self.lazy.remove(page)
        else:
            self.count["swap_ins" if page in self.swap else "zero_fills"] += 1
            self.swap.discard(page)
            self._make_room()
        self.memory.append(page)

    def free(self, page: Page) -> None:
        if self.rule == "keep":
            return
        self.swap.discard(page)
        if page not in self.memory:
            return
        if self.rule == "unused":
            self.unused.add(page)
            return
        self.memory.remove(page)
        if self.rule == "lazy":
            self.lazy.append(page)

    def give(self, page: Page) -> None:
        """The guest gives back a page that it freed before."""
        self.swap.discard(page)
        if page in self.memory:
            self.memory.remove(page)


def replay(
    events: Sequence[Event],
    frames: int,
    rule: str,
    *,
    guests: int = 1,
    samples: Iterable[int] = (),
    given: Iterable[tuple[int, int]] = (),
) -> dict[str, int]:
    """What a host of so many frames does with a trace: section 9 of docs/model.md.

    ``samples`` are numbers of events after which frames and slots in use are added up; ``given``
    are (event, pfn): what each guest gives back right before an event, if the page is free.
    """
    host = LruHost(frames, rule)
    kinds = first_kinds(events)
    free = {(guest, pfn) for guest in range(guests) for pfn in kinds}
    for guest in range(guests):
        for pfn, kind in kinds.items():
            if kind == FREE:
                host.store((guest, pfn))
                free.remove((guest, pfn))
    host.count = dict.fromkeys(host.count, 0)
    seen = {"frames": 0, "slots": 0}

    def look(done: int) -> None:
        for sample in samples:
            if sample == done:
                seen["frames"] += host.frames_in_use()
                seen["slots"] += len(host.swap)

    samples, given = list(samples), list(given)
    for done, (kind, order, first) in enumerate(events):
        look(done)
        for at, pfn in given:
            for guest in range(guests):
                if at == done and (guest, pfn) in free:
                    host.give((guest, pfn))
        for guest in range(guests):
            pages = [(guest, pfn) for pfn in range(first, first + (1 << order))]
            for page in pages:
                if page not in free:
                    host.free(page)
                    free.add(page)
            for page in pages if kind == ALLOC else []:
                host.store(page)
                free.remove(page)
    look(len(events))
    return {**host.count, **seen}

# SPDX-License-Identifier: MIT
"""What a roomy host holds for one guest, by how free memory comes back: docs/footprint.md.

Written from that page alone.  Pages are numbers from 0; every look-up is a search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from reference.replay import ALLOC, FREE, Event, first_kinds
from reference.reporting import Reporting, Settings

MESSAGE = 256  # pages in a message of the balloon, and pages that it gives back when none is free


@dataclass
class Setup:
    rule: str  # keep, blocks, reporting, balloon, age
    pages: int
    base: int = 0
    unnamed_free: bool = False
    host_order: int = 0
    block_order: int = 0
    period: int = 0  # ns; of age: what a page is left alone for
    reserve: int = 0
    asks: bool = False
    populate: bool = False
    reporting: Settings | None = None
    samples: Sequence[int] = ()


@dataclass
class Memory:
    """Host memory behind the guest's pages: pages of 4 KiB, or folios of 2^host_order of them."""

    setup: Setup
    counted: set[int]
    mapped: set[int] = field(default_factory=set)  # by a page of its own
    folios: dict[int, set[int]] = field(default_factory=dict)  # which of its pages are mapped
    whole: set[int] = field(default_factory=set)  # folios that are mapped as one
    tables: set[int] = field(default_factory=set)  # places where pages are mapped one by one
    count: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("faults", "discards", "splits", "given"), 0)
    )

    def folio_pages(self, frame: int) -> range:
        order = self.setup.host_order
        return range(frame << order, (frame + 1) << order)

    def held(self) -> int:
        folios = sum(len(self.counted.intersection(self.folio_pages(f))) for f in self.folios)
        return folios + len(self.counted & self.mapped)

    def has(self, page: int) -> bool:
        folio = self.folios.get(page >> self.setup.host_order, set())
        return page in self.mapped or (self.setup.host_order > 0 and page in folio)

    def touch(self, page: int) -> None:
        frame = page >> self.setup.host_order
        if self.has(page):
            return
        self.count["faults"] += 1
        if self.setup.host_order and frame not in self.folios and frame not in self.tables:
            self.folios[frame] = set(self.folio_pages(frame))
            self.whole.add(frame)
        else:
            self.mapped.add(page)

    def discard(self, first: int, nr: int) -> None:
        """One madvise(MADV_DONTNEED)."""
        before = self.held()
        self.count["discards"] += 1
        gone = set(range(first, first + nr))
        self.mapped -= gone
        for frame in list(self.folios):
            pages = set(self.folio_pages(frame))
            if not pages & gone:
                continue
            if frame in self.whole:
                self.whole.remove(frame)
                if pages <= gone:
                    del self.folios[frame]
                    continue
                self.count["splits"] += 1
                self.tables.add(frame)
            self.folios[frame] -= gone
            if not self.folios[frame]:
                del self.folios[frame]
        self.count["given"] += before - self.held()


class Footprint:
    def __init__(self, events: Sequence[Event], times: Sequence[int], setup: Setup) -> None:
        self.events = [(kind, order, pfn - setup.base) for kind, order, pfn in events]
        self.times = [time - times[0] for time in times]
        self.setup = setup
        kinds = first_kinds(self.events)
        self.free = {page for page in range(setup.pages) if kinds.get(page) == ALLOC}
        self.counted = set(kinds)
        if setup.unnamed_free:
            self.free |= set(range(setup.pages)) - set(kinds)
            self.counted = set(range(setup.pages))
        self.memory = Memory(setup, self.counted)
        self.now = 0
        self.held_ns = self.used_ns = self.peak = 0
        self.samples: list[tuple[int, int]] = []
        names = ("calls", "waits", "moved", "swap_outs", "swap_outs_used", "swap_ins")
        self.count = dict.fromkeys(names, 0)
        for page in sorted(set(kinds) - self.free):
            self.memory.touch(page)
        self.start()
        self.count = dict.fromkeys(names, 0)  # what was done so far is not counted
        self.memory.count = dict.fromkeys(self.memory.count, 0)

    # what a rule does

    def start(self) -> None:
        pass

    def freed(self, first: int, nr: int, order: int) -> None:
        """Pages that were in use are free; so they are in ``self.free``."""

    def allocated(self, first: int, nr: int, order: int) -> None:
        """Pages that were free are in use; they are touched after that."""

    def touch(self, page: int) -> None:
        self.memory.touch(page)

    def due(self) -> int | None:
        return None

    def tick(self) -> None:
        pass

    # the trace

    def used(self) -> int:
        return len(self.counted - self.free)

    def look(self) -> None:
        self.peak = max(self.peak, self.memory.held())

    def pass_to(self, time: int) -> None:
        while len(self.samples) < len(self.setup.samples):
            if self.setup.samples[len(self.samples)] >= time:
                break
            self.samples.append((self.memory.held(), self.used()))
        self.held_ns += self.memory.held() * (time - self.now)
        self.used_ns += self.used() * (time - self.now)
        self.now = time

    def free_runs(self, pages: Iterable[int]) -> None:
        """Runs of pages in use, as single pages."""
        run: list[int] = []
        for page in [*pages, -1]:
            in_use = page >= 0 and page not in self.free
            if run and (not in_use or page != run[-1] + 1):
                self.free |= set(run)
                self.freed(run[0], len(run), 0)
                run = []
            if in_use:
                run.append(page)

    def event(self, kind: int, order: int, pfn: int) -> None:
        pages = range(pfn, pfn + (1 << order))
        if kind == ALLOC:
            for page in pages:
                self.free_runs([page])
            self.free -= set(pages)
            self.allocated(pfn, len(pages), order)
            for page in pages:
                self.touch(page)
        elif self.free.isdisjoint(pages):
            self.free |= set(pages)
            self.freed(pfn, len(pages), order)
        else:
            self.free_runs(pages)
        self.look()

    def run(self) -> dict[str, object]:
        self.look()
        for event, time in zip(self.events, self.times, strict=True):
            while (due := self.due()) is not None and due <= time:
                self.pass_to(max(due, self.now))
                self.tick()
                self.look()
            self.pass_to(time)
            self.event(*event)
        while len(self.samples) < len(self.setup.samples):
            self.samples.append((self.memory.held(), self.used()))
        return {
            **self.count,
            **self.memory.count,
            "peak": self.peak,
            "held_ns": self.held_ns,
            "used_ns": self.used_ns,
            "samples": self.samples,
        }


class Blocks(Footprint):
    """Blocks of 2^block_order pages that are wholly free go, at once or every period."""

    def start(self) -> None:
        self.next = 0
        self.size = 1 << self.setup.block_order
        self.every = range(self.setup.pages // self.size)
        self.out: set[int] = set()
        self.tick()

    def pages_of(self, block: int) -> range:
        return range(block * self.size, (block + 1) * self.size)

    def is_free(self, block: int) -> bool:
        return self.free.issuperset(self.pages_of(block))

    def freed(self, first: int, nr: int, order: int) -> None:
        if self.setup.period:
            return
        blocks = range(first // self.size, (first + nr - 1) // self.size + 1)
        self.go([block for block in blocks if self.is_free(block) and block not in self.out])

    def go(self, blocks: list[int]) -> None:
        """Runs of neighbours are one discard."""
        self.out |= set(blocks)
        run: list[int] = []
        for block in [*sorted(blocks), -2]:
            if run and block != run[-1] + 1:
                self.memory.discard(run[0] * self.size, len(run) * self.size)
                run = []
            run.append(block)

    def allocated(self, first: int, nr: int, order: int) -> None:
        for block in range(first // self.size, (first + nr - 1) // self.size + 1):
            if block not in self.out:
                continue
            self.out.remove(block)
            if self.setup.asks:
                self.count["waits"] += 1
                self.count["calls"] += 1
            if self.setup.populate:
                self.populate(block)

    def populate(self, block: int) -> None:
        faults = self.memory.count["faults"]
        for page in self.pages_of(block):
            self.memory.touch(page)
        self.memory.count["faults"] = faults

    def due(self) -> int | None:
        return self.next if self.setup.period else None

    def tick(self) -> None:
        self.next += self.setup.period
        left = sum(page // self.size not in self.out for page in self.free)
        going = []
        for block in reversed(self.every):
            spare = left - self.size >= self.setup.reserve
            if block not in self.out and self.is_free(block) and spare:
                left -= self.size
                going.append(block)
        for block in self.every:
            if block in self.out and left < self.setup.reserve:
                self.out.remove(block)
                self.count["calls"] += 1
                left += self.size
        self.go(going)


class View(Reporting):
    """Free page reporting whose discards are this host's, a block each."""

    footprint: Footprint

    def _end_call(self) -> None:
        for first, order in reversed(self.batch) if self.discards() else ():
            self.footprint.memory.discard(first, 1 << order)
        super()._end_call()


class _Guest:
    """What the view wants of a guest."""

    def __init__(self) -> None:
        self.cbrl: list[object] = [None]  # one vcpu
        self.count = {"hints": 0, "hint_pages": 0}

    def discard(self, page: int, advice: str) -> None:
        pass


class Reported(Footprint):
    def start(self) -> None:
        assert self.setup.reporting is not None
        self.guest = _Guest()
        self.view = View(self.guest, replace(self.setup.reporting))  # type: ignore[arg-type]
        self.view.footprint = self
        for page in sorted(self.free):
            self.view.free(page, 1, 0, 0)
        self.view.replay_starts()
        self.guest.count["hints"] = 0

    def freed(self, first: int, nr: int, order: int) -> None:
        self.view.free(first, nr, order, 0)

    def allocated(self, first: int, nr: int, order: int) -> None:
        self.view.alloc(first, nr)

    def due(self) -> int | None:
        return self.view.due

    def tick(self) -> None:
        self.view.step()

    def pass_to(self, time: int) -> None:
        super().pass_to(time)
        self.view.now = time

    def run(self) -> dict[str, object]:
        return {**super().run(), "calls": self.guest.count["hints"]}


class Balloon(Footprint):
    """Free pages beyond a reserve are in the balloon; which page has which name is the guest's."""

    def start(self) -> None:
        self.next = 0
        self.place = list(range(self.setup.pages))  # of each page of the trace
        self.stack = sorted(self.free)  # free, the last one is handed out next
        self.inside: list[int] = []
        self.tick()

    def freed(self, first: int, nr: int, order: int) -> None:
        for page in range(first, first + nr):
            self.stack.append(self.place[page])

    def deflate(self, nr: int) -> None:
        for _ in range(nr):
            self.stack.append(self.inside.pop())
        self.count["calls"] += -(-nr // MESSAGE)

    def allocated(self, first: int, nr: int, order: int) -> None:
        for page in range(first, first + nr):
            if not self.stack:
                self.count["waits"] += 1
                self.deflate(min(MESSAGE, len(self.inside)))
            wanted = self.place[page]
            if wanted in self.stack:
                self.stack.remove(wanted)
                continue
            got = self.stack.pop()
            self.place[self.place.index(got)] = wanted
            self.place[page] = got
            self.count["moved"] += 1

    def touch(self, page: int) -> None:
        self.memory.touch(self.place[page])

    def due(self) -> int | None:
        return self.next

    def tick(self) -> None:
        self.next += self.setup.period
        more = len(self.stack) - self.setup.reserve
        for _ in range(more):
            self.inside.append(self.stack.pop())
            self.memory.discard(self.inside[-1], 1)
        self.count["calls"] += -(-max(more, 0) // MESSAGE)
        self.deflate(min(max(-more, 0), len(self.inside)))


class Age(Footprint):
    """Pages that were not touched for a period are paged out, in use or not."""

    def start(self) -> None:
        self.last = dict.fromkeys(sorted(self.memory.mapped), 0)
        self.out: set[int] = set()

    def touch(self, page: int) -> None:
        super().touch(page)
        self.last.pop(page, None)
        self.last[page] = self.now
        if page in self.out:
            self.out.remove(page)
            self.count["swap_ins"] += 1

    def due(self) -> int | None:
        return min(self.last.values()) + self.setup.period if self.last else None

    def tick(self) -> None:
        old = [page for page, at in self.last.items() if at + self.setup.period <= self.now]
        for page in old:
            del self.last[page]
            self.out.add(page)
            self.memory.mapped.remove(page)
            self.memory.count["given"] += 1
            self.count["swap_outs"] += 1
            self.count["swap_outs_used"] += page not in self.free


__all__ = ["ALLOC", "FREE", "Event", "Setup", "footprint"]

RULES = {
    "keep": Footprint,
    "blocks": Blocks,
    "reporting": Reported,
    "balloon": Balloon,
    "age": Age,
}


def footprint(events: Sequence[Event], times: Sequence[int], setup: Setup) -> dict[str, object]:
    return RULES[setup.rule](events, times, setup).run()

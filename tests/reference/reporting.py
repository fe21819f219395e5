# SPDX-License-Identifier: MIT
"""Free page reporting: a buddy allocator's view of the guest, and the passes of its worker.

docs/model.md section 11; the kernel's mm/page_alloc.c and mm/page_reporting.c (Linux 6.1).
Lists are plain Python lists with the head at index 0; every lookup is a search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference.guest import Guest

Block = tuple[int, int]  # first page, order
SECOND = 10**9


@dataclass
class Settings:
    min: int
    low: int
    parked_batch: int
    parked_high: int
    order: int = 9
    max_order: int = 10
    parked_order: int = 3
    capacity: int = 32
    delay_ns: int = 2 * SECOND
    ack_ns: int = 0
    spare: int = 0
    poison: str = "none"
    negotiated: bool = True
    inhibited: bool = False
    advice: str = "madv_dontneed"

    @classmethod
    def for_guest(cls, pages: int, vcpus: int) -> Settings:
        lowest = min(max(isqrt(64 * pages), 128), 262144) // 4
        low = lowest + max(lowest // 4, pages // 1000)
        b = max(min(pages >> 10, 256) // 4, 1)
        power = 1
        while 2 * power <= b + b // 2:
            power *= 2
        batch = max(power - 1, 1)
        return cls(lowest, low, batch, max(low // vcpus, 4 * batch))


def pages_of(block: Block) -> range:
    return range(block[0], block[0] + (1 << block[1]))


def other_half(block: Block) -> Block:
    return block[0] ^ (1 << block[1]), block[1]


def whole(block: Block) -> Block:
    """The block of the next order that this one is a half of."""
    return block[0] & ~(1 << block[1]), block[1] + 1


def rotate_to_front(blocks: list[Block], block: Block) -> None:
    at = blocks.index(block)
    blocks[:] = blocks[at:] + blocks[:at]


@dataclass
class Reporting:
    guest: Guest
    settings: Settings
    now: int = 0
    state: str = "requested"
    due: int | None = None
    parked: list[list[Block]] = field(default_factory=list)  # for each vcpu, oldest first
    lists: list[list[Block]] = field(default_factory=list)  # for each order
    reported: set[Block] = field(default_factory=set)
    batch: list[Block] = field(default_factory=list)  # in order of isolation
    # The pass under way: order of the list, its budget (None: not begun), in a call.
    passing: bool = False
    order: int = 0
    budget: int | None = None
    calling: bool = False
    passes: int = 0
    skipped: int = 0
    blocks: int = 0

    def __post_init__(self) -> None:
        self.parked = [[] for _ in self.guest.cbrl]
        self.lists = [[] for _ in range(self.settings.max_order + 1)]
        self.due = self.settings.delay_ns
        if self.settings.poison != "none" and not self.settings.negotiated:
            self.state, self.due = "off", None

    # ---- the view ----------------------------------------------------------------------

    def nr_free(self) -> int:
        return sum(len(blocks) << order for order, blocks in enumerate(self.lists))

    def find(self, page: int) -> tuple[list[Block], Block] | None:
        """The list or batch that has the block of a page."""
        for blocks in [*self.parked, *self.lists, self.batch]:
            for block in blocks:
                if page in pages_of(block):
                    return blocks, block
        return None

    def free(self, start: int, nr: int, order: int, vcpu: int) -> None:
        order = min(order, self.settings.max_order)
        for first in range(start, start + nr, 1 << order):
            block = (first, order)
            known = [self.find(page) is not None for page in pages_of(block)]
            if first % (1 << order) == 0 and not any(known):
                self._put(block, vcpu)
            else:
                for page, is_known in zip(pages_of(block), known, strict=True):
                    if not is_known:
                        self._put((page, 0), vcpu)

    def _put(self, block: Block, vcpu: int) -> None:
        if block[1] > self.settings.parked_order:
            self.to_buddy(block)
            return
        parked = self.parked[vcpu]
        parked.append(block)
        if sum(len(pages_of(each)) for each in parked) >= self.settings.parked_high:
            gone = 0
            while parked and gone < self.settings.parked_batch:
                oldest = parked.pop(0)
                gone += len(pages_of(oldest))
                self.to_buddy(oldest)

    def to_buddy(self, block: Block, returned: bool = False) -> Block:
        """__free_one_page: the block that it became."""
        while block[1] < self.settings.max_order and other_half(block) in self.lists[block[1]]:
            self._leave(other_half(block))
            block = whole(block)
        above = block[1] < self.settings.max_order - 1 and (
            other_half(whole(block)) in self.lists[block[1] + 1]
        )
        blocks = self.lists[block[1]]
        blocks.insert(len(blocks) if returned or above else 0, block)
        if not returned and block[1] >= self.settings.order:
            self._notify()
        return block

    def _leave(self, block: Block) -> None:
        self.lists[block[1]].remove(block)
        self.reported.discard(block)

    def alloc(self, start: int, nr: int) -> None:
        wanted = range(start, start + nr)
        for page in wanted:
            found = self.find(page)
            if found is not None and found[0] is self.batch:
                self._end_call()
                found = self.find(page)
            if found is None:
                continue
            blocks, block = found
            blocks.remove(block)
            self.reported.discard(block)
            self._halve(block, wanted)

    def _halve(self, block: Block, wanted: range) -> None:
        mine = [page in wanted for page in pages_of(block)]
        if all(mine):
            return
        if not any(mine):
            self.lists[block[1]].insert(0, block)
            return
        half = (block[0], block[1] - 1)
        self._halve(half, wanted)
        self._halve(other_half(half), wanted)

    # ---- the worker --------------------------------------------------------------------

    def _notify(self) -> None:
        if self.state == "idle":
            self.state, self.due = "requested", self.now + self.settings.delay_ns
        elif self.state == "active":
            self.state = "requested"

    def advance(self, ns: int) -> None:
        end = self.now + ns
        while self.due is not None and self.due <= end:
            self.now = max(self.now, self.due)
            self.step()
        self.now = end

    def step(self) -> None:
        """What is due now: the end of a call and the pass from there, or a new pass."""
        if self.calling:
            self._end_call()
        if self.passing:
            self._go_on(self.settings.ack_ns)
        else:
            self._start(self.settings.ack_ns)

    def _enough(self, more_than: int) -> bool:
        return self.nr_free() + self.settings.spare > more_than

    def _start(self, ack_ns: int) -> None:
        self.passes += 1
        self.passing = True
        self.state, self.due = "active", None
        if self._enough(self.settings.low + (self.settings.capacity << self.settings.order)):
            self.order = self.settings.order
        else:
            self.skipped += 1
            self.order = self.settings.max_order + 1
        self._go_on(ack_ns)

    def _go_on(self, ack_ns: int) -> None:
        while self.order <= self.settings.max_order:
            if self._cycle():
                self._call(ack_ns)
                if ack_ns:
                    return
                self._end_call()
            else:
                self.order, self.budget = self.order + 1, None
        if self.batch:
            self._call(ack_ns)
            if ack_ns:
                return
            self._end_call()
        self.passing, self.due = False, None
        if self.state == "requested":
            self.due = self.now + self.settings.delay_ns
        else:
            self.state = "idle"

    def _cycle(self) -> bool:
        """Fill the batch from the list of this order: whether it is to be reported first."""
        blocks = self.lists[self.order]
        if self.budget is None:
            if not blocks:
                return False
            self.budget = -(-len(blocks) // (16 * self.settings.capacity))
        for block in list(blocks):
            if block in self.reported:
                continue
            if self.budget < 0:
                self.state = "requested"
                rotate_to_front(blocks, block)
                return False
            if len(self.batch) == self.settings.capacity:
                rotate_to_front(blocks, block)
                return True
            if not self._enough(self.settings.min + len(pages_of(block))):
                rotate_to_front(blocks, block)
                return False
            self._leave(block)
            self.batch.append(block)
        return False

    def _call(self, ack_ns: int) -> None:
        self.guest.count["hints"] += 1
        self.guest.count["hint_pages"] += sum(len(pages_of(block)) for block in self.batch)
        self.calling = True
        self.due = self.now + ack_ns

    def _end_call(self) -> None:
        batch = list(reversed(self.batch))
        self.batch.clear()
        self.calling = False
        self.due = self.now  # the pass goes on when time next passes
        if self.budget is not None:
            self.budget -= 1
        for block in batch:
            if self.discards():
                for page in pages_of(block):
                    self.guest.discard(page, self.settings.advice)
        for block in batch:
            self.blocks += 1
            if self.to_buddy(block, returned=True) == block:
                self.reported.add(block)

    def discards(self) -> bool:
        return not self.settings.inhibited and self.settings.poison != "page_poison"

    def replay_starts(self) -> None:
        for parked in self.parked:
            while parked:
                self.to_buddy(parked.pop(0))
        if self.state == "off":
            return
        if self.calling:
            self._end_call()
        if self.passing:
            self._go_on(0)
        while True:
            before = self.blocks
            self._start(0)
            if self.blocks == before:
                break
        self.state, self.due = "idle", None

    def snapshot(self) -> dict[str, object]:
        return {
            "state": self.state,
            "now": self.now,
            "due": self.due,
            "nr_free": self.nr_free(),
            "lists": [
                [
                    (first, block_order, (first, block_order) in self.reported)
                    for first, block_order in blocks
                ]
                for blocks in self.lists
            ],
            "parked": [list(blocks) for blocks in self.parked],
            "batch": list(self.batch),
            "passes": self.passes,
            "skipped": self.skipped,
            "blocks": self.blocks,
        }

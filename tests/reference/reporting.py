# SPDX-License-Identifier: MIT
"""Free page reporting: a buddy allocator's view of the guest, and the passes of its worker.

docs/model.md section 11; the kernel's mm/page_alloc.c and mm/page_reporting.c (Linux 6.1).
Lists are plain Python lists with the head at index 0; every lookup is a search.  There is one for
each zone, migratetype and order, as in zone->free_area[order].free_list[migratetype].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference.guest import Guest

Block = tuple[int, int]  # first page, order
SECOND = 10**9

# enum migratetype: the first three may merge with one another (migratetype_is_mergeable).
TYPES = ("unmovable", "movable", "reclaimable", "highatomic", "cma", "isolate")
MERGEABLE = TYPES[:3]


def watermarks(zone: int, pages: int) -> tuple[int, int]:
    """min and low of a zone of a guest (__setup_per_zone_wmarks, watermark_scale_factor 10)."""
    lowest = min(max(isqrt(64 * pages), 128), 262144) // 4 * zone // pages
    return lowest, lowest + max(lowest // 4, zone * 10 // 10000)


@dataclass
class Settings:
    min: int | list[int]  # one number, or one of each zone
    low: int | list[int]
    parked_batch: int
    parked_high: int
    order: int = 9
    max_order: int = 10
    parked_order: int = 3
    capacity: int = 32
    delay_ns: int = 2 * SECOND
    ack_ns: int = 0
    spare: int | list[int] = 0
    poison: str = "none"
    negotiated: bool = True
    inhibited: bool = False
    advice: str = "madv_dontneed"
    zones: tuple[int, ...] = (0,)  # first page of each
    pageblock_order: int = 9

    def of_zone(self, name: str, zone: int) -> int:
        """min, low or spare of a zone."""
        value = getattr(self, name)
        return int(value if isinstance(value, int) else value[zone])

    @classmethod
    def for_guest(cls, pages: int, vcpus: int) -> Settings:
        lowest, low = watermarks(pages, pages)
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
    lists: dict[tuple[int, str, int], list[Block]] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)  # of pageblocks; empty: all movable
    listed: dict[Block, str] = field(default_factory=dict)  # migratetype of blocks in the view
    reported: set[Block] = field(default_factory=set)
    batch: list[Block] = field(default_factory=list)  # in order of isolation
    # The pass under way: order of the list, its budget (None: not begun), in a call.
    passing: bool = False
    at: list[tuple[int, str, int]] | None = None  # lists of this zone that are left
    zone: int = 0
    budget: int | None = None
    calling: bool = False
    passes: int = 0
    skipped: int = 0
    blocks: int = 0

    def __post_init__(self) -> None:
        self.parked = [[] for _ in self.guest.cbrl]
        self.lists = {
            (zone, kind, order): []
            for zone in range(len(self.settings.zones))
            for kind in TYPES
            for order in range(self.settings.max_order + 1)
        }
        self.due = self.settings.delay_ns
        if self.settings.poison != "none" and not self.settings.negotiated:
            self.state, self.due = "off", None

    # ---- the view ----------------------------------------------------------------------

    def zone_of(self, page: int) -> int:
        return sum(first <= page for first in self.settings.zones) - 1

    def zone_pages(self, zone: int) -> range:
        ends = [*self.settings.zones[1:], len(self.guest.pte)]
        return range(self.settings.zones[zone], ends[zone])

    def type_of(self, page: int) -> str:
        """get_pageblock_migratetype."""
        return self.types[page >> self.settings.pageblock_order] if self.types else "movable"

    def in_one_zone(self, block: Block) -> bool:
        return self.zone_of(block[0]) == self.zone_of(pages_of(block)[-1])

    def list_of(self, block: Block) -> list[Block]:
        return self.lists[self.zone_of(block[0]), self.listed[block], block[1]]

    def is_free(self, block: Block, zone: int) -> bool:
        """page_is_buddy: free, of this order, and in this zone."""
        return self.zone_of(block[0]) == zone and any(
            block in self.lists[zone, kind, block[1]] for kind in TYPES
        )

    def nr_free(self) -> int:
        return sum(len(blocks) << key[2] for key, blocks in self.lists.items())

    def find(self, page: int) -> tuple[list[Block], Block] | None:
        """The list or batch that has the block of a page."""
        for blocks in [*self.parked, *self.lists.values(), self.batch]:
            for block in blocks:
                if page in pages_of(block):
                    return blocks, block
        return None

    def free(self, start: int, nr: int, order: int, vcpu: int) -> None:
        order = min(order, self.settings.max_order)
        for first in range(start, start + nr, 1 << order):
            block = (first, order)
            known = [self.find(page) is not None for page in pages_of(block)]
            if first % (1 << order) == 0 and not any(known) and self.in_one_zone(block):
                self._put(block, vcpu)
            else:
                for page, is_known in zip(pages_of(block), known, strict=True):
                    if not is_known:
                        self._put((page, 0), vcpu)

    def _put(self, block: Block, vcpu: int) -> None:
        kind = self.type_of(block[0])
        if block[1] > self.settings.parked_order or kind == "isolate":
            self.to_buddy(block, kind)
            return
        parked = self.parked[vcpu]
        parked.append(block)
        self.listed[block] = kind  # set_pcppage_migratetype
        if sum(len(pages_of(each)) for each in parked) >= self.settings.parked_high:
            gone = 0
            while parked and gone < self.settings.parked_batch:
                gone += len(pages_of(parked[0]))
                self._unpark_oldest(parked)

    def _unpark_oldest(self, parked: list[Block]) -> None:
        """free_pcppages_bulk: the type is read again if the zone has isolated pageblocks."""
        block = parked.pop(0)
        kind = self.listed.pop(block)
        if self._pages_of_type("isolate", self.zone_of(block[0])):
            kind = self.type_of(block[0])
        self.to_buddy(block, kind)

    def _pages_of_type(self, kind: str, zone: int) -> int:
        pages = self.zone_pages(zone) if kind in self.types else ()
        return sum(self.type_of(page) == kind for page in pages)

    def to_buddy(self, block: Block, kind: str, returned: bool = False) -> Block:
        """__free_one_page: the block that it became."""
        zone = self.zone_of(block[0])
        while block[1] < self.settings.max_order and self.is_free(other_half(block), zone):
            other = self.type_of(other_half(block)[0])
            if (
                block[1] >= self.settings.pageblock_order
                and kind != other
                and not (kind in MERGEABLE and other in MERGEABLE)
            ):
                break
            self._leave(other_half(block))
            block = whole(block)
        above = block[1] < self.settings.max_order - 1 and (
            self.is_free(other_half(whole(block)), zone)
        )
        blocks = self.lists[zone, kind, block[1]]
        blocks.insert(len(blocks) if returned or above else 0, block)
        self.listed[block] = kind
        if not returned and block[1] >= self.settings.order:
            self._notify()
        return block

    def _leave(self, block: Block) -> None:
        self.list_of(block).remove(block)
        self.reported.discard(block)
        del self.listed[block]

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
            self._halve(block, wanted, self.listed.pop(block))

    def _halve(self, block: Block, wanted: range, kind: str) -> None:
        """expand: what is left stays on lists of the type that the block was on."""
        mine = [page in wanted for page in pages_of(block)]
        if all(mine):
            return
        if not any(mine):
            self.listed[block] = kind
            self.list_of(block).insert(0, block)
            return
        half = (block[0], block[1] - 1)
        self._halve(half, wanted, kind)
        self._halve(other_half(half), wanted, kind)

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
        """zone_watermark_ok: neither isolated pages nor the high-atomic reserve count."""
        free = sum(
            len(blocks) << order
            for (zone, kind, order), blocks in self.lists.items()
            if zone == self.zone and kind != "isolate"
        )
        reserve = self._pages_of_type("highatomic", self.zone)
        return free + self.settings.of_zone("spare", self.zone) - reserve > more_than

    def _start(self, ack_ns: int) -> None:
        self.passes += 1
        self.passing = True
        self.state, self.due = "active", None
        self.zone, self.at = 0, None
        self._go_on(ack_ns)

    def _lists_of_zone(self) -> list[tuple[int, str, int]]:
        """Those that page_reporting_process_zone goes through."""
        low = self.settings.of_zone("low", self.zone)
        if not self._enough(low + (self.settings.capacity << self.settings.order)):
            self.skipped += 1
            return []
        orders = range(self.settings.order, self.settings.max_order + 1)
        return [(self.zone, kind, order) for order in orders for kind in TYPES if kind != "isolate"]

    def _go_on(self, ack_ns: int) -> None:
        while self.zone < len(self.settings.zones):
            if self.at is None:
                self.at = self._lists_of_zone()
            if self.at:
                if self._cycle(self.at[0]):
                    if self._call_waits(ack_ns):
                        return
                else:
                    del self.at[0]
                    self.budget = None
            elif self.batch:
                if self._call_waits(ack_ns):
                    return
            else:
                self.zone, self.at = self.zone + 1, None
        self.passing, self.due = False, None
        if self.state == "requested":
            self.due = self.now + self.settings.delay_ns
        else:
            self.state = "idle"

    def _call_waits(self, ack_ns: int) -> bool:
        self._call(ack_ns)
        if not ack_ns:
            self._end_call()
        return ack_ns > 0

    def _cycle(self, key: tuple[int, str, int]) -> bool:
        """Fill the batch from this list: whether it is to be reported first."""
        blocks = self.lists[key]
        if self.budget is None:
            if not blocks:
                return False
            zone, _, order = key
            area = sum(len(self.lists[zone, kind, order]) for kind in TYPES)  # area->nr_free
            self.budget = -(-area // (16 * self.settings.capacity))
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
            lowest = self.settings.of_zone("min", self.zone)
            if not self._enough(lowest + len(pages_of(block))):
                rotate_to_front(blocks, block)
                return False
            self._leave(block)
            self._make_movable(block)
            self.batch.append(block)
        return False

    def _make_movable(self, block: Block) -> None:
        """__isolate_free_page of half a pageblock or more."""
        if self.types and block[1] >= self.settings.pageblock_order - 1:
            for page in pages_of(block):
                if self.type_of(page) in MERGEABLE:
                    self.types[page >> self.settings.pageblock_order] = "movable"

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
            if self.to_buddy(block, self.type_of(block[0]), returned=True) == block:
                self.reported.add(block)

    def discards(self) -> bool:
        return not self.settings.inhibited and self.settings.poison != "page_poison"

    def replay_starts(self) -> None:
        for parked in self.parked:
            while parked:
                self._unpark_oldest(parked)
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
            "lists": {
                key: [(*block, block in self.reported) for block in blocks]
                for key, blocks in self.lists.items()
                if blocks
            },
            "types": list(self.types),
            "parked": [list(blocks) for blocks in self.parked],
            "batch": list(self.batch),
            "passes": self.passes,
            "skipped": self.skipped,
            "blocks": self.blocks,
        }

# SPDX-License-Identifier: MIT
"""Host memory: frames, swap slots, the swap cache, three lists and reclaim.

docs/model.md section 4 and 6; the kernel's mm/vmscan.c, mm/rmap.c and mm/swapfile.c.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from reference.errors import OutOfFrames, OutOfSwap
from reference.words import (
    PTE_DIRTY,
    PTE_INVALID,
    PTE_NONE,
    PTE_PROTECT,
    PTE_YOUNG,
    swap_entry,
    with_usage,
)
from reference.zvm import USAGE

if TYPE_CHECKING:
    from reference.guest import Guest

COUNTERS = (
    "swap_outs",
    "swap_ins",
    "clean_evictions",
    "unused_discards",
    "lazyfree_discards",
    "lazyfree_rearmed",
    "zero_fills",
    "scanned",
    "reclaims",
    "volatile_discards",
    "readaheads",
    "readahead_hits",
    "refaults",
    "refaults_activated",
)
LISTS = ("active", "inactive", "lazyfree", "lazyfree_active")
LAZYFREE = LISTS[2:]


@dataclass
class Frame:
    list: str = "free"
    guest: Any = 0  # an int; None: in the swap cache alone
    gfn: Any = 0
    tag: int = 0
    slot: int | None = None
    referenced: bool = False
    dirty: bool = False
    pinned: bool = False
    locked: bool = False  # PG_locked
    writeback: bool = False  # PG_writeback
    shared: bool = False  # mapcount is not 1: a forked child maps it
    workingset: bool = False  # PG_workingset
    ahead: bool = False  # PG_readahead, which is PG_reclaim
    writing: bool = False  # on its way to swap, by reclaim
    gen: int | None = None  # MGLRU: the generation in the folio's flags
    place: int = 0  # MGLRU: the list that it is on
    active: bool = False  # MGLRU: PG_active, while it is on no list of a generation

    def is_lazyfree(self) -> bool:
        return self.list in LAZYFREE


@dataclass
class Slot:
    count: int = 0
    frame: int | None = None
    tag: int = 0

    def is_free(self) -> bool:
        return self.count == 0 and self.frame is None


class Window:
    """What swap readahead remembers: mm/swap_state.c:__swapin_nr_pages."""

    def __init__(self) -> None:
        self.hits, self.before, self.last = 4, -2, 0

    def pages(self, at: int, most: int) -> int:
        pages = self.hits + 2
        if pages == 2:
            pages = 2 if abs(at - self.before) == 1 else 1
        else:
            pages = max(4, 1 << (pages - 1).bit_length())
        return max(min(pages, most), self.last // 2)


def _of(objects: Sequence[object], copies: Sequence[object]) -> list[dict[str, Any]]:
    """What the copies hold, with the objects wherever they hold one another."""
    numbers = {id(each): number for number, each in enumerate(copies)}
    file = io.BytesIO()
    saver, loader = pickle.Pickler(file), pickle.Unpickler(file)
    saver.persistent_id = lambda each: numbers.get(id(each))  # type: ignore[method-assign]
    loader.persistent_load = lambda number: objects[number]  # type: ignore[method-assign]
    saver.dump([each.__dict__ for each in copies])
    file.seek(0)
    found: list[dict[str, Any]] = loader.load()
    return found


class Host:
    def __init__(
        self,
        frames: int,
        swap_slots: int,
        low: int | None = None,
        high: int | None = None,
        batch: int | None = None,
        rearm: str = "referenced",
    ) -> None:
        self.rearm = rearm
        self.batch = min(32, max(1, frames // 64)) if batch is None else batch
        self.low = 0 if low is None else low
        self.high = self.batch if high is None else high
        self.frames = [Frame() for _ in range(frames)]
        self.slots = [Slot() for _ in range(swap_slots)]
        # Stacks: the last element is taken first; never used ones lie at the bottom.
        self.real_keys: dict[int, int] = {}  # storage keys of frames
        self.free_frames = list(reversed(range(frames)))
        self.free_slots = list(reversed(range(swap_slots)))
        self.lists: dict[str, list[int]] = {name: [] for name in LISTS}  # head first
        self.guests: dict[int, Guest] = {}
        self.count = dict.fromkeys(COUNTERS, 0)
        self.frames_peak = self.swap_peak = 0
        self.read = 0  # pages that the last swap-in read

    # ---- counters ----------------------------------------------------------------------

    def frames_in_use(self) -> int:
        return len(self.frames) - len(self.free_frames)

    def slots_in_use(self) -> int:
        return len(self.slots) - len(self.free_slots)

    def stats(self) -> dict[str, int]:
        return {
            "frames": len(self.frames),
            "frames_free": len(self.free_frames),
            **{f"frames_{name}": len(self.lists[name]) for name in LISTS},
            "frames_unmapped": sum(f.list != "free" and f.guest is None for f in self.frames),
            "swap_slots": len(self.slots),
            "swap_slots_free": len(self.free_slots),
            "swap_slots_cached": sum(slot.frame is not None for slot in self.slots),
            "frames_peak": self.frames_peak,
            "swap_peak": self.swap_peak,
            **self.count,
        }

    def reset_stats(self) -> None:
        self.count = dict.fromkeys(COUNTERS, 0)
        self.frames_peak = self.frames_in_use()
        self.swap_peak = self.slots_in_use()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Put the host and all guests back, counters included, if the body raises."""
        objects: list[Host | Guest] = [self, *self.guests.values()]
        saved = pickle.dumps(objects, pickle.HIGHEST_PROTOCOL)  # a fifth of what deepcopy takes
        try:
            yield
        except BaseException:
            for each, state in zip(objects, _of(objects, pickle.loads(saved)), strict=True):
                each.__dict__.update(state)
            raise

    # ---- lists -------------------------------------------------------------------------

    def to_head(self, index: int, name: str) -> None:
        frame = self.frames[index]
        if frame.list != "free":
            self.unlink(index)
        self.lists[name].insert(0, index)
        frame.list = name

    def unlink(self, index: int) -> None:
        pages = self.lists[self.frames[index].list]
        if pages[-1] == index:  # no search for the most likely one
            pages.pop()
        else:
            pages.remove(index)

    # ---- frames and slots --------------------------------------------------------------

    def swap_nearly_full(self) -> bool:
        return 2 * len(self.free_slots) < len(self.slots)

    def get_frame(self, guest: int, gfn: int) -> int:
        """A frame for the page, at the head of the inactive list, not dirty, tag 0."""
        if len(self.free_frames) <= self.low:
            self.reclaim(self.high - len(self.free_frames))
        if not self.free_frames:
            raise OutOfFrames
        index = self.free_frames.pop()
        self.frames[index] = Frame(guest=guest, gfn=gfn)
        self.to_head(index, "inactive")
        self.frames_peak = max(self.frames_peak, self.frames_in_use())
        return index

    def give_back_frame(self, index: int) -> None:
        self.leave_swap_cache(index)
        frame = self.frames[index]
        self.guests[frame.guest].frame[frame.gfn] = None
        self.unlink(index)
        self.frames[index] = Frame()
        self.free_frames.append(index)

    def get_slot(self) -> int:
        if not self.free_slots:
            raise OutOfSwap
        slot = self.free_slots.pop()
        self.swap_peak = max(self.swap_peak, self.slots_in_use())
        return slot

    def leave_swap_cache(self, index: int) -> None:
        frame = self.frames[index]
        if frame.slot is None:
            return
        slot = self.slots[frame.slot]
        slot.frame = None
        if slot.is_free():
            self.free_slots.append(frame.slot)
        frame.slot = None

    def give_up_use(self, number: int) -> bool:
        """free_swap_and_cache: one use less; whether the slot became free."""
        slot = self.slots[number]
        slot.count -= 1
        if slot.count > 0:
            return False
        if slot.frame is None:
            self.free_slots.append(number)
            return True
        cached = self.frames[slot.frame]
        if cached.locked or cached.writeback:
            return False  # __try_to_reclaim_swap: folio_trylock; folio_free_swap
        if self.swap_nearly_full():
            self.leave_swap_cache(slot.frame)
            cached.dirty = True
            return True
        return False

    # ---- faults ------------------------------------------------------------------------

    def zero_fill(self, guest: int, gfn: int) -> int:
        index = self.get_frame(guest, gfn)  # do_anonymous_page makes the PTE dirty, not the folio
        self.count["zero_fills"] += 1
        return index

    def swap_in(self, guest: int, gfn: int, number: int, store: bool) -> int:
        self.read = 0
        index = self.get_frame(guest, gfn)
        self.read = 1
        frame, slot = self.frames[index], self.slots[number]
        frame.tag = slot.tag
        slot.count -= 1
        if slot.is_free() and not store and not self.swap_nearly_full():
            slot.frame = index
            frame.slot = number
        else:
            frame.dirty = True
            if slot.is_free():
                self.free_slots.append(number)
        self.count["swap_ins"] += 1
        return index

    # ---- reclaim -----------------------------------------------------------------------

    def reclaim(self, n: int) -> int:
        """Try to free n frames; how many were freed."""
        self.count["reclaims"] += 1
        before = len(self.free_frames)
        budget = 4 * self.frames_in_use() + 32
        zvm = any(guest.flavour == "zvm" for guest in self.guests.values())
        kept = 0  # lazyfree pages that were passed over: clean, but pinned
        while len(self.free_frames) < before + n and budget > 0:
            lazyfree = len(self.lists["lazyfree"]) > kept
            if lazyfree:
                victim = self.lists["lazyfree"][-1]
            elif (self.free_slots or zvm) and (self.lists["active"] or self.lists["inactive"]):
                if self.inactive_is_low():
                    self.deactivate()
                victim = self.lists["inactive"][-1]
            else:
                break
            budget -= 1
            self.count["scanned"] += 1
            if not self.shrink(victim) and lazyfree:
                kept += 1
        return len(self.free_frames) - before

    def inactive_is_low(self) -> bool:
        active, inactive = len(self.lists["active"]), len(self.lists["inactive"])
        return inactive * self.ratio((active + inactive) >> 18) < active or inactive == 0

    @staticmethod
    def ratio(gb: int) -> int:
        return isqrt(10 * gb) if gb else 1

    def deactivate(self) -> None:
        for _ in range(min(self.batch, len(self.lists["active"]))):
            index = self.lists["active"][-1]
            self.to_head(index, "inactive")
            frame = self.frames[index]
            guest = self.guests[frame.guest]
            if guest.is_young(frame.gfn):
                self.age(index)

    def age(self, index: int) -> None:
        frame = self.frames[index]
        guest = self.guests[frame.guest]
        pte = guest.pte[frame.gfn]
        if guest.flavour == "zvm":
            guest.aged_pte(frame.gfn, pte & ~PTE_YOUNG)
        elif guest.generation == "dat":
            if pte & PTE_DIRTY:
                frame.dirty = True
            guest.aged_pte(frame.gfn, pte & ~(PTE_YOUNG | PTE_DIRTY) | PTE_INVALID | PTE_PROTECT)
        else:
            guest.aged_pte(frame.gfn, pte & ~PTE_YOUNG | PTE_INVALID)

    def shrink(self, index: int) -> bool:
        """False if the page stays although it is old and nothing about it changes."""
        frame = self.frames[index]
        guest = self.guests[frame.guest]
        if frame.locked or guest.vm_locked:  # folio_trylock: keep; on the kernel's list of its own
            self.to_head(index, frame.list)
            return False
        if frame.writeback:  # activate_locked
            self.to_head(index, "active")
            return False
        was_referenced, frame.referenced = frame.referenced, False
        if guest.is_young(frame.gfn):
            self.age(index)
            frame.referenced = True
            promote = was_referenced and frame.list != "lazyfree"
            self.to_head(index, "active" if promote else frame.list)
            return True
        if self.is_kept(frame) or (self.needs_slot(frame) and not self.free_slots):
            self.to_head(index, frame.list)
            return False
        self.drop_or_write(index)
        if frame.list == "lazyfree" and self.frames[index] is frame:
            self.to_head(index, "lazyfree")
            return False
        return True

    def is_kept(self, frame: Frame) -> bool:
        return frame.pinned and not frame.is_lazyfree()

    def needs_slot(self, frame: Frame) -> bool:
        guest = self.guests[frame.guest]
        drops = guest.flavour == "zvm" and guest.zvm_evicted(frame.gfn)[1] == "z"
        needs = not frame.is_lazyfree() and frame.slot is None and not drops
        return needs and guest.file is None

    def drop_or_write(self, index: int) -> None:
        frame = self.frames[index]
        guest, gfn = self.guests[frame.guest], frame.gfn
        pte = guest.pte[gfn]
        dirty = frame.dirty or bool(pte & PTE_DIRTY)
        after = guest.zvm_evicted(gfn) if guest.flavour == "zvm" else ""
        guest.xchg_pte(gfn, PTE_NONE)
        if guest.file is not None:  # no swap entry for a file's page, unused or not
            guest.unmapped(gfn)
            self.give_back_frame(index)
            self.count["clean_evictions"] += 1
            return
        if frame.list == "lazyfree":
            if dirty or (frame.pinned and self.rearm != "discard"):  # v5.17: PageDirty alone
                frame.dirty = dirty
                guest.set_pte(gfn, pte)
                if dirty or self.rearm == "referenced":
                    self.to_head(index, "active")
                    self.count["lazyfree_rearmed"] += 1
            else:
                self.give_back_frame(index)
                self._count_both(guest, "lazyfree_discards")
            return
        if guest.flavour == "zvm":
            guest.pgste[gfn] = with_usage(guest.pgste[gfn], USAGE[after[0]])
            if after[1] == "z":
                self.give_back_frame(index)
                self._count_both(guest, "unused_discards" if after == "Uz" else "volatile_discards")
                return
        if frame.slot is None:
            frame.slot = self.get_slot()
            self.slots[frame.slot].frame = index
            frame.dirty = dirty = True
        if guest.drops_unused(gfn, pte):
            self.give_back_frame(index)
            self._count_both(guest, "unused_discards")
            return
        slot = self.slots[frame.slot]
        guest.set_pte(gfn, swap_entry(frame.slot))
        slot.count += 1
        if dirty:
            slot.tag = frame.tag
            self._count_both(guest, "swap_outs")
            guest.was_written(gfn)
        else:
            self.count["clean_evictions"] += 1
        self.give_back_frame(index)

    def _count_both(self, guest: Guest, name: str) -> None:
        self.count[name] += 1
        guest.count[name] += 1

    def page_out(self, index: int) -> bool:
        """MADV_PAGEOUT of one page with a frame: whether it lost it."""
        frame = self.frames[index]
        if self.is_kept(frame) or frame.locked or frame.writeback:
            return False
        if self.needs_slot(frame) and not self.free_slots:
            raise OutOfSwap
        if self.guests[frame.guest].is_young(frame.gfn):
            self.age(index)
        frame.referenced = False
        self.drop_or_write(index)
        return self.frames[index].list == "free"

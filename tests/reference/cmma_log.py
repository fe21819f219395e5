# SPDX-License-Identifier: MIT
"""A virtual machine's memory slots, migration mode and CMMA log, page by page.

Written from arch/s390/kvm/kvm-s390.c, priv.c and dat.c and virt/kvm/kvm_main.c, whose functions
are named; nothing of the engine is used.  Only what the log needs is here: usage, no-DAT and the
dirty mark of pages, not their PTEs.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

DISTANCE = 16  # KVM_S390_MAX_BIT_DISTANCE: 2 * sizeof(void *)
PAGE_ENTRIES = 256  # _PAGE_ENTRIES
SIZE_MAX = 1 << 20  # KVM_S390_CMMA_SIZE_MAX
U64 = 1 << 64
PEEK = 1


class KernelError(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number


@dataclass
class Slot:
    base: int
    pages: int
    host: int
    log_dirty: bool

    @property
    def end(self) -> int:
        return self.base + self.pages


@dataclass
class Page:
    usage: int = 0
    nodat: bool = False
    dirty: bool = False  # dat: CMMA_D; pgtable: the page's bit in the slot's second bitmap

    @property
    def value(self) -> int:
        return self.usage | self.nodat << 6


class Machine:
    def __init__(self, limit: int, slots: list[Slot], revision: str, cmma: bool = True) -> None:
        self.limit = limit
        self.revision = revision
        self.dat = revision != "pgtable"
        self.slots = dict(enumerate(slots))
        self.pages = [Page() for _ in range(limit)]
        self.use_cmma = cmma
        self.created_vcpus = cmma
        self.uses_cmm = False
        self.migration = False
        self.dirty_pages = 0
        #: host page that a page had when its slot was deleted: memory that is still there
        self.left: dict[int, int] = {}

    # ---- slots

    def ordered(self) -> list[Slot]:
        return sorted(self.slots.values(), key=lambda slot: slot.base)

    def slot_of(self, gfn: int) -> Slot | None:
        for slot in self.slots.values():
            if slot.base <= gfn < slot.end:
                return slot
        return None

    def host_gfn(self, gfn: int) -> int:
        slot = self.slot_of(gfn)
        return U64 - 1 if slot is None else slot.host + gfn - slot.base

    def _overlap(self, base: int, pages: int, but: int | None) -> bool:
        return any(
            number != but and slot.base < base + pages and base < slot.end
            for number, slot in self.slots.items()
        )

    def _prepare(self, slot: Slot) -> None:
        """kvm_arch_prepare_memory_region of a slot that is not deleted."""
        if self.migration and not slot.log_dirty:
            self.stop_migration()

    def add_slot(self, base: int, pages: int, host: int, log_dirty: bool) -> int:
        if pages == 0:
            raise KernelError(errno.EINVAL)
        if self._overlap(base, pages, None):
            raise KernelError(errno.EEXIST)
        if base + pages > self.limit:
            raise KernelError(errno.EINVAL)
        slot = Slot(base, pages, host, log_dirty)
        self._prepare(slot)
        number = min(set(range(len(self.slots) + 1)) - set(self.slots))
        for gfn in range(base, base + pages):
            if self.left.pop(gfn, host + gfn - base) != host + gfn - base and not self.dat:
                self.pages[gfn] = Page()
        self._dat_set_slot(base, pages)
        self.slots[number] = slot
        return number

    def _dat_set_slot(self, base: int, pages: int) -> None:
        """dat_set_slot, by dat_create_slot and dat_delete_slot: _dat_slot_crste, _dat_slot_pte."""
        if not self.dat:
            return
        end = base + pages
        for gfn in range(base, end):
            table = gfn & ~(PAGE_ENTRIES - 1)
            if base <= table and table + PAGE_ENTRIES <= end:
                self.pages[gfn] = Page()  # dat_free_pt; a later one begins with zeroed PGSTEs
            elif self.revision == "dat_new":
                self.pages[gfn].dirty = False

    def delete_slot(self, number: int) -> None:
        if number not in self.slots:
            raise KernelError(errno.EINVAL)
        slot = self.slots[number]
        self._forget_log(slot)
        for gfn in range(slot.base, slot.end):
            if not self.dat:
                self.pages[gfn].dirty = False
            self.left[gfn] = self.host_gfn(gfn)
        self._dat_set_slot(slot.base, slot.pages)
        del self.slots[number]

    def _forget_log(self, slot: Slot) -> None:
        """kvm_s390_update_cmma_dirty, which only the fixed kernel has."""
        if self.revision == "dat_new" and self.migration and self.use_cmma:
            self.dirty_pages -= sum(self.pages[g].dirty for g in range(slot.base, slot.end))

    def move_slot(self, number: int, base: int) -> None:
        if number not in self.slots:
            raise KernelError(errno.EINVAL)
        slot = self.slots[number]
        if base == slot.base:
            return
        if self._overlap(base, slot.pages, number):
            raise KernelError(errno.EEXIST)
        if base + slot.pages > self.limit:
            raise KernelError(errno.EINVAL)
        self._prepare(slot)
        self._forget_log(slot)
        if self.dat:
            self._dat_set_slot(slot.base, slot.pages)
            self._dat_set_slot(base, slot.pages)
            for gfn in range(base, base + slot.pages):
                self.left.pop(gfn, None)
            slot.base = base
            return
        taken = [self.pages[gfn] for gfn in range(slot.base, slot.end)]
        for gfn in range(slot.base, slot.end):
            self.pages[gfn] = Page()
        for i, page in enumerate(taken):
            self.left.pop(base + i, None)
            # the PGSTE is at the host address, and the bitmap goes with the slot
            self.pages[base + i] = page
        slot.base = base

    def set_dirty_logging(self, number: int, on: bool) -> None:
        if number not in self.slots:
            raise KernelError(errno.EINVAL)
        self.slots[number].log_dirty = on
        self._prepare(self.slots[number])

    # ---- controls

    def enable_cmma(self) -> None:
        if self.created_vcpus:
            raise KernelError(errno.EBUSY)
        self.use_cmma = True

    def clear_cmma(self) -> None:
        if not self.use_cmma:
            raise KernelError(errno.EINVAL)
        for gfn, page in enumerate(self.pages):
            if not self.dat or self.slot_of(gfn):
                page.usage, page.nodat = 0, False
                if self.dat:
                    page.dirty = False

    def start_migration(self) -> None:
        """kvm_s390_vm_start_migration."""
        if self.migration:
            return
        if not self.slots:
            raise KernelError(errno.EINVAL)
        if self.use_cmma:
            if not all(slot.log_dirty for slot in self.slots.values()):
                raise KernelError(errno.EINVAL)
            self.dirty_pages = 0
            for slot in self.slots.values():
                for gfn in range(slot.base, slot.end):
                    self.pages[gfn].dirty = True
                self.dirty_pages += slot.pages
        self.migration = True

    def stop_migration(self) -> None:
        """kvm_s390_vm_stop_migration."""
        if not self.migration:
            return
        self.migration = False
        if not self.use_cmma:
            return
        if self.revision != "dat":
            for page in self.pages:
                page.dirty = False
        if self.revision == "dat_new":
            self.dirty_pages = 0

    def essa(self, orc: int, gfn: int) -> None:
        """Of pages that are not mapped: 1 stable, 2 unused, 7 stable and no-DAT."""
        self.created_vcpus = True
        if not self.use_cmma:
            return
        if not self.migration:
            self.uses_cmm = True
        if self.slot_of(gfn) is None:
            return
        page = self.pages[gfn]
        page.usage = 1 if orc == 2 else 0
        page.nodat = orc == 7 or (page.nodat and orc == 2)
        if self.migration or self.dat:
            self._mark(gfn)

    def _mark(self, gfn: int, count: bool | None = None) -> None:
        page = self.pages[gfn]
        if not page.dirty and (self.migration if count is None else count):
            self.dirty_pages += 1
        page.dirty = True

    def mark_dirty(self, gfns: list[int]) -> None:
        if not self.use_cmma:
            raise KernelError(errno.ENXIO)
        if not self.dat and not self.migration:
            raise KernelError(errno.EINVAL)
        for gfn in gfns:
            self._mark(gfn, count=True)

    # ---- the log

    def get(self, start: int, count: int, flags: int) -> tuple[int, int, int, list[int]]:
        """kvm_s390_get_cmma_bits: start_gfn, count, remaining, values."""
        if not self.use_cmma:
            raise KernelError(errno.ENXIO)
        if flags & ~PEEK:
            raise KernelError(errno.EINVAL)
        if not flags & PEEK and not self.migration:
            raise KernelError(errno.EINVAL)
        room = min(count, SIZE_MAX)
        if not room or not self.uses_cmm:
            return 0, 0, 0, []
        if not flags & PEEK and not self.dirty_pages:
            return 0, 0, 0, []
        if flags & PEEK:
            values = (
                self._peek_v70(start, room) if self.revision == "dat" else (self._peek(start, room))
            )
        elif self.dat:
            start, values = self._get_dat(start, room)
        else:
            start, values = self._get_pgtable(start, room)
        remaining = self.dirty_pages % U64 if self.migration else 0
        return start, len(values), remaining, values

    def _peek(self, start: int, room: int) -> list[int]:
        """kvm_s390_peek_cmma; dat_peek_cmma with a walk that stops at a hole."""
        values: list[int] = []
        gfn = start
        while len(values) < room:
            if self.slot_of(gfn) is None:
                break
            values.append(self.pages[gfn].value)
            gfn += 1
        if not values:
            raise KernelError(errno.EFAULT)
        return values

    # dat_crste_walk_range and dat_pte_walk_range with __dat_peek_cmma_*, v7.0

    def _peek_v70(self, start: int, room: int) -> list[int]:
        seen: dict[int, int] = {}
        shift = 8
        while self.limit > 1 << (shift + 11):
            shift += 11
        if start < 1 << (shift + 11):
            self._walk(shift, start, min(start + room, 1 << (shift + 11)), seen)
        if not seen:
            # state.end is 0: the count wraps, and the copy fails
            raise KernelError(errno.EFAULT)
        return [seen.get(gfn, 0) for gfn in range(start, max(seen) + 1)]

    def _walk(self, shift: int, start: int, end: int, seen: dict[int, int]) -> int:
        rc = 0
        size = 1 << shift
        entry = start & ~(size - 1)
        while entry < end:
            following = entry + size
            if not any(s.base < following and entry < s.end for s in self.slots.values()):
                return -errno.EFAULT
            rc = 0  # __dat_peek_cmma_crste
            low, high = max(start, entry), min(end, following)
            if shift > 8:
                rc = self._walk(shift - 11, low, high, seen)
            else:
                for gfn in range(low, high):
                    if self.slot_of(gfn) is None:
                        rc = -errno.EFAULT
                        break
                    seen[gfn] = self.pages[gfn].value
            entry = following
        return rc

    # pgtable

    def _next_dirty(self, gfn: int) -> int:
        """kvm_s390_next_dirty_cmma."""
        slots = self.ordered()
        at = next((i for i, slot in enumerate(slots) if slot.end > gfn), 0)
        offset = max(gfn - slots[at].base, 0) if slots[at].end > gfn else 0
        offset = self._find_bit(slots[at], offset)
        while offset >= slots[at].pages and at + 1 < len(slots):
            at += 1
            offset = self._find_bit(slots[at], 0)
        return slots[at].base + offset

    def _find_bit(self, slot: Slot, offset: int) -> int:
        while offset < slot.pages and not self.pages[slot.base + offset].dirty:
            offset += 1
        return offset

    def _get_pgtable(self, start: int, room: int) -> tuple[int, list[int]]:
        """kvm_s390_get_cmma."""
        if not self.slots:
            return start, [0] * room  # the buffer is not written to
        cur = self._next_dirty(start)
        values: list[int] = []
        first = cur
        if self.slot_of(cur) is None:
            return first, values
        following = self._next_dirty(cur + 1)
        mem_end = self.ordered()[-1].end
        while len(values) < room:
            if self.slot_of(cur) is None:
                break
            if self.pages[cur].dirty:
                self.pages[cur].dirty = False
                self.dirty_pages -= 1
            values.append(self.pages[cur].value)
            if following > cur + DISTANCE:
                break
            if cur == following:
                following = self._next_dirty(cur + 1)
            if following >= mem_end or (following - first) % U64 >= room:
                break
            cur += 1
        return first, values

    # dat

    def _get_dat(self, start: int, room: int) -> tuple[int, list[int]]:
        """dat_get_cmma."""
        state: dict[str, int] = {}
        values: dict[int, int] = {}
        self._get_walk(range(start, self.limit), room, state, values)
        if self.revision == "dat_new" and start and not state:
            self._get_walk(range(min(start, self.limit)), room, state, values)
        if not state:
            return start, []
        return state["start"], [values.get(g, 0) for g in range(state["start"], state["end"])]

    def _get_walk(
        self, gfns: range, room: int, state: dict[str, int], values: dict[int, int]
    ) -> None:
        """__dat_get_cmma_pte of each page that is no hole."""
        for gfn in gfns:
            if self.slot_of(gfn) is None:
                continue
            # C's unsigned: a page that was just put in has gfn == end - 1
            if state and ((gfn - state["end"]) % U64 > DISTANCE or gfn - state["start"] >= room):
                return
            page = self.pages[gfn]
            if page.dirty:
                state.setdefault("start", gfn)
                page.dirty = False
                self.dirty_pages -= 1
                values[gfn] = page.value
                state["end"] = gfn + 1

    def set(self, start: int, values: list[int], mask: int, flags: int) -> None:
        """kvm_s390_set_cmma_bits."""
        if not self.use_cmma:
            raise KernelError(errno.ENXIO)
        if flags or len(values) > SIZE_MAX:
            raise KernelError(errno.EINVAL)
        if not values:
            return
        self.uses_cmm = True
        if self.dat:
            for table in range(start & ~255, start + len(values), 256):
                if self.slot_of(table) is None:
                    raise KernelError(errno.EFAULT)
        keep = 0 if self.dat else ~mask
        for i, value in enumerate(values):
            if self.slot_of(start + i) is None:
                if self.dat:
                    continue
                raise KernelError(errno.EFAULT)
            page = self.pages[start + i]
            old = page.usage << 24 | page.nodat << 30
            new = (old & keep) | (value << 24 & mask)
            page.usage, page.nodat = new >> 24 & 3, bool(new >> 30 & 1)

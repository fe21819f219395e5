# SPDX-License-Identifier: MIT
"""Host memory as Linux 6.18 without MGLRU reclaims it: docs/reclaim.md, rule by rule.

mm/vmscan.c, mm/workingset.c, mm/swap.c, mm/swap_state.c, mm/swapfile.c, mm/memcontrol.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from reference.errors import OutOfFrames, OutOfSwap
from reference.host import Frame, Host, Window
from reference.words import PTE_DIRTY, PTE_NONE, is_swap, swap_entry, swap_offset, with_usage
from reference.zvm import USAGE

CLUSTER = 256  # SWAPFILE_CLUSTER without THP_SWAP
RETRIES = 17
AGES = 1 << 30
ANON, FILE = 0, 1
INACTIVE = ("inactive", "lazyfree")
ACTIVE = ("active", "lazyfree_active")


@dataclass
class Cluster:
    count: int = 0
    flag: str = "none"


@dataclass
class Balance:
    """struct scan_control, as far as it is used."""

    goal: int
    priority: int
    kswapd: bool = False
    forced: bool = False  # force_deactivate
    no_trim: bool = False  # no_cache_trim_mode
    trim_failed: bool = False
    skipped: bool = False  # skipped_deactivate
    scanned: int = 0
    reclaimed: int = 0


class LruHost(Host):
    def __init__(
        self,
        frames: int,
        swap_slots: int,
        low: int | None = None,
        high: int | None = None,
        batch: int | None = None,
        rearm: str = "referenced",
        reclaim: str = "lru",
        swappiness: int = 60,
        page_cluster: int = 3,
        rotational: bool = True,
        write_delay: int = 200,
        fresh_stats: bool = True,
    ) -> None:
        assert reclaim == "lru"
        batch = 32 if batch is None else batch
        low = 0 if low is None else low
        super().__init__(
            frames,
            swap_slots,
            low,
            min(low + batch, frames) if high is None else high,
            batch,
            rearm,
        )
        self.swappiness, self.page_cluster, self.rotational = swappiness, page_cluster, rotational
        self.write_delay = write_delay
        self.clock = 0
        self.writes: list[tuple[int, Frame, int]] = []  # in order: frame, what it held, when done
        self.fresh_stats = fresh_stats
        self.seen = dict.fromkeys(self.lists, 0)
        self.seen_activations = 0
        self.cost = [0, 0]  # of anonymous and lazyfree pages
        self.nonresident_age = 0  # nonresident_age
        self.activated_before = 0
        self.activations = 0
        self.shadows: dict[int, tuple[int, bool]] = {}
        self.window = Window()
        self.read = 0  # pages read by the last fault
        self.next: int | None = None
        self.clusters = [Cluster() for _ in range((swap_slots + CLUSTER) // CLUSTER)]
        self.cluster_lists: dict[str, list[int]] = {
            n: [] for n in ("free", "nonfull", "frag", "full")
        }
        for number, cluster in enumerate(self.clusters):
            cluster.count = CLUSTER - len(self._offsets(number))
            self._file(number, "nonfull" if cluster.count else "free")
        self.free_slots = list(range(swap_slots))  # a set, as far as it is used

    # ---- slots -------------------------------------------------------------------------

    def _offsets(self, number: int) -> range:
        """Of a cluster, those that are slots: offset 0 is the header."""
        return range(max(number * CLUSTER, 1), min((number + 1) * CLUSTER, len(self.slots) + 1))

    def _file(self, number: int, flag: str) -> None:
        """move_cluster: to the tail of a list, if it is not on it."""
        cluster = self.clusters[number]
        if cluster.flag == flag:
            return
        if cluster.flag != "none":
            self.cluster_lists[cluster.flag].remove(number)
        cluster.flag = flag
        self.cluster_lists[flag].append(number)

    def _free_slot(self, number: int) -> None:
        where = (number + 1) // CLUSTER
        cluster = self.clusters[where]
        cluster.count -= 1
        self.shadows.pop(number, None)
        self.free_slots.append(number)
        self._file(where, "nonfull" if cluster.count else "free")

    def get_slot(self) -> int:
        if not self.free_slots:
            raise OutOfSwap
        offset = self._alloc_offset()
        assert offset is not None
        self.free_slots.remove(offset - 1)
        self.swap_peak = max(self.swap_peak, self.slots_in_use())
        return offset - 1

    def _alloc_offset(self) -> int | None:
        if self.next is not None:
            number = self.next // CLUSTER
            start = self.next
            if not self.clusters[number].count:
                start = number * CLUSTER
            found = self._scan_cluster(number, start)
            if found is not None:
                return found
        while self.cluster_lists["nonfull"]:
            found = self._scan_first("nonfull")
            if found is not None:
                return found
        for name in ("free", "frag"):
            if name == "frag" and self.swap_nearly_full():
                self._reclaim_full_cluster()
            if self.cluster_lists[name]:
                found = self._scan_first(name)
                if found is not None:
                    return found
        return None

    def _scan_first(self, name: str) -> int | None:
        number = self.cluster_lists[name].pop(0)
        self.clusters[number].flag = "none"
        return self._scan_cluster(number, number * CLUSTER)

    def _scan_cluster(self, number: int, start: int) -> int | None:
        cluster = self.clusters[number]
        found, self.next = None, None
        offset, end = start, (number + 1) * CLUSTER
        while cluster.count < CLUSTER and offset < end and found is None:
            if offset in self._offsets(number) and self._can_take(offset - 1):
                if not cluster.count:
                    offset = number * CLUSTER  # the last one left the swap cache just now
                found = offset
                cluster.count += 1
                if cluster.count < CLUSTER and offset + 1 < end:
                    self.next = offset + 1
            offset += 1
        if not cluster.count:
            self._file(number, "free")
        else:
            self._file(number, "full" if cluster.count == CLUSTER else "frag")
        return found

    def _can_take(self, number: int) -> bool:
        slot = self.slots[number]
        if slot.is_free():
            return True
        return slot.count == 0 and self.swap_nearly_full() and self._take_from_cache(number)

    def _take_from_cache(self, number: int) -> bool:
        """__try_to_reclaim_swap of a slot that only the swap cache holds."""
        index = self.slots[number].frame
        assert index is not None
        frame = self.frames[index]
        if frame.locked or frame.writeback:
            return False
        if frame.guest is None:
            self.give_back_frame(index)
            return True
        self.leave_swap_cache(index)
        frame.dirty = True
        return True

    def _reclaim_full_cluster(self) -> None:
        if not self.cluster_lists["full"]:
            return
        number = self.cluster_lists["full"].pop(0)
        self.clusters[number].flag = "none"
        for offset in self._offsets(number):
            slot = self.slots[offset - 1]
            if slot.count == 0 and slot.frame is not None:
                self._take_from_cache(offset - 1)
        if self.clusters[number].flag == "none":
            self._file(number, "full")

    def leave_swap_cache(self, index: int) -> None:
        frame = self.frames[index]
        if frame.slot is None:
            return
        slot = self.slots[frame.slot]
        slot.frame = None
        if slot.is_free():
            self._free_slot(frame.slot)
        frame.slot = None

    def give_up_use(self, number: int) -> bool:
        slot = self.slots[number]
        slot.count -= 1
        if slot.count > 0:
            return False
        if slot.frame is None:
            self._free_slot(number)
            return True
        if self.frames[slot.frame].guest is None:  # TTRS_UNMAPPED
            if self.frames[slot.frame].writeback:
                return False
            self.give_back_frame(slot.frame)
            return True
        return self.swap_nearly_full() and self._take_from_cache(number)

    def give_back_frame(self, index: int) -> None:
        frame = self.frames[index]
        self.leave_swap_cache(index)
        if frame.guest is not None:
            self.guests[frame.guest].frame[frame.gfn] = None
        self.unlink(index)
        self.frames[index] = Frame()
        self.free_frames.append(index)

    # ---- faults ------------------------------------------------------------------------

    def take_frame(self, guest: int | None, gfn: int | None) -> int:
        self._step()
        if self.low and len(self.free_frames) <= self.low:
            self._kswapd()
        for _ in range(RETRIES):
            if self.free_frames:
                break
            self._direct(self.batch)
            if not self.free_frames:
                self._finish()
        if not self.free_frames:
            raise OutOfFrames
        index = self.free_frames.pop()
        self.frames[index] = Frame(guest=guest, gfn=gfn)
        self.frames_peak = max(self.frames_peak, self.frames_in_use())
        return index

    def get_frame(self, guest: int, gfn: int) -> int:
        index = self.take_frame(guest, gfn)
        self.to_head(index, "inactive")
        return index

    def swap_in(self, guest: int, gfn: int, number: int, store: bool) -> int:
        slot = self.slots[number]
        self.read = 0
        if slot.count > 1 or (slot.frame is not None and self.frames[slot.frame].guest is not None):
            return self._copy_in(guest, gfn, number)
        window = self._window(guest)
        if slot.frame is not None:  # swap_update_readahead
            hit = self.frames[slot.frame].ahead
            self.frames[slot.frame].ahead = False
            window.hits += hit
            if not self.rotational:
                window.hits = min(window.hits, 63)
                window.before = gfn
            self.count["readahead_hits"] += hit
        else:
            self._read_ahead(guest, gfn, number)
        index = slot.frame
        assert index is not None
        frame = self.frames[index]
        frame.guest, frame.gfn = guest, gfn
        slot.count -= 1
        if (store or self.swap_nearly_full()) and not frame.writeback:
            self.leave_swap_cache(index)
            frame.dirty = True
        return index

    def _window(self, guest: int) -> Window:
        return self.window if self.rotational else self.guests[guest].window

    def _copy_in(self, guest: int, gfn: int, number: int) -> int:
        """A slot that several use: each gets a copy, as by "simple"."""
        index = self.take_frame(guest, gfn)
        self.to_head(index, "inactive")
        self.frames[index].tag = self.slots[number].tag
        self.frames[index].dirty = True
        self.give_up_use(number)
        self.count["swap_ins"] += 1
        self.read = 1
        return index

    def _read_ahead(self, guest: int, gfn: int, number: int) -> None:
        locked: list[int] = []
        for other in self._around(guest, gfn, number):
            slot = self.slots[other]
            if slot.count == 0 or slot.frame is not None:
                continue
            try:
                locked.append(self._read(other))
            except OutOfFrames:
                continue
            if other != number:
                self.count["readaheads"] += 1
                self.frames[locked[-1]].ahead = True
        for index in locked:
            self.frames[index].locked = False
        if self.slots[number].frame is None:
            index = self._read(number)
            self.frames[index].locked = False

    def _around(self, guest: int, gfn: int, number: int) -> list[int]:
        window, most = self._window(guest), 1 << self.page_cluster
        if most == 1:
            return []
        if not self.rotational:
            return self._around_gfn(window, guest, gfn, most)
        pages = window.pages(number + 1, most)
        if not window.hits:
            window.before = number + 1
        window.hits, window.last = 0, pages
        if pages == 1:
            return []
        start = (number + 1) // pages * pages
        return [o - 1 for o in range(max(start, 1), min(start + pages, len(self.slots) + 1))]

    def _around_gfn(self, window: Window, guest: int, gfn: int, most: int) -> list[int]:
        before, pages = window.before, window.pages(gfn, most)
        window.before, window.hits, window.last = gfn, 0, pages
        if pages == 1:
            return []
        if gfn == before + 1:
            left = gfn
        elif gfn == before - 1:
            left = gfn - pages + 1
        else:
            left = gfn - (pages - 1) // 2
        table = gfn // CLUSTER * CLUSTER  # a page table of the host
        mm = self.guests[guest]
        found = []
        for other in range(max(left, 0, table), min(left + pages, len(mm.pte), table + CLUSTER)):
            if is_swap(mm.pte[other]) and not mm.foreign[other]:
                found.append(swap_offset(mm.pte[other]))
        return found

    def _read(self, number: int) -> int:
        index = self.take_frame(None, None)
        frame, slot = self.frames[index], self.slots[number]
        frame.tag, frame.slot, slot.frame = slot.tag, number, index
        frame.locked = True
        self.to_head(index, "active" if self._refault(number, frame) else "inactive")
        self.count["swap_ins"] += 1
        self.read += 1
        return index

    # ---- workingset.c ------------------------------------------------------------------

    def _refault(self, number: int, frame: Frame) -> bool:
        """workingset_refault: is the page active from the start?"""
        if number not in self.shadows:
            return False
        age, workingset = self.shadows.pop(number)
        self.count["refaults"] += 1
        size = self.size("lazyfree") + self.size("lazyfree_active")
        if self.free_slots:
            size += self.size("active")
        if (self.nonresident_age - age) % AGES > size:
            return False
        self.nonresident_age = (self.nonresident_age + 1) % AGES
        self.activations += 1
        self.count["refaults_activated"] += 1
        if workingset:
            frame.workingset = True
            self._note_cost(ANON, 1, 0)
        return True

    def _evicted(self, index: int) -> None:
        frame = self.frames[index]
        assert frame.slot is not None
        self.shadows[frame.slot] = (self.nonresident_age, frame.workingset)
        self.nonresident_age = (self.nonresident_age + 1) % AGES

    def _note_cost(self, which: int, io: int, rotated: int) -> None:
        cost = io * self.batch + rotated
        if not cost:
            return
        self.cost[which] += cost
        if sum(self.cost) > sum(map(self.size, self.lists)) // 4:
            self.cost = [each // 2 for each in self.cost]

    # ---- what reclaim sees of the lists -------------------------------------------------

    def seen_now(self) -> tuple[dict[str, int], int]:
        if self.fresh_stats:
            return {name: len(pages) for name, pages in self.lists.items()}, self.activations
        return self.seen, self.seen_activations

    def size(self, name: str) -> int:
        return self.seen_now()[0][name]

    def flush_stats(self) -> None:
        self.seen = {name: len(pages) for name, pages in self.lists.items()}
        self.seen_activations = self.activations

    # ---- vmscan.c ----------------------------------------------------------------------

    def reclaim(self, n: int) -> int:
        """Try to free n frames; how many were freed (more than n at times)."""
        before, idle, n = len(self.free_frames), 0, min(n, len(self.frames))
        while len(self.free_frames) - before < n and idle < RETRIES:
            free = len(self.free_frames)
            left = n - (free - before)
            self._direct(max(min(left // 4, 1 << 16), self.batch))
            idle = 0 if len(self.free_frames) > free else idle + 1
            if idle:
                self._finish()
        return len(self.free_frames) - before

    def _direct(self, goal: int) -> None:
        """do_try_to_free_pages."""
        self.count["reclaims"] += 1
        sc = Balance(goal, 12)
        while True:
            for sc.priority in range(12, -1, -1):
                self._shrink_node(sc)
                if sc.reclaimed >= goal:
                    break
            self.activated_before = self.seen_now()[1]
            if sc.reclaimed or not sc.skipped or sc.forced:
                return
            sc.forced, sc.skipped = True, False

    def _kswapd(self) -> None:
        """balance_pgdat."""
        self.count["reclaims"] += 1
        sc = Balance(max(self.high, self.batch), 12, kswapd=True)
        while True:
            sc.priority = 12
            while sc.priority >= 1 and len(self.free_frames) < self.high:
                if self.slots and self._inactive_is_low(ANON):
                    self._shrink_active(ANON, self.batch)
                before, sc.scanned = sc.reclaimed, 0
                self._shrink_node(sc)
                if sc.scanned < sc.goal or sc.reclaimed == before:
                    sc.priority -= 1
            self.activated_before = self.seen_now()[1]
            again = not sc.reclaimed and sc.priority < 1 and not sc.no_trim and sc.trim_failed
            if not again:
                return
            sc.no_trim = True

    def _inactive_is_low(self, which: int) -> bool:
        inactive, active = self.size(INACTIVE[which]), self.size(ACTIVE[which])
        return inactive * self.ratio((inactive + active) >> 18) < active

    def _shrink_node(self, sc: Balance) -> None:
        deactivate = [
            sc.forced or self.seen_now()[1] != self.activated_before or self._inactive_is_low(ANON),
            sc.forced or self._inactive_is_low(FILE),
        ]
        trim = self.size("lazyfree") >> sc.priority > 0 and not deactivate[FILE] and not sc.no_trim
        before = sc.reclaimed
        scan = self._scan_count(sc, deactivate, trim)
        sc.reclaimed += self._shrink_lists(sc, scan, deactivate)
        if self.slots and self._inactive_is_low(ANON):
            self._shrink_active(ANON, self.batch)
        if sc.reclaimed == before and trim:
            sc.trim_failed = True

    def _is_tiny(self, sc: Balance, deactivate: list[bool]) -> bool:
        """file_is_tiny: of machines, not of memory cgroups."""
        file = len(self.lists["lazyfree"]) + len(self.lists["lazyfree_active"])
        return (
            self.low > 0
            and file + len(self.free_frames) <= self.high
            and not deactivate[ANON]
            and len(self.lists["inactive"]) >> sc.priority > 0
        )

    def _scan_count(self, sc: Balance, deactivate: list[bool], trim: bool) -> list[int]:
        """get_scan_count: inactive and active, of anonymous and of lazyfree pages."""
        zvm = any(guest.flavour == "zvm" for guest in self.guests.values())
        share = [1, 1]
        whole = 1
        if not (self.free_slots or zvm) or (self.low == 0 and self.swappiness == 0):
            share = [0, 1]
        elif sc.priority == 0 and self.swappiness:
            pass
        elif self._is_tiny(sc, deactivate):
            share = [1, 0]
        elif trim:
            share = [0, 1]
        else:
            total = sum(self.cost)
            anon, file = total + self.cost[ANON], total + self.cost[FILE]
            total = anon + file
            share = [
                self.swappiness * (total + 1) // (anon + 1),
                (200 - self.swappiness) * (total + 1) // (file + 1),
            ]
            whole = sum(share)
        names = ("inactive", "active", "lazyfree", "lazyfree_active")
        sizes = [len(self.lists[name]) >> sc.priority for name in names]
        return [size * share[i // 2] // whole for i, size in enumerate(sizes)]

    def _shrink_lists(self, sc: Balance, nr: list[int], deactivate: list[bool]) -> int:
        """shrink_lruvec."""
        targets, reclaimed = list(nr), 0
        at_once = self.low > 0 and not sc.kswapd and sc.priority == 12  # proportional_reclaim
        while nr[0] or nr[2] or nr[3]:
            for i in range(4):
                if not nr[i]:
                    continue
                some = min(nr[i], self.batch)
                nr[i] -= some
                if i % 2 == 0:
                    reclaimed += self._shrink_inactive(sc, i // 2, some)
                elif deactivate[i // 2]:
                    self._shrink_active(i // 2, some)
                else:
                    sc.skipped = True
            if reclaimed < sc.goal or at_once:
                continue
            anon, file = nr[0] + nr[1], nr[2] + nr[3]
            if not anon or not file:
                break
            small, large = (0, 2) if file > anon else (2, 0)
            left = min(anon, file) * 100 // (targets[small] + targets[small + 1] + 1)
            nr[small] = nr[small + 1] = 0
            for i in (large, large + 1):
                done = targets[i] - nr[i]
                nr[i] = max(targets[i] * (100 - left) // 100 - done, 0)
        return reclaimed

    def _shrink_active(self, which: int, nr: int) -> None:
        for _ in range(min(nr, len(self.lists[ACTIVE[which]]))):
            index = self.lists[ACTIVE[which]][-1]
            frame = self.frames[index]
            if frame.guest is not None and self.guests[frame.guest].is_young(frame.gfn):
                self.age(index)
            frame.workingset = True
            self.to_head(index, INACTIVE[which])

    def _shrink_inactive(self, sc: Balance, which: int, nr: int) -> int:
        pages = self.lists[INACTIVE[which]]
        taken = min(nr, len(pages))
        if not taken:
            return 0
        results = []
        for _ in range(taken):
            if not pages:
                break  # swap ran short, and a page that was only in the swap cache went
            self._step()
            result = self._shrink_page(pages[-1])
            sc.scanned += result != "locked"
            results.append(result)
        self.count["scanned"] += taken
        self.nonresident_age = (self.nonresident_age + results.count("activated")) % AGES
        reclaimed = results.count("reclaimed")
        if not self.write_delay:
            reclaimed += results.count("written")
        self._note_cost(
            which, results.count("written") + results.count("dropped"), taken - reclaimed
        )
        return reclaimed

    def _activate(self, index: int) -> str:
        frame = self.frames[index]
        if (
            frame.slot is not None
            and self.swap_nearly_full()
            and not frame.writeback
            and self.slots[frame.slot].count == 0
        ):
            self.leave_swap_cache(index)
            frame.dirty = True
        self.to_head(index, ACTIVE[frame.list == "lazyfree"])
        return "activated"

    def _keep(self, index: int, result: str) -> str:
        self.to_head(index, self.frames[index].list)
        return result

    def _shrink_page(self, index: int) -> str:
        """shrink_folio_list for one page."""
        frame = self.frames[index]
        guest = None if frame.guest is None else self.guests[frame.guest]
        if frame.locked:
            return self._keep(index, "locked")
        if frame.writing and not self.low:
            self._wait(frame)
        if frame.writeback:
            return self._activate(index)
        was_referenced, frame.referenced = frame.referenced, False
        if guest is None:
            self._evicted(index)
            self.count["clean_evictions"] += frame.ahead
            self.give_back_frame(index)
            return "reclaimed"
        if guest.is_young(frame.gfn):
            self.age(index)
            frame.referenced = True
            return self._activate(index) if was_referenced else self._keep(index, "kept")
        if frame.list != "lazyfree":
            if frame.pinned:
                return self._keep(index, "kept") if frame.slot is None else self._activate(index)
            if self.needs_slot(frame) and not self.free_slots:
                return self._activate(index)
        before = self.count["swap_outs"], guest.count["unused_discards"]
        self.drop_or_write(index)
        if self.count["swap_outs"] != before[0]:
            return "written"
        if self.frames[index] is frame:
            return "activated"  # lazyfree, dirty or pinned
        if guest.count["unused_discards"] != before[1] and guest.flavour != "zvm":
            return "dropped"
        return "reclaimed"

    def drop_or_write(self, index: int) -> None:
        frame = self.frames[index]
        if frame.is_lazyfree():
            self._drop_lazyfree(index)
            return
        guest, gfn = self.guests[frame.guest], frame.gfn
        pte = guest.pte[gfn]
        dirty = frame.dirty or bool(pte & PTE_DIRTY)
        after = guest.zvm_evicted(gfn) if guest.flavour == "zvm" else ""
        guest.xchg_pte(gfn, PTE_NONE)
        if after:  # z/VM is no Linux: as on a simple host
            guest.pgste[gfn] = with_usage(guest.pgste[gfn], USAGE[after[0]])
            if after[1] == "z":
                self.give_back_frame(index)
                self._count_both(guest, "unused_discards" if after == "Uz" else "volatile_discards")
                return
        if frame.slot is None:
            self._add_to_swap(index)
            dirty = True
        if guest.drops_unused(gfn, pte):
            self.give_back_frame(index)
            self._count_both(guest, "unused_discards")
            return
        self._write(index, dirty)

    def _add_to_swap(self, index: int) -> None:
        frame = self.frames[index]
        frame.slot = self.get_slot()
        self.slots[frame.slot].frame = index
        frame.dirty = True

    def _write(self, index: int, dirty: bool) -> None:
        frame = self.frames[index]
        guest, gfn = self.guests[frame.guest], frame.gfn
        assert frame.slot is not None
        slot = self.slots[frame.slot]
        guest.set_pte(gfn, swap_entry(frame.slot))
        slot.count += 1
        if dirty:
            slot.tag = frame.tag
            self._count_both(guest, "swap_outs")
            guest.was_written(gfn)
            if self.write_delay:
                self._begin(index)
                return
        else:
            self.count["clean_evictions"] += 1
        self._evicted(index)
        self.give_back_frame(index)

    # ---- pages that are being written ---------------------------------------------------

    def _begin(self, index: int) -> None:
        frame = self.frames[index]
        self.guests[frame.guest].frame[frame.gfn] = None
        frame.guest, frame.gfn, frame.dirty = None, None, False
        frame.writeback = frame.writing = frame.ahead = True
        self.to_head(index, "inactive")
        self.writes.append((index, frame, self.clock + self.write_delay))

    def _end(self) -> None:
        """folio_end_writeback of the oldest."""
        index, frame, _ = self.writes.pop(0)
        if self.frames[index] is not frame:
            return  # it was taken from its page meanwhile
        frame.writing = frame.writeback = False
        if frame.ahead and frame.list == "inactive" and not frame.locked and not frame.dirty:
            self.unlink(index)
            self.lists["inactive"].append(index)
        frame.ahead = False

    def _wait(self, frame: Frame) -> None:
        while frame.writing:
            self._end()

    def _finish(self) -> None:
        """reclaim_throttle: wait for what is being written."""
        while self.writes:
            self._end()

    def _step(self) -> None:
        self.clock += 1
        while self.writes and self.writes[0][2] <= self.clock:
            self._end()

    def page_out(self, index: int) -> bool:
        """MADV_PAGEOUT of one page with a frame: whether it lost it."""
        frame = self.frames[index]
        guest, gfn = self.guests[frame.guest], frame.gfn
        if self.is_kept(frame) or frame.locked or frame.writeback:
            return False
        if self.needs_slot(frame) and not self.free_slots:
            raise OutOfSwap
        if guest.is_young(gfn):
            self.age(index)
        frame.referenced = False
        self._step()
        self.drop_or_write(index)
        return guest.frame[gfn] is None

    # ---- lazyfree pages ------------------------------------------------------------------

    def _drop_lazyfree(self, index: int) -> None:
        frame = self.frames[index]
        guest, gfn = self.guests[frame.guest], frame.gfn
        pte = guest.pte[gfn]
        dirty = frame.dirty or bool(pte & PTE_DIRTY)
        guest.xchg_pte(gfn, PTE_NONE)
        if not dirty and not frame.pinned:
            self.give_back_frame(index)
            self._count_both(guest, "lazyfree_discards")
            return
        frame.dirty = dirty
        guest.set_pte(gfn, pte)
        if dirty or self.rearm == "referenced":
            self.to_head(index, "active")
            self.count["lazyfree_rearmed"] += 1
        else:
            self.to_head(index, "lazyfree_active")

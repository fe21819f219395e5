# SPDX-License-Identifier: MIT
"""Host memory as Linux 6.12 with MGLRU reclaims it: docs/reclaim.md, section "mglru".

mm/vmscan.c (CONFIG_LRU_GEN), include/linux/mm_inline.h, mm/workingset.c.  What the swap cache,
swap slots, readahead and writes do is as in lru.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reference.host import LAZYFREE, LISTS, Frame
from reference.lru import ANON, FILE, LruHost
from reference.words import PTE_DIRTY

MIN_GENS, GENS, TIERS = 2, 4, 4
BATCH = 64  # MIN_LRU_BATCH: BITS_PER_LONG
MOST = 64 * BATCH  # MAX_LRU_BATCH
PRIORITY = 12  # DEF_PRIORITY
TABLE = 256  # pages of a page table of the host
ISOLATED, KEPT = -1, -2  # places that are no generation
SEQS = 1 << 30


def tier_of(refs: int) -> int:
    """lru_tier_from_refs: order_base_2(refs + 1)."""
    return refs.bit_length()


@dataclass
class Control:
    """struct scan_control, as far as it is used."""

    goal: int
    kswapd: bool = False
    root: bool = False  # root_reclaim: no memory cgroup
    walk: bool = False  # current->reclaim_state->mm_walk is there
    priority: int = PRIORITY
    scanned: int = 0
    reclaimed: int = 0


@dataclass
class Tables:
    """What walks of page tables know of an address space: Bloom filters, without false hits."""

    guest: Any
    walked: bool = False
    added: dict[int, int] = None  # type: ignore[assignment]  # table -> filter's sequence number

    def __post_init__(self) -> None:
        self.added = {}


class MglruHost(LruHost):
    def __init__(
        self,
        frames: int,
        swap_slots: int,
        low: int | None = None,
        high: int | None = None,
        batch: int | None = None,
        rearm: str = "referenced",
        reclaim: str = "mglru",
        mm_walk: bool = True,
        **rest: Any,
    ) -> None:
        assert reclaim == "mglru"
        self.max_seq, self.min_seq = MIN_GENS + 1, [0, 0]
        self.folios: list[list[list[int]]] = [[[], []] for _ in range(GENS)]  # heads first
        self.isolated: list[int] = []  # in order
        self.kept: list[int] = []
        self.mm_walk = mm_walk
        self.tables: dict[int, Tables] = {}
        self.control: Control | None = None  # of the reclaim that goes on
        self.refaulted = [[0] * TIERS, [0] * TIERS]
        self.evicted = [[0] * TIERS, [0] * TIERS]
        self.protected = [[0] * (TIERS - 1), [0] * (TIERS - 1)]
        self.avg_refaulted = [[0] * TIERS, [0] * TIERS]
        self.avg_total = [[0] * TIERS, [0] * TIERS]
        super().__init__(frames, swap_slots, low, high, batch, rearm, **rest)

    # ---- what others see -----------------------------------------------------------------

    @property
    def lists(self) -> dict[str, list[int]]:
        """By lru_gen_is_active, youngest first."""
        found: dict[str, list[int]] = {name: [] for name in LISTS}
        for which in (ANON, FILE):
            for seq in range(self.max_seq, self.max_seq - GENS, -1):
                for index in self.folios[seq % GENS][which]:
                    found[self.frames[index].list].append(index)
        return found

    @lists.setter
    def lists(self, value: object) -> None:
        """Host.__init__ makes some; here they follow from generations."""

    def _pages(self) -> list[list[int]]:
        """How many pages of each kind are in each generation (asked often: kept fast)."""
        anon, file = [0] * GENS, [0] * GENS
        for frame in self.frames:
            gen = frame.gen
            if gen is not None:
                (file if frame.list in LAZYFREE else anon)[gen] += 1
        return [anon, file]

    def generations(self) -> dict[str, Any]:
        return {
            "max_seq": self.max_seq,
            "min_seq": tuple(self.min_seq),
            "anon": [list(gen[ANON]) for gen in self.folios],
            "file": [list(gen[FILE]) for gen in self.folios],
            "pages": self._pages(),
            "refaulted": [list(each) for each in self.refaulted],
            "evicted": [list(each) for each in self.evicted],
            "protected": [list(each) for each in self.protected],
            "avg_refaulted": [list(each) for each in self.avg_refaulted],
            "avg_total": [list(each) for each in self.avg_total],
        }

    def _is_active(self, gen: int) -> bool:
        return gen in (self.max_seq % GENS, (self.max_seq - 1) % GENS)

    def _label(self, frame: Frame) -> None:
        assert frame.gen is not None
        active = self._is_active(frame.gen)
        if frame.is_lazyfree():
            frame.list = "lazyfree_active" if active else "lazyfree"
        else:
            frame.list = "active" if active else "inactive"

    # ---- lists ---------------------------------------------------------------------------

    def unlink(self, index: int) -> None:
        frame = self.frames[index]
        if frame.place == ISOLATED:
            self.isolated.remove(index)
        elif frame.place == KEPT:
            self.kept.remove(index)
        else:
            self.folios[frame.place][frame.is_lazyfree()].remove(index)
        frame.gen = None

    def to_head(self, index: int, name: str) -> None:
        """Pages come here by faults, MADV_FREE, writes, and rearmed; lru_gen_add_folio."""
        frame = self.frames[index]
        place = None if frame.list == "free" else frame.place
        if place is not None:
            self.unlink(index)
        frame.list = name
        if place == ISOLATED:
            frame.place = KEPT
            self.kept.append(index)
            return
        which = frame.is_lazyfree()
        if name == "lazyfree":  # lru_lazyfree: neither PG_active nor in the swap cache
            few = self.min_seq[FILE] + MIN_GENS >= self.max_seq
            seq = self.min_seq[FILE] + (0 if few else 1)
        elif frame.ahead and frame.writeback:
            seq = self.max_seq - 1
        else:  # in a fault, or activated
            seq = self.max_seq
        self._add(index, seq, which)

    def _add(self, index: int, seq: int, which: int) -> None:
        frame = self.frames[index]
        frame.gen = frame.place = seq % GENS
        self.folios[frame.gen][which].insert(0, index)
        self._label(frame)

    def _promote(self, frame: Frame, gen: int) -> None:
        """folio_update_gen: the page stays on the list where it is."""
        if frame.gen is None:
            frame.referenced = True
            return
        frame.workingset = False
        frame.gen = gen
        self._label(frame)

    def _inc_gen(self, index: int, which: int) -> int:
        """folio_inc_gen, of a page of the oldest generation."""
        frame = self.frames[index]
        frame.workingset = False
        frame.gen = (self.min_seq[which] + 1) % GENS
        self._label(frame)
        return frame.gen

    def _to_list(self, index: int, gen: int, which: int, head: bool) -> None:
        self.folios[self.frames[index].place][which].remove(index)
        self.frames[index].place = gen
        pages = self.folios[gen][which]
        pages.insert(0 if head else len(pages), index)

    # ---- page tables -----------------------------------------------------------------------

    def _tables(self, number: int) -> Tables:
        guest = self.guests[number]
        if number not in self.tables or self.tables[number].guest is not guest:
            self.tables[number] = Tables(guest)
        return self.tables[number]

    def _clear_young(self, guest: Any, gfn: int, can_swap: bool) -> int | None:
        """The frame of a page that was young, and is not any more."""
        index: int | None = guest.frame[gfn]
        if index is None:
            return None
        frame = self.frames[index]
        if not (frame.is_lazyfree() or can_swap) or not guest.is_young(gfn):
            return None
        dirty = bool(guest.pte[gfn] & PTE_DIRTY)
        self.age(index)
        if dirty and (frame.is_lazyfree() or frame.slot is not None):
            frame.dirty = True
        return index

    def _walk(self, can_swap: bool) -> None:
        """walk_mm for each address space; walk_pte_range for each page table."""
        for number in self.guests if can_swap else ():  # should_skip_vma
            tables, guest = self._tables(number), self.guests[number]
            for first in range(0, len(guest.pte), TABLE):
                end = min(first + TABLE, len(guest.pte))
                if tables.walked and tables.added.get(first) != self.max_seq:
                    continue
                young = 0
                for gfn in range(first, end):
                    index = self._clear_young(guest, gfn, can_swap)
                    if index is not None:
                        young += 1
                        self._promote(self.frames[index], self.max_seq % GENS)
                if young * 8 >= end - first:  # suitable_to_scan
                    tables.added[first] = self.max_seq + 1
        for number in self.guests:
            self._tables(number).walked = True

    def _look_around(self, index: int) -> bool:
        """lru_gen_look_around: was the page young?"""
        frame = self.frames[index]
        guest, gfn = self.guests[frame.guest], frame.gfn
        if not guest.is_young(gfn):
            return False
        self.age(index)
        table = gfn // TABLE * TABLE
        start, end = table, min(table + TABLE, len(guest.pte))
        if end - start == 1:
            return True
        if end - start > BATCH:
            if gfn - start < BATCH // 2:
                end = start + BATCH
            elif end - gfn < BATCH // 2:
                start = end - BATCH
            else:
                start, end = gfn - BATCH // 2, gfn + BATCH // 2
        young, newest = 1, self.max_seq % GENS
        assert self.control is not None
        for other in range(start, end):
            found = self._clear_young(guest, other, not frame.is_lazyfree())
            if found is None:
                continue
            young += 1
            if self.control.walk or self.frames[found].gen is None:
                self._promote(self.frames[found], newest)
            elif self.frames[found].gen != newest:  # folio_activate
                which = self.frames[found].is_lazyfree()
                self.unlink(found)
                self.frames[found].workingset = False
                self._add(found, self.max_seq, which)
        if young * 8 >= end - start:
            self._tables(frame.guest).added[table] = self.max_seq
        return True

    # ---- refaults ----------------------------------------------------------------------------

    def _evicted(self, index: int) -> None:
        """lru_gen_eviction"""
        frame = self.frames[index]
        assert frame.slot is not None
        refs = int(frame.workingset)
        self.shadows[frame.slot] = (self.min_seq[ANON] % SEQS, refs > 0)
        self.evicted[ANON][tier_of(refs)] += 1

    def _refault(self, number: int, frame: Frame) -> bool:
        """lru_gen_refault, in a fault"""
        if number not in self.shadows:
            return False
        seq, workingset = self.shadows.pop(number)
        self.count["refaults"] += 1
        if seq != self.min_seq[ANON] % SEQS:
            return False
        self.refaulted[ANON][tier_of(int(workingset))] += 1
        self.count["refaults_activated"] += 1
        frame.workingset = True
        return True

    def _carry_over(self, which: int) -> None:
        """reset_ctrl_pos(carryover): the generation ends, its counts go into the averages."""
        for tier in range(TIERS):
            refaulted = self.avg_refaulted[which][tier] + self.refaulted[which][tier]
            total = self.avg_total[which][tier] + self.evicted[which][tier]
            if tier:
                total += self.protected[which][tier - 1]
                self.protected[which][tier - 1] = 0
            self.avg_refaulted[which][tier] = refaulted // 2
            self.avg_total[which][tier] = total // 2
            self.refaulted[which][tier] = self.evicted[which][tier] = 0

    def _position(self, which: int, tier: int) -> tuple[int, int]:
        """read_ctrl_pos: refaulted, total."""
        total = self.avg_total[which][tier] + self.evicted[which][tier]
        if tier:
            total += self.protected[which][tier - 1]
        return self.avg_refaulted[which][tier] + self.refaulted[which][tier], total

    @staticmethod
    def _is_positive(sp: tuple[int, int], sp_gain: int, pv: tuple[int, int], pv_gain: int) -> bool:
        """positive_ctrl_err"""
        return pv[0] < BATCH or pv[0] * (sp[1] + BATCH) * sp_gain <= (sp[0] + 1) * pv[1] * pv_gain

    def _last_tier(self, sp: tuple[int, int], sp_gain: int, which: int, gain: int) -> int:
        """The last tier that is evicted; those above are protected."""
        for tier in range(1, TIERS):
            if not self._is_positive(sp, sp_gain, self._position(which, tier), gain):
                return tier - 1
        return TIERS - 1

    def _tier_idx(self, which: int) -> int:
        """get_tier_idx"""
        return self._last_tier(self._position(which, 0), 1, which, 2)

    def _type_to_scan(self, swappiness: int) -> tuple[int, int]:
        """get_type_to_scan"""
        gain = swappiness, 200 - swappiness
        file = self._is_positive(
            self._position(ANON, 0), gain[ANON], self._position(FILE, 0), gain[FILE]
        )
        which, other = (FILE, ANON) if file else (ANON, FILE)
        return which, self._last_tier(self._position(other, 0), gain[other], which, gain[which])

    # ---- aging -------------------------------------------------------------------------------

    def _nr_gens(self, which: int) -> int:
        return self.max_seq - self.min_seq[which] + 1

    def _inc_min_seq(self, which: int, can_swap: bool) -> None:
        """Pages of a kind that can be evicted move on: never, unless aging is forced (debugfs)."""
        assert not can_swap
        assert which == ANON
        self._carry_over(which)
        self.min_seq[which] += 1

    def _try_to_inc_min_seq(self, can_swap: bool) -> bool:
        seqs = list(self.min_seq)
        types = (ANON, FILE) if can_swap else (FILE,)
        for which in types:
            while seqs[which] + MIN_GENS <= self.max_seq:
                if self.folios[seqs[which] % GENS][which]:
                    break
                seqs[which] += 1
        if can_swap:
            seqs[ANON] = min(seqs)
            seqs[FILE] = max(seqs[ANON], self.min_seq[FILE])
        success = False
        for which in types:
            if seqs[which] != self.min_seq[which]:
                self._carry_over(which)
                self.min_seq[which] = seqs[which]
                success = True
        return success

    def _inc_max_seq(self, sc: Control, can_swap: bool) -> None:
        """try_to_inc_max_seq; it succeeds where nobody else ages."""
        if self.mm_walk:
            sc.walk = True
            self._walk(can_swap)
        for which in (FILE, ANON):
            if self._nr_gens(which) == GENS:
                self._inc_min_seq(which, can_swap)
        self.max_seq += 1
        for frame in self.frames:
            if frame.gen is not None:
                self._label(frame)

    def _should_age(self, can_swap: bool) -> tuple[bool, int]:
        """should_run_aging: and how many pages there are to scan."""
        first = ANON if can_swap else FILE
        if self.min_seq[first] + MIN_GENS > self.max_seq:
            return True, 0
        pages = self._pages()
        young = old = total = 0
        for which in (ANON, FILE) if can_swap else (FILE,):
            for seq in range(self.min_seq[which], self.max_seq + 1):
                size = pages[which][seq % GENS]
                total += size
                if seq == self.max_seq:
                    young += size
                elif seq + MIN_GENS == self.max_seq:
                    old += size
        if self.min_seq[first] + MIN_GENS < self.max_seq:
            return False, total
        return young * MIN_GENS > total or old * (MIN_GENS + 2) < total, total

    # ---- eviction ----------------------------------------------------------------------------

    def _sort(self, index: int, which: int, tier_idx: int) -> bool:
        """sort_folio: is it moved on, rather than isolated?"""
        frame = self.frames[index]
        assert frame.gen is not None
        if frame.gen != self.min_seq[which] % GENS:
            self._to_list(index, frame.gen, which, head=True)
            return True
        refs = int(frame.workingset)
        if tier_of(refs) > tier_idx:
            self._to_list(index, self._inc_gen(index, which), which, head=False)
            self.protected[which][tier_of(refs) - 1] += 1
            return True
        return False

    def _scan(self, which: int, tier_idx: int) -> int:
        """scan_folios"""
        if self._nr_gens(which) == MIN_GENS:
            return 0
        pages = self.folios[self.min_seq[which] % GENS][which]
        scanned, remaining = 0, MOST
        while pages:
            index = pages[-1]
            scanned += 1
            if not self._sort(index, which, tier_idx):
                self.unlink(index)
                frame = self.frames[index]
                frame.place = ISOLATED
                frame.workingset = frame.referenced = False
                frame.list = "lazyfree" if which == FILE else "inactive"
                self.isolated.append(index)
            remaining -= 1
            if not remaining or len(self.isolated) >= BATCH:
                break
        self.count["scanned"] += len(self.isolated)
        return scanned if self.isolated or not remaining else 0

    def _isolate(self, swappiness: int) -> int:
        """isolate_folios"""
        tier = -1
        if not swappiness:
            which = FILE
        elif self.min_seq[ANON] < self.min_seq[FILE]:
            which = ANON
        elif swappiness == 1:
            which = FILE
        elif swappiness == 200:
            which = ANON
        else:
            which, tier = self._type_to_scan(swappiness)
        scanned = 0
        for _ in range(2 if swappiness else 1):
            scanned = self._scan(which, self._tier_idx(which) if tier < 0 else tier)
            if scanned:
                break
            which, tier = 1 - which, -1
        return scanned

    def _evict(self, sc: Control, swappiness: int) -> int:
        """evict_folios"""
        scanned = self._isolate(swappiness)
        scanned += self._try_to_inc_min_seq(swappiness > 0)
        if self._nr_gens(ANON if swappiness else FILE) == MIN_GENS:
            scanned = 0
        for last in (False, True):
            while self.isolated:
                self._step()
                self._shrink(self.isolated[0], sc)
            for index in list(self.kept):
                self._put_back(index, last)
        return scanned

    def _put_back(self, index: int, last: bool) -> None:
        frame = self.frames[index]
        held = frame.dirty or frame.writeback
        active = frame.active
        if not (frame.ahead and held):
            mapped = frame.guest is not None
            if not (last or active or frame.referenced or mapped or frame.locked or held):
                self.kept.remove(index)  # written meanwhile: once more
                frame.place = ISOLATED
                self.isolated.append(index)
                return
            active = True
        which = frame.is_lazyfree()
        self.unlink(index)
        frame.referenced = frame.active = False
        self._add(index, self.max_seq if active else self.max_seq - 1, which)

    def _stay(self, index: int, active: bool = False) -> None:
        frame = self.frames[index]
        frame.active = active
        self.isolated.remove(index)
        frame.place = KEPT
        self.kept.append(index)

    def _shrink(self, index: int, sc: Control) -> None:
        """shrink_folio_list for one page."""
        frame = self.frames[index]
        if frame.locked:
            self._stay(index)
            return
        sc.scanned += 1
        if frame.guest is not None and frame.referenced:
            self._stay(index)
            return
        if frame.writing and not self.low:
            self._wait(frame)
        if frame.writeback:
            self._give_up_slot(index)
            self._stay(index, active=True)
        elif frame.guest is None:
            self._evicted(index)
            self.count["clean_evictions"] += frame.ahead
            self.give_back_frame(index)
            sc.reclaimed += 1
        elif self._look_around(index):
            frame.referenced = True
            self._stay(index)
        elif not frame.is_lazyfree() and frame.pinned and frame.slot is None:
            self._stay(index)
        elif not frame.is_lazyfree() and (
            frame.pinned or (self.needs_slot(frame) and not self.free_slots)
        ):
            self._give_up_slot(index)
            self._stay(index, active=True)
        else:
            self._take(index, sc)

    def _take(self, index: int, sc: Control) -> None:
        frame = self.frames[index]
        guest = self.guests[frame.guest]
        before = self.count["swap_outs"], guest.count["unused_discards"]
        self.drop_or_write(index)
        if self.count["swap_outs"] != before[0]:
            sc.reclaimed += not self.write_delay
        elif self.frames[index] is frame:
            pass  # lazyfree, dirty or pinned: on the list of those kept, and mapped
        elif guest.count["unused_discards"] == before[1] or guest.flavour == "zvm":
            sc.reclaimed += 1

    def _give_up_slot(self, index: int) -> None:
        """activate_locked"""
        frame = self.frames[index]
        if frame.slot is None or not self.swap_nearly_full() or frame.writeback:
            return
        if self.slots[frame.slot].count == 0:
            self.leave_swap_cache(index)
            frame.dirty = True

    # ---- how far -----------------------------------------------------------------------------

    def _swappiness(self) -> int:
        """get_swappiness"""
        zvm = any(guest.flavour == "zvm" for guest in self.guests.values())
        return self.swappiness if zvm or len(self.free_slots) >= BATCH else 0

    def _nr_to_scan(self, sc: Control, can_swap: bool) -> int:
        """get_nr_to_scan"""
        age, pages = self._should_age(can_swap)
        if not age or sc.priority == PRIORITY:
            return pages >> sc.priority
        self._inc_max_seq(sc, can_swap)
        return -1

    def _aborts(self, sc: Control) -> bool:
        """should_abort_scan"""
        if not sc.root:
            return False
        return sc.reclaimed >= max(sc.goal, 2) or (
            sc.kswapd and len(self.free_frames) > self.high + BATCH
        )

    def _shrink_lruvec(self, sc: Control) -> None:
        """try_to_shrink_lruvec"""
        swappiness, scanned = self._swappiness(), 0
        while (goal := self._nr_to_scan(sc, swappiness > 0)) > 0:
            some = self._evict(sc, swappiness)
            scanned += some
            if not some or scanned >= goal or self._aborts(sc):
                return

    def _direct(self, goal: int, proactive: bool = False) -> None:
        """do_try_to_free_pages: the second round is memcg_full_walk."""
        self.count["reclaims"] += 1
        sc = self.control = Control(goal, root=self.low > 0)
        for _ in range(2):
            for sc.priority in range(PRIORITY, -1, -1):
                sc.walk = proactive  # set_mm_walk
                self._shrink_lruvec(sc)
                if sc.reclaimed >= goal:
                    break
            if sc.reclaimed:
                break

    def _initial_priority(self, sc: Control) -> None:
        """set_initial_priority"""
        if sc.priority != PRIORITY or sc.goal < BATCH:
            return
        pages = self._pages()
        inactive = [
            sum(each[gen] for gen in range(GENS) if not self._is_active(gen)) for each in pages
        ]
        reclaimable = inactive[FILE] + (inactive[ANON] if self.free_slots else 0)
        priority = reclaimable.bit_length() - 1 - (sc.goal - 1).bit_length()
        sc.priority = min(max(priority, PRIORITY // 2), PRIORITY)

    def _kswapd(self) -> None:
        """balance_pgdat, lru_gen_shrink_node"""
        self.count["reclaims"] += 1
        sc = self.control = Control(max(self.high, self.batch), kswapd=True, root=True)
        while sc.priority >= 1 and len(self.free_frames) < self.high:
            sc.scanned = sc.reclaimed = 0
            sc.walk = True  # pgdat->mm_walk
            self._initial_priority(sc)
            self._shrink_lruvec(sc)
            if max(sc.scanned, sc.reclaimed) < sc.goal or not sc.reclaimed:
                sc.priority -= 1

    def reclaim(self, n: int) -> int:
        """memory.reclaim: user_proactive_reclaim."""
        before, idle, n = len(self.free_frames), 0, min(n, len(self.frames))
        while len(self.free_frames) - before < n and idle < 17:
            free = len(self.free_frames)
            left = n - (free - before)
            self._direct(max(min(left // 4, 1 << 16), self.batch), proactive=True)
            idle = 0 if len(self.free_frames) > free else idle + 1
            if idle:
                self._finish()
        return len(self.free_frames) - before

    # ---- writes ------------------------------------------------------------------------------

    def _end(self) -> None:
        """folio_end_writeback of the oldest; folio_rotate_reclaimable."""
        index, frame, _ = self.writes.pop(0)
        if self.frames[index] is not frame:
            return
        rotates = frame.ahead and not frame.locked and not frame.dirty
        frame.writing = frame.writeback = frame.ahead = False
        if rotates and frame.place >= 0:
            self.unlink(index)
            frame.gen = frame.place = self.min_seq[ANON] % GENS
            self.folios[frame.gen][ANON].append(index)
            self._label(frame)

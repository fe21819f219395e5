# SPDX-License-Identifier: MIT
"""A guest: pages, faults, ESSA with its lists, zap, and the allocator's free and alloc.

docs/model.md sections 1 to 3 and 5 to 8; the kernel's arch/s390/mm/pgtable.c (generation
"pgtable"), arch/s390/kvm/dat.c (generation "dat"), mm/memory.c and mm/madvise.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reference.errors import (
    ForeignPage,
    GfnError,
    OutOfFrames,
    ProgramInterruption,
    StateError,
)
from reference.essa import RESULT_EXCEPTION, RESULT_NODAT, perform_essa
from reference.host import LISTS, Frame, Host, Window
from reference.ptes import KEY_C, KEY_R, Layer
from reference.reporting import Reporting, Settings
from reference.words import (
    PGSTE_CMMA_D,
    PGSTE_GC,
    PGSTE_NODAT,
    PGSTE_PCL,
    PGSTE_UC,
    PGSTE_USAGE,
    PGSTE_ZERO,
    PTE_DIRTY,
    PTE_INVALID,
    PTE_NONE,
    PTE_PRESENT,
    PTE_PROTECT,
    PTE_SOFT_DIRTY,
    PTE_WRITE,
    PTE_YOUNG,
    UNUSED,
    frame_number,
    is_none,
    is_present,
    is_swap,
    is_valid,
    swap_offset,
    swap_type,
    usage,
    with_usage,
)
from reference.zvm import CONTENT, FAULTS, LETTER, USAGE, evicted, request

MECHANISMS = ("none", "cmma", "madv_dontneed", "madv_free", "reporting")
OPERATION, PRIVILEGED, ADDRESSING, SPECIFICATION = 1, 2, 5, 6

COUNTERS = (
    "essa",
    "appended",
    "intercepts",
    "processed",
    "zapped",
    "zap_slots_freed",
    "hints",
    "hint_pages",
    "hint_frames_freed",
    "hint_slots_freed",
    "pages_freed",
    "pages_allocated",
    "double_frees",
    "double_allocs",
    "zero_fills",
    "swap_ins",
    "swap_outs",
    "unused_discards",
    "lazyfree_discards",
    "volatile_discards",
    "zero_page_maps",
)

# pte_mkspecial(pfn_pte(my_zero_pfn(), PAGE_RO)), and mk_pte(folio, PAGE_RO) of FAULT_FLAG_UNSHARE.
ZERO_PAGE_BITS, UNSHARED_BITS = 0x355, 0x315

# (zero fill by load, by store, swap-in by load, by store): PTE bits beside the frame.
FAULT_BITS = {
    "pgtable": (0x13F, 0x13F, 0x315, 0x13F),
    "dat": (0x225, 0x02D, 0x225, 0x02D),
}


@dataclass
class FilePage:
    """A page of a memfd.  While a PTE maps it, what it holds is in the frame."""

    tag: int = 0


class Guest(Layer):
    revision = "7.2"  # of generation "dat"

    def __init__(
        self,
        pages: int,
        host: Host,
        mechanism: str = "cmma",
        generation: str = "pgtable",
        nodat: bool = False,
        vcpus: int = 1,
        cbrl_entries: int = 511,
        strict: bool = False,
        flavour: str = "kvm",
        storage_keys: bool = False,
        allow_cow_sharing: bool = False,
        memory: str = "host",
        mlock: bool = False,
    ) -> None:
        self.flavour = flavour
        #: mm->context.allow_cow_sharing (v6.10 on); before, and without, mm_forbids_zeropage().
        self.allow_cow_sharing = allow_cow_sharing
        self.host = host
        self.mechanism = mechanism
        self.generation = generation
        self.nodat = nodat
        self.cbrl_entries = cbrl_entries
        self.strict = strict
        self.pgste = [0] * pages
        self.pte = [PTE_NONE] * pages
        self.frame: list[int | None] = [None] * pages
        self.foreign = [False] * pages
        # memfd: the pages of the file, in page cache or on swap, None for a hole
        self.file: list[FilePage | None] | None = [None] * pages if memory == "memfd" else None
        self.real_keys = host.real_keys
        self.frames = len(host.frames)
        self.uses_skeys = False
        self.notes = []
        self.locked = set()
        self.loading = False  # words come from outside: what they hold and held is accounted for
        self.free_bit = [False] * pages
        self.dirty_bit = [False] * pages  # the memory slot's bitmap; pgtable only
        self.migration = False
        self.cbrl: list[list[int]] = [[] for _ in range(vcpus)]
        self.problem_state = [False] * vcpus
        self.count = dict.fromkeys(COUNTERS, 0)
        self.window = Window()
        self.reporting: Reporting | None = None
        if mechanism == "reporting":
            self.reporting = Reporting(self, Settings.for_guest(pages, vcpus))
        self.number = min(set(range(len(host.guests) + 1)) - set(host.guests))
        host.guests[self.number] = self
        self.vm_locked = False
        if mlock:
            self.mlockall()
        if storage_keys:
            self.enable_skey()

    def mlockall(self) -> None:
        """VM_LOCKED, and then __mm_populate, which writes to every page of a private mapping."""
        self.vm_locked = True
        try:
            with self.host.atomic():
                for gfn in range(len(self.pte)):
                    self._populate(gfn)
        except OutOfFrames:
            del self.host.guests[self.number]
            raise

    def _populate(self, gfn: int) -> None:
        self.store(gfn, 0)

    def drop(self) -> None:
        """The guest ends: everything it has goes back to the host, page by page."""
        for gfn in range(len(self.pte)):
            self._give_back(gfn)
        del self.host.guests[self.number]
        if not self.host.guests:
            for name in LISTS:  # what the swap cache alone has goes with the last guest
                while self.host.lists[name]:
                    self.host.give_back_frame(self.host.lists[name][-1])

    # ---- words -------------------------------------------------------------------------

    def _store_pte(self, gfn: int, pte: int) -> None:
        """A plain store into the page table: no PGSTE rule applies."""
        self.pte[gfn] = pte

    def write_pte(self, gfn: int, word: int) -> None:
        """set_pte() for the functions of `Layer`."""
        if not self.loading:
            self._store_pte(gfn, word)
        elif word != self.pte[gfn]:
            self._load_pte(gfn, word)

    @property
    def is_pgtable(self) -> bool:
        return self.flavour == "kvm" and self.generation == "pgtable"

    def _commit(self, gfn: int, pte: int, clear_zero: bool) -> None:
        if clear_zero:
            self.pgste[gfn] &= ~PGSTE_ZERO
        wanted = PTE_PRESENT | PTE_WRITE
        mask = wanted | PTE_INVALID | PTE_PROTECT
        if self.is_pgtable and pte & mask == wanted:
            self.pgste[gfn] |= PGSTE_UC
        self._store_pte(gfn, pte)

    def set_pte(self, gfn: int, pte: int) -> None:
        """ptep_set_pte_at."""
        if self.is_pgtable:
            self.pgste_set_key(gfn, pte)
        self._commit(gfn, pte, clear_zero=True)

    def xchg_pte(self, gfn: int, pte: int) -> None:
        """ptep_xchg_*: pgtable leaves ZERO, dat clears it."""
        if self.is_pgtable:
            self.ptep_xchg(gfn, pte)
            return
        self._commit(gfn, pte, clear_zero=self.generation == "dat")

    def aged_pte(self, gfn: int, pte: int) -> None:
        """The exchange that makes a page old: ZERO stays in both generations."""
        if self.is_pgtable:
            self.ptep_xchg(gfn, pte)
            return
        self._commit(gfn, pte, clear_zero=False)

    def attribute_dirty(self, gfn: int) -> bool:
        if self.generation == "dat":
            return bool(self.pgste[gfn] & PGSTE_CMMA_D)
        return self.dirty_bit[gfn]

    def set_words(self, gfn: int, pgste: int | None = None, pte: int | None = None) -> None:
        self._check([gfn])
        if pte is not None and pte != self.pte[gfn]:
            self._load_pte(gfn, pte)
        if pgste is not None:
            self.pgste[gfn] = pgste & ~PGSTE_PCL

    def _load_pte(self, gfn: int, pte: int) -> None:
        frame = self.frame[gfn]
        if frame is not None and is_present(pte) and frame_number(pte) == frame:
            self._store_pte(gfn, pte)
            return
        self._give_back(gfn)
        self.foreign[gfn] = not self._adopt(pte)
        self._store_pte(gfn, pte)

    def _adopt(self, pte: int) -> bool:
        """Whether a loaded word without a frame means something to the host."""
        if is_none(pte):
            return True
        slot = swap_offset(pte)
        if (
            is_swap(pte)
            and not is_valid(pte)
            and swap_type(pte) == 0
            and slot < len(self.host.slots)
            and self.host.slots[slot].count >= 1
        ):
            self.host.slots[slot].count += 1
            return True
        return False

    def _give_back(self, gfn: int) -> bool:
        """What the PTE holds of the host goes back; whether that freed a swap slot in use."""
        frame, freed = self.frame[gfn], False
        if frame is not None:
            self.unmapped(gfn)
            self.host.give_back_frame(frame)
        elif is_swap(self.pte[gfn]) and not self.foreign[gfn]:
            freed = self.host.give_up_use(swap_offset(self.pte[gfn]))
        self.foreign[gfn] = False
        return freed

    # ---- gfn checks --------------------------------------------------------------------

    def _check(self, gfns: Iterable[int], nr: int = 1) -> None:
        for gfn in gfns:
            if not 0 <= gfn <= len(self.pte) - nr:
                raise GfnError(gfn)

    # ---- content -----------------------------------------------------------------------

    def write(self, gfns: Sequence[int], tags: Sequence[int]) -> None:
        self._check(gfns)
        with self.host.atomic():
            for gfn, tag in zip(gfns, tags, strict=True):
                self.store(gfn, tag)

    def store(self, gfn: int, tag: int) -> None:
        """One store; if it fails, what it reclaimed stays reclaimed."""
        self._access(gfn, store=True).tag = tag

    def read(self, gfns: Sequence[int]) -> list[int]:
        self._check(gfns)
        with self.host.atomic():
            return [self._access(gfn, store=False).tag for gfn in gfns]

    def peek(self, gfn: int) -> int:
        frame = self.frame[gfn]
        if frame is not None:
            return self.host.frames[frame].tag
        if self.file is not None and not self.foreign[gfn]:
            page = self.file[gfn]
            return page.tag if page is not None else 0
        if self.foreign[gfn] or is_none(self.pte[gfn]):
            return 0
        return self.host.slots[swap_offset(self.pte[gfn])].tag

    def poke(self, gfn: int, tag: int) -> int:
        """A device stores to the page's frame; no PTE changes."""
        page = None if self.file is None or self.foreign[gfn] else self.file[gfn]
        if self.frame[gfn] is None and page is None:
            return 0
        if self.frame[gfn] is not None:
            self._folio(gfn).tag = tag
        elif page is not None:
            page.tag = tag
        return 1

    def unmapped(self, gfn: int) -> None:
        """page_remove_rmap of a shmem folio: the page cache has it still."""
        page = None if self.file is None else self.file[gfn]
        if page is not None:
            page.tag = self._folio(gfn).tag

    def _folio(self, gfn: int) -> Frame:
        index = self.frame[gfn]
        assert index is not None
        return self.host.frames[index]

    def _access(self, gfn: int, store: bool) -> Frame:
        """A load or store, faulting if need be: the frame that the guest then sees."""
        pte = self.pte[gfn]
        if self.flavour == "zvm" and self.zvm_state(gfn) in FAULTS:
            raise ProgramInterruption(FAULTS[self.zvm_state(gfn)], gfn << 12)
        if self.maps_zero_page(gfn):
            if not store:
                self._touch(gfn, store)
                return Frame()
            self._wp_page_copy(gfn)
        elif self.foreign[gfn]:
            raise ForeignPage(gfn)
        elif is_none(pte) and not store and self.allow_cow_sharing:
            self._map_zero_page(gfn)
            return Frame()
        elif is_none(pte):
            self._map_zeroed(gfn, store)
        elif is_swap(pte):
            self._map_from_swap(gfn, store)
        elif store and pte & PTE_PROTECT and self._folio(gfn).shared:
            self._copy(gfn)
        else:
            self._touch(gfn, store)
        frame = self.frame[gfn]
        assert frame is not None
        if self.flavour == "zvm" and store:
            self.pgste[gfn] |= PGSTE_GC
        if self.uses_skeys:
            self.real_keys[frame] = self.real_keys.get(frame, 0) | KEY_R | (KEY_C if store else 0)
        return self.host.frames[frame]

    # ---- the shared zero page (do_anonymous_page, do_wp_page, gmap.c)

    def is_zero_word(self, word: int) -> bool:
        """A PTE by which the guest reads the zero page; a store faults, and pte_write() says no."""
        mask = PTE_PRESENT | PTE_PROTECT | PTE_WRITE
        return word & mask == PTE_PRESENT | PTE_PROTECT and frame_number(word) == self.zero_page()

    def zero_page(self) -> int:
        """my_zero_pfn(): no frame of the host's."""
        return len(self.host.frames)

    def maps_zero_page(self, gfn: int) -> bool:
        return self.allow_cow_sharing and self.foreign[gfn] and self.is_zero_word(self.pte[gfn])

    def _map_zero_page(self, gfn: int) -> None:
        """A read fault: no folio, so that neither LRU lists nor reclaim know the page."""
        self.foreign[gfn] = True
        self.set_pte(gfn, self.zero_page() << 12 | ZERO_PAGE_BITS)
        self.count["zero_page_maps"] += 1

    def _wp_page_copy(self, gfn: int, unshare: bool = False) -> None:
        """A zeroed folio in place of the zero page: for a store, or FAULT_FLAG_UNSHARE."""
        old = self.pte[gfn]
        frame = self.host.zero_fill(self.number, gfn)
        self.count["zero_fills"] += 1
        self.xchg_pte(gfn, PTE_NONE)  # ptep_clear_flush
        self.foreign[gfn] = False
        bits = UNSHARED_BITS | old & PTE_SOFT_DIRTY if unshare else FAULT_BITS["pgtable"][1]
        self._map(gfn, frame, bits)

    def reset_skeys(self) -> None:
        """s390_enable_skey: keys are in use already while zero pages are unshared."""
        with self.host.atomic():
            self.uses_skeys = True
            self.disable_cow_sharing()
            super().reset_skeys()

    def disable_cow_sharing(self) -> None:
        """s390_disable_cow_sharing, gmap_helper_disable_cow_sharing."""
        zero = [gfn for gfn in range(len(self.pte)) if self.maps_zero_page(gfn)]
        self.allow_cow_sharing = False
        for gfn in zero:
            self._wp_page_copy(gfn, unshare=True)

    def _passes_zero_page(self, gfn: int) -> None:
        """madvise_free_pte_range: vm_normal_folio() is NULL."""

    # ---- z/VM

    def zvm_state(self, gfn: int) -> str:
        pte = self.pte[gfn]
        host = "z" if is_none(pte) else "p" if is_swap(pte) else "r"
        return LETTER[usage(self.pgste[gfn])] + host

    def zvm_evicted(self, gfn: int) -> str:
        return evicted(self.zvm_state(gfn), bool(self.pgste[gfn] & PGSTE_GC))

    def _zvm_essa(self, orc: int, gfn: int) -> int:
        before = self.zvm_state(gfn)
        after = request(orc, before)
        nodat = RESULT_NODAT if self.pgste[gfn] & PGSTE_NODAT else 0
        self.pgste[gfn] = with_usage(self.pgste[gfn], USAGE[after[0]])
        if orc == 1:
            self.pgste[gfn] &= ~PGSTE_NODAT
        if orc == 7:
            self.pgste[gfn] |= PGSTE_NODAT
        if before[1] == "p" and after[1] == "z":
            self.count["zap_slots_freed"] += self._give_back(gfn)
            self._store_pte(gfn, PTE_NONE)
            self.count["zapped"] += 1
        if self.migration and orc != 0:
            self.dirty_bit[gfn] = True
        return USAGE[before[0]] << 2 | CONTENT[before[1]] | nodat

    def set_changed(self, gfn: int, on: bool) -> None:
        self.pgste[gfn] = self.pgste[gfn] & ~PGSTE_GC | (PGSTE_GC if on else 0)

    def pin(self, gfn: int, on: bool) -> int:
        index = self.frame[gfn]
        if index is None:
            return 0
        frame = self.host.frames[index]
        was, frame.pinned = frame.pinned, on
        return int(was != on)

    def set_folio(self, gfn: int, what: str, on: bool) -> int:
        """What the folio is in; "shared" is a fork (on), or the end of the child."""
        index = self.frame[gfn]
        if index is None:
            return 0
        frame = self.host.frames[index]
        if getattr(frame, what) == on or (what == "writeback" and frame.slot is None):
            return 0
        setattr(frame, what, on)
        if what == "shared" and on and self.pte[gfn] & PTE_WRITE:
            self.xchg_pte(gfn, self.pte[gfn] & ~PTE_WRITE | PTE_PROTECT)
        return 1

    def _copy(self, gfn: int) -> None:
        """wp_page_copy: a folio of its own, by the old one's frame."""
        index = self.frame[gfn]
        assert index is not None
        old = self.host.frames[index]
        self.host.leave_swap_cache(index)
        self.host.to_head(index, "inactive")
        self.host.frames[index] = Frame(
            old.list, old.guest, old.gfn, old.tag, gen=old.gen, place=old.place
        )
        self.xchg_pte(gfn, PTE_NONE)  # ptep_clear_flush
        self.set_pte(gfn, index << 12 | FAULT_BITS[self.generation][3])

    def is_young(self, gfn: int) -> bool:
        if self.flavour == "zvm":
            return bool(self.pte[gfn] & PTE_YOUNG)
        return is_valid(self.pte[gfn])

    def _map_zeroed(self, gfn: int, store: bool) -> None:
        frame = self.host.zero_fill(self.number, gfn)
        if self.file is not None:  # shmem_get_folio finds it, or makes a page of zeros
            page = self.file[gfn] = self.file[gfn] or FilePage()
            self.host.frames[frame].tag = page.tag
        self._map(gfn, frame, FAULT_BITS[self.generation][store])
        self.count["zero_fills"] += 1

    def _map_from_swap(self, gfn: int, store: bool) -> None:
        slot = swap_offset(self.pte[gfn])
        try:
            frame = self.host.swap_in(self.number, gfn, slot, store)
        finally:
            self.count["swap_ins"] += self.host.read
        self._map(gfn, frame, FAULT_BITS[self.generation][2 + store])

    def _map(self, gfn: int, frame: int, bits: int) -> None:
        self.frame[gfn] = frame
        self.set_pte(gfn, frame << 12 | bits)

    def _touch(self, gfn: int, store: bool) -> None:
        pte = self.pte[gfn]
        if not self.is_young(gfn):
            pte = pte & ~PTE_INVALID | PTE_YOUNG
        if store and pte & PTE_PROTECT:
            pte = pte & ~PTE_PROTECT | PTE_WRITE | PTE_DIRTY
            if self.generation == "pgtable":
                pte |= PTE_SOFT_DIRTY
        if pte != self.pte[gfn]:
            self.xchg_pte(gfn, pte)

    # ---- what reclaim asks

    def has_page(self, gfn: int) -> bool:
        return is_present(self.pte[gfn])

    def drops_unused(self, gfn: int, old: int) -> bool:
        """Whether reclaim drops the page whose PTE, `old`, it has taken away just now."""
        return usage(self.pgste[gfn]) == UNUSED

    def was_written(self, gfn: int) -> None:
        """Reclaim wrote the page to swap."""

    def swap_out(self, gfns: Sequence[int]) -> int:
        """MADV_PAGEOUT: how many pages lost their frame."""
        self._check(gfns)
        out = 0
        if self.vm_locked:
            return out  # EINVAL: can_madv_lru_vma
        with self.host.atomic():
            for gfn in gfns:
                if not self.has_page(gfn) or self.maps_zero_page(gfn):
                    continue
                if self.foreign[gfn]:
                    raise ForeignPage(gfn)
                frame = self.frame[gfn]
                assert frame is not None
                out += self.host.page_out(frame)
        return out

    # ---- ESSA --------------------------------------------------------------------------

    def essa(self, orc: int, gfns: Sequence[int], vcpu: int = 0) -> list[int]:
        if self.mechanism != "cmma":
            raise ProgramInterruption(OPERATION)
        if self.problem_state[vcpu]:
            raise ProgramInterruption(PRIVILEGED)
        if orc > 7 or (orc == 7 and not self.nodat):
            raise ProgramInterruption(SPECIFICATION)
        if any(gfn < 0 for gfn in gfns):
            raise GfnError(min(gfns))
        if self.generation == "pgtable" and any(gfn >= len(self.pte) for gfn in gfns):
            raise ProgramInterruption(ADDRESSING)
        return [self._essa(orc, gfn, vcpu) for gfn in gfns]

    def _essa(self, orc: int, gfn: int, vcpu: int) -> int:
        self.count["essa"] += 1
        if self.flavour == "zvm":
            return self._zvm_essa(orc, gfn)
        if not self.migration and len(self.cbrl[vcpu]) >= self.cbrl_entries:
            self.intercept(vcpu)
        result = self._operate(orc, gfn, vcpu) if gfn < len(self.pte) else RESULT_EXCEPTION
        if self.migration:
            self.intercept(vcpu)
        return result

    def _operate(self, orc: int, gfn: int, vcpu: int) -> int:
        result, self.pgste[gfn], append = perform_essa(
            self.generation, orc, self.pgste[gfn], self.pte[gfn]
        )
        if self.migration and self.generation == "pgtable" and orc != 0:
            self.dirty_bit[gfn] = True
        if append:
            self.cbrl[vcpu].append(gfn)
            self.count["appended"] += 1
        return result

    def intercept(self, vcpu: int = 0) -> int:
        """The host processes the list of a vcpu and resets it: pages zapped."""
        self.count["intercepts"] += 1
        self.count["processed"] += len(self.cbrl[vcpu])
        zapped = sum(self._zap(gfn) for gfn in self.cbrl[vcpu])
        self.cbrl[vcpu] = []
        return zapped

    def zap(self, gfn: int) -> int:
        self._check([gfn])
        return int(self._zap(gfn))

    def zap_scan(self) -> int:
        return sum(self._zap(gfn) for gfn in range(len(self.pte)))

    def zappable(self, gfn: int) -> bool:
        unused = usage(self.pgste[gfn]) == UNUSED
        return is_swap(self.pte[gfn]) and (unused or bool(self.pgste[gfn] & PGSTE_ZERO))

    def _zap(self, gfn: int) -> bool:
        if not self.zappable(gfn):
            return False
        self.count["zap_slots_freed"] += self._give_back(gfn)
        self._store_pte(gfn, PTE_NONE)
        self.count["zapped"] += 1
        return True

    def reset_cmma(self) -> None:
        for gfn in range(len(self.pgste)):
            self.pgste[gfn] &= ~(PGSTE_USAGE | PGSTE_NODAT)
            if self.generation == "dat":
                self.pgste[gfn] &= ~PGSTE_CMMA_D

    def set_migration(self, on: bool) -> None:
        if on == self.migration:
            return
        self.migration = on
        if self.flavour == "kvm" and self.mechanism != "cmma":
            return  # CMMA is not enabled: there is no log
        for gfn in range(len(self.pgste)):
            if self.generation == "pgtable":
                self.dirty_bit[gfn] = on
            elif on:
                self.pgste[gfn] |= PGSTE_CMMA_D
            elif self.revision == "7.2":  # gmap_set_cmma_all_clean
                self.pgste[gfn] &= ~PGSTE_CMMA_D

    # ---- free and alloc ----------------------------------------------------------------

    def free(self, gfns: Sequence[int], order: int = 0, vcpu: int = 0) -> None:
        """arch_free_page of blocks."""
        self.mark(gfns, order, free=True)
        self.tell(gfns, order, True, vcpu)

    def alloc(self, gfns: Sequence[int], order: int = 0, vcpu: int = 0) -> None:
        """arch_alloc_page of blocks."""
        self.mark(gfns, order, free=False)
        self.tell(gfns, order, False, vcpu)

    def mark(self, gfns: Sequence[int], order: int, free: bool) -> None:
        """The allocator's own view: the bits and counts, before the mechanism hears of it."""
        self._check(gfns, 1 << order)
        pages = [page for gfn in gfns for page in range(gfn, gfn + (1 << order))]
        bits = list(self.free_bit)
        doubles = 0
        for page in pages:
            doubles += bits[page] == free
            bits[page] = free
        if doubles and self.strict:
            raise StateError
        self.free_bit = bits
        self.count["pages_freed" if free else "pages_allocated"] += len(pages)
        self.count["double_frees" if free else "double_allocs"] += doubles

    def tell(self, gfns: Sequence[int], order: int, free: bool, vcpu: int = 0) -> None:
        """The mechanism hears of blocks, freed or allocated."""
        nr = 1 << order
        if self.reporting is not None:
            for gfn in gfns:
                if free:
                    self.reporting.free(gfn, nr, order, vcpu)
                else:
                    self.reporting.alloc(gfn, nr)
            return
        if self.mechanism == "cmma":
            orc = 2 if free else 7 if self.nodat else 1
            for gfn in gfns:
                for page in range(gfn, gfn + nr):
                    self._essa(orc, page, vcpu)
                    self.count["hints"] += 1
                    self.count["hint_pages"] += 1
        elif free and self.mechanism != "none":
            for start, end in joined(gfns, nr):
                self.madvise(start, end)

    def madvise(self, start: int, end: int) -> None:
        """One call of the guest's mechanism for [start, end)."""
        self.count["hints"] += 1
        self.count["hint_pages"] += end - start
        if self.vm_locked:
            return  # EINVAL: madvise_dontneed_free_valid_vma
        if self.file is not None and self.mechanism == "madv_free":
            return  # EINVAL: vma_is_anonymous
        for gfn in range(start, end):
            if self.mechanism == "madv_free" and self.maps_zero_page(gfn):
                self._passes_zero_page(gfn)
            elif self.frame[gfn] is None:
                self._madvise_no_frame(gfn)
            elif self.mechanism == "madv_free":
                self._madvise_free(gfn)
            else:
                self._madvise_dontneed(gfn)

    def discard(self, gfn: int, advice: str) -> None:
        """What a host does with a reported page; not counted as a call."""
        if self.file is not None and advice == "madv_free":
            return  # EINVAL
        if self.file is not None:  # fallocate(PUNCH_HOLE), and MADV_DONTNEED finds nothing more
            if self.frame[gfn] is not None:
                self._madvise_dontneed(gfn)
            elif not is_none(self.pte[gfn]):
                self._madvise_no_frame(gfn)
            self.file[gfn] = None
            return
        if self.vm_locked:
            return  # EINVAL, as above; fallocate knows of no lock
        if advice == "madv_free" and self.maps_zero_page(gfn):
            self._passes_zero_page(gfn)
        elif self.frame[gfn] is None:
            self._madvise_no_frame(gfn)
        elif advice == "madv_free":
            self._madvise_free(gfn)
        else:
            self._madvise_dontneed(gfn)

    def _madvise_dontneed(self, gfn: int) -> None:
        self.xchg_pte(gfn, PTE_NONE)
        self._give_back(gfn)
        self.count["hint_frames_freed"] += 1

    def _madvise_no_frame(self, gfn: int) -> None:
        """None, a swap entry, or foreign: the same for MADV_DONTNEED and MADV_FREE."""
        if is_none(self.pte[gfn]):
            return
        foreign_mapping = is_present(self.pte[gfn])
        self.count["hint_slots_freed"] += self._give_back(gfn)
        if foreign_mapping:
            self.xchg_pte(gfn, PTE_NONE)
        else:
            self._store_pte(gfn, PTE_NONE)

    def _passes_over(self, frame: Frame) -> bool:
        """madvise_free_pte_range goes on with the next page."""
        if frame.slot is None and not frame.dirty:
            return False
        if frame.locked or frame.shared:  # folio_trylock, folio_mapcount
            return True
        if frame.slot is None:
            return False
        return frame.writeback or self.host.slots[frame.slot].count > 0  # folio_free_swap

    def _madvise_free(self, gfn: int) -> None:
        """madvise_free_pte_range for a page with a frame."""
        index = self.frame[gfn]
        assert index is not None
        frame = self.host.frames[index]
        if self._passes_over(frame):
            return
        if frame.slot is not None:
            self.host.leave_swap_cache(index)
            self.count["hint_slots_freed"] += 1
        frame.dirty = False
        pte = self.pte[gfn]
        if pte & (PTE_YOUNG | PTE_DIRTY):
            self.xchg_pte(gfn, PTE_NONE)
            old = pte & ~(PTE_YOUNG | PTE_DIRTY) | PTE_INVALID | PTE_PROTECT
            self.set_pte(gfn, old)
        if not frame.is_lazyfree():
            self.host.to_head(index, "lazyfree")
            frame.referenced = False

    def reset_stats(self) -> None:
        self.count = dict.fromkeys(COUNTERS, 0)


def joined(gfns: Sequence[int], nr: int) -> list[tuple[int, int]]:
    """Blocks in order, [start, end); one that begins where the last ended extends it."""
    calls: list[tuple[int, int]] = []
    for gfn in gfns:
        if calls and calls[-1][1] == gfn:
            calls[-1] = (calls[-1][0], gfn + nr)
        else:
            calls.append((gfn, gfn + nr))
    return calls


def snapshot(host: Host, guests: Sequence[Guest]) -> dict[str, object]:
    """The whole state as plain data; what a free frame or slot last held is left out."""
    return {
        "guests": [_snapshot_guest(guest) for guest in guests],
        "frames": [
            None
            if f.list == "free"
            else (
                *(f.list, f.guest, f.gfn, f.tag, f.slot, f.referenced, f.dirty),
                *(f.pinned, f.locked, f.writeback, f.shared),
            )
            for f in host.frames
        ],
        "lists": {name: list(host.lists[name]) for name in LISTS},
        "slots": [None if s.is_free() else (s.count, s.frame, s.tag) for s in host.slots],
        "keys": [host.real_keys.get(frame, 0) for frame in range(len(host.frames))],
        "host": host.stats(),
    }


def _snapshot_guest(guest: Guest) -> dict[str, object]:
    pages = range(len(guest.pte))
    return {
        "pgste": list(guest.pgste),
        "pte": list(guest.pte),
        "dirty": [guest.attribute_dirty(gfn) for gfn in pages],
        "free": list(guest.free_bit),
        "content": [guest.peek(gfn) for gfn in pages],
        "cbrl": [list(entries) for entries in guest.cbrl],
        "migration": guest.migration,
        "stats": dict(guest.count),
    }

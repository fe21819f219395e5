# SPDX-License-Identifier: MIT
"""KVM from Linux v7.0 on: the guest's PTEs in a table of KVM's own, the host's beside it.

From the text of arch/s390/kvm/gmap.c and gmap.h, arch/s390/mm/gmap_helpers.c, the s390
pgtable.h, and mm/rmap.c, in the releases v7.0, 7.1.5 and 7.2.  Both tables are lists of whole
words.  What the two share with the one table of earlier kernels is in `Guest`, whose `pte` is
the guest's PTE, or the host's swap entry where the guest has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from reference.dat import DatMachine
from reference.guest import UNSHARED_BITS, ZERO_PAGE_BITS, FilePage, Guest
from reference.host import Frame, Host
from reference.ptes import KEY_C, KEY_R
from reference.words import (
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
    usage,
)

PTE_NOEXEC, PTE_READ, PTE_UNUSED = 0x100, 0x010, 0x080
#: do_anonymous_page, and do_swap_page for a store: pte_mkwrite(pte_mkdirty()).
FRESH = PTE_NOEXEC | PTE_READ | PTE_YOUNG | PTE_PRESENT | PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY
#: do_swap_page for a load: writable, as nobody shares the page, and clean.
CLEAN = PTE_NOEXEC | PTE_READ | PTE_YOUNG | PTE_PRESENT | PTE_WRITE | PTE_PROTECT
#: The guest's PTE of the zero page: PROTECT, YOUNG and PRESENT.  get_user_pages answers with the
#: page itself (no SPECIAL), and says that it may not be written.
GUEST_ZERO_PAGE = 0x205
STATS = ("notifier_unmaps", "lock_tries", "lock_failures", "unused_swap_outs", "used_discards")
PTES_OF_A_LOCK = 256


class DatGuest(Guest):
    """A guest of generation "dat" with all that happens between its two tables."""

    def __init__(
        self,
        pages: int,
        host: Host,
        revision: str = "7.2",
        mlock: bool = False,
        **config: Any,
    ) -> None:
        super().__init__(pages, host, generation="dat", **config)
        self.revision = revision
        #: Means something where the host has a page: of its own, or foreign and present.
        self.host_pte = [PTE_NONE] * pages
        #: The notifier took the guest's PTE away, and nothing has come of it yet; see is_apart.
        self.apart = [False] * pages
        self.held: set[int] = set()
        self.rate = Fraction(0)
        self.tries_of_free_locks = 0
        self.two = dict.fromkeys(STATS, 0)
        #: The guest's PTE is empty but for SOFT_DIRTY: its key changed.
        self.soft_dirty_empty = [False] * pages
        if mlock:
            self.mlockall()

    def _populate(self, gfn: int) -> None:
        """get_user_pages fills the host's table; KVM maps nothing before the guest comes."""
        index = self.host.zero_fill(self.number, gfn)
        self.count["zero_fills"] += 1
        if self.file is not None:
            self.file[gfn] = FilePage()
        self.frame[gfn] = index
        self.host_pte[gfn] = index << 12 | FRESH
        self.apart[gfn] = True

    def reset_stats(self) -> None:
        super().reset_stats()
        self.two = dict.fromkeys(STATS, 0)

    # ---- the guest's table

    def _commit(self, gfn: int, pte: int, clear_zero: bool) -> None:
        """_gmap_ptep_xchg cleared ZERO from 7.1 on only ("Properly reset zero bit in PGSTE")."""
        if is_present(pte) and self.soft_dirty_empty[gfn]:
            pte |= PTE_SOFT_DIRTY
        self.move_key(gfn, pte if is_present(pte) else PTE_NONE)
        super()._commit(gfn, pte, clear_zero and self.revision != "7.0")

    def _clear_zero(self, gfn: int) -> None:
        if self.revision != "7.0":
            self.pgste[gfn] &= ~PGSTE_ZERO

    def guest_present(self, gfn: int) -> bool:
        return is_present(self.pte[gfn])

    # ---- the host's table

    def is_apart(self, gfn: int) -> bool:
        """The guest's PTE is empty, and the host's is neither none nor a swap entry."""
        return self.apart[gfn] and (self.frame[gfn] is not None or self.foreign[gfn])

    def has_word(self, gfn: int) -> bool:
        return self.frame[gfn] is not None or self.is_apart(gfn) or self.guest_present(gfn)

    def host_word(self, gfn: int) -> int:
        return self.host_pte[gfn] if self.has_word(gfn) else self.pte[gfn]

    def set_pte_anew(self, gfn: int, word: int) -> None:
        """ptep_xchg_*, ptep_modify_prot_commit: with the fix they end in a set_pte that clears."""
        if self.revision not in ("7.0", "7.1"):
            word &= ~PTE_UNUSED
        self.host_pte[gfn] = word

    def set_host_pte(self, gfn: int, word: int) -> None:
        """Some part of the host puts a word into its table."""
        if word == self.host_word(gfn):
            return
        old = self.host_word(gfn)
        same = is_present(old) and frame_number(old) == frame_number(word)
        if self.has_word(gfn) and same and is_present(word):
            self.host_pte[gfn] = word
            return
        self._empty(gfn)
        self._give_back(gfn)
        self.apart[gfn] = False
        self._store_pte(gfn, PTE_NONE)
        if is_none(word):
            return
        if is_swap(word) and not is_valid(word):
            self._load_pte(gfn, word)
            return
        self.foreign[gfn] = True
        self.apart[gfn] = True
        self.host_pte[gfn] = word

    # ---- storage keys

    def guest_word(self, gfn: int) -> int:
        """The guest's PTE alone."""
        pte = self.pte[gfn]
        if is_none(pte) or (is_swap(pte) and not is_valid(pte)):
            return PTE_NONE | (PTE_SOFT_DIRTY if self.soft_dirty_empty[gfn] else 0)
        return pte

    def shown(self, gfn: int) -> int:
        """What `Guest.pte` of the engine tells."""
        return self.guest_word(gfn) if is_none(self.pte[gfn]) else self.pte[gfn]

    def page(self, gfn: int) -> DatMachine:
        """The page by itself, for the functions of `DatMachine`."""
        page = DatMachine(1, self.frames, self.revision, self.real_keys)
        page.uses_skeys = self.uses_skeys
        page.gpte, page.pgste = [self.guest_word(gfn)], [self.pgste[gfn]]
        return page

    def move_key(self, gfn: int, new: int) -> None:
        page = self.page(gfn)
        page.exchange_keys(0, new)
        self.pgste[gfn] = page.pgste[0]
        self.soft_dirty_empty[gfn] = False

    def key(self, gfn: int, function: str, *arguments: Any) -> Any:
        """A function of dat.c on the key of a page; the guest uses keys then."""
        page = self.page(gfn)
        result = getattr(page, function)(0, *arguments)
        self.pgste[gfn] = page.pgste[0]
        if page.gpte[0] & ~self.guest_word(gfn):
            if self.guest_word(gfn) == PTE_NONE:
                self.soft_dirty_empty[gfn] = True
            else:
                self._store_pte(gfn, self.pte[gfn] | PTE_SOFT_DIRTY)
        return result

    def use_keys(self) -> None:
        if not self.uses_skeys:
            self.reset_keys()

    def reset_keys(self) -> None:
        """gmap_enable_skeys."""
        with self.host.atomic():
            self.uses_skeys = True
            self.disable_cow_sharing()
            for gfn in range(len(self.pte)):
                self.key(gfn, "reset_skeys_pte")

    # ---- the shared zero page

    def maps_zero_page(self, gfn: int) -> bool:
        """Neither table may let a store through; the guest's may be empty."""
        guest = self.pte[gfn]
        return (
            self.allow_cow_sharing
            and self.foreign[gfn]
            and self.is_zero_word(self.host_word(gfn))
            and (self.is_apart(gfn) or self.is_zero_word(guest))
        )

    def _map_zero_page(self, gfn: int) -> None:
        """The host's read fault, and gmap_link of a page that may not be written."""
        self.foreign[gfn] = True
        self._commit(gfn, self.zero_page() << 12 | GUEST_ZERO_PAGE, clear_zero=True)
        self.host_pte[gfn] = self.zero_page() << 12 | ZERO_PAGE_BITS
        self.apart[gfn] = False
        self.count["zero_page_maps"] += 1

    def _wp_page_copy(self, gfn: int, unshare: bool = False) -> None:
        frame = self.host.zero_fill(self.number, gfn)
        self.count["zero_fills"] += 1
        self._notifier_unmap(gfn, "none")
        old = self.host_word(gfn)  # taken by ptep_clear_flush
        self.foreign[gfn] = self.apart[gfn] = False
        self._store_pte(gfn, PTE_NONE)
        self.frame[gfn] = frame
        if unshare:  # of the host's table alone
            self.apart[gfn] = True
            self.host_pte[gfn] = frame << 12 | UNSHARED_BITS | old & PTE_SOFT_DIRTY
            return
        self.host_pte[gfn] = frame << 12 | FRESH
        self._commit(gfn, frame << 12 | 0x02D, clear_zero=True)

    def _passes_zero_page(self, gfn: int) -> None:
        """The notifier is of the whole range."""
        self._notifier_unmap(gfn, "none")

    # ---- notifiers

    def trylock(self, gfn: int) -> bool:
        self.two["lock_tries"] += 1
        fails = gfn // PTES_OF_A_LOCK in self.held
        if not fails and self.rate:
            self.tries_of_free_locks += 1
            now = self.tries_of_free_locks * self.rate
            fails = int(now) != int(now - self.rate)
        self.two["lock_failures"] += fails
        return not fails

    def _try_set_unused(self, gfn: int, present: bool) -> bool:
        """_gmap_unmap_pte and gmap_helper_try_set_pte_unused: whether the host's PTE gets it."""
        return present and usage(self.pgste[gfn]) == UNUSED and self.trylock(gfn)

    def notifier_unmap(self, gfns: Iterable[int], rewrite: str = "none") -> int:
        return sum(self._notifier_unmap(gfn, rewrite) for gfn in gfns)

    def _notifier_unmap(self, gfn: int, rewrite: str) -> bool:
        present = self.guest_present(gfn)
        if self._try_set_unused(gfn, present):
            self.host_pte[gfn] |= PTE_UNUSED
        self._empty(gfn)
        self.two["notifier_unmaps"] += present
        word = self.host_word(gfn)
        if is_present(word):
            if rewrite == "xchg":
                self.set_pte_anew(gfn, word)
            elif rewrite == "set":  # set_ptes cleared it from the start
                self.host_pte[gfn] = word & ~PTE_UNUSED
        return present

    def _empty(self, gfn: int) -> None:
        """gmap_ptep_xchg(_PTE_EMPTY): for every page of the range, mapped or not."""
        self._clear_zero(gfn)
        self.move_key(gfn, PTE_NONE)
        pte = self.pte[gfn]
        if self.guest_present(gfn):
            frame = self.frame[gfn]
            if pte & PTE_DIRTY and frame is not None:
                self.host.frames[frame].dirty = True
            self.apart[gfn] = True
            self._store_pte(gfn, PTE_NONE)
        elif not is_none(pte) and not (is_swap(pte) and not is_valid(pte)):
            # a word of no kind, which a test loaded
            self._give_back(gfn)
            self._store_pte(gfn, PTE_NONE)

    # ---- faults

    def _access(self, gfn: int, store: bool) -> Frame:
        frame = self.frame[gfn]
        if self.maps_zero_page(gfn) and self.is_apart(gfn) and not store:
            self.apart[gfn] = False
            self._commit(gfn, self.zero_page() << 12 | GUEST_ZERO_PAGE, clear_zero=True)
            return Frame()
        if self.foreign[gfn] or frame is None or not self.is_apart(gfn):
            return super()._access(gfn, store)
        # gmap_link: the host's PTE is there, and fast get_user_pages does not write it; the
        # guest may store later without a fault of the host's where the host's PTE has WRITE
        if store:
            self._host_writes(gfn)
        self.apart[gfn] = False
        load = 0x205 | self.host_pte[gfn] & PTE_WRITE
        self._commit(gfn, frame << 12 | (0x02D if store else load), clear_zero=True)
        if self.uses_skeys:
            key = self.real_keys.get(frame, 0)
            self.real_keys[frame] = key | KEY_R | (KEY_C if store else 0)
        return self.host.frames[frame]

    def _host_writes(self, gfn: int) -> None:
        """A store where the host's PTE does not let it write: wp_page_reuse."""
        word = self.host_pte[gfn]
        if not word & PTE_WRITE:
            word = word & ~(PTE_PROTECT | PTE_INVALID) | (FRESH & ~PTE_NOEXEC)
            self.set_pte_anew(gfn, word)

    def _touch(self, gfn: int, store: bool) -> None:
        pte = self.pte[gfn]
        if store and pte & PTE_PROTECT and not pte & PTE_WRITE:
            self._host_writes(gfn)
        super()._touch(gfn, store)

    def _map_zeroed(self, gfn: int, store: bool) -> None:
        super()._map_zeroed(gfn, store)
        self._host_maps(gfn, FRESH)

    def _map_from_swap(self, gfn: int, store: bool) -> None:
        super()._map_from_swap(gfn, store)
        self._host_maps(gfn, FRESH if store else CLEAN)

    def _host_maps(self, gfn: int, bits: int) -> None:
        frame = self.frame[gfn]
        assert frame is not None
        self.host_pte[gfn] = frame << 12 | bits
        self.apart[gfn] = False

    # ---- reclaim

    def has_page(self, gfn: int) -> bool:
        return self.guest_present(gfn) or self.is_apart(gfn)

    def is_young(self, gfn: int) -> bool:
        if self.is_apart(gfn):
            return bool(self.host_pte[gfn] & PTE_YOUNG)
        return super().is_young(gfn)

    def aged_pte(self, gfn: int, pte: int) -> None:
        """gmap_age_gfn, and the host's own: both tables age at once."""
        self.host_pte[gfn] = self.host_pte[gfn] & ~PTE_YOUNG | PTE_INVALID
        if not self.is_apart(gfn):
            super().aged_pte(gfn, pte)

    def drops_unused(self, gfn: int, old: int) -> bool:
        """try_to_unmap_one: the notifier, and then a look at the host's PTE alone."""
        drops = self._try_set_unused(gfn, is_present(old)) or bool(self.host_pte[gfn] & PTE_UNUSED)
        self.two["used_discards"] += drops and usage(self.pgste[gfn]) != UNUSED
        return drops

    def was_written(self, gfn: int) -> None:
        self.two["unused_swap_outs"] += usage(self.pgste[gfn]) == UNUSED

    def set_pte(self, gfn: int, pte: int) -> None:
        """The host's set_pte_at: a swap entry, or a lazyfree page that stays after all."""
        super().set_pte(gfn, pte)
        if is_swap(pte):
            self.apart[gfn] = False
        else:
            self.host_pte[gfn] &= ~PTE_UNUSED

    # ---- zap

    def _zap(self, gfn: int) -> bool:
        """gmap_helper_zap_one_page: v7.0 waits for the lock, later ones only try it."""
        if self.zappable(gfn) and self.revision != "7.0" and not self.trylock(gfn):
            return False
        return super()._zap(gfn)

    # ---- loaded words, madvise

    def set_words(self, gfn: int, pgste: int | None = None, pte: int | None = None) -> None:
        if pte is not None and pte != self.shown(gfn):
            self._check([gfn])
            self._load_pte(gfn, pte)
        super().set_words(gfn, pgste)

    def _load_pte(self, gfn: int, pte: int) -> None:
        super()._load_pte(gfn, pte)
        self.apart[gfn] = self.soft_dirty_empty[gfn] = False
        if self.frame[gfn] is None and is_present(pte):
            zero = self.allow_cow_sharing and self.is_zero_word(pte)
            self.host_pte[gfn] = frame_number(pte) << 12 | (ZERO_PAGE_BITS if zero else FRESH)

    def _give_back(self, gfn: int) -> bool:
        freed = super()._give_back(gfn)
        self.apart[gfn] = False
        return freed

    def _madvise_no_frame(self, gfn: int) -> None:
        if self.is_apart(gfn):  # foreign
            self._clear_zero(gfn)
            self.move_key(gfn, PTE_NONE)
            self._give_back(gfn)
            return
        super()._madvise_no_frame(gfn)

    def _madvise_free(self, gfn: int) -> None:
        index = self.frame[gfn]
        assert index is not None
        if not self._passes_over(self.host.frames[index]):
            word = self.host_pte[gfn]
            if word & (PTE_YOUNG | PTE_DIRTY):
                word &= ~(PTE_YOUNG | PTE_DIRTY | PTE_UNUSED)
                self.host_pte[gfn] = word | PTE_INVALID | PTE_PROTECT
            if self.is_apart(gfn):
                self._clear_zero(gfn)
        word = self.host_pte[gfn]
        super()._madvise_free(gfn)
        self.host_pte[gfn] = word

    def hold(self, gfns: Sequence[int], on: bool) -> None:
        locks = {gfn // PTES_OF_A_LOCK for gfn in gfns}
        self.held = self.held | locks if on else self.held - locks

    def set_contention(self, rate: Fraction) -> None:
        self.rate = rate
        self.tries_of_free_locks = 0

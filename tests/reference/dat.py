# SPDX-License-Identifier: MIT
"""Page tables and storage keys of KVM from Linux v7.0 on, as its text has them.

Two tables of whole words, the guest's (`gpte`, with `pgste`) and the host's (`hpte`), in memory
that nobody else manages.  Each method is one function of arch/s390/kvm/dat.c, gmap.c, gmap.h,
gaccess.c or arch/s390/mm/gmap_helpers.c, under that function's name; those of the host's table are
of include/asm/pgtable.h and come with the MMU notifier that precedes them.  Locks, TLB flushes and
virtual CPUs that run are left out.
"""

from __future__ import annotations

from collections.abc import MutableMapping

MASK = (1 << 64) - 1
EMPTY = 0x400
INVALID, PROTECT = 0x400, 0x200
UNUSED, SPECIAL, WRITE, READ = 0x080, 0x040, 0x020, 0x010
DIRTY, YOUNG, SD, PRESENT = 0x008, 0x004, 0x002, 0x001
SW_BITS = 0x0FF

ACC, FP = 0xF << 60, 1 << 59
HR, HC, GR, GC = 1 << 54, 1 << 53, 1 << 50, 1 << 49
ZERO = 1 << 31
USAGE, USAGE_UNUSED = 3 << 24, 1 << 24
PREFIX, VSIE, GMEM = 0x4000, 0x2000, 0x1000

R, C = 0x04, 0x02
EAGAIN, EOPNOTSUPP = -11, -95
#: What a fault that makes the host map a page leaves in its table.
HOST_MAPPED = 0x13F


def pfra(word: int) -> int:
    return word >> 12


def key_of(pgste: int) -> int:
    """ACC, F, GR and GC as a storage key."""
    key = (pgste & (ACC | FP)) >> 56
    return key | (R if pgste & GR else 0) | (C if pgste & GC else 0)


def with_key(pgste: int, key: int) -> int:
    pgste &= ~(ACC | FP | GR | GC)
    pgste |= (key & 0xF8) << 56
    return pgste | (GR if key & R else 0) | (GC if key & C else 0)


def _pte(frame: int, writable: bool, dirty: bool, special: bool) -> int:
    word = frame << 12 | YOUNG | PRESENT
    word |= 0 if dirty else PROTECT
    word |= WRITE if writable else 0
    word |= DIRTY | SD if dirty else 0
    return word | (SPECIAL if special else 0)


class DatMachine:
    def __init__(
        self, pages: int, frames: int, revision: str, keys: MutableMapping[int, int]
    ) -> None:
        self.gpte = [EMPTY] * pages
        self.hpte = [EMPTY] * pages
        self.pgste = [0] * pages
        self.frames = frames
        self.revision = revision
        self.real_keys = keys
        self.uses_skeys = False
        self.notes: list[tuple[int, int]] = []

    def words(self) -> list[int]:
        """What the engine shows: the guest's PTE, the host's swap entry where it is empty."""
        shown = []
        for guest, host in zip(self.gpte, self.hpte, strict=True):
            swapped = host & (PROTECT | PRESENT | INVALID) == PROTECT | INVALID
            shown.append(host if guest & ~SD == EMPTY and swapped else guest)
        return shown

    # ---- the machine

    def page_get_storage_key(self, word: int) -> int:
        return self.real_keys.get(pfra(word), 0)

    def page_set_storage_key(self, word: int, key: int) -> None:
        if pfra(word) < self.frames:
            self.real_keys[pfra(word)] = key & 0xFE

    def page_reset_referenced(self, word: int) -> int:
        key = self.page_get_storage_key(word)
        self.page_set_storage_key(word, key & ~R)
        return (2 if key & R else 0) | (1 if key & C else 0)

    # ---- exchanges of the guest's PTE

    def __dat_ptep_xchg(self, gfn: int, pgste: int, new: int) -> int:
        old = self.gpte[gfn]
        if (old ^ new) & ~SW_BITS and self.uses_skeys:
            if old & INVALID and not new & INVALID:
                self.page_set_storage_key(new, (pgste & (ACC | FP)) >> 56)
            elif not old & INVALID and new & INVALID:
                skey = self.page_get_storage_key(old)
                pgste = with_key(pgste, skey | key_of(pgste) & (R | C))
            elif not old & INVALID and not new & INVALID and pfra(old) != pfra(new):
                self.page_set_storage_key(new, self.page_get_storage_key(old))
        self.gpte[gfn] = new
        return pgste

    def exchange_keys(self, gfn: int, new: int) -> None:
        """What an exchange does to the key, for those who do the rest themselves."""
        self.pgste[gfn] = self.__dat_ptep_xchg(gfn, self.pgste[gfn], new)

    def pte_needs_unshadow(self, old: int, new: int, pgste: int) -> bool:
        if not pgste & VSIE:
            return False
        if self.revision == "7.0":  # "vsie: Fix unshadowing logic" is of 7.1
            return (old & PROTECT) != (new & PROTECT) or bool(new & INVALID)
        if pgste & GMEM:
            return (old & PROTECT) != (new & PROTECT) or bool(new & INVALID)
        return not new & PROTECT or not new & PRESENT

    def gmap_ptep_xchg(self, gfn: int, pgste: int, new: int) -> int:
        told = 0
        if pgste & PREFIX and new & (PROTECT | INVALID):
            told |= PREFIX
        if self.pte_needs_unshadow(self.gpte[gfn], new, pgste):
            told |= VSIE if self.revision == "7.0" else pgste & (VSIE | GMEM)
        if told:
            self.notes.append((gfn, told))
        pgste &= ~told
        if self.revision != "7.0":  # "Properly reset zero bit in PGSTE" is of 7.1
            pgste &= ~ZERO
        return self.__dat_ptep_xchg(gfn, pgste, new)

    # ---- the guest's table

    def gmap_link(self, gfn: int, frame: int, writable: bool, store: bool, special: bool) -> int:
        old = self.gpte[gfn]
        new = _pte(frame, writable, store or bool(old & DIRTY), special)
        new = new & ~SD | old & SD
        if old & ~SD != EMPTY and pfra(old) != frame:
            return EAGAIN
        self.pgste[gfn] = self.gmap_ptep_xchg(gfn, self.pgste[gfn], new)
        if not self.hpte[gfn] & PRESENT or pfra(self.hpte[gfn]) != frame:
            self.hpte[gfn] = frame << 12 | HOST_MAPPED  # faulted in for it
        return 0

    def _gmap_unmap_pte(self, gfn: int) -> None:
        if self.gpte[gfn] & PRESENT and self.pgste[gfn] & USAGE == USAGE_UNUSED:
            self.hpte[gfn] |= UNUSED  # gmap_helper_try_set_pte_unused
        self.pgste[gfn] = self.gmap_ptep_xchg(gfn, self.pgste[gfn], EMPTY)

    def gmap_clear_young_pte(self, gfn: int) -> bool:
        pte = self.gpte[gfn]
        if not pte & PRESENT or (not pte & YOUNG and pte & INVALID):
            return False
        pgste = self.pgste[gfn]
        new = (pte | INVALID | PROTECT) & ~(YOUNG | DIRTY)
        if pgste & PREFIX:
            self.notes.append((gfn, PREFIX))
        self.pgste[gfn] = self.__dat_ptep_xchg(gfn, pgste & ~PREFIX, new)
        return True

    def age(self, gfn: int) -> tuple[bool, int]:
        """Both tables, as folio_referenced asks of them."""
        before = self.words()[gfn]
        host = self.hpte[gfn]
        if host & PRESENT:  # ptep_test_and_clear_young
            self.hpte[gfn] = host & ~YOUNG | INVALID
        young = bool(host & PRESENT and host & YOUNG)
        return self.gmap_clear_young_pte(gfn) or young, before

    def __pte_test_and_clear_softdirty(self, gfn: int) -> bool:
        pte = self.gpte[gfn]
        if not pte & PRESENT or (pte & PROTECT and not pte & SD):
            return False
        new = (pte | PROTECT) & ~SD
        self.pgste[gfn] = self.gmap_ptep_xchg(gfn, self.pgste[gfn], new)
        return True

    def test_and_clear_dirty(self, gfn: int) -> bool:
        return self.__pte_test_and_clear_softdirty(gfn)

    def dat_set_pn_pte(self, gfn: int) -> None:
        if not self.gpte[gfn] & (INVALID | PROTECT):
            self.pgste[gfn] |= PREFIX

    def gmap_protect_rmap(self, gfn: int, bits: int) -> int:
        pte = self.gpte[gfn]
        if not pte & PRESENT:
            return EAGAIN  # the kernel would have faulted it in before
        self.pgste[gfn] = self.gmap_ptep_xchg(gfn, self.pgste[gfn], pte | PROTECT) | bits
        return 0

    def _do_shadow_pte(self, gfn: int, shadow: DatMachine, target: int, protect: bool) -> int:
        host = self.gpte[gfn]
        if not host & PRESENT:
            return EAGAIN
        frame, writable = pfra(host), bool(host & WRITE)
        new = _pte(frame, writable, not protect, bool(host & SPECIAL)) | host & (DIRTY | SD)
        if not host & PROTECT:
            new &= ~PROTECT
        if not new & PROTECT and not writable:
            return EOPNOTSUPP
        invalidated = self.pte_needs_unshadow(host, new, self.pgste[gfn])
        pgste = self.gmap_ptep_xchg(gfn, self.pgste[gfn], new)
        self.pgste[gfn] = pgste | VSIE | (0 if self.revision == "7.0" else GMEM)
        if invalidated:
            return EAGAIN
        table = _pte(frame, False, not protect, False)
        shadow.pgste[target] = shadow.__dat_ptep_xchg(target, shadow.pgste[target], table)
        if not shadow.hpte[target] & PRESENT or pfra(shadow.hpte[target]) != frame:
            shadow.hpte[target] = frame << 12 | HOST_MAPPED
        return 1

    def gmap_unshadow_level(self, gfn: int) -> None:
        """A shadow's table has no host table beside; here it goes with the page."""
        if self.gpte[gfn] != EMPTY:
            self.pgste[gfn] = self.__dat_ptep_xchg(gfn, self.pgste[gfn], EMPTY)
            self.hpte[gfn] = EMPTY

    # ---- the host's table

    def _host(self, gfn: int, word: int) -> None:
        """A word for the host's table: the guest keeps its PTE only if that names the same."""
        old = self.hpte[gfn]
        if word == old:
            return
        if not (word & old & PRESENT and pfra(word) == pfra(old)):
            self.pgste[gfn] = self.gmap_ptep_xchg(gfn, self.pgste[gfn], EMPTY)
        self.hpte[gfn] = word

    def set_ptes(self, gfn: int, word: int) -> None:
        self._host(gfn, word & ~UNUSED if word & PRESENT else word)

    def _set_pte(self, word: int) -> int:
        fixed = self.revision not in ("7.0", "7.1") and word & PRESENT
        return word & ~UNUSED if fixed else word

    def ptep_xchg(self, gfn: int, word: int) -> int:
        self._gmap_unmap_pte(gfn)
        old = self.hpte[gfn]
        self._host(gfn, self._set_pte(word))
        return old

    def ptep_modify_prot_start(self, gfn: int) -> int:
        self._gmap_unmap_pte(gfn)
        old = self.hpte[gfn]
        if old & PRESENT:
            self.hpte[gfn] = old | INVALID
        return old

    def ptep_modify_prot_commit(self, gfn: int, word: int) -> None:
        self._host(gfn, self._set_pte(word))

    def clear_soft_dirty(self, gfn: int) -> None:
        old = self.ptep_modify_prot_start(gfn)
        if old & PRESENT:
            self.ptep_modify_prot_commit(gfn, (old & ~WRITE | PROTECT) & ~SD)
        elif old != EMPTY:
            self.set_ptes(gfn, old & ~SD)

    # ---- storage keys

    def _update_ptep_sd(self, gfn: int, old: int) -> None:
        if key_of(old) != key_of(self.pgste[gfn]):
            self.gpte[gfn] |= SD

    def dat_get_storage_key(self, gfn: int) -> int:
        key = key_of(self.pgste[gfn])
        if self.gpte[gfn] & INVALID:
            return key
        return self.page_get_storage_key(self.gpte[gfn]) | key & (R | C)

    def _hold(self, skey: int) -> int:
        return (HR if skey & R else 0) | (HC if skey & C else 0)

    def dat_set_storage_key(self, gfn: int, skey: int) -> None:
        old = self.pgste[gfn]
        pgste = with_key(old, skey)
        if not self.gpte[gfn] & INVALID:
            pgste |= self._hold(self.page_get_storage_key(self.gpte[gfn]))
            self.page_set_storage_key(self.gpte[gfn], skey & ~(R | C))
        self.pgste[gfn] = pgste
        self._update_ptep_sd(gfn, old)

    def dat_cond_set_storage_key(self, gfn: int, skey: int, mr: bool, mc: bool) -> tuple[int, int]:
        old = self.pgste[gfn]
        pgste = with_key(old, skey)
        prev, rc = key_of(old), 1
        if not self.gpte[gfn] & INVALID:
            real = self.page_get_storage_key(self.gpte[gfn])
            same = real & 0xF8 == skey & 0xF8
            same = same and (real & R == skey & R or mr) and (real & C == skey & C or mc)
            if same:
                rc = 0
            else:
                self.page_set_storage_key(self.gpte[gfn], skey)
            pgste |= self._hold(real)
            prev = real | key_of(old) & (R | C)
        self.pgste[gfn] = pgste
        self._update_ptep_sd(gfn, old)
        return rc, prev

    def dat_reset_reference_bit(self, gfn: int) -> int:
        old = self.pgste[gfn]
        pgste, skey = old, 0
        if not self.gpte[gfn] & INVALID:
            skey = self.page_reset_referenced(self.gpte[gfn]) << 1
            pgste = pgste & ~HR | (HR if skey & R else 0)
        skey |= key_of(old) & (R | C)
        self.pgste[gfn] = pgste & ~GR
        self._update_ptep_sd(gfn, old)
        return skey >> 1

    def gmap_enable_skeys(self) -> None:
        if not self.uses_skeys:
            self.dat_reset_skeys()

    def dat_reset_skeys(self) -> None:
        self.uses_skeys = True
        for gfn in range(len(self.gpte)):
            self.reset_skeys_pte(gfn)

    def reset_skeys_pte(self, gfn: int) -> None:
        self.pgste[gfn] = with_key(self.pgste[gfn], 0)
        if self.gpte[gfn] & PRESENT:
            self.page_set_storage_key(self.gpte[gfn], 0)

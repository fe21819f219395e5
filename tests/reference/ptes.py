# SPDX-License-Identifier: MIT
"""PTEs, PGSTEs and storage keys of the kernel up to v6.19, as its text has them.

Each method is one function of arch/s390/mm/pgtable.c, under that function's name, on 64-bit
words: locks, TLB flushes and barriers are left out, as nothing else runs.  The machine has
enhanced suppression on protection and no-execute.  `set_pte_at` and `clear_soft_dirty` are those
of include/asm/pgtable.h and fs/proc/task_mmu.c; `enable_skey` is s390_enable_skey of gmap.c for a
guest all of whose page tables exist.
"""

from __future__ import annotations

from collections.abc import MutableMapping

MASK = (1 << 64) - 1

ACC = 0xF << 60
FP = 1 << 59
PCL = 1 << 55
HR, HC = 1 << 54, 1 << 53
GR, GC = 1 << 50, 1 << 49
UC, IN, VSIE = 1 << 47, 1 << 46, 1 << 45
ZERO = 1 << 31
USAGE_MASK, USAGE_UNUSED = 3 << 24, 1 << 24

PAGE_MASK = MASK & ~0xFFF
INVALID, PROTECT = 0x400, 0x200
UNUSED_BIT, WRITE, READ = 0x080, 0x020, 0x010
YOUNG, SOFT_DIRTY, PRESENT = 0x004, 0x002, 0x001

KEY_ACC, KEY_FP, KEY_R, KEY_C = 0xF0, 0x08, 0x04, 0x02

PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
EAGAIN = 11


class Layer:
    """Pages of one mm: `pte` and `pgste` are its tables, `real_keys` the machine's frames."""

    pte: list[int]
    pgste: list[int]
    real_keys: MutableMapping[int, int]
    frames: int  # of the machine; others have no key
    uses_skeys: bool
    notes: list[tuple[int, int]]
    locked: set[int]  # PGSTEs whose PCL bit stays set: between start and commit

    def write_pte(self, gfn: int, word: int) -> None:
        """set_pte()."""
        self.pte[gfn] = word

    # ---- the machine

    def page_get_storage_key(self, address: int) -> int:
        return self.real_keys.get(address >> 12, 0)

    def page_set_storage_key(self, address: int, key: int) -> None:
        if address >> 12 < self.frames:
            self.real_keys[address >> 12] = key

    def page_reset_referenced(self, address: int) -> int:
        """RRBE: the condition code."""
        key = self.page_get_storage_key(address)
        self.page_set_storage_key(address, key & ~KEY_R)
        return (2 if key & KEY_R else 0) + (1 if key & KEY_C else 0)

    # ---- static functions

    def pgste_update_all(self, gfn: int, pte: int) -> None:
        if not self.uses_skeys or pte & INVALID:
            return
        skey = self.page_get_storage_key(pte & PAGE_MASK)
        bits = skey & (KEY_C | KEY_R)
        word = self.pgste[gfn]
        word |= bits << 48
        word &= ~(ACC | FP)
        word |= (skey & (KEY_ACC | KEY_FP)) << 56
        self.pgste[gfn] = word

    def pgste_set_key(self, gfn: int, entry: int) -> None:
        if not self.uses_skeys or entry & INVALID:
            return
        word = self.pgste[gfn]
        nkey = (word & (ACC | FP)) >> 56
        nkey |= (word & (GR | GC)) >> 48
        self.page_set_storage_key(entry & PAGE_MASK, nkey)

    def pgste_set_pte(self, gfn: int, entry: int) -> None:
        writable = entry & PRESENT and entry & WRITE and not entry & INVALID
        if writable and not entry & PROTECT:
            self.pgste[gfn] |= UC
        self.write_pte(gfn, entry)

    def pgste_pte_notify(self, gfn: int) -> None:
        bits = self.pgste[gfn] & (IN | VSIE)
        if bits:
            self.pgste[gfn] ^= bits
            self.notes.append((gfn, bits))

    # ---- exchange and set

    def ptep_xchg(self, gfn: int, new: int) -> int:
        """ptep_xchg_direct and ptep_xchg_lazy, with ptep_xchg_start and _commit."""
        self.pgste_pte_notify(gfn)
        old = self.pte[gfn]
        if old & INVALID:
            self.pgste_set_key(gfn, new)
        if new & INVALID:
            self.pgste_update_all(gfn, old)
            if self.pgste[gfn] & USAGE_MASK == USAGE_UNUSED:
                old |= UNUSED_BIT
        self.pgste_set_pte(gfn, new)
        return old

    def ptep_set_pte_at(self, gfn: int, entry: int) -> None:
        self.pgste[gfn] &= ~ZERO
        self.pgste_set_key(gfn, entry)
        self.pgste_set_pte(gfn, entry)

    def set_pte_at(self, gfn: int, entry: int) -> None:
        if entry & PRESENT:
            entry &= ~UNUSED_BIT
        self.ptep_set_pte_at(gfn, entry)

    def ptep_test_and_clear_young(self, gfn: int) -> tuple[bool, int]:
        """Of a present PTE, as its callers see to."""
        pte = self.pte[gfn]
        if not pte & PRESENT:
            return False, pte
        pte = self.ptep_xchg(gfn, pte & ~YOUNG | INVALID)
        return bool(pte & YOUNG), pte

    def ptep_modify_prot_start(self, gfn: int) -> int:
        self.pgste_pte_notify(gfn)
        old = self.pte[gfn]
        if not old & INVALID:
            self.write_pte(gfn, old | INVALID)  # by IPTE, or lazily
        self.pgste_update_all(gfn, old)
        self.locked.add(gfn)
        return old

    def ptep_modify_prot_commit(self, gfn: int, pte: int) -> None:
        self.pgste_set_key(gfn, pte)
        self.pgste_set_pte(gfn, pte)
        self.locked.discard(gfn)

    # ---- dirty logs

    def ptep_test_and_clear_uc(self, gfn: int) -> bool:
        dirty = bool(self.pgste[gfn] & UC)
        self.pgste[gfn] &= ~UC
        pte = self.pte[gfn]
        if dirty and pte & PRESENT:
            self.pgste_pte_notify(gfn)
            self.write_pte(gfn, pte | PROTECT)
        return dirty

    def soft_dirty(self, gfn: int) -> bool:
        return bool(self.pte[gfn] & SOFT_DIRTY)

    def clear_soft_dirty(self, gfn: int) -> None:
        pte = self.pte[gfn]
        if pte & PRESENT:
            pte = self.ptep_modify_prot_start(gfn)
            pte = pte & ~WRITE | PROTECT
            pte &= ~SOFT_DIRTY
            self.ptep_modify_prot_commit(gfn, pte)
        elif pte != INVALID:
            self.set_pte_at(gfn, pte & ~SOFT_DIRTY)

    # ---- gmap's

    def ptep_set_notify(self, gfn: int, bits: int = IN) -> None:
        self.pgste[gfn] |= bits

    def ptep_force_prot(self, gfn: int, prot: int, bit: int) -> int:
        entry = self.pte[gfn]
        pte_i, pte_p = entry & INVALID, entry & PROTECT
        if (pte_i and prot != PROT_NONE) or (pte_p and prot & PROT_WRITE):
            return -EAGAIN
        if prot == PROT_NONE and not pte_i:
            self.pgste_update_all(gfn, entry)
            entry |= INVALID
        if prot == PROT_READ and not pte_p:
            entry &= ~INVALID
            entry |= PROTECT
        self.pgste[gfn] |= bit
        self.pgste_set_pte(gfn, entry)
        return 0

    def ptep_shadow_pte(self, gfn: int, shadow: Layer, target: int, pte: int) -> int:
        if not shadow.pte[target] & INVALID:
            return 0
        spte = self.pte[gfn]
        if not spte & INVALID and not (spte & PROTECT and not pte & PROTECT):
            self.pgste[gfn] |= VSIE
            shadow.pgste_set_pte(target, (spte & PAGE_MASK) | (pte & PROTECT))
            return 1
        return -EAGAIN

    def ptep_unshadow_pte(self, gfn: int) -> None:
        self.pgste_set_pte(gfn, INVALID)

    def set_pgste_bits(self, gfn: int, bits: int, value: int) -> None:
        bits &= ~PCL
        self.pgste[gfn] = self.pgste[gfn] & ~bits | value & bits

    # ---- storage keys

    def ptep_zap_key(self, gfn: int) -> None:
        self.pgste[gfn] &= ~(ACC | FP)
        self.pgste[gfn] |= GR | GC
        pte = self.pte[gfn]
        if not pte & INVALID and pte & WRITE:
            self.page_set_storage_key(pte & PAGE_MASK, 0)

    def enable_skey(self) -> None:
        if not self.uses_skeys:
            self.reset_skeys()

    def reset_skeys(self) -> None:
        self.uses_skeys = True
        for gfn in range(len(self.pte)):
            self.ptep_zap_key(gfn)

    def set_guest_storage_key(self, gfn: int, key: int) -> None:
        old = self.pgste[gfn]
        new = old & ~(GR | GC | ACC | FP)
        new |= (key & (KEY_C | KEY_R)) << 48
        new |= (key & (KEY_ACC | KEY_FP)) << 56
        if not self.pte[gfn] & INVALID:
            paddr = self.pte[gfn] & PAGE_MASK
            bits = self.page_get_storage_key(paddr) & (KEY_C | KEY_R)
            self.page_set_storage_key(paddr, key & (KEY_ACC | KEY_FP))
            new |= bits << 52
        if (new ^ old) & (ACC | FP | GR | GC):
            new |= UC
        self.pgste[gfn] = new

    def get_guest_storage_key(self, gfn: int) -> int:
        word = self.pgste[gfn]
        key = (word & (ACC | FP)) >> 56
        if not self.pte[gfn] & INVALID:
            key = self.page_get_storage_key(self.pte[gfn] & PAGE_MASK)
        return key | (word & (GR | GC)) >> 48

    def cond_set_guest_storage_key(
        self, gfn: int, key: int, mr: bool, mc: bool
    ) -> tuple[int, int | None]:
        oldkey = None
        mask = KEY_ACC | KEY_FP
        if mr or mc:
            tmp = oldkey = self.get_guest_storage_key(gfn)
            if not mr:
                mask |= KEY_R
            if not mc:
                mask |= KEY_C
            if not (tmp ^ key) & mask:
                return 0, oldkey
        self.set_guest_storage_key(gfn, key)
        return 1, oldkey

    def reset_guest_reference_bit(self, gfn: int) -> int:
        old = self.pgste[gfn]
        new = old & ~GR
        cc = 0
        if not self.pte[gfn] & INVALID:
            cc = self.page_reset_referenced(self.pte[gfn] & PAGE_MASK)
            new |= (cc << 53) & HR
        cc |= (old & (GR | GC)) >> 49
        if (new ^ old) & GR:
            new |= UC
        self.pgste[gfn] = new
        return cc

    # ---- zap

    def ptep_zap_unused(self, gfn: int) -> tuple[int, int] | None:
        """The swap entry that it gave to free_swap_and_cache(): type and offset."""
        word, pte = self.pgste[gfn], self.pte[gfn]
        swap = pte & PROTECT and not pte & PRESENT
        if swap and (word & USAGE_MASK == USAGE_UNUSED or word & ZERO):
            self.write_pte(gfn, INVALID)
            return pte >> 2 & 0x1F, pte >> 12
        return None


class Machine(Layer):
    """An mm by itself, whose frames nobody else manages."""

    def __init__(self, pages: int, frames: int) -> None:
        self.pte = [INVALID] * pages
        self.pgste = [0] * pages
        self.real_keys = {}
        self.frames = frames
        self.uses_skeys = False
        self.notes = []
        self.locked = set()

    def words(self) -> list[int]:
        """PGSTEs with the lock bits of those that are locked."""
        return [word | (PCL if gfn in self.locked else 0) for gfn, word in enumerate(self.pgste)]

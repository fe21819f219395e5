# SPDX-License-Identifier: MIT
"""Faults for copies of the core, and what each does to the table of guarantees.

`FAULTS` change answers.  `why` argues them from the rule that the fault breaks (docs/model.md), as
a run in words.  Where a fault makes runs longer or shorter but changes no answer, the lengths are
given.

`SAME` change no cell: for each the argument why the two cores cannot be told apart by what the
table asks, or why what would show it is outside of what is searched.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAULTS", "SAME", "Fault", "Same"]

Shape = tuple[int | bool | None, ...]
# Pages, frames, swap slots and entries of the list of the systems that are searched.
ONE, TWO = (1, 1, 1, 1), (2, 1, 2, 2)


@dataclass(frozen=True)
class Fault:
    """`file` of src_c says `new` instead of `old`; `changes`: mechanism, question, the answers."""

    name: str
    file: str
    old: str
    new: str
    changes: dict[str, dict[str, str]]
    why: str
    systems: tuple[Shape, ...] = (ONE, TWO)


@dataclass(frozen=True)
class Same:
    """The same of a change that no cell shows; `columns` are those that it is about."""

    name: str
    file: str
    old: str
    new: str
    columns: tuple[str, ...]
    argument: str
    systems: tuple[Shape, ...] = (ONE, TWO)


_ESSA = "guest/essa_table.c"
_UNUSED = "\t\tr.usage = PGSTE_USAGE_UNUSED;\n\t\tr.append = !valid;"
_ZVM = "guest/zvm.c"
_ZAPPABLE = "((state & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED || (state & PGSTE_STATE_ZERO));"
_PTE = "memory/pte.c"
_ZAP = "\tpte_clear(mm, gfn);\n\treturn entry_put(mm, cold);"
_LAZYFREE = "(pte & ~(PTE_YOUNG | PTE_DIRTY)) | PTE_INVALID | PTE_PROTECT);"
_SWAP_OUT = (
    "\tpte_leaves(mm, gfn);\n\tpte_store(mm, gfn, PTE_SWAP | (uint64_t)slot << PTE_PFRA_SHIFT);"
)
_CLEAR_ZERO = "mm->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;"
_FAULT = "memory/fault.c"
_RECLAIM = "memory/reclaim.c"
_EVICT = "memory/evict.c"
_LOAD = "memory/pte_load.c"
_DIRTY = "bool dirty = f->dirty || (mm->pte[f->gfn] & PTE_DIRTY);"
_REARM = "if (dirty || host->rearm == PGSTE_REARM_REFERENCED) {"
_WRITTEN = "if (f->dirty || (mm->pte[f->gfn] & PTE_DIRTY)) {"
_DROPS = "\treturn page_is_unused(mm, gfn);"
_MADVISE = "memory/madvise.c"
_REPORTING = "mech/reporting.c"
_CBRL = "guest/cbrl.c"
_CBRL_ZAP = "zapped += zap_entry(guest, swapped[i], &slots_freed);"
_ALLOC = "guest/alloc.c"
_FREE_PAGE = "change_page(guest, vcpu, gfn, PGSTE_ORC_SET_UNUSED, true)"
_HOST_PTE = "memory/host_pte.c"
_REWRITTEN = "if (unused_lingers(mm->two.revision) || !(bits & PTE_PRESENT))"

_LOST = {
    "lost-after-alloc": "no -> yes",
    "lost-before-alloc": "no -> yes",
    "lost-without-alloc": "no -> yes",
}
_LOST_AND_ANNOUNCED = {**_LOST, "announce-reuse": "no -> yes"}
_LOST_ALWAYS = {**_LOST_AND_ANNOUNCED, "lost-racing": "no -> yes"}
_KEPT_UNTIL_ZAP = {
    "lost-before-alloc": "yes -> no",
    "lost-without-alloc": "yes -> no",
    "lost-racing": "yes -> no",
    "announce-reuse": "yes -> no",
}

FAULTS = (
    # ---- ESSA ----
    Fault(
        "set unused puts nothing on the list",
        _ESSA,
        _UNUSED,
        "\t\tr.usage = PGSTE_USAGE_UNUSED;",
        {
            "cmma": {
                "entry-lost": "no -> n/a",
                "entry-twice": "no -> n/a",
                "stable-zero": "no -> n/a",
            }
        },
        "no entry, no ZERO: the questions about them cannot arise; usage alone makes it zappable",
    ),
    Fault(
        "set unused leaves the usage",
        _ESSA,
        _UNUSED,
        "\t\tr.append = !valid;",
        {"cmma": _KEPT_UNTIL_ZAP},
        "what the guest stored while the page was free is of a page in use: ZERO goes with the"
        " first touch, and nothing else lets the host drop it",
    ),
    Fault(
        "set stable leaves the usage",
        _ESSA,
        "\t\tr.usage = PGSTE_USAGE_STABLE;\n\t\tr.nodat = false;",
        "\t\tr.nodat = false;",
        {"cmma": {"lost-after-alloc": "no -> yes"}},
        "free, alloc, store, reclaim: the page still counts as unused",
    ),
    Fault(
        "pgtable: every ESSA clears ZERO, as since v7.0",
        _ESSA,
        "zero = zero || r.append;",
        "zero = r.append;",
        {"cmma": {"stable-zero": "no -> n/a"}},
        "set stable clears ZERO, so no page is stable with it",
    ),
    Fault(
        "v7.1: set stable leaves ZERO, as before v7.0",
        _ESSA,
        "\t\tzero = r.append;\n",
        "\t\tzero = zero || r.append;\n",
        {"cmma_7_1_5": {"stable-zero": "n/a -> no"}},
        "store, reclaim, free, alloc, zap",
    ),
    Fault(
        "the list has pages that are mapped, not those that are not",
        _ESSA,
        _UNUSED,
        "\t\tr.usage = PGSTE_USAGE_UNUSED;\n\t\tr.append = valid;",
        {"cmma": {"entry-lost": "no -> yes", "stable-zero": "no -> yes"}},
        "free (listed), reset, reclaim, free: the full list is processed first, and the page, now"
        " on swap, is not put on it again; pages on swap get no ZERO, so none is lost with it",
    ),
    Fault(
        "an entry of the list gets no ZERO",
        _ESSA,
        "zero = zero || r.append;",
        "zero = false;",
        {"cmma": {"stable-zero": "no -> n/a"}},
        "the usage still says what may be zapped; no page is stable with ZERO",
    ),
    # ---- free and alloc ----
    Fault(
        "arch_alloc_page says nothing",
        _ALLOC,
        "change_page(guest, vcpu, gfn, alloc_orc(guest), false)",
        "change_page(guest, vcpu, gfn, PGSTE_ORC_GET_STATE, false)",
        {"cmma": {"lost-after-alloc": "no -> yes"}},
        "free, alloc, store, reclaim: the page is unused for the host",
    ),
    Fault(
        "arch_free_page says volatile",
        _ALLOC,
        _FREE_PAGE,
        "change_page(guest, vcpu, gfn, PGSTE_ORC_SET_VOLATILE, true)",
        {
            "cmma": _KEPT_UNTIL_ZAP,
            "cmma_zvm": {"lost-before-alloc": "no -> yes", "lost-without-alloc": "no -> yes"},
        },
        "KVM drops unused pages only; on z/VM a volatile page can be touched, and dropped",
    ),
    Fault(
        "arch_free_page says nothing",
        _ALLOC,
        _FREE_PAGE,
        "change_page(guest, vcpu, gfn, PGSTE_ORC_GET_STATE, true)",
        {
            "cmma": {
                **_KEPT_UNTIL_ZAP,
                "zero-after-zap": "yes -> n/a",
                "zapped-ever": "yes -> no",
                "entry-lost": "no -> n/a",
                "entry-twice": "no -> n/a",
                "stable-zero": "no -> n/a",
            }
        },
        "the answers of a guest that says nothing",
    ),
    Fault(
        "the hypervisor is told of a free with the next one",
        _ALLOC,
        "\t\terror = hint_all(guest, v, all, order, to_free);\n\tguest_settle(guest);",
        "\t\terror = hint_all(guest, v, all, order, to_free);",
        {
            "madv_free_alone": {
                **_LOST_AND_ANNOUNCED,
                "zap-harms": "no -> yes",
                "zapped-under-pressure": "yes -> no",
            }
        },
        "free, alloc, store, another free: only now the page is given up, in use",
    ),
    Fault(
        "a CMMA reset leaves the usage",
        "guest/cmma.c",
        "clear_bits(guest, PGSTE_STATE_USAGE | PGSTE_STATE_NODAT |",
        "clear_bits(guest, PGSTE_STATE_NODAT |",
        {
            "cmma_zvm": {
                "zapped-under-pressure": "no -> yes",
                "lost-before-alloc": "no -> n/a",
                "lost-without-alloc": "no -> n/a",
            }
        },
        "the reset was the only way for a free page of z/VM to be kept, or to be stored to",
    ),
    # ---- z/VM ----
    Fault(
        "every request gives up what is on the paging device",
        _ZVM,
        "(state & PGSTE_STATE_SWAP) && c.usage != PGSTE_USAGE_STABLE",
        "(state & PGSTE_STATE_SWAP)",
        {"cmma_zvm": {"lost-after-alloc": "no -> yes", "lost-before-alloc": "no -> yes"}},
        "store, reclaim, alloc of a page in use",
    ),
    Fault(
        "an unused page can be touched",
        _ZVM,
        "\t\terror = PGSTE_E_PGM_ADDRESSING;",
        "\t\terror = PGSTE_OK;",
        {
            "cmma_zvm": {
                "touch-while-free": "no -> yes",
                "lost-before-alloc": "no -> yes",
                "lost-without-alloc": "no -> yes",
            }
        },
        "free, store, reclaim, alloc: as on KVM",
    ),
    Fault(
        "stable pages are dropped",
        _ZVM,
        "case PGSTE_USAGE_STABLE: return false;",
        "case PGSTE_USAGE_STABLE: return true;",
        {"cmma_zvm": {**_LOST, "zapped-under-pressure": "no -> yes"}},
        "store, reclaim",
    ),
    # ---- zap and the list ----
    Fault(
        "a swap entry's usage is not asked for",
        "scan/scan.h",
        _ZAPPABLE,
        "(true);",
        {"cmma": {"lost-after-alloc": "no -> yes"}},
        "store, reclaim, zap",
    ),
    Fault(
        "ZERO does not make a page zappable",
        "scan/scan.h",
        _ZAPPABLE,
        "((state & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED);",
        {"cmma": {"stable-zero": "no -> yes"}},
        "a stable page with ZERO set is left alone",
    ),
    Fault(
        "a zap leaves the swap entry it gave up",
        _LOAD,
        _ZAP,
        "\treturn entry_put(mm, cold);",
        {
            "cmma": {
                "entry-lost": "no -> yes",
                "entry-twice": "no -> yes",
                "zap-harms": "no -> yes",
            },
            "madv_free_alone": {
                "zapped-under-pressure": "yes -> no",
                "zap-harms": "no -> yes",
            },
        },
        "store, reclaim, free, process: the page is still zappable, its slot has no use, and what "
        "is read from there is nobody's",
    ),
    Fault(
        "a zap keeps the slot",
        _LOAD,
        _ZAP,
        "\tpte_clear(mm, gfn);\n\treturn cold == 1;",
        {"cmma": {"entry-twice": "no -> yes"}},
        "store, reclaim, free, process: the use counts do not add up",
    ),
    Fault(
        "the wrong page is zapped",
        "guest/zap.c",
        "\tzapped = zap_entry(guest, gfn, &slots_freed);",
        "\tzapped = zap_swapped(guest, (gfn + 1) % guest->mm.nr_pages, &slots_freed);",
        {"cmma": {"lost-after-alloc": "no -> yes", "zap-harms": "no -> yes"}},
        "both pages on swap, one free: a zap of it takes the other",
    ),
    Fault(
        "the last entry is not processed",
        _CBRL,
        "const uint32_t nr = vcpu->nr;",
        "const uint32_t nr = vcpu->nr ? vcpu->nr - 1 : 0;",
        {"cmma": {"entry-lost": "no -> yes"}},
        "free, process: an entry has left the list and was not processed",
    ),
    Fault(
        "the first entry is passed over",
        _CBRL,
        "for (uint32_t i = 0; i < nr; i++) {\n\t\tswapped",
        "for (uint32_t i = 1; i < nr; i++) {\n\t\tswapped",
        {"cmma": {"entry-lost": "no -> yes"}},
        "store, reclaim, free, process: the page could still be zapped",
    ),
    Fault(
        "the list is reset and nothing is zapped",
        _CBRL,
        _CBRL_ZAP,
        "zapped += 0;",
        {"cmma": {"entry-lost": "no -> yes"}},
        "the same",
    ),
    Fault(
        "the first entry is zapped for each, whatever its usage",
        _CBRL,
        _CBRL_ZAP,
        "zapped += zap_swapped(guest, vcpu->cbrl[0], &slots_freed);",
        {
            "cmma": {
                "lost-after-alloc": "no -> yes",
                "zap-harms": "no -> yes",
                "entry-lost": "no -> yes",
            }
        },
        "a page that was freed and allocated is first on the list, another swapped one second",
    ),
    # ---- how PTEs change ----
    Fault(
        "ZERO stays when a page is mapped or swapped out",
        _PTE,
        _CLEAR_ZERO,
        "(void)mm, (void)gfn;",
        {"cmma": {"lost-after-alloc": "no -> yes"}},
        "free (ZERO), alloc, store, reclaim, zap",
    ),
    Fault(
        "ZERO stays when a page is swapped out",
        _PTE,
        "\tclear_zero(mm, gfn);\n" + _SWAP_OUT,
        _SWAP_OUT,
        {"cmma": {"lost-after-alloc": "no -> yes"}},
        "store, ageing, free (listed, with ZERO, as the PTE is invalid), alloc, store (which makes"
        " it young and leaves ZERO), reclaim, zap",
    ),
    Fault(
        "a page that is swapped out gets no swap entry",
        _PTE,
        "PTE_SWAP | (uint64_t)slot << PTE_PFRA_SHIFT",
        "PTE_NONE + 0 * slot",
        {
            "none": {
                **_LOST_ALWAYS,
                "zapped-ever": "no -> yes",
                "zero-after-zap": "n/a -> yes",
                "zapped-under-pressure": "no -> yes",
            }
        },
        "store, reclaim",
    ),
    Fault(
        "a store to a read-only page does not make it dirty",
        _PTE,
        "new = (new | PTE_DIRTY | PTE_WRITE) & ~PTE_PROTECT;",
        "new = (new | PTE_WRITE) & ~PTE_PROTECT;",
        {
            "none": _LOST_ALWAYS,
            "cmma": {"lost-after-alloc": "no -> yes"},
            "cmma_zvm": _LOST,
            "madv_free_alone": _LOST_AND_ANNOUNCED,
        },
        "store, reclaim, load (a clean copy stays on swap), store, reclaim: not written",
    ),
    Fault(
        "a load from swap maps writable and clean",
        _PTE,
        "PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY : PTE_PROTECT;",
        "PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY : PTE_WRITE;",
        {"none": _LOST_ALWAYS, "cmma_zvm": _LOST},
        "the same run: the store does not fault, so nobody sees it",
    ),
    Fault(
        "a fresh page is mapped clean",
        _PTE,
        "PTE_MAPPED | PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY;",
        "PTE_MAPPED | PTE_WRITE;",
        {"madv_free_alone": _LOST_AND_ANNOUNCED},
        "a page that is aged has neither YOUNG nor DIRTY, so MADV_FREE leaves it writable; a store"
        " after that is not seen",
    ),
    Fault(
        "MADV_FREE leaves DIRTY",
        _PTE,
        _LAZYFREE,
        "(pte & ~PTE_YOUNG) | PTE_INVALID | PTE_PROTECT);",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no", "lost-racing": "yes -> no"}},
        "reclaim takes every such page for one that was stored to",
    ),
    Fault(
        "MADV_FREE leaves the page writable",
        _PTE,
        _LAZYFREE,
        "(pte & ~(PTE_YOUNG | PTE_DIRTY)) | PTE_INVALID);",
        {"madv_free_alone": _LOST_AND_ANNOUNCED},
        "store, free, store (not seen), reclaim",
    ),
    Fault(
        "ageing leaves the PTE valid",
        _PTE,
        "\tif (mm->generation != PGSTE_GEN_ZVM)\n\t\tmm->state[gfn] &=",
        "\tif (false)\n\t\tmm->state[gfn] &=",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no"}},
        "a page that was loaded while lazyfree is young for ever, and reclaim never takes it",
    ),
    # ---- faults ----
    Fault(
        "a page comes back from swap without its content",
        _FAULT,
        "host->frames[*frame].tag = s->tag;",
        ";",
        {"none": {**_LOST_ALWAYS, "stale-after-zero": "no -> yes"}},
        "store, reclaim, load; and a page that is clean in memory is read from the slot again",
    ),
    Fault(
        "a page comes back from swap, and its slot stays in use",
        _FAULT,
        "\t\tslot_put_use(host, slot);",
        "\t\t(void)slot;",
        {"cmma": {"entry-twice": "no -> yes"}},
        "store, reclaim, store, free of another page, process: use counts do not add up",
    ),
    Fault(
        "a store swaps a page in as a load does",
        _FAULT,
        "return fault_swap(mm, gfn, access, frame);",
        "return fault_swap(mm, gfn, PTE_LOAD, frame);",
        {"none": _LOST_ALWAYS, "madv_free_alone": _LOST_AND_ANNOUNCED},
        "store, reclaim, store, reclaim: the page is clean",
    ),
    Fault(
        "a store to a read-only page takes no fault",
        _FAULT,
        "(access == PTE_LOAD || !(cold & PTE_PROTECT))",
        "true",
        {"none": _LOST_ALWAYS, "cmma_zvm": _LOST},
        "store, reclaim, load, store, reclaim: not dirty",
    ),
    Fault(
        "a fresh page has content of page 0",
        _FAULT,
        "\tif (mm->file)\n\t\thost->frames[*frame].tag = (uint32_t)mm->file[gfn];\n",
        "\thost->frames[*frame].tag = 5;\n",
        {
            "none": {"stale-after-zero": "no -> n/a", "zap-harms": "n/a -> yes"},
            "madv_free_alone": {
                "zero-after-zap": "yes -> no",
                "zapped-under-pressure": "yes -> no",
                "stale-after-zero": "no -> n/a",
                "zap-harms": "no -> yes",
            },
        },
        "a load of page 1 gives what page 0 stored; after the zap of page 0 one does not give zero",
    ),
    # ---- reclaim ----
    Fault(
        "reclaim does not see that a lazyfree page is dirty",
        _EVICT,
        _DIRTY,
        "bool dirty = false;",
        {"madv_free": _LOST_AND_ANNOUNCED, "madv_free_alone": _LOST_AND_ANNOUNCED},
        "store, free, store, reclaim",
    ),
    Fault(
        "reclaim does not see that a lazyfree page's PTE is dirty",
        _EVICT,
        _DIRTY,
        "bool dirty = f->dirty;",
        {"madv_free_alone": _LOST_AND_ANNOUNCED},
        "the same: the frame was made clean by MADV_FREE, the store is in the PTE alone",
    ),
    Fault(
        "a lazyfree page goes whoever else refers to it",
        _EVICT,
        "if (dirty || (f->pinned && host->rearm != PGSTE_REARM_DISCARD)) {",
        "if (dirty) {",
        {"madv_free": {"zapped-under-pressure": "no -> yes"}},
        "the reference was the only thing that made the page ordinary again",
    ),
    Fault(
        "a frame that gets a slot is not made dirty",
        _EVICT,
        "\t\tslot_cache(host, slot_get(host), frame);\n\t\tf->dirty = 1;",
        "\t\tslot_cache(host, slot_get(host), frame);",
        {"none": _LOST_ALWAYS, "madv_free": _LOST_AND_ANNOUNCED},
        "store, reclaim: the slot is new, and nothing is written to it",
    ),
    Fault(
        "any reference makes a lazyfree page ordinary",
        _EVICT,
        _REARM,
        "if (true) {",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no"}},
        "the rule before v6.15",
    ),
    Fault(
        "only a store makes a lazyfree page ordinary",
        _EVICT,
        _REARM,
        "if (dirty) {",
        {"madv_free": {"zapped-under-pressure": "no -> yes"}},
        "the rule since v6.15",
    ),
    Fault(
        "unused pages are written to swap",
        _EVICT,
        _DROPS,
        "\treturn gfn == UINT64_MAX;",
        {
            "cmma": {
                "zapped-ever": "yes [3] -> yes [4]",
                "zapped-under-pressure": "no [4] -> no [3]",
                "lost-without-alloc": "yes [4] -> yes [5]",
                "lost-racing": "yes [2] -> yes [3]",
                "announce-reuse": "yes [4] -> yes [5]",
            }
        },
        "from swap they can still be zapped, one step later; short of memory they are kept",
    ),
    Fault(
        "pages are dropped whatever their usage",
        _EVICT,
        _DROPS,
        "\treturn gfn != UINT64_MAX;",
        {
            "none": {
                **_LOST_ALWAYS,
                "zapped-ever": "no -> yes",
                "zero-after-zap": "n/a -> yes",
                "zapped-under-pressure": "no -> yes",
            },
            "cmma": {"lost-after-alloc": "no -> yes", "zapped-under-pressure": "no -> yes"},
        },
        "store, reclaim",
    ),
    Fault(
        "a page with ZERO set is dropped",
        _EVICT,
        _DROPS,
        "\treturn page_is_unused(mm, gfn) || (mm->state[gfn] & PGSTE_STATE_ZERO);",
        {"cmma": {"lost-after-alloc": "no -> yes"}},
        "store, ageing, free (ZERO, in memory), alloc, store, reclaim",
    ),
    Fault(
        "v7.1: unused pages are written to swap",
        _EVICT,
        "\t\treturn host_drops(mm, gfn);",
        "\t\treturn false;",
        {
            "cmma_7_1_5": {
                "zapped-ever": "yes [3] -> yes [4]",
                "zapped-under-pressure": "no [4] -> no [3]",
                "lost-without-alloc": "yes [4] -> yes [5]",
                "lost-racing": "yes [2] -> yes [3]",
                "announce-reuse": "yes [4] -> yes [5]",
            }
        },
        "as in the older kernels",
    ),
    Fault(
        "v7.1: ageing takes DIRTY from the PTE and tells nobody",
        "memory/victims.h",
        "\t\tf->dirty = 1;\n\tpte_age(mm, f->gfn);",
        "\t\tf->dirty |= 0;\n\tpte_age(mm, f->gfn);",
        {"cmma_7_1_5": {"lost-after-alloc": "no -> yes"}},
        "store, reclaim, load (a clean copy stays on swap), store, reclaim, which ages first",
    ),
    Fault(
        "a page is swapped out and not written",
        _EVICT,
        "\t\tslot->tag = f->tag;\n",
        "",
        {"none": _LOST_ALWAYS, "cmma_zvm": _LOST},
        "store, reclaim",
    ),
    Fault(
        "a dirty frame is not written",
        _EVICT,
        _WRITTEN,
        "if (mm->pte[f->gfn] & PTE_DIRTY) {",
        {"none": _LOST_ALWAYS, "cmma_zvm": _LOST},
        "store, reclaim, load that gives the slot back, reclaim: the PTE is clean, nothing is"
        " written",
    ),
    Fault(
        "a dirty PTE is not written",
        _EVICT,
        _WRITTEN,
        "if (f->dirty) {",
        {"none": _LOST_ALWAYS, "cmma_zvm": _LOST},
        "store, reclaim, load (the copy stays), store, reclaim: only the PTE knows of the store",
    ),
    Fault(
        "a swapped page's use of its slot is not counted",
        _EVICT,
        "\tslot->count++;\n",
        "",
        {
            "cmma": {
                "zero-after-zap": "yes -> no",
                "stale-after-zero": "no -> yes",
                "lost-after-alloc": "no -> yes",
                "zap-harms": "no -> yes",
                "entry-twice": "no -> yes",
            }
        },
        "store, reclaim, free, process; a slot that is free has nobody's content",
    ),
    # ---- madvise ----
    Fault(
        "MADV_DONTNEED spares pages on swap",
        _MADVISE,
        "\t\tdrop_swap(mm, gfn);\n\t} else if (cold & PTE_PRESENT) {\n\t\tif (mm->file)",
        "\t\t;\n\t} else if (cold & PTE_PRESENT) {\n\t\tif (mm->file)",
        {
            "madv_dontneed": {
                "zero-after-free": "yes -> no",
                "zero-after-alloc": "yes -> no",
                "zapped-at-once": "yes -> no",
                "zapped-under-pressure": "n/a -> no",
                "stale": "no -> yes",
            }
        },
        "store, reclaim, free, load",
    ),
    Fault(
        "MADV_DONTNEED spares pages in memory",
        _MADVISE,
        "\t} else if (cold & PTE_PRESENT) {\n\t\tif (mm->file)",
        "\t} else if (!mm) {\n\t\tif (mm->file)",
        {
            "madv_dontneed": {
                "zero-after-free": "yes -> no",
                "zero-after-alloc": "yes -> no",
                "zapped-at-once": "yes -> no",
                "zapped-under-pressure": "n/a -> no",
                "stale": "no -> yes",
                "lost-racing": "yes -> no",
            }
        },
        "store, free, load",
    ),
    Fault(
        "MADV_FREE leaves the frame dirty",
        _MADVISE,
        "\tf->dirty = 0;\n",
        "",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no"}},
        "store, free, pressure: the page is taken for one that was stored to, and written",
    ),
    Fault(
        "MADV_FREE spares pages on swap",
        _MADVISE,
        "\t\tdrop_swap(mm, gfn);\n\telse if (cold & PTE_PRESENT)\n\t\tlazyfree",
        "\t\t;\n\telse if (cold & PTE_PRESENT)\n\t\tlazyfree",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no"}},
        "store, reclaim, free, pressure: the slot keeps it",
    ),
    Fault(
        "MADV_FREE leaves the page where it is on the lists",
        _MADVISE,
        "\tif (f->list == PGSTE_LIST_LAZYFREE)\n\t\treturn;",
        "\tif (f)\n\t\treturn;",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no", "lost-racing": "yes -> no"}},
        "store, free, pressure: written like any other",
    ),
    Fault(
        "MADV_FREE leaves the PTE",
        _MADVISE,
        "\tpte_lazyfree(mm, gfn);\n",
        "",
        {"madv_free_alone": {"zapped-under-pressure": "yes -> no", "lost-racing": "yes -> no"}},
        "the PTE stays dirty, which makes the page ordinary again",
    ),
    # ---- free page reporting ----
    Fault(
        "QEMU acks and discards nothing",
        _REPORTING,
        "for (uint32_t i = nr; host_discards(r) && i--;)\n",
        "for (uint32_t i = nr; false && i--;)\n",
        {
            "reporting": {
                "zero-after-zap": "yes -> n/a",
                "zapped-ever": "yes -> no",
                "lost-before-alloc": "yes -> no",
                "lost-racing": "yes -> no",
            }
        },
        "the answers of a page poison",
    ),
    Fault(
        "QEMU discards in spite of a page poison",
        _REPORTING,
        "!r->config.inhibited && r->config.poison != PGSTE_POISON_PAGE_POISON",
        "!r->config.inhibited",
        {
            "reporting_poison": {
                "zero-after-zap": "n/a -> yes",
                "zapped-ever": "no -> yes",
                "lost-before-alloc": "no -> yes",
                "lost-racing": "no -> yes",
            }
        },
        "the answers without one",
    ),
    # ---- v7.0 and later: the host's PTE and UNUSED ----
    Fault(
        "a notifier sets no UNUSED",
        _HOST_PTE,
        "\t\t*bits |= PTE_UNUSED;",
        "\t\t*bits |= 0;",
        {
            "cmma_7_0": {"lost-after-alloc": "yes -> no"},
            "cmma_7_1_5_left": {"lost-after-alloc": "yes -> no"},
        },
        "without the bit nothing lingers (CVE-2026-72412)",
        (ONE,),
    ),
    Fault(
        "a notifier sets UNUSED for pages in use",
        _HOST_PTE,
        "!(mm->two.bits[gfn] & HOST_APART) && page_is_unused(mm, gfn) &&",
        "!(mm->two.bits[gfn] & HOST_APART) &&",
        {"cmma_7_1_5": {"lost-after-alloc": "no -> yes"}},
        "store, reclaim",
        (ONE,),
    ),
    Fault(
        "the fix of CVE-2026-72412 is taken back",
        "memory/memory.h",
        _REWRITTEN,
        "if (unused_lingers(mm->two.revision) || true)",
        {"cmma_7_1_5": {"lost-after-alloc": "no -> yes"}},
        "store and free, notifier, alloc, store, reclaim: v7.0",
        (ONE,),
    ),
    Fault(
        "reclaim asks the PGSTE, as before v7.0",
        _HOST_PTE,
        "const bool drops = goes_unused(mm, gfn) || (mm->two.bits[gfn] & PTE_UNUSED);",
        "const bool drops = page_is_unused(mm, gfn);",
        {
            "cmma_7_0": {"lost-after-alloc": "yes -> no"},
            "cmma_7_1_5_left": {"lost-after-alloc": "yes -> no"},
        },
        "a bit that lingers is not looked at",
        (ONE,),
    ),
    Fault(
        "a refault takes UNUSED off",
        _PTE,
        "\tmm->two.bits[gfn] &= (uint16_t)~HOST_APART;\n\tclear_zero",
        "\tmm->two.bits[gfn] &= (uint16_t)~(HOST_APART | PTE_UNUSED);\n\tclear_zero",
        {
            "cmma_7_0": {"lost-after-alloc": "yes -> no"},
            "cmma_7_1_5_left": {"lost-after-alloc": "yes -> no"},
        },
        "what the open question of the fix rests on: fast get_user_pages sets no PTE",
        (ONE,),
    ),
    Fault(
        "the list of v7.0 walks the right addresses",
        _CBRL,
        "const bool misses = guest->list_misses;",
        "const bool misses = false;",
        {"cmma_7_0_shifted": {"zap-harms": "yes -> no", "entry-lost": "yes -> no"}},
        "the fix of June 2026; what is left is the loss by UNUSED",
        ((2, 1, 2, 1),),
    ),
    Fault(
        "a zap does not ask for the lock",
        "guest/zap.c",
        "!guest->mm.two.bits || guest->mm.two.revision == PGSTE_REVISION_7_0 ||",
        "true ||",
        {"cmma_7_1_5": {"entry-lost": "yes -> no"}},
        "since v7.1 an entry whose page's lock is held is passed over, and off the list",
        (ONE,),
    ),
)

SAME = (
    # ---- told apart by nothing that the table asks ----
    Same(
        "resident pages are put on the list too",
        _ESSA,
        _UNUSED,
        "\t\tr.usage = PGSTE_USAGE_UNUSED;\n\t\tr.append = true;",
        ("cmma",),
        "A zap asks for a swap entry, and ZERO that was set in memory goes with the swap-out.",
    ),
    Same(
        "ZERO stays when a page is mapped",
        _PTE,
        "\tclear_zero(mm, gfn);\n\tpte_was_set(mm, gfn, pte);\n\tpte_store",
        "\tpte_was_set(mm, gfn, pte);\n\tpte_store",
        ("cmma", "cmma_7_1_5"),
        "A mapped page is not zapped, and the swap-out clears ZERO as well. Both together lose.",
    ),
    Same(
        "ZERO alone makes a page zappable",
        "scan/scan.h",
        _ZAPPABLE,
        "(state & PGSTE_STATE_ZERO);",
        ("cmma", "cmma_7_1_5"),
        "A free of a page on swap sets ZERO too. Unused without it is on swap only where a lock was"
        " held; that such a page may be zapped, reclaim shows as well.",
    ),
    Same(
        "a CMMA reset clears ZERO",
        "guest/cmma.c",
        "clear_bits(guest, PGSTE_STATE_USAGE | PGSTE_STATE_NODAT |",
        "clear_bits(guest, PGSTE_STATE_USAGE | PGSTE_STATE_ZERO | PGSTE_STATE_NODAT |",
        ("cmma",),
        "A page that is stable with ZERO set comes from set stable as well; less is zapped.",
    ),
    Same(
        "v7.1: an entry of the list gets no ZERO",
        _ESSA,
        "\t\tzero = r.append;\n",
        "\t\tzero = false;\n",
        ("cmma_7_1_5",),
        "The entry's page is unused, which makes it zappable; and the next ESSA takes both away.",
    ),
    Same(
        "z/VM: a page that loses its content stays VALID",
        _ESSA,
        "~(unsigned)(PGSTE_STATE_SWAP | PGSTE_STATE_VALID)",
        "~(unsigned)PGSTE_STATE_SWAP",
        ("cmma_zvm",),
        "What is lost is on the paging device, and such a page is not VALID: there is nothing to"
        " take off.",
    ),
    Same(
        "z/VM: a request gives up nothing",
        _ZVM,
        "(state & PGSTE_STATE_SWAP) && c.usage != PGSTE_USAGE_STABLE",
        "false",
        ("cmma_zvm",),
        "That a free page may be zapped is shown by reclaim of a resident one as well; that it may"
        " be kept, by a reset, in as many steps. z/VM promises neither.",
    ),
    Same(
        "z/VM: an unused page is not dropped as such",
        _ZVM,
        "\tdefault: return true;",
        "\tdefault: return false;",
        ("cmma_zvm",),
        "drop_or_write then drops it as KVM drops an unused page, with a swap slot for a moment.",
    ),
    Same(
        "z/VM: the slot of lost content is not given up",
        _ZVM,
        "\tvcpu->zap_slots_freed += pte_zap_claimed(&guest->mm, gfn);",
        "\t(void)gfn;",
        ("cmma_zvm",),
        "The search numbers slots anew in every state, so one that nobody has is no state; use"
        " counts are looked at after a list was processed, and z/VM has no list.  A search that"
        " validates every state does see it: test_a_slot_that_nobody_has_is_seen.",
    ),
    Same(
        "a scan of the table leaves out the last page",
        "guest/zap.c",
        "\tz->to[part] = to;",
        "\tz->to[part] = to - (to == z->guest->mm.nr_pages);",
        ("cmma",),
        "No question asks that a scan takes all that it may: what it leaves is zapped later.",
    ),
    Same(
        "pgtable: UC is not noted",
        _PTE,
        "\t\tmm->rest[gfn] |= REST_UC;",
        "\t\tmm->rest[gfn] |= 0;",
        ("cmma",),
        "UC is for dirty logging of migration. Nothing that drops or keeps a page reads it.",
    ),
    Same(
        "a page that reclaim puts back keeps ZERO",
        _PTE,
        "\tclear_zero(mm, gfn);\n\tpte_leaves(mm, gfn);\n\tpte_was_set",
        "\tpte_leaves(mm, gfn);\n\tpte_was_set",
        ("madv_free",),
        "Only lazyfree pages are put back, and no column has both MADV_FREE and ESSA.",
    ),
    # ---- one of two things that say the same ----
    Same(
        "a load from swap maps writable and dirty",
        _PTE,
        "bits |= access == PTE_STORE ? PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY : PTE_PROTECT;",
        "bits |= PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY;",
        ("none", "madv_free_alone"),
        "A page that is taken for dirty is written once more. What a load gives is the same.",
    ),
    Same(
        "a clean copy stays on swap for a store too",
        _FAULT,
        " && access == PTE_LOAD && !swap",
        " && !swap",
        ("none", "madv_free_alone"),
        "A store maps with DIRTY, so the copy is never taken for the page: it is written over.",
    ),
    Same(
        "a page that gave its slot back is not dirty",
        _FAULT,
        "\t\thost->frames[*frame].dirty = 1;\n\t\tslot_put_use",
        "\t\tslot_put_use",
        ("none", "madv_free"),
        "drop_or_write makes every frame dirty that gets a slot, before it is written.",
    ),
    Same(
        "young pages are taken like others",
        _RECLAIM,
        "\tif (!page_is_young(mm, f->gfn)) {",
        "\tif (mm) {",
        ("none", "cmma"),
        "Which page goes first is no question: any page may be reclaimed at any time.",
    ),
    Same(
        "a pinned page is taken",
        "memory/victims.h",
        "return f->pinned && f->list != PGSTE_LIST_LAZYFREE;",
        "return f->pinned && !f;",
        ("madv_free",),
        "A reference is there to make a lazyfree page ordinary again. The guest sees the same"
        " content from swap; what a device sees that has the reference is not modelled.",
    ),
    Same(
        "MADV_FREE leaves the copy on swap",
        _MADVISE,
        "\t\tmm->stats.hint_slots_freed += slot_uncache(host, frame);\n",
        "",
        ("madv_free",),
        "A store makes the PTE dirty, and the copy is written over; without one the page is"
        " dropped with its copy.",
    ),
    # ---- out of reach of the search ----
    Same(
        "MADV_FREE does not see that somebody else uses the slot",
        _MADVISE,
        "(f->slot != NIL && host->slots[f->slot].count != 0)",
        "false",
        ("madv_free",),
        "Only a fork makes two users of a slot, and the search has none.",
    ),
    Same(
        "a slot that is given back does not make its frame dirty",
        "host/slot.c",
        "\thost->frames[s->frame].dirty = 1;\n",
        "",
        ("none", "madv_free"),
        "A slot has a use and a frame at once only where two pages share it.",
    ),
    Same(
        "the hypervisor joins blocks that are not neighbours",
        "mech/madvise.c",
        "guest->pending_gfn + guest->pending_nr == gfn",
        "guest->pending_nr",
        ("madv_dontneed",),
        "A call frees one page, and what is held back is issued at its end.",
    ),
    Same(
        "a block that merges counts as reported",
        _REPORTING,
        "buddy_add(&r->buddy, block, order, type, true) == block &&\n"
        "\t\t    r->buddy.nodes[block].order == order)",
        "buddy_add(&r->buddy, block, order, type, true) == block)",
        ("reporting",),
        "A page that is then never reported is kept, and reporting promises no zap.",
    ),
)

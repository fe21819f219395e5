/* SPDX-License-Identifier: MIT */
/* PGSTE and PTE words as the kernel has them, and the packed state byte of a page. */
#ifndef PGSTE_WORD_H
#define PGSTE_WORD_H

#include "gfn.h"

PGSTE_BEGIN

#define PGSTE_ACC UINT64_C(0xf000000000000000)
#define PGSTE_FP UINT64_C(0x0800000000000000)
#define PGSTE_PCL UINT64_C(0x0080000000000000)
#define PGSTE_HR UINT64_C(0x0040000000000000)
#define PGSTE_HC UINT64_C(0x0020000000000000)
#define PGSTE_GR UINT64_C(0x0004000000000000)
#define PGSTE_GC UINT64_C(0x0002000000000000)
#define PGSTE_UC UINT64_C(0x0000800000000000)	       /* pgtable only */
#define PGSTE_IN UINT64_C(0x0000400000000000)	       /* pgtable only */
#define PGSTE_VSIE UINT64_C(0x0000200000000000)	       /* pgtable only */
#define PGSTE_ZERO UINT64_C(0x0000000080000000)
#define PGSTE_NODAT UINT64_C(0x0000000040000000)
#define PGSTE_USAGE UINT64_C(0x0000000003000000)
#define PGSTE_USAGE_SHIFT 24
#define PGSTE_CMMA_D UINT64_C(0x0000000000008000)      /* dat only */
#define PGSTE_DAT_PREFIX UINT64_C(0x0000000000004000)  /* dat only */
#define PGSTE_DAT_VSIE UINT64_C(0x0000000000002000)    /* dat only */
#define PGSTE_DAT_VSIE_GMEM UINT64_C(0x0000000000001000) /* dat only */

#define PTE_PFRA UINT64_C(0xfffffffffffff000)
#define PTE_PFRA_SHIFT 12
#define PTE_LARGE UINT64_C(0x800)     /* present: large; swap entry: exclusive */
#define PTE_INVALID UINT64_C(0x400)
#define PTE_PROTECT UINT64_C(0x200)
#define PTE_NOEXEC UINT64_C(0x100)
#define PTE_UNUSED UINT64_C(0x080)
#define PTE_SPECIAL UINT64_C(0x040)
#define PTE_WRITE UINT64_C(0x020)
#define PTE_READ UINT64_C(0x010)
#define PTE_DIRTY UINT64_C(0x008)
#define PTE_YOUNG UINT64_C(0x004)
#define PTE_SOFT_DIRTY UINT64_C(0x002)
#define PTE_PRESENT UINT64_C(0x001)
#define PTE_NONE PTE_INVALID
/* A swap entry is PTE_SWAP | offset << 12 | type << 2; type is 0 for slots of the host. */
#define PTE_SWAP (PTE_INVALID | PTE_PROTECT)
#define PTE_SWAP_TYPE UINT64_C(0x07c)

/*
 * Every PTE that the model itself writes, by its low 12 bits; above them is the frame, or the
 * slot of a swap entry, or 0 if it is none.  Words that pgste_set_words loads may have others.
 * tests/exhaustive/test_legal_words.py holds this table, and the one below, against the engine.
 *
 *   bits    generations    the page is                              how it got there
 *   0x400   all            none                                     never mapped, dropped, zapped
 *   0x600   all            swap entry                               swapped out
 *   0x13f   pgtable zvm    present valid young dirty, writable      zero fill, or a store
 *   0x315   pgtable zvm    present valid young, read only           swapped in by a load
 *   0x53b   pgtable        present invalid, dirty, writable         0x13f aged
 *   0x711   pgtable        present invalid, read only               0x315 aged
 *   0x733   pgtable        present invalid, clean, read only        MADV_FREE of 0x13f or 0x53b
 *   0x337   pgtable        present valid young, clean, read only    0x733 and a load
 *   0x13b   zvm            present valid, dirty, writable           0x13f aged
 *   0x311   zvm            present valid, read only                 0x315 aged
 *   0x02d   dat            present valid young dirty, writable      a store
 *   0x225   dat            present valid young, read only           a load
 *   0x621   dat            present invalid, read only               aged, or MADV_FREE
 *
 * A PTE is, by mask and value of its low 12 bits:
 *
 *   pte        mask    value
 *   none       0xfff   0x400
 *   swap       0x201   0x200
 *   present    0x001   0x001
 *   valid      0x400   0x000
 *   writable   0x221   0x021
 *   dirty      0x009   0x009
 *   young      0x005   0x005
 */

enum pgste_usage {
	PGSTE_USAGE_STABLE = 0,
	PGSTE_USAGE_UNUSED = 1,
	PGSTE_USAGE_POT_VOLATILE = 2,
	PGSTE_USAGE_VOLATILE = 3
};

/* ---- the packed state byte ---- */

/*
 * The eight bits that ESSA needs.  0 is "stable, nothing mapped", so that zero pages from
 * the OS are a correct new guest.  VALID and SWAP are set together only by loaded words.
 *
 *   bit  7    6     5  4   3     2    1 0
 *      SWAP VALID DIRTY GC NODAT ZERO USAGE
 */
#define PGSTE_STATE_USAGE 0x03
#define PGSTE_STATE_ZERO 0x04
#define PGSTE_STATE_NODAT 0x08
#define PGSTE_STATE_GC 0x10
#define PGSTE_STATE_DIRTY 0x20 /* attributes changed since last read (CMMA log) */
#define PGSTE_STATE_VALID 0x40 /* PTE without INVALID */
#define PGSTE_STATE_SWAP 0x80  /* PTE is a swap entry: PROTECT without PRESENT */

/*
 * Of the 256 state bytes a page has those that no line below forbids: 176 in pgtable, 136 in dat,
 * 64 on z/VM.  A line is a mask, a value and the generations in which no page has it.
 *
 *   mask   value   never in          because
 *   0xc0   0xc0    pgtable dat zvm   a swap entry is INVALID
 *   0x87   0x81    pgtable           reclaim drops an unused page; ESSA on swap sets ZERO
 *   0x87   0x86    pgtable           potentially volatile needs a valid page; swap-out clears ZERO
 *   0x44   0x44    dat               mapping and touching clear ZERO (but not in revision 7.0)
 *   0x07   0x06    dat               each ESSA sets or clears ZERO, set with unused or volatile
 *   0x0f   0x0c    dat               the same
 *   0x04   0x04    zvm               z/VM keeps no such bit
 *   0x43   0x02    zvm               a potentially volatile page is resident
 *   0x81   0x81    zvm               an unused or volatile page is never on the paging device
 *
 * A state is, by mask and value (zappable: either of two):
 *
 *   state      mask    value
 *   unused     0x03    0x01
 *   valid      0x40    0x40
 *   swapped    0x80    0x80
 *   zappable   0x83    0x81
 *   zappable   0x84    0x84
 */

/* ---- words and states of a guest ---- */

/* Kernel-format words; either pointer may be NULL.  PGSTE_E_GFN. */
int pgste_get_words(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    uint64_t *pgste, uint64_t *pte);
/*
 * Load words (PCL is dropped); steps as for pgste_write.  What a replaced PTE held is given
 * back.  A swap entry of type 0 whose slot is in use takes one more use of it; a present
 * PTE of the frame that the page already has keeps it; any other word is foreign: it is
 * kept bit for bit, costs the host nothing, and a load or store is PGSTE_E_FOREIGN.
 */
int pgste_set_words(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    const uint64_t *pgste, unsigned pgste_step, const uint64_t *pte,
		    unsigned pte_step);
/* The packed state bytes.  PGSTE_E_GFN. */
int pgste_get_states(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     uint8_t *states);

PGSTE_END

#endif

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

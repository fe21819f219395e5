/* SPDX-License-Identifier: MIT */
/*
 * What whoever writes a guest's PTE calls beside: storage keys and notifications of its generation.
 * Address spaces that have neither see one branch on mm->extra.
 */
#ifndef MEMORY_EXCHANGE_H
#define MEMORY_EXCHANGE_H

#include "memory/key_dat.h"

/* An exchange (ptep_xchg_start, ptep_xchg_commit), beside the PTE itself. */
static inline void pte_exchanged(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	if (mm->extra && mm->generation == PGSTE_GEN_DAT)
		dat_exchanged_inside(mm, gfn, old, new);
	else if (mm->extra)
		pte_exchanged_slow(mm, gfn, old, new);
}
/* ptep_set_pte_at, beside the PTE and ZERO. */
static inline void pte_was_set(struct mm *mm, uint64_t gfn, uint64_t new)
{
	if (mm->extra && mm->generation == PGSTE_GEN_DAT)
		dat_exchanged_inside(mm, gfn, PTE_NONE, new);
	else if (mm->extra)
		key_to_frame(mm, gfn, new);
}

#endif

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
/* Ageing, before the PTE is written: its bits but INVALID are to be `aged`. */
static inline void pte_aged(struct mm *mm, uint64_t gfn, uint64_t aged)
{
	uint64_t old, new;

	if (!mm->extra)
		return;
	old = pte_compose(mm->pte[gfn], mm->state[gfn]);
	new = aged | (mm->generation == PGSTE_GEN_ZVM ? old & PTE_INVALID : PTE_INVALID);
	if (mm->generation == PGSTE_GEN_DAT)
		dat_aged(mm, gfn, old, new);
	else
		pte_exchanged_slow(mm, gfn, old, new);
}

#endif

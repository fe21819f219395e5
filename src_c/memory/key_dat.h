/* SPDX-License-Identifier: MIT */
/* What an exchange of a guest's PTE does beside in the dat generation (key_dat.c). */
#ifndef MEMORY_KEY_DAT_H
#define MEMORY_KEY_DAT_H

#include "memory/key.h"

/*
 * Beside the PTE and ZERO: _gmap_ptep_xchg (notifications) and __dat_ptep_xchg (keys).  Which
 * bits of rest it told of.
 */
unsigned dat_exchanged(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new);
/* The same for faults, reclaim and ageing. */
void dat_exchanged_inside(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new);
/* gmap_clear_young_pte: PREFIX alone is told. */
void dat_aged(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new);
/* __dat_ptep_xchg alone. */
void dat_move_keys(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new);
/* SOFT_DIRTY if the guest's empty PTE has it, which it then loses: its next word has it. */
static inline uint64_t dat_take_soft_dirty(struct mm *mm, uint64_t gfn)
{
	if (!mm->extra || !(mm->rest[gfn] & REST_DAT_SD) || !mm->two.bits)
		return 0;
	mm->rest[gfn] &= (uint16_t)~REST_DAT_SD;
	return PTE_SOFT_DIRTY;
}

#endif

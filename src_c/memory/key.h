/* SPDX-License-Identifier: MIT */
/*
 * What a change of a PTE does beside: the storage key moves between the frame and the PGSTE, and
 * notifications fire.  Both only in address spaces that have them: others see one branch on
 * mm->extra.  docs/pte.md.
 */
#ifndef MEMORY_KEY_H
#define MEMORY_KEY_H

#include "memory/memory.h"

/* mm->extra */
#define MM_SKEYS 1u /* mm_uses_skeys; the host has an array of keys */
#define MM_NOTES 2u /* a PGSTE may have a notification bit */

/* ---- the key in the PGSTE ---- */

static inline uint8_t pgste_key(const struct mm *mm, uint64_t gfn)
{
	const unsigned rest = mm->rest[gfn];

	return (uint8_t)((rest & REST_KEY) << 3 | (rest & REST_GR ? PGSTE_KEY_R : 0) |
			 (mm->state[gfn] & PGSTE_STATE_GC ? PGSTE_KEY_C : 0));
}
/* ACC, F, GR and GC := key */
void pgste_key_set(struct mm *mm, uint64_t gfn, unsigned key);

/* pgste_update_all: a PTE with this word stops being valid. */
void key_to_pgste(struct mm *mm, uint64_t gfn, uint64_t word);
/* pgste_set_key: a PTE is about to become this word. */
void key_to_frame(struct mm *mm, uint64_t gfn, uint64_t word);

/* ---- notifications ---- */

/* In rest: what pte_notify fires and clears. */
static inline uint16_t notify_mask(const struct mm *mm)
{
	return mm->generation == PGSTE_GEN_PGTABLE ? REST_IN | REST_VSIE : 0;
}
/* Room for n more pages with notification bits; false: no memory. */
bool notes_need(struct mm *mm, uint64_t n);
/* rest := word; the caller made room if that adds notification bits. */
void rest_set(struct mm *mm, uint64_t gfn, uint16_t rest);
/* pgste_pte_notify */
void pte_notify(struct mm *mm, uint64_t gfn);

/* ---- what pte.c calls ---- */

void pte_exchanged_slow(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new);
/* An exchange (ptep_xchg_start, ptep_xchg_commit), beside the PTE itself. */
static inline void pte_exchanged(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	if (mm->extra)
		pte_exchanged_slow(mm, gfn, old, new);
}
/* ptep_set_pte_at, beside the PTE and ZERO. */
static inline void pte_was_set(struct mm *mm, uint64_t gfn, uint64_t new)
{
	if (mm->extra)
		key_to_frame(mm, gfn, new);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a change of a PTE does beside: the storage key moves between the frame and the PGSTE, and
 * notifications fire.  Both only in address spaces that have them; exchange.h has the branch that
 * others see.  docs/pte.md.
 */
#ifndef MEMORY_KEY_H
#define MEMORY_KEY_H

#include "memory/memory.h"

/* mm->extra */
#define MM_SKEYS 1u /* mm_uses_skeys; the host has an array of keys */
#define MM_NOTES 2u /* a PGSTE may have a notification bit */
#define MM_TOLD 4u  /* dat: faults and reclaim notify, too, as somebody asked for it */

/* ---- the key in the PGSTE ---- */

static inline uint8_t key_compose(unsigned rest, uint8_t state)
{
	return (uint8_t)((rest & REST_KEY) >> REST_KEY_SHIFT | (rest & REST_GR ? PGSTE_KEY_R : 0) |
			 (state & PGSTE_STATE_GC ? PGSTE_KEY_C : 0));
}
/* All but C, which is in the state byte. */
static inline uint16_t key_into_rest(unsigned rest, unsigned key)
{
	return (uint16_t)((rest & (unsigned)~(REST_KEY | REST_GR)) |
			  (key << REST_KEY_SHIFT & REST_KEY) |
			  (key & PGSTE_KEY_R ? REST_GR : 0u));
}
static inline uint8_t pgste_key(const struct mm *mm, uint64_t gfn)
{
	return key_compose(mm->rest[gfn], mm->state[gfn]);
}
/* ACC, F, GR and GC := key */
void pgste_key_set(struct mm *mm, uint64_t gfn, unsigned key);

/*
 * pgste_get_lock, pgste_set_unlock: of vcpus that share a guest one at a time has the key of a
 * page, which lies in three tables.  ESSA needs no lock: of the key it looks at C alone, in the
 * byte that it changes.  Calls that have the guest alone need none either.
 *
 * What rest is without the lock's bit; and what it is to be.
 */
uint16_t pgste_lock_slow(struct mm *mm, uint64_t gfn);
static ALWAYS_INLINE uint16_t pgste_lock(struct mm *mm, uint64_t gfn)
{
	uint16_t rest = __atomic_load_n(&mm->rest[gfn], __ATOMIC_RELAXED) & (uint16_t)~REST_PCL;

	if (__atomic_compare_exchange_n(&mm->rest[gfn], &rest, (uint16_t)(rest | REST_PCL), false,
					__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return rest;
	return pgste_lock_slow(mm, gfn);
}
static ALWAYS_INLINE void pgste_unlock(struct mm *mm, uint64_t gfn, unsigned rest)
{
	__atomic_store_n(&mm->rest[gfn], (uint16_t)rest, __ATOMIC_RELEASE);
}

/* pgste_update_all: a PTE with this word stops being valid. */
void key_to_pgste(struct mm *mm, uint64_t gfn, uint64_t word);
/* pgste_set_key: a PTE is about to become this word. */
void key_to_frame(struct mm *mm, uint64_t gfn, uint64_t word);

/* ---- notifications ---- */

/* In rest: what pte_notify fires and clears. */
static inline uint16_t notify_mask(const struct mm *mm)
{
	if (mm->generation == PGSTE_GEN_PGTABLE)
		return REST_IN | REST_VSIE;
	return mm->generation == PGSTE_GEN_DAT ? REST_DAT_PREFIX | REST_DAT_VSIE : 0;
}
/* Room for n more pages with notification bits; false: no memory. */
bool notes_need(struct mm *mm, uint64_t n);
/* rest := word; the caller made room if that adds notification bits. */
static inline void rest_set(struct mm *mm, uint64_t gfn, uint16_t rest)
{
	const unsigned mask = notify_mask(mm), old = mm->rest[gfn];

	if (__builtin_expect((old ^ rest) & mask, 0))
		mm->notes.armed += (uint64_t)((rest & mask) != 0) - (uint64_t)((old & mask) != 0);
	mm->rest[gfn] = rest;
}
/* pgste_pte_notify */
void pte_notify(struct mm *mm, uint64_t gfn);

/* Tell of bits of rest, and clear them. */
void notes_add(struct mm *mm, uint64_t gfn, unsigned bits);

/* ---- pgtable ---- */

/* An exchange beside the PTE itself, in a guest that has keys or notifications. */
void pte_exchanged_slow(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new);

#endif

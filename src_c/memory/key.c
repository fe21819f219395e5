/* SPDX-License-Identifier: MIT */
/* Storage keys and notifications of PTEs that change: key.h has what each function is. */
#include <sched.h>
#include <stdlib.h>

#include "memory/key.h"

/* Whoever has the lock is done in some nanoseconds, unless its thread does not run. */
#define SPINS 100u

uint16_t pgste_lock_slow(struct mm *mm, uint64_t gfn)
{
	uint16_t *word = &mm->rest[gfn];
	uint16_t rest;

	for (unsigned i = 1;; i++) {
		rest = __atomic_load_n(word, __ATOMIC_RELAXED);
		if (!(rest & REST_PCL) &&
		    __atomic_compare_exchange_n(word, &rest, (uint16_t)(rest | REST_PCL), true,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return rest;
		if (i % SPINS == 0)
			sched_yield();
	}
}

void pgste_key_set(struct mm *mm, uint64_t gfn, unsigned key)
{
	mm->rest[gfn] = key_into_rest(mm->rest[gfn], key);
	if (key & PGSTE_KEY_C)
		mm->state[gfn] |= PGSTE_STATE_GC;
	else
		mm->state[gfn] &= (uint8_t)~PGSTE_STATE_GC;
}

/* R and C of the frame are added to the guest's; ACC and F are the frame's. */
void key_to_pgste(struct mm *mm, uint64_t gfn, uint64_t word)
{
	unsigned key;

	if (!(mm->extra & MM_SKEYS) || (word & PTE_INVALID))
		return;
	key = key_get(mm->host, word >> PTE_PFRA_SHIFT);
	pgste_key_set(mm, gfn, key | (pgste_key(mm, gfn) & (PGSTE_KEY_R | PGSTE_KEY_C)));
}

/* R and C go to the frame as well, and stay in the PGSTE. */
void key_to_frame(struct mm *mm, uint64_t gfn, uint64_t word)
{
	if (!(mm->extra & MM_SKEYS) || (word & PTE_INVALID) ||
	    mm->generation != PGSTE_GEN_PGTABLE)
		return;
	key_set(mm->host, word >> PTE_PFRA_SHIFT, pgste_key(mm, gfn));
}

bool notes_need(struct mm *mm, uint64_t n)
{
	struct notes *notes = &mm->notes;
	const uint64_t need = notes->nr + notes->armed + n;
	uint64_t room = notes->room ? notes->room : 64;
	struct note *at;

	mm->extra |= MM_NOTES;
	if (need <= notes->room)
		return true;
	while (room < need)
		room *= 2;
	at = room > SIZE_MAX / sizeof(*at) ? NULL : realloc(notes->at, room * sizeof(*at));
	if (!at)
		return false;
	notes->at = at;
	notes->room = room;
	return true;
}

/* The PGSTE's bits by their place in rest (guest/word.c). */
static uint64_t note_bits(const struct mm *mm, unsigned rest)
{
	if (mm->generation == PGSTE_GEN_DAT)
		return (rest & REST_DAT_PREFIX ? PGSTE_DAT_PREFIX : 0) |
		       (rest & REST_DAT_VSIE ? PGSTE_DAT_VSIE : 0) |
		       (rest & REST_DAT_GMEM ? PGSTE_DAT_VSIE_GMEM : 0);
	return (rest & REST_IN ? PGSTE_IN : 0) | (rest & REST_VSIE ? PGSTE_VSIE : 0);
}

void pte_notify(struct mm *mm, uint64_t gfn)
{
	notes_add(mm, gfn, mm->rest[gfn] & (unsigned)notify_mask(mm));
}

void notes_add(struct mm *mm, uint64_t gfn, unsigned bits)
{
	if (!bits)
		return;
	/* there is room, unless a caller's array changed while its words were loaded */
	if (mm->notes.nr < mm->notes.room)
		mm->notes.at[mm->notes.nr++] =
			(struct note){ .gfn = gfn, .bits = note_bits(mm, bits) };
	rest_set(mm, gfn, (uint16_t)(mm->rest[gfn] ^ bits));
}

void pte_exchanged_slow(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	if (mm->generation != PGSTE_GEN_PGTABLE)
		return;
	pte_notify(mm, gfn);
	if (old & PTE_INVALID)
		key_to_frame(mm, gfn, new);
	if (new & PTE_INVALID)
		key_to_pgste(mm, gfn, old);
}

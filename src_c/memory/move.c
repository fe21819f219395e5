/* SPDX-License-Identifier: MIT */
/* What an address space has of a run of pages, moved to another place in it. */
#include <string.h>

#include "memory/memory.h"

#define PTE_BITS (PGSTE_STATE_VALID | PGSTE_STATE_SWAP)

/* Frames know the page that maps them. */
static void frame_follows(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	if (!cold)
		return;
	chunk_touch(mm, gfn);
	if (pte_is_present(cold, mm->state[gfn]) && !(cold & COLD_FOREIGN))
		mm->host->frames[pte_index(cold)].gfn = gfn & ((UINT64_C(1) << 40) - 1);
}

/* In dat the PGSTE stays where it is, in the guest's own table. */
static void state_move(struct mm *mm, uint64_t from, uint64_t to, uint64_t nr)
{
	for (uint64_t k = 0; k < nr; k++) {
		const uint64_t i = to < from ? k : nr - 1 - k;
		const uint8_t moved = mm->state[from + i] & PTE_BITS;

		/* a page that was never used is not written: its memory stays untouched */
		if ((mm->state[to + i] & PTE_BITS) != moved)
			mm->state[to + i] = (uint8_t)((mm->state[to + i] & ~PTE_BITS) | moved);
	}
}

/* Not to be ended early: half of it would be no state at all. */
void mm_move(struct mm *mm, uint64_t from, uint64_t to, uint64_t nr)
{
	memmove(mm->pte + to, mm->pte + from, nr * sizeof(*mm->pte));
	if (mm->two.bits) {
		state_move(mm, from, to, nr);
		memmove(mm->two.bits + to, mm->two.bits + from, nr * sizeof(*mm->two.bits));
	} else {
		memmove(mm->state + to, mm->state + from, nr * sizeof(*mm->state));
		memmove(mm->rest + to, mm->rest + from, nr * sizeof(*mm->rest));
	}
	if (mm->file)
		memmove(mm->file + to, mm->file + from, nr * sizeof(*mm->file));
	for (uint64_t gfn = from; gfn < from + nr; gfn++) {
		if (gfn - to < nr)
			continue;
		mm->pte[gfn] = 0;
		if (mm->file)
			mm->file[gfn] = 0;
		if (mm->two.bits) {
			mm->state[gfn] &= (uint8_t)~PTE_BITS;
			mm->two.bits[gfn] = 0;
		} else {
			mm->state[gfn] = 0;
			mm->rest[gfn] = 0;
		}
	}
	for (uint64_t gfn = to; gfn < to + nr; gfn++)
		frame_follows(mm, gfn);
}

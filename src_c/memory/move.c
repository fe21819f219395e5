/* SPDX-License-Identifier: MIT */
/* What an address space has of a run of pages, moved to another place in it. */
#include <string.h>

#include "memory/memory.h"

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

/* Not to be ended early: half of it would be no state at all. */
void mm_move(struct mm *mm, uint64_t from, uint64_t to, uint64_t nr)
{
	memmove(mm->state + to, mm->state + from, nr * sizeof(*mm->state));
	memmove(mm->pte + to, mm->pte + from, nr * sizeof(*mm->pte));
	memmove(mm->rest + to, mm->rest + from, nr * sizeof(*mm->rest));
	if (mm->two.bits)
		memmove(mm->two.bits + to, mm->two.bits + from, nr * sizeof(*mm->two.bits));
	for (uint64_t gfn = from; gfn < from + nr; gfn++) {
		if (gfn - to < nr)
			continue;
		mm->state[gfn] = 0;
		mm->pte[gfn] = 0;
		mm->rest[gfn] = 0;
		if (mm->two.bits)
			mm->two.bits[gfn] = 0;
	}
	for (uint64_t gfn = to; gfn < to + nr; gfn++)
		frame_follows(mm, gfn);
}

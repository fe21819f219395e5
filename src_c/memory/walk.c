/* SPDX-License-Identifier: MIT */
/* Walks over the pages that a call names: a batch of gfns at a time, and their tables fetched. */
#include "memory/memory.h"

/* Pages in order come by themselves; few are not worth it, nor are tables that caches hold. */
#define FETCH_TAKEN 16
#define FETCH_PAGES (UINT64_C(1) << 17)

static void fetch_tables(const struct mm *mm, const uint64_t *gfns, int nr, unsigned need)
{
	for (int k = 0; need & NEED_STATE && k < nr; k++)
		__builtin_prefetch(&mm->state[gfns[k]], 1);
	for (int k = 0; need & NEED_REST && k < nr; k++)
		__builtin_prefetch(&mm->rest[gfns[k]], 1);
	for (int k = 0; need & NEED_PTE && k < nr; k++)
		__builtin_prefetch(&mm->pte[gfns[k]], 1);
	for (int k = 0; need & NEED_PTE && mm->two.bits && k < nr; k++)
		__builtin_prefetch(&mm->two.bits[gfns[k]], 1);
}

static void fetch_frames(const struct mm *mm, const uint64_t *gfns, int nr)
{
	for (int k = 0; k < nr; k++) {
		const uint32_t index = pte_index(mm->pte[gfns[k]]);
		const void *frame = &mm->host->frames[index];
		const void *slot = &mm->host->slots[index];

		/* of a page without a mapping it is frame 0, which does no harm */
		__builtin_prefetch(mm->state[gfns[k]] & PGSTE_STATE_SWAP ? slot : frame, 1);
	}
}

static void fetch(const struct mm *mm, const uint64_t *gfns, int nr, unsigned need)
{
	if (mm->nr_pages >= FETCH_PAGES)
		fetch_tables(mm, gfns, nr, need);
	if ((need & NEED_FRAME) == NEED_FRAME)
		fetch_frames(mm, gfns, nr);
}

int mm_take(const struct mm *mm, const struct pgste_gfns *gfns, uint64_t i, unsigned need,
	    uint64_t batch[GFN_BATCH])
{
	int nr;

	if (i && i % WATCH_STEPS == 0 && watch_stops())
		return PGSTE_E_CANCELLED;
	nr = (int)gfns_take(gfns, i, mm->nr_pages, batch);
	if (!nr)
		return PGSTE_E_CHANGED;
	if (gfns->type != PGSTE_GFN_RANGE && nr >= FETCH_TAKEN)
		fetch(mm, batch, nr, need);
	return nr;
}

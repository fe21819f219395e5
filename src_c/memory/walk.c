/* SPDX-License-Identifier: MIT */
/* Walks over the pages that a call names: a batch of gfns at a time, and their tables fetched. */
#include "memory/memory.h"

/* Few pages are not worth it, nor are tables that caches hold: up to so many bytes. */
#define FETCH_TAKEN 16
#define FETCH_BYTES (UINT64_C(1) << 20)

/*
 * What only fetches is always inline: gcc knows of no effect that it has, and leaves out calls.
 */
static ALWAYS_INLINE void fetch_tables(const struct mm *mm, const uint64_t *gfns, int nr,
				       unsigned need)
{
	for (int k = 0; need & NEED_STATE && k < nr; k++)
		__builtin_prefetch(&mm->state[gfns[k]], 1);
	for (int k = 0; need & NEED_REST && k < nr; k++)
		__builtin_prefetch(&mm->rest[gfns[k]], 1);
	for (int k = 0; need & NEED_PTE && k < nr; k++)
		__builtin_prefetch(&mm->pte[gfns[k]], 1);
	for (int k = 0; need & NEED_BITS && mm->two.bits && k < nr; k++)
		__builtin_prefetch(&mm->two.bits[gfns[k]], 1);
}

/* What lies in order comes by itself. */
static bool in_order(uint64_t first, uint64_t last, int nr)
{
	return last - first == (unsigned)nr - 1 || first - last == (unsigned)nr - 1;
}

static ALWAYS_INLINE void fetch_frames(const struct mm *mm, const uint64_t *gfns, int nr)
{
	if (in_order(pte_index(mm->pte[gfns[0]]), pte_index(mm->pte[gfns[nr - 1]]), nr))
		return;
	for (int k = 0; k < nr; k++) {
		const uint32_t index = pte_index(mm->pte[gfns[k]]);
		const void *frame = &mm->host->frames[index];
		const void *slot = &mm->host->slots[index];

		/* of a page without a mapping it is frame 0, which does no harm */
		__builtin_prefetch(mm->state[gfns[k]] & PGSTE_STATE_SWAP ? slot : frame, 1);
	}
}

/* Whoever takes a frame off its list writes to its neighbours; the frames are here by now. */
static ALWAYS_INLINE void fetch_neighbours(const struct mm *mm, const uint64_t *gfns, int nr)
{
	const struct frame *frames = mm->host->frames;

	for (int k = 0; k < nr; k++) {
		const uint64_t cold = mm->pte[gfns[k]];

		if (!pte_is_present(cold, mm->state[gfns[k]]) || (cold & COLD_FOREIGN))
			continue;
		if (frames[pte_index(cold)].prev != NIL)
			__builtin_prefetch(&frames[frames[pte_index(cold)].prev], 1);
		if (frames[pte_index(cold)].next != NIL)
			__builtin_prefetch(&frames[frames[pte_index(cold)].next], 1);
	}
}

static ALWAYS_INLINE void fetch(const struct mm *mm, const uint64_t *gfns, int nr, unsigned need)
{
	const uint64_t bytes = (need & NEED_PTE ? 8u : 0) + (need & NEED_REST ? 2u : 0) +
			       (need & NEED_STATE ? 1u : 0);
	const bool large = mm->nr_pages * bytes > FETCH_BYTES;

	if (large && !in_order(gfns[0], gfns[nr - 1], nr))
		fetch_tables(mm, gfns, nr, need);
	if ((need & NEED_FRAME) == NEED_FRAME)
		fetch_frames(mm, gfns, nr);
	if ((need & NEED_LIST) == NEED_LIST && large)
		fetch_neighbours(mm, gfns, nr);
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

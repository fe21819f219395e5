/* SPDX-License-Identifier: MIT */
/*
 * Pages that are young: walks of page tables, and looks around a young page (walk_mm and
 * lru_gen_look_around of mm/vmscan.c).  Which tables are worth a walk is what the kernel's Bloom
 * filters tell: a table is in the filter of a sequence number.
 */
#include "memory/mglru.h"
#include "memory/victims.h"

/* suitable_to_scan: a young PTE for each 8, a cache line of them, on average. */
static bool is_suitable(uint64_t total, uint64_t young)
{
	return young * 8 >= total;
}

/* The frame of a page that was young and is not any more; NIL: it was not, or has none. */
static uint32_t clear_young(struct mm *mm, uint64_t gfn, bool can_swap)
{
	const uint64_t cold = mm->pte[gfn];
	struct frame *f;

	if (!page_is_young(mm, gfn) || !pte_is_present(cold, mm->state[gfn]) ||
	    (cold & COLD_FOREIGN))
		return NIL;
	f = &mm->host->frames[pte_index(cold)];
	if (gen_type(f) == GEN_ANON && !can_swap)
		return NIL;
	age_frame(mm, f);
	if ((cold & PTE_DIRTY) && (gen_type(f) == GEN_FILE || f->slot != NIL))
		f->dirty = 1;
	return pte_index(cold);
}

/* walk_pte_range */
static void walk_ptes(struct mm *mm, uint64_t first)
{
	struct pgste_host *host = mm->host;
	const uint64_t seq = host->lru->gens->max_seq;
	const uint64_t end = min_u64(first + HOST_TABLE, mm->nr_pages);
	uint32_t *filter = &mm->filter[first / HOST_TABLE];
	uint64_t young = 0;

	if (mm->walked && *filter != (uint32_t)seq)
		return;
	for (uint64_t gfn = first; gfn < end; gfn++) {
		const uint32_t frame = clear_young(mm, gfn, true);

		if (frame == NIL)
			continue;
		young++;
		mglru_promote(host, frame, gen_of(seq));
	}
	if (is_suitable(end - first, young))
		*filter = (uint32_t)seq + 1;
}

static void walk_address_space(struct mm *mm)
{
	uint64_t gfn = chunk_next(mm, 0);

	while (gfn < mm->nr_pages) {
		walk_ptes(mm, gfn);
		gfn = chunk_next(mm, gfn + HOST_TABLE);
	}
}

void mglru_walk(struct pgste_host *host)
{
	for (uint32_t i = 0; i < host->room_mms; i++)
		if (host->mms[i])
			walk_address_space(host->mms[i]);
}

/* MIN_LRU_BATCH pages around one, in its page table. */
static void look_window(const struct mm *mm, uint64_t gfn, uint64_t *start, uint64_t *end)
{
	*start = gfn / HOST_TABLE * HOST_TABLE;
	*end = min_u64(*start + HOST_TABLE, mm->nr_pages);
	if (*end - *start <= GEN_BATCH)
		return;
	if (gfn - *start < GEN_BATCH / 2) {
		*end = *start + GEN_BATCH;
	} else if (*end - gfn < GEN_BATCH / 2) {
		*start = *end - GEN_BATCH;
	} else {
		*start = gfn - GEN_BATCH / 2;
		*end = gfn + GEN_BATCH / 2;
	}
}

/* With an mm_walk the page stays on its list until eviction sorts it; without it goes at once. */
static void promote_neighbour(struct pgste_host *host, uint32_t frame)
{
	const struct mglru *g = host->lru->gens;
	const unsigned youngest = gen_of(g->max_seq);

	if (g->walk || !gen_has(g, frame)) {
		mglru_promote(host, frame, youngest);
	} else if (gen_get(g, frame) != youngest) { /* folio_activate */
		list_del(host, frame);
		host->lru->flags[frame] &= (uint8_t)~FRAME_WORKINGSET;
		mglru_place(host, frame, g->max_seq, false);
	}
}

bool mglru_look_around(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	const uint64_t gfn = f->gfn;
	struct mm *mm = owner(host, frame);
	uint64_t start, end, young = 1;

	if (!page_is_young(mm, gfn))
		return false;
	age_frame(mm, f);
	look_window(mm, gfn, &start, &end);
	if (end - start == 1)
		return true;
	for (uint64_t at = start; at < end; at++) {
		const uint32_t found = clear_young(mm, at, gen_type(f) == GEN_ANON);

		if (found == NIL)
			continue;
		young++;
		promote_neighbour(host, found);
	}
	if (is_suitable(end - start, young))
		mm->filter[gfn / HOST_TABLE] = (uint32_t)host->lru->gens->max_seq;
	return true;
}

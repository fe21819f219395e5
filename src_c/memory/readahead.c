/* SPDX-License-Identifier: MIT */
/*
 * Swap-in on hosts of PGSTE_RECLAIM_LRU: the swap cache, and what is read beside the page that
 * was asked for (do_swap_page in mm/memory.c; mm/swap_state.c).  docs/reclaim.md.
 */
#include "memory/memory.h"

#define MOST_PAGES (1u << PGSTE_MAX_CLUSTER)
#define HITS_MOST 63u	 /* of an address space */

/* Slots that are read together, and the frames that they got. */
struct reading {
	uint32_t slots[MOST_PAGES], frames[MOST_PAGES + 1];
	unsigned nr_slots, nr_frames;
};

static struct window *window_of(struct mm *mm)
{
	return mm->host->config.rotational ? &mm->host->lru->window : &mm->window;
}

/* __swapin_nr_pages: a power of two. */
static uint32_t window_pages(const struct window *w, uint64_t at, uint32_t most)
{
	uint32_t pages = 4;

	if (w->hits == 0)
		pages = at == w->before + 1 || at + 1 == w->before ? 2 : 1;
	while (w->hits && pages < w->hits + 2 && pages < most)
		pages *= 2;
	if (pages > most)
		pages = most;
	return pages < w->last / 2 ? w->last / 2 : pages;
}

/* swap_cluster_readahead: an aligned run of offsets; an offset is a slot + 1. */
static void around_slot(struct pgste_host *host, uint32_t slot, struct reading *r)
{
	struct window *w = &host->lru->window;
	const uint64_t offset = (uint64_t)slot + 1;
	const uint32_t pages = window_pages(w, offset, 1u << host->config.page_cluster);
	const uint64_t start = offset / pages * pages;

	if (!w->hits)
		w->before = offset;
	w->hits = 0;
	w->last = pages;
	for (uint64_t at = start; pages > 1 && at < start + pages; at++)
		if (at && at <= host->config.nr_swap_slots)
			r->slots[r->nr_slots++] = (uint32_t)(at - 1);
}

/* swap_vma_readahead: pages of the guest around the fault, in one page table of the host. */
static void around_gfn(struct mm *mm, uint64_t gfn, struct reading *r)
{
	struct window *w = &mm->window;
	const uint64_t before = w->before;
	const uint32_t pages = window_pages(w, gfn, 1u << mm->host->config.page_cluster);
	const uint64_t table = gfn / HOST_TABLE * HOST_TABLE;
	uint64_t back = (pages - 1) / 2;

	w->before = gfn;
	w->hits = 0;
	w->last = pages;
	if (pages == 1)
		return;
	if (gfn == before + 1)
		back = 0;
	else if (gfn + 1 == before)
		back = pages - 1;
	for (uint64_t k = 0; k < pages; k++) {
		const uint64_t at = gfn + k - back; /* below 0 it is above all pages */

		if (at < table || at >= min_u64(mm->nr_pages, table + HOST_TABLE))
			continue;
		if ((mm->state[at] & PGSTE_STATE_SWAP) && !(mm->pte[at] & COLD_FOREIGN))
			r->slots[r->nr_slots++] = pte_index(mm->pte[at]);
	}
}

/* __read_swap_cache_async: false if there is no frame for it. */
static bool read_slot(struct pgste_host *host, uint32_t slot, bool ahead, struct reading *r)
{
	const uint32_t frame = frame_get(host, 0, NOBODY);
	struct frame *f;

	if (frame == NIL)
		return false;
	f = &host->frames[frame];
	f->tag = host->slots[slot].tag;
	f->locked = 1; /* until it is read: nobody takes it before all are */
	host->lru->unmapped++;
	slot_cache(host, slot, frame);
	host->lru->flags[frame] |= ahead ? FRAME_AHEAD : 0;
	list_add(host, lru_refault(host, slot, frame) ? PGSTE_LIST_ACTIVE : PGSTE_LIST_INACTIVE,
		 frame);
	r->frames[r->nr_frames++] = frame;
	return true;
}

/* swapin_readahead: the page that was asked for may still find no frame. */
static void read_around(struct mm *mm, uint64_t gfn, uint32_t slot)
{
	struct pgste_host *host = mm->host;
	struct reading r = { .nr_slots = 0 };

	if (host->config.page_cluster && host->config.rotational)
		around_slot(host, slot, &r);
	else if (host->config.page_cluster)
		around_gfn(mm, gfn, &r);
	for (unsigned i = 0; i < r.nr_slots; i++) {
		const uint32_t other = r.slots[i];
		const struct slot *s = &host->slots[other];

		if (!slot_is_used(host->lru, other) || s->count == 0 || s->frame != NIL)
			continue;
		if (read_slot(host, other, other != slot, &r) && other != slot)
			host->stats.readaheads++;
	}
	for (unsigned i = 0; i < r.nr_frames; i++)
		host->frames[r.frames[i]].locked = 0;
	if (host->slots[slot].frame == NIL && read_slot(host, slot, false, &r))
		host->frames[host->slots[slot].frame].locked = 0;
	host->stats.swap_ins += r.nr_frames;
	mm->stats.swap_ins += r.nr_frames;
}

/* A fault finds the page in memory: swap_update_readahead. */
static void count_hit(struct mm *mm, uint64_t gfn, uint32_t frame)
{
	/* one that is being written is a hit, too: the bit is the same */
	const bool hit = mm->host->lru->flags[frame] & FRAME_AHEAD;
	struct window *w = window_of(mm);

	mm->host->stats.readahead_hits += hit;
	w->hits += hit;
	if (mm->host->config.rotational)
		return;
	w->hits = w->hits > HITS_MOST ? HITS_MOST : w->hits;
	w->before = gfn;
}

uint32_t swap_cache_frame(struct mm *mm, uint64_t gfn, uint32_t slot, enum pte_access access)
{
	struct pgste_host *host = mm->host;
	struct slot *s = &host->slots[slot];
	struct frame *f;

	if (s->frame != NIL)
		count_hit(mm, gfn, s->frame);
	else
		read_around(mm, gfn, slot);
	if (s->frame == NIL)
		return NIL;
	f = &host->frames[s->frame];
	f->gfn = gfn & ((UINT64_C(1) << 40) - 1);
	f->owner = mm->number & NOBODY;
	host->lru->unmapped--;
	host->lru->flags[s->frame] &= (uint8_t)~FRAME_AHEAD;
	s->count = 0;
	if ((access == PTE_STORE || swap_nearly_full(host)) && !f->writeback) {
		const uint32_t frame = s->frame;

		slot_uncache(host, frame);
		f->dirty = 1;
		return frame;
	}
	return s->frame;
}

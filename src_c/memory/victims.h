/* SPDX-License-Identifier: MIT */
/*
 * Pages that reclaim looks at, which both ways to reclaim share: reclaim.c (one page at a time)
 * and vmscan.c (as Linux does).
 */
#ifndef MEMORY_VICTIMS_H
#define MEMORY_VICTIMS_H

#include "memory/memory.h"

static inline struct mm *owner(const struct pgste_host *host, uint32_t frame)
{
	return host->mms[host->frames[frame].owner];
}

static inline void list_move(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	list_del(host, frame);
	list_add(host, list, frame);
}

#define LEAD 8u		  /* victims whose frame, state, PTE and slot are fetched ahead */
#define LEAD_PAYS 4096u	  /* shorter lists are in the cache */

/*
 * The next victims follow from one another, so each would miss the cache several times, one
 * miss after the other.  A place that runs ahead of the tail fetches what they will touch.
 */
static inline void fetch_victims(const struct pgste_host *host, struct list *l)
{
	if (l->nr < LEAD_PAYS)
		return;
	if (!l->lead || host->frames[l->ahead].list != host->frames[l->tail].list) {
		l->ahead = l->tail;
		l->lead = 1;
	}
	for (unsigned hops = 0; hops < 2 && l->lead < LEAD; hops++) {
		const struct frame *f = &host->frames[l->ahead];

		if (f->owner != NOBODY) {
			const struct mm *mm = host->mms[f->owner];

			__builtin_prefetch(&mm->state[f->gfn], 1);
			__builtin_prefetch(&mm->pte[f->gfn], 1);
		}
		if (f->slot != NIL)
			__builtin_prefetch(&host->slots[f->slot], 1);
		if (has_lru(host))
			__builtin_prefetch(&host->lru->flags[l->ahead], 1);
		if (f->prev == NIL)
			break;
		l->ahead = f->prev;
		l->lead++;
		__builtin_prefetch(&host->frames[l->ahead], 1);
	}
	l->lead--;
}

/* Age the page; in dat the PTE loses DIRTY, which the frame then keeps. */
static inline void age_frame(struct mm *mm, struct frame *f)
{
	if (mm->generation == PGSTE_GEN_DAT && (mm->pte[f->gfn] & PTE_DIRTY))
		f->dirty = 1;
	pte_age(mm, f->gfn);
}

/* Would drop_or_write want a slot that the frame does not have? */
static inline bool needs_slot(const struct pgste_host *host, uint32_t frame)
{
	const struct frame *f = &host->frames[frame];
	const struct mm *mm = owner(host, frame);

	return f->list != PGSTE_LIST_LAZYFREE && f->slot == NIL && !mm->file &&
	       !(mm->rules && mm->rules->drops(mm, f->gfn));
}

/* A reference that is not the mapping's: shrink_folio_list leaves such anonymous pages alone. */
static inline bool is_kept(const struct frame *f)
{
	return f->pinned && f->list != PGSTE_LIST_LAZYFREE;
}

/*
 * Take the frame from its page, which is mapped and old: did it go?  The caller sees to it that a
 * page that needs a slot finds one (evict.c).
 */
bool drop_or_write(struct pgste_host *host, uint32_t frame);

/* What share of inactive pages is enough: the larger the memory, the smaller. */
static inline uint64_t inactive_ratio(uint64_t pages)
{
	const uint64_t gb = pages >> 18;

	return gb ? isqrt_u64(10 * gb) : 1;
}

#endif

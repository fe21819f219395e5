/* SPDX-License-Identifier: MIT */
/* What calls of the PTE layer and on storage keys begin with. */
#ifndef GUEST_LAYER_H
#define GUEST_LAYER_H

#include "guest/guest.h"
#include "memory/key.h"

/* Between pgste_modify_prot_start and _commit? */
static inline bool page_is_open(const struct mm *mm, uint64_t gfn)
{
	return mm->open && (mm->open[gfn / 64] >> (gfn % 64) & 1);
}

/*
 * All of the gfns are inside, and open or not as asked for; then what the mechanism holds back is
 * issued.  PGSTE_E_ARG if the generation has no such call.
 */
int layer_begin(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists, bool open);
/* The same for calls that only look: nothing is issued. */
int layer_look(const struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists,
	       bool open);

/* No page is named twice: else PGSTE_E_STATE, or PGSTE_E_NOMEM if that cannot be told. */
int layer_once(const struct mm *mm, const struct pgste_gfns *gfns);

/* Of arrays, what a page a little further on has in the tables: it may be anywhere. */
#define LAYER_AHEAD 24u
static ALWAYS_INLINE void layer_fetch(const struct mm *mm, const struct pgste_gfns *gfns,
				      uint64_t i)
{
	uint64_t gfn;

	if (gfns->type == PGSTE_GFN_RANGE || i + LAYER_AHEAD >= gfns->nr)
		return;
	if (!gfn_get(gfns, i + LAYER_AHEAD, mm->nr_pages, &gfn))
		return;
	__builtin_prefetch(&mm->state[gfn], 1);
	__builtin_prefetch(&mm->rest[gfn], 1);
	__builtin_prefetch(&mm->pte[gfn], 1);
}

/* The i-th gfn of a call under way; PGSTE_E_CANCELLED, PGSTE_E_CHANGED. */
static ALWAYS_INLINE int layer_gfn(const struct mm *mm, const struct pgste_gfns *gfns,
				   uint64_t i, uint64_t *gfn)
{
	if (watch_stops_at(i))
		return PGSTE_E_CANCELLED;
	layer_fetch(mm, gfns, i);
	return gfn_get(gfns, i, mm->nr_pages, gfn) ? PGSTE_OK : PGSTE_E_CHANGED;
}

#endif

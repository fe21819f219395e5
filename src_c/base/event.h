/* SPDX-License-Identifier: MIT */
/* An event of a trace as a block of pages, for all that walk over one. */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include "base/base.h"
#include "pgste/trace.h"

#define EVENT_PFNS (UINT64_C(1) << 56) /* an event can name pages below this */

struct block {
	uint64_t first, nr; /* pages, the first counted from that of the guest */
	unsigned order;
	bool is_free;
};

/*
 * The event's block, from a word that was read once: false if it is none within the nr_pages from
 * base_pfn on.  The array is the caller's, so this is asked at every use.
 */
static ALWAYS_INLINE bool event_block(uint64_t event, uint64_t base_pfn, uint64_t nr_pages,
				      struct block *block)
{
	const unsigned order = PGSTE_EVENT_ORDER(event);
	const uint64_t first = PGSTE_EVENT_PFN(event) - base_pfn; /* below base_pfn it is huge */

	if (PGSTE_EVENT_KIND(event) > PGSTE_EVENT_FREE || order > PGSTE_MAX_ORDER)
		return false;
	block->first = first;
	block->nr = UINT64_C(1) << order;
	block->order = order;
	block->is_free = PGSTE_EVENT_KIND(event) == PGSTE_EVENT_FREE;
	return first < nr_pages && block->nr <= nr_pages - first;
}

/*
 * Is a page among those that stand for all, share of 2^32?  A hash tells, so that pages side by
 * side are no more alike than others; those of a smaller share are among those of a larger one.
 */
static ALWAYS_INLINE bool pfn_in_share(uint64_t pfn, uint64_t share)
{
	if (share >> 32)
		return true;
	pfn = (pfn ^ pfn >> 33) * UINT64_C(0xff51afd7ed558ccd);
	pfn = (pfn ^ pfn >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return (pfn ^ pfn >> 33) >> 32 < share;
}

#endif

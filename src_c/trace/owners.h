/* SPDX-License-Identifier: MIT */
/*
 * What block each page belongs to, as a trace tells it.
 *
 * Each page that occurs has a byte.  Where a trace's pages are not much more than its events, there
 * is one table of all from the lowest to the highest.  Or else they lie in chunks of 64 pages that
 * a hash table finds, so that memory follows the pages in use and not the highest pfn:
 *
 *   0     in no event so far
 *   1     freed, and never allocated
 *   3     allocated once, and free
 *   4-    live: 4 + 2 * order of its block, and 1 more if the page below is not of that block
 *
 * Live pages in a row are of one block if only the first may have that "1 more".  What is left of
 * a block above a new one of several pages gets it, too; above a new block of a single page it may
 * not have it, and the orders tell these apart.  Bytes stay where they are until the table goes.
 */
#ifndef TRACE_OWNERS_H
#define TRACE_OWNERS_H

#include "base/base.h"

#define OWNER_LIVE 4u
#define OWNER_HEAD 1u
#define OWNER_OF(order) (OWNER_LIVE + 2 * (unsigned)(order))
#define OWNER_ORDER(byte) (((byte) - OWNER_LIVE) / 2) /* of a live page */

static ALWAYS_INLINE bool owner_is_live(unsigned byte)
{
	return byte >= OWNER_LIVE;
}

static ALWAYS_INLINE bool owner_was_allocated(unsigned byte)
{
	return byte > 1;
}

/* What a page becomes that is freed. */
static ALWAYS_INLINE uint8_t owner_freed(unsigned byte)
{
	return byte > 1 ? 3 : 1;
}

/* Is the page live, and the page below of its block? */
static ALWAYS_INLINE bool owner_follows(unsigned byte)
{
	return byte >= OWNER_LIVE && !(byte & OWNER_HEAD);
}

#define CHUNK_SHIFT 6
#define CHUNK_PAGES (UINT64_C(1) << CHUNK_SHIFT)
#define MAX_SLABS 42u /* each as large as all before it: more than there are pfns */

struct bucket {
	uint64_t number; /* of the chunk, pfn >> CHUNK_SHIFT */
	uint8_t *pages;	 /* NULL: the bucket is empty */
};

struct owners {
	struct bucket *buckets; /* open addressing, at most half full */
	unsigned bits;		/* log2 of the number of buckets */
	uint64_t nr_chunks, max_chunks;
	bool full; /* more than max_chunks were needed */
	uint8_t *slabs[MAX_SLABS];
	unsigned nr_slabs;
	struct bucket last; /* that was asked for */
	uint8_t *all;	    /* bytes of [base, base + nr_all), or NULL: in chunks */
	uint64_t base, nr_all;
};

/* Bytes of a chunk, with its share of the buckets. */
#define CHUNK_BYTES (CHUNK_PAGES + 2 * sizeof(struct bucket))

/* PGSTE_E_NOMEM leaves nothing. */
int owners_init(struct owners *owners, uint64_t max_chunks);
void owners_exit(struct owners *owners);
/*
 * One table for these pages, if that takes no more for each of nr_events than a few lines, and no
 * limit can be met by it; all pages that are asked for from now on must be of these.
 * PGSTE_E_NOMEM: there is no memory for it.
 */
int owners_for(struct owners *owners, uint64_t lowest, uint64_t highest, uint64_t nr_events);
/* A chunk more; NULL if there is no memory, or max_chunks are there. */
const struct bucket *owners_add(struct owners *owners, uint64_t number);

/* Fibonacci hashing: the high bits of a product with 2^64 / golden ratio. */
static ALWAYS_INLINE uint64_t owners_home(const struct owners *owners, uint64_t number)
{
	return number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - owners->bits);
}

/* The bucket of a chunk, or the empty one where it belongs. */
static ALWAYS_INLINE struct bucket *owners_find(const struct owners *owners, uint64_t number)
{
	const uint64_t mask = (UINT64_C(1) << owners->bits) - 1;
	uint64_t i = owners_home(owners, number);

	while (owners->buckets[i].pages && owners->buckets[i].number != number)
		i = (i + 1) & mask;
	return &owners->buckets[i];
}

/* Are these pages of the one table? */
static ALWAYS_INLINE bool owners_have(const struct owners *owners, uint64_t pfn, uint64_t nr)
{
	const uint64_t at = pfn - owners->base;

	return at < owners->nr_all && nr <= owners->nr_all - at;
}

/* The byte of a page, NULL if there is no memory. */
static ALWAYS_INLINE uint8_t *owners_page(struct owners *owners, uint64_t pfn)
{
	const uint64_t number = pfn >> CHUNK_SHIFT;

	if (owners->all)
		return &owners->all[pfn - owners->base];
	if (!owners->last.pages || owners->last.number != number) {
		const struct bucket *bucket = owners_find(owners, number);

		if (!bucket->pages)
			bucket = owners_add(owners, number);
		if (!bucket)
			return NULL;
		owners->last = *bucket;
	}
	return &owners->last.pages[pfn % CHUNK_PAGES];
}

/* The page below is of another block now: a page that followed it does not any more. */
static inline void owners_part(const struct owners *owners, uint64_t pfn)
{
	uint8_t *page = NULL;

	if (owners->all) {
		if (owners_have(owners, pfn, 1))
			page = &owners->all[pfn - owners->base];
	} else {
		const struct bucket *bucket = owners_find(owners, pfn >> CHUNK_SHIFT);

		if (bucket->pages)
			page = bucket->pages + pfn % CHUNK_PAGES;
	}
	if (page && owner_follows(*page))
		*page |= OWNER_HEAD;
}

#endif

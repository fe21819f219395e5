/* SPDX-License-Identifier: MIT */
/*
 * The block that each page belongs to, as a trace tells it.
 *
 * Each page that occurs has one word, in chunks of 64 pages that a hash table finds, so that
 * memory follows the pages in use and not the highest pfn:
 *
 *   bit 0     the page has been in an event
 *   bit 1     the page has been allocated
 *   bits 2-7  order of the alloc event that the page belongs to
 *   bits 8-   1 + number of that event, 0 if the page is not live
 *
 * Words stay where they are until the table goes.
 */
#ifndef TRACE_OWNERS_H
#define TRACE_OWNERS_H

#include "base/base.h"

#define OWNER_SEEN UINT64_C(1)
#define OWNER_ALLOCATED UINT64_C(2)
#define OWNER_OF(event, order) (((event) + 1) << 8 | (uint64_t)(order) << 2)
#define OWNER_ORDER(word) ((unsigned)((word) >> 2 & 0x3f))
#define OWNER_EVENT(word) ((word) >> 8)

#define CHUNK_SHIFT 6
#define CHUNK_PAGES (UINT64_C(1) << CHUNK_SHIFT)
#define MAX_SLABS 42u /* each as large as all before it: more than there are pfns */

struct bucket {
	uint64_t number; /* of the chunk, pfn >> CHUNK_SHIFT */
	uint64_t *words; /* NULL: the bucket is empty */
};

struct owners {
	struct bucket *buckets; /* open addressing, at most half full */
	unsigned bits;		/* log2 of the number of buckets */
	uint64_t nr_chunks, max_chunks;
	bool full; /* more than max_chunks were needed */
	uint64_t *slabs[MAX_SLABS];
	unsigned nr_slabs;
	struct bucket last; /* that was asked for */
};

/* Bytes of a chunk, with its share of the buckets. */
#define CHUNK_BYTES (CHUNK_PAGES * sizeof(uint64_t) + 2 * sizeof(struct bucket))

/* PGSTE_E_NOMEM leaves nothing. */
int owners_init(struct owners *owners, uint64_t max_chunks);
void owners_exit(struct owners *owners);
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

	while (owners->buckets[i].words && owners->buckets[i].number != number)
		i = (i + 1) & mask;
	return &owners->buckets[i];
}

/* The word of a page, NULL if there is no memory. */
static ALWAYS_INLINE uint64_t *owners_word(struct owners *owners, uint64_t pfn)
{
	const uint64_t number = pfn >> CHUNK_SHIFT;

	if (!owners->last.words || owners->last.number != number) {
		const struct bucket *bucket = owners_find(owners, number);

		if (!bucket->words)
			bucket = owners_add(owners, number);
		if (!bucket)
			return NULL;
		owners->last = *bucket;
	}
	return &owners->last.words[pfn % CHUNK_PAGES];
}

#endif

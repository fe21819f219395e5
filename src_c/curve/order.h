/* SPDX-License-Identifier: MIT */
/*
 * Pages in the order in which they were touched, with holes: the first F entries are what a host
 * of F frames has in memory, a hole being a free frame of it.  docs/curve.md says why.
 */
#ifndef CURVE_ORDER_H
#define CURVE_ORDER_H

#include "base/base.h"

#define ORDER_LEVELS 6u /* of 64 bits a step: 2^36 entries */

struct order {
	uint32_t nr_max, next, nr; /* stamps there are; the next one; entries */
	uint32_t nr_words;
	uint32_t *sums;	  /* Fenwick tree of the entries in each word of 64 stamps */
	uint32_t *page;	  /* of each stamp */
	uint32_t *stamp;  /* of each page; NIL: it has no entry */
	uint64_t *present; /* a bit a stamp: it has an entry, a page or a hole */
	uint64_t *freed;   /* a bit a stamp: the page's content is worthless */
	uint64_t *holes[ORDER_LEVELS]; /* a bit a stamp; above, a bit a word that is not 0 */
	unsigned nr_levels;
};

/* For so many pages; PGSTE_E_NOMEM.  order_free() also after that. */
int order_new(struct order *o, uint32_t nr_pages);
void order_free(struct order *o, uint32_t nr_pages);
/* Where in the order a page with an entry is; the first is 1. */
uint32_t order_depth(const struct order *o, uint32_t page);
/* The page comes first.  Its frame is the first free one, else one more is needed. */
void order_touch(struct order *o, uint32_t page);
/* The page's entry becomes a hole. */
void order_give(struct order *o, uint32_t page);

static inline bool order_has(const struct order *o, uint32_t page)
{
	return o->stamp[page] != NIL;
}

static inline bool order_is_freed(const struct order *o, uint32_t stamp)
{
	return o->freed[stamp / 64] >> stamp % 64 & 1;
}

static inline bool order_is_hole(const struct order *o, uint32_t stamp)
{
	return o->holes[0][stamp / 64] >> stamp % 64 & 1;
}

#endif

/* SPDX-License-Identifier: MIT */
/* Free blocks of a guest, and which one is handed out next. */
#ifndef FOOTPRINT_PLACE_H
#define FOOTPRINT_PLACE_H

#include "mech/buddy.h"
#include "pgste/footprint.h"

#define PLACE_MAX_ORDER 10u /* of a block of the buddy, as in x86 */
#define NO_PLACE UINT64_MAX

struct places {
	enum pgste_placement placement;
	uint64_t nr;
	/* LOWEST: a tree over all pages; of each node, 1 + the order of its largest free block */
	uint8_t *best;
	unsigned depth;
	struct buddy buddy; /* BUDDY */
};

int places_new(struct places *p, enum pgste_placement placement, uint64_t nr);
void places_free(struct places *p);
/* The first page of a block, which is in use now; NO_PLACE. */
uint64_t places_take(struct places *p, unsigned order);
/* A block of pages in use, aligned, is free. */
void places_give(struct places *p, uint64_t first, unsigned order);

#endif

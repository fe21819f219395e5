/* SPDX-License-Identifier: MIT */
/*
 * Two allocators: the lowest block that is free, and Linux's buddy (mm/page_alloc.c: rmqueue,
 * expand, __free_one_page) with one zone and one migratetype and no per-CPU lists.
 */
#include <string.h>

#include "footprint/place.h"

int places_new(struct places *p, enum pgste_placement placement, uint64_t nr)
{
	p->placement = placement;
	p->nr = nr;
	if (placement == PGSTE_PLACE_BUDDY) {
		p->buddy.max_order = PLACE_MAX_ORDER;
		p->buddy.report_order = PLACE_MAX_ORDER + 1; /* none is */
		if (!buddy_init(&p->buddy, nr, 1))
			return PGSTE_E_NOMEM;
		/* as a kernel that starts does: ascending, each behind the others */
		for (uint64_t block = 0; block < nr; block += UINT64_C(1) << PLACE_MAX_ORDER)
			buddy_add(&p->buddy, block, PLACE_MAX_ORDER, PGSTE_MIGRATE_MOVABLE,
				  true);
		return PGSTE_OK;
	}
	while (UINT64_C(1) << p->depth < nr)
		p->depth++;
	p->best = table_new(2 * nr);
	if (!p->best)
		return PGSTE_E_NOMEM;
	for (unsigned level = 0; level <= p->depth; level++) /* from the root down */
		memset(p->best + (UINT64_C(1) << level), (int)(p->depth - level + 1),
		       UINT64_C(1) << level);
	return PGSTE_OK;
}

void places_free(struct places *p)
{
	table_free(p->best, 2 * p->nr);
	if (p->placement == PGSTE_PLACE_BUDDY)
		buddy_exit(&p->buddy);
}

/* ---- the lowest ---- */

/* What the nodes above this one, of blocks of this order, have now. */
static void tree_update(struct places *p, uint64_t node, unsigned order)
{
	while (node > 1) {
		const uint8_t one = p->best[node], other = p->best[node ^ 1];
		const uint8_t larger = one > other ? one : other;
		uint8_t value = larger;

		if (one == order + 1 && other == order + 1)
			value = (uint8_t)(order + 2);
		node /= 2;
		order++;
		if (p->best[node] == value)
			return;
		p->best[node] = value;
	}
}

static uint64_t lowest_take(struct places *p, unsigned order)
{
	uint64_t node = 1;

	if (order > p->depth || p->best[1] < order + 1)
		return NO_PLACE;
	for (unsigned level = p->depth; level > order; level--) {
		node *= 2;
		node += p->best[node] < order + 1;
	}
	for (unsigned below = 0; below <= order; below++)
		memset(p->best + (node << below), 0, UINT64_C(1) << below);
	tree_update(p, node, order);
	return (node << order) - (UINT64_C(1) << p->depth);
}

static void lowest_give(struct places *p, uint64_t first, unsigned order)
{
	const uint64_t node = ((UINT64_C(1) << p->depth) + first) >> order;

	for (unsigned below = 0; below <= order; below++)
		memset(p->best + (node << below), (int)(order - below + 1), UINT64_C(1) << below);
	tree_update(p, node, order);
}

/* ---- the buddy ---- */

static uint64_t buddy_take(struct buddy *buddy, unsigned order)
{
	const struct buddy_area *area = &buddy->zones[0].areas[PGSTE_MIGRATE_MOVABLE];

	for (unsigned o = order; o <= buddy->max_order; o++) {
		const uint64_t block = area->lists[o].head;

		if (block == BUDDY_NIL)
			continue;
		buddy_remove(buddy, block);
		buddy_split(buddy, block, o, block, block + (UINT64_C(1) << order));
		return block;
	}
	return NO_PLACE;
}

uint64_t places_take(struct places *p, unsigned order)
{
	return p->placement == PGSTE_PLACE_BUDDY ? buddy_take(&p->buddy, order) :
						    lowest_take(p, order);
}

void places_give(struct places *p, uint64_t first, unsigned order)
{
	if (p->placement == PGSTE_PLACE_BUDDY)
		buddy_add(&p->buddy, first, order, PGSTE_MIGRATE_MOVABLE, false);
	else
		lowest_give(p, first, order);
}

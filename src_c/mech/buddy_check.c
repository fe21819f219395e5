/* SPDX-License-Identifier: MIT */
/* The invariants of the buddy view, for pgste_validate: every list is walked. */
#include "mech/reporting.h"

/* Whether two blocks merge that are free now, whichever came last. */
static bool types_merge(const struct buddy *buddy, uint64_t block, uint64_t half, unsigned order)
{
	return buddy_types_merge(buddy, order, buddy->nodes[half].type,
				 buddy_type_of(buddy, block)) &&
	       buddy_types_merge(buddy, order, buddy->nodes[block].type,
				 buddy_type_of(buddy, half));
}

static bool half_is_free(const struct buddy *buddy, uint64_t block, unsigned order)
{
	const struct buddy_zone *zone = buddy_zone_of(buddy, block);
	const uint64_t half = block ^ UINT64_C(1) << order;

	return order < buddy->max_order && half >= zone->first && half < zone->end &&
	       buddy->nodes[half].where == BUDDY_FREE && buddy->nodes[half].order == order &&
	       types_merge(buddy, block, half, order);
}

static const char *check_block(const struct buddy *buddy, uint64_t block, enum buddy_where where)
{
	const struct buddy_node *node = &buddy->nodes[block];
	const uint64_t size = UINT64_C(1) << node->order;

	if (node->where != where)
		return "a block is not where its list says";
	if (block % size || node->order > buddy->max_order ||
	    size > buddy_zone_of(buddy, block)->end - block)
		return "a block of the buddy view is not aligned, too large or outside its zone";
	if (node->reported && where != BUDDY_FREE)
		return "a block that is not free is flagged Reported";
	if (where == BUDDY_FREE && half_is_free(buddy, block, node->order))
		return "two free halves are not merged";
	for (uint64_t page = block; page < block + size; page++)
		if (!buddy_knows(buddy, page, 1))
			return "a page of a block is not known to the buddy view";
	return NULL;
}

/* The blocks of a list that are not Reported are those of fresh, in the same order. */
static const char *check_fresh(const struct buddy *buddy, const struct buddy_area *area,
			       unsigned order)
{
	const struct buddy_fresh *fresh = &area->fresh[order];
	uint64_t at = fresh->head, prev = BUDDY_NIL;

	for (uint64_t b = area->lists[order].head; b != BUDDY_NIL; b = buddy->nodes[b].next) {
		if (buddy->nodes[b].reported)
			continue;
		if (at != b || buddy->nodes[b].fresh_prev != prev)
			return "what is left to report is not linked in the order of its list";
		prev = b;
		at = buddy->nodes[b].fresh_next;
	}
	if (at != BUDDY_NIL || fresh->tail != prev)
		return "what is left to report does not end with its list";
	return NULL;
}

/* order: of the list of free blocks, or -1 for a list of parked ones. */
static const char *check_list(const struct buddy *buddy, const struct buddy_list *list,
			      int order, uint64_t *pages)
{
	uint64_t nr = 0, sum = 0, prev = BUDDY_NIL;

	for (uint64_t b = list->head; b != BUDDY_NIL; b = buddy->nodes[b].next) {
		const char *broken;

		if (b >= buddy->nr_pages || nr++ >= list->nr_blocks || buddy->nodes[b].prev != prev)
			return "a list of blocks is not linked well";
		broken = check_block(buddy, b, order < 0 ? BUDDY_PARKED : BUDDY_FREE);
		if (broken)
			return broken;
		if (order >= 0 && buddy->nodes[b].order != (unsigned)order)
			return "a free block is on the list of another order";
		sum += UINT64_C(1) << buddy->nodes[b].order;
		prev = b;
	}
	if (list->tail != prev || list->nr_blocks != nr || list->nr_pages != sum)
		return "a list of blocks counts wrongly";
	*pages += sum;
	return NULL;
}

/* All lists of one migratetype of a zone. */
static const char *check_area(const struct buddy *buddy, const struct buddy_zone *zone,
			      unsigned type, uint64_t *pages)
{
	const struct buddy_area *area = &zone->areas[type];
	const char *broken = NULL;

	for (int o = 0; o <= (int)PGSTE_MAX_ORDER && !broken; o++) {
		broken = check_list(buddy, &area->lists[o], o, pages);
		if (!broken && (unsigned)o >= buddy->report_order)
			broken = check_fresh(buddy, area, (unsigned)o);
		for (uint64_t b = area->lists[o].head; b != BUDDY_NIL && !broken;
		     b = buddy->nodes[b].next)
			if (buddy->nodes[b].type != type || buddy_zone_of(buddy, b) != zone)
				broken = "a free block is on the list of another type or zone";
	}
	return broken;
}

static const char *check_zone(const struct buddy *buddy, const struct buddy_zone *zone,
			      uint64_t *pages)
{
	const char *broken = NULL;
	uint64_t counted = 0;

	for (unsigned t = 0; t < PGSTE_MIGRATETYPES && !broken; t++) {
		const uint64_t before = *pages;

		broken = check_area(buddy, zone, t, pages);
		if (t != PGSTE_MIGRATE_ISOLATE)
			counted += *pages - before;
	}
	if (!broken && counted != zone->nr_free)
		return "the count of free pages in the buddy view is wrong";
	return broken;
}

const char *reporting_validate(const struct pgste_guest *guest)
{
	const struct reporting *r = guest->mech_data;
	const struct buddy *buddy = &r->buddy;
	const char *broken = NULL;
	uint64_t pages = 0, known = 0;

	for (uint32_t z = 0; z < buddy->nr_zones && !broken; z++)
		broken = check_zone(buddy, &buddy->zones[z], &pages);
	for (uint32_t v = 0; v < buddy->nr_vcpus && !broken; v++)
		broken = check_list(buddy, &buddy->parked[v], -1, &pages);
	for (uint32_t i = 0; i < r->nr_batch && !broken; i++) {
		broken = check_block(buddy, r->batch[i], BUDDY_ISOLATED);
		pages += UINT64_C(1) << buddy->nodes[r->batch[i]].order;
	}
	if (broken)
		return broken;
	for (uint64_t gfn = 0; gfn < buddy->nr_pages; gfn += 64)
		known += (uint64_t)__builtin_popcountll(buddy->known[gfn / 64]);
	return known == pages ? NULL : "pages known to the buddy view and pages in blocks differ";
}

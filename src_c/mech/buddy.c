/* SPDX-License-Identifier: MIT */
/*
 * The buddy view, see buddy.h: blocks that merge and split by address, a list of free blocks
 * for each order, a list of parked blocks for each vcpu.
 */
#include <stdlib.h>
#include <string.h>

#include "mech/buddy.h"

bool buddy_init(struct buddy *buddy, uint64_t nr_pages, uint32_t nr_vcpus)
{
	buddy->nr_pages = nr_pages;
	buddy->nr_vcpus = nr_vcpus;
	buddy->nodes = table_new(nr_pages * sizeof(*buddy->nodes));
	buddy->known = table_new(bitmap_bytes(nr_pages));
	buddy->parked = calloc(nr_vcpus, sizeof(*buddy->parked));
	if (!buddy->nodes || !buddy->known || !buddy->parked ||
	    !buddy_set_layout(buddy, &(struct pgste_reporting_config){ .nr_zones = 1 }))
		return false;
	for (uint32_t v = 0; v < nr_vcpus; v++)
		buddy->parked[v] = (struct buddy_list){ .head = BUDDY_NIL, .tail = BUDDY_NIL };
	return true;
}

void buddy_exit(struct buddy *buddy)
{
	table_free(buddy->nodes, buddy->nr_pages * sizeof(*buddy->nodes));
	table_free(buddy->known, bitmap_bytes(buddy->nr_pages));
	free(buddy->parked);
	free(buddy->zones);
	free(buddy->types);
}

/* ---- zones and pageblocks ---- */

/* migratetype_is_mergeable */
static bool mergeable(unsigned type)
{
	return type < PGSTE_MIGRATE_HIGHATOMIC;
}

static bool mergeable_with(unsigned one, unsigned other)
{
	return one == other || (mergeable(one) && mergeable(other));
}

bool buddy_types_merge(const struct buddy *buddy, unsigned order, unsigned one, unsigned other)
{
	return order < buddy->pageblock_order || mergeable_with(one, other);
}

static void new_zone(struct buddy_zone *zone, uint64_t first, uint64_t end)
{
	zone->first = first;
	zone->end = end;
	for (unsigned t = 0; t < PGSTE_MIGRATETYPES; t++)
		for (unsigned o = 0; o <= PGSTE_MAX_ORDER; o++) {
			zone->areas[t].lists[o] = (struct buddy_list){ BUDDY_NIL, BUDDY_NIL, 0, 0 };
			zone->areas[t].fresh[o] = (struct buddy_fresh){ BUDDY_NIL, BUDDY_NIL };
		}
}

/* What the pageblocks of each zone say of it. */
static void count_types(struct buddy *buddy)
{
	for (uint32_t z = 0; z < buddy->nr_zones; z++) {
		struct buddy_zone *zone = &buddy->zones[z];

		zone->reserved = 0;
		zone->isolates = false;
		for (uint64_t i = 0; i < buddy->nr_types; i++) {
			const uint64_t from = i << buddy->pageblock_order;
			const uint64_t first = from > zone->first ? from : zone->first;
			const uint64_t end = min_u64((i + 1) << buddy->pageblock_order, zone->end);

			if (first >= end)
				continue;
			if (buddy->types[i] == PGSTE_MIGRATE_HIGHATOMIC)
				zone->reserved += end - first;
			zone->isolates |= buddy->types[i] == PGSTE_MIGRATE_ISOLATE;
		}
	}
}

bool buddy_set_layout(struct buddy *buddy, const struct pgste_reporting_config *config)
{
	const uint32_t nr = config->nr_zones;
	struct buddy_zone *zones = calloc(nr, sizeof(*zones));
	uint8_t *types = config->types ? malloc(config->nr_types) : NULL;

	if (!zones || (config->types && !types)) {
		free(zones);
		free(types);
		return false;
	}
	for (uint32_t z = 0; z < nr; z++)
		new_zone(&zones[z], config->zones[z].first,
			 z + 1 < nr ? config->zones[z + 1].first : buddy->nr_pages);
	free(buddy->zones);
	buddy->zones = zones;
	buddy->nr_zones = nr;
	if (types) {
		memcpy(types, config->types, config->nr_types);
		free(buddy->types);
		buddy->types = types;
		buddy->nr_types = config->nr_types;
		buddy->pageblock_order = config->pageblock_order;
	}
	count_types(buddy);
	return true;
}

/* ---- known pages ---- */

bool buddy_knows(const struct buddy *buddy, uint64_t gfn, uint64_t nr)
{
	for (uint64_t step; nr; gfn += step, nr -= step)
		if (buddy->known[gfn / 64] & bits_of(gfn, nr, &step))
			return true;
	return false;
}

void buddy_learn(struct buddy *buddy, uint64_t gfn, uint64_t nr)
{
	for (uint64_t step; nr; gfn += step, nr -= step)
		buddy->known[gfn / 64] |= bits_of(gfn, nr, &step);
}

void buddy_forget(struct buddy *buddy, uint64_t gfn, uint64_t nr)
{
	for (uint64_t step; nr; gfn += step, nr -= step)
		buddy->known[gfn / 64] &= ~bits_of(gfn, nr, &step);
}

uint64_t buddy_block_of(const struct buddy *buddy, uint64_t gfn)
{
	for (unsigned o = 0; o <= buddy->max_order; o++) {
		const uint64_t block = gfn >> o << o;
		const struct buddy_node *node = &buddy->nodes[block];

		if (node->where != BUDDY_NOWHERE && node->order >= o)
			return block;
	}
	return BUDDY_NIL;
}

/* ---- lists ---- */

#define LINK_MASK BUDDY_NIL

static void link_block(struct buddy *buddy, struct buddy_list *list, uint64_t block,
		       bool to_tail)
{
	struct buddy_node *node = &buddy->nodes[block];

	node->prev = (to_tail ? list->tail : BUDDY_NIL) & LINK_MASK;
	node->next = (to_tail ? BUDDY_NIL : list->head) & LINK_MASK;
	if (node->prev != BUDDY_NIL)
		buddy->nodes[node->prev].next = block & LINK_MASK;
	else
		list->head = block;
	if (node->next != BUDDY_NIL)
		buddy->nodes[node->next].prev = block & LINK_MASK;
	else
		list->tail = block;
	list->nr_blocks++;
	list->nr_pages += UINT64_C(1) << node->order;
}

static void unlink_block(struct buddy *buddy, struct buddy_list *list, uint64_t block)
{
	const struct buddy_node *node = &buddy->nodes[block];

	if (node->prev != BUDDY_NIL)
		buddy->nodes[node->prev].next = node->next;
	else
		list->head = node->next;
	if (node->next != BUDDY_NIL)
		buddy->nodes[node->next].prev = node->prev;
	else
		list->tail = node->prev;
	list->nr_blocks--;
	list->nr_pages -= UINT64_C(1) << node->order;
}

static void link_fresh(struct buddy *buddy, struct buddy_fresh *fresh, uint64_t block, bool to_tail)
{
	struct buddy_node *node = &buddy->nodes[block];

	node->fresh_prev = (to_tail ? fresh->tail : BUDDY_NIL) & LINK_MASK;
	node->fresh_next = (to_tail ? BUDDY_NIL : fresh->head) & LINK_MASK;
	if (node->fresh_prev != BUDDY_NIL)
		buddy->nodes[node->fresh_prev].fresh_next = block & LINK_MASK;
	else
		fresh->head = block;
	if (node->fresh_next != BUDDY_NIL)
		buddy->nodes[node->fresh_next].fresh_prev = block & LINK_MASK;
	else
		fresh->tail = block;
}

static void unlink_fresh(struct buddy *buddy, struct buddy_fresh *fresh, uint64_t block)
{
	const struct buddy_node *node = &buddy->nodes[block];

	if (node->fresh_prev != BUDDY_NIL)
		buddy->nodes[node->fresh_prev].fresh_next = node->fresh_next;
	else
		fresh->head = node->fresh_next;
	if (node->fresh_next != BUDDY_NIL)
		buddy->nodes[node->fresh_next].fresh_prev = node->fresh_prev;
	else
		fresh->tail = node->fresh_prev;
}

static struct buddy_area *area_of(const struct buddy *buddy, uint64_t block)
{
	return &buddy_zone_of(buddy, block)->areas[buddy->nodes[block].type];
}

void buddy_set_reported(struct buddy *buddy, uint64_t block)
{
	struct buddy_node *node = &buddy->nodes[block];

	if (node->reported)
		return;
	unlink_fresh(buddy, &area_of(buddy, block)->fresh[node->order], block);
	node->reported = 1;
}

/* All that goes behind is Reported, so the order of those that are not stays. */
void buddy_rotate(struct buddy *buddy, struct buddy_area *area, unsigned order)
{
	struct buddy_list *list = &area->lists[order];
	const uint64_t to_head = area->fresh[order].head;
	const uint64_t before = buddy->nodes[to_head].prev;

	if (before == BUDDY_NIL)
		return;
	buddy->nodes[list->tail].next = list->head & LINK_MASK;
	buddy->nodes[list->head].prev = list->tail & LINK_MASK;
	buddy->nodes[before].next = BUDDY_NIL;
	buddy->nodes[to_head].prev = BUDDY_NIL;
	list->head = to_head;
	list->tail = before;
}

static void set_node(struct buddy *buddy, uint64_t block, unsigned order, unsigned type,
		     enum buddy_where where)
{
	struct buddy_node *node = &buddy->nodes[block];

	node->order = order & 0x3f;
	node->where = where & 3;
	node->reported = 0;
	node->type = type & 7;
}

static void add_free(struct buddy *buddy, struct buddy_zone *zone, uint64_t block, unsigned order,
		     unsigned type, bool to_tail)
{
	struct buddy_area *area = &zone->areas[type];

	set_node(buddy, block, order, type, BUDDY_FREE);
	link_block(buddy, &area->lists[order], block, to_tail);
	if (order >= buddy->report_order)
		link_fresh(buddy, &area->fresh[order], block, to_tail);
	if (type != PGSTE_MIGRATE_ISOLATE)
		zone->nr_free += UINT64_C(1) << order;
}

static ALWAYS_INLINE void remove_free(struct buddy *buddy, struct buddy_zone *zone, uint64_t block)
{
	struct buddy_node *node = &buddy->nodes[block];
	struct buddy_area *area = &zone->areas[node->type];

	unlink_block(buddy, &area->lists[node->order], block);
	if (node->order >= buddy->report_order && !node->reported)
		unlink_fresh(buddy, &area->fresh[node->order], block);
	if (node->type != PGSTE_MIGRATE_ISOLATE)
		zone->nr_free -= UINT64_C(1) << node->order;
	node->where = BUDDY_NOWHERE;
	node->reported = 0;
}

void buddy_remove(struct buddy *buddy, uint64_t block)
{
	struct buddy_node *node = &buddy->nodes[block];

	if (node->where == BUDDY_FREE) {
		remove_free(buddy, buddy_zone_of(buddy, block), block);
		return;
	}
	if (node->where == BUDDY_PARKED)
		unlink_block(buddy, &buddy->parked[node->vcpu], block);
	node->where = BUDDY_NOWHERE;
	node->reported = 0;
}

void buddy_park(struct buddy *buddy, uint32_t vcpu, uint64_t block, unsigned order)
{
	set_node(buddy, block, order, buddy_type_of(buddy, block), BUDDY_PARKED);
	buddy->nodes[block].vcpu = vcpu & 0x3ff;
	link_block(buddy, &buddy->parked[vcpu], block, true);
}

static void make_movable(struct buddy *buddy, uint64_t block, unsigned order)
{
	const uint64_t last = (block + (UINT64_C(1) << order) - 1) >> buddy->pageblock_order;

	for (uint64_t i = block >> buddy->pageblock_order; i <= last; i++)
		if (mergeable(buddy->types[i]))
			buddy->types[i] = PGSTE_MIGRATE_MOVABLE;
}

void buddy_isolate(struct buddy *buddy, uint64_t block)
{
	const unsigned order = buddy->nodes[block].order, type = buddy->nodes[block].type;

	buddy_remove(buddy, block);
	set_node(buddy, block, order, type, BUDDY_ISOLATED);
	if (buddy->types && order + 1 >= buddy->pageblock_order)
		make_movable(buddy, block, order);
}

/* ---- merge and split ---- */

static bool is_free_block(const struct buddy *buddy, const struct buddy_zone *zone, uint64_t block,
			  unsigned order)
{
	return block >= zone->first && block < zone->end &&
	       buddy->nodes[block].where == BUDDY_FREE && buddy->nodes[block].order == order;
}

uint64_t buddy_add(struct buddy *buddy, uint64_t block, unsigned order, unsigned type,
		   bool returned)
{
	struct buddy_zone *zone = buddy_zone_of(buddy, block);
	bool to_tail = returned;

	for (; order < buddy->max_order; order++) {
		const uint64_t half = block ^ UINT64_C(1) << order;

		if (!is_free_block(buddy, zone, half, order) ||
		    (order >= buddy->pageblock_order &&
		     !mergeable_with(type, buddy_type_of(buddy, half))))
			break;
		remove_free(buddy, zone, half);
		block &= half;
	}
	/*
	 * If the other half is freed soon, the two will merge into a block that merges again:
	 * better not hand this one out first.
	 */
	if (order + 1 < buddy->max_order) {
		const uint64_t above = block & ~(UINT64_C(1) << order);

		to_tail |= is_free_block(buddy, zone, above ^ UINT64_C(1) << (order + 1),
					 order + 1);
	}
	add_free(buddy, zone, block, order, type, to_tail);
	return block;
}

static void split(struct buddy *buddy, uint64_t block, unsigned order, unsigned type, uint64_t from,
		  uint64_t end)
{
	const uint64_t size = UINT64_C(1) << order;

	if (from <= block && block + size <= end)
		return;
	if (end <= block || block + size <= from) {
		add_free(buddy, buddy_zone_of(buddy, block), block, order, type, false);
		return;
	}
	split(buddy, block, order - 1, type, from, end);
	split(buddy, block + size / 2, order - 1, type, from, end);
}

void buddy_split(struct buddy *buddy, uint64_t block, unsigned order, uint64_t from,
		 uint64_t end)
{
	split(buddy, block, order, buddy->nodes[block].type, from, end);
}

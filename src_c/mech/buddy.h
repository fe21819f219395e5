/* SPDX-License-Identifier: MIT */
/*
 * A buddy allocator's free blocks, as the frees and allocs of a guest imply them: what
 * mm/page_alloc.c keeps in zone->free_area and in its per-CPU lists (Linux 6.1), for zones and
 * migratetypes.  docs/model.md section 11.
 */
#ifndef MECH_BUDDY_H
#define MECH_BUDDY_H

#include "base/base.h"
#include "pgste/reporting.h"

#define BUDDY_NIL ((UINT64_C(1) << 41) - 1) /* no block; one more than any gfn needs */

enum buddy_where { BUDDY_NOWHERE = 0, BUDDY_PARKED, BUDDY_FREE, BUDDY_ISOLATED };

/*
 * At the first page of each block; that of any other page is BUDDY_NOWHERE.  Packed, so that four
 * links fit into 24 bytes; never point to it as to anything but a struct buddy_node.
 */
struct __attribute__((packed, aligned(8))) buddy_node {
	uint64_t prev : 41;
	uint64_t order : 6;
	uint64_t where : 2;
	uint64_t reported : 1; /* free blocks only */
	uint64_t vcpu : 10; /* parked blocks only */
	uint64_t type : 3; /* enum pgste_migratetype, of its list or of the one it will come to */
	uint64_t unused : 1; /* so that next begins a word, as it is used most */
	uint64_t next : 41;
	uint64_t fresh_prev : 41; /* blocks of buddy_fresh only */
	uint64_t fresh_next : 41;
};
_Static_assert(sizeof(struct buddy_node) == 24, "a page of the buddy view costs 24 bytes");

struct buddy_list {
	uint64_t head, tail; /* BUDDY_NIL both, or neither */
	uint64_t nr_blocks, nr_pages;
};

/* What is left to report of an order: blocks that are not Reported, in the order of their list. */
struct buddy_fresh {
	uint64_t head, tail;
};

/* zone->free_area, the part of one migratetype. */
struct buddy_area {
	struct buddy_list lists[PGSTE_MAX_ORDER + 1];
	struct buddy_fresh fresh[PGSTE_MAX_ORDER + 1];
};

struct buddy_zone {
	uint64_t first, end;
	uint64_t nr_free;  /* NR_FREE_PAGES: pages of free blocks that are not isolated */
	uint64_t reserved; /* nr_reserved_highatomic */
	bool isolates;	   /* has_isolate_pageblock */
	struct buddy_area areas[PGSTE_MIGRATETYPES];
};

struct buddy {
	struct buddy_node *nodes;
	uint64_t *known; /* a bit a page: it is in some block */
	uint64_t nr_pages;
	struct buddy_list *parked; /* of each vcpu, oldest at the head */
	uint32_t nr_vcpus;
	unsigned max_order;
	unsigned report_order; /* smallest order that is reported */
	uint32_t nr_zones;
	struct buddy_zone *zones; /* ascending; the first one begins at 0 */
	unsigned pageblock_order;
	uint8_t *types; /* of pageblocks; NULL: all movable */
	uint64_t nr_types;
};

static inline struct buddy_zone *buddy_zone_of(const struct buddy *buddy, uint64_t gfn)
{
	struct buddy_zone *zone = buddy->zones;

	for (uint32_t z = 1; z < buddy->nr_zones && gfn >= zone->end; z++)
		zone++;
	return zone;
}

/* get_pageblock_migratetype */
static inline unsigned buddy_type_of(const struct buddy *buddy, uint64_t gfn)
{
	return buddy->types ? buddy->types[gfn >> buddy->pageblock_order] : PGSTE_MIGRATE_MOVABLE;
}

/* One zone of movable blocks. */
bool buddy_init(struct buddy *buddy, uint64_t nr_pages, uint32_t nr_vcpus);
/* Zones and migratetypes, before anything is free.  false: no memory, and nothing changed. */
bool buddy_set_layout(struct buddy *buddy, const struct pgste_reporting_config *config);
void buddy_exit(struct buddy *buddy);
/* Is any of the pages in a block? */
bool buddy_knows(const struct buddy *buddy, uint64_t gfn, uint64_t nr);
void buddy_learn(struct buddy *buddy, uint64_t gfn, uint64_t nr);
void buddy_forget(struct buddy *buddy, uint64_t gfn, uint64_t nr);
/* First page of the block of a page that is in one. */
uint64_t buddy_block_of(const struct buddy *buddy, uint64_t gfn);
void buddy_park(struct buddy *buddy, uint32_t vcpu, uint64_t block, unsigned order);
/* __free_one_page: merge as far as it goes; the block it became.  returned: FPI_TO_TAIL. */
uint64_t buddy_add(struct buddy *buddy, uint64_t block, unsigned order, unsigned type,
		   bool returned);
/* Whether two blocks of this order, of these types, may become one. */
bool buddy_types_merge(const struct buddy *buddy, unsigned order, unsigned one, unsigned other);
/* Take a block off its list, or out of the batch; its pages stay known. */
void buddy_remove(struct buddy *buddy, uint64_t block);
/* __isolate_free_page: half a pageblock and more makes pageblocks movable. */
void buddy_isolate(struct buddy *buddy, uint64_t block);
/*
 * expand: the parts of a removed block outside [from, end) become free blocks again, on lists of
 * the type that the block was on.
 */
void buddy_split(struct buddy *buddy, uint64_t block, unsigned order, uint64_t from,
		 uint64_t end);
/* Flag a free block of report_order or more Reported. */
void buddy_set_reported(struct buddy *buddy, uint64_t block);
/* Make the first block that is not Reported the head of its list; what is before it goes behind. */
void buddy_rotate(struct buddy *buddy, struct buddy_area *area, unsigned order);

#endif

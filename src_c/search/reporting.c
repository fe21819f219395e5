/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting in the searched system: settings so small that every block is reported,
 * a report call that takes a moment, and the worker's state as bits of the key.
 *
 *   page word, from bit 34    bits       rest word, from bit 16   bits
 *   where its block is        34-35      status                   16-17
 *   order of the block        36-37      due, passing, calling    18-20
 *   Reported                  38         order, in_list           21-23
 *   position in its list      39-40      budget + 1               24-25
 *                                        blocks isolated          26
 */
#include <string.h>

#include "search/system.h"

int search_reporting_configure(struct search_system *s)
{
	struct pgste_reporting_config config;

	if (s->guest->mech != &mech_reporting)
		return PGSTE_OK;
	pgste_reporting_defaults(s->guest, &config);
	config.order = 0;
	config.max_order = s->guest->mm.nr_pages > 1 ? SEARCH_MAX_ORDER : 0;
	config.parked_order = 0;
	config.parked_high = config.parked_batch = 1;
	config.capacity = 1;
	config.delay_ns = config.ack_ns = 1;
	config.zones[0].min = config.zones[0].low = 0;
	config.zones[0].spare = PGSTE_REPORTING_CAPACITY; /* watermarks never stop a pass */
	config.poison = s->config->poison;
	config.advice = s->config->advice;
	return pgste_reporting_configure(s->guest, &config);
}

/* One zone, one migratetype. */
static struct buddy_area *movable_area(const struct buddy *buddy)
{
	return &buddy->zones[0].areas[PGSTE_MIGRATE_MOVABLE];
}

static uint64_t list_position(const struct buddy *buddy, uint64_t block)
{
	uint64_t at = 0;

	for (uint64_t b = movable_area(buddy)->lists[buddy->nodes[block].order].head; b != block;
	     b = buddy->nodes[b].next)
		at++;
	return at;
}

void search_reporting_save(const struct search_system *s, uint64_t *key)
{
	const struct reporting *r = s->guest->mech_data;
	uint64_t rest;

	if (s->guest->mech != &mech_reporting)
		return;
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++) {
		const struct buddy_node *node = &r->buddy.nodes[gfn];

		if (node->where == BUDDY_NOWHERE)
			continue;
		key[gfn] |= (uint64_t)node->where << 34 | (uint64_t)node->order << 36;
		if (node->where == BUDDY_FREE)
			key[gfn] |= (uint64_t)node->reported << 38 |
				    list_position(&r->buddy, gfn) << 39;
	}
	rest = (uint64_t)r->status << 16 | (uint64_t)(r->due != NEVER) << 18;
	if (r->passing)
		rest |= UINT64_C(1) << 19 | (uint64_t)r->order << 21 |
			(uint64_t)r->in_list << 23;
	if (r->passing && r->in_list)
		rest |= (uint64_t)(r->budget + 1) << 24;
	rest |= (uint64_t)r->calling << 20 | (uint64_t)r->nr_batch << 26;
	key[SEARCH_MAX_PAGES] |= rest;
}

static void restore_block(struct reporting *r, uint64_t gfn, uint64_t word)
{
	const unsigned order = (unsigned)(word >> 36 & 3);

	buddy_learn(&r->buddy, gfn, UINT64_C(1) << order);
	buddy_add(&r->buddy, gfn, order, PGSTE_MIGRATE_MOVABLE, true);
	if ((word >> 34 & 3) == BUDDY_ISOLATED) {
		buddy_isolate(&r->buddy, gfn);
		r->batch[0] = gfn;
	} else if (word >> 38 & 1) {
		buddy_set_reported(&r->buddy, gfn);
	}
}

void search_reporting_restore(struct search_system *s, const uint64_t *key)
{
	struct reporting *r = s->guest->mech_data;
	const uint64_t rest = key[SEARCH_MAX_PAGES];

	if (s->guest->mech != &mech_reporting)
		return;
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++) {
		buddy_remove(&r->buddy, gfn);
		buddy_forget(&r->buddy, gfn, 1);
	}
	/* those in a call first: nothing may merge with them */
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++)
		if ((key[gfn] >> 34 & 3) == BUDDY_ISOLATED)
			restore_block(r, gfn, key[gfn]);
	for (uint64_t at = 0; at < SEARCH_MAX_PAGES; at++)
		for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++)
			if ((key[gfn] >> 34 & 3) == BUDDY_FREE && (key[gfn] >> 39 & 3) == at)
				restore_block(r, gfn, key[gfn]);
	s->guest->now_ns = 0;
	r->status = (enum pgste_reporting_status)(rest >> 16 & 3);
	r->due = rest >> 18 & 1 ? 1 : NEVER;
	r->passing = rest >> 19 & 1;
	r->calling = rest >> 20 & 1;
	r->order = rest >> 21 & 3;
	r->in_list = rest >> 23 & 1;
	r->type = r->in_list ? PGSTE_MIGRATE_MOVABLE : 0; /* the only list that has blocks */
	r->zone = 0;
	r->budget = (int64_t)(rest >> 24 & 3) - 1;
	r->nr_batch = rest >> 26 & 1;
}

void search_reporting_remember(const struct search_system *s, struct reporting_image *image)
{
	const struct reporting *r = s->guest->mech_data;
	const struct buddy *buddy;

	if (s->guest->mech != &mech_reporting)
		return;
	buddy = &r->buddy;
	*image = (struct reporting_image){
		.known = buddy->known[0], .nr_free = buddy->zones[0].nr_free,
		.due = r->due, .now_ns = s->guest->now_ns,
		.batch = r->batch[0], .nr_batch = r->nr_batch,
		.budget = r->budget, .order = r->order, .type = r->type, .zone = r->zone,
		.status = r->status,
		.passing = r->passing, .calling = r->calling, .in_list = r->in_list,
	};
	memcpy(image->lists, movable_area(buddy)->lists, sizeof(image->lists));
	memcpy(image->fresh, movable_area(buddy)->fresh, sizeof(image->fresh));
	for (uint64_t gfn = 0; gfn < buddy->nr_pages; gfn++)
		image->nodes[gfn] = buddy->nodes[gfn];
}

void search_reporting_put_back(struct search_system *s, const struct reporting_image *image)
{
	struct reporting *r = s->guest->mech_data;

	if (s->guest->mech != &mech_reporting)
		return;
	r->buddy.known[0] = image->known;
	r->buddy.zones[0].nr_free = image->nr_free;
	r->due = image->due;
	s->guest->now_ns = image->now_ns;
	r->batch[0] = image->batch;
	r->nr_batch = image->nr_batch;
	r->budget = image->budget;
	r->order = image->order;
	r->type = image->type;
	r->zone = image->zone;
	r->status = image->status;
	r->passing = image->passing;
	r->calling = image->calling;
	r->in_list = image->in_list;
	memcpy(movable_area(&r->buddy)->lists, image->lists, sizeof(image->lists));
	memcpy(movable_area(&r->buddy)->fresh, image->fresh, sizeof(image->fresh));
	for (uint64_t gfn = 0; gfn < r->buddy.nr_pages; gfn++)
		r->buddy.nodes[gfn] = image->nodes[gfn];
}

/* The worker does the next thing that is due: a pass starts, or a call is acked. */
bool search_reporting_due(const struct search_system *s)
{
	const struct reporting *r = s->guest->mech_data;

	return s->guest->mech == &mech_reporting && r->due != NEVER;
}

void search_reporting_next(struct search_system *s)
{
	const struct reporting *r = s->guest->mech_data;

	pgste_advance(s->guest, r->due > s->guest->now_ns ? r->due - s->guest->now_ns : 0);
}

/* May the host still discard the page?  Until the ack of the report that it is for. */
bool search_reporting_pending(const struct search_system *s, uint64_t gfn)
{
	const struct reporting *r = s->guest->mech_data;
	uint64_t block;

	if (s->guest->mech != &mech_reporting || !buddy_knows(&r->buddy, gfn, 1))
		return false;
	block = buddy_block_of(&r->buddy, gfn);
	return !r->buddy.nodes[block].reported;
}

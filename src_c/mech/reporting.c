/* SPDX-License-Identifier: MIT */
/*
 * reporting: free page reporting (mm/page_reporting.c, Linux 6.1) over the buddy view of the
 * guest, with the rules of the virtio balloon about poisoned pages and a host that discards
 * by MADV_DONTNEED (hw/virtio/virtio-balloon.c), or by MADV_FREE.  docs/model.md section 11.
 *
 * A pass is cut where a report call waits for its ack, so that the guest can run meanwhile:
 * order, in_list and budget say where it goes on.
 */
#include <stdlib.h>

#include "mech/reporting.h"

#define PAGEBLOCK_ORDER 9u /* x86's */

/* ---- the view ---- */

static void notify(struct pgste_guest *guest, struct reporting *r)
{
	if (r->status == PGSTE_REPORTING_IDLE)
		r->due = guest->now_ns + r->config.delay_ns;
	if (r->status != PGSTE_REPORTING_OFF)
		r->status = PGSTE_REPORTING_REQUESTED;
}

static void to_buddy(struct pgste_guest *guest, struct reporting *r, uint64_t block,
		     unsigned order, unsigned type)
{
	block = buddy_add(&r->buddy, block, order, type, false);
	if (r->buddy.nodes[block].order >= r->config.order)
		notify(guest, r);
}

/* free_pcppages_bulk: the type as it was freed, if no pageblock of the zone is isolated. */
static void unpark_oldest(struct pgste_guest *guest, struct reporting *r,
			  const struct buddy_list *parked)
{
	const uint64_t block = parked->head;
	const unsigned order = r->buddy.nodes[block].order;
	unsigned type = r->buddy.nodes[block].type;

	if (r->buddy.types && buddy_zone_of(&r->buddy, block)->isolates)
		type = buddy_type_of(&r->buddy, block);
	buddy_remove(&r->buddy, block);
	to_buddy(guest, r, block, order, type);
}

static void put_block(struct pgste_guest *guest, struct reporting *r, uint32_t vcpu, uint64_t block,
		      unsigned order)
{
	const struct buddy_list *parked = &r->buddy.parked[vcpu];
	const unsigned type = buddy_type_of(&r->buddy, block);
	uint64_t left;

	buddy_learn(&r->buddy, block, UINT64_C(1) << order);
	if (order > r->config.parked_order || type == PGSTE_MIGRATE_ISOLATE) {
		to_buddy(guest, r, block, order, type);
		return;
	}
	buddy_park(&r->buddy, vcpu, block, order);
	left = parked->nr_pages;
	if (left < r->config.parked_high)
		return;
	left -= min_u64(left, r->config.parked_batch);
	while (parked->nr_pages > left)
		unpark_oldest(guest, r, parked);
}

static bool in_one_zone(const struct buddy *buddy, uint64_t gfn, uint64_t nr)
{
	return nr <= buddy_zone_of(buddy, gfn)->end - gfn;
}

static void reporting_free(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
			unsigned order)
{
	struct reporting *r = guest->mech_data;
	const uint32_t v = (uint32_t)(vcpu - guest->vcpus);
	const unsigned o = order < r->config.max_order ? order : r->config.max_order;
	const uint64_t size = UINT64_C(1) << o;

	r->used = true;
	for (uint64_t at = gfn; at < gfn + nr; at += size) {
		if (!(at & (size - 1)) && !buddy_knows(&r->buddy, at, size) &&
		    in_one_zone(&r->buddy, at, size)) {
			put_block(guest, r, v, at, o);
			continue;
		}
		for (uint64_t page = at; page < at + size; page++)
			if (!buddy_knows(&r->buddy, page, 1))
				put_block(guest, r, v, page, 0);
	}
}

static void end_call(struct pgste_guest *guest, struct reporting *r);

static void reporting_alloc(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn,
			 uint64_t nr, unsigned order)
{
	struct reporting *r = guest->mech_data;
	const uint64_t end = gfn + nr;

	(void)vcpu, (void)order;
	for (uint64_t at = gfn; at < end;) {
		uint64_t block;
		unsigned o;

		if (!buddy_knows(&r->buddy, at, 1)) {
			at++;
			continue;
		}
		block = buddy_block_of(&r->buddy, at);
		if (r->buddy.nodes[block].where == BUDDY_ISOLATED) {
			end_call(guest, r);
			block = buddy_block_of(&r->buddy, at);
		}
		o = r->buddy.nodes[block].order;
		buddy_remove(&r->buddy, block);
		buddy_split(&r->buddy, block, o, gfn, end);
		at = block + (UINT64_C(1) << o);
	}
	buddy_forget(&r->buddy, gfn, nr);
}

/* ---- calls ---- */

static bool host_discards(const struct reporting *r)
{
	return !r->config.inhibited && r->config.poison != PGSTE_POISON_PAGE_POISON;
}

static void begin_call(struct pgste_guest *guest, struct reporting *r)
{
	guest->mm.stats.hints++;
	for (uint32_t i = 0; i < r->nr_batch; i++)
		guest->mm.stats.hint_pages += UINT64_C(1) << r->buddy.nodes[r->batch[i]].order;
	r->calling = true;
}

static void discard_of_guest(struct pgste_guest *guest, uint64_t gfn, uint64_t nr)
{
	const struct reporting *r = guest->mech_data;

	for (uint64_t page = gfn; page < gfn + nr; page++)
		if (r->config.advice == PGSTE_ADVICE_MADV_FREE)
			madvise_free(&guest->mm, page);
		else
			madvise_discard(&guest->mm, page);
}

/* The ack: page_reporting_drain, and before it the last moment for the host to discard. */
static void end_call(struct pgste_guest *guest, struct reporting *r)
{
	const uint32_t nr = r->nr_batch;

	r->nr_batch = 0;
	r->calling = false;
	r->due = guest->now_ns;
	if (r->in_list)
		r->budget--;
	for (uint32_t i = nr; host_discards(r) && i--;)
		r->discard(guest, r->batch[i], UINT64_C(1) << r->buddy.nodes[r->batch[i]].order);
	for (uint32_t i = nr; i--;) {
		const uint64_t block = r->batch[i];
		const unsigned order = r->buddy.nodes[block].order;
		const unsigned type = buddy_type_of(&r->buddy, block);

		buddy_remove(&r->buddy, block);
		r->blocks++;
		if (buddy_add(&r->buddy, block, order, type, true) == block &&
		    r->buddy.nodes[block].order == order)
			buddy_set_reported(&r->buddy, block);
	}
}

/* ---- passes ---- */

/* zone_watermark_ok for order 0. */
static bool enough(const struct reporting *r, uint64_t mark)
{
	const struct buddy_zone *zone = &r->buddy.zones[r->zone];

	return zone->nr_free + r->config.zones[r->zone].spare > mark + zone->reserved;
}

/* page_reporting_cycle up to a report: whether the batch is full and more is waiting. */
static bool fill_batch(struct reporting *r)
{
	const unsigned order = r->order;
	struct buddy_area *area = &r->buddy.zones[r->zone].areas[r->type];
	const struct buddy_fresh *fresh = &area->fresh[order];
	const uint64_t min = r->config.zones[r->zone].min;

	while (fresh->head != BUDDY_NIL) {
		const uint64_t block = fresh->head;
		const bool full = r->nr_batch == r->config.capacity;

		if (r->budget < 0 || full || !enough(r, min + (UINT64_C(1) << order))) {
			/* the next pass, or what follows the report, starts here */
			buddy_rotate(&r->buddy, area, order);
			if (r->budget < 0)
				r->status = PGSTE_REPORTING_REQUESTED;
			return r->budget >= 0 && full;
		}
		buddy_isolate(&r->buddy, block);
		r->batch[r->nr_batch++] = block;
	}
	return false;
}

static void pass_ends(struct pgste_guest *guest, struct reporting *r)
{
	r->passing = false;
	r->due = NEVER;
	if (r->status == PGSTE_REPORTING_REQUESTED)
		r->due = guest->now_ns + r->config.delay_ns;
	else
		r->status = PGSTE_REPORTING_IDLE;
}

/* Report the batch; true: the pass has to wait for the ack. */
static bool call_waits(struct pgste_guest *guest, struct reporting *r, uint64_t ack_ns)
{
	begin_call(guest, r);
	if (ack_ns) {
		r->due = guest->now_ns + ack_ns;
		return true;
	}
	end_call(guest, r);
	return false;
}

/* area->nr_free: blocks of an order, of all types. */
static uint64_t nr_blocks(const struct buddy_zone *zone, unsigned order)
{
	uint64_t nr = 0;

	for (unsigned t = 0; t < PGSTE_MIGRATETYPES; t++)
		nr += zone->areas[t].lists[order].nr_blocks;
	return nr;
}

static void list_ends(struct reporting *r)
{
	r->in_list = false;
	if (++r->type < PGSTE_MIGRATE_ISOLATE)
		return;
	r->type = 0;
	r->order++;
}

/* page_reporting_process_zone up to its lists. */
static void zone_starts(struct reporting *r, uint32_t zone)
{
	r->zone = zone;
	r->type = 0;
	r->order = r->config.order;
	if (zone == r->config.nr_zones)
		return;
	if (!enough(r, r->config.zones[zone].low +
			       ((uint64_t)r->config.capacity << r->config.order))) {
		r->skipped++;
		r->order = r->config.max_order + 1;
	}
}

/* Its lists, from where it stopped: whether a call waits for its ack. */
static bool zone_goes_on(struct pgste_guest *guest, struct reporting *r, uint64_t ack_ns)
{
	const struct buddy_zone *zone = &r->buddy.zones[r->zone];
	const uint64_t part = 16 * r->config.capacity;

	while (r->order <= r->config.max_order) {
		if (!r->in_list && zone->areas[r->type].lists[r->order].nr_blocks) {
			r->budget = (int64_t)((nr_blocks(zone, r->order) + part - 1) / part);
			r->in_list = true;
		}
		if (!r->in_list || !fill_batch(r))
			list_ends(r);
		else if (call_waits(guest, r, ack_ns))
			return true;
	}
	return r->nr_batch && call_waits(guest, r, ack_ns);
}

/* page_reporting_process, from where it stopped. */
static void pass_goes_on(struct pgste_guest *guest, struct reporting *r, uint64_t ack_ns)
{
	while (r->zone < r->config.nr_zones) {
		if (zone_goes_on(guest, r, ack_ns))
			return;
		zone_starts(r, r->zone + 1);
	}
	pass_ends(guest, r);
}

static void pass_starts(struct pgste_guest *guest, struct reporting *r, uint64_t ack_ns)
{
	r->passes++;
	r->passing = true;
	r->status = PGSTE_REPORTING_ACTIVE;
	r->due = NEVER;
	zone_starts(r, 0);
	pass_goes_on(guest, r, ack_ns);
}

static uint64_t reporting_due(const struct pgste_guest *guest)
{
	const struct reporting *r = guest->mech_data;

	return r->due;
}

static void reporting_tick(struct pgste_guest *guest)
{
	struct reporting *r = guest->mech_data;

	if (r->calling)
		end_call(guest, r);
	if (r->passing)
		pass_goes_on(guest, r, r->config.ack_ns);
	else
		pass_starts(guest, r, r->config.ack_ns);
}

/* What was free before the trace began was reported long ago. */
static void reporting_replay_starts(struct pgste_guest *guest)
{
	struct reporting *r = guest->mech_data;
	uint64_t before;

	for (uint32_t v = 0; v < guest->nr_vcpus; v++)
		while (r->buddy.parked[v].nr_blocks)
			unpark_oldest(guest, r, &r->buddy.parked[v]);
	if (r->status == PGSTE_REPORTING_OFF)
		return;
	if (r->calling)
		end_call(guest, r);
	if (r->passing)
		pass_goes_on(guest, r, 0);
	do {
		before = r->blocks;
		pass_starts(guest, r, 0);
	} while (r->blocks != before);
	r->status = PGSTE_REPORTING_IDLE;
	r->due = NEVER;
}

/* ---- the mechanism ---- */

static bool reporting_init(struct pgste_guest *guest)
{
	struct reporting *r = calloc(1, sizeof(*r));
	struct pgste_reporting_config config;

	if (!r)
		return false;
	guest->mech_data = r;
	r->discard = discard_of_guest;
	pgste_reporting_defaults(guest, &config);
	r->buddy.pageblock_order = PAGEBLOCK_ORDER;
	return buddy_init(&r->buddy, guest->mm.nr_pages, guest->nr_vcpus) &&
	       reporting_apply(r, &config);
}

static void reporting_exit(struct pgste_guest *guest)
{
	struct reporting *r = guest->mech_data;

	if (!r)
		return;
	buddy_exit(&r->buddy);
	free(r);
}

const struct mech mech_reporting = {
	.name = "reporting",
	.kvm_only = true,
	.page_bits = 8 * sizeof(struct buddy_node) + 1,
	.init = reporting_init,
	.exit = reporting_exit,
	.free = reporting_free,
	.alloc = reporting_alloc,
	.due = reporting_due,
	.tick = reporting_tick,
	.replay_starts = reporting_replay_starts,
	.validate = reporting_validate,
};

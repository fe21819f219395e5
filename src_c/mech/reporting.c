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

/* ---- the view ---- */

static void notify(struct pgste_guest *guest, struct reporting *r)
{
	if (r->status == PGSTE_REPORTING_IDLE)
		r->due = guest->now_ns + r->config.delay_ns;
	if (r->status != PGSTE_REPORTING_OFF)
		r->status = PGSTE_REPORTING_REQUESTED;
}

static void to_buddy(struct pgste_guest *guest, struct reporting *r, uint64_t block,
		     unsigned order)
{
	block = buddy_add(&r->buddy, block, order, false);
	if (r->buddy.nodes[block].order >= r->config.order)
		notify(guest, r);
}

static void unpark_oldest(struct pgste_guest *guest, struct reporting *r,
			  const struct buddy_list *parked)
{
	const uint64_t block = parked->head;
	const unsigned order = r->buddy.nodes[block].order;

	buddy_remove(&r->buddy, block);
	to_buddy(guest, r, block, order);
}

static void put_block(struct pgste_guest *guest, struct reporting *r, uint32_t vcpu, uint64_t block,
		      unsigned order)
{
	const struct buddy_list *parked = &r->buddy.parked[vcpu];
	uint64_t left;

	buddy_learn(&r->buddy, block, UINT64_C(1) << order);
	if (order > r->config.parked_order) {
		to_buddy(guest, r, block, order);
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

static void reporting_free(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
			unsigned order)
{
	struct reporting *r = guest->mech_data;
	const uint32_t v = (uint32_t)(vcpu - guest->vcpus);
	const unsigned o = order < r->config.max_order ? order : r->config.max_order;
	const uint64_t size = UINT64_C(1) << o;

	r->used = true;
	for (uint64_t at = gfn; at < gfn + nr; at += size) {
		if (!(at & (size - 1)) && !buddy_knows(&r->buddy, at, size)) {
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

		buddy_remove(&r->buddy, block);
		r->blocks++;
		if (buddy_add(&r->buddy, block, order, true) == block &&
		    r->buddy.nodes[block].order == order)
			buddy_set_reported(&r->buddy, block);
	}
}

/* ---- passes ---- */

static bool enough(const struct reporting *r, uint64_t mark)
{
	return r->buddy.nr_free + r->config.spare > mark;
}

/* page_reporting_cycle up to a report: whether the batch is full and more is waiting. */
static bool fill_batch(struct reporting *r)
{
	const unsigned order = r->order;
	const struct buddy_fresh *fresh = &r->buddy.fresh[order];

	while (fresh->head != BUDDY_NIL) {
		const uint64_t block = fresh->head;
		const bool full = r->nr_batch == r->config.capacity;

		if (r->budget < 0 || full ||
		    !enough(r, r->config.min + (UINT64_C(1) << order))) {
			/* the next pass, or what follows the report, starts here */
			buddy_rotate(&r->buddy, order);
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

/* page_reporting_process_zone, from where it stopped. */
static void pass_goes_on(struct pgste_guest *guest, struct reporting *r, uint64_t ack_ns)
{
	const uint64_t part = 16 * r->config.capacity;

	while (r->order <= r->config.max_order) {
		const uint64_t nr = r->buddy.lists[r->order].nr_blocks;

		if (!r->in_list && nr) {
			r->budget = (int64_t)((nr + part - 1) / part);
			r->in_list = true;
		}
		if (r->in_list && fill_batch(r)) {
			if (call_waits(guest, r, ack_ns))
				return;
		} else {
			r->in_list = false;
			r->order++;
		}
	}
	if (r->nr_batch && call_waits(guest, r, ack_ns))
		return;
	pass_ends(guest, r);
}

static void pass_starts(struct pgste_guest *guest, struct reporting *r, uint64_t ack_ns)
{
	r->passes++;
	r->passing = true;
	r->status = PGSTE_REPORTING_ACTIVE;
	r->due = NEVER;
	r->order = r->config.order;
	if (!enough(r, r->config.low + ((uint64_t)r->config.capacity << r->config.order))) {
		r->skipped++;
		r->order = r->config.max_order + 1;
	}
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
	reporting_apply(r, &config);
	return buddy_init(&r->buddy, guest->mm.nr_pages, guest->nr_vcpus);
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

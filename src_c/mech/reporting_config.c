/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting: its settings, with the kernel's defaults for the watermarks and the
 * per-CPU lists (mm/page_alloc.c, Linux 6.1), and what tests and tools may look at.
 */
#include "mech/reporting.h"

void reporting_apply(struct reporting *r, const struct pgste_report_config *config)
{
	r->config = *config;
	r->buddy.max_order = config->max_order;
	/* F9: without PAGE_POISON the device might change what the guest relies on */
	if (config->poison != PGSTE_POISON_NONE && !config->negotiated) {
		r->status = PGSTE_REPORT_OFF;
		r->due = NEVER;
	} else {
		r->status = PGSTE_REPORT_REQUESTED;
		r->due = config->delay_ns;
	}
}

void pgste_report_defaults(const struct pgste_guest *guest, struct pgste_report_config *config)
{
	const uint64_t n = guest->mm.nr_pages;
	const uint64_t kib = isqrt_u64(64 * n);
	const uint64_t min = (kib < 128 ? 128 : min_u64(kib, 262144)) / 4;
	const uint64_t low = min + (n / 1000 > min / 4 ? n / 1000 : min / 4);
	const uint64_t share = low / guest->nr_vcpus;
	uint32_t b = (uint32_t)min_u64(n >> 10, 256) / 4, batch = 1;

	b = b ? b + b / 2 : 1;
	while (2 * batch <= b)
		batch *= 2;
	batch -= batch > 1;
	*config = (struct pgste_report_config){
		.order = 9,
		.max_order = 10,
		.parked_order = 3,
		.capacity = PGSTE_REPORT_CAPACITY,
		.parked_batch = batch,
		.parked_high = share > 4 * batch ? share : 4 * batch,
		.delay_ns = UINT64_C(2000000000),
		.min = min,
		.low = low,
		.poison = PGSTE_POISON_NONE,
		.negotiated = true,
	};
}

static bool config_valid(const struct pgste_report_config *c)
{
	return c->max_order <= PGSTE_MAX_ORDER && c->order <= c->max_order &&
	       c->parked_order <= c->max_order && c->parked_batch >= 1 && c->capacity >= 1 &&
	       c->capacity <= PGSTE_REPORT_CAPACITY && c->delay_ns <= PGSTE_MAX_NS &&
	       c->ack_ns <= PGSTE_MAX_NS && c->min <= PGSTE_MAX_PAGES &&
	       c->low <= PGSTE_MAX_PAGES && c->spare <= PGSTE_MAX_PAGES &&
	       (c->poison == PGSTE_POISON_NONE || c->poison == PGSTE_POISON_INIT_ON_FREE ||
		c->poison == PGSTE_POISON_PAGE_POISON);
}

static struct reporting *reporting_of(const struct pgste_guest *guest)
{
	return guest->mech == &mech_reporting ? guest->mech_data : NULL;
}

int pgste_report_configure(struct pgste_guest *guest, const struct pgste_report_config *config)
{
	struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	if (!config_valid(config))
		return PGSTE_E_ARG;
	if (r->used || guest->now_ns)
		return PGSTE_E_BUSY;
	reporting_apply(r, config);
	return PGSTE_OK;
}

/* ---- what tests and tools look at ---- */

int pgste_report_get_state(const struct pgste_guest *guest, struct pgste_report_state *state)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	*state = (struct pgste_report_state){
		.config = r->config,
		.status = r->status,
		.due_ns = r->due,
		.pages_free = r->buddy.nr_free,
		.passes = r->passes,
		.passes_skipped = r->skipped,
		.blocks_reported = r->blocks,
		.blocks_isolated = r->nr_batch,
	};
	for (uint32_t v = 0; v < guest->nr_vcpus; v++)
		state->pages_parked += r->buddy.parked[v].nr_pages;
	for (uint32_t i = 0; i < r->nr_batch; i++)
		state->pages_isolated += UINT64_C(1) << r->buddy.nodes[r->batch[i]].order;
	return PGSTE_OK;
}

static void describe(const struct reporting *r, uint64_t block, struct pgste_block *to)
{
	*to = (struct pgste_block){ .gfn = block,
				    .order = r->buddy.nodes[block].order,
				    .reported = r->buddy.nodes[block].reported };
}

static int64_t describe_list(const struct reporting *r, const struct buddy_list *list,
			     struct pgste_block *blocks, uint64_t max)
{
	uint64_t block = list->head;

	for (uint64_t i = 0; i < list->nr_blocks && i < max; i++) {
		describe(r, block, &blocks[i]);
		block = r->buddy.nodes[block].next;
	}
	return (int64_t)list->nr_blocks;
}

int64_t pgste_report_free_list(const struct pgste_guest *guest, unsigned order,
			       struct pgste_block *blocks, uint64_t max)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	if (order > PGSTE_MAX_ORDER)
		return PGSTE_E_ARG;
	return describe_list(r, &r->buddy.lists[order], blocks, max);
}

int64_t pgste_report_parked(const struct pgste_guest *guest, uint32_t vcpu,
			    struct pgste_block *blocks, uint64_t max)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	return describe_list(r, &r->buddy.parked[vcpu], blocks, max);
}

int64_t pgste_report_isolated(const struct pgste_guest *guest, struct pgste_block *blocks,
			      uint64_t max)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	for (uint32_t i = 0; i < r->nr_batch && i < max; i++)
		describe(r, r->batch[i], &blocks[i]);
	return r->nr_batch;
}

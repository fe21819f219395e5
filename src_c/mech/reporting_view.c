/* SPDX-License-Identifier: MIT */
/* Free page reporting as users see it: settings of a new guest, and what the worker holds. */
#include "mech/reporting.h"

static struct reporting *reporting_of(const struct pgste_guest *guest)
{
	return guest->mech == &mech_reporting ? guest->mech_data : NULL;
}

int pgste_reporting_configure(struct pgste_guest *guest,
			      const struct pgste_reporting_config *config)
{
	struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	if (!reporting_config_valid(guest, config))
		return PGSTE_E_ARG;
	if (r->used || guest->now_ns)
		return PGSTE_E_BUSY;
	return reporting_apply(r, config) ? PGSTE_OK : PGSTE_E_NOMEM;
}

int pgste_reporting_type(const struct pgste_guest *guest, uint64_t gfn)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	return gfn < guest->mm.nr_pages ? (int)buddy_type_of(&r->buddy, gfn) : PGSTE_E_ARG;
}

static uint64_t pages_free(const struct buddy *buddy)
{
	uint64_t pages = 0;

	for (uint32_t z = 0; z < buddy->nr_zones; z++)
		for (unsigned t = 0; t < PGSTE_MIGRATETYPES; t++)
			for (unsigned o = 0; o <= PGSTE_MAX_ORDER; o++)
				pages += buddy->zones[z].areas[t].lists[o].nr_pages;
	return pages;
}

int pgste_reporting_get_state(const struct pgste_guest *guest, struct pgste_reporting_state *state)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	*state = (struct pgste_reporting_state){
		.config = r->config,
		.status = r->status,
		.due_ns = r->due,
		.pages_free = pages_free(&r->buddy),
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

int64_t pgste_reporting_free_list(const struct pgste_guest *guest, uint32_t zone,
			       enum pgste_migratetype type, unsigned order,
			       struct pgste_block *blocks, uint64_t max)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	if (order > PGSTE_MAX_ORDER || zone >= r->buddy.nr_zones || type >= PGSTE_MIGRATETYPES)
		return PGSTE_E_ARG;
	return describe_list(r, &r->buddy.zones[zone].areas[type].lists[order], blocks, max);
}

int64_t pgste_reporting_parked(const struct pgste_guest *guest, uint32_t vcpu,
			    struct pgste_block *blocks, uint64_t max)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	return describe_list(r, &r->buddy.parked[vcpu], blocks, max);
}

int64_t pgste_reporting_isolated(const struct pgste_guest *guest, struct pgste_block *blocks,
			      uint64_t max)
{
	const struct reporting *r = reporting_of(guest);

	if (!r)
		return PGSTE_E_NAME;
	for (uint32_t i = 0; i < r->nr_batch && i < max; i++)
		describe(r, r->batch[i], &blocks[i]);
	return r->nr_batch;
}

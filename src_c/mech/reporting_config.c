/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting: its settings, with the kernel's defaults for the watermarks and the
 * per-CPU lists (mm/page_alloc.c, Linux 6.1).
 */
#include "mech/reporting.h"

void reporting_apply(struct reporting *r, const struct pgste_reporting_config *config)
{
	r->config = *config;
	r->buddy.max_order = config->max_order;
	r->buddy.report_order = config->order;
	/* F9: without PAGE_POISON the device might change what the guest relies on */
	if (config->poison != PGSTE_POISON_NONE && !config->negotiated) {
		r->status = PGSTE_REPORTING_OFF;
		r->due = NEVER;
	} else {
		r->status = PGSTE_REPORTING_REQUESTED;
		r->due = config->delay_ns;
	}
}

void pgste_reporting_defaults(const struct pgste_guest *guest,
			      struct pgste_reporting_config *config)
{
	const uint64_t n = guest->mm.nr_pages;
	struct pgste_watermarks marks;
	uint64_t share;
	uint32_t b = (uint32_t)min_u64(n >> 10, 256) / 4, batch = 1;

	pgste_zone_watermarks(n, pgste_min_free(n), 10, &marks);
	share = marks.low / guest->nr_vcpus;
	b = b ? b + b / 2 : 1;
	while (2 * batch <= b)
		batch *= 2;
	batch -= batch > 1;
	*config = (struct pgste_reporting_config){
		.order = 9,
		.max_order = 10,
		.parked_order = 3,
		.capacity = PGSTE_REPORTING_CAPACITY,
		.parked_batch = batch,
		.parked_high = share > 4 * batch ? share : 4 * batch,
		.delay_ns = UINT64_C(2000000000),
		.min = marks.min,
		.low = marks.low,
		.poison = PGSTE_POISON_NONE,
		.negotiated = true,
	};
}

bool reporting_config_valid(const struct pgste_reporting_config *c)
{
	return c->max_order <= PGSTE_MAX_ORDER && c->order <= c->max_order &&
	       c->parked_order <= c->max_order && c->parked_batch >= 1 && c->capacity >= 1 &&
	       c->capacity <= PGSTE_REPORTING_CAPACITY && c->delay_ns <= PGSTE_MAX_NS &&
	       c->ack_ns <= PGSTE_MAX_NS && c->min <= PGSTE_MAX_PAGES &&
	       c->low <= PGSTE_MAX_PAGES && c->spare <= PGSTE_MAX_PAGES &&
	       (c->poison == PGSTE_POISON_NONE || c->poison == PGSTE_POISON_INIT_ON_FREE ||
		c->poison == PGSTE_POISON_PAGE_POISON) &&
	       (c->advice == PGSTE_ADVICE_MADV_DONTNEED || c->advice == PGSTE_ADVICE_MADV_FREE);
}

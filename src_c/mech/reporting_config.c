/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting: its settings, with the kernel's defaults for the watermarks and the
 * per-CPU lists (mm/page_alloc.c, Linux 6.1).
 */
#include "mech/reporting.h"

bool reporting_apply(struct reporting *r, const struct pgste_reporting_config *config)
{
	if (!buddy_set_layout(&r->buddy, config))
		return false;
	r->config = *config;
	r->config.types = NULL; /* the caller's */
	r->config.nr_types = r->buddy.nr_types;
	r->config.pageblock_order = r->buddy.pageblock_order;
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
	return true;
}

/* __setup_per_zone_wmarks */
void pgste_reporting_watermarks(const struct pgste_guest *guest,
				struct pgste_reporting_config *config)
{
	const uint64_t n = guest->mm.nr_pages, min = pgste_min_free(n);

	for (uint32_t z = 0; z < config->nr_zones; z++) {
		struct pgste_reporting_zone *zone = &config->zones[z];
		const uint64_t end = z + 1 < config->nr_zones ? zone[1].first : n;
		const uint64_t size = end - zone->first;
		struct pgste_watermarks marks;

		pgste_zone_watermarks(size, min * size / n, 10, &marks);
		zone->min = marks.min;
		zone->low = marks.low;
	}
}

void pgste_reporting_defaults(const struct pgste_guest *guest,
			      struct pgste_reporting_config *config)
{
	const uint64_t n = guest->mm.nr_pages;
	uint64_t share;
	uint32_t b = (uint32_t)min_u64(n >> 10, 256) / 4, batch = 1;

	*config = (struct pgste_reporting_config){ .nr_zones = 1 };
	pgste_reporting_watermarks(guest, config);
	share = config->zones[0].low / guest->nr_vcpus;
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
		.nr_zones = 1,
		.zones = { config->zones[0] },
		.poison = PGSTE_POISON_NONE,
		.negotiated = true,
	};
}

static bool zones_valid(const struct pgste_guest *guest, const struct pgste_reporting_config *c)
{
	if (c->nr_zones < 1 || c->nr_zones > PGSTE_REPORTING_ZONES || c->zones[0].first)
		return false;
	for (uint32_t z = 0; z < c->nr_zones; z++) {
		const struct pgste_reporting_zone *zone = &c->zones[z];

		if (zone->first >= guest->mm.nr_pages || (z && zone->first <= zone[-1].first) ||
		    zone->min > PGSTE_MAX_PAGES || zone->low > PGSTE_MAX_PAGES ||
		    zone->spare > PGSTE_MAX_PAGES)
			return false;
	}
	return true;
}

static bool types_valid(const struct pgste_guest *guest, const struct pgste_reporting_config *c)
{
	if (!c->types)
		return true;
	if (c->pageblock_order < PGSTE_PAGEBLOCK_ORDER_MIN ||
	    c->pageblock_order > PGSTE_MAX_ORDER ||
	    c->nr_types != ((guest->mm.nr_pages - 1) >> c->pageblock_order) + 1)
		return false;
	for (uint64_t i = 0; i < c->nr_types; i++)
		if (c->types[i] >= PGSTE_MIGRATETYPES)
			return false;
	return true;
}

bool reporting_config_valid(const struct pgste_guest *guest,
			    const struct pgste_reporting_config *c)
{
	return zones_valid(guest, c) && types_valid(guest, c) &&
	       c->max_order <= PGSTE_MAX_ORDER && c->order <= c->max_order &&
	       c->parked_order <= c->max_order && c->parked_batch >= 1 && c->capacity >= 1 &&
	       c->capacity <= PGSTE_REPORTING_CAPACITY && c->delay_ns <= PGSTE_MAX_NS &&
	       c->ack_ns <= PGSTE_MAX_NS &&
	       (c->poison == PGSTE_POISON_NONE || c->poison == PGSTE_POISON_INIT_ON_FREE ||
		c->poison == PGSTE_POISON_PAGE_POISON) &&
	       (c->advice == PGSTE_ADVICE_MADV_DONTNEED || c->advice == PGSTE_ADVICE_MADV_FREE);
}

/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting: mech/reporting.c hears of frees and allocs, through a guest that has no
 * memory, and what it discards is discarded here.
 */
#include <stdlib.h>

#include "footprint/footprint.h"
#include "mech/reporting.h"

struct reported {
	struct pgste_host *host;
	struct pgste_guest *guest;
};

static struct pgste_guest *guest_of_reports(const struct footprint *f)
{
	return ((struct reported *)f->data)->guest;
}

static void reports_discard(struct pgste_guest *guest, uint64_t first, uint64_t nr)
{
	struct footprint *f = ((struct reporting *)guest->mech_data)->discard_data;

	backing_discard(&f->backing, first, nr);
}

static void reports_freed(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	struct pgste_guest *guest = guest_of_reports(f);

	guest->now_ns = f->now;
	guest->mech->free(guest, &guest->vcpus[0], first, nr, order);
}

static void reports_allocated(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	struct pgste_guest *guest = guest_of_reports(f);

	guest->now_ns = f->now;
	guest->mech->alloc(guest, &guest->vcpus[0], first, nr, order);
}

static uint64_t reports_due(const struct footprint *f)
{
	const struct pgste_guest *guest = guest_of_reports(f);

	return guest->mech->due(guest);
}

static void reports_tick(struct footprint *f)
{
	struct pgste_guest *guest = guest_of_reports(f);

	guest->now_ns = f->now;
	guest->mech->tick(guest);
	f->result->calls = guest->mm.stats.hints;
}

static int reports_start(struct footprint *f)
{
	const struct pgste_footprint_config *config = f->config;
	const struct pgste_guest_config of_guest = {
		.nr_pages = config->nr_pages,
		.generation = PGSTE_GEN_PGTABLE,
		.mechanism = "reporting",
		.nr_vcpus = 1,
		.cbrl_entries = 1,
	};
	struct reported *r = f->data = calloc(1, sizeof(*r));
	struct pgste_host_config of_host = { .reclaim = PGSTE_RECLAIM_SIMPLE, .nr_frames = 1 };
	struct reporting *reporting;
	int error;

	if (!r)
		return PGSTE_E_NOMEM;
	pgste_host_defaults(&of_host);
	error = pgste_host_new(&of_host, &r->host);
	if (!error)
		error = pgste_guest_new(r->host, &of_guest, &r->guest);
	if (!error && config->reporting)
		error = pgste_reporting_configure(r->guest, config->reporting);
	if (error)
		return error;
	reporting = r->guest->mech_data;
	reporting->discard = reports_discard;
	reporting->discard_data = f;
	for (uint64_t page = 0; page < config->nr_pages; page++) {
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		if (fp_is_free(f, page))
			reports_freed(f, page, 1, 0);
	}
	r->guest->mech->replay_starts(r->guest);
	r->guest->mm.stats.hints = 0;
	return PGSTE_OK;
}

static void reports_end(struct footprint *f)
{
	struct reported *r = f->data;

	if (!r)
		return;
	pgste_guest_free(r->guest);
	if (r->host)
		(void)pgste_host_free(r->host); /* its one guest is gone */
	free(r);
}

const struct fp_rule fp_reporting = {
	.start = reports_start,
	.end = reports_end,
	.freed = reports_freed,
	.allocated = reports_allocated,
	.due = reports_due,
	.tick = reports_tick,
};

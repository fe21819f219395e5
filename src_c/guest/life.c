/* SPDX-License-Identifier: MIT */
/* The life of a guest, and its counters. */
#include <stdlib.h>

#include "guest/guest.h"
#include "guest/slots.h"

static void guest_destroy(struct pgste_guest *guest)
{
	const uint64_t nr = guest->mm.nr_pages;

	if (guest->mech->exit)
		guest->mech->exit(guest);
	table_free(guest->free, bitmap_bytes(nr));
	table_free(guest->odd, nr * sizeof(*guest->odd));
	slots_exit(guest);
	free(guest->vcpus);
	free(guest);
}

static bool guest_init(struct pgste_guest *guest, bool memfd)
{
	guest->free = table_new(bitmap_bytes(guest->mm.nr_pages));
	guest->vcpus = calloc(guest->nr_vcpus, sizeof(*guest->vcpus));
	return guest->free && guest->vcpus && (!guest->mech->init || guest->mech->init(guest)) &&
	       mm_init(&guest->mm, memfd);
}

/* What only some generations and mechanisms have. */
static bool options_valid(const struct pgste_guest_config *c)
{
	const bool dat = c->log_revision == PGSTE_LOG_DAT || c->log_revision == PGSTE_LOG_DAT_NEW;

	if (c->log_revision >= PGSTE_NR_LOG_REVISIONS || (dat && c->generation != PGSTE_GEN_DAT))
		return false;
	/* a caller's frames are its own affair, and a file's pages are never the zero page */
	if ((c->own_memory && (c->memfd || c->allow_cow_sharing)) ||
	    (c->memfd && c->allow_cow_sharing) || (c->own_memory && c->mlock))
		return false;
	return c->generation != PGSTE_GEN_ZVM ||
	       !(c->interpretation || c->slots || c->cmma_later || c->own_memory ||
		 c->storage_keys || c->allow_cow_sharing || c->memfd || c->mlock);
}

static bool guest_config_valid(const struct pgste_guest_config *c)
{
	return c->nr_pages >= 1 && c->nr_pages <= PGSTE_MAX_PAGES &&
	       c->generation < PGSTE_NR_GENERATIONS && c->revision < PGSTE_NR_REVISIONS &&
	       (c->revision == PGSTE_REVISION_7_2 || c->generation == PGSTE_GEN_DAT) &&
	       options_valid(c) && c->nr_vcpus >= 1 && c->nr_vcpus <= PGSTE_MAX_VCPUS &&
	       c->cbrl_entries >= 1 && c->cbrl_entries <= PGSTE_CBRL_MAX;
}

int guest_create(struct pgste_host *host, const struct pgste_guest_config *config,
		 const struct mech *mech, struct pgste_guest **guest)
{
	const bool zvm = config->generation == PGSTE_GEN_ZVM;
	struct pgste_guest *g;
	int error;

	if (!guest_config_valid(config) || host->nr_mms >= PGSTE_MAX_GUESTS ||
	    ((config->memfd || config->mlock) && has_lru(host)))
		return PGSTE_E_ARG;
	g = calloc(1, sizeof(*g));
	if (!g)
		return PGSTE_E_NOMEM;
	g->mm.nr_pages = config->nr_pages;
	g->mm.generation = config->generation;
	g->mm.two.revision = config->revision;
	g->mm.host = host;
	g->mm.own_memory = config->own_memory;
	g->mm.allow_cow_sharing = config->allow_cow_sharing;
	g->mm.rules = zvm ? &zvm_rules : NULL;
	g->nr_vcpus = config->nr_vcpus;
	g->shared = config->nr_vcpus > 1;
	g->cbrl_entries = config->cbrl_entries;
	g->nodat = config->nodat;
	g->strict = config->strict;
	g->mech = mech;
	g->use_cmma = mech->cmma && !config->cmma_later;
	g->vcpus_created = !config->cmma_later;
	g->interpretation = config->interpretation;
	g->log_revision = config->log_revision;
	if (config->generation == PGSTE_GEN_DAT && !config->log_revision)
		g->log_revision = config->revision == PGSTE_REVISION_7_2 ? PGSTE_LOG_DAT_NEW :
									   PGSTE_LOG_DAT;
	if (!guest_init(g, config->memfd)) {
		guest_destroy(g);
		return PGSTE_E_NOMEM;
	}
	error = slots_init(g, config);
	if (!error && config->mlock)
		error = mm_lock(&g->mm);
	if (!error && config->storage_keys)
		error = pgste_enable_storage_keys(g);
	if (error) {
		pgste_guest_free(g);
		return error;
	}
	*guest = g;
	return PGSTE_OK;
}

void pgste_guest_free(struct pgste_guest *guest)
{
	if (!guest)
		return;
	mm_exit(&guest->mm);
	guest_destroy(guest);
}

uint64_t pgste_guest_pages(const struct pgste_guest *guest)
{
	return guest->mm.nr_pages;
}

uint32_t pgste_guest_number(const struct pgste_guest *guest)
{
	return guest->mm.number;
}

uint64_t pgste_guest_page_bits(const struct pgste_guest *guest)
{
	return 8 * (sizeof(*guest->mm.state) + sizeof(*guest->mm.pte) + sizeof(*guest->mm.rest) +
		    (guest->mm.two.bits ? sizeof(*guest->mm.two.bits) : 0) +
		    (guest->mm.file ? sizeof(*guest->mm.file) : 0) +
		    (guest->odd ? sizeof(*guest->odd) : 0)) + 1 + guest->mech->page_bits;
}

uint64_t pgste_now(const struct pgste_guest *guest)
{
	return guest->now_ns;
}

int pgste_advance(struct pgste_guest *guest, uint64_t ns)
{
	const struct mech *mech = guest->mech;
	const uint64_t end = guest->now_ns + ns;
	uint64_t ticks = 0;

	if (ns > PGSTE_MAX_NS || end > PGSTE_MAX_NS)
		return PGSTE_E_ARG;
	guest_settle(guest);
	while (mech->due && mech->due(guest) <= end) {
		if (guest->now_ns < mech->due(guest))
			guest->now_ns = mech->due(guest);
		mech->tick(guest);
		if (watch_stops_at(++ticks))
			return PGSTE_E_CANCELLED;
	}
	guest->now_ns = end;
	return PGSTE_OK;
}

const char *pgste_guest_stats_name(unsigned i)
{
#define NAME(field) #field,
	static const char *const names[] = { PGSTE_GUEST_STATS(NAME) };
#undef NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}

void pgste_guest_get_stats(const struct pgste_guest *guest, struct pgste_guest_stats *stats)
{
	*stats = guest->mm.stats;
	for (uint32_t i = 0; i < guest->nr_vcpus; i++) {
		const struct vcpu *v = &guest->vcpus[i];

		stats->essa += v->essa;
		stats->appended += v->appended;
		stats->intercepts += v->intercepts;
		stats->processed += v->processed;
		stats->zapped += v->zapped;
		stats->zap_slots_freed += v->zap_slots_freed;
		stats->hints += v->hints;
		stats->hint_pages += v->hint_pages;
		stats->pages_freed += v->pages_freed;
		stats->pages_allocated += v->pages_allocated;
		stats->double_frees += v->double_frees;
		stats->double_allocs += v->double_allocs;
	}
}

void pgste_guest_reset_stats(struct pgste_guest *guest)
{
	guest_settle(guest);
	guest->mm.stats = (struct pgste_guest_stats){ 0 };
	guest->mm.two.counts.stats = (struct pgste_host_pte_stats){ 0 };
	for (uint32_t i = 0; i < guest->nr_vcpus; i++) {
		struct vcpu *v = &guest->vcpus[i];

		v->essa = v->appended = v->intercepts = v->processed = 0;
		v->zapped = v->zap_slots_freed = v->hints = v->hint_pages = 0;
		v->pages_freed = v->pages_allocated = v->double_frees = v->double_allocs = 0;
	}
}

/* SPDX-License-Identifier: MIT */
/* The life of a guest, and its counters. */
#include <stdlib.h>

#include "internal.h"

/* Tables are a little longer than the guest, so that scans may load whole vectors. */
#define PADDING UINT64_C(64)

static uint64_t bitmap_bytes(uint64_t nr_bits)
{
	return (nr_bits + 63) / 64 * sizeof(uint64_t);
}

static uint64_t chunks(uint64_t nr_pages)
{
	return (nr_pages + CHUNK - 1) >> CHUNK_SHIFT;
}

uint64_t chunk_next(const struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t nr = chunks(guest->nr_pages);
	uint64_t chunk = gfn >> CHUNK_SHIFT;

	if (gfn >= guest->nr_pages)
		return guest->nr_pages;
	if (guest->touched[chunk >> 6] >> (chunk & 63) & 1)
		return gfn;
	for (chunk++; chunk < nr; chunk = (chunk | 63) + 1) {
		const uint64_t word = guest->touched[chunk >> 6] >> (chunk & 63);

		if (word)
			return (chunk + (uint64_t)__builtin_ctzll(word)) << CHUNK_SHIFT;
	}
	return guest->nr_pages;
}

static void guest_destroy(struct pgste_guest *guest)
{
	const uint64_t nr = guest->nr_pages;

	if (guest->mech->exit)
		guest->mech->exit(guest);
	table_free(guest->state, nr + PADDING);
	table_free(guest->pte, nr * sizeof(*guest->pte));
	table_free(guest->rest, nr * sizeof(*guest->rest));
	table_free(guest->free, bitmap_bytes(nr));
	table_free(guest->touched, bitmap_bytes(chunks(nr)));
	table_free(guest->odd, nr * sizeof(*guest->odd));
	free(guest->vcpus);
	free(guest);
}

static bool guest_tables(struct pgste_guest *guest)
{
	const uint64_t nr = guest->nr_pages;

	guest->state = table_new(nr + PADDING);
	guest->pte = table_new(nr * sizeof(*guest->pte));
	guest->rest = table_new(nr * sizeof(*guest->rest));
	guest->free = table_new(bitmap_bytes(nr));
	guest->touched = table_new(bitmap_bytes(chunks(nr)));
	guest->vcpus = calloc(guest->nr_vcpus, sizeof(*guest->vcpus));
	return guest->state && guest->pte && guest->rest && guest->free &&
	       guest->touched && guest->vcpus;
}

/* The lowest number not in use, or NIL. */
static uint32_t host_number(struct pgste_host *host)
{
	for (uint32_t i = 0; i < host->room_guests; i++)
		if (!host->guests[i])
			return i;
	if (host->room_guests < PGSTE_MAX_GUESTS) {
		const uint32_t room = host->room_guests ? 2 * host->room_guests : 4;
		struct pgste_guest **guests = realloc(host->guests, room * sizeof(*guests));

		if (!guests)
			return NIL;
		for (uint32_t i = host->room_guests; i < room; i++)
			guests[i] = NULL;
		host->guests = guests;
		host->room_guests = room;
		return room / 2 >= 4 ? room / 2 : 0;
	}
	return NIL;
}

static bool config_valid(const struct pgste_guest_config *c, const struct mech *mech)
{
	/* z/VM has neither madvise nor virtio */
	if (c->generation == PGSTE_GEN_ZVM && mech != &mech_cmma && mech != &mech_none)
		return false;
	return c->nr_pages >= 1 && c->nr_pages <= PGSTE_MAX_PAGES &&
	       c->generation >= PGSTE_GEN_PGTABLE && c->generation <= PGSTE_GEN_ZVM &&
	       c->nr_vcpus >= 1 && c->nr_vcpus <= PGSTE_MAX_VCPUS && c->cbrl_entries >= 1 &&
	       c->cbrl_entries <= PGSTE_CBRL_MAX;
}

int pgste_guest_new(struct pgste_host *host, const struct pgste_guest_config *config,
		    struct pgste_guest **guest)
{
	const struct mech *mech = mech_find(config->mechanism);
	struct pgste_guest *g;

	if (!mech)
		return PGSTE_E_NAME;
	if (!config_valid(config, mech) || host->nr_guests >= PGSTE_MAX_GUESTS)
		return PGSTE_E_ARG;
	g = calloc(1, sizeof(*g));
	if (!g)
		return PGSTE_E_NOMEM;
	g->nr_pages = config->nr_pages;
	g->nr_vcpus = config->nr_vcpus;
	g->shared = config->nr_vcpus > 1;
	g->cbrl_entries = config->cbrl_entries;
	g->generation = config->generation;
	g->nodat = config->nodat;
	g->strict = config->strict;
	g->mech = mech;
	g->host = host;
	g->interpreted = g->generation == PGSTE_GEN_ZVM;
	g->rows = essa_rows(config->generation, false);
	g->number = NIL;
	if (guest_tables(g) && (!mech->init || mech->init(g)))
		g->number = host_number(host);
	if (g->number == NIL) {
		guest_destroy(g);
		return PGSTE_E_NOMEM;
	}
	host->guests[g->number] = g;
	host->nr_guests++;
	host->nr_zvm += g->generation == PGSTE_GEN_ZVM;
	*guest = g;
	return PGSTE_OK;
}

void pgste_guest_free(struct pgste_guest *guest)
{
	struct pgste_host *host;

	if (!guest)
		return;
	host = guest->host;
	for (uint64_t gfn = chunk_next(guest, 0); gfn < guest->nr_pages;
	     gfn = chunk_next(guest, gfn + 1))
		pte_drop(guest, gfn);
	host->guests[guest->number] = NULL;
	host->nr_guests--;
	host->nr_zvm -= guest->generation == PGSTE_GEN_ZVM;
	guest_destroy(guest);
}

uint64_t pgste_guest_pages(const struct pgste_guest *guest)
{
	return guest->nr_pages;
}

uint32_t pgste_guest_number(const struct pgste_guest *guest)
{
	return guest->number;
}

uint64_t pgste_guest_page_bits(const struct pgste_guest *guest)
{
	return 8 * (sizeof(*guest->state) + sizeof(*guest->pte) + sizeof(*guest->rest) +
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

	if (ns > PGSTE_MAX_NS || end > PGSTE_MAX_NS)
		return PGSTE_E_ARG;
	guest_settle(guest);
	while (mech->due && mech->due(guest) <= end) {
		if (guest->now_ns < mech->due(guest))
			guest->now_ns = mech->due(guest);
		mech->tick(guest);
	}
	guest->now_ns = end;
	return PGSTE_OK;
}

#define STAT_NAME(name) #name,
static const char *const stat_names[] = { PGSTE_GUEST_STATS(STAT_NAME) };

const char *pgste_guest_stats_name(unsigned i)
{
	return i < sizeof(stat_names) / sizeof(stat_names[0]) ? stat_names[i] : NULL;
}

void pgste_guest_get_stats(const struct pgste_guest *guest, struct pgste_guest_stats *stats)
{
	*stats = guest->stats;
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
	guest->stats = (struct pgste_guest_stats){ 0 };
	for (uint32_t i = 0; i < guest->nr_vcpus; i++) {
		struct vcpu *v = &guest->vcpus[i];

		v->essa = v->appended = v->intercepts = v->processed = 0;
		v->zapped = v->zap_slots_freed = v->hints = v->hint_pages = 0;
		v->pages_freed = v->pages_allocated = v->double_frees = v->double_allocs = 0;
	}
}

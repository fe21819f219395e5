/* SPDX-License-Identifier: MIT */
/*
 * Free page reporting without Python, for the sanitizers: long random runs with random
 * settings, and after every step the invariants of the buddy view, checked from the lists
 * that it shows: every free page is in one block, and no two free halves are left unmerged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_or_exit.h"
#include "pgste.h"

#define PAGES 300u
#define NOWHERE 255u

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static struct pgste_gfns run_of(uint64_t first, uint64_t nr)
{
	return (struct pgste_gfns){ .type = PGSTE_GFN_RANGE, .first = first, .nr = nr };
}

static void draw_zones(struct pgste_reporting_config *config)
{
	static uint8_t types[PAGES];

	config->nr_zones = 1 + (uint32_t)draw(3);
	for (uint32_t z = 0; z < config->nr_zones; z++)
		config->zones[z] = (struct pgste_reporting_zone){
			.first = z ? config->zones[z - 1].first + 1 + draw(140) : 0,
			.min = draw(10), .low = draw(20), .spare = draw(2) * 10000,
		};
	config->pageblock_order = 2 + (uint32_t)draw(4);
	config->nr_types = ((PAGES - 1) >> config->pageblock_order) + 1;
	config->types = draw(2) ? types : NULL;
	for (uint64_t i = 0; i < config->nr_types; i++)
		types[i] = (uint8_t)(draw(2) ? PGSTE_MIGRATE_MOVABLE : draw(PGSTE_MIGRATETYPES));
}

static struct pgste_reporting_config draw_config(const struct pgste_guest *guest)
{
	struct pgste_reporting_config config;

	pgste_reporting_defaults(guest, &config);
	config.max_order = (uint32_t)draw(8);
	config.order = (uint32_t)draw(config.max_order + 1);
	config.parked_order = (uint32_t)draw(config.max_order + 1);
	config.capacity = 1 + (uint32_t)draw(PGSTE_REPORTING_CAPACITY);
	config.parked_high = draw(40);
	config.parked_batch = 1 + (uint32_t)draw(20);
	config.delay_ns = draw(20);
	config.ack_ns = draw(3) * draw(20);
	draw_zones(&config);
	config.poison = (enum pgste_poison)draw(3);
	config.negotiated = draw(4) != 0;
	config.inhibited = draw(4) == 0;
	return config;
}

/* Enter blocks into a table of pages: order of the free block, 64 for parked or isolated. */
static uint64_t enter(const struct pgste_block *blocks, int64_t nr, uint8_t *pages, bool free)
{
	uint64_t sum = 0;

	for (int64_t i = 0; i < nr; i++) {
		const uint64_t size = UINT64_C(1) << blocks[i].order;

		CHECK(blocks[i].gfn % size == 0 && blocks[i].gfn + size <= PAGES);
		CHECK(free || !blocks[i].reported);
		for (uint64_t p = blocks[i].gfn; p < blocks[i].gfn + size; p++) {
			CHECK(pages[p] == NOWHERE);
			pages[p] = free ? (uint8_t)blocks[i].order : 64;
		}
		sum += size;
	}
	return sum;
}

/* Halves that are free have merged, but across zones, and beside pageblocks of all types. */
static void check_merged(const uint8_t *pages, const struct pgste_reporting_config *config)
{
	for (uint64_t gfn = 0; gfn < PAGES; gfn++) {
		const unsigned order = pages[gfn];
		uint64_t half, first = 0;

		if (order >= config->max_order || order >= config->pageblock_order ||
		    gfn % (UINT64_C(1) << order))
			continue;
		half = gfn ^ UINT64_C(1) << order;
		for (uint32_t z = 0; z < config->nr_zones; z++)
			if (config->zones[z].first <= (gfn > half ? gfn : half))
				first = config->zones[z].first;
		CHECK(half >= PAGES || first > (gfn < half ? gfn : half) || pages[half] != order);
	}
}

static void check_view(const struct pgste_guest *guest)
{
	static struct pgste_block blocks[PAGES];
	const struct pgste_gfns all = run_of(0, PAGES);
	struct pgste_reporting_state state;
	uint8_t pages[PAGES], free[PAGES];
	uint64_t nr_free = 0, parked = 0, isolated;

	CHECK(pgste_reporting_get_state(guest, &state) == PGSTE_OK);
	memset(pages, NOWHERE, sizeof(pages));
	for (uint32_t z = 0; z < state.config.nr_zones; z++)
		for (unsigned t = 0; t < PGSTE_MIGRATETYPES; t++)
			for (unsigned o = 0; o <= PGSTE_MAX_ORDER; o++)
				nr_free += enter(blocks,
						 pgste_reporting_free_list(
							 guest, z, (enum pgste_migratetype)t, o,
							 blocks, PAGES),
						 pages, true);
	for (uint32_t v = 0; v < 2; v++)
		parked += enter(blocks, pgste_reporting_parked(guest, v, blocks, PAGES), pages,
				false);
	isolated = enter(blocks, pgste_reporting_isolated(guest, blocks, PAGES), pages, false);
	check_merged(pages, &state.config);
	CHECK(nr_free == state.pages_free && parked == state.pages_parked);
	CHECK(isolated == state.pages_isolated);
	CHECK(pgste_get_free(guest, &all, free) == PGSTE_OK);
	for (unsigned p = 0; p < PAGES; p++)
		CHECK(free[p] == (pages[p] != NOWHERE));
}

static void one_step(struct pgste_guest *guest, struct pgste_host *host)
{
	const unsigned order = (unsigned)draw(draw(3) ? 3 : 8);
	const uint64_t room = PAGES - (UINT64_C(1) << order), gfn = draw(room + 1);
	const struct pgste_gfns one = run_of(draw(3) ? gfn >> order << order : gfn, 1);
	const uint32_t tag = (uint32_t)draw(1000), vcpu = (uint32_t)draw(2);
	int error = PGSTE_OK;

	switch (draw(8)) {
	case 0: case 1: case 2: error = pgste_free(guest, vcpu, &one, order); break;
	case 3: case 4: error = pgste_alloc(guest, vcpu, &one, order); break;
	case 5: error = pgste_write(guest, &one, &tag, 0); break;
	case 6: error = pgste_host_reclaim(host, draw(5)) < 0; break;
	default: error = pgste_advance(guest, draw(25)); break;
	}
	CHECK(error == PGSTE_OK);
}

static void random_run(void)
{
	struct pgste_host_config host_config = { .nr_frames = 100, .nr_swap_slots = 400 };
	struct pgste_guest_config config = { .nr_pages = PAGES, .mechanism = "reporting",
					     .nr_vcpus = 2, .cbrl_entries = 1 };
	struct pgste_reporting_config settings;
	struct pgste_host *host;
	struct pgste_guest *guest;

	pgste_host_defaults(&host_config);
	CHECK(pgste_host_new(&host_config, &host) == PGSTE_OK);
	CHECK(pgste_guest_new(host, &config, &guest) == PGSTE_OK);
	settings = draw_config(guest);
	CHECK(pgste_reporting_configure(guest, &settings) == PGSTE_OK);
	for (unsigned i = 0; i < 400; i++) {
		one_step(guest, host);
		check_view(guest);
		CHECK(pgste_validate(host) == NULL);
	}
	CHECK(pgste_reporting_configure(guest, &settings) == PGSTE_E_BUSY);
	pgste_guest_free(guest);
	CHECK(pgste_validate(host) == NULL);
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

static void errors_of_zones(struct pgste_guest *guest, const struct pgste_reporting_config *good,
			    uint64_t nr_pages)
{
	struct pgste_reporting_config bad;
	uint8_t types[8] = { 0 };

	bad = *good;
	bad.nr_zones = 2; /* both begin at 0 */
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	bad.zones[1].first = nr_pages;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	bad.zones[1].first = nr_pages - 1;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_OK);
	bad.nr_zones = PGSTE_REPORTING_ZONES + 1;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	bad.nr_zones = 0;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	bad = *good;
	bad.pageblock_order = PGSTE_PAGEBLOCK_ORDER_MIN;
	bad.nr_types = ((nr_pages - 1) >> bad.pageblock_order) + 1;
	bad.types = types;
	types[0] = PGSTE_MIGRATETYPES;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	types[0] = PGSTE_MIGRATE_CMA;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_OK);
	CHECK(pgste_reporting_type(guest, 3) == PGSTE_MIGRATE_CMA);
	CHECK(pgste_reporting_type(guest, 4) == PGSTE_MIGRATE_UNMOVABLE);
	CHECK(pgste_reporting_type(guest, nr_pages) == PGSTE_E_ARG);
	bad.nr_types++;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	CHECK(pgste_reporting_configure(guest, good) == PGSTE_OK); /* types stay */
	CHECK(pgste_reporting_type(guest, 3) == PGSTE_MIGRATE_CMA);
	CHECK(pgste_reporting_free_list(guest, 0, PGSTE_MIGRATE_MOVABLE, PGSTE_MAX_ORDER + 1,
					NULL, 0) == PGSTE_E_ARG);
	CHECK(pgste_reporting_free_list(guest, 1, PGSTE_MIGRATE_MOVABLE, 0, NULL, 0) ==
	      PGSTE_E_ARG);
	CHECK(pgste_reporting_free_list(guest, 0, (enum pgste_migratetype)PGSTE_MIGRATETYPES, 0,
					NULL, 0) == PGSTE_E_ARG);
}

static void errors(void)
{
	struct pgste_host_config host_config = { .nr_frames = 1 };
	struct pgste_guest_config config = { .nr_pages = 8, .mechanism = "cmma", .nr_vcpus = 1,
					     .cbrl_entries = 1 };
	struct pgste_reporting_config good, bad;
	struct pgste_reporting_state state;
	struct pgste_host *host;
	struct pgste_guest *guest;

	pgste_host_defaults(&host_config);
	CHECK(pgste_host_new(&host_config, &host) == PGSTE_OK);
	CHECK(pgste_guest_new(host, &config, &guest) == PGSTE_OK);
	pgste_reporting_defaults(guest, &good);
	CHECK(pgste_reporting_configure(guest, &good) == PGSTE_E_NAME);
	CHECK(pgste_reporting_get_state(guest, &state) == PGSTE_E_NAME);
	CHECK(pgste_reporting_free_list(guest, 0, PGSTE_MIGRATE_MOVABLE, 0, NULL, 0) ==
	      PGSTE_E_NAME);
	CHECK(pgste_reporting_type(guest, 0) == PGSTE_E_NAME);
	CHECK(pgste_reporting_parked(guest, 0, NULL, 0) == PGSTE_E_NAME);
	CHECK(pgste_reporting_isolated(guest, NULL, 0) == PGSTE_E_NAME);
	CHECK(pgste_advance(guest, PGSTE_MAX_NS + 1) == PGSTE_E_ARG);
	pgste_guest_free(guest);
	config.mechanism = "reporting";
	CHECK(pgste_guest_new(host, &config, &guest) == PGSTE_OK);
	bad = good;
	bad.order = bad.max_order + 1;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	bad = good;
	bad.capacity = PGSTE_REPORTING_CAPACITY + 1;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	bad = good;
	bad.parked_batch = 0;
	CHECK(pgste_reporting_configure(guest, &bad) == PGSTE_E_ARG);
	errors_of_zones(guest, &good, config.nr_pages);
	CHECK(pgste_reporting_parked(guest, 1, NULL, 0) == PGSTE_E_ARG);
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

int main(void)
{
	errors();
	for (unsigned i = 0; i < 200; i++)
		random_run();
	printf("report: 200 random runs\n");
	return 0;
}

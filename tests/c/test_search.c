/* SPDX-License-Identifier: MIT */
/* The search gives the same, bit by bit, with any number of threads, and ends when it is told. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "pgste.h"

/* Each with something of its own: two tables, an order of pages, folios, buddies, two lists. */
static const struct pgste_search_config configs[] = {
	{ .mechanism = "cmma", .generation = PGSTE_GEN_DAT, .revision = PGSTE_REVISION_7_0,
	  .notifiers = 1u << PGSTE_REWRITE_XCHG, .nr_pages = 1, .nr_frames = 1,
	  .nr_swap_slots = 1, .cbrl_entries = 1 },
	{ .mechanism = "madv_dontneed", .nr_pages = 3, .nr_frames = 2, .nr_swap_slots = 1,
	  .cbrl_entries = 1, .obedient = true },
	{ .mechanism = "madv_free", .rearm = PGSTE_REARM_DIRTY, .busy = true, .nr_pages = 2,
	  .nr_frames = 1, .nr_swap_slots = 1, .cbrl_entries = 1 },
	{ .mechanism = "reporting", .nr_pages = 2, .nr_frames = 1, .nr_swap_slots = 1,
	  .cbrl_entries = 1, .obedient = true },
	{ .mechanism = "cmma", .nr_pages = 1, .nr_frames = 1, .nr_swap_slots = 1,
	  .cbrl_entries = 2, .nr_vcpus = 2, .plain = true },
};
#define NR_CONFIGS (sizeof(configs) / sizeof(configs[0]))

static struct pgste_search_result one, many;

static void test_threads(struct pgste_search_config config)
{
	config.max_states = UINT64_C(40000000);
	CHECK(pgste_search(&config, &one) == PGSTE_OK);
	CHECK(one.states > 1500);
	for (config.threads = 2; config.threads <= 5; config.threads += 3) {
		memset(&many, 0xff, sizeof(many));
		CHECK(pgste_search(&config, &many) == PGSTE_OK);
		CHECK(!memcmp(&one, &many, sizeof(one)));
	}
}

static bool below(void *data, uint64_t states)
{
	return states < *(const uint64_t *)data;
}

/* What a search that was ended, or that has too many states, has found so far. */
static void test_ended(struct pgste_search_config config, uint64_t max_states, uint64_t end,
		       int error)
{
	config.go_on = below;
	config.data = &end;
	config.max_states = max_states;
	CHECK(pgste_search(&config, &one) == error);
	CHECK(one.states <= max_states && one.states > 900);
	for (config.threads = 2; config.threads <= 5; config.threads += 3) {
		CHECK(pgste_search(&config, &many) == error);
		CHECK(!memcmp(&one, &many, sizeof(one)));
	}
}

static void test_bounds(struct pgste_search_config config)
{
	config.max_states = 40000;
	config.threads = 65;
	CHECK(pgste_search(&config, &one) == PGSTE_E_ARG);
	config.threads = 64;
	config.nr_pages = config.nr_frames = config.nr_swap_slots = 1;
	CHECK(pgste_search(&config, &one) == PGSTE_OK);
}

int main(void)
{
	for (unsigned i = 0; i < NR_CONFIGS; i++) {
		test_threads(configs[i]);
		test_ended(configs[i], 1000, UINT64_MAX, PGSTE_E_NOMEM);
		test_ended(configs[i], 40000000, 1000, PGSTE_E_CANCELLED);
		test_bounds(configs[i]);
	}
	printf("test_search: %s\n", failures ? "failed" : "passed");
	return failures != 0;
}

/* SPDX-License-Identifier: MIT */
/* Long calls that a watch ends: they say so, and leave hosts that pass the validator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pgste.h"

#define PAGES (UINT64_C(1) << 22)

static unsigned answers; /* how often it still says yes */

static bool go_on(void *data)
{
	(void)data;
	return answers && answers--;
}

static const struct pgste_watch watch = { .go_on = go_on };

static int essa(struct pgste_guest *guest, const struct pgste_gfns *all)
{
	return pgste_essa(guest, 0, PGSTE_ORC_SET_UNUSED, all, NULL);
}

static int free_all(struct pgste_guest *guest, const struct pgste_gfns *all)
{
	return pgste_free(guest, 0, all, 0);
}

static int write_all(struct pgste_guest *guest, const struct pgste_gfns *all)
{
	const uint32_t tag = 7;

	return pgste_write(guest, all, &tag, 0);
}

static int swap_out(struct pgste_guest *guest, const struct pgste_gfns *all)
{
	const int64_t out = pgste_swap_out(guest, all);

	return out < 0 ? (int)out : 0;
}

static int set_words(struct pgste_guest *guest, const struct pgste_gfns *all)
{
	const uint64_t word = 0;

	return pgste_set_words(guest, all, &word, 0, NULL, 0);
}

static int (*const calls[])(struct pgste_guest *, const struct pgste_gfns *) = {
	essa, free_all, write_all, swap_out, set_words,
};

static void test_calls(const struct pgste_gfns *all)
{
	const struct pgste_host_config config = {
		.nr_frames = PAGES, .nr_swap_slots = PAGES, .low = 0, .high = 1, .batch = 32,
	};
	const struct pgste_guest_config guest_config = {
		.nr_pages = PAGES, .mechanism = "cmma", .nr_vcpus = 1, .cbrl_entries = 511,
	};

	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct pgste_host *host = NULL;
		struct pgste_guest *guest = NULL;

		CHECK(pgste_host_new(&config, &host) == PGSTE_OK);
		CHECK(pgste_guest_new(host, &guest_config, &guest) == PGSTE_OK);
		for (answers = 0; answers < 3; answers++) {
			const unsigned before = answers;

			CHECK(pgste_set_watch(&watch) == NULL);
			CHECK(calls[i](guest, all) == PGSTE_E_CANCELLED);
			CHECK(pgste_set_watch(NULL) == &watch);
			CHECK(!pgste_validate(host));
			answers = before;
		}
		CHECK(calls[i](guest, all) == PGSTE_OK);
		CHECK(!pgste_validate(host));
		pgste_guest_free(guest);
		CHECK(pgste_host_free(host) == PGSTE_OK);
	}
}

static bool three_times(void *data, uint64_t states)
{
	unsigned *asked = data;

	return states && ++*asked < 3;
}

static void test_search(void)
{
	static struct pgste_search_result result;
	unsigned asked = 0;
	struct pgste_search_config config = {
		.mechanism = "cmma", .nr_pages = 2, .nr_frames = 2, .nr_swap_slots = 2,
		.cbrl_entries = 2, .max_states = 40000000, .go_on = three_times, .data = &asked,
	};

	CHECK(pgste_search(&config, &result) == PGSTE_E_CANCELLED);
	CHECK(asked == 3 && result.states > 0);
}

int main(void)
{
	uint64_t *gfns = malloc(PAGES * sizeof(*gfns));
	struct pgste_gfns all = { .type = PGSTE_GFN_RANGE, .nr = PAGES };

	CHECK(gfns != NULL);
	for (uint64_t i = 0; i < PAGES; i++)
		gfns[i] = i * 2654435761u % PAGES;
	test_calls(&all);
	all = (struct pgste_gfns){ .type = PGSTE_GFN_U64, .data = gfns, .nr = PAGES };
	test_calls(&all);
	test_search();
	free(gfns);
	printf("test_watch: %s\n", failures ? "failed" : "passed");
	return failures != 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Two virtual CPUs of one guest on two threads, for the thread sanitizer: ESSA, free and
 * alloc on the same pages, with zaps of the same swap entries.  Afterwards every invariant
 * holds and no page was zapped twice.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_or_exit.h"
#include "pgste.h"

#define PAGES 4096u
#define ROUNDS 60u
#define SCALARS 1000u

struct job {
	struct pgste_guest *guest;
	uint32_t vcpu;
};

static void *run(void *data)
{
	struct job *job = data;
	static const unsigned orcs[] = { 2, 1, 3, 2, 4, 5, 6, 2 };
	uint32_t gfns[PAGES];
	uint8_t results[PAGES];
	uint32_t seed = 12345u + job->vcpu;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct pgste_gfns array = { .type = PGSTE_GFN_U32, .data = gfns, .nr = PAGES };
		struct pgste_gfns range = { .first = 0, .nr = PAGES };

		for (unsigned i = 0; i < PAGES; i++) {
			seed = seed * 1664525u + 1013904223u;
			gfns[i] = seed >> 8 & (PAGES - 1);
		}
		CHECK(pgste_essa(job->guest, job->vcpu, orcs[round % 8], &array, results) == 0);
		CHECK(pgste_free(job->guest, job->vcpu, &array, 0) == 0);
		CHECK(pgste_essa(job->guest, job->vcpu, 2, &range, NULL) == 0);
		for (unsigned i = 0; i < SCALARS; i++) {
			CHECK(pgste_essa_page(job->guest, job->vcpu, orcs[i % 8], gfns[i]) >= 0);
			CHECK(pgste_free_page(job->guest, job->vcpu, gfns[i]) == 0);
			CHECK(pgste_alloc_page(job->guest, job->vcpu, gfns[i]) == 0);
		}
	}
	return NULL;
}

/* Scans on several threads give what one gives. */
static void scans(void)
{
	struct pgste_host_config hc = { .nr_frames = 1000, .nr_swap_slots = 1000 };
	struct pgste_guest_config gc = {
		.nr_pages = 100000, .mechanism = "cmma", .nr_vcpus = 1, .cbrl_entries = 511,
	};
	struct pgste_gfns some = { .first = 40000, .nr = 900 };
	struct pgste_state_counts one, many;
	struct pgste_host *host;
	struct pgste_guest *guest;
	uint64_t found[1000];
	uint32_t tag = 1;

	pgste_host_defaults(&hc);
	CHECK(pgste_host_new(&hc, &host) == 0);
	CHECK(pgste_guest_new(host, &gc, &guest) == 0);
	CHECK(pgste_write(guest, &some, &tag, 0) == 0);
	CHECK(pgste_swap_out(guest, &some) == 900);
	CHECK(pgste_essa(guest, 0, PGSTE_ORC_SET_UNUSED, &some, NULL) == 0);
	pgste_count_states(guest, 1, &one);
	pgste_count_states(guest, 5, &many);
	CHECK(memcmp(&one, &many, sizeof(one)) == 0);
	CHECK(pgste_find(guest, 7, 0, PGSTE_STATE_USAGE, 1, found, 1000) == 900);
	CHECK(found[0] == 40000 && found[899] == 40899);
	/* 511 entries were processed when the list was full */
	CHECK(pgste_count_zappable(guest, 3) == 900 - 511);
	CHECK(pgste_zap_scan(guest, 4) == 900 - 511);
	CHECK(!pgste_validate(host));
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == 0);
}

int main(void)
{
	struct pgste_host_config hc = { .nr_frames = PAGES, .nr_swap_slots = PAGES };
	struct pgste_guest_config gc = {
		.nr_pages = PAGES, .mechanism = "cmma", .nr_vcpus = 2, .cbrl_entries = 511,
	};
	struct pgste_gfns all = { .nr = PAGES };
	struct pgste_host *host;
	struct pgste_guest_stats stats;
	struct job jobs[2];
	pthread_t threads[2];
	uint32_t tag = 9;

	pgste_host_defaults(&hc);
	CHECK(pgste_host_new(&hc, &host) == 0);
	CHECK(pgste_guest_new(host, &gc, &jobs[0].guest) == 0);
	CHECK(pgste_write(jobs[0].guest, &all, &tag, 0) == 0);
	CHECK(pgste_swap_out(jobs[0].guest, &all) == PAGES);
	for (uint32_t i = 0; i < 2; i++) {
		jobs[i] = (struct job){ .guest = jobs[0].guest, .vcpu = i };
		CHECK(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pgste_intercept(jobs[0].guest, 0);
	pgste_intercept(jobs[0].guest, 1);
	CHECK(!pgste_validate(host));
	pgste_guest_get_stats(jobs[0].guest, &stats);
	CHECK(stats.zapped == PAGES && stats.zap_slots_freed == PAGES);
	CHECK(stats.essa == 2 * ROUNDS * (3 * PAGES + 3 * SCALARS));
	pgste_guest_free(jobs[0].guest);
	CHECK(pgste_host_free(host) == 0);
	scans();
	puts("test_threads: passed");
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What the fuzzers of tests/fuzz found, each as the few calls that show it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check_or_exit.h"
#include "pgste.h"

/* The nth calloc or table from now on fails, and only that one; 0: none does. */
static unsigned failing;
static bool has_failed;

void *__real_calloc(size_t nr, size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__real_table_new(uint64_t nr_bytes);
void *__wrap_table_new(uint64_t nr_bytes);

static bool fails(void)
{
	if (!failing || --failing)
		return false;
	has_failed = true;
	return true;
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails() ? NULL : __real_calloc(nr, size);
}

void *__wrap_table_new(uint64_t nr_bytes)
{
	return fails() ? NULL : __real_table_new(nr_bytes);
}

static struct pgste_host *host_of(uint64_t frames, uint64_t slots)
{
	struct pgste_host_config config = { .nr_frames = frames, .nr_swap_slots = slots };
	struct pgste_host *host;

	pgste_host_defaults(&config);
	CHECK(pgste_host_new(&config, &host) == PGSTE_OK);
	return host;
}

static struct pgste_guest *guest_of(struct pgste_host *host, const char *mechanism,
				    enum pgste_generation generation)
{
	const struct pgste_guest_config config = {
		.nr_pages = 16,
		.generation = generation,
		.mechanism = mechanism,
		.nr_vcpus = 1,
		.cbrl_entries = 4,
	};
	struct pgste_guest *guest;

	CHECK(pgste_guest_new(host, &config, &guest) == PGSTE_OK);
	return guest;
}

/*
 * z/VM: a loaded word that is a swap entry and has no INVALID either (VALID and SWAP in the
 * state byte).  A request that gives it up left VALID behind, with a PTE that is none.
 */
static void foreign_entry_that_is_valid_is_given_up_whole(void)
{
	struct pgste_host *host = host_of(4, 4);
	struct pgste_guest *guest = guest_of(host, "cmma", PGSTE_GEN_ZVM);
	const struct pgste_gfns one = { .first = 5, .nr = 1 };
	const uint64_t word = PTE_PROTECT | UINT64_C(3) << PTE_PFRA_SHIFT;
	uint64_t pte;

	CHECK(pgste_set_words(guest, &one, NULL, 0, &word, 0) == PGSTE_OK);
	CHECK(!pgste_validate(host));
	CHECK(pgste_essa_page(guest, 0, PGSTE_ORC_SET_UNUSED, 5) >= 0);
	CHECK(!pgste_validate(host));
	CHECK(pgste_get_words(guest, &one, NULL, &pte) == PGSTE_OK && pte == PTE_NONE);
	pgste_guest_free(guest);
	CHECK(!pgste_validate(host));
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

/*
 * The search: memory that ran out during an action (a store that takes a copy first) was taken
 * for an action that the guest refuses, and the search went on to a wrong answer.
 */
static void search_without_memory_has_no_answer(void)
{
	const struct pgste_search_config config = {
		.mechanism = "none", .nr_pages = 2, .nr_frames = 1, .nr_swap_slots = 1,
		.cbrl_entries = 1, .max_states = 10000,
	};
	static struct pgste_search_result whole, result;

	CHECK(pgste_search(&config, &whole) == PGSTE_OK);
	for (unsigned nth = 1; nth < 300; nth++) {
		int error;

		failing = nth;
		has_failed = false;
		error = pgste_search(&config, &result);
		failing = 0;
		CHECK(error == (has_failed ? PGSTE_E_NOMEM : PGSTE_OK));
		CHECK(error || !memcmp(&result, &whole, sizeof(whole)));
	}
}

/* A replay moved a guest's clock beyond PGSTE_MAX_NS, from where it went round to 0. */
static void clocks_stop_at_their_last_ns(void)
{
	static const uint64_t events[] = {
		PGSTE_EVENT(PGSTE_EVENT_FREE, 0, 5), PGSTE_EVENT(PGSTE_EVENT_FREE, 0, 6),
	};
	static const uint64_t times[] = { 0, UINT64_MAX };
	struct pgste_host *host = host_of(16, 16);
	struct pgste_guest *guest = guest_of(host, "reporting", PGSTE_GEN_PGTABLE);
	struct pgste_replay_stats stats;
	struct pgste_replay *replay;

	CHECK(pgste_replay_new(&guest, 1, 0, events, times, 2, &replay) == PGSTE_OK);
	CHECK(pgste_replay_run(replay, 2) == 2);
	CHECK(pgste_now(guest) == PGSTE_MAX_NS);
	CHECK(pgste_advance(guest, 1) == PGSTE_E_ARG && pgste_advance(guest, 0) == PGSTE_OK);
	CHECK(pgste_now(guest) == PGSTE_MAX_NS);
	pgste_replay_get_stats(replay, &stats);
	CHECK(stats.seconds > 1.8e10); /* the trace's own time is not cut */
	pgste_replay_free(replay);
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

/* A guest that a replay got twice was moved through time twice as fast. */
static void no_guest_twice_in_a_replay(void)
{
	struct pgste_host *host = host_of(16, 16);
	struct pgste_guest *guest = guest_of(host, "reporting", PGSTE_GEN_PGTABLE);
	struct pgste_guest *const twice[] = { guest, guest };
	struct pgste_replay *replay;

	CHECK(pgste_replay_new(twice, 2, 0, NULL, NULL, 0, &replay) == PGSTE_E_ARG);
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

/*
 * Text: a header was looked for at every '-' of a line, from which a word without end was then
 * skipped: 0.05 s for a line of 64 KiB, 700 s for a megabyte of gzip.
 */
static void long_lines_take_no_longer_than_short_ones(void)
{
	static const char event[] = "bash-77 [001] d..1. 5.1: mm_page_free: pfn=0x5 order=0\n";
	static char text[65536], part[] = "-1[1]x";
	struct pgste_decoder *decoder;
	uint64_t events[2], times[2];
	size_t used, nr = sizeof(text) - 2;
	clock_t start;

	CHECK(pgste_decoder_new(&decoder) == PGSTE_OK);
	CHECK(pgste_decoder_feed(decoder, event, sizeof(event) - 1, false, events, times, 2,
				 &used) == 1);
	for (size_t i = 0; i < nr; i++)
		text[i] = part[i % (sizeof(part) - 1)];
	memcpy(text, "=> ", 3);
	text[nr] = '\n';
	start = clock();
	for (unsigned i = 0; i < 100; i++)
		CHECK(pgste_decoder_feed(decoder, text, nr + 1, false, events, times, 2,
					 &used) == 0 && used == nr + 1);
	CHECK((double)(clock() - start) < 1.0 * CLOCKS_PER_SEC);
	pgste_decoder_free(decoder);
}

/* A summary for which memory ran out said that the caller's limit was met. */
static void no_memory_is_not_a_limit(void)
{
	static const uint64_t events[] = { PGSTE_EVENT(PGSTE_EVENT_FREE, 0, 5) };
	const struct pgste_trace_limits limits = { .pages = 100, .bytes = 100000 };
	const struct pgste_trace_limits too_few = { .pages = 100, .bytes = 90 };
	struct pgste_trace_summary summary;

	CHECK(pgste_trace_summarize_within(events, 1, &limits, &summary, NULL) == PGSTE_OK);
	for (unsigned nth = 1; nth <= 2; nth++) {
		failing = nth;
		CHECK(pgste_trace_summarize_within(events, 1, &limits, &summary, NULL) ==
		      PGSTE_E_NOMEM);
	}
	CHECK(pgste_trace_summarize_within(events, 1, &too_few, &summary, NULL) ==
	      PGSTE_LIMIT_BYTES);
}

/* A guest that nobody asked to be told of anything has no array of what fired. */
static void no_notifications_at_all(void)
{
	struct pgste_host *host = host_of(4, 4);
	struct pgste_guest *guest = guest_of(host, "cmma", PGSTE_GEN_PGTABLE);
	uint64_t gfns[2], bits[2];

	CHECK(pgste_notifications(guest, gfns, bits, 2) == 0);
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

/* KVM looks for an overlap before it looks at the machine's limit. */
static void a_slot_that_is_too_large_and_overlaps(void)
{
	struct pgste_host *host = host_of(4, 4);
	struct pgste_guest *guest = guest_of(host, "cmma", PGSTE_GEN_PGTABLE);
	struct pgste_slot slot = { .base = 4, .pages = 100, .host = 1000 };

	CHECK(pgste_slot_add(guest, &slot) == PGSTE_E_KVM_EXIST);
	CHECK(pgste_slot_delete(guest, 0) == PGSTE_OK);
	CHECK(pgste_slot_add(guest, &slot) == PGSTE_E_KVM_INVAL);
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

int main(void)
{
	foreign_entry_that_is_valid_is_given_up_whole();
	search_without_memory_has_no_answer();
	clocks_stop_at_their_last_ns();
	no_guest_twice_in_a_replay();
	long_lines_take_no_longer_than_short_ones();
	no_memory_is_not_a_limit();
	no_notifications_at_all();
	a_slot_that_is_too_large_and_overlaps();
	puts("test_fuzzed: passed");
	return 0;
}

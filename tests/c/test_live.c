/* SPDX-License-Identifier: MIT */
/*
 * Tests of src_c/live/: what needs no rights, with arrays in heap blocks of just
 * their size.  What madvise does to content is asserted as madvise(2) has it.
 */
#include "pgste.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned failures;

#define CHECK(condition) check(condition, #condition, __LINE__)

static void check(bool holds, const char *condition, int line)
{
	if (holds)
		return;
	failures++;
	fprintf(stderr, "line %d: %s\n", line, condition);
}

/*
 * What an emulated kernel may lack, asked without the library.  qemu-user hands pagemap on in
 * the byte order of the machine below, and says yes to advice that it does not know.
 */
static bool can_pagemap, can_refuse;

static bool pagemap_is_true(void)
{
	enum { PAGES = 512 };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *at = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entries[PAGES] = { 0 };
	bool so;

	if (at == MAP_FAILED || fd < 0)
		return false;
	madvise(at, PAGES * page, MADV_NOHUGEPAGE);
	for (unsigned i = 0; i < PAGES / 2; i++)
		at[i * page] = 1;
	so = pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)at / page * 8)) ==
	     sizeof(entries);
	for (unsigned i = 0; i < PAGES; i++)
		so = so && (entries[i] >> 62 != 0) == (i < PAGES / 2);
	close(fd);
	munmap(at, PAGES * page);
	return so;
}

static bool advice_is_refused(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool so = madvise(at, page, 12345) != 0;

	munmap(at, page);
	return so;
}

static void find_out(void)
{
	can_pagemap = pagemap_is_true();
	can_refuse = advice_is_refused();
	if (!can_pagemap)
		puts("test_live: skipped: states of pages, as /proc/self/pagemap does not tell"
		     " them here");
	if (!can_refuse)
		puts("test_live: skipped: an advice that is refused, as this kernel takes any");
}

static struct pgste_gfns range(uint64_t first, uint64_t nr)
{
	return (struct pgste_gfns){ .type = PGSTE_GFN_RANGE, .first = first, .nr = nr };
}

static struct pgste_live *new_live(uint64_t nr_pages)
{
	struct pgste_live_config config = { .nr_pages = nr_pages, .fd = -1 };
	struct pgste_live *live = NULL;

	if (pgste_live_new(&config, &live)) {
		fprintf(stderr, "no mapping of %llu pages\n", (unsigned long long)nr_pages);
		exit(1);
	}
	return live;
}

static uint32_t word_at(struct pgste_live *live, uint64_t gfn, unsigned offset)
{
	struct pgste_gfns gfns = range(gfn, 1);
	uint32_t word = 0;

	CHECK(pgste_live_load(live, &gfns, offset, &word, 1, NULL) == PGSTE_OK);
	return word;
}

static void test_content(bool vector, bool scan)
{
	enum { PAGES = 1500 };
	struct pgste_live *live = new_live(PAGES);
	struct pgste_gfns all = range(0, PAGES), some = { .type = PGSTE_GFN_U16, .nr = PAGES / 3 };
	uint16_t *thirds = malloc(some.nr * sizeof(*thirds));
	uint32_t *tags = malloc(PAGES * sizeof(*tags));
	uint8_t *states = malloc(PAGES);
	struct pgste_live_counts counts;
	struct pgste_live_cost cost;
	uint64_t i;

	pgste_live_allow(live, vector, scan);
	for (i = 0; i < PAGES; i++)
		tags[i] = (uint32_t)i + 1;
	for (i = 0; i < some.nr; i++)
		thirds[i] = (uint16_t)(3 * i);
	some.data = thirds;
	CHECK(pgste_live_store(live, &all, 8, tags, 1, &cost) == PGSTE_OK);
	CHECK(cost.pages == PAGES);
	CHECK(pgste_live_advise(live, &some, 0, MADV_DONTNEED, &cost) == (int64_t)some.nr);
	CHECK(vector || cost.calls == some.nr);
	if (can_pagemap) {
		CHECK(pgste_live_states(live, &all, states, false) == PGSTE_OK);
		for (i = 0; i < PAGES; i++)
			CHECK(!(states[i] & PGSTE_LIVE_PRESENT) == (i % 3 == 0));
		CHECK(pgste_live_count(live, &counts) == PGSTE_OK);
		CHECK(counts.present == PAGES - some.nr);
	}
	CHECK(pgste_live_mincore(live, &all, states) == PGSTE_OK);
	for (i = 0; i < PAGES; i++)
		CHECK(states[i] == (i % 3 != 0));
	for (i = 0; i < PAGES; i++)
		CHECK(word_at(live, i, 8) == (i % 3 ? (uint32_t)i + 1 : 0));
	free(states);
	free(tags);
	free(thirds);
	pgste_live_free(live);
}

static void test_refusals(void)
{
	struct pgste_live_config config = { .nr_pages = 8, .fd = -1 };
	struct pgste_live *live = new_live(8), *other = NULL;
	struct pgste_gfns outside = range(7, 2), two = range(2, 2), block = range(4, 1);
	uint32_t word = 1;
	int64_t minus = -1;
	struct pgste_gfns negative = { .type = PGSTE_GFN_I64, .data = &minus, .nr = 1 };
	struct pgste_live_cost cost;

	CHECK(pgste_live_store(live, &outside, 0, &word, 0, NULL) == PGSTE_E_GFN);
	CHECK(pgste_live_store(live, &negative, 0, &word, 0, NULL) == PGSTE_E_GFN);
	CHECK(pgste_live_store(live, &two, 2, &word, 0, NULL) == PGSTE_E_ARG);
	CHECK(pgste_live_store(live, &two, 4096, &word, 0, NULL) == PGSTE_E_ARG ||
	      pgste_live_page_bytes(live) > 4096);
	CHECK(pgste_live_advise(live, &block, 3, MADV_DONTNEED, &cost) == PGSTE_E_GFN);
	CHECK(pgste_live_advise(live, &block, 40, MADV_DONTNEED, &cost) == PGSTE_E_ARG);
	if (can_refuse) {
		CHECK(pgste_live_advise(live, &two, 0, 12345, &cost) == PGSTE_OS_ERROR(EINVAL));
		CHECK(cost.failed_gfn == 2 && cost.failed_pages == 2);
	}
	CHECK(PGSTE_OS_ERRNO(PGSTE_OS_ERROR(ENOMEM)) == ENOMEM && !PGSTE_OS_ERRNO(PGSTE_E_GFN));
	pgste_live_free(live);
	config.nr_pages = 0;
	CHECK(pgste_live_new(&config, &other) == PGSTE_E_ARG);
	config.nr_pages = PGSTE_MAX_PAGES;
	CHECK(pgste_live_new(&config, &other) == PGSTE_OS_ERROR(ENOMEM));
	config = (struct pgste_live_config){ .nr_pages = 1, .backing = PGSTE_LIVE_FILE, .fd = -1 };
	CHECK(pgste_live_new(&config, &other) == PGSTE_OS_ERROR(EBADF));
	pgste_live_free(NULL);
}

static void test_replay(void)
{
	enum { PAGES = 32 };
	uint8_t *in_use = calloc(PAGES, 1);
	struct pgste_live_replay replay = {
		.live = new_live(PAGES), .in_use = in_use, .advice = MADV_DONTNEED
	};
	const uint64_t events[] = {
		PGSTE_EVENT(PGSTE_EVENT_FREE, 1, 4),  /* 4 is in use, 5 is not */
		PGSTE_EVENT(PGSTE_EVENT_ALLOC, 2, 4),
		PGSTE_EVENT(PGSTE_EVENT_FREE, 0, 6),
		PGSTE_EVENT(PGSTE_EVENT_FREE, 0, 7),  /* joins the one before */
		PGSTE_EVENT(PGSTE_EVENT_ALLOC, 0, 4), /* in use */
		PGSTE_EVENT(PGSTE_EVENT_FREE, 0, 4),
	};
	const uint64_t wrong = PGSTE_EVENT(PGSTE_EVENT_ALLOC, 3, 28);

	in_use[4] = 1;
	pgste_live_replay_setup(&replay);
	CHECK(word_at(replay.live, 4, 0) == 1);
	CHECK(pgste_live_replay_run(&replay, events, 6, false) == 6);
	CHECK(word_at(replay.live, 4, 0) == 6); /* the last free has not been told yet */
	CHECK(pgste_live_replay_run(&replay, NULL, 0, true) == 0);
	CHECK(word_at(replay.live, 4, 0) == 0 && word_at(replay.live, 5, 0) == 3);
	CHECK(word_at(replay.live, 6, 0) == 0 && word_at(replay.live, 7, 0) == 0);
	CHECK(replay.stats.events == 6 && replay.stats.touched == 5);
	CHECK(replay.stats.ignored_frees == 1 && replay.stats.implied_frees == 1);
	CHECK(replay.stats.hints == 4 && replay.stats.hint_pages == 5);
	CHECK(replay.stats.stale_pages == 0);
	CHECK(pgste_live_replay_run(&replay, &wrong, 1, true) == PGSTE_E_ARG);
	CHECK(!strcmp(pgste_live_replay_stats_name(0), "events"));
	CHECK(pgste_live_replay_stats_name(100) == NULL);
	pgste_live_free(replay.live);
	free(in_use);
}

int main(void)
{
	find_out();
	test_content(true, true);
	test_content(false, false);
	test_refusals();
	test_replay();
	if (failures)
		return 1;
	puts("test_live: passed");
	return 0;
}

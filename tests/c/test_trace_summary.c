/* SPDX-License-Identifier: MIT */
/* Tests of the summary of a trace, against one that counts with plain arrays. */
#include "check.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

#define NR_PAGES 256u

/*
 * The same figures by plain arrays over NR_PAGES pages from base on; after each event, how many
 * pages more are in use than at the start.
 */
static struct pgste_trace_summary brute_force(const uint64_t *events, unsigned nr, uint64_t base,
					      int64_t *after)
{
	struct pgste_trace_summary s = { .lowest_pfn = UINT64_MAX };
	unsigned owner[NR_PAGES] = { 0 }, first[NR_PAGES] = { 0 }, allocated[NR_PAGES] = { 0 };
	unsigned i, page, pass, nr_live, start_sum = 0, in_use[NR_PAGES] = { 0 };

	for (pass = 0; pass < 2; pass++) {
		for (page = 0; page < NR_PAGES && pass; page++)
			start_sum += in_use[page] = first[page] == 2;
		s.peak_in_use = start_sum;
		for (i = 0; i < nr; i++) {
			unsigned start = (unsigned)(PGSTE_EVENT_PFN(events[i]) - base);
			unsigned size = 1u << PGSTE_EVENT_ORDER(events[i]), live = 0, same = 0;
			unsigned whole = 0, mine = owner[start], sum = 0;
			bool alloc = PGSTE_EVENT_KIND(events[i]) == PGSTE_EVENT_ALLOC;

			for (page = start; page < start + size; page++) {
				if (!first[page])
					first[page] = alloc ? 1 : 2;
				live += owner[page] != 0;
				same += mine && owner[page] == mine;
			}
			if (!pass)
				continue;
			if (mine)
				whole = 1u << PGSTE_EVENT_ORDER(events[mine - 1]);
			s.frees_of_allocated += !alloc && live == size;
			s.frees_of_unknown += !alloc && !live;
			s.frees_of_block += !alloc && same == size && whole == size;
			s.frees_of_part += !alloc && same == size && whole > size;
			s.allocs_of_live += alloc && live;
			*(alloc ? &s.alloc_events : &s.free_events) += 1;
			*(alloc ? &s.pages_allocated : &s.pages_freed) += size;
			(alloc ? s.alloc_orders : s.free_orders)[PGSTE_EVENT_ORDER(events[i])]++;
			for (page = start; page < start + size; page++) {
				owner[page] = alloc ? i + 1 : 0;
				allocated[page] |= alloc;
				in_use[page] = alloc;
			}
			for (nr_live = page = 0; page < NR_PAGES; page++) {
				nr_live += owner[page] != 0;
				sum += in_use[page];
			}
			s.peak_live = nr_live > s.peak_live ? nr_live : s.peak_live;
			s.peak_in_use = sum > s.peak_in_use ? sum : s.peak_in_use;
			s.live_at_end = nr_live;
			after[i] = (int64_t)sum - (int64_t)start_sum;
			if (base + start < s.lowest_pfn)
				s.lowest_pfn = base + start;
			if (base + start + size - 1 > s.highest_pfn)
				s.highest_pfn = base + start + size - 1;
		}
	}
	for (page = 0; page < NR_PAGES; page++) {
		s.unique_pages += first[page] != 0;
		s.unique_allocated += allocated[page];
		s.live_at_start += first[page] == 2;
	}
	return s;
}

/* Exactly what the limits allow is counted; one page less is refused, and nothing is written. */
static void test_summary_limits(void)
{
	const uint64_t events[] = { A(4, 0), F(3, 8), A(6, 1 << 20) };
	struct pgste_trace_limits limits = { 16 + 8 + 64, UINT64_MAX };
	struct pgste_trace_summary got;

	CHECK(!pgste_trace_summarize_within(events, 3, &limits, &got, NULL));
	CHECK(got.unique_pages == 80);
	memset(&got, 7, sizeof(got));
	limits.pages--;
	CHECK(pgste_trace_summarize_within(events, 3, &limits, &got, NULL) == PGSTE_LIMIT_PAGES);
	limits.pages++;
	limits.bytes = 150;	/* one piece of the table, which needs two */
	CHECK(pgste_trace_summarize_within(events, 3, &limits, &got, NULL) == PGSTE_LIMIT_BYTES);
	CHECK(got.unique_pages == UINT64_C(0x0707070707070707));
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* One event more, so far away that the pages are in chunks and not in one table. */
static void add_far(uint64_t *events, unsigned nr, uint64_t base, int64_t *after,
		    struct pgste_trace_summary *s)
{
	const uint64_t far = base < UINT64_C(1) << 55 ? UINT64_C(1) << 55 : 7;

	events[nr] = A(0, far);
	after[nr] = after[nr - 1] + 1;
	s->alloc_events++;
	s->alloc_orders[0]++;
	s->pages_allocated++;
	s->unique_allocated++;
	s->unique_pages++;
	s->peak_live = larger(s->peak_live, ++s->live_at_end);
	s->peak_in_use = larger(s->peak_in_use, s->live_at_start + (uint64_t)after[nr]);
	s->highest_pfn = larger(s->highest_pfn, far);
	s->lowest_pfn = far < s->lowest_pfn ? far : s->lowest_pfn;
}

static void test_summary(void)
{
	const uint64_t bases[] = { 0, 100, (UINT64_C(1) << 56) - NR_PAGES };
	struct pgste_trace_summary got, expected;
	const struct pgste_trace_limits limits = { UINT64_MAX, UINT64_MAX };
	int64_t after[401], in_use[401];
	uint64_t events[401], start;
	unsigned round, i, nr, order;

	for (round = 0; round < 600; round++) {
		uint64_t base = bases[round % 3];

		nr = 1 + (unsigned)(next_random() % 400);
		for (i = 0; i < nr; i++) {
			order = next_random() % 4 ? (unsigned)(next_random() % 3) :
						    (unsigned)(next_random() % 8);
			start = next_random() % (NR_PAGES - (1u << order) + 1);
			events[i] = PGSTE_EVENT(next_random() & 1, order, base + start);
			if (round & 4)		/* blocks aligned, as real ones are */
				events[i] &= ~(((UINT64_C(1) << order) - 1) << 8);
			if (PGSTE_EVENT_PFN(events[i]) < base)
				events[i] = F(0, base);
		}
		expected = brute_force(events, nr, base, after);
		if (round % 2)
			add_far(events, nr++, base, after, &expected);
		CHECK(!pgste_trace_summarize(events, nr, &got));
		CHECK(!memcmp(&got, &expected, sizeof(got)));
		CHECK(!pgste_trace_summarize_within(events, nr, &limits, &got, in_use));
		CHECK(!memcmp(in_use, after, nr * sizeof(*in_use)));
		CHECK(!memcmp(&got, &expected, sizeof(got)));
	}
	CHECK(!pgste_trace_summarize(NULL, 0, &got));
	CHECK(!got.lowest_pfn && !got.highest_pfn && !got.peak_in_use);
	/* far apart: the table grows with the chunks, not the pfn */
	for (i = 0; i < 400; i++)
		events[i] = A(0, (uint64_t)i << 47);
	CHECK(!pgste_trace_summarize(events, 400, &got) && got.peak_live == 400);
	expected = got;
	events[7] = 2;
	CHECK(pgste_trace_summarize(events, 400, &got) == PGSTE_E_ARG);
	events[7] = PGSTE_EVENT(0, 40, 0);
	CHECK(pgste_trace_summarize(events, 400, &got) == PGSTE_E_ARG);
	events[7] = A(1, (UINT64_C(1) << 56) - 1);
	CHECK(pgste_trace_summarize(events, 400, &got) == PGSTE_E_ARG);
	CHECK(!memcmp(&got, &expected, sizeof(got)));
	CHECK(!strcmp(pgste_trace_summary_name(0), "alloc_events"));
	CHECK(!strcmp(pgste_trace_summary_name(16), "highest_pfn"));
	CHECK(!pgste_trace_summary_name(17));
}

/* Pages 70 and 71, 64 and 130 of 60 to 199; a page stays between what does not follow. */
static void test_dense(void)
{
	const uint64_t events[] = { A(1, 70), F(0, 64), A(0, 130), F(0, 71) };
	const uint64_t access = PGSTE_EVENT(PGSTE_ACCESS_STORE, 0, 71);
	const uint64_t expected[] = { A(1, 2), F(0, 0), A(0, 5), F(0, 3) };
	uint64_t got[4], touched, pages;

	CHECK(!pgste_trace_dense(events, 4, &access, 1, 60, 140, got, &touched, &pages));
	CHECK(!memcmp(got, expected, sizeof(got)));
	CHECK(touched == PGSTE_EVENT(PGSTE_ACCESS_STORE, 0, 3) && pages == 7);
	CHECK(!pgste_trace_dense(events, 4, NULL, 0, 64, 67, got, NULL, &pages) && pages == 6);
	CHECK(pgste_trace_dense(events, 4, NULL, 0, 65, 67, got, NULL, &pages) == PGSTE_E_ARG);
	CHECK(pgste_trace_dense(events, 4, NULL, 0, 60, 70, got, NULL, &pages) == PGSTE_E_ARG);
	CHECK(pgste_trace_dense(events, 4, NULL, 0, 0, UINT64_MAX, got, NULL, &pages) ==
	      PGSTE_E_ARG);
	CHECK(!pgste_trace_dense(NULL, 0, NULL, 0, 0, 0, NULL, NULL, &pages) && !pages);
}

int main(void)
{
	test_dense();
	test_summary();
	test_summary_limits();
	return checks_failed();
}

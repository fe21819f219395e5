/* SPDX-License-Identifier: MIT */
/*
 * Tests of src_c/trace/.  Texts are given in heap blocks of just their size, so that the
 * address sanitizer sees every read past the end.  Ring-buffer pages are put together here by
 * the kernel's rules, for both byte orders; the summary is held against one that counts with
 * plain arrays.
 */
#include "pgste.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned failures;

#define CHECK(condition) check(condition, #condition, "", __LINE__)
#define CHECK_FOR(condition, what) check(condition, #condition, what, __LINE__)

static void check(bool holds, const char *condition, const char *what, int line)
{
	if (holds)
		return;
	failures++;
	fprintf(stderr, "line %d: %s %s\n", line, condition, what);
}

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- text --------------------------------------------------------------------------- */

#define MAX_EVENTS 64

struct decoded {
	uint64_t events[MAX_EVENTS], times[MAX_EVENTS];
	int64_t nr; /* or the error */
	uint64_t line;
	const char *reason;
	enum pgste_text_format format;
	struct pgste_decode_stats stats;
};

/* Decode text in pieces that end where cuts say (ascending), room for max events a call. */
static struct decoded decode(const char *text, size_t nr_bytes, const size_t *cuts,
			     unsigned nr_cuts, uint64_t max)
{
	struct decoded result = { 0 };
	struct pgste_decoder *decoder;
	size_t start = 0, used;
	unsigned i;
	int64_t nr = 0;

	CHECK(!pgste_decoder_new(&decoder));
	for (i = 0; i <= nr_cuts && nr >= 0; i++) {
		size_t stop = i < nr_cuts ? cuts[i] : nr_bytes;

		do {
			size_t size = stop - start;
			char *piece = malloc(size ? size : 1);

			memcpy(piece, text + start, size);
			nr = pgste_decoder_feed(decoder, piece, size, i == nr_cuts,
						result.events + result.nr, result.times + result.nr,
						max, &used);
			free(piece);
			start += used;
			result.nr += nr > 0 ? nr : 0;
		} while (nr == (int64_t)max);
	}
	result.reason = pgste_decoder_error(decoder, &result.line);
	if (nr < 0)
		result.nr = nr;
	else
		CHECK(start == nr_bytes);
	result.format = pgste_decoder_format(decoder);
	pgste_decoder_get_stats(decoder, &result.stats);
	pgste_decoder_free(decoder);
	return result;
}

static struct decoded decode_all(const char *text)
{
	return decode(text, strlen(text), NULL, 0, MAX_EVENTS);
}

#define FREE_FIELDS " mm_page_free: page=00000000c500fec2 pfn=0x18d686 order=3\n"
#define ALLOC_FIELDS " migratetype=1 gfp_flags=GFP_KERNEL\n"
#define A(order, pfn) PGSTE_EVENT(PGSTE_EVENT_ALLOC, order, pfn)
#define F(order, pfn) PGSTE_EVENT(PGSTE_EVENT_FREE, order, pfn)

static const struct {
	const char *text;
	uint64_t event, time;
	enum pgste_text_format format;
} good_lines[] = {
	{ "             cc1-17722   [001] .....  2500.774098: mm_page_alloc: page=0000000083b60244 "
	  "pfn=0x1183d5 order=0" ALLOC_FIELDS,
	  A(0, 0x1183d5), 2500774098000, PGSTE_TEXT_FTRACE },
	{ "             cc1-19986   [001]   2975.379275:" FREE_FIELDS,
	  F(3, 0x18d686), 2975379275000, PGSTE_TEXT_FTRACE },
	{ "              rm-20173   (  20173) [001] .....  2977.280838:" FREE_FIELDS,
	  F(3, 0x18d686), 2977280838000, PGSTE_TEXT_FTRACE },
	{ "          <idle>-0       (-------) [001] d.s2.  2977.280838:" FREE_FIELDS,
	  F(3, 0x18d686), 2977280838000, PGSTE_TEXT_FTRACE },
	{ "             cc1-17723 [000]  2500.782641: mm_page_alloc:        page=0x152c5c pfn=0x152c5c "
	  "order=9" ALLOC_FIELDS,
	  A(9, 0x152c5c), 2500782641000, PGSTE_TEXT_TRACE_CMD },
	{ "        build.sh 17711 [000]  2500.635870:  kmem:mm_page_free: page=0x146c39 pfn=0x146c39 "
	  "order=0\n",
	  F(0, 0x146c39), 2500635870000, PGSTE_TEXT_PERF },
	{ "        build.sh 17711/17712 [000]  2500.635870123: kmem:mm_page_free: page=0x1 pfn=77 "
	  "order=0\n",
	  F(0, 77), 2500635870123, PGSTE_TEXT_PERF },
	/* Names that look like the rest of a line. */
	{ " a-1 [000] 1.2: -17722   [001] .....  2500.774098:" FREE_FIELDS,
	  F(3, 0x18d686), 2500774098000, PGSTE_TEXT_FTRACE },
	{ " 0 12 [001] 5.6: 17711 [000]  2500.635870: kmem:" "mm_page_free: page=1 pfn=2 order=1\n",
	  F(1, 2), 2500635870000, PGSTE_TEXT_PERF },
	{ " kworker/1:1-eve 17711 [000]  2500.635870: kmem:mm_page_free: page=1 pfn=2 order=1\n",
	  F(1, 2), 2500635870000, PGSTE_TEXT_PERF },
	/* Padding lost. */
	{ "kworker/u8:2-ev-123 [001] .....  1.000001:" FREE_FIELDS,
	  F(3, 0x18d686), 1000001000, PGSTE_TEXT_FTRACE },
	{ "my task 12-123 [001] 1.5:" FREE_FIELDS, F(3, 0x18d686), 1500000000, PGSTE_TEXT_FTRACE },
	{ "my task 123 [001] 1.5:" FREE_FIELDS, F(3, 0x18d686), 1500000000, PGSTE_TEXT_PERF },
	/* CRLF, bounds, a clock that only counts, the shortest line. */
	{ "             cc1-19986   [001]   2975.379275: mm_page_free: page=1 pfn=0x1f order=0\r\n",
	  F(0, 0x1f), 2975379275000, PGSTE_TEXT_FTRACE },
	{ "             cc1-1   [001]   2.0: mm_page_free: page=(nil) pfn=0xffffffffffffff order=0\n",
	  F(0, 0xffffffffffffff), 2000000000, PGSTE_TEXT_FTRACE },
	{ "             cc1-1   [001]   2.0: mm_page_free: page=1 pfn=0x8000000000 order=39\n",
	  F(39, 0x8000000000), 2000000000, PGSTE_TEXT_FTRACE },
	{ "a-1 [0] 1: mm_page_free: pfn=0 order=0\n", F(0, 0), 1, PGSTE_TEXT_FTRACE },
};

#define HEAD "             cc1-1   [001] .....  2.000000:"

static const struct {
	const char *text, *reason;
} bad_lines[] = {
	{ "garbage\n", "neither ftrace" },
	{ "# tracer: nop\ngarbage\n", "not a line" },
	{ "\x7f""ELF\1\1\n", "neither ftrace" },
	{ HEAD " mm_page_free: page=1 pfn=0x1 order=0", "cut off" },
	{ "# tracer: nop", "cut off" },
	{ HEAD "\n", "no event" },
	{ HEAD " mm_page_free: page=1\n", "no pfn=" },
	{ HEAD " mm_page_free: page=1 pfn=\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x order=0\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=-1 order=0\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x10g order=0\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x10000000000000000 order=0\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=18446744073709551617 order=0\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x1\n", "pfn is not" },
	{ HEAD " mm_page_free: page=1 pfn=1 order=18446744073709551617\n", "order is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x1 ord\n", "no order=" },
	{ HEAD " mm_page_free: page=1 pfn=0x1 order=\n", "order is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x1 order=1x\n", "order is not" },
	{ HEAD " mm_page_free: page=1 pfn=0x1 order=0 x\n", "text after" },
	{ HEAD " mm_page_free: page=1 pfn=0x1 order=40\n", "above 39" },
	{ HEAD " mm_page_free: page=1 pfn=0x100000000000000 order=0\n", "above pfn" },
	{ HEAD " mm_page_free: page=1 pfn=0xffffffffffffff order=1\n", "above pfn" },
	{ HEAD " mm_page_alloc: page=1 pfn=0x1 order=0\n", "no migratetype" },
	{ HEAD " mm_page_alloc: page=1 pfn=0x1 order=0 migratetype=1\n", "no gfp_flags" },
	{ HEAD " mm_page_alloc: page=1 pfn=0x1 order=0 migratetype=1 gfp_flags=\n", "no gfp_flags" },
	/* Call stacks need an event above them, perf's a tab; the first line decides the tool. */
	{ "# tracer: nop\n\tffffffff8130a1b2 f+0x12\n", "not a line" },
	{ "# tracer: nop\n => alloc_pages\n", "not a line" },
	{ HEAD FREE_FIELDS "      ab cd\n", "not a line" },
	{ HEAD FREE_FIELDS "             cc1 7 [001]  2.0: kmem:mm_page_free: page=1 pfn=1 order=0\n",
	  "not a line" },
	{ HEAD FREE_FIELDS "cc1 7 [001]  2.0: kmem:mm_page_free: page=1 pfn=1 order=0\n",
	  "not a line" },
	{ "CPU:1 [LOST 403 EVE\n", "damaged line of lost" },
	{ "CPU:x [LOST 403 EVENTS]\n", "not a line" },
	{ "             cc1-1   [001] .....  1.0000000001: mm_page_free: page=1 pfn=1 order=0\n",
	  "neither ftrace" },
	{ "             cc1-1   [001] .....  99999999999999999999.0: mm_page_free: page=1\n",
	  "neither ftrace" },
};

static void test_lines(void)
{
	size_t i, shortest = SIZE_MAX;

	for (i = 0; i < sizeof(good_lines) / sizeof(*good_lines); i++) {
		struct decoded got = decode_all(good_lines[i].text);

		CHECK_FOR(got.nr == 1, good_lines[i].text);
		CHECK_FOR(got.events[0] == good_lines[i].event, good_lines[i].text);
		CHECK_FOR(got.times[0] == good_lines[i].time, good_lines[i].text);
		CHECK_FOR(got.format == good_lines[i].format, good_lines[i].text);
		CHECK_FOR(got.stats.lines == 1 && got.stats.events == 1, good_lines[i].text);
		if (strlen(good_lines[i].text) < shortest)
			shortest = strlen(good_lines[i].text);
	}
	CHECK(shortest >= PGSTE_MIN_EVENT_LINE);
	for (i = 0; i < sizeof(bad_lines) / sizeof(*bad_lines); i++) {
		struct decoded got = decode_all(bad_lines[i].text);
		const char *first_end = strchr(bad_lines[i].text, '\n');
		uint64_t line = first_end && first_end[1] ? 2 : 1;

		CHECK_FOR(got.nr == PGSTE_E_FORMAT, bad_lines[i].text);
		CHECK_FOR(got.reason && strstr(got.reason, bad_lines[i].reason), bad_lines[i].text);
		CHECK_FOR(got.line == line, bad_lines[i].text);
	}
}

static const char mixed_text[] =
	"# tracer: nop\n#\n\n"
	"CPU:1 [LOST 403 EVENTS]\n"
	HEAD " mm_page_alloc: page=1 pfn=0x10 order=1" ALLOC_FIELDS
	"CPU:0 [LOST EVENTS]\r\n"
	HEAD " mm_page_free: page=1 pfn=0x10 order=1\n"
	HEAD " mm_page_free_batched: page=1 pfn=0x10 order=0\n"
	HEAD " mm_page_alloc: page=0000000000000000 pfn=0x0 order=4" ALLOC_FIELDS
	HEAD " mm_page_alloc_extfrag: page=1 pfn=0x99 order=0\n"
	HEAD " sched_switch: prev_comm= mm_page_free: page=1 pfn=0x1 order=0\n"
	HEAD " <stack trace>\n => __alloc_pages\n => alloc_pages\n"
	"             cc1-1   [000] .....  1.900000: mm_page_free: page=1 pfn=0x20 order=0\n"
	"CPU:7 [12 EVENTS DROPPED]\n"
	"             cc1-1   [000] .....  3.900000: mm_page_free: page=1 pfn=0x21 order=0\r\n";

static void check_mixed(const struct decoded *got)
{
	const struct pgste_decode_stats *s = &got->stats;

	CHECK(got->nr == 4);
	CHECK(got->events[0] == A(1, 0x10) && got->events[1] == F(1, 0x10));
	CHECK(got->events[2] == F(0, 0x20) && got->events[3] == F(0, 0x21));
	CHECK(got->times[1] == 2000000000 && got->times[2] == 2000000000);
	CHECK(got->times[3] == 3900000000);
	CHECK(s->lines == 17 && s->comments == 3 && s->events == 4 && s->batched == 1);
	CHECK(s->other == 5 && s->failed == 1 && s->backwards == 1);
	CHECK(s->lost == 415 && s->lost_lines == 3);
	CHECK(got->format == PGSTE_TEXT_FTRACE);
}

/* Every piece boundary, and pieces of one byte; room for one event at a time. */
static void test_pieces(void)
{
	size_t nr_bytes = sizeof(mixed_text) - 1, cuts[2], each[sizeof(mixed_text)], i, j;
	struct decoded got;

	for (i = 0; i <= nr_bytes; i++) {
		for (j = i; j <= nr_bytes; j += 37) {
			cuts[0] = i;
			cuts[1] = j;
			got = decode(mixed_text, nr_bytes, cuts, 2, 1 + i % 3);
			check_mixed(&got);
		}
	}
	for (i = 0; i < nr_bytes; i++)
		each[i] = i + 1;
	got = decode(mixed_text, nr_bytes, each, (unsigned)nr_bytes, MAX_EVENTS);
	check_mixed(&got);
}

static void test_perf_and_limits(void)
{
	static const char perf[] =
		"         swapper     0 [000]  1.000000:  kmem:mm_page_free: page=0x1 pfn=0x1 order=0\n"
		"\tffffffff8130a1b2 free_unref_page+0x12 ([kernel.kallsyms])\n"
		"\t               0 [unknown] ([unknown])\n\n"
		"             cc1  7 [000]  1.5: PERF_RECORD_LOST lost 9\n"
		"PERF_RECORD_LOST_SAMPLES lost 2\n";
	struct decoded got = decode_all(perf);
	char *line = malloc(70000);

	CHECK(got.nr == 1 && got.events[0] == F(0, 1) && got.format == PGSTE_TEXT_PERF);
	CHECK(got.stats.other == 2 && got.stats.comments == 1);
	CHECK(got.stats.lost == 11 && got.stats.lost_lines == 2);

	memset(line, '#', 70000);
	line[65536] = '\n';
	CHECK(decode(line, 65537, NULL, 0, 1).nr == 0);
	line[65536] = '#';
	line[65537] = '\n';
	got = decode(line, 65538, NULL, 0, 1);
	CHECK(got.nr == PGSTE_E_FORMAT && strstr(got.reason, "longer"));
	free(line);
	CHECK(decode("", 0, NULL, 0, 1).nr == 0);
	CHECK(!strcmp(pgste_decode_stats_name(0), "lines"));
	CHECK(!pgste_decode_stats_name(sizeof(struct pgste_decode_stats) / 8));
}

/* ---- ring-buffer pages -------------------------------------------------------------- */

#define PAGE_BYTES 4096u

static const struct pgste_ring_format ring_format = {
	.id_alloc = 653, .id_free = 655, .id_free_batched = 654,
	.common_type_offset = 0, .common_type_bytes = 2,
	.alloc_pfn_offset = 8, .alloc_pfn_bytes = 8,
	.alloc_order_offset = 16, .alloc_order_bytes = 4,
	.free_pfn_offset = 8, .free_pfn_bytes = 8,
	.free_order_offset = 16, .free_order_bytes = 4,
	.page_bytes = PAGE_BYTES, .commit_offset = 8, .commit_bytes = 8, .data_offset = 16,
};

struct page {
	unsigned char *bytes;
	size_t end;
	bool big_endian;
};

static void put(struct page *page, size_t at, uint64_t value, unsigned nr_bytes)
{
	unsigned i;

	for (i = 0; i < nr_bytes; i++)
		page->bytes[at + i] = (unsigned char)
			(value >> 8 * (page->big_endian ? nr_bytes - 1 - i : i));
}

static struct page new_page(uint64_t time, bool big_endian)
{
	struct page page = { calloc(1, PAGE_BYTES), 16, big_endian };

	put(&page, 0, time, 8);
	return page;
}

static void put_head(struct page *page, unsigned type, uint64_t delta)
{
	uint64_t head = page->big_endian ? (uint64_t)type << 27 | delta : delta << 5 | type;

	put(page, page->end, head, 4);
	page->end += 4;
}

static void put_long(struct page *page, unsigned type, uint64_t delta, uint64_t word)
{
	put_head(page, type, delta);
	put(page, page->end, word, 4);
	page->end += 4;
}

/* An event of nr_words words; with a length word if big. */
static void put_event(struct page *page, uint64_t delta, unsigned id, uint64_t pfn, unsigned order,
		      unsigned nr_words, bool big)
{
	if (big)
		put_long(page, 0, delta, 4 * (nr_words + 1));
	else
		put_head(page, nr_words, delta);
	put(page, page->end, id, 2);
	if (nr_words >= 5) {
		put(page, page->end + 8, pfn, 8);
		put(page, page->end + 16, order, 4);
	}
	page->end += 4 * nr_words;
}

static int64_t decode_page(struct page *page, uint64_t flags, uint64_t *events, uint64_t *times,
			   struct pgste_decode_stats *stats, size_t *offset)
{
	struct pgste_ring_format format = ring_format;

	format.big_endian = page->big_endian;
	put(page, 8, (page->end - 16) | flags, 8);
	return pgste_ring_decode(&format, page->bytes, events, times, PAGE_BYTES / 8, stats, offset);
}

static void test_ring(bool big_endian)
{
	uint64_t events[PAGE_BYTES / 8], times[PAGE_BYTES / 8];
	struct page page = new_page(UINT64_C(1) << 59 | 1000, big_endian);
	struct pgste_decode_stats stats = { 0 };
	size_t offset;

	put_event(&page, 5, 653, 0x1234, 3, 9, false);
	put_event(&page, 0, 655, 0x1234, 3, 5, true);
	put_event(&page, 7, 654, 0x1234, 0, 5, false);
	put_event(&page, 1, 653, UINT64_MAX, 0, 9, false);	/* failed */
	put_event(&page, 1, 653, 0, 0, 9, false);		/* failed, older kernels */
	put_event(&page, 1, 7, 0, 0, 1, false);			/* another event */
	put_long(&page, 30, 3, 2);				/* extend by 2 * 2^27 + 3 */
	put_event(&page, 0, 655, 1, 0, 5, false);
	put_long(&page, 29, 100, 12);				/* discarded, 100 ns */
	page.end += 8;
	put_long(&page, 29, 1, 4);				/* discarded, its delta is none */
	put_event(&page, 2, 655, 2, 0, 5, false);
	put_long(&page, 31, 9, 1 << 10);			/* absolute: bits 0-58 */
	put_event(&page, 1, 655, 3, 0, 5, false);
	put_long(&page, 31, 9, 0);				/* absolute, wrapped */
	put_event(&page, 1, 655, 4, 0, 5, false);
	put_head(&page, 29, 0);					/* padding to the end */
	page.end += 16;
	CHECK(decode_page(&page, UINT64_C(3) << 30, events, times, &stats, &offset) == 6);
	CHECK(events[0] == A(3, 0x1234) && events[1] == F(3, 0x1234) && events[2] == F(0, 1));
	CHECK(events[3] == F(0, 2) && events[4] == F(0, 3) && events[5] == F(0, 4));
	CHECK(times[0] == (UINT64_C(1) << 59 | 1005) && times[1] == times[0]);
	CHECK(times[2] == times[0] + 10 + (UINT64_C(2) << 27) + 3);
	CHECK(times[3] == times[2] + 102);
	CHECK(times[4] == (UINT64_C(1) << 59 | UINT64_C(1) << 37 | 10));
	CHECK(times[5] == (UINT64_C(1) << 60 | 10));
	CHECK(stats.events == 6 && stats.batched == 1 && stats.failed == 2 && stats.other == 1);
	CHECK(stats.lost_lines == 1 && stats.lost == 0);
	put(&page, page.end, 42, 8);	/* how many were missed is behind the data */
	CHECK(decode_page(&page, UINT64_C(3) << 30, events, times, &stats, &offset) == 6);
	CHECK(stats.lost_lines == 2 && stats.lost == 42 && stats.events == 12);
	free(page.bytes);
}

/* The page ends in zeros behind end, and is damaged at byte at. */
static void check_damage(struct page *page, size_t at, const char *what)
{
	uint64_t events[PAGE_BYTES / 8], times[PAGE_BYTES / 8];
	struct pgste_decode_stats stats = { 0 };
	size_t offset;

	CHECK_FOR(decode_page(page, 0, events, times, &stats, &offset) == PGSTE_E_FORMAT, what);
	CHECK_FOR(offset == at && !stats.events, what);
	page->end = 16 + 40;	/* back to the one good event */
	memset(page->bytes + page->end, 0, PAGE_BYTES - page->end);
}

static void test_ring_damage(void)
{
	struct page page = new_page(0, false);
	size_t good;

	put_event(&page, 5, 653, 0x1234, 3, 9, false);
	good = page.end;
	CHECK(good == 16 + 40);
	put_event(&page, 5, 653, 0x1234, 40, 9, false);
	check_damage(&page, good, "order");
	put_event(&page, 5, 655, UINT64_C(1) << 56, 0, 5, false);
	check_damage(&page, good, "pfn");
	put_event(&page, 5, 655, (UINT64_C(1) << 56) - 1, 1, 5, false);
	check_damage(&page, good, "end of the block");
	put_event(&page, 5, 655, 0, 0, 1, false);
	check_damage(&page, good, "no room for the pfn");
	put_event(&page, 5, 655, 0, 0, 4, false);
	check_damage(&page, good, "no room for the order");
	put_head(&page, 28, 1);
	check_damage(&page, good, "record longer than the data");
	put_long(&page, 0, 1, 8);
	check_damage(&page, good, "long record longer than the data");
	put_long(&page, 0, 1, 0);
	check_damage(&page, good, "length less than its own word");
	put_long(&page, 29, 1, 0xffffffff);
	check_damage(&page, good, "padding longer than the page");
	put_head(&page, 31, 1);
	check_damage(&page, good, "half a time stamp");
	page.end += 2;
	check_damage(&page, good, "half a head");
	page.end = PAGE_BYTES + 1;
	check_damage(&page, 8, "commit");
	free(page.bytes);
}

/* A page without room for the number of missed events, and formats that make no sense. */
static void test_ring_limits(void)
{
	uint64_t events[PAGE_BYTES / 8], times[PAGE_BYTES / 8];
	struct pgste_decode_stats stats = { 0 };
	struct pgste_ring_format format = ring_format;
	struct page page = new_page(0, false);
	size_t offset;
	unsigned nr;

	for (nr = 0; page.end + 24 <= PAGE_BYTES; nr++)
		put_event(&page, 1, 655, nr, 0, 5, false);
	CHECK(page.end == PAGE_BYTES);
	CHECK(decode_page(&page, UINT64_C(3) << 30, events, times, &stats, &offset) == nr);
	CHECK(stats.lost_lines == 1 && !stats.lost && events[nr - 1] == F(0, nr - 1));

	CHECK(pgste_ring_decode(&format, page.bytes, events, times, 511, &stats, &offset) ==
	      PGSTE_E_ARG);
	format.alloc_pfn_bytes = 3;
	CHECK(pgste_ring_decode(&format, page.bytes, events, times, 512, &stats, &offset) ==
	      PGSTE_E_ARG);
	format = ring_format;
	format.data_offset = PAGE_BYTES;
	CHECK(pgste_ring_decode(&format, page.bytes, events, times, 512, &stats, &offset) ==
	      PGSTE_E_ARG);
	free(page.bytes);
}

/* ---- summary ------------------------------------------------------------------------ */

#define NR_PAGES 256u

/* The same figures by plain arrays over NR_PAGES pages from base on. */
static struct pgste_trace_summary brute_force(const uint64_t *events, unsigned nr, uint64_t base)
{
	struct pgste_trace_summary s = { .lowest_pfn = UINT64_MAX };
	unsigned owner[NR_PAGES] = { 0 }, first[NR_PAGES] = { 0 }, allocated[NR_PAGES] = { 0 };
	unsigned i, page, pass, nr_live, in_use[NR_PAGES] = { 0 };

	for (pass = 0; pass < 2; pass++) {
		for (page = 0; page < NR_PAGES && pass; page++)
			s.peak_in_use += in_use[page] = first[page] == 2;
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

	CHECK(!pgste_trace_summarize_within(events, 3, &limits, &got) && got.unique_pages == 80);
	memset(&got, 7, sizeof(got));
	limits.pages--;
	CHECK(pgste_trace_summarize_within(events, 3, &limits, &got) == PGSTE_LIMIT_PAGES);
	limits.pages++;
	limits.bytes = 600;	/* one piece of the table, which needs two */
	CHECK(pgste_trace_summarize_within(events, 3, &limits, &got) == PGSTE_LIMIT_BYTES);
	CHECK(got.unique_pages == UINT64_C(0x0707070707070707));
}

static void test_summary(void)
{
	const uint64_t bases[] = { 0, 100, (UINT64_C(1) << 56) - NR_PAGES };
	struct pgste_trace_summary got, expected;
	uint64_t events[400];
	unsigned round, i, nr, order;

	for (round = 0; round < 600; round++) {
		uint64_t base = bases[round % 3];

		nr = 1 + (unsigned)(next_random() % 400);
		for (i = 0; i < nr; i++) {
			order = next_random() % 4 ? (unsigned)(next_random() % 3) :
						    (unsigned)(next_random() % 8);
			events[i] = PGSTE_EVENT(next_random() & 1, order,
						base + next_random() % (NR_PAGES - (1u << order) + 1));
			if (round & 4)		/* blocks aligned, as real ones are */
				events[i] &= ~(((UINT64_C(1) << order) - 1) << 8);
			if (PGSTE_EVENT_PFN(events[i]) < base)
				events[i] = F(0, base);
		}
		expected = brute_force(events, nr, base);
		CHECK(!pgste_trace_summarize(events, nr, &got));
		CHECK(!memcmp(&got, &expected, sizeof(got)));
	}
	CHECK(!pgste_trace_summarize(NULL, 0, &got));
	CHECK(!got.lowest_pfn && !got.highest_pfn && !got.peak_in_use);
	for (i = 0; i < 400; i++)	/* far apart: the table grows with the chunks, not the pfn */
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
	test_summary_limits();
	CHECK(!strcmp(pgste_trace_summary_name(0), "alloc_events"));
	CHECK(!strcmp(pgste_trace_summary_name(16), "highest_pfn"));
	CHECK(!pgste_trace_summary_name(17));
}

int main(void)
{
	test_lines();
	test_pieces();
	test_perf_and_limits();
	test_ring(false);
	test_ring(true);
	test_ring_damage();
	test_ring_limits();
	test_summary();
	if (failures)
		fprintf(stderr, "%u checks failed\n", failures);
	return failures != 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Tests of src_c/trace/text.c and line.c.  Texts are given in heap blocks of just their size, so
 * that the address sanitizer sees every read past the end.
 */
#include "check.h"

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
	{ "             cc1-17723 [000]  2500.782641: mm_page_alloc:        page=0x152c5c "
	  "pfn=0x152c5c order=9" ALLOC_FIELDS,
	  A(9, 0x152c5c), 2500782641000, PGSTE_TEXT_TRACE_CMD },
	{ "        build.sh 17711 [000]  2500.635870:  kmem:mm_page_free: page=0x146c39 "
	  "pfn=0x146c39 order=0\n",
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
	{ "             cc1-1   [001]   2.0: mm_page_free: page=(nil) pfn=0xffffffffffffff "
	  "order=0\n",
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
	{ HEAD " mm_page_alloc: page=1 pfn=0x1 order=0 migratetype=1 gfp_flags=\n",
	  "no gfp_flags" },
	/* Call stacks need an event above them, perf's a tab; the first line decides the tool. */
	{ "# tracer: nop\n\tffffffff8130a1b2 f+0x12\n", "not a line" },
	{ "# tracer: nop\n => alloc_pages\n", "not a line" },
	{ HEAD FREE_FIELDS "      ab cd\n", "not a line" },
	{ HEAD FREE_FIELDS
	  "             cc1 7 [001]  2.0: kmem:mm_page_free: page=1 pfn=1 order=0\n",
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
		"         swapper     0 [000]  1.000000:  kmem:mm_page_free: page=0x1 pfn=0x1 "
		"order=0\n"
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

int main(void)
{
	test_lines();
	test_pieces();
	test_perf_and_limits();
	return checks_failed();
}

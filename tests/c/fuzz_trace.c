/* SPDX-License-Identifier: MIT */
/*
 * Damages real trace text and ring-buffer pages in fixed pseudo-random ways and decodes the
 * result under the sanitizers.  Whatever comes in:
 *
 *  - no byte outside the given block is read (each is a heap block of just its size);
 *  - every event that comes out is one, and no time goes back;
 *  - text in pieces gives what text at once gives, the error's line and reason included;
 *  - the summary takes what the decoders give.
 *
 *	fuzz_trace [ROUNDS FILE...]
 *
 * Files are text, or trace.dat by their name; without arguments those of tests/golden/traces,
 * as seen from tests/c.
 */
#include "pgste.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 4096u
#define PAGE_BYTES 4096u
#define MAX_EVENTS (PAGE_BYTES / 8)
#define PAGES_AT 0x5000u /* where the ring-buffer pages of small.trace.dat start */

#define REQUIRE(condition) require(condition, #condition, __LINE__)

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static void require(bool holds, const char *condition, int line)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_trace.c:%d: %s\n", line, condition);
	abort();
}

static size_t below(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (size_t)(random_state % n);
}

struct result {
	uint64_t events[MAX_EVENTS], times[MAX_EVENTS], nr;
	uint64_t line;
	const char *reason;
	struct pgste_decode_stats stats;
};

static void check_events(const struct result *r)
{
	struct pgste_trace_summary summary;
	uint64_t i;

	for (i = 0; i < r->nr; i++) {
		REQUIRE(PGSTE_EVENT_KIND(r->events[i]) <= PGSTE_EVENT_FREE);
		REQUIRE(PGSTE_EVENT_ORDER(r->events[i]) <= PGSTE_MAX_ORDER);
		REQUIRE(PGSTE_EVENT_PFN(r->events[i]) +
			(UINT64_C(1) << PGSTE_EVENT_ORDER(r->events[i])) <= UINT64_C(1) << 56);
		if (PGSTE_EVENT_ORDER(r->events[i]) > 12)
			return;		/* would only take long */
	}
	REQUIRE(pgste_trace_summarize(r->events, r->nr, &summary) == PGSTE_OK);
	REQUIRE(summary.alloc_events + summary.free_events == r->nr);
}

static void decode_text(const char *text, size_t nr_bytes, bool pieces, struct result *r)
{
	struct pgste_decoder *decoder;
	size_t start = 0, stop = 0, used;
	int64_t nr = 0;

	memset(r, 0, sizeof(*r));
	REQUIRE(!pgste_decoder_new(&decoder));
	while (nr >= 0 && start < nr_bytes) {
		uint64_t max = pieces ? 1 + below(3) : MAX_EVENTS;
		char *piece;

		if (nr < (int64_t)max)
			stop = pieces ? stop + below(nr_bytes - stop + 1) : nr_bytes;
		if (pieces && !below(8))
			stop = nr_bytes;
		piece = malloc(stop - start ? stop - start : 1);
		REQUIRE(piece != NULL);
		memcpy(piece, text + start, stop - start);
		nr = pgste_decoder_feed(decoder, piece, stop - start, stop == nr_bytes,
					r->events + r->nr, r->times + r->nr,
					max < MAX_EVENTS - r->nr ? max : MAX_EVENTS - r->nr, &used);
		free(piece);
		if (nr < 0)
			break;
		REQUIRE(used <= stop - start);
		r->nr += (uint64_t)nr;
		start += used;
	}
	r->reason = pgste_decoder_error(decoder, &r->line);
	REQUIRE((nr < 0) == (r->reason != NULL));
	pgste_decoder_get_stats(decoder, &r->stats);
	pgste_decoder_free(decoder);
}

static void fuzz_text(const char *text, size_t nr_bytes)
{
	static struct result whole, parts;
	uint64_t i;

	decode_text(text, nr_bytes, false, &whole);
	decode_text(text, nr_bytes, true, &parts);
	REQUIRE(whole.reason == parts.reason && whole.line == parts.line);
	REQUIRE(whole.stats.lines == parts.stats.lines);
	REQUIRE(whole.stats.lost == parts.stats.lost && whole.stats.other == parts.stats.other);
	if (!whole.reason) {
		REQUIRE(whole.nr == parts.nr && whole.nr == whole.stats.events);
		REQUIRE(!memcmp(whole.events, parts.events, whole.nr * 8));
		REQUIRE(!memcmp(whole.times, parts.times, whole.nr * 8));
	}
	for (i = 1; i < whole.nr; i++)
		REQUIRE(whole.times[i] >= whole.times[i - 1]);
	check_events(&whole);
}

static void fuzz_page(const unsigned char *bytes, size_t nr_bytes)
{
	struct pgste_ring_format format = {
		.id_alloc = 653, .id_free = 655, .id_free_batched = 654, .common_type_bytes = 2,
		.alloc_pfn_offset = 8, .alloc_pfn_bytes = 8,
		.alloc_order_offset = 16, .alloc_order_bytes = 4,
		.free_pfn_offset = 8, .free_pfn_bytes = 8,
		.free_order_offset = 16, .free_order_bytes = 4,
		.page_bytes = PAGE_BYTES, .commit_offset = 8, .commit_bytes = 8, .data_offset = 16,
		.big_endian = below(8) == 0,
	};
	unsigned char *page = malloc(PAGE_BYTES);
	static struct result r;
	size_t offset;
	int64_t nr;

	memset(&r.stats, 0, sizeof(r.stats));
	REQUIRE(page != NULL);
	memset(page, 0, PAGE_BYTES);
	memcpy(page, bytes, nr_bytes);
	nr = pgste_ring_decode(&format, page, r.events, r.times, MAX_EVENTS, &r.stats, &offset);
	free(page);
	r.nr = nr < 0 ? 0 : (uint64_t)nr;
	REQUIRE(nr >= 0 || (nr == PGSTE_E_FORMAT && offset < PAGE_BYTES));
	REQUIRE(r.stats.events == r.nr);
	check_events(&r);
}

/* One change: a bit, a byte, a digit, a run doubled, removed or moved, the end cut off. */
static size_t damage(unsigned char *bytes, size_t nr_bytes, size_t room)
{
	static const char bytes_of_interest[] = " -:[]().,=x0123456789\n\r\t#CPU\0\xff";
	size_t at = below(nr_bytes), run = 1 + below(40);

	if (run > nr_bytes - at)
		run = nr_bytes - at;
	switch (below(6)) {
	case 0:
		bytes[at] ^= (unsigned char)(1u << below(8));
		break;
	case 1:
		bytes[at] = (unsigned char)bytes_of_interest[below(sizeof(bytes_of_interest))];
		break;
	case 2:
		if (run > room - nr_bytes)
			run = room - nr_bytes;
		memmove(bytes + at + run, bytes + at, nr_bytes - at);
		return nr_bytes + run;
	case 3:
		memmove(bytes + at, bytes + at + run, nr_bytes - at - run);
		return nr_bytes - run;
	case 4:
		memmove(bytes + below(nr_bytes - run + 1), bytes + at, run);
		break;
	default:
		return below(10) ? nr_bytes : at;
	}
	return nr_bytes;
}

static unsigned char *read_file(const char *name, size_t *nr_bytes)
{
	FILE *file = fopen(name, "rb");
	unsigned char *bytes = malloc(1 << 22);

	REQUIRE(file != NULL && bytes != NULL);
	*nr_bytes = fread(bytes, 1, 1 << 22, file);
	fclose(file);
	return bytes;
}

int main(int argc, char **argv)
{
	static unsigned char input[MAX_TEXT + PAGE_BYTES];
	static const char *const golden[] = {
		"../golden/traces/cut.ftrace.txt", "../golden/traces/cut.trace-cmd.txt",
		"../golden/traces/cut.perf-script.txt", "../golden/traces/small.trace.dat",
	};
	long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 4000, round;
	int i, nr_files = argc > 2 ? argc - 2 : (int)(sizeof(golden) / sizeof(*golden));
	size_t nr_bytes, size, start, changes;

	REQUIRE(rounds > 0);
	for (i = 0; i < nr_files; i++) {
		const char *name = argc > 2 ? argv[i + 2] : golden[i];
		unsigned char *bytes = read_file(name, &nr_bytes), *file = bytes;
		bool pages = strstr(name, ".dat") != NULL;

		REQUIRE(nr_bytes >= PAGES_AT + PAGE_BYTES);
		if (pages) {
			file += PAGES_AT;
			nr_bytes -= PAGES_AT;
		}
		for (round = 0; round < rounds; round++) {
			if (pages) {
				start = below(nr_bytes / PAGE_BYTES) * PAGE_BYTES;
				size = PAGE_BYTES;
			} else {
				start = below(nr_bytes);
				while (start && file[start - 1] != '\n')
					start--;
				size = 1 + below(MAX_TEXT);
				size = size < nr_bytes - start ? size : nr_bytes - start;
				while (size < nr_bytes - start && size < MAX_TEXT &&
				       file[start + size - 1] != '\n')
					size++;
			}
			memcpy(input, file + start, size);
			for (changes = below(4); changes && size; changes--)
				size = damage(input, size, pages ? PAGE_BYTES : MAX_TEXT + 100);
			if (pages)
				fuzz_page(input, size);
			else
				fuzz_text((const char *)input, size);
		}
		free(bytes);
	}
	return 0;
}

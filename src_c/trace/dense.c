/* SPDX-License-Identifier: MIT */
/*
 * A trace without the pages that no event names, but for the one behind each run of those that
 * are: what has no neighbour gets none.  A page's new number is how many of the pages that stay
 * are below it: bits before its word, and the bits below it in the word.
 */
#include "base/event.h"

struct named {
	uint64_t *bits;	  /* a bit a page: it stays */
	uint64_t *before; /* for each word of bits, how many bits are set in those before it */
	uint64_t base, nr_pages;
};

static int name_pages(struct named *named, const uint64_t *events, uint64_t nr_events)
{
	struct block block;
	uint64_t in_word;

	for (uint64_t i = 0; i < nr_events; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!event_block(READ_ONCE(events[i]), named->base, named->nr_pages, &block))
			return PGSTE_E_ARG;
		for (; block.nr; block.first += in_word, block.nr -= in_word)
			named->bits[block.first / 64] |=
				bits_of(block.first, block.nr, &in_word);
	}
	return PGSTE_OK;
}

/* Keep the page behind each run, too, and count; *total is how many pages stay. */
static int count_before(struct named *named, uint64_t *total)
{
	const uint64_t nr_words = bitmap_bytes(named->nr_pages) / sizeof(*named->bits);
	uint64_t sum = 0, last = 0; /* whether the page below the word is named */

	for (uint64_t word = 0; word < nr_words; word++) {
		const uint64_t bits = named->bits[word];

		if (watch_stops_at(word))
			return PGSTE_E_CANCELLED;
		named->bits[word] = bits | bits << 1 | last;
		if (word == named->nr_pages / 64) /* none behind the last page of all */
			named->bits[word] &= (UINT64_C(1) << named->nr_pages % 64) - 1;
		named->before[word] = sum;
		last = bits >> 63;
		sum += (uint64_t)__builtin_popcountll(named->bits[word]);
	}
	*total = sum;
	return PGSTE_OK;
}

/* Events again, with the new number of each one's first page, which must stay. */
static int renumber(const struct named *named, const uint64_t *events, uint64_t nr_events,
		    uint64_t *out)
{
	for (uint64_t i = 0; i < nr_events; i++) {
		const uint64_t event = READ_ONCE(events[i]);
		uint64_t page = PGSTE_EVENT_PFN(event) - named->base, bits, below;

		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (page >= named->nr_pages || !(named->bits[page / 64] >> page % 64 & 1))
			return PGSTE_E_ARG;
		bits = named->bits[page / 64];
		below = bits & ((UINT64_C(1) << page % 64) - 1);
		page = named->before[page / 64] + (uint64_t)__builtin_popcountll(below);
		out[i] = page << 8 | (event & 0xff);
	}
	return PGSTE_OK;
}

int pgste_trace_dense(const uint64_t *events, uint64_t nr, const uint64_t *accesses,
		      uint64_t nr_accesses, uint64_t base, uint64_t nr_pages,
		      uint64_t *dense_events, uint64_t *dense_accesses, uint64_t *dense_pages)
{
	struct named named = { .base = base, .nr_pages = nr_pages };
	const uint64_t nr_bytes = bitmap_bytes(nr_pages);
	int error = PGSTE_E_NOMEM;

	if (nr_pages > UINT64_C(1) << 56)
		return PGSTE_E_ARG;
	named.bits = table_new(nr_bytes);
	named.before = table_new(nr_bytes);
	if (named.bits && named.before)
		error = name_pages(&named, events, nr);
	if (!error)
		error = count_before(&named, dense_pages);
	if (!error)
		error = renumber(&named, events, nr, dense_events);
	if (!error)
		error = renumber(&named, accesses, nr_accesses, dense_accesses);
	table_free(named.bits, nr_bytes);
	table_free(named.before, nr_bytes);
	return error;
}

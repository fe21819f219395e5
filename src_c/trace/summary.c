/* SPDX-License-Identifier: MIT */
/*
 * What a trace of page allocator events holds, counted in file order.
 *
 * Each page that occurs has one word, in chunks of 64 pages that a hash table finds, so that
 * memory follows the pages in use and not the highest pfn:
 *
 *   bit 0     the page has been in an event
 *   bit 1     the page has been allocated
 *   bits 2-   1 + number of the alloc event that the page belongs to, 0 if it is not live
 *
 * A free of one block is one whose pages all belong to the same event, and that event's
 * order tells whether the block came back whole.
 */
#include "base/base.h"
#include "pgste/trace.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_SHIFT 6
#define CHUNK_PAGES (UINT64_C(1) << CHUNK_SHIFT)
#define SLAB_CHUNKS 256
#define SEEN UINT64_C(1)
#define ALLOCATED UINT64_C(2)
#define OWNER_SHIFT 2

struct chunk {
	uint64_t number; /* pfn >> CHUNK_SHIFT */
	uint64_t pages[CHUNK_PAGES];
};

struct slab {
	struct slab *next;
	struct chunk chunks[SLAB_CHUNKS];
};

struct table {
	struct chunk **buckets; /* open addressing, at most half full */
	unsigned bits;		/* log2 of the number of buckets */
	uint64_t nr_chunks, max_chunks;
	bool full; /* more than max_chunks were needed */
	struct slab *slabs;
	struct chunk *last;
};

/* Fibonacci hashing: the high bits of a product with 2^64 / golden ratio. */
static struct chunk **find_bucket(const struct table *table, uint64_t number)
{
	uint64_t mask = (UINT64_C(1) << table->bits) - 1;
	uint64_t i = number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - table->bits);

	while (table->buckets[i] && table->buckets[i]->number != number)
		i = (i + 1) & mask;
	return &table->buckets[i];
}

static int grow(struct table *table)
{
	struct chunk **old = table->buckets;
	uint64_t i, nr = old ? UINT64_C(1) << table->bits : 0;
	struct chunk **buckets = calloc(UINT64_C(1) << (old ? table->bits + 1 : 10),
					sizeof(*buckets));

	if (!buckets)
		return PGSTE_E_NOMEM;
	table->bits = old ? table->bits + 1 : 10;
	table->buckets = buckets;
	for (i = 0; i < nr; i++)
		if (old[i])
			*find_bucket(table, old[i]->number) = old[i];
	free(old);
	return PGSTE_OK;
}

static struct chunk *new_chunk(struct table *table, uint64_t number)
{
	struct slab *slab = table->slabs;
	struct chunk *chunk;

	table->full = table->nr_chunks == table->max_chunks;
	if (table->full)
		return NULL;
	if (2 * table->nr_chunks >= UINT64_C(1) << table->bits && grow(table))
		return NULL;
	if (table->nr_chunks % SLAB_CHUNKS == 0) {
		slab = calloc(1, sizeof(*slab));
		if (!slab)
			return NULL;
		slab->next = table->slabs;
		table->slabs = slab;
	}
	chunk = &slab->chunks[table->nr_chunks++ % SLAB_CHUNKS];
	chunk->number = number;
	*find_bucket(table, number) = chunk;
	return chunk;
}

/* The word of a page, NULL if there is no memory. */
static inline uint64_t *page_word(struct table *table, uint64_t pfn)
{
	uint64_t number = pfn >> CHUNK_SHIFT;

	if (!table->last || table->last->number != number) {
		struct chunk *chunk = *find_bucket(table, number);

		if (!chunk)
			chunk = new_chunk(table, number);
		if (!chunk)
			return NULL;
		table->last = chunk;
	}
	return &table->last->pages[pfn & (CHUNK_PAGES - 1)];
}

/* Counters that follow the events; in_use counts from the pages in use at the start. */
struct count {
	struct table table;
	const uint64_t *events;
	struct pgste_trace_summary *summary;
	uint64_t live, pages_left; /* that the limits allow */
	uint64_t pages; /* walked, to ask now and then whether to go on */
	int64_t in_use, peak_in_use;
};

static int count_alloc(struct count *count, uint64_t i, uint64_t pfn, uint64_t nr)
{
	struct pgste_trace_summary *s = count->summary;
	uint64_t page, hits = 0, *word;

	for (page = pfn; page < pfn + nr; page++) {
		word = page_word(&count->table, page);
		if (!word)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		hits += *word >> OWNER_SHIFT != 0;
		s->unique_pages += !(*word & SEEN);
		s->unique_allocated += !(*word & ALLOCATED);
		*word = (i + 1) << OWNER_SHIFT | ALLOCATED | SEEN;
	}
	s->alloc_events++;
	s->pages_allocated += nr;
	s->allocs_of_live += hits != 0;
	count->live += nr - hits;
	count->in_use += (int64_t)(nr - hits);
	if (count->live > s->peak_live)
		s->peak_live = count->live;
	if (count->in_use > count->peak_in_use)
		count->peak_in_use = count->in_use;
	return PGSTE_OK;
}

static int count_free(struct count *count, uint64_t pfn, uint64_t nr)
{
	struct pgste_trace_summary *s = count->summary;
	uint64_t page, hits = 0, same = 0, first = 0, unseen = 0, owner, *word;

	for (page = pfn; page < pfn + nr; page++) {
		word = page_word(&count->table, page);
		if (!word)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		owner = *word >> OWNER_SHIFT;
		if (page == pfn)
			first = owner;
		hits += owner != 0;
		same += owner && owner == first;
		unseen += !(*word & SEEN);
		*word = (*word & ALLOCATED) | SEEN;
	}
	s->free_events++;
	s->pages_freed += nr;
	s->frees_of_allocated += hits == nr;
	s->frees_of_unknown += !hits;
	if (same == nr) {
		uint64_t block = UINT64_C(1) << PGSTE_EVENT_ORDER(count->events[first - 1]);

		/* All of nr pages are of this block: it is whole exactly if it has as many. */
		s->frees_of_block += block == nr;
		s->frees_of_part += block > nr;
	}
	s->unique_pages += unseen;
	s->live_at_start += unseen;
	count->live -= hits;
	count->in_use -= (int64_t)(hits + unseen);
	return PGSTE_OK;
}

static bool is_event(uint64_t event)
{
	const unsigned order = PGSTE_EVENT_ORDER(event);

	return PGSTE_EVENT_KIND(event) <= PGSTE_EVENT_FREE && order <= PGSTE_MAX_ORDER &&
	       PGSTE_EVENT_PFN(event) + (UINT64_C(1) << order) <= UINT64_C(1) << 56;
}

static int count_events(struct count *count, const uint64_t *events, uint64_t nr_events,
			int64_t *in_use)
{
	struct pgste_trace_summary *s = count->summary;
	uint64_t i, event, pfn, nr;
	unsigned order;
	int error;

	s->lowest_pfn = nr_events ? UINT64_MAX : 0;
	for (i = 0; i < nr_events; i++) {
		event = READ_ONCE(events[i]);
		if (!is_event(event))
			return PGSTE_E_ARG;
		order = PGSTE_EVENT_ORDER(event);
		pfn = PGSTE_EVENT_PFN(event);
		nr = UINT64_C(1) << order;
		/* One event may have 2^39 pages: looked at before the work is done. */
		if (nr > count->pages_left)
			return PGSTE_LIMIT_PAGES;
		count->pages_left -= nr;
		if (PGSTE_EVENT_KIND(event) == PGSTE_EVENT_ALLOC) {
			s->alloc_orders[order]++;
			error = count_alloc(count, i, pfn, nr);
		} else {
			s->free_orders[order]++;
			error = count_free(count, pfn, nr);
		}
		if (error)
			return error;
		if (in_use)
			in_use[i] = count->in_use;
		if (pfn < s->lowest_pfn)
			s->lowest_pfn = pfn;
		if (pfn + nr - 1 > s->highest_pfn)
			s->highest_pfn = pfn + nr - 1;
	}
	s->live_at_end = count->live;
	/* in_use was counted from 0, but live_at_start pages were in use then. */
	s->peak_in_use = (uint64_t)(count->peak_in_use + (int64_t)s->live_at_start);
	return PGSTE_OK;
}

/* Chunks that fit half of this machine's memory. */
static uint64_t chunk_limit(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

	if (pages <= 0 || page_bytes <= 0)
		return UINT64_MAX;
	return (uint64_t)pages / 2 * (uint64_t)page_bytes / sizeof(struct chunk);
}

/*
 * Whether all are events, and the limits can hold what they say: found before any work is done.
 * Events that change meanwhile are bounded again by the count.
 */
static int check_limits(struct count *count, uint64_t nr_events)
{
	uint64_t i, nr, event, left = count->pages_left;
	int error = PGSTE_OK;

	for (i = 0; i < nr_events; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		event = READ_ONCE(count->events[i]);
		if (!is_event(event))
			return PGSTE_E_ARG; /* whatever those before it would take */
		nr = UINT64_C(1) << PGSTE_EVENT_ORDER(event);
		if (error)
			continue;
		count->table.full = nr / CHUNK_PAGES > count->table.max_chunks;
		if (nr > left)
			error = PGSTE_LIMIT_PAGES;
		else if (count->table.full)
			error = PGSTE_E_NOMEM;
		left -= nr;
	}
	return error;
}

int pgste_trace_summarize_within(const uint64_t *events, uint64_t nr,
				 const struct pgste_trace_limits *limits,
				 struct pgste_trace_summary *summary, int64_t *in_use)
{
	struct pgste_trace_summary result = { 0 };
	struct count count = { .events = events, .summary = &result };
	uint64_t chunks = limits->bytes / sizeof(struct chunk);
	struct slab *slab;
	int error;

	count.pages_left = limits->pages;
	count.table.max_chunks = chunk_limit();
	if (chunks < count.table.max_chunks)
		count.table.max_chunks = chunks;
	error = check_limits(&count, nr);
	if (!error)
		error = grow(&count.table);
	if (!error)
		error = count_events(&count, events, nr, in_use);
	/* A limit that was met: the machine's own, or that of the caller? */
	if (error == PGSTE_E_NOMEM && count.table.full && count.table.max_chunks == chunks)
		error = PGSTE_LIMIT_BYTES;
	while ((slab = count.table.slabs)) {
		count.table.slabs = slab->next;
		free(slab);
	}
	free(count.table.buckets);
	if (!error)
		*summary = result;
	return error;
}

int pgste_trace_summarize(const uint64_t *events, uint64_t nr, struct pgste_trace_summary *summary)
{
	const struct pgste_trace_limits none = { UINT64_MAX, UINT64_MAX };

	return pgste_trace_summarize_within(events, nr, &none, summary, NULL);
}

const char *pgste_trace_summary_name(unsigned i)
{
#define NAME(field) #field,
	static const char *const names[] = { PGSTE_TRACE_SUMMARY(NAME) };
#undef NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a trace of page allocator events holds, counted in file order.
 *
 * A free of one block is one whose pages all belong to the same event, and that event's order
 * tells whether the block came back whole.
 *
 * A page at random costs two lines of memory, a bucket and a word.  So events are taken a batch
 * at a time: all buckets are fetched, then all words, and then they are counted.
 */
#include "pgste/trace.h"
#include "trace/owners.h"

#include <unistd.h>

#define BATCH 64u

/* Events of a batch, and the word of each one's first page, NULL if that has none yet. */
struct batch {
	uint64_t events[BATCH], *words[BATCH];
};

/* Counters that follow the events; in_use counts from the pages in use at the start. */
struct count {
	struct owners owners;
	const uint64_t *events;
	struct pgste_trace_summary *summary;
	uint64_t live, pages_left; /* that the limits allow */
	uint64_t pages; /* walked, to ask now and then whether to go on */
	int64_t in_use, peak_in_use;
};

/*
 * A block of one page, of which traces are full.  Whether it is allocated or freed, live or not,
 * is as good as random: nothing here branches on it.
 */
static ALWAYS_INLINE void count_page(struct count *count, uint64_t i, bool is_free, uint64_t *word)
{
	struct pgste_trace_summary *s = count->summary;
	const uint64_t old = *word, freed = is_free, allocated = !is_free;
	const uint64_t live = OWNER_EVENT(old) != 0, unseen = !(old & OWNER_SEEN);
	const uint64_t whole = OWNER_ORDER(old) == 0;

	*word = (old & OWNER_ALLOCATED) | OWNER_SEEN;
	if (!is_free)
		*word = OWNER_OF(i, 0) | OWNER_ALLOCATED | OWNER_SEEN;
	s->unique_pages += unseen;
	s->unique_allocated += allocated & !(old & OWNER_ALLOCATED);
	s->allocs_of_live += allocated & live;
	s->frees_of_allocated += freed & live;
	s->frees_of_unknown += freed & !live;
	s->frees_of_block += freed & live & whole;
	s->frees_of_part += freed & live & !whole;
	s->live_at_start += freed & unseen;
	count->live += allocated - live;
	count->in_use += (int64_t)(allocated - live - (freed & unseen));
}

static int count_alloc(struct count *count, uint64_t i, uint64_t pfn, unsigned order)
{
	struct pgste_trace_summary *s = count->summary;
	const uint64_t nr = UINT64_C(1) << order;
	uint64_t hits = 0;

	for (uint64_t page = pfn; page < pfn + nr; page++) {
		uint64_t *word = owners_word(&count->owners, page);

		if (!word)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		hits += OWNER_EVENT(*word) != 0;
		s->unique_pages += !(*word & OWNER_SEEN);
		s->unique_allocated += !(*word & OWNER_ALLOCATED);
		*word = OWNER_OF(i, order) | OWNER_ALLOCATED | OWNER_SEEN;
	}
	s->allocs_of_live += hits != 0;
	count->live += nr - hits;
	count->in_use += (int64_t)(nr - hits);
	return PGSTE_OK;
}

static int count_free(struct count *count, uint64_t pfn, unsigned order)
{
	struct pgste_trace_summary *s = count->summary;
	const uint64_t nr = UINT64_C(1) << order;
	uint64_t hits = 0, same = 0, first = 0, unseen = 0;

	for (uint64_t page = pfn; page < pfn + nr; page++) {
		uint64_t *word = owners_word(&count->owners, page), owner;

		if (!word)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		owner = OWNER_EVENT(*word);
		if (page == pfn)
			first = *word;
		hits += owner != 0;
		same += owner && owner == OWNER_EVENT(first);
		unseen += !(*word & OWNER_SEEN);
		*word = (*word & OWNER_ALLOCATED) | OWNER_SEEN;
	}
	s->frees_of_allocated += hits == nr;
	s->frees_of_unknown += !hits;
	if (same == nr) {
		/* All of nr pages are of this block: it is whole exactly if it has as many. */
		s->frees_of_block += OWNER_ORDER(first) == order;
		s->frees_of_part += OWNER_ORDER(first) > order;
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

/* Events [first, first + nr) and where their words are; false if one is none. */
static bool take_batch(const struct count *count, uint64_t first, unsigned nr, struct batch *batch)
{
	const struct owners *owners = &count->owners;
	bool good = true;

	for (unsigned k = 0; k < nr; k++) {
		const uint64_t event = READ_ONCE(count->events[first + k]);
		const uint64_t number = PGSTE_EVENT_PFN(event) >> CHUNK_SHIFT;

		batch->events[k] = event;
		good &= is_event(event);
		__builtin_prefetch(&owners->buckets[owners_home(owners, number)]);
	}
	for (unsigned k = 0; k < nr; k++) {
		const uint64_t pfn = PGSTE_EVENT_PFN(batch->events[k]);
		const struct bucket *bucket = owners_find(owners, pfn >> CHUNK_SHIFT);

		batch->words[k] = NULL;
		if (bucket->words) {
			batch->words[k] = bucket->words + pfn % CHUNK_PAGES;
			__builtin_prefetch(batch->words[k], 1);
		}
	}
	return good;
}

/* Event number i, whose first page has this word. */
static ALWAYS_INLINE int count_event(struct count *count, uint64_t i, uint64_t event,
				     uint64_t *word)
{
	struct pgste_trace_summary *s = count->summary;
	const unsigned order = PGSTE_EVENT_ORDER(event);
	const uint64_t pfn = PGSTE_EVENT_PFN(event), nr = UINT64_C(1) << order;
	const bool is_free = PGSTE_EVENT_KIND(event) == PGSTE_EVENT_FREE;
	int error = PGSTE_OK;

	/* One event may have 2^39 pages: looked at before the work is done. */
	if (nr > count->pages_left)
		return PGSTE_LIMIT_PAGES;
	count->pages_left -= nr;
	(is_free ? s->free_orders : s->alloc_orders)[order]++;
	if (pfn < s->lowest_pfn)
		s->lowest_pfn = pfn;
	if (pfn + nr - 1 > s->highest_pfn)
		s->highest_pfn = pfn + nr - 1;
	if (!order && !word)
		word = owners_word(&count->owners, pfn);
	if (!order && !word)
		return PGSTE_E_NOMEM;
	if (!order && watch_stops_at(count->pages++))
		return PGSTE_E_CANCELLED;
	if (!order)
		count_page(count, i, is_free, word);
	else if (is_free)
		error = count_free(count, pfn, order);
	else
		error = count_alloc(count, i, pfn, order);
	if (count->live > s->peak_live)
		s->peak_live = count->live;
	if (count->in_use > count->peak_in_use)
		count->peak_in_use = count->in_use;
	return error;
}

/* What follows from the others. */
static void count_rest(struct count *count)
{
	struct pgste_trace_summary *s = count->summary;

	for (unsigned order = 0; order <= PGSTE_MAX_ORDER; order++) {
		s->alloc_events += s->alloc_orders[order];
		s->free_events += s->free_orders[order];
		s->pages_allocated += s->alloc_orders[order] << order;
		s->pages_freed += s->free_orders[order] << order;
	}
	s->live_at_end = count->live;
	/* in_use was counted from 0, but live_at_start pages were in use then. */
	s->peak_in_use = (uint64_t)(count->peak_in_use + (int64_t)s->live_at_start);
}

static int count_events(struct count *count, uint64_t nr_events, int64_t *in_use)
{
	struct batch batch;

	count->summary->lowest_pfn = nr_events ? UINT64_MAX : 0;
	for (uint64_t first = 0; first < nr_events; first += BATCH) {
		const unsigned nr = (unsigned)min_u64(nr_events - first, BATCH);

		if (!take_batch(count, first, nr, &batch))
			return PGSTE_E_ARG;
		for (unsigned k = 0; k < nr; k++) {
			const int error =
				count_event(count, first + k, batch.events[k], batch.words[k]);

			if (error)
				return error;
			if (in_use)
				in_use[first + k] = count->in_use;
		}
	}
	count_rest(count);
	return PGSTE_OK;
}

/* Chunks that fit half of this machine's memory. */
static uint64_t chunk_limit(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

	if (pages <= 0 || page_bytes <= 0)
		return UINT64_MAX;
	return (uint64_t)pages / 2 * (uint64_t)page_bytes / CHUNK_BYTES;
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
		count->owners.full = nr / CHUNK_PAGES > count->owners.max_chunks;
		if (nr > left)
			error = PGSTE_LIMIT_PAGES;
		else if (count->owners.full)
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
	const uint64_t chunks = limits->bytes / CHUNK_BYTES;
	int error = owners_init(&count.owners, min_u64(chunk_limit(), chunks));

	if (error)
		return error;
	count.pages_left = limits->pages;
	error = check_limits(&count, nr);
	if (!error)
		error = count_events(&count, nr, in_use);
	/* A limit that was met: the machine's own, or that of the caller? */
	if (error == PGSTE_E_NOMEM && count.owners.full && count.owners.max_chunks == chunks)
		error = PGSTE_LIMIT_BYTES;
	owners_exit(&count.owners);
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

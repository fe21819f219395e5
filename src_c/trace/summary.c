/* SPDX-License-Identifier: MIT */
/*
 * What a trace of page allocator events holds, counted in file order.
 *
 * A free of one block is one whose pages all belong to the same event, and that event's order
 * tells whether the block came back whole.
 *
 * A page at random costs a line of memory for its byte, and where these lie in chunks one for the
 * bucket.  So events are taken a batch at a time: all of these are fetched before they are counted.
 */
#include "pgste/trace.h"
#include "trace/owners.h"

#include <unistd.h>

#define BATCH 64u

/* Events of a batch, and the byte of each one's first page, NULL if that has none yet. */
struct batch {
	uint64_t events[BATCH];
	uint8_t *pages[BATCH];
};

/* A page's byte before an event; WAS_PART and more: live in a block of several pages. */
enum { WAS_UNSEEN = 0, WAS_FREED = 1, WAS_ALLOCATED = 3, WAS_WHOLE = 5, WAS_PART = 6, NR_WAS };

/* Counters that follow the events; in_use counts from the pages in use at the start. */
struct count {
	struct owners owners;
	const uint64_t *events;
	struct pgste_trace_summary *summary;
	uint64_t live, pages_left; /* that the limits allow */
	uint64_t pages; /* walked, to ask now and then whether to go on */
	int64_t in_use, peak_in_use;
	uint64_t singles[2][NR_WAS]; /* allocs and frees of one page */
};

/*
 * A block of one page, of which traces are full.  Whether it is allocated or freed, live or not,
 * is as good as random: nothing here branches on it, and count_singles does the rest.
 */
static ALWAYS_INLINE void count_page(struct count *count, bool is_free, uint8_t *page)
{
	static const uint8_t becomes[2][NR_WAS] = {
		{ WAS_WHOLE, WAS_WHOLE, WAS_WHOLE, WAS_WHOLE, WAS_WHOLE, WAS_WHOLE, WAS_WHOLE },
		{ WAS_FREED, WAS_FREED, WAS_ALLOCATED, WAS_ALLOCATED, WAS_ALLOCATED, WAS_ALLOCATED,
		  WAS_ALLOCATED },
	};
	const unsigned was = *page < WAS_PART ? *page : WAS_PART;
	const unsigned live = was >= WAS_WHOLE, unseen = !was;

	*page = becomes[is_free][was];
	count->singles[is_free][was]++;
	count->live += (uint64_t)!is_free - live;
	count->in_use += (int64_t)!is_free - live - (is_free & unseen);
}

static void count_singles(struct count *count)
{
	struct pgste_trace_summary *s = count->summary;
	const uint64_t *alloc = count->singles[false], *freed = count->singles[true];

	for (unsigned was = 0; was < NR_WAS; was++) {
		s->alloc_orders[0] += alloc[was];
		s->free_orders[0] += freed[was];
	}
	s->unique_pages += alloc[WAS_UNSEEN] + freed[WAS_UNSEEN];
	s->unique_allocated += alloc[WAS_UNSEEN] + alloc[WAS_FREED];
	s->allocs_of_live += alloc[WAS_WHOLE] + alloc[WAS_PART];
	s->frees_of_allocated += freed[WAS_WHOLE] + freed[WAS_PART];
	s->frees_of_unknown += freed[WAS_UNSEEN] + freed[WAS_FREED] + freed[WAS_ALLOCATED];
	s->frees_of_block += freed[WAS_WHOLE];
	s->frees_of_part += freed[WAS_PART];
	s->live_at_start += freed[WAS_UNSEEN];
}

static int count_alloc(struct count *count, uint64_t pfn, unsigned order)
{
	struct pgste_trace_summary *s = count->summary;
	const uint64_t nr = UINT64_C(1) << order;
	uint64_t hits = 0;

	for (uint64_t i = 0; i < nr; i++) {
		uint8_t *page = owners_page(&count->owners, pfn + i);

		if (!page)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		hits += owner_is_live(*page);
		s->unique_pages += !*page;
		s->unique_allocated += !owner_was_allocated(*page);
		*page = (uint8_t)(OWNER_OF(order) | (i ? 0 : OWNER_HEAD));
	}
	owners_part(&count->owners, pfn + nr);
	s->allocs_of_live += hits != 0;
	count->live += nr - hits;
	count->in_use += (int64_t)(nr - hits);
	return PGSTE_OK;
}

static int count_free(struct count *count, uint64_t pfn, unsigned order)
{
	struct pgste_trace_summary *s = count->summary;
	const uint64_t nr = UINT64_C(1) << order;
	uint64_t hits = 0, follow = 0, unseen = 0;
	unsigned first = 0;

	for (uint64_t i = 0; i < nr; i++) {
		uint8_t *page = owners_page(&count->owners, pfn + i);

		if (!page)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		if (!i)
			first = *page;
		hits += owner_is_live(*page);
		follow += i && owner_follows(*page);
		unseen += !*page;
		*page = owner_freed(*page);
	}
	s->frees_of_allocated += hits == nr;
	s->frees_of_unknown += !hits;
	if (owner_is_live(first) && follow == nr - 1) {
		/*
		 * All of nr pages are of one block: it is whole exactly if it has as many.  Or the
		 * first is a block of its own, and follow-ups are what is left of another's: 0.
		 */
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

/* For take_batch, where all bytes are in one table. */
static bool take_from_table(const struct count *count, uint64_t first, unsigned nr,
			    struct batch *batch)
{
	const struct owners *owners = &count->owners;
	bool good = true;

	for (unsigned k = 0; k < nr; k++) {
		const uint64_t event = READ_ONCE(count->events[first + k]);
		const uint64_t pfn = PGSTE_EVENT_PFN(event);
		const bool is_good = is_event(event) &&
			owners_have(owners, pfn, UINT64_C(1) << PGSTE_EVENT_ORDER(event));

		batch->events[k] = event;
		batch->pages[k] = owners->all + (is_good ? pfn - owners->base : 0);
		__builtin_prefetch(batch->pages[k], 1);
		good &= is_good;
	}
	return good;
}

/* Events [first, first + nr) and where their bytes are; false if one is none. */
static bool take_batch(const struct count *count, uint64_t first, unsigned nr, struct batch *batch)
{
	const struct owners *owners = &count->owners;
	bool good = true;

	if (owners->all)
		return take_from_table(count, first, nr, batch);
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

		batch->pages[k] = NULL;
		if (bucket->pages) {
			batch->pages[k] = bucket->pages + pfn % CHUNK_PAGES;
			__builtin_prefetch(batch->pages[k], 1);
		}
	}
	return good;
}

/* An event, whose first page has this byte. */
static ALWAYS_INLINE int count_event(struct count *count, uint64_t event, uint8_t *page)
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
	if (!order) {
		if (!page)
			page = owners_page(&count->owners, pfn);
		if (!page)
			return PGSTE_E_NOMEM;
		if (watch_stops_at(count->pages++))
			return PGSTE_E_CANCELLED;
		count_page(count, is_free, page);
	} else {
		(is_free ? s->free_orders : s->alloc_orders)[order]++;
		error = is_free ? count_free(count, pfn, order) : count_alloc(count, pfn, order);
	}
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

	count_singles(count);
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

	for (uint64_t first = 0; first < nr_events; first += BATCH) {
		const unsigned nr = (unsigned)min_u64(nr_events - first, BATCH);

		if (!take_batch(count, first, nr, &batch))
			return PGSTE_E_ARG;
		for (unsigned k = 0; k < nr; k++) {
			const int error =
				count_event(count, batch.events[k], batch.pages[k]);

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
 * Whether all are events, and the limits can hold what they say: found before any work is done.  It
 * tells the lowest and the highest page, too.
 * Events that change meanwhile are bounded again by the count.
 */
static int check_limits(struct count *count, uint64_t nr_events)
{
	struct pgste_trace_summary *s = count->summary;
	uint64_t i, nr, event, left = count->pages_left;
	int error = PGSTE_OK;

	s->lowest_pfn = nr_events ? UINT64_MAX : 0;
	for (i = 0; i < nr_events; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		event = READ_ONCE(count->events[i]);
		if (!is_event(event))
			return PGSTE_E_ARG; /* whatever those before it would take */
		nr = UINT64_C(1) << PGSTE_EVENT_ORDER(event);
		s->lowest_pfn = min_u64(s->lowest_pfn, PGSTE_EVENT_PFN(event));
		if (PGSTE_EVENT_PFN(event) + nr - 1 > s->highest_pfn)
			s->highest_pfn = PGSTE_EVENT_PFN(event) + nr - 1;
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
		error = owners_for(&count.owners, result.lowest_pfn, result.highest_pfn, nr);
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

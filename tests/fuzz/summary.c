/* SPDX-License-Identifier: MIT */
/*
 * The summary of a trace.  The input is event words: any of 8 bytes, or short ones that hit
 * each other often.  Every figure is compared with what a few plain loops count, events that
 * are none are refused, limits are kept to the page, memory may run out, and a refused call
 * leaves the summary as it was.  The same events go through pgste_curve,
 * pgste_footprint, pgste_place, pgste_trace_dense and pgste_trace_share.
 *
 * What it may cost is bounded here, not there: a block of order 39 has 2^39 pages.
 */
#include "fuzz.h"

#include "faults.h"
#include "pgste.h"

#define MOST_EVENTS 256u
#define MOST_PAGES 1024u /* of all blocks together */

static bool is_event(uint64_t event)
{
	return PGSTE_EVENT_KIND(event) <= PGSTE_EVENT_FREE &&
	       PGSTE_EVENT_ORDER(event) <= PGSTE_MAX_ORDER &&
	       PGSTE_EVENT_PFN(event) + (UINT64_C(1) << PGSTE_EVENT_ORDER(event)) <=
	       UINT64_C(1) << 56;
}

static uint64_t take_event(struct input *in)
{
	const uint8_t head = take_byte(in);

	if (head & 0x80)
		return take(in, 8);
	/* a bit of kind, three of order, three of pfn above the next byte's eight */
	return PGSTE_EVENT(head & 1, head >> 1 & 7,
			   (uint64_t)(head >> 4 & 7) << 8 | take_byte(in));
}

/* ---- the same figures, plainly ---- */

struct page {
	uint64_t pfn, owner; /* 1 + number of the alloc it belongs to, 0: not live */
	bool allocated;
};

struct model {
	struct page pages[MOST_PAGES];
	uint64_t nr, next; /* next: where the page behind the last one often is */
	const uint64_t *events;
	struct pgste_trace_summary s;
	uint64_t live;
	int64_t in_use, peak;
	int64_t after[MOST_EVENTS]; /* in_use, after each event */
};

static struct page *page_of(struct model *m, uint64_t pfn, bool *is_new)
{
	*is_new = false;
	if (m->next < m->nr && m->pages[m->next].pfn == pfn)
		return &m->pages[m->next++];
	for (uint64_t i = 0; i < m->nr; i++)
		if (m->pages[i].pfn == pfn) {
			m->next = i + 1;
			return &m->pages[i];
		}
	*is_new = true;
	REQUIRE(m->nr < MOST_PAGES);
	m->pages[m->nr] = (struct page){ .pfn = pfn };
	return &m->pages[m->nr++];
}

static void model_alloc(struct model *m, uint64_t i, uint64_t pfn, uint64_t nr)
{
	bool hit = false, is_new;

	for (uint64_t p = pfn; p < pfn + nr; p++) {
		struct page *page = page_of(m, p, &is_new);

		hit |= page->owner != 0;
		m->live += !page->owner;
		m->in_use += !page->owner;
		m->s.unique_pages += is_new;
		m->s.unique_allocated += !page->allocated;
		page->allocated = true;
		page->owner = i + 1;
	}
	m->s.alloc_events++;
	m->s.pages_allocated += nr;
	m->s.allocs_of_live += hit;
	m->s.peak_live = m->live > m->s.peak_live ? m->live : m->s.peak_live;
	m->peak = m->in_use > m->peak ? m->in_use : m->peak;
}

static void model_free(struct model *m, uint64_t pfn, uint64_t nr)
{
	uint64_t first = 0, of_first = 0, live = 0;
	bool is_new;

	for (uint64_t p = pfn; p < pfn + nr; p++) {
		struct page *page = page_of(m, p, &is_new);

		first = p == pfn ? page->owner : first;
		of_first += page->owner && page->owner == first;
		live += page->owner != 0;
		m->s.unique_pages += is_new;
		m->s.live_at_start += is_new;
		m->in_use -= page->owner || is_new;
		page->owner = 0;
	}
	m->live -= live;
	m->s.free_events++;
	m->s.pages_freed += nr;
	m->s.frees_of_allocated += live == nr;
	m->s.frees_of_unknown += live == 0;
	if (of_first == nr) {
		const uint64_t block = UINT64_C(1) << PGSTE_EVENT_ORDER(m->events[first - 1]);

		m->s.frees_of_block += block == nr;
		m->s.frees_of_part += block > nr;
	}
}

static void model_run(struct model *m, uint64_t nr)
{
	m->s.lowest_pfn = nr ? UINT64_MAX : 0;
	for (uint64_t i = 0; i < nr; i++) {
		const uint64_t event = m->events[i], pfn = PGSTE_EVENT_PFN(event);
		const unsigned order = PGSTE_EVENT_ORDER(event);
		const uint64_t pages = UINT64_C(1) << order, last = pfn + pages - 1;

		if (PGSTE_EVENT_KIND(event) == PGSTE_EVENT_ALLOC)
			model_alloc(m, i, pfn, pages), m->s.alloc_orders[order]++;
		else
			model_free(m, pfn, pages), m->s.free_orders[order]++;
		m->after[i] = m->in_use;
		m->s.lowest_pfn = pfn < m->s.lowest_pfn ? pfn : m->s.lowest_pfn;
		m->s.highest_pfn = last > m->s.highest_pfn ? last : m->s.highest_pfn;
	}
	m->s.live_at_end = m->live;
	m->s.peak_in_use = (uint64_t)(m->peak + (int64_t)m->s.live_at_start);
}

/* Pages in use after each event; the figures are the same. */
static void check_in_use(const struct model *model, uint64_t nr)
{
	const struct pgste_trace_limits limits = { UINT64_MAX, UINT64_MAX };
	int64_t *in_use = block_of_size(nr * sizeof(*in_use));
	struct pgste_trace_summary summary;

	REQUIRE(!pgste_trace_summarize_within(model->events, nr, &limits, &summary, in_use));
	REQUIRE(!memcmp(&summary, &model->s, sizeof(summary)));
	REQUIRE(!nr || !memcmp(in_use, model->after, nr * sizeof(*in_use)));
	free(in_use);
}

/* With as many pages as it takes, with one fewer, and with no memory for a table. */
static void check_limits(const uint64_t *events, uint64_t nr, uint64_t pages, int error)
{
	struct pgste_trace_limits limits = { pages, UINT64_MAX };
	struct pgste_trace_summary summary;

	REQUIRE(pgste_trace_summarize_within(events, nr, &limits, &summary, NULL) == error);
	limits.pages--;
	REQUIRE(!pages || pgste_trace_summarize_within(events, nr, &limits, &summary, NULL) ==
			  (error ? error : PGSTE_LIMIT_PAGES));
	limits = (struct pgste_trace_limits){ UINT64_MAX, 0 };
	REQUIRE(pgste_trace_summarize_within(events, nr, &limits, &summary, NULL) ==
		(error ? error : nr ? PGSTE_LIMIT_BYTES : PGSTE_OK));
}

/* Memory runs out at some allocation: no limit that was met, and nothing is written. */
static void check_faults(const uint64_t *events, uint64_t nr, unsigned nth)
{
	const struct pgste_trace_limits limits = { UINT64_MAX, UINT64_C(1) << 40 };
	struct pgste_trace_summary summary, untouched;
	int error;

	memset(&untouched, 0x5a, sizeof(untouched));
	summary = untouched;
	faults_arm(nth);
	error = pgste_trace_summarize_within(events, nr, &limits, &summary, NULL);
	if (faults_disarm()) {
		REQUIRE(error == PGSTE_E_NOMEM);
		REQUIRE(!memcmp(&summary, &untouched, sizeof(summary)));
	}
}

/* Larger hosts fault no more; one with room for all swaps nothing; none uses more than it has. */
static void check_points(const struct pgste_curve_config *config,
			 const struct pgste_curve_point *points)
{
	const uint64_t last = config->nr_sizes - 1;

	for (uint64_t i = 0; i < config->nr_sizes; i++) {
		REQUIRE(points[i].frames <= config->sizes[i] * config->nr_samples);
		REQUIRE(!i || points[i].swap_ins <= points[i - 1].swap_ins);
		REQUIRE(!i || points[i].zero_fills <= points[i - 1].zero_fills);
		REQUIRE(config->rule == PGSTE_CURVE_KEEP || !points[i].swap_ins);
	}
	REQUIRE(!points[last].swap_outs && !points[last].swap_ins && !points[last].discards);
	REQUIRE(!points[last].slots);
}

/* Every rule, for hosts of four sizes; a table that is too large, and memory that runs out. */
static void check_curve(const uint64_t *events, uint64_t nr, bool valid, uint8_t how)
{
	static const uint64_t sizes[] = { 1, 3, 17, 3 * MOST_PAGES };
	const uint64_t samples[] = { how % 3, nr / 2, nr }, given[] = { how, how + 1u };
	const uint64_t given_at[] = { how % 5, nr / 2 + 5 };
	struct pgste_curve_point points[4];
	int error;

	for (unsigned rule = 0; rule < 4; rule++) {
		struct pgste_curve_config config = {
			.events = events, .nr_events = nr, .nr_guests = 1 + how % 3,
			.rule = (enum pgste_curve_rule)rule,
			.given = given, .given_at = given_at, .nr_given = rule ? 0 : 2,
			.sizes = sizes, .nr_sizes = 4, .samples = samples, .nr_samples = 3,
			.share = UINT64_C(1) << (32 - how % 2),
		};

		error = pgste_curve(&config, points);
		REQUIRE(valid ? !error || error == PGSTE_E_NOMEM : error == PGSTE_E_ARG);
		if (!error)
			check_points(&config, points);
		faults_arm(1 + how % 19u);
		error = pgste_curve(&config, points);
		REQUIRE(!faults_disarm() || !error || error == PGSTE_E_NOMEM || !valid);
	}
}

#define GUEST_PAGES (UINT64_C(1) << 12)

/* What is held is what is in use, if every page comes back at once; else no less, but for AGE. */
static void check_held(const struct pgste_footprint_config *config,
		       const struct pgste_footprint_result *result, const uint64_t *held,
		       const uint64_t *used)
{
	const bool at_once = config->rule == PGSTE_FOOTPRINT_BLOCKS && !config->block_order &&
			     !config->period_ns && !config->host_order;

	for (uint64_t i = 0; i < config->nr_samples; i++) {
		REQUIRE(held[i] <= result->peak);
		REQUIRE(config->rule == PGSTE_FOOTPRINT_AGE || held[i] >= used[i]);
		REQUIRE(!at_once || held[i] == used[i]);
	}
	REQUIRE(!at_once || result->held_seconds == result->used_seconds);
}

/* Every rule, in a guest that may be too small for the events; memory that runs out. */
static void check_footprint(const uint64_t *events, uint64_t nr, uint8_t how)
{
	const uint64_t base = nr ? PGSTE_EVENT_PFN(events[0]) & ~(GUEST_PAGES - 1) : how;
	const uint64_t samples[] = { 0, nr * 3, nr * 7, nr * 9 };
	uint64_t times[MOST_EVENTS], held[4], used[4];
	struct pgste_footprint_result result;

	for (uint64_t i = 0; i < nr; i++)
		times[i] = 100 + i / (1 + how % 3u) * 7;
	for (unsigned rule = 0; rule <= PGSTE_FOOTPRINT_AGE; rule++) {
		const struct pgste_footprint_config config = {
			.events = events, .times_ns = times, .nr_events = nr,
			.base_pfn = base, .nr_pages = GUEST_PAGES, .unnamed_free = how & 1,
			.host_order = rule == PGSTE_FOOTPRINT_AGE ? 0 : how / 2 % 4u * 3,
			.rule = (enum pgste_footprint_rule)rule, .block_order = how / 8 % 4u * 3,
			.period_ns = rule == PGSTE_FOOTPRINT_BLOCKS ? how / 16 % 3u * 9 : 1u + how,
			.reserve = how % 7u * 100, .asks = how & 2, .populate = how & 4,
			.samples_ns = samples, .nr_samples = 4,
		};
		int error = pgste_footprint(&config, &result, held, used);

		REQUIRE(!error || error == PGSTE_E_ARG || error == PGSTE_E_NOMEM);
		if (!error)
			check_held(&config, &result, held, used);
		faults_arm(1 + (how + rule) % 19u);
		error = pgste_footprint(&config, &result, held, used);
		REQUIRE(!faults_disarm() || error == PGSTE_E_NOMEM || error == PGSTE_E_ARG);
	}
	REQUIRE(pgste_footprint_count_name(0) && !pgste_footprint_count_name(how + 100u));
}

/* The same events elsewhere: as many pages, all within the guest. */
static void check_place(const uint64_t *events, uint64_t nr, uint8_t how)
{
	static uint64_t placed[MOST_EVENTS + MOST_PAGES], which[MOST_EVENTS + MOST_PAGES];
	const struct pgste_place_config config = {
		.events = events, .nr_events = nr,
		.base_pfn = nr ? PGSTE_EVENT_PFN(events[0]) & ~(GUEST_PAGES - 1) : how,
		.nr_pages = GUEST_PAGES, .placement = (enum pgste_placement)(how & 1),
		.nr_places = UINT64_C(1) << (10 + how % 3u),
	};
	const uint64_t most = MOST_EVENTS + (how & 8 ? MOST_PAGES : 0);
	const int64_t got = pgste_place(&config, placed, which, most);

	REQUIRE(got >= 0 || got == PGSTE_E_ARG || got == PGSTE_E_NOMEM || got == PGSTE_E_NO_FRAME);
	for (int64_t i = 0; i < got; i++) {
		REQUIRE(is_event(placed[i]) && which[i] < nr && (!i || which[i] >= which[i - 1]));
		REQUIRE(PGSTE_EVENT_PFN(placed[i]) <=
			config.nr_places - (UINT64_C(1) << PGSTE_EVENT_ORDER(placed[i])));
	}
	faults_arm(1 + how % 9u);
	REQUIRE(pgste_place(&config, placed, which, most) <= (int64_t)most);
	(void)faults_disarm();
}

/* Order and distance: does one begin before, at, or behind the other's end, next to it or not? */
static int how_near(uint64_t one, uint64_t other)
{
	const uint64_t end = PGSTE_EVENT_PFN(one) + (UINT64_C(1) << PGSTE_EVENT_ORDER(one));
	const uint64_t at = PGSTE_EVENT_PFN(other);

	return at < PGSTE_EVENT_PFN(one) ? 0 : at < end ? 1 : at == end ? 2 : 3;
}

/* Without the pages between: events are as before, and as near to each other. */
static void check_dense(const uint64_t *events, uint64_t nr, uint8_t how)
{
	const uint64_t base = nr ? PGSTE_EVENT_PFN(events[0]) & ~(GUEST_PAGES - 1) : how;
	uint64_t *dense = block_of_size(nr * sizeof(*dense)), pages = 0;
	uint64_t *again = block_of_size(nr * sizeof(*again));
	const int error = pgste_trace_dense(events, nr, events, nr, base, GUEST_PAGES, dense,
					    again, &pages);

	REQUIRE(!error || error == PGSTE_E_ARG || error == PGSTE_E_NOMEM);
	for (uint64_t i = 0; i < nr && !error; i++) {
		const uint64_t other = (i + how) % nr;

		REQUIRE(dense[i] == again[i] && (dense[i] & 0xff) == (events[i] & 0xff));
		REQUIRE(how_near(dense[i], dense[other]) == how_near(events[i], events[other]));
		REQUIRE(PGSTE_EVENT_PFN(dense[i]) + (UINT64_C(1) << PGSTE_EVENT_ORDER(dense[i])) <=
			pages);
	}
	faults_arm(1 + how % 3u);
	REQUIRE(pgste_trace_dense(events, nr, NULL, 0, base, GUEST_PAGES, dense, NULL,
				  &pages) <= 0);
	(void)faults_disarm();
	free(dense);
	free(again);
}

static void check_share(const uint64_t *events, uint64_t nr, uint64_t pages, int64_t share)
{
	uint64_t *some = block_of_size(2 * pages * sizeof(*some)), *places = some + pages;
	const int64_t got = pgste_trace_share(events, nr, (uint64_t)share, some, places, pages);

	REQUIRE(got <= (int64_t)pages && (got >= 0 || got == PGSTE_E_ARG));
	for (int64_t i = 1; i < got; i++)
		REQUIRE(is_event(some[i]) && places[i] < nr && places[i] >= places[i - 1]);
	free(some);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model model;
	struct input in = { data, data + size };
	struct pgste_trace_summary summary, untouched;
	uint64_t *words = block_of_size(MOST_EVENTS * sizeof(*words)), *events;
	uint64_t nr = 0, pages = 0, asked = 0; /* asked: of all orders that exist */
	bool valid = true;
	int error;

	while (in.at < in.end && nr < MOST_EVENTS && valid) {
		const uint64_t event = take_event(&in);

		valid = is_event(event);
		/* what comes behind an event that is refused is not looked at */
		pages += valid ? UINT64_C(1) << PGSTE_EVENT_ORDER(event) : 0;
		if (pages > MOST_PAGES)
			break;
		words[nr++] = event;
		asked += PGSTE_EVENT_ORDER(event) > PGSTE_MAX_ORDER ? 0 :
			 UINT64_C(1) << PGSTE_EVENT_ORDER(event);
	}
	events = block_of_size(nr * sizeof(*events));
	if (nr)
		memcpy(events, words, nr * sizeof(*events));
	free(words);
	memset(&untouched, 0x5a, sizeof(untouched));
	summary = untouched;
	error = pgste_trace_summarize(events, nr, &summary);
	/* also where an event that is none is larger than any table of this machine */
	REQUIRE(error == (valid ? PGSTE_OK : PGSTE_E_ARG));
	if (error) {
		REQUIRE(!memcmp(&summary, &untouched, sizeof(summary)));
	} else {
		memset(&model, 0, sizeof(model));
		model.events = events;
		model_run(&model, nr);
		REQUIRE(!memcmp(&summary, &model.s, sizeof(summary)));
		check_in_use(&model, nr);
	}
	check_limits(events, nr, asked, error);
	check_faults(events, nr, 1 + (unsigned)(size % 7));
	check_curve(events, nr, valid, (uint8_t)size);
	check_footprint(events, nr, (uint8_t)size);
	check_place(events, nr, (uint8_t)size);
	check_dense(events, nr, (uint8_t)size);
	check_share(events, nr, valid ? MOST_PAGES : 0, INT64_C(1) << size % 34u);
	free(events);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Stack distances (Mattson et al. 1970): where a page is in the order when it is stored to or
 * freed tells which hosts have it in memory, and so what each of them does.  docs/curve.md.
 */
#include <string.h>

#include "curve/curve.h"
#include "pgste/host.h"

struct pass {
	const struct pgste_curve_config *config;
	struct pgste_curve_point *points;
	struct pages pages;
	struct order order;
	struct lazy lazy;
	uint32_t nr_pages; /* of all guests */
	uint8_t *state;	   /* of each page: PAGE_* */
	uint32_t *depth;   /* of each page: where it was when it was freed (UNUSED) */
	int64_t *counts;   /* what by_depth points into */
	struct by_depth by;
	uint64_t nr_filled; /* zero fills of every host, whatever its size */
	uint64_t next_given, next_sample, steps;
};

enum { PAGE_FREE = 1, PAGE_STORED = 2 };

static size_t counts_of(const struct pass *p)
{
	return p->nr_pages + (size_t)2;
}

/* ---- what happens to a page ---- */

static void page_stored(struct pass *p, uint32_t page)
{
	const uint32_t depth = order_has(&p->order, page) ? order_depth(&p->order, page) : 0;

	if (p->config->rule == PGSTE_CURVE_LAZY) {
		lazy_page_stored(&p->lazy, page, !(p->state[page] & PAGE_STORED));
	} else if (!depth) {
		p->nr_filled++;
	} else if (p->config->rule == PGSTE_CURVE_UNUSED && (p->state[page] & PAGE_FREE)) {
		/* smaller hosts swapped and zapped it before, larger ones dropped it since */
		p->by.zero_fills[depth]++;
		p->by.discards[depth]++;
		p->by.discards[p->depth[page]]--;
	} else {
		p->by.swap_outs[depth]++;
		p->by.swap_ins[depth]++;
	}
	order_touch(&p->order, page);
	p->state[page] = PAGE_STORED;
}

static void page_freed(struct pass *p, uint32_t page)
{
	uint32_t depth;

	p->state[page] |= PAGE_FREE;
	if (p->config->rule == PGSTE_CURVE_KEEP || !order_has(&p->order, page))
		return;
	depth = order_depth(&p->order, page);
	p->by.swap_outs[depth]++;
	if (p->config->rule == PGSTE_CURVE_UNUSED) {
		const uint32_t stamp = p->order.stamp[page];

		p->depth[page] = depth;
		p->order.freed[stamp / 64] |= UINT64_C(1) << stamp % 64;
		return;
	}
	if (p->config->rule == PGSTE_CURVE_LAZY)
		lazy_page_freed(&p->lazy, page, depth);
	order_give(&p->order, page);
}

/* KEEP: the guest gives a page back that it freed before. */
static void page_given(struct pass *p, uint32_t page)
{
	if (!(p->state[page] & PAGE_FREE) || !order_has(&p->order, page))
		return;
	p->by.swap_outs[order_depth(&p->order, page)]++;
	order_give(&p->order, page);
}

/* Number of a guest's page; guests' pages of one pfn lie side by side. */
static uint32_t page_of(const struct pass *p, uint64_t pfn, uint32_t guest)
{
	return (p->pages.number[pfn] - 1) * p->config->nr_guests + guest;
}

/* ---- the trace ---- */

static int set_up(struct pass *p)
{
	for (uint32_t guest = 0; guest < p->config->nr_guests; guest++)
		for (uint32_t i = 0; i < p->pages.nr_live; i++) {
			if (watch_stops_at(i))
				return PGSTE_E_CANCELLED;
			page_stored(p, page_of(p, p->pages.live[i], guest));
		}
	/* what was written to swap so far is not counted */
	memset(p->counts, 0, counts_of(p) * 4 * sizeof(*p->counts));
	for (uint32_t stamp = 0; stamp < p->order.next; stamp++)
		p->by.swap_outs[order_depth(&p->order, p->order.page[stamp])]--;
	p->nr_filled = 0;
	if (p->config->rule == PGSTE_CURVE_LAZY)
		lazy_reset(&p->lazy);
	return PGSTE_OK;
}

static void give(struct pass *p, uint64_t at)
{
	const struct pgste_curve_config *config = p->config;

	for (; p->next_given < config->nr_given &&
	       READ_ONCE(config->given_at[p->next_given]) <= at; p->next_given++) {
		const uint64_t pfn = READ_ONCE(config->given[p->next_given]) - p->pages.lowest;

		if (pfn >= p->pages.span || !p->pages.number[pfn])
			continue;
		for (uint32_t guest = 0; guest < config->nr_guests; guest++)
			page_given(p, page_of(p, pfn, guest));
	}
}

/* One guest frees the pages of a block that are in use, or stores to each of them. */
static int block(struct pass *p, uint32_t guest, uint64_t first, uint64_t nr, bool store)
{
	for (uint64_t pfn = first; pfn < first + nr; pfn++) {
		uint32_t page;

		if (watch_stops_at(p->steps++))
			return PGSTE_E_CANCELLED;
		if (!p->pages.number[pfn])
			continue;
		page = page_of(p, pfn, guest);
		if (store)
			page_stored(p, page);
		else if (!(p->state[page] & PAGE_FREE))
			page_freed(p, page);
	}
	return PGSTE_OK;
}

static int event(struct pass *p, uint64_t word)
{
	uint64_t first, nr;
	bool is_free;
	int error = PGSTE_OK;

	if (!pages_block(&p->pages, word, &first, &nr, &is_free))
		return PGSTE_E_CHANGED;
	for (uint32_t guest = 0; guest < p->config->nr_guests && !error; guest++) {
		error = block(p, guest, first, nr, false);
		if (!error && !is_free)
			error = block(p, guest, first, nr, true);
	}
	return error;
}

/* ---- memory in use ---- */

/* Add what each size has in memory and on swap now. */
static void look(struct pass *p)
{
	const struct pgste_curve_config *config = p->config;
	const struct order *o = &p->order;
	uint64_t depth = 0, frames = 0, slotted = 0, size = 0;

	for (uint32_t word = o->nr_words; word-- && size < config->nr_sizes;) {
		const uint64_t present = o->present[word], pages = present & ~o->holes[0][word];
		const uint64_t slots = pages & ~o->freed[word];
		const uint64_t nr = (uint64_t)__builtin_popcountll(present);
		uint64_t rest = present;

		for (uint64_t at = depth; size < config->nr_sizes &&
		     config->sizes[size] <= depth + nr; size++) {
			uint64_t above;

			for (; at < config->sizes[size]; at++)
				rest &= ~(UINT64_C(1) << (63 - __builtin_clzll(rest)));
			above = present & ~rest;
			p->points[size].frames += frames +
				(uint64_t)__builtin_popcountll(pages & above);
			p->points[size].slots -= slotted +
				(uint64_t)__builtin_popcountll(slots & above);
		}
		depth += nr;
		frames += (uint64_t)__builtin_popcountll(pages);
		slotted += (uint64_t)__builtin_popcountll(slots);
	}
	for (uint64_t i = size; i < config->nr_sizes; i++) {
		p->points[i].frames += frames;
		p->points[i].slots -= slotted;
	}
	if (size == config->nr_sizes) { /* the rest, which only slots hold */
		slotted = 0;
		for (uint32_t word = 0; word < o->nr_words; word++)
			slotted += (uint64_t)__builtin_popcountll(
				o->present[word] & ~o->holes[0][word] & ~o->freed[word]);
	}
	for (uint64_t i = 0; i < config->nr_sizes; i++)
		p->points[i].slots += slotted;
}

/* Frames that hosts with lazy pages never give back. */
static void look_lazy(struct pass *p)
{
	const struct pgste_curve_config *config = p->config;

	look(p);
	for (uint64_t i = 0; i < config->nr_sizes; i++)
		p->points[i].frames += p->lazy.kept[i];
}

static void look_if_due(struct pass *p, uint64_t done)
{
	const struct pgste_curve_config *config = p->config;

	for (; p->next_sample < config->nr_samples &&
	       config->samples[p->next_sample] <= done; p->next_sample++)
		(config->rule == PGSTE_CURVE_LAZY ? look_lazy : look)(p);
}

/* ---- the result ---- */

/* Pages that left memory since they were touched, and are never stored to again. */
static void count_rest(struct pass *p)
{
	const struct order *o = &p->order;

	for (uint32_t stamp = 0; stamp < o->next; stamp++) {
		uint32_t depth, page = o->page[stamp];

		if (!(o->present[stamp / 64] >> stamp % 64 & 1) || order_is_hole(o, stamp))
			continue;
		depth = order_depth(o, page);
		if (order_is_freed(o, stamp)) {
			p->by.discards[depth]++;
			p->by.discards[p->depth[page]]--;
		} else {
			p->by.swap_outs[depth]++;
		}
	}
}

/* The sum of what is above each size. */
static uint64_t above(const int64_t *counts, uint64_t from, uint64_t to, uint64_t sum)
{
	while (to > from)
		sum += (uint64_t)counts[--to];
	return sum;
}

static void add_up(struct pass *p)
{
	const struct pgste_curve_config *config = p->config;
	const bool lazy = config->rule == PGSTE_CURVE_LAZY;
	struct pgste_curve_point sum = { .zero_fills = lazy ? 0 : p->nr_filled };
	uint64_t to = p->nr_pages + UINT64_C(1);

	for (uint64_t i = config->nr_sizes; i--;) {
		const uint64_t from = min_u64(config->sizes[i] + 1, to);
		struct pgste_curve_point *point = &p->points[i];

		sum.swap_outs = above(p->by.swap_outs, from, to, sum.swap_outs);
		sum.swap_ins = above(p->by.swap_ins, from, to, sum.swap_ins);
		sum.zero_fills = above(p->by.zero_fills, from, to, sum.zero_fills);
		sum.discards = above(p->by.discards, from, to, sum.discards);
		if (lazy)
			sum.zero_fills += p->lazy.filled[i + 1];
		point->swap_outs = sum.swap_outs;
		point->swap_ins = sum.swap_ins;
		point->zero_fills = sum.zero_fills;
		point->discards = lazy ? p->lazy.dropped[i] : sum.discards;
		to = from;
	}
}

static int run(struct pass *p)
{
	const struct pgste_curve_config *config = p->config;
	int error = set_up(p);

	for (uint64_t i = 0; i < config->nr_events && !error; i++) {
		look_if_due(p, i);
		give(p, i);
		error = event(p, READ_ONCE(config->events[i]));
	}
	if (error)
		return error;
	look_if_due(p, config->nr_events);
	count_rest(p);
	add_up(p);
	return PGSTE_OK;
}

/* ---- a pass ---- */

static bool config_valid(const struct pgste_curve_config *config)
{
	if (config->nr_guests == 0 || config->nr_guests > PGSTE_MAX_GUESTS ||
	    config->rule > PGSTE_CURVE_LAZY || config->share > UINT64_C(1) << 32 ||
	    (config->nr_given && config->rule != PGSTE_CURVE_KEEP))
		return false;
	for (uint64_t i = 0; i < config->nr_sizes; i++)
		if (config->sizes[i] == 0 || (i && config->sizes[i] < config->sizes[i - 1]))
			return false;
	return true;
}

static int pass_new(struct pass *p)
{
	const struct pgste_curve_config *config = p->config;
	const bool lazy = config->rule == PGSTE_CURVE_LAZY;
	int error = pages_new(&p->pages, config);

	if (error)
		return error;
	p->nr_pages = p->pages.nr * config->nr_guests;
	p->state = table_new(p->nr_pages + UINT64_C(1));
	p->depth = table_new((p->nr_pages + UINT64_C(1)) * sizeof(*p->depth));
	p->counts = table_new(counts_of(p) * 4 * sizeof(*p->counts));
	if (!p->state || !p->depth || !p->counts)
		return PGSTE_E_NOMEM;
	p->by = (struct by_depth){
		.swap_outs = p->counts,
		.swap_ins = p->counts + counts_of(p),
		.zero_fills = p->counts + counts_of(p) * 2,
		.discards = p->counts + counts_of(p) * 3,
	};
	memset(p->state, PAGE_FREE, p->nr_pages);
	error = order_new(&p->order, p->nr_pages);
	if (!error && lazy)
		error = lazy_new(&p->lazy, config->sizes, config->nr_sizes, p->nr_pages,
				 p->pages.nr_frees * config->nr_guests);
	return error;
}

static void pass_free(struct pass *p)
{
	if (p->config->rule == PGSTE_CURVE_LAZY)
		lazy_free(&p->lazy, p->nr_pages);
	order_free(&p->order, p->nr_pages);
	table_free(p->counts, counts_of(p) * 4 * sizeof(*p->counts));
	table_free(p->depth, (p->nr_pages + UINT64_C(1)) * sizeof(*p->depth));
	table_free(p->state, p->nr_pages + UINT64_C(1));
	pages_free(&p->pages);
}

int pgste_curve(const struct pgste_curve_config *config, struct pgste_curve_point *points)
{
	struct pass pass = { .config = config, .points = points };
	int error;

	if (!config_valid(config))
		return PGSTE_E_ARG;
	memset(points, 0, config->nr_sizes * sizeof(*points));
	error = pass_new(&pass);
	if (!error)
		error = run(&pass);
	pass_free(&pass);
	return error;
}

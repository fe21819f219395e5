/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/event.h"
#include "curve/curve.h"

#define MOST_PAGES (UINT64_C(1) << 30) /* of all guests: stamps have 32 bits */

bool pages_block(const struct pages *p, uint64_t event, uint64_t *first, uint64_t *nr,
		 bool *is_free)
{
	struct block block;

	if (!event_block(event, p->lowest, p->span, &block))
		return false;
	*first = block.first;
	*nr = block.nr;
	*is_free = block.is_free;
	return true;
}

static int find_span(struct pages *p, const struct pgste_curve_config *config)
{
	struct block block;
	uint64_t end = 0;

	p->lowest = EVENT_PFNS;
	for (uint64_t i = 0; i < config->nr_events; i++) {
		if (!event_block(READ_ONCE(config->events[i]), 0, EVENT_PFNS, &block))
			return PGSTE_E_ARG;
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		p->lowest = min_u64(p->lowest, block.first);
		if (block.first + block.nr > end)
			end = block.first + block.nr;
	}
	p->span = end > p->lowest ? end - p->lowest : 0;
	return PGSTE_OK;
}

static int number_pages(struct pages *p, const struct pgste_curve_config *config)
{
	const uint64_t most = MOST_PAGES / config->nr_guests;
	uint64_t first, nr, steps = 0;
	bool is_free;

	for (uint64_t i = 0; i < config->nr_events; i++) {
		if (!pages_block(p, READ_ONCE(config->events[i]), &first, &nr, &is_free))
			return PGSTE_E_CHANGED;
		for (uint64_t pfn = first; pfn < first + nr; pfn++) {
			if (watch_stops_at(steps++))
				return PGSTE_E_CANCELLED;
			if (!pfn_in_share(pfn + p->lowest, config->share))
				continue;
			p->nr_frees++; /* an alloc may imply one */
			if (p->number[pfn])
				continue;
			if (p->nr == most)
				return PGSTE_E_NOMEM;
			p->number[pfn] = ++p->nr;
		}
	}
	return PGSTE_OK;
}

static int ascending(const void *one, const void *other)
{
	const uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

/* A page appears with the event at which its number is the next. */
static int find_live(struct pages *p, const struct pgste_curve_config *config)
{
	uint64_t first, nr, steps = 0;
	uint32_t seen = 0;
	bool is_free;

	for (uint64_t i = 0; i < config->nr_events && seen < p->nr; i++) {
		if (!pages_block(p, READ_ONCE(config->events[i]), &first, &nr, &is_free))
			return PGSTE_E_CHANGED;
		for (uint64_t pfn = first; pfn < first + nr; pfn++) {
			if (watch_stops_at(steps++))
				return PGSTE_E_CANCELLED;
			if (p->number[pfn] != seen + 1)
				continue;
			seen++;
			if (is_free)
				p->live[p->nr_live++] = pfn;
			if (seen == p->nr)
				break;
		}
	}
	if (p->nr_live)
		qsort(p->live, p->nr_live, sizeof(*p->live), ascending);
	return PGSTE_OK;
}

int pages_new(struct pages *p, const struct pgste_curve_config *config)
{
	int error = find_span(p, config);

	if (error)
		return error;
	p->number = table_new((p->span + 1) * sizeof(*p->number));
	error = p->number ? number_pages(p, config) : PGSTE_E_NOMEM;
	if (error)
		return error;
	p->live = table_new((p->nr + UINT64_C(1)) * sizeof(*p->live));
	return p->live ? find_live(p, config) : PGSTE_E_NOMEM;
}

void pages_free(struct pages *p)
{
	table_free(p->number, (p->span + 1) * sizeof(*p->number));
	table_free(p->live, (p->nr + UINT64_C(1)) * sizeof(*p->live));
}

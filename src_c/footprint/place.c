/* SPDX-License-Identifier: MIT */
/* A trace's frees and allocs in the pages that another allocator hands out. */
#include "base/event.h"
#include "footprint/place.h"

struct placer {
	const struct pgste_place_config *config;
	struct places places;
	uint32_t *at; /* of each page of the trace: its place, plus 1; 0: it is free */
	uint64_t *events, *which;
	uint64_t nr, max;
	uint64_t steps;
};

static bool placer_event(const struct pgste_place_config *config, uint64_t i, struct block *block)
{
	return event_block(READ_ONCE(config->events[i]), config->base_pfn, config->nr_pages, block);
}

/* Pages that are in use before the trace, in order. */
static int placer_starts(struct placer *p)
{
	const struct pgste_place_config *config = p->config;
	uint64_t *seen = table_new(bitmap_bytes(config->nr_pages));
	uint64_t *used = table_new(bitmap_bytes(config->nr_pages));
	int error = seen && used ? PGSTE_OK : PGSTE_E_NOMEM;

	for (uint64_t i = 0; i < config->nr_events && !error; i++) {
		struct block block;

		if (!placer_event(config, i, &block)) {
			error = PGSTE_E_ARG;
			break;
		}
		for (uint64_t page = block.first; page < block.first + block.nr; page++) {
			const uint64_t bit = UINT64_C(1) << page % 64;

			if (!(seen[page / 64] & bit) && block.is_free)
				used[page / 64] |= bit;
			seen[page / 64] |= bit;
			if (watch_stops_at(p->steps++))
				error = PGSTE_E_CANCELLED;
		}
	}
	for (uint64_t word = 0; !error && word < (config->nr_pages + 63) / 64; word++)
		for (uint64_t bits = used[word]; bits; bits &= bits - 1) {
			const uint64_t place = places_take(&p->places, 0);

			if (place == NO_PLACE) {
				error = PGSTE_E_NO_FRAME;
				break;
			}
			p->at[word * 64 + (uint64_t)__builtin_ctzll(bits)] = (uint32_t)place + 1;
		}
	table_free(seen, bitmap_bytes(config->nr_pages));
	table_free(used, bitmap_bytes(config->nr_pages));
	return error;
}

static bool placer_writes(struct placer *p, uint64_t kind, unsigned order, uint64_t place,
			  uint64_t from)
{
	if (p->nr == p->max)
		return false;
	p->events[p->nr] = PGSTE_EVENT(kind, order, place);
	p->which[p->nr++] = from;
	return true;
}

/* Does the block lie in one piece that the buddy could have as a block? */
static bool in_one_piece(const struct placer *p, const struct block *block)
{
	const uint64_t first = p->at[block->first];

	if (!first || (first - 1) & (block->nr - 1))
		return false;
	for (uint64_t i = 1; i < block->nr; i++)
		if (p->at[block->first + i] != first + i)
			return false;
	return true;
}

/* Pages of the block that are in use are free. */
static bool placer_frees(struct placer *p, const struct block *block, uint64_t from)
{
	const bool whole = block->is_free && block->order <= PLACE_MAX_ORDER &&
			   in_one_piece(p, block);
	const unsigned order = whole ? block->order : 0;

	for (uint64_t i = 0; i < block->nr; i += UINT64_C(1) << order) {
		uint32_t *at = &p->at[block->first + i];

		if (!*at)
			continue;
		places_give(&p->places, *at - UINT64_C(1), order);
		if (!placer_writes(p, PGSTE_EVENT_FREE, order, *at - UINT64_C(1), from))
			return false;
		for (uint64_t k = 0; k < UINT64_C(1) << order; k++)
			at[k] = 0;
	}
	return true;
}

static int placer_runs(struct placer *p)
{
	const struct pgste_place_config *config = p->config;

	for (uint64_t i = 0; i < config->nr_events; i++) {
		struct block block;
		uint64_t place;

		if (!placer_event(config, i, &block))
			return PGSTE_E_CHANGED;
		if (watch_stops_at(p->steps++))
			return PGSTE_E_CANCELLED;
		if (!placer_frees(p, &block, i))
			return PGSTE_E_ARG;
		if (block.is_free)
			continue;
		place = places_take(&p->places, block.order);
		if (place == NO_PLACE)
			return PGSTE_E_NO_FRAME;
		for (uint64_t k = 0; k < block.nr; k++)
			p->at[block.first + k] = (uint32_t)(place + k) + 1;
		if (!placer_writes(p, PGSTE_EVENT_ALLOC, block.order, place, i))
			return PGSTE_E_ARG;
	}
	return PGSTE_OK;
}

int64_t pgste_place(const struct pgste_place_config *config, uint64_t *events, uint64_t *which,
		    uint64_t max)
{
	struct placer p = { .config = config, .events = events, .which = which, .max = max };
	const uint64_t nr = config->nr_places;
	int error;

	if (nr < UINT64_C(1) << PLACE_MAX_ORDER || nr > UINT64_C(1) << 31 || nr & (nr - 1) ||
	    config->placement > PGSTE_PLACE_BUDDY || config->nr_pages > PGSTE_MAX_PAGES ||
	    config->base_pfn > (UINT64_C(1) << 56) - config->nr_pages)
		return PGSTE_E_ARG;
	error = places_new(&p.places, config->placement, nr);
	p.at = table_new(config->nr_pages * sizeof(*p.at));
	if (!error)
		error = p.at ? placer_starts(&p) : PGSTE_E_NOMEM;
	if (!error)
		error = placer_runs(&p);
	table_free(p.at, config->nr_pages * sizeof(*p.at));
	places_free(&p.places);
	return error ? error : (int64_t)p.nr;
}

/* SPDX-License-Identifier: MIT */
/* The trace: its events in time, what is due between them, and what is held meanwhile. */
#include <string.h>

#include "base/event.h"
#include "footprint/footprint.h"

static const struct fp_rule fp_keep = { 0 };
static const struct fp_rule *const fp_rules[] = {
	[PGSTE_FOOTPRINT_KEEP] = &fp_keep,	    [PGSTE_FOOTPRINT_BLOCKS] = &fp_blocks,
	[PGSTE_FOOTPRINT_REPORTING] = &fp_reporting, [PGSTE_FOOTPRINT_BALLOON] = &fp_balloon,
	[PGSTE_FOOTPRINT_AGE] = &fp_age,
};

static bool fp_event(const struct pgste_footprint_config *config, uint64_t i, struct block *block)
{
	return event_block(READ_ONCE(config->events[i]), config->base_pfn, config->nr_pages, block);
}

/* ---- before the trace ---- */

static int fp_first_events(struct footprint *f)
{
	const struct pgste_footprint_config *config = f->config;
	uint64_t before = 0;

	for (uint64_t i = 0; i < config->nr_events; i++) {
		const uint64_t time = READ_ONCE(config->times_ns[i]);
		struct block block;

		if (!fp_event(config, i, &block) || time < before)
			return PGSTE_E_ARG;
		before = time;
		for (uint64_t page = block.first; page < block.first + block.nr; page++) {
			if (fp_stops(f, 1))
				return PGSTE_E_CANCELLED;
			if (f->pages[page] & FP_SEEN)
				continue;
			f->pages[page] = FP_SEEN | FP_COUNTED | (block.is_free ? 0 : FP_FREE);
			f->used += block.is_free;
		}
	}
	return PGSTE_OK;
}

static int fp_set_up(struct footprint *f)
{
	const struct pgste_footprint_config *config = f->config;
	int error = fp_first_events(f);

	if (!error)
		error = backing_new(&f->backing, f->pages, config->nr_pages, config->host_order);
	for (uint64_t page = 0; page < config->nr_pages && !error; page++) {
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		if (config->unnamed_free && !(f->pages[page] & FP_SEEN))
			f->pages[page] = FP_COUNTED | FP_FREE;
		if (f->pages[page] & FP_COUNTED)
			backing_counts(&f->backing, page);
	}
	for (uint64_t page = 0; page < config->nr_pages && !error; page++) {
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		if ((f->pages[page] & (FP_SEEN | FP_FREE)) == FP_SEEN)
			backing_touch(&f->backing, page);
	}
	if (!error && f->rule->start)
		error = f->rule->start(f);
	memset(f->result, 0, sizeof(*f->result)); /* what was done so far is not counted */
	return error;
}

/* ---- time ---- */

static void fp_look(struct footprint *f)
{
	if (f->backing.held > f->result->peak)
		f->result->peak = f->backing.held;
}

static void fp_sample_until(struct footprint *f, uint64_t time)
{
	const struct pgste_footprint_config *config = f->config;

	for (; f->next_sample < config->nr_samples &&
	       READ_ONCE(config->samples_ns[f->next_sample]) < time; f->next_sample++) {
		f->held[f->next_sample] = f->backing.held;
		f->used_at[f->next_sample] = f->used;
	}
}

static void fp_pass(struct footprint *f, uint64_t time)
{
	const uint64_t ns = time - f->now;

	fp_sample_until(f, time);
	f->held_ns += (page_ns)f->backing.held * ns;
	f->used_ns += (page_ns)f->used * ns;
	f->now = time;
}

static int fp_pass_to(struct footprint *f, uint64_t time)
{
	while (f->rule->due) {
		const uint64_t due = f->rule->due(f);

		if (due == NOT_DUE || due > time)
			break;
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		fp_pass(f, due > f->now ? due : f->now);
		f->rule->tick(f);
		fp_look(f);
	}
	fp_pass(f, time);
	return PGSTE_OK;
}

/* ---- events ---- */

static void fp_free(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	for (uint64_t page = first; page < first + nr; page++)
		f->pages[page] |= FP_FREE;
	f->used -= nr;
	if (f->rule->freed)
		f->rule->freed(f, first, nr, order);
}

/* Pages of a block that are in use: the block, or else runs of them as single pages. */
static void fp_free_used(struct footprint *f, const struct block *block, bool one_by_one)
{
	const uint64_t end = block->first + block->nr;
	uint64_t page = block->first;

	while (page < end) {
		uint64_t first;

		while (page < end && fp_is_free(f, page))
			page++;
		first = page;
		while (page < end && !fp_is_free(f, page) && !(one_by_one && page > first))
			page++;
		if (page == first)
			continue;
		fp_free(f, first, page - first,
			page - first == block->nr && !one_by_one ? block->order : 0);
	}
}

static void fp_alloc(struct footprint *f, const struct block *block)
{
	const uint64_t end = block->first + block->nr;

	fp_free_used(f, block, true);
	for (uint64_t page = block->first; page < end; page++)
		f->pages[page] &= (uint8_t)~FP_FREE;
	f->used += block->nr;
	if (f->rule->allocated)
		f->rule->allocated(f, block->first, block->nr, block->order);
	for (uint64_t page = block->first; page < end; page++)
		if (f->rule->touch)
			f->rule->touch(f, page);
		else
			backing_touch(&f->backing, page);
}

/* An event that was there when the guest was set up named all of its pages. */
static bool fp_knows(const struct footprint *f, const struct block *block)
{
	for (uint64_t page = block->first; page < block->first + block->nr; page++)
		if (!(f->pages[page] & FP_SEEN))
			return false;
	return true;
}

static int fp_run(struct footprint *f)
{
	const struct pgste_footprint_config *config = f->config;
	const uint64_t start = config->nr_events ? READ_ONCE(config->times_ns[0]) : 0;

	fp_look(f);
	for (uint64_t i = 0; i < config->nr_events; i++) {
		const uint64_t time = READ_ONCE(config->times_ns[i]) - start;
		struct block block;

		if (!fp_event(config, i, &block) || time < f->now ||
		    !fp_knows(f, &block))
			return PGSTE_E_CHANGED;
		if (fp_stops(f, block.nr) || fp_pass_to(f, time))
			return PGSTE_E_CANCELLED;
		if (block.is_free)
			fp_free_used(f, &block, false);
		else
			fp_alloc(f, &block);
		fp_look(f);
	}
	fp_sample_until(f, UINT64_MAX);
	f->result->held_seconds = (double)f->held_ns / 1e9;
	f->result->used_seconds = (double)f->used_ns / 1e9;
	return PGSTE_OK;
}

/* ---- a footprint ---- */

static bool fp_config_valid(const struct pgste_footprint_config *c)
{
	if (c->rule > PGSTE_FOOTPRINT_AGE || c->host_order > FOOTPRINT_MAX_ORDER ||
	    c->block_order > FOOTPRINT_MAX_ORDER || c->period_ns > PGSTE_MAX_NS ||
	    c->nr_pages < 1 || c->nr_pages > UINT32_MAX - 1 ||
	    c->base_pfn > (UINT64_C(1) << 56) - c->nr_pages ||
	    c->nr_pages & ((UINT64_C(1) << c->host_order) - 1))
		return false;
	for (uint64_t i = 1; i < c->nr_samples; i++)
		if (c->samples_ns[i] < c->samples_ns[i - 1])
			return false;
	switch (c->rule) {
	case PGSTE_FOOTPRINT_BLOCKS:
		return !(c->nr_pages & ((UINT64_C(1) << c->block_order) - 1));
	case PGSTE_FOOTPRINT_BALLOON: return c->period_ns;
	case PGSTE_FOOTPRINT_AGE: return c->period_ns && !c->host_order;
	default: return true;
	}
}

int pgste_footprint(const struct pgste_footprint_config *config,
		    struct pgste_footprint_result *result, uint64_t *held, uint64_t *used)
{
	struct footprint f = { .config = config, .result = result, .held = held, .used_at = used };
	int error = PGSTE_E_NOMEM;

	if (!fp_config_valid(config))
		return PGSTE_E_ARG;
	memset(result, 0, sizeof(*result));
	f.rule = fp_rules[config->rule];
	f.backing.result = result;
	f.pages = table_new(config->nr_pages);
	if (f.pages)
		error = fp_set_up(&f);
	if (!error)
		error = fp_run(&f);
	if (f.rule->end)
		f.rule->end(&f);
	backing_free(&f.backing);
	table_free(f.pages, config->nr_pages);
	return error;
}

const char *pgste_footprint_count_name(unsigned i)
{
#define FP_NAME(field) #field,
	static const char *const names[] = { PGSTE_FOOTPRINT_COUNTS(FP_NAME) };
#undef FP_NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}

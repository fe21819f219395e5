/* SPDX-License-Identifier: MIT */
/*
 * Proactive reclaim (as DAMON_RECLAIM, mm/damon/reclaim.c): the host pages out what was not touched
 * for a time.  It does not know which pages are free.
 */
#include <stdlib.h>

#include "footprint/footprint.h"

struct ages {
	uint64_t *last;		/* when each page was touched */
	uint32_t *older, *newer; /* pages in memory by age; NIL */
	uint32_t oldest, newest;
	uint64_t nr_pages;
};

static void age_append(struct ages *a, uint32_t page, uint64_t now)
{
	a->last[page] = now;
	a->older[page] = a->newest;
	a->newer[page] = NIL;
	if (a->newest != NIL)
		a->newer[a->newest] = page;
	else
		a->oldest = page;
	a->newest = page;
}

static void age_remove(struct ages *a, uint32_t page)
{
	const uint32_t older = a->older[page], newer = a->newer[page];

	if (older != NIL)
		a->newer[older] = newer;
	else
		a->oldest = newer;
	if (newer != NIL)
		a->older[newer] = older;
	else
		a->newest = older;
}

static void age_touch(struct footprint *f, uint64_t page)
{
	struct ages *a = f->data;

	if (f->pages[page] & FP_MAPPED)
		age_remove(a, (uint32_t)page);
	backing_touch(&f->backing, page);
	age_append(a, (uint32_t)page, f->now);
	f->result->swap_ins += (f->pages[page] & FP_OUT) != 0;
	f->pages[page] &= (uint8_t)~FP_OUT;
}

static uint64_t age_due(const struct footprint *f)
{
	const struct ages *a = f->data;

	return a->oldest == NIL ? NOT_DUE : a->last[a->oldest] + f->config->period_ns;
}

static void age_tick(struct footprint *f)
{
	struct ages *a = f->data;

	while (age_due(f) <= f->now) {
		const uint32_t page = a->oldest;

		f->steps++;
		age_remove(a, page);
		backing_take(&f->backing, page);
		f->pages[page] |= FP_OUT;
		f->result->swap_outs++;
		f->result->swap_outs_used += !fp_is_free(f, page);
	}
}

static int age_start(struct footprint *f)
{
	const uint64_t nr = f->config->nr_pages;
	struct ages *a = f->data = calloc(1, sizeof(*a));

	if (!a)
		return PGSTE_E_NOMEM;
	a->nr_pages = nr;
	a->oldest = a->newest = NIL;
	a->last = table_new(nr * sizeof(*a->last));
	a->older = table_new(nr * sizeof(*a->older));
	a->newer = table_new(nr * sizeof(*a->newer));
	if (!a->last || !a->older || !a->newer)
		return PGSTE_E_NOMEM;
	for (uint32_t page = 0; page < nr; page++) {
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		if (f->pages[page] & FP_MAPPED)
			age_append(a, page, 0);
	}
	return PGSTE_OK;
}

static void age_end(struct footprint *f)
{
	struct ages *a = f->data;

	if (!a)
		return;
	table_free(a->last, a->nr_pages * sizeof(*a->last));
	table_free(a->older, a->nr_pages * sizeof(*a->older));
	table_free(a->newer, a->nr_pages * sizeof(*a->newer));
	free(a);
}

const struct fp_rule fp_age = {
	.start = age_start,
	.end = age_end,
	.touch = age_touch,
	.due = age_due,
	.tick = age_tick,
};

/* SPDX-License-Identifier: MIT */
/* Questions about the whole table, answered from the state bytes alone. */
#include <string.h>

#include "guest/guest.h"

/* ---- counts ---- */

struct counting {
	const struct pgste_guest *guest;
	struct pgste_state_counts counts[MAX_THREADS];
	uint64_t zappable[MAX_THREADS];
};

static void count_part(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct counting *c = data;

	scan_ops()->count_states(c->guest->mm.state + from, to - from, &c->counts[part]);
}

void pgste_count_states(const struct pgste_guest *guest, unsigned threads,
			struct pgste_state_counts *counts)
{
	struct counting c = { .guest = guest };

	threads = threads_useful(threads, guest->mm.nr_pages);
	threads_run(threads, guest->mm.nr_pages, count_part, &c);
	*counts = c.counts[0];
	for (unsigned i = 1; i < threads; i++) {
		const struct pgste_state_counts *more = &c.counts[i];

		for (unsigned usage = 0; usage < 4; usage++)
			for (unsigned content = 0; content < 3; content++)
				counts->pages[usage][content] += more->pages[usage][content];
		counts->nodat += more->nodat;
		counts->dirty += more->dirty;
		counts->swap += more->swap;
		counts->zappable += more->zappable;
	}
}

static void count_zappable_part(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct counting *c = data;

	c->zappable[part] = scan_ops()->count_zappable(c->guest->mm.state + from, to - from);
}

uint64_t pgste_count_zappable(const struct pgste_guest *guest, unsigned threads)
{
	struct counting c = { .guest = guest };
	uint64_t zappable = 0;

	threads = threads_useful(threads, guest->mm.nr_pages);
	threads_run(threads, guest->mm.nr_pages, count_zappable_part, &c);
	for (unsigned i = 0; i < threads; i++)
		zappable += c.zappable[i];
	return zappable;
}

/* ---- finding ---- */

/* Each part finds into a table of its own, which costs only as much as is found. */
struct finding {
	const struct pgste_guest *guest;
	uint64_t start, max;
	uint8_t mask, value;
	uint64_t *found[MAX_THREADS], nr[MAX_THREADS], nr_bytes[MAX_THREADS];
};

static void find_part(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct finding *f = data;
	const uint64_t most = min_u64(to - from, f->max);

	f->nr_bytes[part] = most * sizeof(uint64_t);
	f->found[part] = table_new(f->nr_bytes[part]);
	if (!f->found[part])
		return;
	f->nr[part] = scan_ops()->find(f->guest->mm.state, f->start + from, f->start + to, f->mask,
				       f->value, f->found[part], most);
}

static int64_t find_threaded(struct finding *f, unsigned threads, uint64_t *gfns)
{
	int64_t nr = 0;

	threads_run(threads, f->guest->mm.nr_pages - f->start, find_part, f);
	for (unsigned i = 0; i < threads; i++) {
		const uint64_t take = min_u64(f->nr[i], f->max - (uint64_t)(nr < 0 ? 0 : nr));

		if (!f->found[i])
			nr = PGSTE_E_NOMEM;
		if (nr >= 0) {
			memcpy(gfns + nr, f->found[i], take * sizeof(*gfns));
			nr += (int64_t)take;
		}
		table_free(f->found[i], f->nr_bytes[i]);
	}
	return nr;
}

int64_t pgste_find(const struct pgste_guest *guest, unsigned threads, uint64_t start, uint8_t mask,
		   uint8_t value, uint64_t *gfns, uint64_t max)
{
	struct finding f = {
		.guest = guest, .start = start, .max = max, .mask = mask, .value = value,
	};

	if (value & ~mask)
		return PGSTE_E_ARG;
	if (start >= guest->mm.nr_pages)
		return 0;
	threads = threads_useful(threads, guest->mm.nr_pages - start);
	if (threads > 1)
		return find_threaded(&f, threads, gfns);
	return (int64_t)scan_ops()->find(guest->mm.state, start, guest->mm.nr_pages, mask, value,
					 gfns, max);
}

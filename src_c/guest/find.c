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

static void add_counts(struct pgste_state_counts *sum, const struct pgste_state_counts *more)
{
	for (unsigned usage = 0; usage < 4; usage++)
		for (unsigned content = 0; content < 3; content++)
			sum->pages[usage][content] += more->pages[usage][content];
	sum->nodat += more->nodat;
	sum->dirty += more->dirty;
	sum->swap += more->swap;
	sum->zappable += more->zappable;
}

/* Pages outside every memory slot do not count: the next slice of [*from, to) inside, or false. */
static bool next_slice(const struct pgste_guest *guest, uint64_t *from, uint64_t to, uint64_t *end)
{
	if (*from >= to || watch_stops() || !memslots_next(&guest->slots, from, end) ||
	    *from >= to)
		return false;
	*end = min_u64(min_u64(*end, to), *from + WATCH_SLICE);
	return true;
}

static void count_part(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct counting *c = data;

	for (uint64_t end; next_slice(c->guest, &from, to, &end); from = end) {
		struct pgste_state_counts counts;

		scan_ops()->count_states(c->guest->mm.state + from, end - from, &counts);
		add_counts(&c->counts[part], &counts);
	}
}

void pgste_count_states(const struct pgste_guest *guest, unsigned threads,
			struct pgste_state_counts *counts)
{
	struct counting c = { .guest = guest };

	threads = threads_useful(threads, guest->mm.nr_pages);
	threads_run(threads, guest->mm.nr_pages, count_part, &c);
	*counts = c.counts[0];
	for (unsigned i = 1; i < threads; i++)
		add_counts(counts, &c.counts[i]);
}

static void count_zappable_part(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct counting *c = data;

	for (uint64_t end; next_slice(c->guest, &from, to, &end); from = end)
		c->zappable[part] +=
			scan_ops()->count_zappable(c->guest->mm.state + from, end - from);
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

/* At most max pages of [from, to), looked for in slices. */
static uint64_t find_in(const struct pgste_guest *guest, uint64_t from, uint64_t to, uint8_t mask,
			uint8_t value, uint64_t *found, uint64_t max)
{
	uint64_t nr = 0;

	for (uint64_t end; from < to && nr < max && !watch_stops(); from = end) {
		end = min_u64(from + WATCH_SLICE, to);
		nr += scan_ops()->find(guest->mm.state, from, end, mask, value, found + nr,
				       max - nr);
	}
	return nr;
}

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
	f->nr[part] = find_in(f->guest, f->start + from, f->start + to, f->mask, f->value,
			      f->found[part], most);
}

/* Without memory for the tables of its parts a search goes on in one part, which needs none. */
static int64_t find_threaded(struct finding *f, unsigned threads, uint64_t *gfns)
{
	const uint64_t end = f->guest->mm.nr_pages;
	uint64_t nr = 0;
	bool complete = true;

	threads_run(threads, end - f->start, find_part, f);
	for (unsigned i = 0; i < threads; i++) {
		const uint64_t take = min_u64(f->nr[i], f->max - nr);

		complete &= f->found[i] != NULL;
		if (f->found[i])
			memcpy(gfns + nr, f->found[i], take * sizeof(*gfns));
		nr += take;
		table_free(f->found[i], f->nr_bytes[i]);
	}
	if (!complete)
		nr = find_in(f->guest, f->start, end, f->mask, f->value, gfns, f->max);
	return (int64_t)nr;
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
	return (int64_t)find_in(guest, start, guest->mm.nr_pages, mask, value, gfns, max);
}

/* SPDX-License-Identifier: MIT */
/*
 * A balloon of 4 KiB pages (drivers/virtio/virtio_balloon.c) with a policy and deflate-on-OOM.  The
 * guest hands out the page that was freed last, as the kernel's lists do, and so does the balloon
 * get it.  A page that the trace allocates and the balloon has is another one in such a guest: the
 * two change places, so each page of the trace has a place of its own.
 */
#include <stdlib.h>

#include "footprint/footprint.h"

/* VIRTIO_BALLOON_ARRAY_PFNS_MAX, and VIRTIO_BALLOON_OOM_NR_PAGES */
#define BALLOON_MESSAGE 256u

struct balloon {
	uint32_t *place, *name; /* of each page of the trace its place, and back */
	uint32_t *below, *above; /* places that are free, the last one freed on top; NIL */
	uint32_t *inside;	 /* places in the balloon, the last one that came at the end */
	uint64_t *is_inside;	 /* a bit a place */
	uint32_t top;
	uint64_t nr_free, nr_inside;
	uint64_t nr_pages;
	uint64_t next; /* NOT_DUE: nothing has changed since the last tick, so nothing will */
};

static void free_push(struct balloon *b, uint32_t place)
{
	b->below[place] = b->top;
	b->above[place] = NIL;
	if (b->top != NIL)
		b->above[b->top] = place;
	b->top = place;
	b->nr_free++;
}

static void free_remove(struct balloon *b, uint32_t place)
{
	const uint32_t below = b->below[place], above = b->above[place];

	if (below != NIL)
		b->above[below] = above;
	if (above != NIL)
		b->below[above] = below;
	else
		b->top = below;
	b->nr_free--;
}

static void balloon_inflate(struct footprint *f, struct balloon *b, uint64_t nr)
{
	f->result->calls += (nr + BALLOON_MESSAGE - 1) / BALLOON_MESSAGE;
	f->steps += nr;
	while (nr--) {
		const uint32_t place = b->top;

		free_remove(b, place);
		b->is_inside[place / 64] |= UINT64_C(1) << place % 64;
		b->inside[b->nr_inside++] = place;
		backing_discard(&f->backing, place, 1);
	}
}

static void balloon_deflate(struct footprint *f, struct balloon *b, uint64_t nr)
{
	nr = min_u64(nr, b->nr_inside);
	f->result->calls += (nr + BALLOON_MESSAGE - 1) / BALLOON_MESSAGE;
	f->steps += nr;
	while (nr--) {
		const uint32_t place = b->inside[--b->nr_inside];

		b->is_inside[place / 64] &= ~(UINT64_C(1) << place % 64);
		free_push(b, place);
	}
}

static void balloon_changed(const struct footprint *f, struct balloon *b)
{
	const uint64_t period = f->config->period_ns;

	if (b->next == NOT_DUE)
		b->next = (f->now / period + 1) * period;
}

static void balloon_freed(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	struct balloon *b = f->data;

	(void)order;
	for (uint64_t page = first; page < first + nr; page++)
		free_push(b, b->place[page]);
	balloon_changed(f, b);
}

/*
 * A place in the balloon is none that the guest can hand out: the page changes places with the
 * balloon's page of the one on top.
 */
static void balloon_move(struct footprint *f, struct balloon *b, uint64_t page)
{
	const uint32_t wanted = b->place[page], got = b->top, other = b->name[got];

	free_remove(b, got);
	b->place[page] = got;
	b->name[got] = (uint32_t)page;
	b->place[other] = wanted;
	b->name[wanted] = other;
	f->result->moved++;
}

static void balloon_allocated(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	struct balloon *b = f->data;

	(void)order;
	for (uint64_t page = first; page < first + nr; page++) {
		uint32_t place;

		if (b->top == NIL) {
			f->result->waits++;
			balloon_deflate(f, b, BALLOON_MESSAGE);
		}
		place = b->place[page];
		if (b->is_inside[place / 64] >> place % 64 & 1)
			balloon_move(f, b, page);
		else
			free_remove(b, place);
	}
	balloon_changed(f, b);
}

static void balloon_touch(struct footprint *f, uint64_t page)
{
	const struct balloon *b = f->data;

	backing_touch(&f->backing, b->place[page]);
}

static uint64_t balloon_due(const struct footprint *f)
{
	const struct balloon *b = f->data;

	return b->next;
}

static void balloon_tick(struct footprint *f)
{
	const uint64_t reserve = f->config->reserve;
	struct balloon *b = f->data;

	b->next = NOT_DUE;
	if (b->nr_free > reserve)
		balloon_inflate(f, b, b->nr_free - reserve);
	else
		balloon_deflate(f, b, reserve - b->nr_free);
}

static int balloon_start(struct footprint *f)
{
	const uint64_t nr = f->config->nr_pages;
	struct balloon *b = f->data = calloc(1, sizeof(*b));

	if (!b)
		return PGSTE_E_NOMEM;
	b->nr_pages = nr;
	b->top = NIL;
	b->place = table_new(nr * sizeof(*b->place));
	b->name = table_new(nr * sizeof(*b->name));
	b->below = table_new(nr * sizeof(*b->below));
	b->above = table_new(nr * sizeof(*b->above));
	b->inside = table_new(nr * sizeof(*b->inside));
	b->is_inside = table_new(bitmap_bytes(nr));
	if (!b->place || !b->name || !b->below || !b->above || !b->inside || !b->is_inside)
		return PGSTE_E_NOMEM;
	for (uint32_t page = 0; page < nr; page++) {
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		b->place[page] = b->name[page] = page;
		if (fp_is_free(f, page))
			free_push(b, page);
	}
	balloon_tick(f);
	return PGSTE_OK;
}

static void balloon_end(struct footprint *f)
{
	struct balloon *b = f->data;

	if (!b)
		return;
	table_free(b->place, b->nr_pages * sizeof(*b->place));
	table_free(b->name, b->nr_pages * sizeof(*b->name));
	table_free(b->below, b->nr_pages * sizeof(*b->below));
	table_free(b->above, b->nr_pages * sizeof(*b->above));
	table_free(b->inside, b->nr_pages * sizeof(*b->inside));
	table_free(b->is_inside, bitmap_bytes(b->nr_pages));
	free(b);
}

const struct fp_rule fp_balloon = {
	.start = balloon_start,
	.end = balloon_end,
	.freed = balloon_freed,
	.allocated = balloon_allocated,
	.touch = balloon_touch,
	.due = balloon_due,
	.tick = balloon_tick,
};

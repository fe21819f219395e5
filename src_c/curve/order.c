/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "curve/order.h"

static uint64_t words_at(const struct order *o, unsigned level)
{
	uint64_t words = o->nr_words;

	while (level--)
		words = (words + 63) / 64;
	return words;
}

int order_new(struct order *o, uint32_t nr_pages)
{
	/* twice as many stamps as pages: when they are used up, half of them can be had again */
	o->nr_words = (uint32_t)(((uint64_t)nr_pages * 2 + 64) / 64 + 1);
	o->nr_max = o->nr_words * 64;
	o->sums = table_new((o->nr_words + UINT64_C(1)) * sizeof(uint32_t));
	o->page = table_new(o->nr_max * sizeof(uint32_t));
	o->stamp = table_new((nr_pages + UINT64_C(1)) * sizeof(uint32_t));
	o->present = table_new(o->nr_words * sizeof(uint64_t));
	o->freed = table_new(o->nr_words * sizeof(uint64_t));
	do {
		o->holes[o->nr_levels] = table_new(words_at(o, o->nr_levels) * sizeof(uint64_t));
		if (!o->holes[o->nr_levels++])
			return PGSTE_E_NOMEM;
	} while (words_at(o, o->nr_levels - 1) > 1);
	if (!o->sums || !o->page || !o->stamp || !o->present || !o->freed)
		return PGSTE_E_NOMEM;
	memset(o->stamp, 0xff, nr_pages * sizeof(uint32_t));
	return PGSTE_OK;
}

void order_free(struct order *o, uint32_t nr_pages)
{
	for (unsigned level = 0; level < o->nr_levels; level++)
		table_free(o->holes[level], words_at(o, level) * sizeof(uint64_t));
	table_free(o->freed, o->nr_words * sizeof(uint64_t));
	table_free(o->present, o->nr_words * sizeof(uint64_t));
	table_free(o->stamp, (nr_pages + UINT64_C(1)) * sizeof(uint32_t));
	table_free(o->page, o->nr_max * sizeof(uint32_t));
	table_free(o->sums, (o->nr_words + UINT64_C(1)) * sizeof(uint32_t));
}

/* ---- entries ---- */

static void sums_add(struct order *o, uint32_t word, uint32_t n)
{
	for (uint32_t i = word + 1; i <= o->nr_words; i += i & -i)
		o->sums[i] += n;
}

static uint32_t sums_to(const struct order *o, uint32_t word)
{
	uint32_t sum = 0;

	for (uint32_t i = word + 1; i; i &= i - 1)
		sum += o->sums[i];
	return sum;
}

static uint32_t depth_of(const struct order *o, uint32_t stamp)
{
	const uint64_t newer = o->present[stamp / 64] >> stamp % 64;

	return o->nr - sums_to(o, stamp / 64) + (uint32_t)__builtin_popcountll(newer);
}

static void entry_add(struct order *o, uint32_t stamp)
{
	o->present[stamp / 64] |= UINT64_C(1) << stamp % 64;
	sums_add(o, stamp / 64, 1);
	o->nr++;
}

static void entry_del(struct order *o, uint32_t stamp)
{
	const uint64_t bit = UINT64_C(1) << stamp % 64;

	o->present[stamp / 64] &= ~bit;
	o->freed[stamp / 64] &= ~bit;
	sums_add(o, stamp / 64, UINT32_MAX); /* one less */
	o->nr--;
}

/* ---- holes ---- */

static void hole_add(struct order *o, uint32_t stamp)
{
	uint64_t i = stamp;

	for (unsigned level = 0; level < o->nr_levels; level++, i /= 64)
		o->holes[level][i / 64] |= UINT64_C(1) << i % 64;
	o->freed[stamp / 64] &= ~(UINT64_C(1) << stamp % 64);
}

static void hole_del(struct order *o, uint32_t stamp)
{
	uint64_t i = stamp;

	for (unsigned level = 0; level < o->nr_levels; level++, i /= 64) {
		o->holes[level][i / 64] &= ~(UINT64_C(1) << i % 64);
		if (o->holes[level][i / 64])
			return;
	}
}

/* The stamp of the first hole in the order, NIL if there is none. */
static uint32_t hole_first(const struct order *o)
{
	uint64_t i = 0;

	for (unsigned level = o->nr_levels; level--;) {
		const uint64_t word = o->holes[level][i];

		if (!word)
			return NIL;
		i = i * 64 + 63 - (uint64_t)__builtin_clzll(word);
	}
	return (uint32_t)i;
}

/* ---- touch and give ---- */

/* Entries get the lowest stamps, in their order. */
static void renumber(struct order *o)
{
	uint32_t to = 0;

	for (uint32_t from = 0; from < o->nr_max; from++) {
		const uint64_t bit = UINT64_C(1) << to % 64;
		const bool hole = order_is_hole(o, from), freed = order_is_freed(o, from);

		if (!(o->present[from / 64] >> from % 64 & 1))
			continue;
		entry_del(o, from);
		if (hole)
			hole_del(o, from);
		entry_add(o, to);
		if (freed)
			o->freed[to / 64] |= bit;
		o->page[to] = o->page[from];
		if (hole)
			hole_add(o, to);
		else
			o->stamp[o->page[to]] = to;
		to++;
	}
	o->next = to;
}

uint32_t order_depth(const struct order *o, uint32_t page)
{
	return depth_of(o, o->stamp[page]);
}

void order_touch(struct order *o, uint32_t page)
{
	uint32_t old, hole;

	if (o->next == o->nr_max)
		renumber(o);
	old = o->stamp[page];
	hole = hole_first(o);
	if (hole != NIL && (old == NIL || hole > old)) {
		/*
		 * A host that has the hole but not the page fills it; one that has both moves the
		 * page, and has as many holes as before.
		 */
		hole_del(o, hole);
		entry_del(o, hole);
		if (old != NIL)
			hole_add(o, old);
	} else if (old != NIL) {
		entry_del(o, old);
	}
	entry_add(o, o->next);
	o->page[o->next] = page;
	o->stamp[page] = o->next++;
}

void order_give(struct order *o, uint32_t page)
{
	hole_add(o, o->stamp[page]);
	o->stamp[page] = NIL;
}

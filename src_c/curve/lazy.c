/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "curve/lazy.h"

int lazy_new(struct lazy *l, const uint64_t *sizes, uint64_t nr_sizes, uint32_t nr_pages,
	     uint64_t nr_frees)
{
	if (nr_frees >= NIL)
		return PGSTE_E_NOMEM;
	l->sizes = sizes;
	l->nr_sizes = nr_sizes;
	l->nr_max = (uint32_t)nr_frees;
	l->log = table_new((nr_frees + 1) * sizeof(*l->log));
	l->entry = table_new((nr_pages + UINT64_C(1)) * sizeof(uint32_t));
	l->from = table_new((nr_sizes + 1) * sizeof(uint32_t));
	l->kept = table_new((nr_sizes + 1) * sizeof(uint64_t));
	l->filled = table_new((nr_sizes + 1) * sizeof(uint64_t));
	l->dropped = table_new((nr_sizes + 1) * sizeof(uint64_t));
	if (!l->log || !l->entry || !l->from || !l->kept || !l->filled || !l->dropped)
		return PGSTE_E_NOMEM;
	memset(l->entry, 0xff, nr_pages * sizeof(uint32_t));
	return PGSTE_OK;
}

void lazy_free(struct lazy *l, uint32_t nr_pages)
{
	table_free(l->log, (l->nr_max + UINT64_C(1)) * sizeof(*l->log));
	table_free(l->entry, (nr_pages + UINT64_C(1)) * sizeof(uint32_t));
	table_free(l->from, (l->nr_sizes + 1) * sizeof(uint32_t));
	table_free(l->kept, (l->nr_sizes + 1) * sizeof(uint64_t));
	table_free(l->filled, (l->nr_sizes + 1) * sizeof(uint64_t));
	table_free(l->dropped, (l->nr_sizes + 1) * sizeof(uint64_t));
}

void lazy_reset(struct lazy *l)
{
	memset(l->filled, 0, (l->nr_sizes + 1) * sizeof(uint64_t));
	memset(l->dropped, 0, (l->nr_sizes + 1) * sizeof(uint64_t));
}

/* The first size that is at least so large. */
static uint64_t size_from(const struct lazy *l, uint64_t frames)
{
	uint64_t low = 0, high = l->nr_sizes;

	while (low < high) {
		const uint64_t middle = (low + high) / 2;

		if (l->sizes[middle] < frames)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first size that still has the entry: a larger host has dropped no more than a smaller. */
static uint64_t size_with(const struct lazy *l, uint32_t entry)
{
	uint64_t low = size_from(l, l->log[entry].depth), high = l->nr_sizes;

	while (low < high) {
		const uint64_t middle = (low + high) / 2;

		if (l->from[middle] > entry)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void drop_first(struct lazy *l, uint64_t size)
{
	uint32_t i = l->from[size];

	while (i < l->nr_log &&
	       (l->entry[l->log[i].page] != i || l->log[i].depth > l->sizes[size]))
		i++;
	l->from[size] = i + 1;
	l->kept[size]--;
	l->dropped[size]++;
}

void lazy_page_freed(struct lazy *l, uint32_t page, uint32_t depth)
{
	if (l->nr_log == l->nr_max) /* the caller's array has changed since it was counted */
		return;
	l->log[l->nr_log] = (struct lazy_entry){ .page = page, .depth = depth };
	l->entry[page] = l->nr_log++;
	for (uint64_t i = size_from(l, depth); i < l->nr_sizes; i++)
		l->kept[i]++;
}

void lazy_page_stored(struct lazy *l, uint32_t page, bool is_new)
{
	const uint32_t entry = l->entry[page];
	const uint64_t with = entry == NIL ? l->nr_sizes : size_with(l, entry);
	const uint64_t full = size_from(l, l->nr_stored + 1);

	l->entry[page] = NIL;
	l->filled[with]++;
	for (uint64_t i = with; i < l->nr_sizes; i++)
		l->kept[i]--;
	for (uint64_t i = 0; i < min_u64(with, full); i++)
		if (l->kept[i])
			drop_first(l, i);
	l->nr_stored += is_new;
}

/* SPDX-License-Identifier: MIT */
/* The life of an address space: its tables, and its place on the host. */
#include <stdlib.h>

#include "memory/memory.h"

static uint64_t chunks(uint64_t nr_pages)
{
	return (nr_pages + CHUNK - 1) >> CHUNK_SHIFT;
}

uint64_t chunk_next(const struct mm *mm, uint64_t gfn)
{
	const uint64_t nr = chunks(mm->nr_pages);
	uint64_t chunk = gfn >> CHUNK_SHIFT;

	if (gfn >= mm->nr_pages)
		return mm->nr_pages;
	if (mm->touched[chunk >> 6] >> (chunk & 63) & 1)
		return gfn;
	for (chunk++; chunk < nr; chunk = (chunk | 63) + 1) {
		const uint64_t word = mm->touched[chunk >> 6] >> (chunk & 63);

		if (word)
			return (chunk + (uint64_t)__builtin_ctzll(word)) << CHUNK_SHIFT;
	}
	return mm->nr_pages;
}

static uint64_t filter_bytes(const struct mm *mm)
{
	return (mm->nr_pages + HOST_TABLE - 1) / HOST_TABLE * sizeof(*mm->filter);
}

static void free_tables(struct mm *mm)
{
	const uint64_t nr = mm->nr_pages;

	table_free(mm->state, nr + STATE_PADDING);
	table_free(mm->pte, nr * sizeof(*mm->pte));
	table_free(mm->rest, nr * sizeof(*mm->rest));
	table_free(mm->touched, bitmap_bytes(chunks(nr)));
	table_free(mm->two.bits, nr * sizeof(*mm->two.bits));
	table_free(mm->two.held, held_bytes(mm));
	table_free(mm->file, nr * sizeof(*mm->file));
	table_free(mm->filter, filter_bytes(mm));
}

bool mm_init(struct mm *mm, bool memfd)
{
	const uint64_t nr = mm->nr_pages;
	const bool two = mm->generation == PGSTE_GEN_DAT;

	mm->state = table_new(nr + STATE_PADDING);
	mm->pte = table_new(nr * sizeof(*mm->pte));
	mm->rest = table_new(nr * sizeof(*mm->rest));
	mm->touched = table_new(bitmap_bytes(chunks(nr)));
	if (two)
		mm->two.bits = table_new(nr * sizeof(*mm->two.bits));
	if (memfd)
		mm->file = table_new(nr * sizeof(*mm->file));
	if (has_gens(mm->host))
		mm->filter = table_new(filter_bytes(mm));
	mm->number = NIL;
	mm->window = WINDOW_FIRST;
	if (mm->state && mm->pte && mm->rest && mm->touched && (mm->two.bits || !two) &&
	    (mm->file || !memfd) && (mm->filter || !has_gens(mm->host)))
		mm->number = host_join(mm->host, mm);
	if (mm->number == NIL) {
		free_tables(mm);
		return false;
	}
	mm->host->nr_volatile += mm->rules != NULL;
	return true;
}

static void give_back(struct mm *mm)
{
	for (uint64_t gfn = chunk_next(mm, 0); gfn < mm->nr_pages; gfn = chunk_next(mm, gfn + 1))
		pte_drop(mm, gfn);
}

void mm_exit(struct mm *mm)
{
	if (!mm->host->ends)
		give_back(mm);
	mm->host->nr_volatile -= mm->rules != NULL;
	mm->host->nr_mlocked -= mm->mlocked;
	host_leave(mm->host, mm->number);
	if (has_lru(mm->host) && !mm->host->nr_mms && !mm->host->ends)
		frames_put_all(mm->host);
	free(mm->notes.at);
	table_free(mm->open, bitmap_bytes(mm->nr_pages));
	free_tables(mm);
}

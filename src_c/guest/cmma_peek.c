/* SPDX-License-Identifier: MIT */
/*
 * PEEK of the CMMA log: kvm_s390_peek_cmma (pgtable), and dat_peek_cmma with the walk of v7.0
 * (dat), which forgets that it met a hole in a table below when it goes on to the next entry of
 * the table above.  dat_new stops there, which gives what pgtable gives.
 */
#include <string.h>

#include "guest/cmma_peek.h"

uint64_t peek_to_hole(const struct pgste_guest *guest, uint64_t start, uint64_t room,
		      uint8_t *values)
{
	uint64_t from = start, end = start;

	if (!memslots_next(&guest->slots, &from, &end) || from != start)
		return 0;
	room = min_u64(room, end - start);
	values_read(guest->mm.state + start, room, values);
	return room;
}

/* ---- the walk of v7.0 ---- */

#define TABLE_SHIFT 8  /* pages of a page table, of which a segment table entry has one */
#define LEVEL_SHIFT 11 /* entries of a table above */

struct walk {
	const struct pgste_guest *guest;
	uint64_t start, end; /* end: one past the last page that was visited, 0: none */
	uint8_t *values;
};

/* The entries of a page table for [from, to): false at a hole. */
static bool walk_pages(struct walk *w, uint64_t from, uint64_t to)
{
	const uint64_t nr = peek_to_hole(w->guest, from, to - from, w->values + (from - w->start));

	if (nr)
		w->end = from + nr;
	return nr == to - from;
}

/* An entry is a hole if none of its pages is in a slot: no table hangs below it. */
static bool is_hole(const struct pgste_guest *guest, uint64_t gfn, uint64_t nr)
{
	uint64_t from = gfn, end;

	return !memslots_next(&guest->slots, &from, &end) || from - gfn >= nr;
}

/*
 * A table whose entries are for 2^shift pages each; there are at most four kinds.  What the last
 * entry gives is what the table gives, unless an entry is a hole.
 */
static bool walk_table(struct walk *w, unsigned shift, uint64_t from, uint64_t to)
{
	const uint64_t size = UINT64_C(1) << shift;
	bool ok = true;

	for (uint64_t entry = from & ~(size - 1); entry < to; entry += size) {
		const uint64_t first = entry < from ? from : entry;
		const uint64_t last = min_u64(to, entry + size);

		if (is_hole(w->guest, entry, size))
			return false;
		ok = shift == TABLE_SHIFT ? walk_pages(w, first, last) :
					    walk_table(w, shift - LEVEL_SHIFT, first, last);
	}
	return ok;
}

uint64_t peek_dat(const struct pgste_guest *guest, uint64_t start, uint64_t room, uint8_t *values)
{
	struct walk w = { .guest = guest, .start = start, .values = values };
	unsigned shift = TABLE_SHIFT;

	/* gmap_limit_to_type: as many levels as the limit of the machine's memory needs */
	while (guest->mm.nr_pages > UINT64_C(1) << (shift + LEVEL_SHIFT))
		shift += LEVEL_SHIFT;
	if (start >> (shift + LEVEL_SHIFT))
		return 0;
	memset(values, 0, room);
	(void)walk_table(&w, shift, start,
			 min_u64(start + room, UINT64_C(1) << (shift + LEVEL_SHIFT)));
	/* with no page visited the kernel's count wraps, and its copy runs out of its buffer */
	return w.end ? w.end - start : 0;
}

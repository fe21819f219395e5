/* SPDX-License-Identifier: MIT */
/* Questions about the whole table, answered from the state bytes alone. */
#include "internal.h"

void pgste_count_states(const struct pgste_guest *guest, struct pgste_state_counts *counts)
{
	scan_ops()->count_states(guest->state, guest->nr_pages, counts);
}

int64_t pgste_find(const struct pgste_guest *guest, uint64_t start, uint8_t mask, uint8_t value,
		   uint64_t *gfns, uint64_t max)
{
	const struct scan_ops *scan = scan_ops();
	uint64_t nr = 0;

	if (value & ~mask)
		return PGSTE_E_ARG;
	for (uint64_t gfn = start; nr < max; gfn++) {
		gfn = scan->find(guest->state, gfn, guest->nr_pages, mask, value);
		if (gfn >= guest->nr_pages)
			break;
		/* matches come in runs */
		do {
			gfns[nr++] = gfn++;
		} while (nr < max && gfn < guest->nr_pages &&
			 (guest->state[gfn] & mask) == value);
	}
	return (int64_t)nr;
}

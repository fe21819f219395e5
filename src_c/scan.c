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
	if (value & ~mask)
		return PGSTE_E_ARG;
	return (int64_t)scan_ops()->find(guest->state, start, guest->nr_pages, mask, value, gfns,
					 max);
}

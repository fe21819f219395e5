/* SPDX-License-Identifier: MIT */
/* Which pages map the shared zero page: it looks at both tables, and memory.h is below these. */
#ifndef MEMORY_ZERO_PAGE_H
#define MEMORY_ZERO_PAGE_H

#include "memory/memory.h"

/* Is the zero page mapped for it?  Of dat guests in both tables, or in the host's alone. */
static inline bool maps_zero_page(const struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	if (!(cold & COLD_FOREIGN) || !mm->allow_cow_sharing)
		return false;
	return is_zero_page_word(mm, host_word(mm, gfn)) &&
	       (pte_is_apart(mm, gfn) || is_zero_page_word(mm, cold));
}

#endif

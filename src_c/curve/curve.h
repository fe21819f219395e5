/* SPDX-License-Identifier: MIT */
/* A pass over a trace for hosts of many sizes: what its parts know of one another. */
#ifndef CURVE_CURVE_H
#define CURVE_CURVE_H

#include "curve/lazy.h"
#include "curve/order.h"
#include "pgste/curve.h"

/* Which pages a trace names, and how its first event with each of them goes (pages.c). */
struct pages {
	uint64_t lowest, span; /* pfns; all others are counted from the lowest */
	uint32_t *number;      /* of each pfn, from 1, in order of appearance; 0: not looked at */
	uint32_t nr;	       /* pages of one guest */
	uint64_t *live;	       /* of these, pfns whose first event is a free, ascending */
	uint32_t nr_live;
	uint64_t nr_frees;     /* at most: of pages, by events, of one guest */
};

/* PGSTE_E_ARG, PGSTE_E_NOMEM, PGSTE_E_CANCELLED.  pages_free() also after that. */
int pages_new(struct pages *p, const struct pgste_curve_config *config);
void pages_free(struct pages *p);

/* An event's block within the span: false if it is none, or not any more. */
bool pages_block(const struct pages *p, uint64_t event, uint64_t *first, uint64_t *nr,
		 bool *is_free);

/*
 * Counts by depth: how often exactly the hosts of fewer frames than depth did it.  A count of
 * hosts from `least` on to below depth is one here and one less at `least`.
 */
struct by_depth {
	int64_t *swap_outs, *swap_ins, *zero_fills, *discards;
};

#endif

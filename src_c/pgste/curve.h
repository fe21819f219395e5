/* SPDX-License-Identifier: MIT */
/*
 * What hosts of many sizes would do with a trace, in one pass: pages in exact LRU order, one page
 * taken at a time.  That is simpler than the two lists of a host (pgste/host.h); docs/curve.md
 * says how far apart they are.
 */
#ifndef PGSTE_CURVE_H
#define PGSTE_CURVE_H

#include "gfn.h"

PGSTE_BEGIN

/* What becomes of a page that the guest frees. */
enum pgste_curve_rule {
	PGSTE_CURVE_KEEP = 0, /* nothing: it is a page as any other */
	PGSTE_CURVE_UNUSED,   /* dropped unwritten when its turn comes; its slot is freed at once */
	PGSTE_CURVE_GIVE,     /* its frame, or its slot, is free at once */
	PGSTE_CURVE_LAZY      /* dropped unwritten before any page in use, in order of the frees;
				 its slot is freed at once */
};

struct pgste_curve_config {
	const uint64_t *events; /* of the whole trace, see pgste/trace.h */
	uint64_t nr_events;
	uint32_t nr_guests; /* 1 .. PGSTE_MAX_GUESTS; each event goes to each of them */
	enum pgste_curve_rule rule;
	/* KEEP: pages given back beside, given[i] right before event given_at[i], which ascend */
	const uint64_t *given;
	const uint64_t *given_at;
	uint64_t nr_given;
	const uint64_t *sizes; /* frames of the hosts, ascending, each at least 1 */
	uint64_t nr_sizes;
	const uint64_t *samples; /* numbers of events after which memory is looked at, ascending */
	uint64_t nr_samples;
	uint64_t share; /* pages that are looked at, by a hash of their pfn, of 2^32 */
};

/* Of one size: counts, and frames and slots in use, added up over the samples. */
#define PGSTE_CURVE_POINT(X) \
	X(swap_outs) X(swap_ins) X(zero_fills) X(discards) X(frames) X(slots)
struct pgste_curve_point {
	PGSTE_CURVE_POINT(PGSTE_STATS_FIELD)
};

/*
 * Takes 4 bytes for each pfn from the lowest to the highest, and some 60 for each page in an
 * event.  As in a replay, pages whose first event is a free are in memory before, and each page is
 * stored to once, when it is allocated.  PGSTE_E_ARG: no guests, or a size, rule, share or event
 * out of range or order; PGSTE_E_NOMEM, also for 2^30 pages and more; PGSTE_E_CHANGED,
 * PGSTE_E_CANCELLED.  After an error the points are undefined.
 */
int pgste_curve(const struct pgste_curve_config *config, struct pgste_curve_point *points);

PGSTE_END

#endif

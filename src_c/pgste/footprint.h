/* SPDX-License-Identifier: MIT */
/*
 * What a host with room for all holds for one guest while a trace runs: which of the guest's free
 * memory comes back, when, and by how many calls.  docs/footprint.md has the rules.
 */
#ifndef PGSTE_FOOTPRINT_H
#define PGSTE_FOOTPRINT_H

#include "gfn.h"
#include "reporting.h"

PGSTE_BEGIN

/* How free memory comes back. */
enum pgste_footprint_rule {
	PGSTE_FOOTPRINT_KEEP = 0,  /* never */
	PGSTE_FOOTPRINT_BLOCKS,	   /* blocks of 2^block_order pages that are wholly free, at once
				      (period_ns 0) or every period_ns */
	PGSTE_FOOTPRINT_REPORTING, /* free page reporting */
	PGSTE_FOOTPRINT_BALLOON,   /* every period_ns all free pages but the reserve */
	PGSTE_FOOTPRINT_AGE	   /* pages that were not touched for period_ns, in use or not */
};

struct pgste_footprint_config {
	const uint64_t *events; /* see pgste/trace.h */
	const uint64_t *times_ns; /* of each event; of the host's clock they have the differences */
	uint64_t nr_events;
	uint64_t base_pfn; /* the guest has the pages [base_pfn, base_pfn + nr_pages) */
	uint64_t nr_pages; /* 1 .. 2^32 - 2, a multiple of a folio and of a block */
	bool unnamed_free; /* pages in no event are free for ever; else they are in use, and left
			      out of what is held */
	uint32_t host_order; /* host memory is had in folios of 2^this pages; 0 .. 15, 0 for AGE */
	enum pgste_footprint_rule rule;
	uint32_t block_order; /* BLOCKS: 0 .. 15 */
	uint64_t period_ns;   /* at least 1, but for BLOCKS; <= PGSTE_MAX_NS */
	uint64_t reserve;     /* free pages that the guest keeps: BALLOON; BLOCKS with a period */
	bool asks;	      /* BLOCKS: an alloc in a block that is gone waits for a call */
	bool populate;	      /* BLOCKS: and the host fills all of the block */
	const struct pgste_reporting_config *reporting; /* REPORTING; NULL: the kernel's */
	const uint64_t *samples_ns; /* after the first event, ascending */
	uint64_t nr_samples;
};

#define PGSTE_FOOTPRINT_COUNTS(X)                                             \
	X(calls)     /* between guest and host, beside faults */              \
	X(discards)  /* madvise calls of the host */                          \
	X(faults)    /* page faults that need memory */                       \
	X(waits)     /* allocs that had to wait for a call; once for each */  \
	X(splits)    /* folios of which a part was given back */              \
	X(given)     /* pages of which the host got the memory */             \
	X(moved)     /* BALLOON: allocs of another page than in the trace */  \
	X(swap_outs) X(swap_outs_used) X(swap_ins) /* AGE; _used: not free */ \
	X(peak)	     /* most pages held at once */

struct pgste_footprint_result {
	PGSTE_FOOTPRINT_COUNTS(PGSTE_STATS_FIELD)
	double held_seconds; /* pages held times time, from the first event to the last */
	double used_seconds; /* the same of pages that are in use */
};
const char *pgste_footprint_count_name(unsigned i);
/*
 * held and used have nr_samples elements each: pages, after all that happens up to the sample's
 * time.  PGSTE_E_ARG: a field out of range, or an event outside the guest, or times that go back;
 * PGSTE_E_NOMEM, PGSTE_E_CHANGED, PGSTE_E_CANCELLED.  After an error the results are undefined.
 */
int pgste_footprint(const struct pgste_footprint_config *config,
		    struct pgste_footprint_result *result, uint64_t *held, uint64_t *used);

/* Which block a guest's allocator hands out. */
enum pgste_placement {
	PGSTE_PLACE_LOWEST = 0, /* the lowest that is free: as compact as an allocator can be */
	PGSTE_PLACE_BUDDY	/* the kernel's: the smallest that fits, the last one freed first */
};

struct pgste_place_config {
	const uint64_t *events;
	uint64_t nr_events;
	uint64_t base_pfn, nr_pages; /* of events: [base_pfn, base_pfn + nr_pages) */
	enum pgste_placement placement;
	uint64_t nr_places; /* pages of the guest that they are placed in: 2^10 .. 2^31, 2^n */
};
/*
 * The same frees and allocs where another allocator would have had them, in a guest that starts
 * with nothing but the pages that are in use at first.  events and which have room for max: an
 * event, and which of the config's it is from.  What lies apart now is freed page by page.  How
 * many they are; PGSTE_E_ARG: an event outside, or max too small; PGSTE_E_NO_FRAME: no block is
 * free; PGSTE_E_NOMEM, PGSTE_E_CANCELLED.
 */
int64_t pgste_place(const struct pgste_place_config *config, uint64_t *events, uint64_t *which,
		    uint64_t max);

PGSTE_END

#endif

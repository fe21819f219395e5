/* SPDX-License-Identifier: MIT */
/* Live memory: what the files of this room know of a mapping. */
#ifndef LIVE_LIVE_H
#define LIVE_LIVE_H

#include <sys/types.h>

#include "base/base.h"
#include "pgste/live.h"
#include "pgste/trace.h"

struct pgste_live {
	unsigned char *base;
	uint64_t nr_pages;
	size_t map_bytes, guard_bytes;
	size_t page_bytes;
	pid_t pid;	/* whose mapping it is: a child made by fork does not have it */
	int pagemap;	/* /proc/self/pagemap, -1 until somebody asks for states */
	int kpageflags; /* -1 until somebody asks for flags */
	bool vector;	/* process_madvise has not been refused yet */
	bool scan;	/* PAGEMAP_SCAN has not been refused yet */
};

/* Monotonic nanoseconds. */
uint64_t live_clock(void);
/* One madvise of one run; 0 or PGSTE_OS_ERROR. */
int live_madvise(struct pgste_live *live, uint64_t gfn, uint64_t nr, int advice);
/* Blocks of 2^order pages, order <= 39, lie inside the mapping if their gfn is below this. */
static inline uint64_t live_limit(const struct pgste_live *live, unsigned order)
{
	const uint64_t block = UINT64_C(1) << order;

	return block > live->nr_pages ? 0 : live->nr_pages - block + 1;
}

static inline bool live_has(const struct pgste_live *live, const struct pgste_gfns *gfns,
			    unsigned order)
{
	return gfns_below(gfns, live_limit(live, order));
}

#endif

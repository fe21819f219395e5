/* SPDX-License-Identifier: MIT */
/* PGSTE_RECLAIM_LRU: balance.c says how far and in which lists, vmscan.c takes the pages. */
#ifndef MEMORY_VMSCAN_H
#define MEMORY_VMSCAN_H

#include "memory/memory.h"

/* How a reclaim goes on: struct scan_control, as far as it is used. */
struct scan {
	uint64_t goal, scanned, reclaimed;
	int priority;
	bool kswapd, forced, no_trim, trim_failed, skipped;
	bool deactivate[2]; /* may_deactivate, of anonymous and of lazyfree pages */
};

/* A batch of at most nr from the tail of an active list goes to the inactive one. */
void shrink_active(struct pgste_host *host, unsigned which, uint64_t nr);
/* The same of an inactive list: frames that became free, but for dropped unused pages. */
uint64_t shrink_inactive(struct pgste_host *host, struct scan *sc, unsigned which, uint64_t nr);

/* As frame_get, and as reclaim and reclaim_resting; of hosts with host->lru (balance.c). */
uint32_t lru_frame_get(struct pgste_host *host);
int64_t lru_reclaim(struct pgste_host *host, uint64_t n, bool rests);

#endif

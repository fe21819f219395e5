/* SPDX-License-Identifier: MIT */
/* PGSTE_RECLAIM_LRU: balance.c says how far and in which lists, vmscan.c takes the pages. */
#ifndef MEMORY_VMSCAN_H
#define MEMORY_VMSCAN_H

#include "memory/memory.h"

#define PRIORITY 12 /* DEF_PRIORITY */

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

/* What became of a page. */
enum fate { FATE_LOCKED, FATE_KEPT, FATE_ACTIVE, FATE_FREED, FATE_WRITTEN, FATE_DROPPED, NR_FATES };
/* activate_locked: a page that stays gives its slot back when swap runs short. */
void give_up_slot(struct pgste_host *host, uint32_t frame);
/* A page of the swap cache alone, which is clean. */
enum fate evict_unmapped(struct pgste_host *host, uint32_t frame);
/* A page that is mapped and old, and finds a slot if it needs one. */
enum fate evict_page(struct pgste_host *host, uint32_t frame);

/* For one frame, and as reclaim and reclaim_resting; of hosts with host->lru (balance.c). */
void lru_make_room(struct pgste_host *host);
int64_t lru_reclaim(struct pgste_host *host, uint64_t n, bool rests);

#endif

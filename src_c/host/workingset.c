/* SPDX-License-Identifier: MIT */
/*
 * Shadows of pages that were evicted, the refaults that find them, and the cost of each kind of
 * page (mm/workingset.c; lru_note_cost in mm/swap.c).
 */
#include "host/lru.h"

void lru_note_cost(struct pgste_host *host, unsigned which, uint64_t io, uint64_t rotated)
{
	uint64_t *cost = host->lru->cost;
	const uint64_t more = io * host->config.batch + rotated;
	uint64_t pages = 0;

	if (!more)
		return;
	cost[which] += more;
	for (unsigned list = PGSTE_LIST_ACTIVE; list < PGSTE_NR_LISTS; list++)
		pages += lru_size(host, (enum pgste_frame_list)list);
	if (cost[COST_ANON] + cost[COST_FILE] > pages / 4) {
		cost[COST_ANON] /= 2;
		cost[COST_FILE] /= 2;
	}
}

void lru_evicted(struct pgste_host *host, uint32_t frame)
{
	struct lru *lru = host->lru;
	const bool workingset = lru->flags[frame] & FRAME_WORKINGSET;

	if (lru->gens) {
		mglru_evicted(host, frame);
		return;
	}
	lru->shadows[host->frames[frame].slot] = lru->age << 2 | (uint32_t)workingset << 1 | 1;
	lru->age = (lru->age + 1) & AGE_MASK;
}

/* How many pages would have made room for this one: workingset_test_recent. */
static uint64_t workingset_size(const struct pgste_host *host)
{
	uint64_t pages = lru_size(host, PGSTE_LIST_LAZYFREE) +
			 lru_size(host, PGSTE_LIST_LAZYFREE_ACTIVE);

	return host->nr_slots_free ? pages + lru_size(host, PGSTE_LIST_ACTIVE) : pages;
}

bool lru_refault(struct pgste_host *host, uint32_t slot, uint32_t frame)
{
	struct lru *lru = host->lru;
	const uint32_t shadow = lru->shadows[slot];

	if (lru->gens) { /* active all the same: it is read in a fault */
		mglru_refault(host, slot, frame);
		return true;
	}
	if (!shadow)
		return false;
	lru->shadows[slot] = 0;
	host->stats.refaults++;
	if (((lru->age - (shadow >> 2)) & AGE_MASK) > workingset_size(host))
		return false;
	lru->age = (lru->age + 1) & AGE_MASK;
	lru->activations++;
	host->stats.refaults_activated++;
	if (shadow & 2) {
		lru->flags[frame] |= FRAME_WORKINGSET;
		lru_note_cost(host, COST_ANON, 1, 0);
	}
	return true;
}

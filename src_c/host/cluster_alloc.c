/* SPDX-License-Identifier: MIT */
/*
 * Swap slots out of clusters, ascending within one (mm/swapfile.c: cluster_alloc_swap_entry and
 * what it calls, for pages of order 0).  docs/reclaim.md.
 */
#include "host/lru.h"

/* __try_to_reclaim_swap of a slot that only the swap cache holds. */
static bool take_from_cache(struct pgste_host *host, uint32_t slot)
{
	const uint32_t frame = host->slots[slot].frame;
	struct frame *f = &host->frames[frame];

	if (f->locked || f->writeback)
		return false;
	if (frame_is_unmapped(f)) {
		frame_put(host, frame);
		return true;
	}
	slot_uncache(host, frame);
	f->dirty = 1;
	return true;
}

static bool is_only_cached(const struct pgste_host *host, uint32_t slot)
{
	return slot_is_used(host->lru, slot) && host->slots[slot].count == 0 &&
	       host->slots[slot].frame != NIL;
}

/* cluster_scan_range and cluster_reclaim_range. */
static bool can_take(struct pgste_host *host, uint64_t offset)
{
	if (offset == 0 || offset > host->config.nr_swap_slots)
		return false;
	if (!slot_is_used(host->lru, offset - 1))
		return true;
	return is_only_cached(host, (uint32_t)offset - 1) && swap_nearly_full(host) &&
	       take_from_cache(host, (uint32_t)offset - 1);
}

/* alloc_swap_scan_cluster: the offset of a slot, or 0. */
static uint32_t cluster_scan(struct pgste_host *host, uint32_t number, uint32_t offset)
{
	struct lru *lru = host->lru;
	struct cluster *c = &lru->clusters[number];
	const uint64_t start = (uint64_t)number * CLUSTER_SLOTS, end = start + CLUSTER_SLOTS;
	uint64_t found = 0;

	lru->next = 0;
	for (uint64_t at = offset; c->count < CLUSTER_SLOTS && at < end && !found; at++) {
		if (!can_take(host, at))
			continue;
		if (!c->count)
			at = start; /* the last one was taken from the swap cache just now */
		found = at;
		c->count++;
		if (c->count < CLUSTER_SLOTS && at + 1 < end)
			lru->next = (uint32_t)at + 1;
	}
	if (!c->count)
		cluster_move(lru, number, CLUSTER_FREE);
	else
		cluster_move(lru, number, c->count == CLUSTER_SLOTS ? CLUSTER_FULL : CLUSTER_FRAG);
	return (uint32_t)found;
}

/* The same for the first cluster of a list. */
static uint32_t list_scan(struct pgste_host *host, enum cluster_flag flag)
{
	const uint32_t number = cluster_take(host, flag);

	return number == NIL ? 0 : cluster_scan(host, number, number * CLUSTER_SLOTS);
}

/* swap_reclaim_full_clusters, of one cluster. */
static void reclaim_full(struct pgste_host *host)
{
	const uint32_t number = cluster_take(host, CLUSTER_FULL);
	uint64_t offset = (uint64_t)number * CLUSTER_SLOTS;

	if (number == NIL)
		return;
	for (const uint64_t end = offset + CLUSTER_SLOTS; offset < end; offset++)
		if (offset && offset <= host->config.nr_swap_slots &&
		    is_only_cached(host, (uint32_t)offset - 1))
			take_from_cache(host, (uint32_t)offset - 1);
	if (host->lru->clusters[number].flag == CLUSTER_NONE)
		cluster_move(host->lru, number, CLUSTER_FULL);
}

static uint32_t offset_alloc(struct pgste_host *host)
{
	struct lru *lru = host->lru;
	const uint32_t next = lru->next, number = next / CLUSTER_SLOTS;
	uint32_t found = 0;

	if (next)
		found = cluster_scan(host, number,
				     lru->clusters[number].count ? next : number * CLUSTER_SLOTS);
	while (!found && lru->first[CLUSTER_NONFULL] != NIL)
		found = list_scan(host, CLUSTER_NONFULL);
	if (!found)
		found = list_scan(host, CLUSTER_FREE);
	if (!found && swap_nearly_full(host))
		reclaim_full(host);
	return found ? found : list_scan(host, CLUSTER_FRAG);
}

uint32_t cluster_alloc(struct pgste_host *host)
{
	const uint32_t slot = offset_alloc(host) - 1;

	host->lru->used[slot / 64] |= UINT64_C(1) << slot % 64;
	if (slot >= host->fresh_slot)
		host->fresh_slot = (uint64_t)slot + 1;
	return slot;
}

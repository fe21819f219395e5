/* SPDX-License-Identifier: MIT */
/* The lists that clusters of swap slots are on (mm/swapfile.c).  docs/reclaim.md. */
#include "host/lru.h"

static void cluster_unlink(struct lru *lru, uint32_t number)
{
	struct cluster *c = &lru->clusters[number];

	if (c->prev != NIL)
		lru->clusters[c->prev].next = c->next;
	else
		lru->first[c->flag] = c->next;
	if (c->next != NIL)
		lru->clusters[c->next].prev = c->prev;
	else
		lru->end[c->flag] = c->prev;
	c->flag = CLUSTER_NONE;
}

void cluster_move(struct lru *lru, uint32_t number, enum cluster_flag flag)
{
	struct cluster *c = &lru->clusters[number];

	if (c->flag == flag)
		return;
	if (c->flag != CLUSTER_NONE)
		cluster_unlink(lru, number);
	c->flag = (uint8_t)flag;
	c->prev = lru->end[flag];
	c->next = NIL;
	if (c->prev != NIL)
		lru->clusters[c->prev].next = number;
	else
		lru->first[flag] = number;
	lru->end[flag] = number;
}

/* The last cluster is whole only if the device ends with it. */
static bool is_fresh(const struct pgste_host *host, uint32_t number)
{
	return number < (host->config.nr_swap_slots + 1) / CLUSTER_SLOTS;
}

uint32_t cluster_take(struct pgste_host *host, enum cluster_flag flag)
{
	struct lru *lru = host->lru;
	uint32_t number = lru->first[flag];

	if (flag == CLUSTER_FREE && is_fresh(host, lru->fresh_cluster)) {
		number = lru->fresh_cluster++;
		lru->clusters[number].flag = CLUSTER_NONE;
	} else if (number != NIL) {
		cluster_unlink(lru, number);
	}
	return number;
}

void cluster_free(struct pgste_host *host, uint32_t slot)
{
	struct lru *lru = host->lru;
	const uint32_t number = (slot + 1) / CLUSTER_SLOTS;

	lru->used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	lru->shadows[slot] = 0;
	lru->clusters[number].count--;
	cluster_move(lru, number, lru->clusters[number].count ? CLUSTER_NONFULL : CLUSTER_FREE);
}

/* SPDX-License-Identifier: MIT */
/* The life of what a host has beside for PGSTE_RECLAIM_LRU, and the sizes that reclaim sees. */
#include "host/lru.h"

#include <stdlib.h>
#include <string.h>

static uint32_t nr_clusters(const struct pgste_host_config *config)
{
	return (uint32_t)((config->nr_swap_slots + CLUSTER_SLOTS) / CLUSTER_SLOTS);
}

static uint64_t cluster_bytes(const struct pgste_host_config *config)
{
	return (uint64_t)nr_clusters(config) * sizeof(struct cluster);
}

void lru_free(struct lru *lru, const struct pgste_host_config *config)
{
	if (!lru)
		return;
	table_free(lru->flags, config->nr_frames);
	table_free(lru->shadows, config->nr_swap_slots * sizeof(*lru->shadows));
	table_free(lru->used, bitmap_bytes(config->nr_swap_slots));
	table_free(lru->clusters, cluster_bytes(config));
	free(lru->writes);
	mglru_free(lru->gens, config->nr_frames);
	free(lru);
}

/* Offset 0 and what is beyond the last slot are no slots: such clusters are never free. */
static void cluster_begin(struct lru *lru, uint32_t number, uint64_t missing)
{
	lru->clusters[number] = (struct cluster){
		.prev = lru->end[CLUSTER_NONFULL],
		.next = NIL,
		.count = (uint16_t)missing,
		.flag = CLUSTER_NONFULL,
	};
	if (lru->first[CLUSTER_NONFULL] == NIL)
		lru->first[CLUSTER_NONFULL] = number;
	else
		lru->clusters[lru->end[CLUSTER_NONFULL]].next = number;
	lru->end[CLUSTER_NONFULL] = number;
}

static void clusters_begin(struct lru *lru, const struct pgste_host_config *config)
{
	const uint32_t last = lru->nr_clusters - 1;
	const uint64_t beyond = (uint64_t)lru->nr_clusters * CLUSTER_SLOTS -
				(config->nr_swap_slots + 1);

	for (unsigned list = 0; list < CLUSTER_NONE; list++)
		lru->first[list] = lru->end[list] = NIL;
	lru->fresh_cluster = 1;
	cluster_begin(lru, 0, last ? 1 : beyond + 1);
	if (last && beyond)
		cluster_begin(lru, last, beyond);
}

struct lru *lru_new(const struct pgste_host_config *config)
{
	struct lru *lru = calloc(1, sizeof(*lru));

	if (!lru)
		return NULL;
	lru->nr_clusters = nr_clusters(config);
	lru->flags = table_new(config->nr_frames);
	lru->shadows = table_new(config->nr_swap_slots * sizeof(*lru->shadows));
	lru->used = table_new(bitmap_bytes(config->nr_swap_slots));
	lru->clusters = table_new(cluster_bytes(config));
	lru->writes = calloc(config->write_delay + 1u, sizeof(*lru->writes));
	if (config->reclaim == PGSTE_RECLAIM_MGLRU)
		lru->gens = mglru_new(config->nr_frames);
	if (!lru->flags || !lru->shadows || !lru->used || !lru->clusters || !lru->writes ||
	    (config->reclaim == PGSTE_RECLAIM_MGLRU && !lru->gens)) {
		lru_free(lru, config);
		return NULL;
	}
	lru->window = WINDOW_FIRST;
	clusters_begin(lru, config);
	return lru;
}

/* ---- for calls that may fail half way ---- */

static void *lru_copy(const void *from, uint64_t bytes)
{
	void *to = bytes > SIZE_MAX ? NULL : malloc(bytes ? bytes : 1);

	if (to && bytes)
		memcpy(to, from, bytes);
	return to;
}

void lru_saved_free(struct lru *saved)
{
	if (!saved)
		return;
	free(saved->flags);
	free(saved->shadows);
	free(saved->used);
	free(saved->clusters);
	free(saved->writes);
	mglru_saved_free(saved->gens);
	free(saved);
}

struct lru *lru_save(const struct pgste_host *host)
{
	const struct lru *lru = host->lru;
	struct lru *saved = lru_copy(lru, sizeof(*lru));

	if (!saved)
		return NULL;
	saved->flags = lru_copy(lru->flags, host->fresh_frame);
	saved->shadows = lru_copy(lru->shadows, host->fresh_slot * sizeof(*lru->shadows));
	saved->used = lru_copy(lru->used, bitmap_bytes(host->config.nr_swap_slots));
	saved->clusters = lru_copy(lru->clusters, cluster_bytes(&host->config));
	saved->writes = lru_copy(lru->writes, (host->config.write_delay + 1u) *
						      sizeof(*lru->writes));
	saved->gens = lru->gens ? mglru_save(lru->gens, host->fresh_frame) : NULL;
	if (!saved->flags || !saved->shadows || !saved->used || !saved->clusters ||
	    !saved->writes || (lru->gens && !saved->gens)) {
		lru_saved_free(saved);
		return NULL;
	}
	return saved;
}

/* The host itself is as it was: what came after its fresh_slot is in use no more. */
void lru_restore(struct pgste_host *host, const struct lru *saved)
{
	struct lru *lru = host->lru;
	const struct lru live = *lru;

	*lru = *saved;
	lru->flags = live.flags;
	lru->shadows = live.shadows;
	lru->used = live.used;
	lru->clusters = live.clusters;
	lru->writes = live.writes;
	lru->gens = live.gens;
	if (lru->gens)
		mglru_restore(lru->gens, saved->gens, host->fresh_frame);
	memcpy(lru->writes, saved->writes,
	       (host->config.write_delay + 1u) * sizeof(*lru->writes));
	memcpy(lru->flags, saved->flags, host->fresh_frame);
	memcpy(lru->shadows, saved->shadows, host->fresh_slot * sizeof(*lru->shadows));
	memcpy(lru->used, saved->used, bitmap_bytes(host->config.nr_swap_slots));
	memcpy(lru->clusters, saved->clusters, cluster_bytes(&host->config));
}

/* ---- what reclaim sees ---- */

uint64_t lru_size(const struct pgste_host *host, enum pgste_frame_list list)
{
	return host->config.stale_stats ? host->lru->seen.nr[list] : host->lists[list].nr;
}

uint64_t lru_activations(const struct pgste_host *host)
{
	return host->config.stale_stats ? host->lru->seen.activations : host->lru->activations;
}

void pgste_host_flush_stats(struct pgste_host *host)
{
	if (!host->lru)
		return;
	for (unsigned list = 0; list < PGSTE_NR_LISTS; list++)
		host->lru->seen.nr[list] = host->lists[list].nr;
	host->lru->seen.activations = host->lru->activations;
}

/* SPDX-License-Identifier: MIT */
/*
 * The host: its life, the address spaces on it, its counters.  docs/model.md section 4.
 * Tables are as large as the configuration says and resident only as far as they were used.
 */
#include <stdlib.h>
#include <string.h>

#include "host/lru.h"

void pgste_host_defaults(struct pgste_host_config *config)
{
	uint64_t batch = config->nr_frames / 64;

	if (config->reclaim != PGSTE_RECLAIM_SIMPLE)
		batch = 32; /* SWAP_CLUSTER_MAX */
	config->batch = batch < 1 ? 1 : batch > 32 ? 32 : (uint32_t)batch;
	config->low = 0;
	config->high = min_u64(config->batch, config->nr_frames);
	config->swappiness = 60;
	config->page_cluster = 3;
	config->rotational = true;
	config->write_delay = 200; /* fitted to measured runs: docs/reclaim.md */
}

static bool host_config_valid(const struct pgste_host_config *c)
{
	return c->nr_frames >= 1 && c->nr_frames <= PGSTE_MAX_FRAMES &&
	       c->nr_swap_slots <= PGSTE_MAX_FRAMES && c->low < c->high &&
	       c->high <= c->nr_frames && c->batch >= 1 &&
	       (unsigned)c->reclaim <= PGSTE_RECLAIM_MGLRU &&
	       c->swappiness <= PGSTE_MAX_SWAPPINESS && c->page_cluster <= PGSTE_MAX_CLUSTER &&
	       c->write_delay <= PGSTE_MAX_DELAY;
}

static void host_destroy(struct pgste_host *host)
{
	table_free(host->frames, host->config.nr_frames * sizeof(*host->frames));
	table_free(host->keys, host->config.nr_frames);
	table_free(host->slots, host->config.nr_swap_slots * sizeof(*host->slots));
	lru_free(host->lru, &host->config);
	pthread_mutex_destroy(&host->lock);
	free(host->mms);
	free(host);
}

int pgste_host_new(const struct pgste_host_config *config, struct pgste_host **host)
{
	struct pgste_host *h;

	if (!host_config_valid(config))
		return PGSTE_E_ARG;
	h = calloc(1, sizeof(*h));
	if (!h)
		return PGSTE_E_NOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->config = *config;
	h->free_frame = h->free_slot = NIL;
	h->nr_free = config->nr_frames;
	h->nr_slots_free = config->nr_swap_slots;
	for (unsigned i = 0; i < PGSTE_NR_LISTS; i++)
		h->lists[i] = (struct list){ .head = NIL, .tail = NIL };
	h->frames = table_new(config->nr_frames * sizeof(*h->frames));
	h->slots = table_new(config->nr_swap_slots * sizeof(*h->slots));
	if (config->reclaim != PGSTE_RECLAIM_SIMPLE)
		h->lru = lru_new(config);
	if (!h->frames || !h->slots || (config->reclaim != PGSTE_RECLAIM_SIMPLE && !h->lru)) {
		host_destroy(h);
		return PGSTE_E_NOMEM;
	}
	*host = h;
	return PGSTE_OK;
}

void pgste_host_ends(struct pgste_host *host)
{
	host->ends = true;
}

int pgste_host_free(struct pgste_host *host)
{
	if (!host)
		return PGSTE_OK;
	if (host->nr_mms)
		return PGSTE_E_BUSY;
	host_destroy(host);
	return PGSTE_OK;
}

/* ---- address spaces ---- */

uint32_t host_join(struct pgste_host *host, struct mm *mm)
{
	uint32_t number = 0;

	while (number < host->room_mms && host->mms[number])
		number++;
	if (number >= PGSTE_MAX_GUESTS)
		return NIL;
	if (number == host->room_mms) {
		const uint32_t room = number ? 2 * number : 4;
		struct mm **mms = realloc(host->mms, room * sizeof(*mms));

		if (!mms)
			return NIL;
		for (uint32_t i = number; i < room; i++)
			mms[i] = NULL;
		host->mms = mms;
		host->room_mms = room;
	}
	host->mms[number] = mm;
	host->nr_mms++;
	return number;
}

void host_leave(struct pgste_host *host, uint32_t number)
{
	host->mms[number] = NULL;
	host->nr_mms--;
}

/* ---- settings and counters ---- */

int pgste_host_set_rearm(struct pgste_host *host, enum pgste_rearm rearm)
{
	if ((unsigned)rearm > PGSTE_REARM_DISCARD)
		return PGSTE_E_ARG;
	host->rearm = rearm;
	return PGSTE_OK;
}

const char *pgste_host_stats_name(unsigned i)
{
#define NAME(field) #field,
	static const char *const names[] = { PGSTE_HOST_STATS(NAME) };
#undef NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}

void pgste_host_get_stats(const struct pgste_host *host, struct pgste_host_stats *stats)
{
	*stats = host->stats;
	stats->frames = host->config.nr_frames;
	stats->frames_free = host->nr_free;
	stats->frames_active = host->lists[PGSTE_LIST_ACTIVE].nr;
	stats->frames_inactive = host->lists[PGSTE_LIST_INACTIVE].nr;
	stats->frames_lazyfree = host->lists[PGSTE_LIST_LAZYFREE].nr;
	stats->frames_lazyfree_active = host->lists[PGSTE_LIST_LAZYFREE_ACTIVE].nr;
	if (host->lru && host->lru->gens)
		mglru_levels(host->lru->gens, stats);
	stats->frames_unmapped = host->lru ? host->lru->unmapped : 0;
	stats->swap_slots = host->config.nr_swap_slots;
	stats->swap_slots_free = host->nr_slots_free;
	stats->swap_slots_cached = host->nr_cached;
}

void pgste_host_reset_stats(struct pgste_host *host)
{
	host->stats = (struct pgste_host_stats){
		.frames_peak = host->config.nr_frames - host->nr_free,
		.swap_peak = host->config.nr_swap_slots - host->nr_slots_free,
	};
}

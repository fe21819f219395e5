/* SPDX-License-Identifier: MIT */
/*
 * The host: its frames, their free stack and lists, its guests.  docs/model.md section 4.
 * Tables are as large as the configuration says and resident only as far as they were used.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	struct list *l = &host->lists[list];
	struct frame *f = &host->frames[frame];

	f->list = (unsigned)list & 3;
	f->prev = NIL;
	f->next = l->head;
	if (l->head != NIL)
		host->frames[l->head].prev = frame;
	else
		l->tail = frame;
	l->head = frame;
	l->nr++;
}

void list_del(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct list *l = &host->lists[f->list];

	if (f->prev != NIL)
		host->frames[f->prev].next = f->next;
	else
		l->head = f->next;
	if (f->next != NIL)
		host->frames[f->next].prev = f->prev;
	else
		l->tail = f->prev;
	l->nr--;
}

/* A frame for one page, on no list yet; NIL if the host is out of them. */
uint32_t frame_get(struct pgste_host *host)
{
	uint32_t frame;
	uint64_t used;

	if (host->nr_free <= host->config.low)
		reclaim(host, host->config.high - host->nr_free);
	if (host->nr_free == 0)
		return NIL;
	frame = host->free_frame;
	if (frame != NIL)
		host->free_frame = host->frames[frame].next;
	else
		frame = (uint32_t)host->fresh_frame++;
	host->frames[frame] = (struct frame){ .slot = NIL };
	host->nr_free--;
	used = host->config.nr_frames - host->nr_free;
	if (used > host->stats.frames_peak)
		host->stats.frames_peak = used;
	return frame;
}

/* Off its list, out of the swap cache, onto the free stack. */
void frame_put(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];

	list_del(host, frame);
	if (f->slot != NIL)
		slot_uncache(host, frame);
	host->nr_pinned -= f->pinned;
	f->list = PGSTE_LIST_FREE;
	f->next = host->free_frame;
	host->free_frame = frame;
	host->nr_free++;
}

void pgste_host_defaults(struct pgste_host_config *config)
{
	uint64_t batch = config->nr_frames / 64;

	config->batch = batch < 1 ? 1 : batch > 32 ? 32 : (uint32_t)batch;
	config->low = 0;
	config->high = config->batch;
}

static bool config_valid(const struct pgste_host_config *c)
{
	return c->nr_frames >= 1 && c->nr_frames <= PGSTE_MAX_FRAMES &&
	       c->nr_swap_slots <= PGSTE_MAX_FRAMES && c->low < c->high &&
	       c->high <= c->nr_frames && c->batch >= 1;
}

static void host_destroy(struct pgste_host *host)
{
	table_free(host->frames, host->config.nr_frames * sizeof(*host->frames));
	table_free(host->slots, host->config.nr_swap_slots * sizeof(*host->slots));
	pthread_mutex_destroy(&host->lock);
	free(host->guests);
	free(host);
}

int pgste_host_new(const struct pgste_host_config *config, struct pgste_host **host)
{
	struct pgste_host *h;

	if (!config_valid(config))
		return PGSTE_E_ARG;
	h = calloc(1, sizeof(*h));
	if (!h)
		return PGSTE_E_NOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->config = *config;
	h->free_frame = h->free_slot = NIL;
	h->nr_free = config->nr_frames;
	h->nr_slots_free = config->nr_swap_slots;
	for (unsigned i = 0; i < 4; i++)
		h->lists[i] = (struct list){ .head = NIL, .tail = NIL };
	h->frames = table_new(config->nr_frames * sizeof(*h->frames));
	h->slots = table_new(config->nr_swap_slots * sizeof(*h->slots));
	if (!h->frames || !h->slots) {
		host_destroy(h);
		return PGSTE_E_NOMEM;
	}
	*host = h;
	return PGSTE_OK;
}

int pgste_host_free(struct pgste_host *host)
{
	if (!host)
		return PGSTE_OK;
	if (host->nr_guests)
		return PGSTE_E_BUSY;
	host_destroy(host);
	return PGSTE_OK;
}

#define STAT_NAME(name) #name,
static const char *const stat_names[] = { PGSTE_HOST_STATS(STAT_NAME) };

const char *pgste_host_stats_name(unsigned i)
{
	return i < sizeof(stat_names) / sizeof(stat_names[0]) ? stat_names[i] : NULL;
}

void pgste_host_get_stats(const struct pgste_host *host, struct pgste_host_stats *stats)
{
	*stats = host->stats;
	stats->frames = host->config.nr_frames;
	stats->frames_free = host->nr_free;
	stats->frames_active = host->lists[PGSTE_LIST_ACTIVE].nr;
	stats->frames_inactive = host->lists[PGSTE_LIST_INACTIVE].nr;
	stats->frames_lazyfree = host->lists[PGSTE_LIST_LAZYFREE].nr;
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

int pgste_host_frame(const struct pgste_host *host, uint64_t frame, struct pgste_frame_info *info)
{
	const struct frame *f;

	if (frame >= host->config.nr_frames)
		return PGSTE_E_ARG;
	*info = (struct pgste_frame_info){ .list = PGSTE_LIST_FREE, .slot = NIL };
	f = &host->frames[frame];
	if (frame >= host->fresh_frame || f->list == PGSTE_LIST_FREE)
		return PGSTE_OK;
	*info = (struct pgste_frame_info){
		.list = (enum pgste_frame_list)f->list,
		.guest = f->guest,
		.gfn = f->gfn,
		.tag = f->tag,
		.slot = f->slot,
		.referenced = f->referenced,
		.dirty = f->dirty,
		.pinned = f->pinned,
	};
	return PGSTE_OK;
}

int64_t pgste_host_list(const struct pgste_host *host, enum pgste_frame_list list,
			uint32_t *frames, uint64_t max)
{
	const struct list *l;
	uint64_t nr = 0;

	if (list < PGSTE_LIST_ACTIVE || list > PGSTE_LIST_LAZYFREE)
		return PGSTE_E_ARG;
	l = &host->lists[list];
	for (uint32_t f = l->head; f != NIL && nr < max; f = host->frames[f].next)
		frames[nr++] = f;
	return (int64_t)l->nr;
}

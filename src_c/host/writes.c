/* SPDX-License-Identifier: MIT */
/*
 * Pages that are being written to swap (pageout in mm/vmscan.c, folio_end_writeback): they keep
 * their frames meanwhile, and go to the tail of their list when it is done.  docs/reclaim.md.
 */
#include "host/lru.h"

static uint32_t ring_size(const struct pgste_host *host)
{
	return host->config.write_delay + 1u;
}

void write_begin(struct pgste_host *host, uint32_t frame)
{
	struct lru *lru = host->lru;
	struct frame *f = &host->frames[frame];

	lru->writes[(lru->first_write + lru->nr_writes++) % ring_size(host)] = (struct write){
		.frame = frame,
		.due = lru->clock + host->config.write_delay,
	};
	lru->nr_writing++;
	lru->flags[frame] |= FRAME_WRITING | FRAME_AHEAD;
	f->writeback = 1;
	f->dirty = 0;
	host->nr_held++;
	list_del(host, frame);
	list_add(host, PGSTE_LIST_INACTIVE, frame);
	f->owner = NOBODY;
	lru->unmapped++;
}

void write_forget(struct pgste_host *host, uint32_t frame)
{
	struct lru *lru = host->lru;

	for (uint32_t i = 0; i < lru->nr_writes; i++) {
		struct write *w = &lru->writes[(lru->first_write + i) % ring_size(host)];

		if (w->frame == frame)
			w->frame = NIL;
	}
	lru->flags[frame] &= (uint8_t)~FRAME_WRITING;
	lru->nr_writing--;
}

/* folio_end_writeback, folio_rotate_reclaimable */
static void write_end(struct pgste_host *host)
{
	struct lru *lru = host->lru;
	const uint32_t frame = lru->writes[lru->first_write].frame;
	struct frame *f;

	lru->first_write = (lru->first_write + 1) % ring_size(host);
	lru->nr_writes--;
	if (frame == NIL)
		return;
	f = &host->frames[frame];
	lru->nr_writing--;
	if (f->writeback)
		host->nr_held--;
	f->writeback = 0;
	if ((lru->flags[frame] & FRAME_AHEAD) && f->list == PGSTE_LIST_INACTIVE && !f->locked &&
	    !f->dirty)
		list_rotate(host, frame);
	lru->flags[frame] &= (uint8_t)~(FRAME_WRITING | FRAME_AHEAD);
}

void write_wait(struct pgste_host *host, uint32_t frame)
{
	while (host->lru->flags[frame] & FRAME_WRITING)
		write_end(host);
}

void writes_finish(struct pgste_host *host)
{
	while (host->lru->nr_writes)
		write_end(host);
}

void writes_step(struct pgste_host *host)
{
	struct lru *lru = host->lru;

	lru->clock++;
	while (lru->nr_writes && (int32_t)(lru->clock - lru->writes[lru->first_write].due) >= 0)
		write_end(host);
}

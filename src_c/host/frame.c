/* SPDX-License-Identifier: MIT */
/* Frames: the free stack, and the LRU lists.  docs/model.md section 4. */
#include "host/lru.h"

void list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	struct list *l = &host->lists[list];
	struct frame *f = &host->frames[frame];

	if (host->lru) {
		host->lru->flags[frame] &= (uint8_t)~FRAME_ACTIVE;
		if (list == PGSTE_LIST_LAZYFREE_ACTIVE) {
			host->lru->flags[frame] |= FRAME_ACTIVE;
			list = PGSTE_LIST_LAZYFREE;
		}
	}
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
	struct list *l = &host->lists[list_number(host, frame)];

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

void list_rotate(struct pgste_host *host, uint32_t frame)
{
	struct list *l = &host->lists[list_number(host, frame)];
	struct frame *f = &host->frames[frame];

	list_del(host, frame);
	f->prev = l->tail;
	f->next = NIL;
	if (l->tail != NIL)
		host->frames[l->tail].next = frame;
	else
		l->head = frame;
	l->tail = frame;
	l->nr++;
}

uint32_t frame_take(struct pgste_host *host)
{
	uint32_t frame = host->free_frame;
	uint64_t used;

	if (frame != NIL)
		host->free_frame = host->frames[frame].next;
	else
		frame = (uint32_t)host->fresh_frame++;
	host->frames[frame] = (struct frame){ .slot = NIL };
	frame_forget(host, frame);
	host->nr_free--;
	used = host->config.nr_frames - host->nr_free;
	if (used > host->stats.frames_peak)
		host->stats.frames_peak = used;
	return frame;
}

void frame_forget(struct pgste_host *host, uint32_t frame)
{
	if (!host->lru)
		return;
	if (host->lru->flags[frame] & FRAME_WRITING)
		write_forget(host, frame);
	host->lru->flags[frame] = 0;
}

void frame_put(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];

	list_del(host, frame);
	if (host->lru && (host->lru->flags[frame] & FRAME_WRITING))
		write_forget(host, frame);
	if (frame_is_unmapped(f))
		host->lru->unmapped--;
	if (f->slot != NIL)
		slot_uncache(host, frame);
	host->nr_held -= frame_holds(f);
	f->list = PGSTE_LIST_FREE;
	f->next = host->free_frame;
	host->free_frame = frame;
	host->nr_free++;
}

/* ---- what tests and tools look at ---- */

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
		.list = (enum pgste_frame_list)list_number(host, (uint32_t)frame),
		.guest = f->owner,
		.gfn = f->gfn,
		.tag = f->tag,
		.slot = f->slot,
		.referenced = f->referenced,
		.dirty = f->dirty,
		.pinned = f->pinned,
		.locked = f->locked,
		.writeback = f->writeback,
		.shared = f->shared,
		.mapped = !frame_is_unmapped(f),
	};
	return PGSTE_OK;
}

int64_t pgste_host_list(const struct pgste_host *host, enum pgste_frame_list list,
			uint32_t *frames, uint64_t max)
{
	const struct list *l;
	uint64_t nr = 0;

	if (list < PGSTE_LIST_ACTIVE || (unsigned)list >= PGSTE_NR_LISTS)
		return PGSTE_E_ARG;
	l = &host->lists[list];
	for (uint32_t f = l->head; f != NIL && nr < max; f = host->frames[f].next)
		frames[nr++] = f;
	return (int64_t)l->nr;
}

/* SPDX-License-Identifier: MIT */
/* The LRU lists of frames.  docs/model.md section 4, docs/reclaim.md. */
#include "host/lru.h"

/* The bits that tell a lazyfree page's list; what frame->list is then. */
__attribute__((noinline, cold)) static enum pgste_frame_list
list_mark(struct lru *lru, enum pgste_frame_list list, uint32_t frame)
{
	lru->flags[frame] &= (uint8_t)~FRAME_ACTIVE;
	if (list != PGSTE_LIST_LAZYFREE_ACTIVE)
		return list;
	lru->flags[frame] |= FRAME_ACTIVE;
	return PGSTE_LIST_LAZYFREE;
}

void list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	struct list *l = &host->lists[list];
	struct frame *f = &host->frames[frame];

	if (has_lru(host)) {
		if (has_gens(host)) {
			mglru_list_add(host, list, frame);
			return;
		}
		list = list_mark(host->lru, list, frame);
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
	if (has_gens(host)) {
		mglru_list_del(host, frame);
		return;
	}
	list_unlink(host, &host->lists[lru_list_number(host, frame)], frame);
}

void list_rotate(struct pgste_host *host, uint32_t frame)
{
	struct list *l = &host->lists[lru_list_number(host, frame)];

	if (has_gens(host)) {
		mglru_rotate(host, frame);
		return;
	}
	list_unlink(host, l, frame);
	list_link(host, l, frame, true);
}

int64_t pgste_host_list(const struct pgste_host *host, enum pgste_frame_list list,
			uint32_t *frames, uint64_t max)
{
	const struct list *l;
	uint64_t nr = 0;

	if (list < PGSTE_LIST_ACTIVE || (unsigned)list >= PGSTE_NR_LISTS)
		return PGSTE_E_ARG;
	if (has_gens(host))
		return mglru_frames(host, list, frames, max);
	l = &host->lists[list];
	for (uint32_t f = l->head; f != NIL && nr < max; f = host->frames[f].next)
		frames[nr++] = f;
	return (int64_t)l->nr;
}

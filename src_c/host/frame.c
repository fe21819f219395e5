/* SPDX-License-Identifier: MIT */
/* Frames: taken from the free stack and put back.  docs/model.md section 4. */
#include "host/lru.h"

/* Not so fresh if a call that was undone had it. */
static uint32_t take_fresh(struct pgste_host *host)
{
	const uint32_t frame = (uint32_t)host->fresh_frame++;

	if (has_lru(host)) {
		host->lru->flags[frame] = 0;
		if (has_gens(host))
			host->lru->gens->place[frame] = PLACE_NONE;
	}
	return frame;
}

/* The top of the stack; nr_free does not count it any more. */
static void take_freed(struct pgste_host *host, uint32_t frame)
{
	const struct frame *f = &host->frames[frame];

	host->free_frame = f->next;
	__builtin_prefetch(&host->frames[f->prev], 1);
	hint_exchange(&host->frame_hints, host->nr_free, f->prev);
}

uint32_t frame_take(struct pgste_host *host, uint64_t gfn, uint32_t owner)
{
	uint32_t frame = host->free_frame;
	uint64_t used;

	host->nr_free--;
	if (frame != NIL)
		take_freed(host, frame);
	else
		frame = take_fresh(host);
	host->frames[frame] = (struct frame){
		.slot = NIL,
		.gfn = gfn & FRAME_GFNS,
		.owner = owner & NOBODY,
	};
	used = host->config.nr_frames - host->nr_free;
	if (used > host->stats.frames_peak)
		host->stats.frames_peak = used;
	return frame;
}

void frame_forget(struct pgste_host *host, uint32_t frame)
{
	if (!has_lru(host))
		return;
	if (host->lru->flags[frame] & FRAME_WRITING)
		write_forget(host, frame);
	host->lru->flags[frame] = 0;
	if (has_gens(host))
		host->lru->gens->place[frame] = PLACE_NONE;
}

void frame_put(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];

	list_del(host, frame);
	if (has_lru(host)) {
		frame_forget(host, frame);
		host->lru->unmapped -= frame_is_unmapped(f);
	}
	if (f->slot != NIL)
		slot_uncache(host, frame);
	host->nr_held -= frame_holds(f);
	f->list = PGSTE_LIST_FREE;
	f->next = host->free_frame;
	f->prev = hint_exchange(&host->frame_hints, host->nr_free, frame);
	host->free_frame = frame;
	host->nr_free++;
}

/* Active ones first, the oldest of them first: all of them are in the swap cache alone. */
static void put_gens(struct pgste_host *host)
{
	const struct mglru *g = host->lru->gens;

	for (unsigned list = PGSTE_LIST_ACTIVE; list <= PGSTE_LIST_INACTIVE; list++)
		for (unsigned ahead = 1; ahead <= NR_GENS; ahead++) {
			uint32_t frame = g->lists[gen_of(g->max_seq + ahead)][GEN_ANON].tail;

			while (frame != NIL) {
				const uint32_t prev = host->frames[frame].prev;

				if (mglru_list_number(host, frame) == list)
					frame_put(host, frame);
				frame = prev;
			}
		}
}

void frames_put_all(struct pgste_host *host)
{
	if (has_gens(host)) {
		put_gens(host);
		return;
	}
	for (unsigned list = PGSTE_LIST_ACTIVE; list < PGSTE_NR_LISTS; list++)
		while (host->lists[list].tail != NIL)
			frame_put(host, host->lists[list].tail);
}

/* ---- what tests and tools look at ---- */

int pgste_host_frame(const struct pgste_host *host, uint64_t frame, struct pgste_frame_info *info)
{
	const struct frame *f;

	if (frame >= host->config.nr_frames)
		return PGSTE_E_ARG;
	*info = (struct pgste_frame_info){
		.list = PGSTE_LIST_FREE,
		.slot = NIL,
		.generation = NIL,
	};
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
		.generation = NIL,
	};
	if (has_gens(host)) {
		info->generation = gen_get(host->lru->gens, (uint32_t)frame);
		info->tier = tier_from_refs(mglru_refs(host, (uint32_t)frame));
	}
	return PGSTE_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * The pages of one batch: shrink_folio_list and shrink_active_list of mm/vmscan.c, for anonymous
 * and lazyfree pages.  docs/reclaim.md has the rules.
 */
#include "memory/vmscan.h"
#include "memory/victims.h"

static const enum pgste_frame_list active_list[] = { PGSTE_LIST_ACTIVE,
						     PGSTE_LIST_LAZYFREE_ACTIVE };
static const enum pgste_frame_list inactive_list[] = { PGSTE_LIST_INACTIVE,
							PGSTE_LIST_LAZYFREE };

void shrink_active(struct pgste_host *host, unsigned which, uint64_t nr)
{
	struct list *active = &host->lists[active_list[which]];

	for (nr = min_u64(nr, active->nr); nr; nr--) {
		const uint32_t frame = active->tail;
		struct frame *f = &host->frames[frame];

		fetch_victims(host, active);
		if (!frame_is_unmapped(f) && page_is_young(owner(host, frame), f->gfn))
			age_frame(owner(host, frame), f);
		host->lru->flags[frame] |= FRAME_WORKINGSET;
		list_move(host, inactive_list[which], frame);
	}
}

static enum fate stay(struct pgste_host *host, uint32_t frame, enum fate fate)
{
	list_move(host, (enum pgste_frame_list)host->frames[frame].list, frame);
	return fate;
}

void give_up_slot(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];

	if (f->slot != NIL && swap_nearly_full(host) && !f->writeback &&
	    host->slots[f->slot].count == 0) {
		slot_uncache(host, frame);
		f->dirty = 1;
	}
}

static enum fate activate(struct pgste_host *host, uint32_t frame)
{
	const struct frame *f = &host->frames[frame];

	give_up_slot(host, frame);
	list_move(host, active_list[f->list == PGSTE_LIST_LAZYFREE], frame);
	return FATE_ACTIVE;
}

enum fate evict_unmapped(struct pgste_host *host, uint32_t frame)
{
	lru_evicted(host, frame);
	host->stats.clean_evictions += (host->lru->flags[frame] & FRAME_AHEAD) != 0;
	frame_put(host, frame);
	return FATE_FREED;
}

enum fate evict_page(struct pgste_host *host, uint32_t frame)
{
	const uint64_t written = host->stats.swap_outs, unused = host->stats.unused_discards;
	const bool linux = !owner(host, frame)->rules;

	if (!drop_or_write(host, frame))
		return FATE_ACTIVE; /* lazyfree, and dirty or pinned */
	if (host->stats.swap_outs != written)
		return FATE_WRITTEN;
	return linux && host->stats.unused_discards != unused ? FATE_DROPPED : FATE_FREED;
}

static enum fate shrink_page(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	const bool was_referenced = f->referenced;

	if (f->locked)
		return stay(host, frame, FATE_LOCKED);
	if (!host->config.low && (host->lru->flags[frame] & FRAME_WRITING))
		write_wait(host, frame);
	if (f->writeback)
		return activate(host, frame);
	f->referenced = 0;
	if (frame_is_unmapped(f))
		return evict_unmapped(host, frame);
	if (page_is_young(owner(host, frame), f->gfn)) {
		age_frame(owner(host, frame), f);
		f->referenced = 1;
		return was_referenced ? activate(host, frame) : stay(host, frame, FATE_KEPT);
	}
	if (is_kept(f))
		return f->slot == NIL ? stay(host, frame, FATE_KEPT) : activate(host, frame);
	if (needs_slot(host, frame) && !host->nr_slots_free)
		return activate(host, frame);
	return evict_page(host, frame);
}

uint64_t shrink_inactive(struct pgste_host *host, struct scan *sc, unsigned which, uint64_t nr)
{
	struct list *inactive = &host->lists[inactive_list[which]];
	uint64_t fates[NR_FATES] = { 0 }, reclaimed;

	nr = min_u64(nr, inactive->nr);
	if (!nr)
		return 0;
	for (uint64_t left = nr; left && inactive->tail != NIL; left--) {
		fetch_victims(host, inactive);
		writes_step(host);
		fates[shrink_page(host, inactive->tail)]++;
	}
	host->stats.scanned += nr;
	sc->scanned += nr - fates[FATE_LOCKED];
	host->lru->age = (host->lru->age + (uint32_t)fates[FATE_ACTIVE]) & AGE_MASK;
	reclaimed = fates[FATE_FREED] + (host->config.write_delay ? 0 : fates[FATE_WRITTEN]);
	lru_note_cost(host, which, fates[FATE_WRITTEN] + fates[FATE_DROPPED], nr - reclaimed);
	return reclaimed;
}

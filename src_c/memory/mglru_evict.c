/* SPDX-License-Identifier: MIT */
/*
 * Eviction: a batch of the oldest generation is sorted, isolated, and shrunk (evict_folios of
 * mm/vmscan.c, and shrink_folio_list with generations).  docs/reclaim.md has the rules.
 */
#include "memory/mglru.h"
#include "memory/victims.h"

#define SORT_MOST (64u * GEN_BATCH) /* MAX_LRU_BATCH */

/* sort_folio: does the page move on, rather than be isolated? */
static bool sort_page(struct pgste_host *host, uint32_t frame, unsigned type, unsigned tier_idx)
{
	struct mglru *g = host->lru->gens;
	const unsigned tier = tier_from_refs(mglru_refs(host, frame));

	if (gen_get(g, frame) != gen_of(g->min_seq[type])) {
		mglru_relist(host, frame, gen_get(g, frame), false);
		return true;
	}
	if (tier <= tier_idx)
		return false;
	mglru_promote(host, frame, gen_of(g->min_seq[type] + 1)); /* folio_inc_gen */
	mglru_relist(host, frame, gen_of(g->min_seq[type] + 1), true);
	g->protected[type][tier]++;
	return true;
}

/* scan_folios */
static uint64_t scan_oldest(struct pgste_host *host, unsigned type, unsigned tier_idx)
{
	struct mglru *g = host->lru->gens;
	struct list *oldest = &g->lists[gen_of(g->min_seq[type])][type];
	uint64_t scanned = 0;

	if (nr_gens(g, type) == MIN_GENS)
		return 0;
	while (oldest->tail != NIL && scanned < SORT_MOST && g->isolated.nr < GEN_BATCH) {
		const uint32_t frame = oldest->tail;

		fetch_victims(host, oldest);
		scanned++;
		if (sort_page(host, frame, type, tier_idx))
			continue;
		mglru_take_out(host, frame, PLACE_ISOLATED);
		host->lru->flags[frame] &= (uint8_t)~FRAME_WORKINGSET;
		host->frames[frame].referenced = 0;
	}
	host->stats.scanned += g->isolated.nr;
	return g->isolated.nr || scanned == SORT_MOST ? scanned : 0;
}

/* isolate_folios: of the one kind, or if it has none of the other. */
static uint64_t isolate_batch(struct pgste_host *host, unsigned swappiness)
{
	const struct mglru *g = host->lru->gens;
	unsigned type, tier_idx;
	uint64_t scanned;

	if (swappiness && g->min_seq[GEN_ANON] >= g->min_seq[GEN_FILE] && swappiness != 1 &&
	    swappiness != PGSTE_MAX_SWAPPINESS) {
		type = mglru_type_to_scan(g, swappiness, &tier_idx);
	} else {
		type = swappiness > 1 || (swappiness && g->min_seq[GEN_ANON] <
								g->min_seq[GEN_FILE]) ?
			       GEN_ANON : GEN_FILE;
		tier_idx = mglru_tier_idx(g, type);
	}
	scanned = scan_oldest(host, type, tier_idx);
	if (scanned || !swappiness)
		return scanned;
	return scan_oldest(host, !type, mglru_tier_idx(g, !type));
}

static void keep_isolated(struct pgste_host *host, uint32_t frame, bool active)
{
	mglru_take_out(host, frame, PLACE_KEPT);
	if (active)
		host->lru->flags[frame] |= FRAME_ACTIVE;
}

/* shrink_folio_list for one page, which is mapped, and neither locked nor written. */
static void shrink_mapped(struct pgste_host *host, uint32_t frame, struct scan *sc)
{
	struct frame *f = &host->frames[frame];
	enum fate fate;

	if (mglru_look_around(host, frame)) {
		f->referenced = 1;
		keep_isolated(host, frame, false);
	} else if (is_kept(f) && f->slot == NIL) {
		keep_isolated(host, frame, false);
	} else if (is_kept(f) || (needs_slot(host, frame) && !host->nr_slots_free)) {
		give_up_slot(host, frame);
		keep_isolated(host, frame, true);
	} else {
		fate = evict_page(host, frame);
		sc->reclaimed += fate == FATE_FREED ||
				 (fate == FATE_WRITTEN && !host->config.write_delay);
	}
}

static void shrink_isolated(struct pgste_host *host, uint32_t frame, struct scan *sc)
{
	struct frame *f = &host->frames[frame];

	if (f->locked) {
		keep_isolated(host, frame, false);
		return;
	}
	sc->scanned++;
	if (!frame_is_unmapped(f) && f->referenced) { /* a neighbour has promoted it */
		keep_isolated(host, frame, false);
		return;
	}
	if (!host->config.low && (host->lru->flags[frame] & FRAME_WRITING))
		write_wait(host, frame);
	if (f->writeback) {
		give_up_slot(host, frame);
		keep_isolated(host, frame, true);
	} else if (frame_is_unmapped(f)) {
		evict_unmapped(host, frame);
		sc->reclaimed++;
	} else {
		shrink_mapped(host, frame, sc);
	}
}

/* Back to a generation; what was written meanwhile is tried once more, unless it was. */
static void put_back(struct pgste_host *host, uint32_t frame, bool last)
{
	const struct mglru *g = host->lru->gens;
	struct frame *f = &host->frames[frame];
	uint8_t *flags = &host->lru->flags[frame];
	const bool held = f->dirty || f->writeback;
	bool active = *flags & FRAME_ACTIVE;

	if (!((*flags & FRAME_AHEAD) && held)) {
		if (!(last || active || f->referenced || !frame_is_unmapped(f) || f->locked ||
		      held)) {
			mglru_take_out(host, frame, PLACE_ISOLATED);
			return;
		}
		active = true;
	}
	list_del(host, frame);
	f->referenced = 0;
	*flags &= (uint8_t)~FRAME_ACTIVE;
	mglru_place(host, frame, active ? g->max_seq : g->max_seq - 1, false);
}

uint64_t mglru_evict(struct pgste_host *host, struct scan *sc, unsigned swappiness)
{
	struct mglru *g = host->lru->gens;
	uint64_t scanned = isolate_batch(host, swappiness);

	scanned += mglru_try_to_inc_min_seq(g, swappiness);
	if (nr_gens(g, swappiness ? GEN_ANON : GEN_FILE) == MIN_GENS)
		scanned = 0;
	for (unsigned round = 0; round < 2; round++) {
		while (g->isolated.tail != NIL) {
			writes_step(host);
			shrink_isolated(host, g->isolated.tail, sc);
		}
		for (uint64_t nr = g->kept.nr; nr; nr--)
			put_back(host, g->kept.tail, round == 1);
	}
	return scanned;
}

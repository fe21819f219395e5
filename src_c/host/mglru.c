/* SPDX-License-Identifier: MIT */
/* Generations: their life, their lists, and what tests and tools see of them. */
#include "host/lru.h"

#include <stdlib.h>
#include <string.h>

struct mglru *mglru_new(uint64_t nr_frames)
{
	struct mglru *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->place = table_new(nr_frames);
	if (!g->place) {
		free(g);
		return NULL;
	}
	for (unsigned i = 0; i < NR_GENS * NR_TYPES; i++)
		g->lists[i / NR_TYPES][i % NR_TYPES] = (struct list){ .head = NIL, .tail = NIL };
	g->isolated = g->kept = (struct list){ .head = NIL, .tail = NIL };
	g->max_seq = MIN_GENS + 1; /* lru_gen_init_lruvec */
	return g;
}

void mglru_free(struct mglru *g, uint64_t nr_frames)
{
	if (g)
		table_free(g->place, nr_frames);
	free(g);
}

struct mglru *mglru_save(const struct mglru *g, uint64_t nr_frames)
{
	struct mglru *saved = malloc(sizeof(*saved));

	if (!saved)
		return NULL;
	*saved = *g;
	saved->place = malloc(nr_frames ? nr_frames : 1);
	if (!saved->place) {
		free(saved);
		return NULL;
	}
	memcpy(saved->place, g->place, nr_frames);
	return saved;
}

void mglru_restore(struct mglru *g, const struct mglru *saved, uint64_t nr_frames)
{
	uint8_t *place = g->place;

	memcpy(place, saved->place, nr_frames);
	*g = *saved;
	g->place = place;
}

void mglru_saved_free(struct mglru *saved)
{
	if (saved)
		free(saved->place);
	free(saved);
}

/* ---- lists ---- */

struct list *mglru_list(struct mglru *g, const struct frame *f, uint32_t frame)
{
	const unsigned place = g->place[frame] & PLACE_LIST;

	if (place == PLACE_ISOLATED)
		return &g->isolated;
	if (place == PLACE_KEPT)
		return &g->kept;
	return &g->lists[place - PLACE_GEN][gen_type(f)];
}

void mglru_place(struct pgste_host *host, uint32_t frame, uint64_t seq, bool tail)
{
	struct mglru *g = host->lru->gens;
	const unsigned gen = gen_of(seq), type = gen_type(&host->frames[frame]);

	g->place[frame] = (uint8_t)((PLACE_GEN + gen) | gen << PLACE_SHIFT);
	g->nr[gen][type]++;
	list_link(host, &g->lists[gen][type], frame, tail);
}

void mglru_list_del(struct pgste_host *host, uint32_t frame)
{
	struct mglru *g = host->lru->gens;
	const struct frame *f = &host->frames[frame];

	if (gen_has(g, frame))
		g->nr[gen_get(g, frame)][gen_type(f)]--;
	list_unlink(host, mglru_list(g, f, frame), frame);
}

void mglru_take_out(struct pgste_host *host, uint32_t frame, unsigned place)
{
	struct mglru *g = host->lru->gens;

	mglru_list_del(host, frame);
	g->place[frame] = (uint8_t)place;
	list_link(host, place == PLACE_KEPT ? &g->kept : &g->isolated, frame, false);
}

void mglru_list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	struct mglru *g = host->lru->gens;
	struct frame *f = &host->frames[frame];
	const bool lazyfree = list == PGSTE_LIST_LAZYFREE || list == PGSTE_LIST_LAZYFREE_ACTIVE;
	const uint64_t oldest = g->min_seq[GEN_FILE];

	f->list = (lazyfree ? PGSTE_LIST_LAZYFREE : PGSTE_LIST_INACTIVE) & 3;
	if ((g->place[frame] & PLACE_LIST) == PLACE_ISOLATED) {
		g->place[frame] = PLACE_KEPT;
		list_link(host, &g->kept, frame, false);
	} else if (list == PGSTE_LIST_LAZYFREE) {
		mglru_place(host, frame, oldest + (oldest + MIN_GENS < g->max_seq), false);
	} else if ((host->lru->flags[frame] & FRAME_AHEAD) && f->writeback) {
		mglru_place(host, frame, g->max_seq - 1, false);
	} else { /* folio_add_lru in a fault, or activated */
		mglru_place(host, frame, g->max_seq, false);
	}
}

void mglru_rotate(struct pgste_host *host, uint32_t frame)
{
	if (!gen_has(host->lru->gens, frame))
		return; /* !folio_test_lru */
	mglru_list_del(host, frame);
	mglru_place(host, frame, host->lru->gens->min_seq[GEN_ANON], true);
}

void mglru_promote(struct pgste_host *host, uint32_t frame, unsigned gen)
{
	struct mglru *g = host->lru->gens;
	const unsigned type = gen_type(&host->frames[frame]);

	if (!gen_has(g, frame)) {
		host->frames[frame].referenced = 1; /* it is isolated */
		return;
	}
	g->nr[gen_get(g, frame)][type]--;
	g->nr[gen][type]++;
	g->place[frame] = (uint8_t)((g->place[frame] & PLACE_LIST) | gen << PLACE_SHIFT);
	host->lru->flags[frame] &= (uint8_t)~FRAME_WORKINGSET;
}

void mglru_relist(struct pgste_host *host, uint32_t frame, unsigned gen, bool tail)
{
	struct mglru *g = host->lru->gens;
	const struct frame *f = &host->frames[frame];

	list_unlink(host, mglru_list(g, f, frame), frame);
	g->place[frame] = (uint8_t)((g->place[frame] & ~PLACE_LIST) | (PLACE_GEN + gen));
	list_link(host, &g->lists[gen][gen_type(f)], frame, tail);
}

/* ---- what others see ---- */

/* lru_gen_is_active: two generations are active, others are not. */
unsigned mglru_list_number(const struct pgste_host *host, uint32_t frame)
{
	const struct mglru *g = host->lru->gens;
	const bool lazyfree = gen_type(&host->frames[frame]) == GEN_FILE;

	if (gen_is_active(g, gen_get(g, frame)))
		return lazyfree ? PGSTE_LIST_LAZYFREE_ACTIVE : PGSTE_LIST_ACTIVE;
	return lazyfree ? PGSTE_LIST_LAZYFREE : PGSTE_LIST_INACTIVE;
}

void mglru_levels(const struct mglru *g, struct pgste_host_stats *stats)
{
	stats->frames_active = stats->frames_inactive = 0;
	stats->frames_lazyfree = stats->frames_lazyfree_active = 0;
	for (unsigned gen = 0; gen < NR_GENS; gen++) {
		const bool active = gen_is_active(g, gen);

		*(active ? &stats->frames_active : &stats->frames_inactive) += g->nr[gen][GEN_ANON];
		*(active ? &stats->frames_lazyfree_active : &stats->frames_lazyfree) +=
			g->nr[gen][GEN_FILE];
	}
}

/* Youngest first; a page that was promoted may still be on an older list. */
int64_t mglru_frames(const struct pgste_host *host, enum pgste_frame_list list, uint32_t *frames,
		     uint64_t max)
{
	const struct mglru *g = host->lru->gens;
	const bool file = list == PGSTE_LIST_LAZYFREE || list == PGSTE_LIST_LAZYFREE_ACTIVE;
	uint64_t nr = 0;

	for (unsigned back = 0; back < NR_GENS; back++) {
		const unsigned gen = gen_of(g->max_seq + NR_GENS - back);
		uint32_t frame = g->lists[gen][file ? GEN_FILE : GEN_ANON].head;

		for (; frame != NIL; frame = host->frames[frame].next) {
			if (mglru_list_number(host, frame) != (unsigned)list)
				continue;
			if (nr < max)
				frames[nr] = frame;
			nr++;
		}
	}
	return (int64_t)nr;
}

int pgste_host_generations(const struct pgste_host *host, struct pgste_generations *all)
{
	const struct mglru *g = host->lru ? host->lru->gens : NULL;

	if (!g)
		return PGSTE_E_ARG;
	all->max_seq = g->max_seq;
	for (unsigned type = 0; type < NR_TYPES; type++) {
		all->min_seq[type] = g->min_seq[type];
		for (unsigned gen = 0; gen < NR_GENS; gen++)
			all->pages[type][gen] = g->nr[gen][type];
		for (unsigned tier = 0; tier < NR_TIERS; tier++) {
			all->refaulted[type][tier] = g->refaulted[type][tier];
			all->evicted[type][tier] = g->evicted[type][tier];
			all->protected_pages[type][tier] = g->protected[type][tier];
			all->avg_refaulted[type][tier] = g->avg_refaulted[type][tier];
			all->avg_total[type][tier] = g->avg_total[type][tier];
		}
	}
	return PGSTE_OK;
}

int64_t pgste_host_generation(const struct pgste_host *host, unsigned gen, bool lazyfree,
			      uint32_t *frames, uint64_t max)
{
	const struct mglru *g = host->lru ? host->lru->gens : NULL;
	const struct list *l;
	uint64_t nr = 0;

	if (!g || gen >= NR_GENS)
		return PGSTE_E_ARG;
	l = &g->lists[gen][lazyfree ? GEN_FILE : GEN_ANON];
	for (uint32_t f = l->head; f != NIL && nr < max; f = host->frames[f].next)
		frames[nr++] = f;
	return (int64_t)l->nr;
}

/* SPDX-License-Identifier: MIT */
/*
 * Generations of pages (PGSTE_RECLAIM_MGLRU; struct lru_gen_folio of the kernel), beside what
 * lru.h has: docs/reclaim.md, section "mglru".
 */
#ifndef HOST_MGLRU_H
#define HOST_MGLRU_H

#include "host/host.h"

#define MIN_GENS 2u
#define NR_GENS PGSTE_NR_GENS
#define NR_TIERS PGSTE_NR_TIERS
#define GEN_BATCH 64u /* MIN_LRU_BATCH: BITS_PER_LONG */
enum { GEN_ANON, GEN_FILE, NR_TYPES };

/* The list that a frame is on, in the low bits of its place; the folio's generation above. */
enum { PLACE_NONE, PLACE_ISOLATED, PLACE_KEPT, PLACE_GEN };
#define PLACE_LIST 7u
#define PLACE_SHIFT 4

struct mglru {
	uint8_t *place; /* by frame */
	struct list lists[NR_GENS][NR_TYPES];
	struct list isolated, kept;	 /* of the batch that is looked at */
	uint64_t nr[NR_GENS][NR_TYPES]; /* by the folio's generation */
	uint64_t max_seq, min_seq[NR_TYPES];
	uint64_t refaulted[NR_TYPES][NR_TIERS], evicted[NR_TYPES][NR_TIERS];
	uint64_t protected[NR_TYPES][NR_TIERS]; /* of tier 0 none */
	uint64_t avg_refaulted[NR_TYPES][NR_TIERS], avg_total[NR_TYPES][NR_TIERS];
	bool walk; /* the reclaim that goes on has an mm_walk */
};

static inline unsigned gen_of(uint64_t seq)
{
	return (unsigned)(seq % NR_GENS);
}

static inline unsigned gen_type(const struct frame *f)
{
	return f->list == PGSTE_LIST_LAZYFREE ? GEN_FILE : GEN_ANON;
}

/* Is the frame on the list of a generation? */
static inline bool gen_has(const struct mglru *g, uint32_t frame)
{
	return (g->place[frame] & PLACE_LIST) >= PLACE_GEN;
}

/* folio_lru_gen, of such a frame */
static inline unsigned gen_get(const struct mglru *g, uint32_t frame)
{
	return g->place[frame] >> PLACE_SHIFT;
}

static inline bool gen_is_active(const struct mglru *g, unsigned gen)
{
	return gen == gen_of(g->max_seq) || gen == gen_of(g->max_seq - 1);
}

static inline uint64_t nr_gens(const struct mglru *g, unsigned type)
{
	return g->max_seq - g->min_seq[type] + 1;
}

/* ---- life, and what others see (mglru.c) ---- */

struct mglru *mglru_new(uint64_t nr_frames);
void mglru_free(struct mglru *g, uint64_t nr_frames);
struct mglru *mglru_save(const struct mglru *g, uint64_t nr_frames);
void mglru_restore(struct mglru *g, const struct mglru *saved, uint64_t nr_frames);
void mglru_saved_free(struct mglru *saved);
void mglru_levels(const struct mglru *g, struct pgste_host_stats *stats);
unsigned mglru_list_number(const struct pgste_host *host, uint32_t frame);
int64_t mglru_frames(const struct pgste_host *host, enum pgste_frame_list list, uint32_t *frames,
		     uint64_t max);

/* ---- lists (mglru.c) ---- */

struct list *mglru_list(struct mglru *g, const struct frame *f, uint32_t frame);
/* What list_add, list_del and list_rotate do: lru_gen_add_folio, folio_rotate_reclaimable. */
void mglru_list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame);
void mglru_list_del(struct pgste_host *host, uint32_t frame);
void mglru_rotate(struct pgste_host *host, uint32_t frame);
/* A frame that is on no list, into a generation. */
void mglru_place(struct pgste_host *host, uint32_t frame, uint64_t seq, bool tail);
/* From its list to one that is no generation's. */
void mglru_take_out(struct pgste_host *host, uint32_t frame, unsigned place);
/* The folio's generation changes, not its list: folio_update_gen and folio_inc_gen. */
void mglru_promote(struct pgste_host *host, uint32_t frame, unsigned gen);
/* Its list changes, not the folio's generation. */
void mglru_relist(struct pgste_host *host, uint32_t frame, unsigned gen, bool tail);

/* ---- tiers, and the ends of generations (mglru_seq.c) ---- */

unsigned tier_from_refs(unsigned refs);
/* folio_lru_refs: of anonymous memory PG_workingset is all there is. */
unsigned mglru_refs(const struct pgste_host *host, uint32_t frame);
void mglru_evicted(struct pgste_host *host, uint32_t frame);
void mglru_refault(struct pgste_host *host, uint32_t slot, uint32_t frame);
/* get_tier_idx, get_type_to_scan: the last tier that is evicted; the others are protected. */
unsigned mglru_tier_idx(const struct mglru *g, unsigned type);
unsigned mglru_type_to_scan(const struct mglru *g, unsigned swappiness, unsigned *tier_idx);
bool mglru_try_to_inc_min_seq(struct mglru *g, bool can_swap);
void mglru_inc_max_seq(struct mglru *g);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a host has beside when it reclaims as Linux does (PGSTE_RECLAIM_LRU): docs/reclaim.md.
 * A byte a frame, four bytes and a bit a slot; hosts of PGSTE_RECLAIM_SIMPLE have none of it.
 */
#ifndef HOST_LRU_H
#define HOST_LRU_H

#include "host/host.h"
#include "host/mglru.h"

/* ---- swap slots in clusters (cluster.c, cluster_alloc.c; mm/swapfile.c) ---- */

#define CLUSTER_SLOTS 256u /* SWAPFILE_CLUSTER without THP_SWAP */

enum cluster_flag { CLUSTER_FREE, CLUSTER_NONFULL, CLUSTER_FRAG, CLUSTER_FULL, CLUSTER_NONE };
struct cluster {
	uint32_t prev, next;
	uint16_t count; /* of its offsets, those that are no free slot */
	uint8_t flag;	/* enum cluster_flag: which list it is on */
};

/* ---- swap readahead (memory/readahead.c; mm/swap_state.c) ---- */

/* What is remembered: for the device if it rotates, else for each address space. */
struct window {
	uint64_t before; /* the offset, or gfn, of the fault before */
	uint32_t hits, last;
};
#define WINDOW_FIRST (struct window){ .before = UINT64_MAX - 1, .hits = 4 }

/* ---- the whole ---- */

#define FRAME_WORKINGSET 1u /* PG_workingset */
#define FRAME_ACTIVE 2u	    /* a lazyfree page on the active list */
#define FRAME_AHEAD 4u	    /* PG_readahead and PG_reclaim, which are one bit */
#define FRAME_WRITING 8u    /* in lru->writes */

/* Sizes of lists and activations as a reader of the kernel's statistics sees them. */
struct seen {
	uint64_t nr[PGSTE_NR_LISTS], activations;
};

/* Pages on their way to swap, in a ring: each ends write_delay steps after it began. */
struct write {
	uint32_t frame; /* NIL: it was taken from its page meanwhile */
	uint32_t due;	/* lru->clock by then */
};

struct lru {
	uint8_t *flags;	   /* FRAME_*, by frame */
	uint32_t *shadows; /* by slot: age << 2 | workingset << 1 | 1; 0: none */
	uint64_t *used;	   /* a bit a slot */
	struct cluster *clusters;
	uint32_t nr_clusters, fresh_cluster; /* fresh: the lowest never used, of whole ones */
	uint32_t first[CLUSTER_NONE], end[CLUSTER_NONE]; /* lists; fresh ones come before FREE */
	uint32_t next;	   /* offset where the next slot is looked for; 0: nowhere yet */
	uint32_t age;	   /* nonresident_age, modulo 2^30 */
	uint64_t cost[2];  /* of anonymous and of lazyfree pages */
	uint64_t activations, activated_before;
	uint64_t unmapped; /* frames of NOBODY */
	struct write *writes; /* config.write_delay + 1 of them */
	uint32_t first_write, nr_writes, clock;
	uint32_t nr_writing; /* frames with FRAME_WRITING: all in the ring but those taken away */
	struct seen seen;  /* where statistics are flushed by calls only */
	struct window window;
	struct mglru *gens; /* NULL: PGSTE_RECLAIM_LRU */
};

/* Reclaim by generations? */
static inline bool has_gens(const struct pgste_host *host)
{
	return has_lru(host) && __builtin_expect(host->lru->gens != NULL, 0);
}

#define AGE_MASK ((UINT32_C(1) << 30) - 1)

/* The number of the list that a frame is on, of a host without generations. */
static inline unsigned lru_list_number(const struct pgste_host *host, uint32_t frame)
{
	const unsigned list = host->frames[frame].list;
	const bool lazyfree = has_lru(host) && list == PGSTE_LIST_LAZYFREE;

	return lazyfree && (host->lru->flags[frame] & FRAME_ACTIVE) ? PGSTE_LIST_LAZYFREE_ACTIVE :
								      list;
}

static inline unsigned list_number(const struct pgste_host *host, uint32_t frame)
{
	return has_gens(host) ? mglru_list_number(host, frame) : lru_list_number(host, frame);
}

static inline bool frame_is_unmapped(const struct frame *f)
{
	return f->owner == NOBODY;
}

/* ---- life (lru.c) ---- */

/* host->lru, or NULL: no memory. */
struct lru *lru_new(const struct pgste_host_config *config);
void lru_free(struct lru *lru, const struct pgste_host_config *config);
/* A copy of all that a call may change, and back; NULL: no memory. */
struct lru *lru_save(const struct pgste_host *host);
void lru_restore(struct pgste_host *host, const struct lru *saved);
void lru_saved_free(struct lru *saved);
/* How long a list is, and how many refaults activated, as reclaim sees it. */
uint64_t lru_size(const struct pgste_host *host, enum pgste_frame_list list);
uint64_t lru_activations(const struct pgste_host *host);

/* An offset of the device is a slot + 1: offset 0 is its header. */
uint32_t cluster_alloc(struct pgste_host *host); /* a free slot; the caller checked for one */
void cluster_free(struct pgste_host *host, uint32_t slot);
/* To the tail of a list, unless it is on that list. */
void cluster_move(struct lru *lru, uint32_t number, enum cluster_flag flag);
/* The first of a list, taken off it; NIL: it is empty. */
uint32_t cluster_take(struct pgste_host *host, enum cluster_flag flag);
static inline bool slot_is_used(const struct lru *lru, uint64_t slot)
{
	return lru->used[slot / 64] >> slot % 64 & 1;
}

/* ---- pages that are being written (writes.c) ---- */

/* A page that was unmapped: it is in the swap cache alone, and stays until it is written. */
void write_begin(struct pgste_host *host, uint32_t frame);
/* Its page goes before it is written. */
void write_forget(struct pgste_host *host, uint32_t frame);
/* Wait until the write of this frame ends, and so those before it. */
void write_wait(struct pgste_host *host, uint32_t frame);
/* Wait for all of them. */
void writes_finish(struct pgste_host *host);
/* A step of time: writes that are due end. */
void writes_step(struct pgste_host *host);

/* ---- refaults and costs (workingset.c; mm/workingset.c, mm/swap.c) ---- */

enum { COST_ANON, COST_FILE };
void lru_note_cost(struct pgste_host *host, unsigned which, uint64_t io, uint64_t rotated);
/* The page of a frame in the swap cache leaves memory: a shadow of it stays with the slot. */
void lru_evicted(struct pgste_host *host, uint32_t frame);
/* A page comes back from a slot to a frame: is it active from the start? */
bool lru_refault(struct pgste_host *host, uint32_t slot, uint32_t frame);

#endif

/* SPDX-License-Identifier: MIT */
/* Host memory: frames, swap slots, reclaim. */
#ifndef PGSTE_HOST_H
#define PGSTE_HOST_H

#include "gfn.h"

PGSTE_BEGIN

#define PGSTE_MAX_FRAMES UINT64_C(0xfffffffe)
#define PGSTE_MAX_GUESTS 65535u

/* How the host takes frames from guests: docs/model.md section 4, docs/reclaim.md. */
enum pgste_reclaim { PGSTE_RECLAIM_SIMPLE = 0, PGSTE_RECLAIM_LRU = 1,
		     PGSTE_RECLAIM_MGLRU = 2 };

struct pgste_host_config {
	enum pgste_reclaim reclaim;
	uint64_t nr_frames;	/* 1 .. PGSTE_MAX_FRAMES */
	uint64_t nr_swap_slots; /* 0 .. PGSTE_MAX_FRAMES */
	uint64_t low;	 /* reclaim starts when free frames <= low at an allocation */
	uint64_t high;	 /* and goes on until free frames >= high; low < high <= nr_frames */
	uint32_t batch;	 /* pages that are moved from the active list at a time, >= 1 */
	/* of PGSTE_RECLAIM_LRU and PGSTE_RECLAIM_MGLRU: */
	uint8_t swappiness;   /* 0 .. 200 */
	uint8_t page_cluster; /* at most 2^this pages are read at once; 0 .. PGSTE_MAX_CLUSTER */
	/* pages looked at and frames asked for while one is written; 0 .. PGSTE_MAX_DELAY */
	uint16_t write_delay;
	bool rotational;      /* readahead by neighbours on the device, else in the guest */
	bool stale_stats;     /* reclaim sees sizes of lists as of pgste_host_flush_stats */
	bool no_mm_walk;      /* PGSTE_RECLAIM_MGLRU: aging does not walk page tables */
};
#define PGSTE_MAX_SWAPPINESS 200u
#define PGSTE_MAX_CLUSTER 5u
#define PGSTE_MAX_DELAY 4096u

/*
 * Watermarks of a zone of so many managed pages (__setup_per_zone_wmarks): min is its share of
 * vm.min_free_kbytes, in pages; scale is vm.watermark_scale_factor, 10 by default, in 1/10000.
 */
struct pgste_watermarks {
	uint64_t min, low, high;
};
void pgste_zone_watermarks(uint64_t managed, uint64_t min, unsigned scale,
			   struct pgste_watermarks *marks);
/*
 * vm.min_free_kbytes in pages where nobody has set it, for a machine of so many pages that has no
 * huge pages: the root of 16 times the KiB, held to 128 .. 262144 (calculate_min_free_kbytes).
 */
uint64_t pgste_min_free(uint64_t pages);

/* Fill in the defaults for the rest from reclaim and nr_frames; see docs/model.md. */
void pgste_host_defaults(struct pgste_host_config *config);
/* PGSTE_E_ARG: a field out of range; PGSTE_E_NOMEM. */
int pgste_host_new(const struct pgste_host_config *config, struct pgste_host **host);
/*
 * The host is about to go with all its guests: those that are freed from now on give nothing back,
 * which would take time for each page.  Nothing else may be done with it, or with them.
 */
void pgste_host_ends(struct pgste_host *host);
/* PGSTE_E_BUSY while guests live. */
int pgste_host_free(struct pgste_host *host);

/*
 * What reclaim does with a lazyfree page that is clean but has a reference beside its mapping.
 * A new host has the first.  PGSTE_E_ARG.
 *
 *   REFERENCED	v5.18 to v6.14: it is an ordinary page again, as a dirty one is
 *   DIRTY	v6.15 on: it stays lazyfree
 *   DISCARD	v4.12 to v5.17: it is dropped.  Its frame is free at once here; in the kernel
 *		it is when the reference goes
 */
enum pgste_rearm { PGSTE_REARM_REFERENCED, PGSTE_REARM_DIRTY, PGSTE_REARM_DISCARD };
int pgste_host_set_rearm(struct pgste_host *host, enum pgste_rearm rearm);

/*
 * The statistics of PGSTE_RECLAIM_LRU become what is true now, as the kernel's do every 2 s and
 * whenever memory.stat is read.  Matters with stale_stats only.
 */
void pgste_host_flush_stats(struct pgste_host *host);

/*
 * Free frames until n more are free, or nothing is left to take: frames freed, which with
 * PGSTE_RECLAIM_LRU may be more than n.
 */
int64_t pgste_host_reclaim(struct pgste_host *host, uint64_t n);
/*
 * Reclaim exactly these pages now, as MADV_PAGEOUT does: unused pages are dropped, clean
 * lazyfree pages discarded, others written to swap.  Pages without a frame are skipped.
 * Pages that left memory, or PGSTE_E_GFN, PGSTE_E_NO_SWAP, PGSTE_E_FOREIGN.
 */
int64_t pgste_swap_out(struct pgste_guest *guest, const struct pgste_gfns *gfns);

/*
 * What the folios of these pages are in beside their mapping, on or off; pages without a frame
 * are skipped.  It ends when the page loses the frame.
 *
 *   PINNED	somebody holds a reference (get_user_pages and the like): reclaim leaves the page
 *		alone, a lazyfree one see above
 *   LOCKED	somebody has the folio lock: reclaim leaves the page alone, MADV_FREE passes it
 *		over if it is dirty or in the swap cache
 *   WRITEBACK	it is being written to its swap slot (pages in the swap cache only): reclaim
 *		makes it active, MADV_FREE passes it over
 *   SHARED	a forked child maps it, too: the PTE is write-protected, a store takes a copy
 *		of its own, MADV_FREE passes the page over if it is dirty or in the swap cache.
 *		The child itself, and what it keeps when this guest's page goes, is not modelled.
 *
 * Pages that it changed, or PGSTE_E_GFN, PGSTE_E_ARG (what; z/VM has PINNED alone, and dat no
 * SHARED: its fork is a notifier, pgste_notifier_unmap).
 */
enum pgste_folio {
	PGSTE_FOLIO_PINNED = 0, PGSTE_FOLIO_LOCKED, PGSTE_FOLIO_WRITEBACK, PGSTE_FOLIO_SHARED
};
int64_t pgste_set_folio(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			enum pgste_folio what, bool on);

#define PGSTE_HOST_STATS(X)                                                                 \
	X(frames)	     /* frames in all */                                             \
	X(frames_free)	     /* free now */                                                  \
	X(frames_active)     /* on the active list */                                        \
	X(frames_inactive)   /* on the inactive list */                                      \
	X(frames_lazyfree)   /* on the lazyfree list */                                      \
	X(swap_slots)	     /* slots in all */                                              \
	X(swap_slots_free)   /* neither used nor held by the swap cache */                   \
	X(swap_slots_cached) /* held or shared by the swap cache */                          \
	X(frames_peak)	     /* most frames in use at once since the last stats reset */     \
	X(swap_peak)	     /* most slots in use at once since the last stats reset */      \
	X(swap_outs)	     /* pages written to swap */                                     \
	X(swap_ins)	     /* pages read from swap, those read ahead included */           \
	X(clean_evictions)   /* pages evicted whose slot still held them: no write */        \
	X(unused_discards)   /* unused pages that reclaim dropped unwritten (B2) */          \
	X(lazyfree_discards) /* lazyfree pages that reclaim dropped unwritten (C3) */        \
	X(lazyfree_rearmed)  /* lazyfree pages that reclaim made ordinary again */           \
	X(zero_fills)	     /* frames handed out zeroed */                                  \
	X(scanned)	     /* pages that reclaim looked at */                              \
	X(reclaims)	     /* times that reclaim ran */                                    \
	X(volatile_discards) /* volatile pages that reclaim dropped unwritten (z/VM) */      \
	X(readaheads)	     /* pages read from swap that nobody had asked for yet */        \
	X(readahead_hits)    /* faults that found such a page in memory */                   \
	X(refaults)	     /* pages read from swap whose eviction was still remembered */  \
	X(refaults_activated) /* of these, those that became active at once */              \
	X(frames_lazyfree_active) /* on the active list of lazyfree pages */                 \
	X(frames_unmapped)   /* in the swap cache alone: read ahead, or written just now */

struct pgste_host_stats {
	PGSTE_HOST_STATS(PGSTE_STATS_FIELD)
};
void pgste_host_get_stats(const struct pgste_host *host, struct pgste_host_stats *stats);
/* Zero the event counters of the host (not those of its guests); peaks restart at now. */
void pgste_host_reset_stats(struct pgste_host *host);
/* Name of the i-th field in struct order, NULL past the end. */
const char *pgste_host_stats_name(unsigned i);

/* One swap slot: use count, cached frame (UINT32_MAX: none), content tag. PGSTE_E_ARG. */
struct pgste_slot_info {
	uint32_t count;
	uint32_t frame;
	uint32_t tag;
};
int pgste_host_slot(const struct pgste_host *host, uint64_t slot, struct pgste_slot_info *info);

enum pgste_frame_list {
	PGSTE_LIST_FREE = 0, PGSTE_LIST_ACTIVE, PGSTE_LIST_INACTIVE, PGSTE_LIST_LAZYFREE,
	PGSTE_LIST_LAZYFREE_ACTIVE /* PGSTE_RECLAIM_LRU alone */
};
#define PGSTE_NR_LISTS 5u
struct pgste_frame_info {
	enum pgste_frame_list list;
	uint32_t guest; /* pgste_guest_number of the owner; 0 when free */
	uint64_t gfn;
	uint32_t tag;
	uint32_t slot;	/* swap slot of the swap cache, UINT32_MAX: none */
	bool referenced, dirty, pinned, locked, writeback, shared;
	bool mapped; /* by its page; else the swap cache alone has it: no guest, no gfn */
	/* PGSTE_RECLAIM_MGLRU: number of the generation, its sequence number modulo PGSTE_NR_GENS
	   (else UINT32_MAX), and tier */
	uint32_t generation, tier;
};
int pgste_host_frame(const struct pgste_host *host, uint64_t frame, struct pgste_frame_info *info);
/* Frames of a list, head (newest) first, at most max of them: how many the list has. */
int64_t pgste_host_list(const struct pgste_host *host, enum pgste_frame_list list,
			uint32_t *frames, uint64_t max);

/*
 * Generations of PGSTE_RECLAIM_MGLRU: docs/reclaim.md.  Types are 0, anonymous pages, and 1,
 * lazyfree ones; a generation's number is its sequence number modulo PGSTE_NR_GENS.
 */
#define PGSTE_NR_GENS 4u
#define PGSTE_NR_TIERS 4u
struct pgste_generations {
	uint64_t max_seq, min_seq[2];
	uint64_t pages[2][4]; /* by the generation that the page has */
	/* of the oldest generation, by tier; and what earlier ones left of them */
	uint64_t refaulted[2][4], evicted[2][4];
	uint64_t protected_pages[2][4];
	uint64_t avg_refaulted[2][4], avg_total[2][4];
};
/* PGSTE_E_ARG: a host without generations. */
int pgste_host_generations(const struct pgste_host *host, struct pgste_generations *all);
/*
 * Frames on the list of a generation, head first, at most max of them: how many it has.  A page
 * that was found young is on its old list until eviction comes by.  PGSTE_E_ARG.
 */
int64_t pgste_host_generation(const struct pgste_host *host, unsigned gen, bool lazyfree,
			      uint32_t *frames, uint64_t max);

PGSTE_END

#endif

/* SPDX-License-Identifier: MIT */
/* A guest: its life, its free and alloc calls, loads and stores, clock and counters. */
#ifndef PGSTE_GUEST_H
#define PGSTE_GUEST_H

#include "cmma_log.h"
#include "generation.h"
#include "slots.h"
#include "gfn.h"
#include "host_pte.h"

PGSTE_BEGIN

#define PGSTE_CBRL_MAX 511u
#define PGSTE_MAX_VCPUS 1024u

struct pgste_guest_config {
	uint64_t nr_pages;		  /* 1 .. PGSTE_MAX_PAGES */
	enum pgste_generation generation;
	const char *mechanism;		  /* see pgste_mechanism_name */
	uint32_t nr_vcpus;		  /* 1 .. PGSTE_MAX_VCPUS */
	uint32_t cbrl_entries;		  /* 1 .. PGSTE_CBRL_MAX */
	bool nodat;			  /* facility 147: orc 7 exists, arch_alloc_page uses it */
	bool strict;			  /* free of a free page: PGSTE_E_STATE, not counted */
	enum pgste_revision revision;	  /* of dat; others have the first alone */
	bool cmma_later;		  /* "cmma": not enabled, and no vcpu created yet */
	bool interpretation;		  /* the host carries out every ESSA at once (KVM) */
	enum pgste_log_revision log_revision; /* dat: DAT, DAT_NEW, 0: revision's; else 0 */
	/*
	 * nr_slots memory slots, whose ids are 0, 1, ...; NULL: one of all pages at the same
	 * host pages, with dirty logging.  Errors as of pgste_slot_add.  KVM only.
	 */
	const struct pgste_slot *slots;
	uint32_t nr_slots;
	bool own_memory;		  /* frames and slots are the caller's, see pte.h (KVM) */
	bool storage_keys;		  /* the guest uses keys from the start, see skey.h (KVM) */
	/*
	 * Loads may map the shared zero page, until the guest uses keys: v6.10 on; see skey.h
	 * (KVM; not of own_memory, nor with memfd).
	 */
	bool allow_cow_sharing;
	/*
	 * The guest's memory is a shared mapping of a file in memory (memfd): a page that loses
	 * its frame leaves its content to the file, whose own memory is not counted, and finds it
	 * again.  MADV_FREE is refused there.  KVM; not with own_memory, nor on a host with lru.
	 */
	bool memfd;
	/*
	 * The host has the guest's memory locked (mlockall): every page has a frame of zeros from
	 * the start, reclaim passes it over, MADV_DONTNEED, MADV_FREE and MADV_PAGEOUT are refused
	 * there.  With memfd, reporting punches holes all the same.  PGSTE_E_NO_FRAME: not enough
	 * frames.  KVM; not with own_memory, nor on a host with lru.
	 */
	bool mlock;
};

/* Names of the mechanisms, in table order, NULL past the end. */
const char *pgste_mechanism_name(unsigned i);

/*
 * All pages stable, in use, nothing mapped but with mlock.  PGSTE_E_ARG, PGSTE_E_NAME,
 * PGSTE_E_NOMEM; with mlock PGSTE_E_NO_FRAME.
 */
int pgste_guest_new(struct pgste_host *host, const struct pgste_guest_config *config,
		    struct pgste_guest **guest);
/* Gives every frame and swap slot of the guest back to the host.  NULL is allowed. */
void pgste_guest_free(struct pgste_guest *guest);
uint64_t pgste_guest_pages(const struct pgste_guest *guest);
/* The number under which pgste_host_frame names this guest. */
uint32_t pgste_guest_number(const struct pgste_guest *guest);
/* Bytes that one page costs in this guest's arrays (times 8, so that bits count). */
uint64_t pgste_guest_page_bits(const struct pgste_guest *guest);

/* arch_free_page / arch_alloc_page of blocks of 2^order pages, order 0 .. 39. PGSTE_E_GFN,
 * PGSTE_E_ARG (vcpu, order), PGSTE_E_STATE. */
int pgste_free(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
	       unsigned order);
int pgste_alloc(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
		unsigned order);
int pgste_free_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn);
int pgste_alloc_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn);

/*
 * Stores and loads by the guest, faulting pages in.  A page's content is one 32-bit tag,
 * 0 = all zero.  tag_step is 1 for a tag a gfn, 0 for tags[0] everywhere.
 * PGSTE_E_GFN, PGSTE_E_FOREIGN, PGSTE_E_NO_FRAME (state as before the call), PGSTE_E_NOMEM.
 */
int pgste_write(struct pgste_guest *guest, const struct pgste_gfns *gfns, const uint32_t *tags,
		unsigned tag_step);
int pgste_read(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags);
/*
 * z/VM: a load or store of an unused page is PGSTE_E_PGM_ADDRESSING, of a volatile page
 * that was discarded PGSTE_E_PGM_DISCARD; the gfn that the last such interruption named:
 */
uint64_t pgste_fault_gfn(const struct pgste_guest *guest);
/*
 * What a load would give, without making it: nothing changes.  Foreign pages give 0; so do
 * discarded ones, and of unused pages of z/VM what a load would if they were made stable.
 */
int pgste_peek(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags);

/*
 * A device that has the pages' frames stores to them (DMA): the content is another, and no PTE
 * hears of it.  tag_step as for pgste_write.  Pages that were in memory, or the file's where
 * there is one (memfd); others are left alone.
 * PGSTE_E_ARG, PGSTE_E_GFN.
 */
int64_t pgste_poke(struct pgste_guest *guest, const struct pgste_gfns *gfns, const uint32_t *tags,
		   unsigned tag_step);

/* Whether the guest's allocator has each page free (0, 1).  PGSTE_E_GFN. */
int pgste_get_free(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint8_t *free);

/* ---- the clock ---- */

#define PGSTE_MAX_NS (UINT64_C(1) << 62)
/*
 * The guest's clock: 0 at first; pgste_advance moves it, and so does a replay that needs it,
 * which leaves it at PGSTE_MAX_NS if its trace lasts longer.
 */
uint64_t pgste_now(const struct pgste_guest *guest);
/* Let ns pass, and do on the way what the mechanism does by the clock.  PGSTE_E_ARG: the
 * clock would pass PGSTE_MAX_NS. */
int pgste_advance(struct pgste_guest *guest, uint64_t ns);

/* ---- counters ---- */

#define PGSTE_GUEST_STATS(X)                                                                 \
	X(essa)		     /* ESSA instructions */                                         \
	X(appended)	     /* CBRL entries written */                                      \
	X(intercepts)	     /* exits to process a CBRL, those asked for included */          \
	X(processed)	     /* CBRL entries processed */                                    \
	X(zapped)	     /* pages zapped: swap entry given up, PTE none */               \
	X(zap_slots_freed)   /* swap slots that became free by that */                       \
	X(hints)	     /* ESSA, madvise or report calls made for free and alloc */     \
	X(hint_pages)	     /* pages these covered */                                       \
	X(hint_frames_freed) /* host frames given back by hints at once */                   \
	X(hint_slots_freed)  /* swap slots given back by hints at once */                    \
	X(pages_freed)	     /* pages that the guest freed */                                \
	X(pages_allocated)   /* pages that the guest allocated */                            \
	X(double_frees)	     /* frees of pages that were free */                             \
	X(double_allocs)     /* allocs of pages that were in use */                          \
	X(zero_fills)	     /* page faults answered with a zeroed frame */                  \
	X(swap_ins)	     /* page faults answered from swap */                            \
	X(swap_outs)	     /* pages of this guest written to swap */                       \
	X(unused_discards)   /* unused pages that reclaim dropped unwritten */               \
	X(lazyfree_discards) /* lazyfree pages that reclaim dropped unwritten */             \
	X(volatile_discards) /* volatile pages that reclaim dropped unwritten (z/VM) */        \
	X(zero_page_maps)    /* page faults answered with the shared zero page */

struct pgste_guest_stats {
	PGSTE_GUEST_STATS(PGSTE_STATS_FIELD)
};
void pgste_guest_get_stats(const struct pgste_guest *guest, struct pgste_guest_stats *stats);
void pgste_guest_reset_stats(struct pgste_guest *guest);
const char *pgste_guest_stats_name(unsigned i);

/* First broken invariant of a host and its guests as a fixed sentence, NULL if none. Slow. */
const char *pgste_validate(const struct pgste_host *host);

PGSTE_END

#endif

/* SPDX-License-Identifier: MIT */
/* Exhaustive search of small systems for what is guaranteed. */
#ifndef PGSTE_SEARCH_H
#define PGSTE_SEARCH_H

#include "generation.h"
#include "host.h"
#include "reporting.h"

PGSTE_BEGIN

/*
 * A guest of one to three pages on a host of its own is driven through every sequence of
 * these actions, breadth first, and each question gets the shortest run that settles it, or
 * the knowledge that no state does.  docs/guarantees.md.
 */
#define PGSTE_ACTIONS(X)                                                                     \
	X(WRITE, write)		  /* store by the guest */                                    \
	X(READ, read)		  /* load by the guest */                                     \
	X(SWAP_OUT, swap_out)	  /* the host reclaims the page */                            \
	X(SWAP_IN, swap_in)	  /* the host faults the page in */                           \
	X(FREE, free)		  /* free, of a page that is free too */                      \
	X(FREE_RACED, free_raced) /* free, with a store just before the host is told */       \
	X(ALLOC, alloc)		  /* alloc, of a page in use too */                           \
	X(TAKE, take)		  /* the guest uses a free page again without alloc */        \
	X(ZAP, zap)		  /* the host zaps the page if it may, however late */        \
	X(PIN, pin)		  /* a reference beside the mapping, taken or dropped */      \
	X(RECLAIM, reclaim)	  /* the host reclaims one frame, whichever */                \
	X(INTERCEPT, intercept)	  /* the host processes the list */                           \
	X(ZAP_SCAN, zap_scan)	  /* the host zaps every page that it may */                  \
	X(RESET, reset_cmma)	  /* KVM_S390_VM_MEM_CLR_CMMA */                              \
	X(MIGRATE, migrate)	  /* migration mode on or off */                              \
	X(REPORT, report)	  /* reporting: the pass or the ack that is due */            \
	X(PRESSURE, pressure)	  /* the host runs out of memory: all it can reclaim goes */

#define PGSTE_ACTION_ENUM(NAME, name) PGSTE_ACTION_##NAME,
enum pgste_action { PGSTE_ACTIONS(PGSTE_ACTION_ENUM) PGSTE_NR_ACTIONS };
const char *pgste_action_name(unsigned i);

/* Each is something that may happen; a guarantee is that it never does. */
#define PGSTE_QUESTIONS(X)                                                                   \
	X(FREE_NOT_ZERO, free_not_zero)	    /* right after free a load does not give zero */  \
	X(FREE_SWAPPED_NOT_ZERO, free_swapped_not_zero) /* the same for a swapped page */     \
	X(FREE_READABLE, free_readable)	    /* right after free a load works */               \
	X(ZAP_NOT_ZERO, zap_not_zero)	    /* after the zap a load does not give zero */     \
	X(ALLOC_NOT_ZERO, alloc_not_zero)   /* after alloc a load does not give zero */       \
	X(ZAPPED, zapped)		    /* the host gives a free page's content up */     \
	X(NOT_ZAPPED_AT_ONCE, not_zapped_at_once) /* the host keeps something after free */   \
	X(NOT_ZAPPED_LATER, not_zapped_later) /* and still does when it ran short */          \
	X(STALE, stale)			    /* a load gives data from before the free */      \
	X(STALE_AFTER_ZERO, stale_after_zero) /* the same after it once read as zero */       \
	X(TOUCH_FAULTS, touch_faults)	    /* a load or store of a free page is refused */   \
	X(LOST_IN_USE, lost_in_use)	    /* a store made after alloc is lost */            \
	X(LOST_FREE, lost_free)		    /* one made between free and alloc is */          \
	X(LOST_TAKEN, lost_taken)	    /* one made with alloc skipped is */              \
	X(LOST_RACED, lost_raced)	    /* one made while the host is told is */          \
	X(REUSE_FAILS, reuse_fails)	    /* with alloc skipped a store is lost or refused */ \
	X(ZAP_HARMS, zap_harms)		    /* zapping one page changes another */            \
	X(ENTRY_LOST, entry_lost)	    /* a list entry goes unprocessed */               \
	X(ENTRY_FREED_TWICE, entry_freed_twice) /* a swap slot is given up twice */           \
	X(STABLE_ZERO_LOST, stable_zero_lost) /* a page made stable with ZERO set loses content */

#define PGSTE_QUESTION_ENUM(NAME, name) PGSTE_QUESTION_##NAME,
enum pgste_question { PGSTE_QUESTIONS(PGSTE_QUESTION_ENUM) PGSTE_NR_QUESTIONS };
const char *pgste_question_name(unsigned i);

struct pgste_search_config {
	const char *mechanism;
	enum pgste_generation generation;
	enum pgste_rearm rearm;
	enum pgste_poison poison; /* of free page reporting */
	uint32_t nr_pages;	 /* 1 .. 3 */
	uint32_t nr_frames;	 /* 1 .. nr_pages */
	uint32_t nr_swap_slots;	 /* 0 .. nr_pages */
	uint32_t cbrl_entries;	 /* 1 .. 2 */
	bool obedient;		 /* pages but the watched one, 0, keep to the protocol */
	uint64_t max_states;	 /* PGSTE_E_NOMEM beyond */
};

struct pgste_step {
	uint8_t action; /* enum pgste_action */
	uint8_t gfn;	/* 0 for actions without a page, those from RECLAIM on */
};
#define PGSTE_SEARCH_STEPS 64u

struct pgste_search_answer {
	uint64_t premises;  /* transitions on which the question arose at all */
	uint32_t nr_steps;  /* of the shortest run that shows it; 0: it never happens */
	struct pgste_step steps[PGSTE_SEARCH_STEPS];
};
struct pgste_search_result {
	uint64_t states, transitions;
	uint32_t depth; /* steps to the farthest state */
	struct pgste_search_answer answers[PGSTE_NR_QUESTIONS];
};
/* PGSTE_E_ARG, PGSTE_E_NAME, PGSTE_E_NOMEM. */
int pgste_search(const struct pgste_search_config *config, struct pgste_search_result *result);

PGSTE_END

#endif

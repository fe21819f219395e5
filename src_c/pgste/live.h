/* SPDX-License-Identifier: MIT */
/* Live memory: the guest's verbs over real memory of this process and the real madvise(2). */
#ifndef PGSTE_LIVE_H
#define PGSTE_LIVE_H

#include "gfn.h"

PGSTE_BEGIN

/*
 * The guest's verbs over real memory of this process and the real madvise(2).  A gfn is a
 * page of the mapping, of the machine's page size.  Beside enum pgste_error these functions
 * return PGSTE_OS_ERROR(errno) for a system call that the kernel refused; *cost then tells
 * the run of pages it was refused for, and the runs before that one are done.
 * Not for use after fork (the child has no such mapping).
 */
#define PGSTE_OS_ERROR(os_errno) (-1000 - (os_errno))
#define PGSTE_OS_ERRNO(error) ((error) < -1000 ? -1000 - (int)(error) : 0)

struct pgste_live;

enum pgste_live_backing {
	PGSTE_LIVE_ANONYMOUS = 0, /* private anonymous: what a guest's memory is */
	PGSTE_LIVE_SHARED,	  /* shared anonymous */
	PGSTE_LIVE_FILE,	  /* private mapping of fd, which must hold nr_pages pages */
	PGSTE_LIVE_HUGETLB	  /* private, from the pool of huge pages */
};

struct pgste_live_config {
	uint64_t nr_pages; /* 1 .. PGSTE_MAX_PAGES; hugetlb rounds it up to whole huge pages */
	enum pgste_live_backing backing;
	int fd;		   /* PGSTE_LIVE_FILE: stays the caller's, may be closed afterwards */
};

/* What the system calls of one function took; ns is CLOCK_MONOTONIC around them. */
struct pgste_live_cost {
	uint64_t calls, pages, ns;
	uint64_t failed_gfn, failed_pages; /* the run that was refused */
};

/*
 * Starts with MADV_NOHUGEPAGE (PGSTE_LIVE_ANONYMOUS is aligned to 2 MiB, so that MADV_HUGEPAGE
 * may follow) and MADV_DONTFORK.  PGSTE_E_ARG, PGSTE_E_NOMEM, or what mmap refused.
 */
int pgste_live_new(const struct pgste_live_config *config, struct pgste_live **live);
void pgste_live_free(struct pgste_live *live);
uint64_t pgste_live_pages(const struct pgste_live *live);
uint64_t pgste_live_page_bytes(const struct pgste_live *live);
/* First byte of the mapping. */
void *pgste_live_base(const struct pgste_live *live);
/* mlock2(MLOCK_ONFAULT) of the whole mapping. */
int pgste_live_lock(struct pgste_live *live);
/*
 * mlockall of all that this process has and will have but this mapping (Linux 4.4): whoever is to
 * be measured by it alone has nothing else that a group could swap.  An error of the system: what
 * RLIMIT_MEMLOCK allows is too little.
 */
int pgste_live_lock_others(struct pgste_live *live);
/* Whether process_madvise and PAGEMAP_SCAN may be used (default: tried when first needed). */
void pgste_live_allow(struct pgste_live *live, bool vector, bool scan);

/*
 * madvise with a MADV_* number of blocks of 2^order pages; blocks of which one begins where
 * the one before ended become one call, and several runs one process_madvise where the
 * kernel allows it on oneself.  Pages told, or PGSTE_E_GFN, PGSTE_E_ARG (order > 39).
 */
int64_t pgste_live_advise(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned order,
			  int advice, struct pgste_live_cost *cost);
/*
 * Store and load 32-bit words at a byte offset (a multiple of 4) in each page, with real
 * loads and stores that fault.  store: word_step is 1 for a word a gfn, 0 for words[0];
 * load: nr_words words a gfn.  PGSTE_E_GFN, PGSTE_E_ARG.  cost may be NULL.
 */
int pgste_live_store(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned offset,
		     const uint32_t *words, unsigned word_step, struct pgste_live_cost *cost);
int pgste_live_load(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned offset,
		    uint32_t *words, unsigned nr_words, struct pgste_live_cost *cost);

/* A page as /proc/self/pagemap shows it; the last three bits come from /proc/kpageflags. */
#define PGSTE_LIVE_PRESENT 0x01
#define PGSTE_LIVE_SWAPPED 0x02
#define PGSTE_LIVE_ZERO 0x04	  /* present: the shared zero page (with PAGEMAP_SCAN or flags) */
#define PGSTE_LIVE_HUGE 0x08	  /* present: part of a huge mapping (with PAGEMAP_SCAN) */
#define PGSTE_LIVE_EXCLUSIVE 0x10 /* present: mapped here only */
#define PGSTE_LIVE_LAZYFREE 0x20  /* present: anonymous and not swap-backed */
#define PGSTE_LIVE_SWAPCACHE 0x40 /* present: in the swap cache */
#define PGSTE_LIVE_WRITEBACK 0x80 /* present: being written to its slot */

/* Residency without touching the pages.  flags: ask kpageflags too, which needs root. */
int pgste_live_states(struct pgste_live *live, const struct pgste_gfns *gfns, uint8_t *states,
		      bool flags);
/* mincore(2): 1 for a page that is in memory, or in the swap cache, else 0. */
int pgste_live_mincore(struct pgste_live *live, const struct pgste_gfns *gfns, uint8_t *resident);

struct pgste_live_counts {
	uint64_t present, swapped; /* present: those on the shared zero page not included */
	uint64_t zero;		   /* on the shared zero page */
	uint64_t huge;		   /* of the present ones, part of a huge mapping */
};
/* Over the whole mapping, by PAGEMAP_SCAN, or page by page where the kernel has none. */
int pgste_live_count(struct pgste_live *live, struct pgste_live_counts *counts);

#define PGSTE_LIVE_REPLAY_STATS(X)                                                           \
	X(events)	 /* events replayed */                                               \
	X(touched)	 /* pages stored to after an alloc */                                \
	X(touch_ns)	 /* time of these stores, page faults and swap-in included */        \
	X(hints)	 /* madvise calls */                                                 \
	X(hint_pages)	 /* pages these covered */                                           \
	X(hint_ns)	 /* time in them */                                                  \
	X(stale_allocs)	 /* allocs of which a page still held old bytes */                   \
	X(stale_pages)	 /* such pages */                                                    \
	X(implied_frees) /* pages allocated while in use: freed first */                     \
	X(ignored_frees) /* pages freed while free: left out */                              \
	X(loads)	 /* accesses of pages in use */                                      \
	X(stores)                                                                            \
	X(ignored_accesses) /* accesses of free pages: left out */                           \
	X(access_ns)	 /* time of accesses, page faults and swap-in included */

struct pgste_live_replay_stats {
	PGSTE_LIVE_REPLAY_STATS(PGSTE_STATS_FIELD)
};
const char *pgste_live_replay_stats_name(unsigned i);

/* State of a replay on live memory, zeroed by the caller; in_use has a byte a page. */
struct pgste_live_replay {
	struct pgste_live *live;
	uint8_t *in_use;
	int advice; /* MADV_* number of a free, -1: none */
	uint32_t tag;
	uint64_t pending_gfn, pending_nr; /* run of freed pages not yet told */
	/* as for pgste_replay_set_accesses; places count events of all calls */
	const uint64_t *accesses;
	const uint64_t *places;
	uint64_t nr_accesses, next_access;
	struct pgste_live_replay_stats stats;
};
/* Store to the pages that are in use, as the setup of pgste_replay does. */
void pgste_live_replay_setup(struct pgste_live_replay *replay);
/*
 * Replay events, whose pfn is a gfn here, with the rules of pgste_replay: events done, or
 * PGSTE_E_ARG for an event that does not fit (those before it are done), or what madvise
 * refused.  end: tell the pending run of freed pages too.
 */
int64_t pgste_live_replay_run(struct pgste_live_replay *replay, const uint64_t *events,
			      uint64_t nr, bool end);

PGSTE_END

#endif

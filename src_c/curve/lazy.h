/* SPDX-License-Identifier: MIT */
/*
 * Free pages that hosts keep until they need a frame, the first freed going first.  Which of them
 * a host still has depends on its size in no way that one order of pages tells, so each size that
 * is asked for has a queue.  All queues are the same log of frees, each from a place of its own.
 */
#ifndef CURVE_LAZY_H
#define CURVE_LAZY_H

#include "base/base.h"

struct lazy {
	const uint64_t *sizes;
	uint64_t nr_sizes;
	struct lazy_entry {
		uint32_t page, depth; /* only hosts of depth frames and more had it in memory */
	} *log;
	uint32_t nr_log, nr_max;
	uint32_t *entry;   /* of each page, in the log; NIL: none */
	uint32_t *from;	   /* of each size: entries below are dropped or were never there */
	uint64_t *kept;	   /* of each size: pages in the queue */
	uint64_t *filled;  /* how often exactly the sizes below this index filled a frame */
	uint64_t *dropped; /* of each size */
	uint64_t nr_stored; /* different pages stored to: so many frames the largest host uses */
};

/* For so many pages and frees; PGSTE_E_NOMEM.  lazy_free() also after that. */
int lazy_new(struct lazy *l, const uint64_t *sizes, uint64_t nr_sizes, uint32_t nr_pages,
	     uint64_t nr_frees);
void lazy_free(struct lazy *l, uint32_t nr_pages);
void lazy_page_freed(struct lazy *l, uint32_t page, uint32_t depth);
/* is_new: nobody has stored to the page yet. */
void lazy_page_stored(struct lazy *l, uint32_t page, bool is_new);
/* What was counted so far is not counted. */
void lazy_reset(struct lazy *l);

#endif

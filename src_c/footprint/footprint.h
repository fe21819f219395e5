/* SPDX-License-Identifier: MIT */
/*
 * A trace over one guest whose host has room for all.  A rule hears of frees and allocs, and says
 * what the host gets back; backing.c knows what memory there is behind the guest's pages.
 */
#ifndef FOOTPRINT_FOOTPRINT_H
#define FOOTPRINT_FOOTPRINT_H

#include "base/base.h"
#include "pgste/footprint.h"

#define NOT_DUE UINT64_MAX
#define FOOTPRINT_MAX_ORDER 15u /* of blocks and folios: 128 MiB */

/* Of each page of the guest. */
enum {
	FP_FREE = 1,	/* the guest's allocator has it */
	FP_COUNTED = 2, /* its memory counts */
	FP_MAPPED = 4,	/* by a page of its own */
	FP_PART = 8,	/* by a folio that is mapped page by page */
	FP_SEEN = 16,	/* in an event */
	FP_OUT = 32	/* paged out */
};

/* Of each place for a folio. */
enum place_state { PLACE_EMPTY = 0, PLACE_FOLIO, PLACE_PARTS, PLACE_TABLE };
struct place {
	uint32_t counted; /* pages of it that count */
	uint32_t mapped;  /* PLACE_PARTS: pages of the folio that still are */
	uint32_t state;
};

struct backing {
	uint8_t *pages;	      /* those of struct footprint */
	struct place *places; /* NULL: pages of 4 KiB */
	uint64_t nr_places;
	unsigned order;
	uint64_t held;
	struct pgste_footprint_result *result;
};

__extension__ typedef unsigned __int128 page_ns;

struct footprint {
	const struct pgste_footprint_config *config;
	struct pgste_footprint_result *result;
	const struct fp_rule *rule;
	void *data; /* the rule's */
	uint64_t *held, *used_at; /* samples */
	uint64_t next_sample;
	uint8_t *pages;
	struct backing backing;
	uint64_t used; /* pages that are in use, of those that count */
	uint64_t now;
	uint64_t steps, ask_at; /* work done, for the watch */
	page_ns held_ns, used_ns;
};

/* Hooks that are NULL do nothing. */
struct fp_rule {
	int (*start)(struct footprint *f); /* sets data; PGSTE_E_NOMEM, PGSTE_E_ARG */
	void (*end)(struct footprint *f);  /* data may be NULL */
	void (*freed)(struct footprint *f, uint64_t first, uint64_t nr, unsigned order);
	void (*allocated)(struct footprint *f, uint64_t first, uint64_t nr, unsigned order);
	void (*touch)(struct footprint *f, uint64_t page); /* in place of backing_touch */
	uint64_t (*due)(const struct footprint *f);
	void (*tick)(struct footprint *f); /* now has come to due */
};
extern const struct fp_rule fp_blocks, fp_reporting, fp_balloon, fp_age;

/* ---- backing.c ---- */

int backing_new(struct backing *b, uint8_t *pages, uint64_t nr_pages, unsigned order);
void backing_free(struct backing *b);
/* The page counts (FP_COUNTED): of each that does, before the first touch. */
void backing_counts(struct backing *b, uint64_t page);
/* A store of the guest: a fault if there is no memory. */
void backing_touch(struct backing *b, uint64_t page);
/* One madvise(MADV_DONTNEED). */
void backing_discard(struct backing *b, uint64_t first, uint64_t nr);

/* The same by other means than madvise, of one page. */
void backing_take(struct backing *b, uint64_t page);

/* After n more steps of work: shall the call end? */
static inline bool fp_stops(struct footprint *f, uint64_t n)
{
	f->steps += n;
	if (f->steps < f->ask_at)
		return false;
	f->ask_at = f->steps + WATCH_STEPS;
	return watch_stops();
}

static inline bool fp_is_free(const struct footprint *f, uint64_t page)
{
	return f->pages[page] & FP_FREE;
}

#endif

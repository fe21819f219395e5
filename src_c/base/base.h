/* SPDX-License-Identifier: MIT */
/*
 * The ground floor: what every room uses and that knows nothing of pages.  Small helpers,
 * memory for tables, runs of bits, threads for whole-table work, and gfn arguments.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "pgste/error.h"
#include "pgste/gfn.h"

#define NIL UINT32_MAX /* no frame, no slot */
#define ALWAYS_INLINE inline __attribute__((always_inline))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The largest root with root * root <= n. */
static inline uint64_t isqrt_u64(uint64_t n)
{
	uint64_t root = 0;

	if (!n)
		return 0;
	for (uint64_t bit = UINT64_C(1) << ((63 - __builtin_clzll(n)) / 2); bit; bit >>= 1)
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	return root;
}

/*
 * Fetch what comes after p in a pass over a table: a loop with more work a line than a plain
 * read does not keep as many lines coming by itself.  A fetch never faults, wherever it goes.
 */
#define AHEAD 4096u
static ALWAYS_INLINE void fetch_ahead(const void *p)
{
	__builtin_prefetch((const void *)((uintptr_t)p + AHEAD));
}

/* ---- tables (table.c) ---- */

/* Zeroed, page aligned, nothing resident until touched; NULL if the OS refuses. */
void *table_new(uint64_t nr_bytes);
void table_free(void *table, uint64_t nr_bytes);

/* ---- a bit a page ---- */

static inline uint64_t bitmap_bytes(uint64_t nr_bits)
{
	return (nr_bits + 63) / 64 * sizeof(uint64_t);
}

/* The bits of the pages [gfn, gfn + nr) that lie in gfn's word; *in_word is how many these are. */
static inline uint64_t bits_of(uint64_t gfn, uint64_t nr, uint64_t *in_word)
{
	const uint64_t bit = gfn % 64;

	*in_word = min_u64(nr, 64 - bit);
	return (*in_word == 64 ? ~UINT64_C(0) : (UINT64_C(1) << *in_word) - 1) << bit;
}

/* ---- arguments that others may change during a call ---- */

/*
 * Arrays belong to the caller, and nothing keeps its other threads from writing to them while
 * a call reads them.  So a check made earlier proves nothing: each element is read once, and
 * bounded where it is used.  An element that has become wrong is PGSTE_E_CHANGED.
 */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))

/* The i-th gfn, whatever it is: for those who bound it themselves. */
static ALWAYS_INLINE uint64_t gfn_unbounded(enum pgste_gfn_type type,
					    const struct pgste_gfns *gfns, uint64_t i)
{
	const void *data = gfns->data;

	switch (type) {
	case PGSTE_GFN_U8: return READ_ONCE(((const uint8_t *)data)[i]);
	case PGSTE_GFN_U16: return READ_ONCE(((const uint16_t *)data)[i]);
	case PGSTE_GFN_U32: return READ_ONCE(((const uint32_t *)data)[i]);
	case PGSTE_GFN_U64: return READ_ONCE(((const uint64_t *)data)[i]);
	case PGSTE_GFN_I8: return (uint64_t)READ_ONCE(((const int8_t *)data)[i]);
	case PGSTE_GFN_I16: return (uint64_t)READ_ONCE(((const int16_t *)data)[i]);
	case PGSTE_GFN_I32: return (uint64_t)READ_ONCE(((const int32_t *)data)[i]);
	case PGSTE_GFN_I64: return (uint64_t)READ_ONCE(((const int64_t *)data)[i]);
	case PGSTE_GFN_RANGE: break;
	}
	return gfns->first + i;
}

/* The i-th gfn, which must be below limit: false if it is not, or not any more. */
static ALWAYS_INLINE bool gfn_get(const struct pgste_gfns *gfns, uint64_t i, uint64_t limit,
				  uint64_t *gfn)
{
	*gfn = gfn_unbounded(gfns->type, gfns, i);
	return *gfn < limit;
}

/*
 * The same a batch at a time: gfns from index i on, copied and then bounded.  How many there are:
 * those before the first that is not below limit, up to where i is a multiple of GFN_BATCH again.
 */
#define GFN_BATCH 128u
unsigned gfns_take(const struct pgste_gfns *gfns, uint64_t i, uint64_t limit,
		   uint64_t batch[GFN_BATCH]);

/*
 * The run at index at: gfns of which each is `step` more than the one before, at most `most`, all
 * below limit; 0 if there are fewer than some 32.  *first is the first gfn, which may be outside.
 */
uint64_t gfns_run(const struct pgste_gfns *gfns, uint64_t at, uint64_t most, uint64_t step,
		  uint64_t limit, uint64_t *first);

/* Every gfn < limit?  Reads the array once; for refusing a call before it changes anything. */
bool gfns_below(const struct pgste_gfns *gfns, uint64_t limit);

/* ---- ending a call early (watch.c) ---- */

#ifndef WATCH_STEPS /* tests/fuzz asks more often */
#define WATCH_STEPS (UINT64_C(1) << 16) /* between two questions, at some 10 ns a step */
#define WATCH_SLICE (UINT64_C(1) << 20) /* the same for vector kernels */
#endif
/* Shall the call end?  What pgste_set_watch of this thread says. */
bool watch_stops(void);

/* The same at step i of a loop, asked now and then. */
static ALWAYS_INLINE bool watch_stops_at(uint64_t i)
{
	return i % WATCH_STEPS == WATCH_STEPS - 1 && watch_stops();
}

/*
 * Between two parts of a call that rests: others may have been in, and changed whatever they may
 * change.  False: end, and touch nothing more, as the guest may be gone.
 */
bool watch_rest(void);

/* ---- threads (threads.c) ---- */

#define MAX_THREADS 64u
/* One part of a table: the pages [from, to). */
typedef void part_work(void *data, unsigned part, uint64_t from, uint64_t to);
/* As many of the threads asked for as a table of nr pages can use, at least 1. */
unsigned threads_useful(unsigned threads, uint64_t nr);
/* work on each part of [0, nr), one for each of the threads; returns when all are done. */
void threads_run(unsigned threads, uint64_t nr, part_work *work, void *data);

#endif

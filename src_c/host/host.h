/* SPDX-License-Identifier: MIT */
/*
 * Host memory: frames, their free stack and LRU lists, swap slots and the swap cache.  It knows
 * which page owns a frame (a number and a gfn), and neither guests nor PTEs.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <pthread.h>

#include "base/base.h"
#include "pgste/host.h"
#include "pgste/skey.h"

struct mm;  /* an address space, memory/memory.h */
struct lru; /* host/lru.h */

/* 24 bytes a frame. */
struct frame {
	uint32_t prev, next; /* list neighbours; next also links the free stack */
	uint32_t tag;
	uint32_t slot;	     /* swap cache, or NIL */
	uint64_t gfn : 40;
	uint64_t owner : 16; /* number of its mm; NOBODY: in the swap cache alone */
	uint64_t list : 2;
	uint64_t referenced : 1;
	uint64_t dirty : 1;
	/* what its folio is in besides: enum pgste_folio */
	uint64_t pinned : 1, locked : 1, writeback : 1, shared : 1;
};

#define NOBODY 0xffffu
#define FRAME_GFNS ((UINT64_C(1) << 40) - 1)
_Static_assert(PGSTE_MAX_GUESTS <= NOBODY, "numbers of guests are below");

#define SLOT_FREE UINT32_MAX /* count of a slot on the free stack */
/* 12 bytes a slot. */
struct slot {
	uint32_t count;
	uint32_t frame; /* cached frame or NIL; on the free stack the next free slot */
	uint32_t tag;
};

struct list {
	uint32_t head, tail;
	uint64_t nr;
	uint32_t ahead, lead; /* how far from the tail reclaim has fetched; a hint, may be stale */
};

/*
 * The stacks of free frames and of free slots are chains, and each link may miss the cache.  So
 * each entry names the one FREE_LEAD below it, to be fetched when it is taken.  Here are the
 * FREE_LEAD highest.  All of them are hints: a wrong one, within the table, does no harm.
 */
#define FREE_LEAD 8u
struct free_hints {
	uint32_t at[FREE_LEAD];
};

struct pgste_host {
	struct frame *frames;
	struct slot *slots;
	struct pgste_host_config config;
	uint32_t free_frame, free_slot; /* tops of the free stacks, or NIL */
	struct free_hints frame_hints, slot_hints;
	uint64_t fresh_frame, fresh_slot; /* lowest never used */
	uint64_t nr_free, nr_slots_free, nr_cached, nr_held; /* held: pinned, locked, writeback */
	struct list lists[PGSTE_NR_LISTS]; /* by enum pgste_frame_list; the first is unused */
	struct lru *lru;      /* NULL: PGSTE_RECLAIM_SIMPLE */
	struct mm **mms;      /* by number; NULL where there is none */
	uint32_t nr_mms, room_mms;
	uint32_t nr_volatile; /* of these, how many may have pages that go without a slot */
	uint32_t nr_mlocked;  /* ... and how many have their memory locked */
	enum pgste_rearm rearm;
	bool ends; /* its guests need not give back what they have */
	uint8_t *keys; /* the real storage key of each frame; NULL: all are 0 */
	struct pgste_host_stats stats; /* events and peaks; levels are filled in on demand */
	pthread_mutex_t lock;	       /* swap slots, when vcpus on several threads zap */
};

/* Most hosts have none: what they all do must not become slower by it. */
static ALWAYS_INLINE bool has_lru(const struct pgste_host *host)
{
	return __builtin_expect(host->lru != NULL, 0);
}

static inline bool swap_nearly_full(const struct pgste_host *host)
{
	return 2 * host->nr_slots_free < host->config.nr_swap_slots;
}

/* An entry is put at this depth, or taken from it: the hint that was there. */
static ALWAYS_INLINE uint32_t hint_exchange(struct free_hints *hints, uint64_t depth, uint32_t new)
{
	uint32_t *hint = &hints->at[depth % FREE_LEAD];
	const uint32_t old = *hint;

	*hint = new;
	return old;
}

/* ---- address spaces (life.c) ---- */

/* The number that an address space gets, the lowest that is free; NIL: no memory, or too many. */
uint32_t host_join(struct pgste_host *host, struct mm *mm);
void host_leave(struct pgste_host *host, uint32_t number);

/* ---- storage keys of frames (frame_key.c) ---- */

/* An array of keys from now on; false: no memory. */
bool keys_need(struct pgste_host *host);
/*
 * Each as one step, like the instruction it is: two pages of a caller's memory may name one frame,
 * and vcpus that share the guest be at both.
 */
static inline uint8_t key_get(const struct pgste_host *host, uint64_t frame)
{
	if (!host->keys || frame >= host->config.nr_frames)
		return 0;
	return __atomic_load_n(&host->keys[frame], __ATOMIC_RELAXED);
}
/* Of a frame that is not the host's: nothing. */
static inline void key_set(struct pgste_host *host, uint64_t frame, unsigned key)
{
	if (host->keys && frame < host->config.nr_frames)
		__atomic_store_n(&host->keys[frame], (uint8_t)key, __ATOMIC_RELAXED);
}
/* R := 0: the key before (RRBE). */
static inline uint8_t key_reset_reference(struct pgste_host *host, uint64_t frame, bool shared)
{
	const uint8_t mask = (uint8_t)~PGSTE_KEY_R;
	uint8_t was;

	if (!host->keys || frame >= host->config.nr_frames)
		return 0;
	was = __atomic_load_n(&host->keys[frame], __ATOMIC_RELAXED);
	if (!(was & PGSTE_KEY_R))
		return was;
	if (shared)
		return __atomic_fetch_and(&host->keys[frame], mask, __ATOMIC_RELAXED);
	host->keys[frame] = was & mask;
	return was;
}

/* The machine sets R and C as a guest loads or stores. */
static inline void key_accessed(struct pgste_host *host, uint32_t frame, bool stored)
{
	host->keys[frame] |= stored ? PGSTE_KEY_R | PGSTE_KEY_C : PGSTE_KEY_R;
}

/* ---- lists of frames (list.c) ---- */

static inline void list_link(struct pgste_host *host, struct list *l, uint32_t frame, bool tail)
{
	struct frame *f = &host->frames[frame];

	f->prev = tail ? l->tail : NIL;
	f->next = tail ? NIL : l->head;
	*(f->prev == NIL ? &l->head : &host->frames[f->prev].next) = frame;
	*(f->next == NIL ? &l->tail : &host->frames[f->next].prev) = frame;
	l->nr++;
}

static inline void list_unlink(struct pgste_host *host, struct list *l, uint32_t frame)
{
	const struct frame *f = &host->frames[frame];

	if (f->prev != NIL)
		host->frames[f->prev].next = f->next;
	else
		l->head = f->next;
	if (f->next != NIL)
		host->frames[f->next].prev = f->prev;
	else
		l->tail = f->prev;
	l->nr--;
}

void list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame);
void list_del(struct pgste_host *host, uint32_t frame);
/* To the tail of its list. */
void list_rotate(struct pgste_host *host, uint32_t frame);

/* ---- frames (frame.c) ---- */


/* A free frame, on no list yet; there must be one. */
uint32_t frame_take(struct pgste_host *host, uint64_t gfn, uint32_t owner);
/* Off its list, out of the swap cache, onto the free stack. */
void frame_put(struct pgste_host *host, uint32_t frame);
/* The last guest is gone: what the swap cache still has, of pages being written, goes as well. */
void frames_put_all(struct pgste_host *host);
/* The frame stands for another folio now: what PGSTE_RECLAIM_LRU knows of it is forgotten. */
void frame_forget(struct pgste_host *host, uint32_t frame);

/* How many things keep reclaim from an ordinary page's frame. */
static inline unsigned frame_holds(const struct frame *f)
{
	return (unsigned)(f->pinned + f->locked + f->writeback);
}

/* ---- swap slots (slot.c), and the swap cache (swap.c) ---- */

uint32_t slot_get(struct pgste_host *host); /* count 0, no frame; the caller checked for room */
bool slot_put_use(struct pgste_host *host, uint32_t slot);   /* true: the slot is free now */
bool slot_maybe_free(struct pgste_host *host, uint32_t slot);	/* if it is: true */
bool slot_uncache(struct pgste_host *host, uint32_t frame); /* true: the slot is free now */
void slot_cache(struct pgste_host *host, uint32_t slot, uint32_t frame);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Storage keys of one page, as each generation has them; pgste/skey.h says what each does.  The
 * guest uses keys but for get, and gfns are inside.  shared: other vcpus may be at the same page.
 */
#ifndef GUEST_SKEY_OPS_H
#define GUEST_SKEY_OPS_H

#include "guest/guest.h"
#include "memory/key.h"

#define KEY_AF (unsigned)(PGSTE_KEY_ACC | PGSTE_KEY_FP)
#define KEY_RC (unsigned)(PGSTE_KEY_R | PGSTE_KEY_C)

struct skey_ops {
	void (*set)(struct mm *mm, uint64_t gfn, unsigned key, bool shared);
	/* 1 set, 0 not needed; *old is 0 and stays so where the kernel does not tell it */
	unsigned (*cond_set)(struct mm *mm, uint64_t gfn, unsigned key, bool mr, bool mc,
			     bool shared, uint8_t *old);
	unsigned (*reset_reference)(struct mm *mm, uint64_t gfn, bool shared);
	void (*reset)(struct mm *mm, uint64_t gfn); /* alone */
};

extern const struct skey_ops skey_ops_pgtable; /* skey_pgtable.c */
extern const struct skey_ops skey_ops_dat;     /* skey_dat.c */

/* ---- a page between the lock and the unlock of its PGSTE ---- */

/* What of it such a call may change, to be written back at once. */
struct held {
	struct mm *mm;
	uint64_t gfn;
	unsigned rest;
	uint8_t state; /* GC of it; VALID does not change while vcpus run */
	bool shared;
};

static ALWAYS_INLINE struct held page_hold(struct mm *mm, uint64_t gfn, bool shared)
{
	struct held page = { .mm = mm, .gfn = gfn, .shared = shared };

	page.rest = shared ? pgste_lock(mm, gfn) : mm->rest[gfn];
	page.state = __atomic_load_n(&mm->state[gfn], __ATOMIC_RELAXED);
	return page;
}

/* Others see C of the key at this moment, and all else of it a little later, with the lock. */
static ALWAYS_INLINE void page_let_go(const struct held *page, unsigned was_key)
{
	uint8_t *state = &page->mm->state[page->gfn];
	const uint8_t gc = page->state & PGSTE_STATE_GC;

	if (!(was_key & PGSTE_KEY_C) != !gc) {
		if (!page->shared)
			*state ^= PGSTE_STATE_GC;
		else if (gc)
			__atomic_fetch_or(state, PGSTE_STATE_GC, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(state, (uint8_t)~PGSTE_STATE_GC, __ATOMIC_RELAXED);
	}
	if (page->shared)
		pgste_unlock(page->mm, page->gfn, page->rest);
	else
		page->mm->rest[page->gfn] = (uint16_t)page->rest;
}

/* The key in the PGSTE. */
static ALWAYS_INLINE unsigned held_key(const struct held *page)
{
	return key_compose(page->rest, page->state);
}

static ALWAYS_INLINE void held_set_key(struct held *page, unsigned key)
{
	page->rest = key_into_rest(page->rest, key);
	page->state = (uint8_t)((page->state & ~PGSTE_STATE_GC) |
				(key & PGSTE_KEY_C ? PGSTE_STATE_GC : 0));
}

static ALWAYS_INLINE bool held_is_valid(const struct held *page)
{
	return page->state & PGSTE_STATE_VALID;
}

/* Of a page that is valid: nobody else changes its frame. */
static ALWAYS_INLINE uint64_t held_frame(const struct held *page)
{
	return page->mm->pte[page->gfn] >> PTE_PFRA_SHIFT;
}

static ALWAYS_INLINE unsigned held_real_key(const struct held *page)
{
	return key_get(page->mm->host, held_frame(page));
}

/* R and C of the frame, which are about to be lost, become the host's: HR and HC. */
static ALWAYS_INLINE void held_note_host(struct held *page, unsigned real)
{
	page->rest |= (real & PGSTE_KEY_R ? REST_HR : 0u) | (real & PGSTE_KEY_C ? REST_HC : 0u);
}

/* What the guest sees of its key. */
static ALWAYS_INLINE unsigned held_seen_key(const struct held *page)
{
	const unsigned key = held_key(page);

	return held_is_valid(page) ? held_real_key(page) | (key & KEY_RC) : key;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Storage keys of one page, as each generation has them; pgste/skey.h says what each does.  The
 * guest uses keys but for get, and gfns are inside.
 */
#ifndef GUEST_SKEY_OPS_H
#define GUEST_SKEY_OPS_H

#include "guest/guest.h"

struct skey_ops {
	void (*set)(struct mm *mm, uint64_t gfn, unsigned key);
	unsigned (*get)(const struct mm *mm, uint64_t gfn);
	/* 1 set, 0 not needed; *old is 0 and stays so where the kernel does not tell it */
	unsigned (*cond_set)(struct mm *mm, uint64_t gfn, unsigned key, bool mr, bool mc,
			     uint8_t *old);
	unsigned (*reset_reference)(struct mm *mm, uint64_t gfn);
	void (*reset)(struct mm *mm, uint64_t gfn);
};

static inline bool skey_page_valid(const struct mm *mm, uint64_t gfn)
{
	return mm->state[gfn] & PGSTE_STATE_VALID;
}

static inline uint64_t skey_frame(const struct mm *mm, uint64_t gfn)
{
	return mm->pte[gfn] >> PTE_PFRA_SHIFT;
}

extern const struct skey_ops skey_ops_pgtable; /* skey_pgtable.c */
extern const struct skey_ops skey_ops_dat;     /* skey_dat.c */

#endif

/* SPDX-License-Identifier: MIT */
/* Storage keys of the dat generation: functions of arch/s390/kvm/dat.c on one page. */
#include "guest/skey_ops.h"

/* A key that is not what it was makes the guest's PTE soft dirty (dat_update_ptep_sd). */
static ALWAYS_INLINE void dat_let_go(struct held *page, unsigned was)
{
	if (held_key(page) != was)
		page->rest |= pte_make_soft_dirty(page->mm, page->gfn);
	page_let_go(page, was);
}

static void dat_key_set(struct mm *mm, uint64_t gfn, unsigned key, bool shared)
{
	struct held page = page_hold(mm, gfn, shared);
	const unsigned was = held_key(&page);

	held_set_key(&page, key);
	if (held_is_valid(&page)) {
		held_note_host(&page, held_real_key(&page));
		key_set(mm->host, held_frame(&page), key & KEY_AF);
	}
	dat_let_go(&page, was);
}

/*
 * page_cond_set_storage_key compares with the real key alone, and writes R and C into it.  The
 * PGSTE's part is overwritten whatever comes of that.
 */
static unsigned dat_key_cond_set(struct mm *mm, uint64_t gfn, unsigned key, bool mr, bool mc,
				 bool shared, uint8_t *old)
{
	struct held page = page_hold(mm, gfn, shared);
	const unsigned was = held_key(&page);
	const unsigned mask = KEY_AF | (mr ? 0u : PGSTE_KEY_R) | (mc ? 0u : PGSTE_KEY_C);
	unsigned rc = 1;

	key &= KEY_AF | KEY_RC;
	held_set_key(&page, key);
	*old = (uint8_t)was;
	if (held_is_valid(&page)) {
		const unsigned real = held_real_key(&page);

		rc = ((real ^ key) & mask) != 0;
		if (rc)
			key_set(mm->host, held_frame(&page), key);
		held_note_host(&page, real);
		*old = (uint8_t)(real | (was & KEY_RC));
	}
	dat_let_go(&page, was);
	return rc;
}

/* HR is overwritten by the frame's R. */
static unsigned dat_key_reset_reference(struct mm *mm, uint64_t gfn, bool shared)
{
	struct held page = page_hold(mm, gfn, shared);
	const unsigned was = held_key(&page);
	unsigned seen = was;

	held_set_key(&page, was & ~(unsigned)PGSTE_KEY_R);
	if (held_is_valid(&page)) {
		const unsigned real = key_reset_reference(mm->host, held_frame(&page), shared);

		page.rest &= ~(unsigned)REST_HR;
		page.rest |= real & PGSTE_KEY_R ? REST_HR : 0u;
		seen |= real;
	}
	dat_let_go(&page, was);
	return (seen & KEY_RC) >> 1;
}

/* dat_reset_skeys_pte: of a page that is present, valid or not, the frame's key as well. */
static void dat_key_reset(struct mm *mm, uint64_t gfn)
{
	pgste_key_set(mm, gfn, 0);
	if (pte_word(mm, gfn) & PTE_PRESENT)
		key_set(mm->host, mm->pte[gfn] >> PTE_PFRA_SHIFT, 0);
}

const struct skey_ops skey_ops_dat = {
	.set = dat_key_set,
	.cond_set = dat_key_cond_set,
	.reset_reference = dat_key_reset_reference,
	.reset = dat_key_reset,
};

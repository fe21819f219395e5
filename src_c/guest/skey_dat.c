/* SPDX-License-Identifier: MIT */
/* Storage keys of the dat generation: functions of arch/s390/kvm/dat.c on one page. */
#include "guest/skey_ops.h"
#include "memory/key.h"

#define KEY_AF (PGSTE_KEY_ACC | PGSTE_KEY_FP)
#define KEY_RC (PGSTE_KEY_R | PGSTE_KEY_C)

static unsigned real_key(const struct mm *mm, uint64_t gfn)
{
	return key_get(mm->host, skey_frame(mm, gfn));
}

/* What of the frame's key is about to be lost becomes the host's: HR and HC. */
static void note_host(struct mm *mm, uint64_t gfn, unsigned real)
{
	mm->rest[gfn] |= (uint16_t)((real & PGSTE_KEY_R ? REST_HR : 0) |
				    (real & PGSTE_KEY_C ? REST_HC : 0));
}

static unsigned dat_key_get(const struct mm *mm, uint64_t gfn)
{
	const unsigned key = pgste_key(mm, gfn);

	return skey_page_valid(mm, gfn) ? real_key(mm, gfn) | (key & KEY_RC) : key;
}

static void dat_key_set(struct mm *mm, uint64_t gfn, unsigned key)
{
	const unsigned was = pgste_key(mm, gfn);

	pgste_key_set(mm, gfn, key);
	if (skey_page_valid(mm, gfn)) {
		note_host(mm, gfn, real_key(mm, gfn));
		key_set(mm->host, skey_frame(mm, gfn), key & KEY_AF);
	}
	if (pgste_key(mm, gfn) != was)
		pte_make_soft_dirty(mm, gfn);
}

/*
 * page_cond_set_storage_key compares with the real key alone, and writes R and C into it.  The
 * PGSTE's part is overwritten whatever comes of that.
 */
static unsigned dat_key_cond_set(struct mm *mm, uint64_t gfn, unsigned key, bool mr, bool mc,
				 uint8_t *old)
{
	const unsigned was = pgste_key(mm, gfn);
	const unsigned mask = KEY_AF | (mr ? 0u : PGSTE_KEY_R) | (mc ? 0u : PGSTE_KEY_C);
	unsigned rc = 1;

	key &= KEY_AF | KEY_RC;
	pgste_key_set(mm, gfn, key);
	*old = (uint8_t)was;
	if (skey_page_valid(mm, gfn)) {
		const unsigned real = real_key(mm, gfn);

		rc = ((real ^ key) & mask) != 0;
		if (rc)
			key_set(mm->host, skey_frame(mm, gfn), key);
		note_host(mm, gfn, real);
		*old = (uint8_t)(real | (was & KEY_RC));
	}
	if (pgste_key(mm, gfn) != was)
		pte_make_soft_dirty(mm, gfn);
	return rc;
}

/* HR is overwritten by the frame's R. */
static unsigned dat_key_reset_reference(struct mm *mm, uint64_t gfn)
{
	const unsigned was = pgste_key(mm, gfn);
	unsigned seen = was;

	pgste_key_set(mm, gfn, was & (unsigned)~PGSTE_KEY_R);
	if (skey_page_valid(mm, gfn)) {
		const unsigned real = real_key(mm, gfn);

		key_set(mm->host, skey_frame(mm, gfn), real & (unsigned)~PGSTE_KEY_R);
		mm->rest[gfn] &= (uint16_t)~REST_HR;
		mm->rest[gfn] |= real & PGSTE_KEY_R ? REST_HR : 0;
		seen |= real;
	}
	if (was & PGSTE_KEY_R)
		pte_make_soft_dirty(mm, gfn);
	return (seen & KEY_RC) >> 1;
}

/* dat_reset_skeys_pte: of a page that is present, valid or not, the frame's key as well. */
static void dat_key_reset(struct mm *mm, uint64_t gfn)
{
	pgste_key_set(mm, gfn, 0);
	if (pte_word(mm, gfn) & PTE_PRESENT)
		key_set(mm->host, skey_frame(mm, gfn), 0);
}

const struct skey_ops skey_ops_dat = {
	.set = dat_key_set,
	.get = dat_key_get,
	.cond_set = dat_key_cond_set,
	.reset_reference = dat_key_reset_reference,
	.reset = dat_key_reset,
};

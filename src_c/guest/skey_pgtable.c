/* SPDX-License-Identifier: MIT */
/* Storage keys of the pgtable generation: functions of arch/s390/mm/pgtable.c on one page. */
#include "guest/skey_ops.h"
#include "memory/key.h"
#include "memory/pte_layer.h"

/* R and C of the frame, which are about to be lost, become the host's: HR and HC. */
static void pgtable_key_set(struct mm *mm, uint64_t gfn, unsigned key)
{
	const unsigned was = pgste_key(mm, gfn);

	pgste_key_set(mm, gfn, key);
	if (skey_page_valid(mm, gfn)) {
		const unsigned real = key_get(mm->host, skey_frame(mm, gfn));

		key_set(mm->host, skey_frame(mm, gfn), key & (PGSTE_KEY_ACC | PGSTE_KEY_FP));
		mm->rest[gfn] |= (uint16_t)((real & PGSTE_KEY_R ? REST_HR : 0) |
					    (real & PGSTE_KEY_C ? REST_HC : 0));
	}
	if (pgste_key(mm, gfn) != was)
		mm->rest[gfn] |= REST_UC;
}

static unsigned pgtable_key_get(const struct mm *mm, uint64_t gfn)
{
	const unsigned key = pgste_key(mm, gfn);

	if (!skey_page_valid(mm, gfn))
		return key;
	return key_get(mm->host, skey_frame(mm, gfn)) | (key & (PGSTE_KEY_R | PGSTE_KEY_C));
}

static unsigned pgtable_key_cond_set(struct mm *mm, uint64_t gfn, unsigned key, bool mr, bool mc,
				     uint8_t *old)
{
	unsigned mask = PGSTE_KEY_ACC | PGSTE_KEY_FP;

	if (mr || mc) {
		*old = (uint8_t)pgtable_key_get(mm, gfn);
		mask |= (mr ? 0u : PGSTE_KEY_R) | (mc ? 0u : PGSTE_KEY_C);
		if (!((*old ^ key) & mask))
			return 0;
	}
	pgtable_key_set(mm, gfn, key);
	return 1;
}

static unsigned pgtable_key_reset_reference(struct mm *mm, uint64_t gfn)
{
	const unsigned was = pgste_key(mm, gfn);
	unsigned seen = was;

	pgste_key_set(mm, gfn, was & (unsigned)~PGSTE_KEY_R);
	if (skey_page_valid(mm, gfn)) {
		const unsigned real = key_get(mm->host, skey_frame(mm, gfn));

		key_set(mm->host, skey_frame(mm, gfn), real & (unsigned)~PGSTE_KEY_R);
		if (real & PGSTE_KEY_R)
			mm->rest[gfn] |= REST_HR;
		seen |= real;
	}
	if (was & PGSTE_KEY_R)
		mm->rest[gfn] |= REST_UC;
	return (seen & (PGSTE_KEY_R | PGSTE_KEY_C)) >> 1;
}

static void pgtable_key_reset(struct mm *mm, uint64_t gfn)
{
	pte_ops_pgtable.zap_key(mm, gfn);
}

const struct skey_ops skey_ops_pgtable = {
	.set = pgtable_key_set,
	.get = pgtable_key_get,
	.cond_set = pgtable_key_cond_set,
	.reset_reference = pgtable_key_reset_reference,
	.reset = pgtable_key_reset,
};

/* SPDX-License-Identifier: MIT */
/* Storage keys of the pgtable generation: functions of arch/s390/mm/pgtable.c on one page. */
#include "guest/skey_ops.h"
#include "memory/pte_layer.h"

static ALWAYS_INLINE void held_set(struct held *page, unsigned key)
{
	const unsigned was = held_key(page);

	held_set_key(page, key);
	if (held_is_valid(page)) {
		held_note_host(page, held_real_key(page));
		key_set(page->mm->host, held_frame(page), key & KEY_AF);
	}
	if ((was ^ key) & (KEY_AF | KEY_RC))
		page->rest |= REST_UC;
}

static void pgtable_key_set(struct mm *mm, uint64_t gfn, unsigned key, bool shared)
{
	struct held page = page_hold(mm, gfn, shared);
	const unsigned was = held_key(&page);

	held_set(&page, key);
	page_let_go(&page, was);
}

/* The kernel looks, lets go of the lock, and sets; here nobody comes between. */
static unsigned pgtable_key_cond_set(struct mm *mm, uint64_t gfn, unsigned key, bool mr, bool mc,
				     bool shared, uint8_t *old)
{
	struct held page = page_hold(mm, gfn, shared);
	const unsigned was = held_key(&page);
	unsigned mask = KEY_AF, rc = 1;

	if (mr || mc) {
		*old = (uint8_t)held_seen_key(&page);
		mask |= (mr ? 0u : PGSTE_KEY_R) | (mc ? 0u : PGSTE_KEY_C);
		rc = ((*old ^ key) & mask) != 0;
	}
	if (rc)
		held_set(&page, key);
	page_let_go(&page, was);
	return rc;
}

static unsigned pgtable_key_reset_reference(struct mm *mm, uint64_t gfn, bool shared)
{
	struct held page = page_hold(mm, gfn, shared);
	const unsigned was = held_key(&page);
	unsigned seen = was;

	held_set_key(&page, was & ~(unsigned)PGSTE_KEY_R);
	if (held_is_valid(&page)) {
		const unsigned real = key_reset_reference(mm->host, held_frame(&page), shared);

		if (real & PGSTE_KEY_R)
			page.rest |= REST_HR;
		seen |= real;
	}
	if (was & PGSTE_KEY_R)
		page.rest |= REST_UC;
	page_let_go(&page, was);
	return (seen & KEY_RC) >> 1;
}

static void pgtable_key_reset(struct mm *mm, uint64_t gfn)
{
	pte_ops_pgtable.zap_key(mm, gfn);
}

const struct skey_ops skey_ops_pgtable = {
	.set = pgtable_key_set,
	.cond_set = pgtable_key_cond_set,
	.reset_reference = pgtable_key_reset_reference,
	.reset = pgtable_key_reset,
};

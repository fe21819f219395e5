/* SPDX-License-Identifier: MIT */
/*
 * What an exchange of a guest's PTE does beside in the dat generation: notifications by
 * _gmap_ptep_xchg (arch/s390/kvm/gmap.h), storage keys by __dat_ptep_xchg (dat.c).  docs/dat.md.
 */
#include "memory/key_dat.h"

#define PTE_SW_BITS UINT64_C(0xff) /* _PAGE_SW_BITS */

/*
 * pte_needs_unshadow.  Nested guest memory (GMEM) has its rights synchronized with the shadow's;
 * anything else that a shadow refers to is a table of the guest's, which must stay read only.
 * v7.0 knew no such difference and treated all as the former.
 */
static bool needs_unshadow(const struct mm *mm, unsigned rest, uint64_t old, uint64_t new)
{
	if (!(rest & REST_DAT_VSIE))
		return false;
	if (mm->two.revision == PGSTE_REVISION_7_0 || (rest & REST_DAT_GMEM))
		return ((old ^ new) & PTE_PROTECT) || (new & PTE_INVALID);
	return !(new & PTE_PROTECT) || !(new & PTE_PRESENT);
}

static unsigned dat_notify(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	const unsigned rest = mm->rest[gfn];
	unsigned bits = 0;

	if ((rest & REST_DAT_PREFIX) && (new & (PTE_PROTECT | PTE_INVALID)))
		bits |= REST_DAT_PREFIX;
	if (needs_unshadow(mm, rest, old, new)) {
		bits |= REST_DAT_VSIE;
		if (mm->two.revision != PGSTE_REVISION_7_0)
			bits |= rest & REST_DAT_GMEM;
	}
	notes_add(mm, gfn, bits);
	return bits;
}

/* A frame's R and C are lost when it comes to be mapped; they are in the PGSTE. */
void dat_move_keys(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	struct pgste_host *host = mm->host;
	const uint64_t from = old >> PTE_PFRA_SHIFT, to = new >> PTE_PFRA_SHIFT;

	if (!(mm->extra & MM_SKEYS) || !((old ^ new) & ~PTE_SW_BITS))
		return;
	if ((old & PTE_INVALID) && !(new & PTE_INVALID))
		key_set(host, to, pgste_key(mm, gfn) & (PGSTE_KEY_ACC | PGSTE_KEY_FP));
	else if (!(old & PTE_INVALID) && (new & PTE_INVALID))
		key_to_pgste(mm, gfn, old);
	else if (!(old & PTE_INVALID) && from != to)
		key_set(host, to, key_get(host, from));
}

unsigned dat_exchanged(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	const unsigned told = dat_notify(mm, gfn, old, new);

	mm->rest[gfn] &= (uint16_t)~REST_DAT_SD;
	dat_move_keys(mm, gfn, old, new);
	return told;
}

void dat_exchanged_inside(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	if (mm->extra & MM_TOLD)
		dat_notify(mm, gfn, old, new);
	mm->rest[gfn] &= (uint16_t)~REST_DAT_SD;
	dat_move_keys(mm, gfn, old, new);
}

void dat_aged(struct mm *mm, uint64_t gfn, uint64_t old, uint64_t new)
{
	if (mm->extra & MM_TOLD)
		notes_add(mm, gfn, mm->rest[gfn] & REST_DAT_PREFIX);
	dat_move_keys(mm, gfn, old, new);
}

/* SPDX-License-Identifier: MIT */
/*
 * How a PTE changes: docs/model.md section 3 as code.  pgtable has two routes, set
 * (ptep_set_pte_at, clears ZERO) and exchange (ptep_xchg_*, does not); dat has one
 * (__dat_ptep_xchg), which clears ZERO when a page is mapped, unmapped or made young.
 */
#include "internal.h"

#define PTE_MAPPED (PTE_NOEXEC | PTE_READ | PTE_YOUNG | PTE_PRESENT)
#define PTE_DAT_MAPPED (PTE_WRITE | PTE_YOUNG | PTE_PRESENT)

static void clear_zero(struct pgste_guest *guest, uint64_t gfn)
{
	guest->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;
}

static void clear_zero_dat(struct pgste_guest *guest, uint64_t gfn)
{
	if (guest->generation == PGSTE_GEN_DAT)
		clear_zero(guest, gfn);
}

/* pgste_set_pte: a PTE that lets the guest write sets the user-dirty bit. */
static void note_writable(struct pgste_guest *guest, uint64_t gfn, uint64_t pte)
{
	const uint64_t mask = PTE_PRESENT | PTE_WRITE | PTE_INVALID | PTE_PROTECT;

	if (guest->generation == PGSTE_GEN_PGTABLE && (pte & mask) == (PTE_PRESENT | PTE_WRITE))
		guest->rest[gfn] |= REST_UC;
}

static void pte_map(struct pgste_guest *guest, uint64_t gfn, uint32_t frame, uint64_t bits)
{
	uint64_t pte = (uint64_t)frame << PTE_PFRA_SHIFT | bits;

	clear_zero(guest, gfn);
	pte_store(guest, gfn, pte);
	note_writable(guest, gfn, pte);
}

static uint64_t dat_bits(enum pte_access access)
{
	return PTE_DAT_MAPPED | (access == PTE_STORE ? PTE_DIRTY : PTE_PROTECT);
}

/* do_anonymous_page maps a fresh page writable and dirty even for a load. */
void pte_map_zero(struct pgste_guest *guest, uint64_t gfn, uint32_t frame, enum pte_access access)
{
	uint64_t bits = PTE_MAPPED | PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY;

	if (guest->generation == PGSTE_GEN_DAT)
		bits = dat_bits(access);
	pte_map(guest, gfn, frame, bits);
}

/* do_swap_page maps read-only and clean for a load, so that a store is seen. */
void pte_map_swapped(struct pgste_guest *guest, uint64_t gfn, uint32_t frame,
		     enum pte_access access)
{
	uint64_t bits = PTE_MAPPED;

	if (guest->generation == PGSTE_GEN_DAT)
		bits = dat_bits(access);
	else
		bits |= access == PTE_STORE ? PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY : PTE_PROTECT;
	pte_map(guest, gfn, frame, bits);
}

/* A load or store of a present page: made young, and at a first store dirty. */
void pte_touch(struct pgste_guest *guest, uint64_t gfn, enum pte_access access)
{
	uint64_t old = pte_compose(guest->pte[gfn], guest->state[gfn]);
	uint64_t new = old;

	if ((old & PTE_INVALID) || guest->generation == PGSTE_GEN_ZVM)
		new = (new | PTE_YOUNG) & ~PTE_INVALID;
	if (access == PTE_STORE && (old & PTE_PROTECT)) {
		new = (new | PTE_DIRTY | PTE_WRITE) & ~PTE_PROTECT;
		if (guest->generation != PGSTE_GEN_DAT)
			new |= PTE_SOFT_DIRTY;
	}
	if (new == old)
		return;
	clear_zero_dat(guest, gfn);
	pte_store(guest, gfn, new);
	note_writable(guest, gfn, new);
}

/* Ageing alone leaves ZERO in both generations; z/VM clears the key's reference bit only. */
void pte_age(struct pgste_guest *guest, uint64_t gfn)
{
	uint64_t pte = pte_compose(guest->pte[gfn], guest->state[gfn]);

	pte &= ~PTE_YOUNG;
	if (guest->generation != PGSTE_GEN_ZVM)
		pte |= PTE_INVALID;
	if (guest->generation == PGSTE_GEN_DAT)
		pte = (pte & ~PTE_DIRTY) | PTE_PROTECT;
	pte_store(guest, gfn, pte);
}

void pte_unmap(struct pgste_guest *guest, uint64_t gfn)
{
	clear_zero_dat(guest, gfn);
	pte_store(guest, gfn, PTE_NONE);
}

void pte_swap_out(struct pgste_guest *guest, uint64_t gfn, uint32_t slot)
{
	clear_zero(guest, gfn);
	pte_store(guest, gfn, PTE_SWAP | (uint64_t)slot << PTE_PFRA_SHIFT);
}

/* pte_clear: a plain store, the PGSTE does not change. */
void pte_zap(struct pgste_guest *guest, uint64_t gfn)
{
	pte_store(guest, gfn, PTE_NONE);
}

void pte_lazyfree(struct pgste_guest *guest, uint64_t gfn)
{
	uint64_t pte = pte_compose(guest->pte[gfn], guest->state[gfn]);

	if (!(pte & (PTE_YOUNG | PTE_DIRTY)))
		return;
	clear_zero(guest, gfn);
	pte_store(guest, gfn,
		  (pte & ~(PTE_YOUNG | PTE_DIRTY)) | PTE_INVALID | PTE_PROTECT);
}

/* Reclaim puts the PTE of a dirty lazyfree page back as it was: set, which clears ZERO. */
void pte_restore(struct pgste_guest *guest, uint64_t gfn)
{
	clear_zero(guest, gfn);
	note_writable(guest, gfn, pte_compose(guest->pte[gfn], guest->state[gfn]));
}

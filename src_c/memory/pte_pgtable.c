/* SPDX-License-Identifier: MIT */
/*
 * The PTE layer of the pgtable generation: what the functions of arch/s390/mm/pgtable.c do to one
 * page.  pte_load() sees to it that the host gets back what a word held.
 */
#include "memory/key.h"
#include "memory/pte_layer.h"

/* pgste_set_pte: the word, and UC if the guest can store through it. */
static void pgtable_put(struct mm *mm, uint64_t gfn, uint64_t word)
{
	if (pte_allows_store(word))
		mm->rest[gfn] |= REST_UC;
	pte_load(mm, gfn, word);
}

static void pgtable_set(struct mm *mm, uint64_t gfn, uint64_t word)
{
	if (word & PTE_PRESENT)
		word &= ~PTE_UNUSED;
	mm->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;
	key_to_frame(mm, gfn, word);
	pgtable_put(mm, gfn, word);
}

static bool is_unused(const struct mm *mm, uint64_t gfn)
{
	return (mm->state[gfn] & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED;
}

/* Direct and lazy differ in when TLBs are flushed, and there are none here. */
static uint64_t pgtable_xchg(struct mm *mm, uint64_t gfn, uint64_t word, bool lazy)
{
	const uint64_t old = pte_compose(mm->pte[gfn], mm->state[gfn]);

	(void)lazy;
	pte_exchanged_slow(mm, gfn, old, word);
	pgtable_put(mm, gfn, word);
	return (word & PTE_INVALID) && is_unused(mm, gfn) ? old | PTE_UNUSED : old;
}

static bool pgtable_age(struct mm *mm, uint64_t gfn, uint64_t *before)
{
	const uint64_t old = pte_compose(mm->pte[gfn], mm->state[gfn]);

	*before = old;
	if (!(old & PTE_PRESENT))
		return false;
	*before = pgtable_xchg(mm, gfn, (old & ~PTE_YOUNG) | PTE_INVALID, false);
	return old & PTE_YOUNG;
}

/* The flush makes a valid PTE invalid, and its key goes to the PGSTE. */
static uint64_t pgtable_prot_start(struct mm *mm, uint64_t gfn)
{
	const uint64_t old = pte_compose(mm->pte[gfn], mm->state[gfn]);

	pte_notify(mm, gfn);
	key_to_pgste(mm, gfn, old);
	pte_load(mm, gfn, old | PTE_INVALID);
	return old;
}

static void pgtable_prot_commit(struct mm *mm, uint64_t gfn, uint64_t word)
{
	key_to_frame(mm, gfn, word);
	pgtable_put(mm, gfn, word);
}

/* ptep_test_and_clear_uc, on a machine with enhanced suppression on protection. */
static bool pgtable_test_and_clear_dirty(struct mm *mm, uint64_t gfn)
{
	const uint64_t pte = pte_compose(mm->pte[gfn], mm->state[gfn]);

	if (!(mm->rest[gfn] & REST_UC))
		return false;
	mm->rest[gfn] &= (uint16_t)~REST_UC;
	if (pte & PTE_PRESENT) {
		pte_notify(mm, gfn);
		pte_load(mm, gfn, pte | PTE_PROTECT);
	}
	return true;
}

static bool pgtable_soft_dirty(const struct mm *mm, uint64_t gfn)
{
	return pte_compose(mm->pte[gfn], mm->state[gfn]) & PTE_SOFT_DIRTY;
}

/* clear_soft_dirty of fs/proc/task_mmu.c */
static void pgtable_clear_soft_dirty(struct mm *mm, uint64_t gfn)
{
	uint64_t pte = pte_compose(mm->pte[gfn], mm->state[gfn]);

	if (pte & PTE_PRESENT) {
		pte = pgtable_prot_start(mm, gfn);
		pte = (pte & ~(PTE_WRITE | PTE_SOFT_DIRTY)) | PTE_PROTECT;
		pgtable_prot_commit(mm, gfn, pte);
	} else if (pte != PTE_NONE) {
		pgtable_set(mm, gfn, pte & ~PTE_SOFT_DIRTY);
	}
}

static void zap_key(struct mm *mm, uint64_t gfn)
{
	const uint64_t pte = pte_compose(mm->pte[gfn], mm->state[gfn]);

	pgste_key_set(mm, gfn, PGSTE_KEY_R | PGSTE_KEY_C);
	if ((pte & (PTE_INVALID | PTE_WRITE)) == PTE_WRITE)
		key_set(mm->host, pte >> PTE_PFRA_SHIFT, 0);
}

static void pgtable_set_notify(struct mm *mm, uint64_t gfn, uint64_t bits)
{
	rest_set(mm, gfn, (uint16_t)(mm->rest[gfn] | (bits & PGSTE_IN ? REST_IN : 0) |
				     (bits & PGSTE_VSIE ? REST_VSIE : 0)));
}

static int pgtable_force_prot(struct mm *mm, uint64_t gfn, unsigned prot, uint64_t bit)
{
	uint64_t pte = pte_compose(mm->pte[gfn], mm->state[gfn]);

	if (((pte & PTE_INVALID) && prot != PGSTE_PROT_NONE) ||
	    ((pte & PTE_PROTECT) && (prot & PGSTE_PROT_WRITE)))
		return PGSTE_PTE_AGAIN;
	if (prot == PGSTE_PROT_NONE && !(pte & PTE_INVALID)) {
		key_to_pgste(mm, gfn, pte);
		pte |= PTE_INVALID;
	}
	if (prot == PGSTE_PROT_READ)
		pte |= PTE_PROTECT;
	pgtable_set_notify(mm, gfn, bit);
	pgtable_put(mm, gfn, pte);
	return 0;
}

/* The key belongs to the parent's PGSTE. */
static int pgtable_shadow(struct mm *mm, uint64_t gfn, struct mm *table, uint64_t target,
			  uint64_t word)
{
	const uint64_t from = pte_compose(mm->pte[gfn], mm->state[gfn]);

	if (!(pte_compose(table->pte[target], table->state[target]) & PTE_INVALID))
		return 0;
	if ((from & PTE_INVALID) || ((from & PTE_PROTECT) && !(word & PTE_PROTECT)))
		return PGSTE_PTE_AGAIN;
	pgtable_set_notify(mm, gfn, PGSTE_VSIE);
	pgtable_put(table, target, (from & PTE_PFRA) | (word & PTE_PROTECT));
	return 1;
}

static void pgtable_unshadow(struct mm *mm, uint64_t gfn)
{
	pgtable_put(mm, gfn, PTE_NONE);
}

const struct pte_ops pte_ops_pgtable = {
	.notify_bits = PGSTE_IN | PGSTE_VSIE,
	.set = pgtable_set,
	.xchg = pgtable_xchg,
	.age = pgtable_age,
	.prot_start = pgtable_prot_start,
	.prot_commit = pgtable_prot_commit,
	.test_and_clear_dirty = pgtable_test_and_clear_dirty,
	.soft_dirty = pgtable_soft_dirty,
	.clear_soft_dirty = pgtable_clear_soft_dirty,
	.zap_key = zap_key,
	.force_prot = pgtable_force_prot,
	.set_notify = pgtable_set_notify,
	.shadow = pgtable_shadow,
	.unshadow = pgtable_unshadow,
};

/* SPDX-License-Identifier: MIT */
/*
 * The PTE layer of one page, as each generation carries it out; pgste/pte.h says what each does.
 * A function that a generation does not have is NULL.  Gfns are inside and arguments checked.
 */
#ifndef MEMORY_PTE_LAYER_H
#define MEMORY_PTE_LAYER_H

#include "memory/memory.h"
#include "pgste/pte.h"

struct pte_ops {
	uint64_t notify_bits; /* of the PGSTE, that set_notify and force_prot take */
	void (*set)(struct mm *mm, uint64_t gfn, uint64_t word);
	uint64_t (*xchg)(struct mm *mm, uint64_t gfn, uint64_t word, bool lazy);
	bool (*age)(struct mm *mm, uint64_t gfn, uint64_t *before);
	void (*map)(struct mm *mm, uint64_t gfn, uint64_t word);
	uint64_t (*unmap)(struct mm *mm, uint64_t gfn);
	uint64_t (*prot_start)(struct mm *mm, uint64_t gfn);
	void (*prot_commit)(struct mm *mm, uint64_t gfn, uint64_t word);
	bool (*test_and_clear_dirty)(struct mm *mm, uint64_t gfn);
	bool (*soft_dirty)(const struct mm *mm, uint64_t gfn);
	void (*clear_soft_dirty)(struct mm *mm, uint64_t gfn);
	void (*zap_key)(struct mm *mm, uint64_t gfn);
	int (*force_prot)(struct mm *mm, uint64_t gfn, unsigned prot, uint64_t bit);
	void (*set_notify)(struct mm *mm, uint64_t gfn, uint64_t bits);
	int (*shadow)(struct mm *mm, uint64_t gfn, struct mm *shadow, uint64_t target,
		      uint64_t word);
	void (*unshadow)(struct mm *mm, uint64_t gfn);
};

extern const struct pte_ops pte_ops_pgtable; /* pte_pgtable.c */
extern const struct pte_ops pte_ops_dat;     /* pte_dat.c */

/* Of a guest of this generation. */
static inline const struct pte_ops *pte_ops_of(const struct mm *mm)
{
	static const struct pte_ops none;

	if (mm->generation == PGSTE_GEN_PGTABLE)
		return &pte_ops_pgtable;
	return mm->generation == PGSTE_GEN_DAT ? &pte_ops_dat : &none;
}

#endif

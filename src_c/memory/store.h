/* SPDX-License-Identifier: MIT */
/* How a word gets into a PTE: for pte.c and pte_load.c alone. */
#ifndef MEMORY_STORE_H
#define MEMORY_STORE_H

#include "memory/memory.h"

/* The state bits of a PTE in the kernel's format. */
static inline uint8_t pte_state(uint64_t pte)
{
	bool swap = (pte & (PTE_PROTECT | PTE_PRESENT)) == PTE_PROTECT;

	return (uint8_t)((pte & PTE_INVALID ? 0 : PGSTE_STATE_VALID) |
			 (swap ? PGSTE_STATE_SWAP : 0));
}

/* Replace the PTE by a word of the host's own; the PGSTE stays. */
static inline void pte_store(struct mm *mm, uint64_t gfn, uint64_t pte)
{
	uint8_t bits = pte_state(pte);
	uint64_t cold = pte & ~PTE_INVALID;

	if (bits & PGSTE_STATE_SWAP)
		cold &= ~PTE_PROTECT;
	mm->pte[gfn] = cold;
	mm->state[gfn] = (uint8_t)((mm->state[gfn] & ~(PGSTE_STATE_VALID | PGSTE_STATE_SWAP)) |
				   bits);
}

/* The host's own PTE of a dat guest. */
static inline void host_store(struct mm *mm, uint64_t gfn, uint16_t bits)
{
	if (mm->two.bits)
		mm->two.bits[gfn] = bits;
}

/* The same of a word whose PFRA stays: what it names is the host's, or foreign, as before. */
static inline void pte_alter(struct mm *mm, uint64_t gfn, uint64_t pte)
{
	const uint64_t foreign = mm->pte[gfn] & COLD_FOREIGN;

	pte_store(mm, gfn, pte);
	mm->pte[gfn] |= foreign;
}

#endif

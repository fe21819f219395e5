/* SPDX-License-Identifier: MIT */
/*
 * Words from outside, and giving back what a PTE holds: docs/model.md sections 1 and 5.  The one
 * place where a PTE becomes foreign, or stops being so.
 */
#include "memory/exchange.h"
#include "memory/store.h"

void pte_clear(struct mm *mm, uint64_t gfn)
{
	pte_store(mm, gfn, PTE_NONE);
	host_store(mm, gfn, 0);
}

/* A swap entry is gone from its PTE: one use less of the slot, if it was one of the host's. */
static bool entry_put(struct mm *mm, uint64_t cold)
{
	if (!(cold & COLD_FOREIGN))
		return slot_put_use(mm->host, pte_index(cold));
	mm->nr_foreign--;
	mm->strangers &= mm->nr_foreign != 0;
	return false;
}

bool pte_zap(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	pte_clear(mm, gfn);
	return entry_put(mm, cold);
}

bool pte_zap_claimed(struct mm *mm, uint64_t gfn)
{
	/* the page is ours: nothing but a zap changes PTEs while vcpus run */
	const uint64_t cold = mm->pte[gfn];
	bool freed;

	/* atomic, as another vcpu's zap_prefetch may look at it */
	__atomic_store_n(&mm->pte[gfn], 0, __ATOMIC_RELAXED);
	pthread_mutex_lock(&mm->host->lock);
	freed = entry_put(mm, cold);
	pthread_mutex_unlock(&mm->host->lock);
	return freed;
}

void pte_drop(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];
	const uint8_t state = mm->state[gfn];

	if (mm->file && pte_is_present(cold, state) && !(cold & COLD_FOREIGN))
		file_keep(mm, gfn);
	pte_clear(mm, gfn);
	if ((cold & COLD_FOREIGN) || (state & PGSTE_STATE_SWAP))
		entry_put(mm, cold);
	else if (cold & PTE_PRESENT)
		frame_put(mm->host, pte_index(cold));
}

/* A swap entry of a slot that somebody uses. */
static bool names_a_use(const struct pgste_host *host, uint64_t pte)
{
	const uint64_t slot = pte >> PTE_PFRA_SHIFT;

	return (pte_state(pte) & PGSTE_STATE_SWAP) && (pte & PTE_INVALID) &&
	       !(pte & PTE_SWAP_TYPE) && slot < host->fresh_slot &&
	       host->slots[slot].count != SLOT_FREE && host->slots[slot].count != 0;
}

/*
 * A word from outside.  If it names the frame that the page has, the page keeps it; otherwise
 * what the old word held is given back, and the new one takes a use of a slot or is foreign.
 */
void pte_load(struct mm *mm, uint64_t gfn, uint64_t pte)
{
	struct pgste_host *host = mm->host;
	const uint64_t cold = mm->pte[gfn];
	const uint64_t index = pte >> PTE_PFRA_SHIFT;

	if (pte == pte_word(mm, gfn))
		return;
	if ((pte & PTE_PRESENT) && pte_is_present(cold, mm->state[gfn]) &&
	    !(cold & COLD_FOREIGN) && index == cold >> PTE_PFRA_SHIFT) {
		(void)dat_take_soft_dirty(mm, gfn);
		pte_store(mm, gfn, pte);
		if (mm->two.bits)
			mm->two.bits[gfn] &= (uint16_t)~HOST_APART;
		return;
	}
	pte_drop(mm, gfn);
	(void)dat_take_soft_dirty(mm, gfn);
	pte_store(mm, gfn, pte);
	if (pte == PTE_NONE)
		return;
	/* a page that the guest maps is one that the host has mapped */
	host_store(mm, gfn, !(pte & PTE_PRESENT) ? 0 :
			    is_zero_page_word(mm, pte) ? HOST_ZERO_PAGE : HOST_FILLED);
	chunk_touch(mm, gfn);
	if (!mm->own_memory && names_a_use(host, pte)) {
		host->slots[index].count++;
		return;
	}
	mm->pte[gfn] |= COLD_FOREIGN;
	mm->nr_foreign++;
	mm->strangers |= !is_zero_page_word(mm, pte);
}

void pte_load_apart(struct mm *mm, uint64_t gfn, uint64_t word)
{
	pte_store(mm, gfn, (word & PTE_PFRA) | PTE_INVALID | PTE_PRESENT);
	mm->pte[gfn] |= COLD_FOREIGN;
	mm->two.bits[gfn] = (uint16_t)(HOST_APART | (word & HOST_LOW));
	mm->nr_foreign++;
	mm->strangers = true;
	chunk_touch(mm, gfn);
}

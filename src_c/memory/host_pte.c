/* SPDX-License-Identifier: MIT */
/*
 * The host's own PTEs of dat guests: what a notifier of the host does to both tables
 * (_gmap_unmap_pte), the bit UNUSED by which reclaim knows what it may drop
 * (gmap_helper_try_set_pte_unused), and the lock that may be held.  docs/dat.md.
 */
#include "memory/memory.h"

/* ---- the lock of a host page table ---- */

static bool is_held(const struct mm *mm, uint64_t gfn)
{
	const uint64_t table = gfn / PGSTE_LOCK_PAGES;

	return mm->two.held && (mm->two.held[table / 64] >> (table % 64) & 1);
}

/* vcpus on several threads may try at once */
bool host_trylock(struct mm *mm, uint64_t gfn)
{
	struct two_counts *c = &mm->two.counts;
	bool fails = is_held(mm, gfn);

	__atomic_fetch_add(&c->stats.lock_tries, 1, __ATOMIC_RELAXED);
	if (!fails && mm->two.rate) {
		const uint64_t sum =
			__atomic_add_fetch(&c->tried, mm->two.rate, __ATOMIC_RELAXED);

		fails = sum >> 32 != (sum - mm->two.rate) >> 32;
	}
	if (fails)
		__atomic_fetch_add(&c->stats.lock_failures, 1, __ATOMIC_RELAXED);
	return !fails;
}

/* ---- UNUSED ---- */

/* A guest PTE that is present is about to go. */
static bool goes_unused(struct mm *mm, uint64_t gfn)
{
	return !(mm->two.bits[gfn] & HOST_APART) && page_is_unused(mm, gfn) &&
	       host_trylock(mm, gfn);
}

bool host_drops(struct mm *mm, uint64_t gfn)
{
	const bool drops = goes_unused(mm, gfn) || (mm->two.bits[gfn] & PTE_UNUSED);

	mm->two.counts.stats.used_discards += drops && !page_is_unused(mm, gfn);
	return drops;
}

void host_wrote(struct mm *mm, uint64_t gfn)
{
	mm->two.counts.stats.unused_swap_outs += page_is_unused(mm, gfn);
}

bool host_notified(struct mm *mm, uint64_t gfn, enum pgste_rewrite rewrite)
{
	uint16_t *bits = &mm->two.bits[gfn];
	const bool present = (*bits & (PTE_PRESENT | HOST_APART)) == PTE_PRESENT;

	if (present && goes_unused(mm, gfn))
		*bits |= PTE_UNUSED;
	pte_detach(mm, gfn);
	mm->two.counts.stats.notifier_unmaps += present;
	if (!(*bits & PTE_PRESENT))
		return present;
	if (rewrite == PGSTE_REWRITE_XCHG)
		*bits = host_rewritten(mm, *bits);
	else if (rewrite == PGSTE_REWRITE_SET)
		*bits &= (uint16_t)~PTE_UNUSED;
	return present;
}

/* ---- words ---- */

uint64_t host_word(const struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	if (mm->two.bits && mm->two.bits[gfn])
		return (cold & PTE_PFRA) | (mm->two.bits[gfn] & HOST_LOW);
	return pte_compose(cold, mm->state[gfn]);
}

void host_load(struct mm *mm, uint64_t gfn, uint64_t word)
{
	const uint64_t frame = mm->pte[gfn] & PTE_PFRA;
	uint16_t *bits = &mm->two.bits[gfn];

	if (word == host_word(mm, gfn))
		return;
	if ((word & PTE_PRESENT) && (*bits & PTE_PRESENT) && (word & PTE_PFRA) == frame) {
		*bits = (uint16_t)((*bits & (unsigned)~HOST_LOW) | (word & HOST_LOW));
		mm->strangers |= mm->pte[gfn] & COLD_FOREIGN;
		return;
	}
	pte_detach(mm, gfn);
	pte_drop(mm, gfn);
	if (word == PTE_NONE || (word & (PTE_SWAP | PTE_PRESENT)) == PTE_SWAP)
		pte_load(mm, gfn, word);
	else
		pte_load_apart(mm, gfn, word);
}

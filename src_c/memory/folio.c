/* SPDX-License-Identifier: MIT */
/*
 * What a page's folio may be in beside its one mapping: pinned, locked, under writeback, mapped
 * by a forked child.  Reclaim and MADV_FREE look at it; pgste/host.h says how.
 */
#include "memory/exchange.h"

static void set(struct pgste_host *host, struct frame *f, enum pgste_folio what, bool on)
{
	const unsigned before = frame_holds(f);

	switch (what) {
	case PGSTE_FOLIO_PINNED: f->pinned = on; break;
	case PGSTE_FOLIO_LOCKED: f->locked = on; break;
	case PGSTE_FOLIO_WRITEBACK: f->writeback = on; break;
	default: f->shared = on; break;
	}
	host->nr_held += frame_holds(f) - (uint64_t)before;
}

static bool is(const struct frame *f, enum pgste_folio what)
{
	switch (what) {
	case PGSTE_FOLIO_PINNED: return f->pinned;
	case PGSTE_FOLIO_LOCKED: return f->locked;
	case PGSTE_FOLIO_WRITEBACK: return f->writeback;
	default: return f->shared;
	}
}

/* ptep_set_wrprotect, as fork does it (copy_present_pte); not in dat. */
static void wrprotect(struct mm *mm, uint64_t gfn)
{
	const uint64_t old = pte_word(mm, gfn);
	const uint64_t new = (old & ~PTE_WRITE) | PTE_PROTECT;

	if (!(old & PTE_WRITE))
		return;
	pte_exchanged(mm, gfn, old, new);
	pte_load(mm, gfn, new);
}

static bool set_one(struct mm *mm, uint64_t gfn, enum pgste_folio what, bool on)
{
	const uint64_t cold = mm->pte[gfn];
	struct frame *f;

	if (!pte_is_present(cold, mm->state[gfn]) || (cold & COLD_FOREIGN))
		return false;
	f = &mm->host->frames[pte_index(cold)];
	if (is(f, what) == on || (what == PGSTE_FOLIO_WRITEBACK && f->slot == NIL))
		return false;
	set(mm->host, f, what, on);
	if (what == PGSTE_FOLIO_SHARED && on)
		wrprotect(mm, gfn);
	return true;
}

int64_t mm_set_folio(struct mm *mm, const struct pgste_gfns *gfns, enum pgste_folio what, bool on)
{
	int64_t changed = 0;

	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, mm->nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		changed += set_one(mm, gfn, what, on);
	}
	return changed;
}

/*
 * A store to a page that a child maps (do_wp_page): the guest gets a folio of its own, in which
 * nothing is left of what the old one was in.  The frame stands for the new one; the old one
 * is the child's from now on, which is not modelled.
 */
void folio_copy(struct mm *mm, uint64_t gfn)
{
	struct pgste_host *host = mm->host;
	const uint32_t frame = pte_index(mm->pte[gfn]);
	struct frame *f = &host->frames[frame];

	if (f->slot != NIL)
		slot_uncache(host, frame);
	host->nr_held -= frame_holds(f);
	f->pinned = f->locked = f->writeback = f->shared = 0;
	f->dirty = f->referenced = 0;
	list_del(host, frame);
	frame_forget(host, frame);
	list_add(host, PGSTE_LIST_INACTIVE, frame);
	pte_unmap(mm, gfn);
	pte_map_swapped(mm, gfn, frame, PTE_STORE);
}

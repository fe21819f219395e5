/* SPDX-License-Identifier: MIT */
/*
 * What madvise does to one page of a guest's private anonymous memory: MADV_DONTNEED
 * (zap_pte_range) and MADV_FREE (madvise_free_pte_range).  docs/model.md section 7.
 */
#include "internal.h"

/* Foreign words are cleared without the host hearing of it. */
static void drop_foreign(struct pgste_guest *guest, uint64_t gfn)
{
	if (pte_is_present(guest->pte[gfn], guest->state[gfn]))
		pte_unmap(guest, gfn);
	else
		pte_zap(guest, gfn);
	guest->nr_foreign--;
}

static void drop_swap(struct pgste_guest *guest, uint64_t gfn)
{
	const uint32_t slot = (uint32_t)(guest->pte[gfn] >> PTE_PFRA_SHIFT);

	pte_zap(guest, gfn);
	guest->stats.hint_slots_freed += slot_put_use(guest->host, slot);
}

void madvise_dontneed(struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t cold = guest->pte[gfn];

	if (cold & COLD_FOREIGN) {
		drop_foreign(guest, gfn);
	} else if (guest->state[gfn] & PGSTE_STATE_SWAP) {
		drop_swap(guest, gfn);
	} else if (cold & PTE_PRESENT) {
		pte_unmap(guest, gfn);
		frame_put(guest->host, (uint32_t)(cold >> PTE_PFRA_SHIFT));
		guest->stats.hint_frames_freed++;
	}
}

static void lazyfree(struct pgste_guest *guest, uint64_t gfn, uint32_t frame)
{
	struct pgste_host *host = guest->host;
	struct frame *f = &host->frames[frame];

	if (f->slot != NIL) {
		/* folio_free_swap fails while somebody else uses the slot */
		if (host->slots[f->slot].count != 0)
			return;
		guest->stats.hint_slots_freed += slot_uncache(host, frame);
	}
	f->dirty = 0;
	pte_lazyfree(guest, gfn);
	if (f->list == PGSTE_LIST_LAZYFREE)
		return;
	list_del(host, frame);
	f->referenced = 0;
	list_add(host, PGSTE_LIST_LAZYFREE, frame);
}

void madvise_free(struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t cold = guest->pte[gfn];

	if (cold & COLD_FOREIGN)
		drop_foreign(guest, gfn);
	else if (guest->state[gfn] & PGSTE_STATE_SWAP)
		drop_swap(guest, gfn);
	else if (cold & PTE_PRESENT)
		lazyfree(guest, gfn, (uint32_t)(cold >> PTE_PFRA_SHIFT));
}

/* For set_words and for a guest that is freed: nothing is counted, the PGSTE stays. */
void pte_drop(struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t cold = guest->pte[gfn];
	const uint8_t state = guest->state[gfn];

	pte_zap(guest, gfn);
	if (cold & COLD_FOREIGN)
		guest->nr_foreign--;
	else if (state & PGSTE_STATE_SWAP)
		slot_put_use(guest->host, (uint32_t)(cold >> PTE_PFRA_SHIFT));
	else if (cold & PTE_PRESENT)
		frame_put(guest->host, (uint32_t)(cold >> PTE_PFRA_SHIFT));
}

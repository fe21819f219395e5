/* SPDX-License-Identifier: MIT */
/*
 * What madvise does to one page of a guest's memory: MADV_DONTNEED (zap_pte_range) and MADV_FREE
 * (madvise_free_pte_range).  docs/model.md section 7.
 */
#include "memory/zero_page.h"

/* Foreign words are cleared without the host hearing of it. */
static void drop_foreign(struct mm *mm, uint64_t gfn)
{
	if (pte_is_present(mm->pte[gfn], mm->state[gfn])) {
		pte_unmap(mm, gfn);
		mm->nr_foreign--;
	} else {
		pte_zap(mm, gfn);
	}
}

static void drop_swap(struct mm *mm, uint64_t gfn)
{
	mm->stats.hint_slots_freed += pte_zap(mm, gfn);
}

/* zap_page_range, whoever asks for it. */
static void drop(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	if (cold & COLD_FOREIGN) {
		drop_foreign(mm, gfn);
	} else if (mm->state[gfn] & PGSTE_STATE_SWAP) {
		drop_swap(mm, gfn);
	} else if (cold & PTE_PRESENT) {
		if (mm->file)
			file_keep(mm, gfn);
		pte_unmap(mm, gfn);
		frame_put(mm->host, pte_index(cold));
		mm->stats.hint_frames_freed++;
	}
}

void madvise_dontneed(struct mm *mm, uint64_t gfn)
{
	if (!mm->mlocked)
		drop(mm, gfn);
}

/* ram_block_discard_range punches a hole, where there is a file, before its MADV_DONTNEED. */
void madvise_discard(struct mm *mm, uint64_t gfn)
{
	if (!mm->file) {
		madvise_dontneed(mm, gfn);
		return;
	}
	drop(mm, gfn);
	mm->file[gfn] = 0;
}

/*
 * A folio that is dirty or in the swap cache has to be locked, must not be mapped elsewhere, and
 * leaves the swap cache, which fails while it is written or somebody else uses the slot.
 */
static bool is_passed_over(const struct pgste_host *host, const struct frame *f)
{
	if (!f->dirty && f->slot == NIL)
		return false;
	return f->locked || f->shared || f->writeback ||
	       (f->slot != NIL && host->slots[f->slot].count != 0);
}

static void lazyfree(struct mm *mm, uint64_t gfn, uint32_t frame)
{
	struct pgste_host *host = mm->host;
	struct frame *f = &host->frames[frame];

	if (is_passed_over(host, f))
		return;
	if (f->slot != NIL)
		mm->stats.hint_slots_freed += slot_uncache(host, frame);
	f->dirty = 0;
	pte_lazyfree(mm, gfn);
	if (f->list == PGSTE_LIST_LAZYFREE)
		return;
	list_del(host, frame);
	f->referenced = 0;
	list_add(host, PGSTE_LIST_LAZYFREE, frame);
}

void madvise_free(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	if (mm->file || mm->mlocked)
		return; /* EINVAL: vma_is_anonymous, VM_LOCKED */
	if (maps_zero_page(mm, gfn))
		zero_page_passed(mm, gfn);
	else if (cold & COLD_FOREIGN)
		drop_foreign(mm, gfn);
	else if (mm->state[gfn] & PGSTE_STATE_SWAP)
		drop_swap(mm, gfn);
	else if (cold & PTE_PRESENT)
		lazyfree(mm, gfn, pte_index(cold));
}

/* SPDX-License-Identifier: MIT */
/*
 * The shared zero page (E2): what a load of a page maps that has nothing, until the guest uses
 * storage keys, which belong to a frame.  v4.14 to v6.9 forbid it to every KVM guest, v6.10 and
 * later allow it.  do_anonymous_page, do_wp_page, s390_disable_cow_sharing (arch/s390/mm/gmap.c;
 * gmap_helpers.c in dat).  docs/pte.md.
 */
#include <stdlib.h>

#include "memory/exchange.h"
#include "memory/undo.h"
#include "memory/zero_page.h"

void zero_page_fault(struct mm *mm, uint64_t gfn)
{
	pte_map_zero_page(mm, gfn);
	mm->stats.zero_page_maps++;
}

/* The zero page's PTE is exchanged for none; its SOFT_DIRTY.  wp_page_copy, ptep_clear_flush. */
static bool leave(struct mm *mm, uint64_t gfn)
{
	bool soft_dirty;

	if (mm->two.bits) {
		host_notified(mm, gfn, PGSTE_REWRITE_NONE);
		soft_dirty = host_word(mm, gfn) & PTE_SOFT_DIRTY;
	} else {
		soft_dirty = mm->pte[gfn] & PTE_SOFT_DIRTY;
		pte_exchanged(mm, gfn, pte_word(mm, gfn), PTE_NONE);
	}
	pte_drop(mm, gfn);
	return soft_dirty;
}

/* A zeroed frame in its place: for a store, or because it is to be unshared. */
static int copy(struct mm *mm, uint64_t gfn, bool unshare, uint32_t *frame)
{
	struct pgste_host *host = mm->host;
	bool soft_dirty;

	*frame = frame_for(mm, gfn);
	if (*frame == NIL)
		return PGSTE_E_NO_FRAME;
	list_add(host, PGSTE_LIST_INACTIVE, *frame);
	soft_dirty = leave(mm, gfn);
	if (unshare)
		pte_map_unshared(mm, gfn, *frame, soft_dirty);
	else
		pte_map_zero(mm, gfn, *frame, PTE_STORE);
	host->stats.zero_fills++;
	mm->stats.zero_fills++;
	return PGSTE_OK;
}

int zero_page_access(struct mm *mm, uint64_t gfn, enum pte_access access, uint32_t *frame)
{
	if (access == PTE_STORE)
		return copy(mm, gfn, false, frame);
	*frame = NIL;
	pte_touch(mm, gfn, PTE_LOAD);
	return PGSTE_OK;
}

/* vm_normal_folio() finds none, so that it stays; but the notifier is of the whole range. */
void zero_page_passed(struct mm *mm, uint64_t gfn)
{
	if (mm->two.bits)
		host_notified(mm, gfn, PGSTE_REWRITE_NONE);
}

/* The pages that map it: *gfns is the caller's to free.  False: no memory. */
static bool list_pages(const struct mm *mm, uint64_t **gfns, uint64_t *nr)
{
	uint64_t room = 0;

	*gfns = NULL;
	*nr = 0;
	for (uint64_t gfn = mm->nr_foreign ? chunk_next(mm, 0) : mm->nr_pages; gfn < mm->nr_pages;
	     gfn = chunk_next(mm, gfn + 1)) {
		if (!maps_zero_page(mm, gfn))
			continue;
		if (*nr == room) {
			uint64_t *more;

			room = room ? 2 * room : 64;
			more = realloc(*gfns, room * sizeof(*more));
			if (!more) {
				free(*gfns);
				return false;
			}
			*gfns = more;
		}
		(*gfns)[(*nr)++] = gfn;
	}
	return true;
}

int mm_disable_cow_sharing(struct mm *mm)
{
	struct snapshot *snapshot = NULL;
	struct pgste_gfns all = { .type = PGSTE_GFN_U64 };
	uint64_t *gfns = NULL;
	int error = PGSTE_OK;

	if (mm->allow_cow_sharing && !list_pages(mm, &gfns, &all.nr))
		return PGSTE_E_NOMEM;
	all.data = gfns;
	if (all.nr && may_run_dry(mm, all.nr))
		error = snapshot_take(mm, &all, &snapshot);
	for (uint64_t i = 0; i < all.nr && !error; i++) {
		uint32_t frame;

		error = copy(mm, gfns[i], true, &frame);
	}
	if (error)
		snapshot_restore(snapshot);
	else
		mm->allow_cow_sharing = false;
	snapshot_free(snapshot);
	free(gfns);
	return error;
}

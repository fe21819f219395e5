/* SPDX-License-Identifier: MIT */
/* MADV_PAGEOUT: pages of the caller's choice leave memory (mm/madvise.c, reclaim_pages). */
#include "memory/undo.h"
#include "memory/victims.h"
#include "memory/vmscan.h"
#include "memory/zero_page.h"

/* shrink_folio_list looks no further at a folio whose lock it does not get, or at writeback. */
static bool is_busy(const struct frame *f)
{
	return f->locked || f->writeback;
}

/* One page of MADV_PAGEOUT: 1 if its frame went, 0 if not, or an error with nothing changed. */
static int page_out(struct mm *mm, uint64_t gfn)
{
	struct pgste_host *host = mm->host;
	uint64_t cold = mm->pte[gfn];
	uint32_t frame = pte_index(cold);
	struct frame *f;

	if (mm->mlocked || !pte_is_present(cold, mm->state[gfn]))
		return 0;
	if (cold & COLD_FOREIGN)
		return maps_zero_page(mm, gfn) ? 0 : PGSTE_E_FOREIGN;
	f = &host->frames[frame];
	if (is_kept(f) || is_busy(f))
		return 0;
	if (needs_slot(host, frame) && !host->nr_slots_free)
		return PGSTE_E_NO_SWAP;
	if (page_is_young(mm, gfn))
		age_frame(mm, f);
	f->referenced = 0;
	if (has_lru(host))
		writes_step(host);
	return drop_or_write(host, frame);
}

int64_t mm_pageout(struct mm *mm, const struct pgste_gfns *gfns)
{
	struct pgste_gfns all = *gfns;
	struct snapshot *snapshot = NULL;
	uint64_t batch[GFN_BATCH];
	int64_t nr_out = 0;
	int taken, out = PGSTE_OK;

	if (all.nr > mm->host->nr_slots_free || has_strangers(mm))
		out = snapshot_take(mm, &all, &snapshot);
	for (uint64_t i = 0; i < all.nr && out >= 0; i += (unsigned)taken) {
		taken = mm_take(mm, &all, i, NEED_LIST, batch);
		if (taken < 0) {
			out = taken;
			break;
		}
		for (int k = 0; k < taken && out >= 0; k++) {
			out = page_out(mm, batch[k]);
			nr_out += out;
		}
	}
	if (out < 0)
		snapshot_restore(snapshot);
	snapshot_free(snapshot);
	return out < 0 ? out : nr_out;
}

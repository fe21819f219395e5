/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: two lists and a young bit as in mm/vmscan.c, taken one page at a time.  docs/model.md
 * section 4.  Hosts that have a struct lru go by balance.c instead.
 */
#include "memory/undo.h"
#include "memory/victims.h"
#include "memory/vmscan.h"
#include "memory/zero_page.h"

/* shrink_folio_list looks no further at a folio whose lock it does not get, or at writeback. */
static bool is_busy(const struct frame *f)
{
	return f->locked || f->writeback;
}

/*
 * folio_check_references: a young page stays, one found young twice is activated.  False: it
 * will stay however often it is tried.
 */
static bool shrink(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct mm *mm = owner(host, frame);
	bool was_referenced = f->referenced, is_held = mm->mlocked || f->locked;
	enum pgste_frame_list list = (enum pgste_frame_list)f->list;

	fetch_victims(host, &host->lists[list]);
	host->stats.scanned++;
	if (is_held || f->writeback) {
		list_move(host, is_held ? list : PGSTE_LIST_ACTIVE, frame);
		return false;
	}
	f->referenced = 0;
	if (!page_is_young(mm, f->gfn)) {
		if (!is_kept(f) && !(needs_slot(host, frame) && !host->nr_slots_free) &&
		    (drop_or_write(host, frame) || f->list != PGSTE_LIST_LAZYFREE))
			return true;
		list_move(host, list, frame);
		return false;
	}
	age_frame(mm, f);
	f->referenced = 1;
	if (was_referenced && list == PGSTE_LIST_INACTIVE)
		list = PGSTE_LIST_ACTIVE;
	list_move(host, list, frame);
	return true;
}

static bool inactive_is_low(const struct pgste_host *host)
{
	uint64_t active = host->lists[PGSTE_LIST_ACTIVE].nr;
	uint64_t inactive = host->lists[PGSTE_LIST_INACTIVE].nr;

	if (inactive >= active) /* the ratio is 1 or more */
		return inactive == 0;
	return inactive * inactive_ratio(active + inactive) < active;
}

/* shrink_active_list: a batch from its tail moves on, young or not. */
static void deactivate(struct pgste_host *host)
{
	struct list *active = &host->lists[PGSTE_LIST_ACTIVE];

	for (uint32_t i = 0; i < host->config.batch && active->tail != NIL; i++) {
		uint32_t frame = active->tail;
		struct frame *f = &host->frames[frame];
		struct mm *mm = owner(host, frame);

		fetch_victims(host, active);
		if (page_is_young(mm, f->gfn))
			age_frame(mm, f);
		list_move(host, PGSTE_LIST_INACTIVE, frame);
	}
}

/* How far a reclaim is. */
struct progress {
	uint64_t budget, kept; /* kept: lazyfree pages that stay although clean */
};

/* Look at one page, and a batch of the active list perhaps: false if nothing can be taken. */
static ALWAYS_INLINE bool reclaim_step(struct pgste_host *host, struct progress *p)
{
	const struct list *lazyfree = &host->lists[PGSTE_LIST_LAZYFREE];
	const struct list *inactive = &host->lists[PGSTE_LIST_INACTIVE];

	if (p->budget-- == 0)
		return false;
	if (lazyfree->nr > p->kept) {
		p->kept += !shrink(host, lazyfree->tail);
		return true;
	}
	/* without a free slot, Linux does not even look at anonymous memory (B4) */
	if (!(host->nr_slots_free || host->nr_volatile) ||
	    !(inactive->nr + host->lists[PGSTE_LIST_ACTIVE].nr))
		return false;
	if (inactive_is_low(host))
		deactivate(host);
	shrink(host, inactive->tail);
	return true;
}

static struct progress reclaim_start(struct pgste_host *host)
{
	host->stats.reclaims++;
	return (struct progress){ .budget = 4 * (host->config.nr_frames - host->nr_free) + 32 };
}

/* For frames that are needed now: to the end. */
void reclaim(struct pgste_host *host, uint64_t n)
{
	const uint64_t goal = host->nr_free + min_u64(n, host->config.nr_frames - host->nr_free);
	struct progress p;

	if (has_lru(host)) {
		(void)lru_reclaim(host, n, false);
		return;
	}
	p = reclaim_start(host);
	while (host->nr_free < goal && reclaim_step(host, &p))
		;
}

/* What others free or take while this rests is not counted. */
int64_t reclaim_resting(struct pgste_host *host, uint64_t n)
{
	struct progress p;
	uint64_t freed = 0;

	if (has_lru(host))
		return lru_reclaim(host, n, true);
	p = reclaim_start(host);
	for (uint64_t steps = 1;; steps++) {
		const uint64_t before = host->nr_free;

		if (freed >= n || !reclaim_step(host, &p))
			return (int64_t)freed;
		freed += host->nr_free - before;
		if (steps % WATCH_STEPS == 0 && !watch_rest())
			return PGSTE_E_CANCELLED;
	}
}

uint32_t frame_get(struct pgste_host *host, uint64_t gfn, uint32_t owner)
{
	if (has_lru(host))
		lru_make_room(host);
	else if (host->nr_free <= host->config.low)
		reclaim(host, host->config.high - host->nr_free);
	return host->nr_free ? frame_take(host, gfn, owner) : NIL;
}

uint32_t frame_for(struct mm *mm, uint64_t gfn)
{
	return frame_get(mm->host, gfn, mm->number);
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

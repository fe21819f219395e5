/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: two lists and a young bit as in mm/vmscan.c, taken one page at a time, and the
 * ways a page leaves memory (try_to_unmap_one): dropped because its guest page is unused,
 * discarded because it is lazyfree, or written to swap.  docs/model.md section 4.
 */
#include "memory/memory.h"

static struct mm *owner(const struct pgste_host *host, uint32_t frame)
{
	return host->mms[host->frames[frame].owner];
}

static void list_move(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	list_del(host, frame);
	list_add(host, list, frame);
}

#define LEAD 8u		  /* victims whose frame, state, PTE and slot are fetched ahead */
#define LEAD_PAYS 4096u	  /* shorter lists are in the cache */

/*
 * The next victims follow from one another, so each would miss the cache several times, one
 * miss after the other.  A place that runs ahead of the tail fetches what they will touch.
 */
static void fetch_victims(const struct pgste_host *host, struct list *l)
{
	if (l->nr < LEAD_PAYS)
		return;
	if (!l->lead || host->frames[l->ahead].list != host->frames[l->tail].list) {
		l->ahead = l->tail;
		l->lead = 1;
	}
	for (unsigned hops = 0; hops < 2 && l->lead < LEAD; hops++) {
		const struct frame *f = &host->frames[l->ahead];
		const struct mm *mm = host->mms[f->owner];

		__builtin_prefetch(&mm->state[f->gfn], 1);
		__builtin_prefetch(&mm->pte[f->gfn], 1);
		if (f->slot != NIL)
			__builtin_prefetch(&host->slots[f->slot], 1);
		if (f->prev == NIL)
			break;
		l->ahead = f->prev;
		l->lead++;
		__builtin_prefetch(&host->frames[l->ahead], 1);
	}
	l->lead--;
}

/* Age the page; in dat the PTE loses DIRTY, which the frame then keeps. */
static void age_frame(struct mm *mm, struct frame *f)
{
	if (mm->generation == PGSTE_GEN_DAT && (mm->pte[f->gfn] & PTE_DIRTY))
		f->dirty = 1;
	pte_age(mm, f->gfn);
}

static bool drop_lazyfree(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct mm *mm = owner(host, frame);

	bool dirty = f->dirty || (mm->pte[f->gfn] & PTE_DIRTY);

	if (dirty || (f->pinned && host->rearm != PGSTE_REARM_DISCARD)) {
		f->dirty = dirty;
		pte_restore(mm, f->gfn);
		if (dirty || host->rearm == PGSTE_REARM_REFERENCED) {
			list_move(host, PGSTE_LIST_ACTIVE, frame);
			host->stats.lazyfree_rearmed++;
		}
		return false;
	}
	pte_unmap(mm, f->gfn);
	frame_put(host, frame);
	host->stats.lazyfree_discards++;
	mm->stats.lazyfree_discards++;
	return true;
}

static void write_swap(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct mm *mm = owner(host, frame);
	struct slot *slot = &host->slots[f->slot];

	if (f->dirty || (mm->pte[f->gfn] & PTE_DIRTY)) {
		slot->tag = f->tag;
		host->stats.swap_outs++;
		mm->stats.swap_outs++;
		if (mm->two.bits)
			host_wrote(mm, f->gfn);
	} else {
		host->stats.clean_evictions++;
	}
	if (mm->rules)
		mm->rules->evicted(mm, f->gfn, false);
	pte_swap_out(mm, f->gfn, f->slot);
	slot->count++;
	frame_put(host, frame);
}

/* z/VM: unused, volatile, or potentially volatile and unchanged; no slot is needed. */
static void drop_volatile(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct mm *mm = owner(host, frame);

	if ((mm->state[f->gfn] & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED) {
		host->stats.unused_discards++;
		mm->stats.unused_discards++;
	} else {
		host->stats.volatile_discards++;
		mm->stats.volatile_discards++;
	}
	mm->rules->evicted(mm, f->gfn, true);
	pte_unmap(mm, f->gfn);
	frame_put(host, frame);
}

/* The PTE goes, unused or not, and the file has the page, which it writes to swap by and by. */
static void leave_to_file(struct pgste_host *host, uint32_t frame)
{
	struct mm *mm = owner(host, frame);
	const uint64_t gfn = host->frames[frame].gfn;

	file_keep(mm, gfn);
	pte_unmap(mm, gfn);
	frame_put(host, frame);
	host->stats.clean_evictions++;
}

/* Would drop_or_write want a slot that the frame does not have? */
static bool needs_slot(const struct pgste_host *host, uint32_t frame)
{
	const struct frame *f = &host->frames[frame];
	const struct mm *mm = owner(host, frame);

	return f->list != PGSTE_LIST_LAZYFREE && f->slot == NIL && !mm->file &&
	       !(mm->rules && mm->rules->drops(mm, f->gfn));
}

/* A reference that is not the mapping's: shrink_folio_list leaves such anonymous pages alone. */
static bool is_kept(const struct frame *f)
{
	return f->pinned && f->list != PGSTE_LIST_LAZYFREE;
}

/* shrink_folio_list looks no further at a folio whose lock it does not get, or at writeback. */
static bool is_busy(const struct frame *f)
{
	return f->locked || f->writeback;
}

/* pgtable: the PTE's exchange returns UNUSED; dat: the host's own PTE has it, or not. */
static bool drops_unused(struct mm *mm, uint64_t gfn)
{
	if (mm->two.bits)
		return host_drops(mm, gfn);
	return page_is_unused(mm, gfn);
}

/*
 * Take the frame from its page.  A slot is taken first, as add_to_swap comes before the
 * unmap: even a page that is then dropped needs one for a moment; the caller sees to it that
 * a page that needs a slot finds one.
 */
bool drop_or_write(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct mm *mm = owner(host, frame);

	if (f->list == PGSTE_LIST_LAZYFREE)
		return drop_lazyfree(host, frame);
	if (mm->file) {
		leave_to_file(host, frame);
		return true;
	}
	if (mm->rules && mm->rules->drops(mm, f->gfn)) {
		drop_volatile(host, frame);
		return true;
	}
	if (f->slot == NIL) {
		slot_cache(host, slot_get(host), frame);
		f->dirty = 1;
	}
	if (drops_unused(mm, f->gfn)) {
		pte_unmap(mm, f->gfn);
		frame_put(host, frame);
		host->stats.unused_discards++;
		mm->stats.unused_discards++;
	} else {
		write_swap(host, frame);
	}
	return true;
}

/*
 * folio_check_references: a young page stays, one found young twice is activated.  False: it
 * will stay however often it is tried.
 */
static bool shrink(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct mm *mm = owner(host, frame);
	bool was_referenced = f->referenced;
	enum pgste_frame_list list = (enum pgste_frame_list)f->list;

	fetch_victims(host, &host->lists[list]);
	host->stats.scanned++;
	if (is_busy(f)) {
		list_move(host, f->locked ? list : PGSTE_LIST_ACTIVE, frame);
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

/* inactive_is_low: the larger the memory, the smaller the inactive share that is enough. */
static bool inactive_is_low(const struct pgste_host *host)
{
	uint64_t active = host->lists[PGSTE_LIST_ACTIVE].nr;
	uint64_t inactive = host->lists[PGSTE_LIST_INACTIVE].nr;
	uint64_t gb = (active + inactive) >> 18;

	return inactive == 0 || inactive * (gb ? isqrt_u64(10 * gb) : 1) < active;
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
	struct progress p = reclaim_start(host);

	while (host->nr_free < goal && reclaim_step(host, &p))
		;
}

/* What others free or take while this rests is not counted. */
int64_t reclaim_resting(struct pgste_host *host, uint64_t n)
{
	struct progress p = reclaim_start(host);
	uint64_t freed = 0;

	for (uint64_t steps = 1;; steps++) {
		const uint64_t before = host->nr_free;

		if (freed >= n || !reclaim_step(host, &p))
			return (int64_t)freed;
		freed += host->nr_free - before;
		if (steps % WATCH_STEPS == 0 && !watch_rest())
			return PGSTE_E_CANCELLED;
	}
}

uint32_t frame_get(struct pgste_host *host)
{
	if (host->nr_free <= host->config.low)
		reclaim(host, host->config.high - host->nr_free);
	return host->nr_free ? frame_take(host) : NIL;
}

uint32_t frame_for(struct mm *mm, uint64_t gfn)
{
	uint32_t frame = frame_get(mm->host);

	if (frame != NIL) {
		struct frame *f = &mm->host->frames[frame];

		f->gfn = gfn & ((UINT64_C(1) << 40) - 1);
		f->owner = mm->number & 0xffff;
	}
	return frame;
}

/* One page of MADV_PAGEOUT: 1 if its frame went, 0 if not, or an error with nothing changed. */
static int page_out(struct mm *mm, uint64_t gfn)
{
	struct pgste_host *host = mm->host;
	uint64_t cold = mm->pte[gfn];
	uint32_t frame = pte_index(cold);
	struct frame *f;

	if (!pte_is_present(cold, mm->state[gfn]))
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
	return drop_or_write(host, frame);
}

int64_t mm_pageout(struct mm *mm, const struct pgste_gfns *gfns)
{
	struct pgste_gfns all = *gfns;
	struct snapshot *snapshot = NULL;
	int64_t nr_out = 0;
	int out = PGSTE_OK;

	if (all.nr > mm->host->nr_slots_free || has_strangers(mm))
		out = snapshot_take(mm, &all, &snapshot);
	for (uint64_t gfn, i = 0; i < all.nr && out >= 0; i++) {
		out = gfn_get(&all, i, mm->nr_pages, &gfn) ? page_out(mm, gfn) : PGSTE_E_CHANGED;
		if (watch_stops_at(i))
			out = PGSTE_E_CANCELLED;
		nr_out += out;
	}
	if (out < 0)
		snapshot_restore(snapshot);
	snapshot_free(snapshot);
	return out < 0 ? out : nr_out;
}

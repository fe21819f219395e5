/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: two lists and a young bit as in mm/vmscan.c, taken one page at a time, and the
 * ways a page leaves memory (try_to_unmap_one): dropped because its guest page is unused,
 * discarded because it is lazyfree, or written to swap.  docs/model.md section 4.
 */
#include "internal.h"

static struct pgste_guest *owner(const struct pgste_host *host, uint32_t frame)
{
	return host->guests[host->frames[frame].guest];
}

static void list_move(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame)
{
	list_del(host, frame);
	list_add(host, list, frame);
}

/* Age the page; in dat the PTE loses DIRTY, which the frame then keeps. */
static void age(struct pgste_guest *guest, struct frame *f)
{
	if (guest->generation == PGSTE_GEN_DAT && (guest->pte[f->gfn] & PTE_DIRTY))
		f->dirty = 1;
	pte_age(guest, f->gfn);
}

static bool drop_lazyfree(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct pgste_guest *guest = owner(host, frame);

	bool dirty = f->dirty || (guest->pte[f->gfn] & PTE_DIRTY);

	if (dirty || f->pinned) {
		pte_restore(guest, f->gfn);
		if (dirty || host->rearm == PGSTE_REARM_REFERENCED) {
			list_move(host, PGSTE_LIST_ACTIVE, frame);
			host->stats.lazyfree_rearmed++;
		}
		return false;
	}
	pte_unmap(guest, f->gfn);
	frame_put(host, frame);
	host->stats.lazyfree_discards++;
	guest->stats.lazyfree_discards++;
	return true;
}

static void write_swap(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct pgste_guest *guest = owner(host, frame);
	struct slot *slot = &host->slots[f->slot];

	if (f->dirty || (guest->pte[f->gfn] & PTE_DIRTY)) {
		slot->tag = f->tag;
		host->stats.swap_outs++;
		guest->stats.swap_outs++;
	} else {
		host->stats.clean_evictions++;
	}
	if (guest->generation == PGSTE_GEN_ZVM)
		zvm_evicted(guest, f->gfn, false);
	pte_swap_out(guest, f->gfn, f->slot);
	slot->count++;
	frame_put(host, frame);
}

/* z/VM: unused, volatile, and potentially volatile and unchanged; no slot is needed. */
static void drop_volatile(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct pgste_guest *guest = owner(host, frame);

	if ((guest->state[f->gfn] & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED) {
		host->stats.unused_discards++;
		guest->stats.unused_discards++;
	} else {
		host->stats.volatile_discards++;
		guest->stats.volatile_discards++;
	}
	zvm_evicted(guest, f->gfn, true);
	pte_unmap(guest, f->gfn);
	frame_put(host, frame);
}

/* Would drop_or_write want a slot that the frame does not have? */
static bool needs_slot(const struct pgste_host *host, uint32_t frame)
{
	const struct frame *f = &host->frames[frame];
	const struct pgste_guest *guest = owner(host, frame);

	return f->list != PGSTE_LIST_LAZYFREE && f->slot == NIL &&
	       !(guest->generation == PGSTE_GEN_ZVM && zvm_drops(guest, f->gfn));
}

/* A reference that is not the mapping's: shrink_folio_list leaves such anonymous pages alone. */
static bool is_kept(const struct frame *f)
{
	return f->pinned && f->list != PGSTE_LIST_LAZYFREE;
}

/*
 * Take the frame from its page.  A slot is taken first, as add_to_swap comes before the
 * unmap: even a page that is then dropped needs one for a moment; the caller makes sure that
 * a page that needs a slot finds one.
 */
bool drop_or_write(struct pgste_host *host, uint32_t frame)
{
	struct frame *f = &host->frames[frame];
	struct pgste_guest *guest = owner(host, frame);

	if (f->list == PGSTE_LIST_LAZYFREE)
		return drop_lazyfree(host, frame);
	if (guest->generation == PGSTE_GEN_ZVM && zvm_drops(guest, f->gfn)) {
		drop_volatile(host, frame);
		return true;
	}
	if (f->slot == NIL) {
		slot_cache(host, slot_get(host), frame);
		f->dirty = 1;
	}
	if ((guest->state[f->gfn] & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED) {
		pte_unmap(guest, f->gfn);
		frame_put(host, frame);
		host->stats.unused_discards++;
		guest->stats.unused_discards++;
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
	struct pgste_guest *guest = owner(host, frame);
	bool was_referenced = f->referenced;
	enum pgste_frame_list list = (enum pgste_frame_list)f->list;

	host->stats.scanned++;
	f->referenced = 0;
	if (!page_is_young(guest, f->gfn)) {
		if (!is_kept(f) && !(needs_slot(host, frame) && !host->nr_slots_free) &&
		    (drop_or_write(host, frame) || f->list != PGSTE_LIST_LAZYFREE))
			return true;
		list_move(host, list, frame);
		return false;
	}
	age(guest, f);
	f->referenced = 1;
	if (was_referenced && list == PGSTE_LIST_INACTIVE)
		list = PGSTE_LIST_ACTIVE;
	list_move(host, list, frame);
	return true;
}

static uint64_t isqrt(uint64_t n)
{
	uint64_t root = 0;

	while ((root + 1) * (root + 1) <= n)
		root++;
	return root;
}

/* inactive_is_low: the larger the memory, the smaller the inactive share that is enough. */
static bool inactive_is_low(const struct pgste_host *host)
{
	uint64_t active = host->lists[PGSTE_LIST_ACTIVE].nr;
	uint64_t inactive = host->lists[PGSTE_LIST_INACTIVE].nr;
	uint64_t gb = (active + inactive) >> 18;

	return inactive == 0 || inactive * (gb ? isqrt(10 * gb) : 1) < active;
}

/* shrink_active_list: a batch from its tail moves on, young or not. */
static void deactivate(struct pgste_host *host)
{
	struct list *active = &host->lists[PGSTE_LIST_ACTIVE];

	for (uint32_t i = 0; i < host->config.batch && active->tail != NIL; i++) {
		uint32_t frame = active->tail;
		struct frame *f = &host->frames[frame];
		struct pgste_guest *guest = owner(host, frame);

		if (page_is_young(guest, f->gfn))
			age(guest, f);
		list_move(host, PGSTE_LIST_INACTIVE, frame);
	}
}

/* Free frames until n more are free, or nothing can be taken. */
void reclaim(struct pgste_host *host, uint64_t n)
{
	const uint64_t used = host->config.nr_frames - host->nr_free;
	const uint64_t goal = n > used ? host->config.nr_frames : host->nr_free + n;
	uint64_t budget = 4 * used + 32;
	uint64_t kept = 0; /* lazyfree pages that stay although clean */

	host->stats.reclaims++;
	for (; host->nr_free < goal && budget > 0; budget--) {
		const struct list *lazyfree = &host->lists[PGSTE_LIST_LAZYFREE];
		const struct list *inactive = &host->lists[PGSTE_LIST_INACTIVE];

		if (lazyfree->nr > kept) {
			kept += !shrink(host, lazyfree->tail);
			continue;
		}
		/* without a free slot, Linux does not even look at anonymous memory (B4) */
		if (!(host->nr_slots_free || host->nr_zvm) ||
		    !(inactive->nr + host->lists[PGSTE_LIST_ACTIVE].nr))
			break;
		if (inactive_is_low(host))
			deactivate(host);
		shrink(host, inactive->tail);
	}
}

int64_t pgste_host_reclaim(struct pgste_host *host, uint64_t n)
{
	uint64_t before;

	for (uint32_t i = 0; i < host->room_guests; i++)
		if (host->guests[i])
			guest_settle(host->guests[i]);
	before = host->nr_free;
	reclaim(host, n);
	return (int64_t)(host->nr_free - before);
}

/* One page of MADV_PAGEOUT: 1 if its frame went, 0 if not, or an error with nothing changed. */
static int page_out(struct pgste_guest *guest, uint64_t gfn)
{
	struct pgste_host *host = guest->host;
	uint64_t cold = guest->pte[gfn];
	uint32_t frame = (uint32_t)(cold >> PTE_PFRA_SHIFT);
	struct frame *f;

	if (!pte_is_present(cold, guest->state[gfn]))
		return 0;
	if (cold & COLD_FOREIGN)
		return PGSTE_E_FOREIGN;
	f = &host->frames[frame];
	if (is_kept(f))
		return 0;
	if (needs_slot(host, frame) && !host->nr_slots_free)
		return PGSTE_E_NO_SWAP;
	if (page_is_young(guest, gfn))
		age(guest, f);
	f->referenced = 0;
	return drop_or_write(host, frame);
}

int64_t pgste_swap_out(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	struct snapshot *snapshot = NULL;
	int64_t nr_out = 0;

	if (!gfns_below(gfns, guest->nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	if (gfns->nr > guest->host->nr_slots_free || guest->nr_foreign) {
		snapshot = snapshot_take(guest, gfns);
		if (!snapshot)
			return PGSTE_E_NOMEM;
	}
	for (uint64_t i = 0; i < gfns->nr; i++) {
		int out = page_out(guest, GFN(gfns, i));

		if (out < 0) {
			snapshot_restore(snapshot);
			nr_out = out;
			break;
		}
		nr_out += out;
	}
	snapshot_free(snapshot);
	return nr_out;
}

int pgste_host_set_rearm(struct pgste_host *host, enum pgste_rearm rearm)
{
	if (rearm != PGSTE_REARM_REFERENCED && rearm != PGSTE_REARM_DIRTY)
		return PGSTE_E_ARG;
	host->rearm = rearm;
	return PGSTE_OK;
}

int64_t pgste_set_pinned(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on)
{
	int64_t changed = 0;

	if (!gfns_below(gfns, guest->nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	for (uint64_t i = 0; i < gfns->nr; i++) {
		const uint64_t gfn = GFN(gfns, i), cold = guest->pte[gfn];
		struct frame *f;

		if (!pte_is_present(cold, guest->state[gfn]) || (cold & COLD_FOREIGN))
			continue;
		f = &guest->host->frames[cold >> PTE_PFRA_SHIFT];
		if (f->pinned == on)
			continue;
		f->pinned = on;
		guest->host->nr_pinned += on ? UINT64_C(1) : UINT64_MAX;
		changed++;
	}
	return changed;
}

/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of the guest, and the faults they take: zero fill (do_anonymous_page) and
 * swap-in (do_swap_page).  docs/model.md section 4.
 */
#include "internal.h"

static uint32_t frame_for(struct pgste_guest *guest, uint64_t gfn)
{
	uint32_t frame = frame_get(guest->host);

	if (frame != NIL) {
		struct frame *f = &guest->host->frames[frame];

		f->gfn = gfn & ((UINT64_C(1) << 40) - 1);
		f->guest = guest->number & 0xffff;
	}
	return frame;
}

static int fault_zero(struct pgste_guest *guest, uint64_t gfn, enum pte_access access,
		      uint32_t *frame)
{
	struct pgste_host *host = guest->host;

	*frame = frame_for(guest, gfn);
	if (*frame == NIL)
		return PGSTE_E_NO_FRAME;
	host->frames[*frame].dirty = 1;
	list_add(host, PGSTE_LIST_INACTIVE, *frame);
	chunk_touch(guest, gfn);
	pte_map_zero(guest, gfn, *frame, access);
	host->stats.zero_fills++;
	guest->stats.zero_fills++;
	return PGSTE_OK;
}

static int fault_swap(struct pgste_guest *guest, uint64_t gfn, enum pte_access access,
		      uint32_t *frame)
{
	struct pgste_host *host = guest->host;
	const uint32_t slot = (uint32_t)(guest->pte[gfn] >> PTE_PFRA_SHIFT);
	struct slot *s = &host->slots[slot];

	*frame = frame_for(guest, gfn);
	if (*frame == NIL)
		return PGSTE_E_NO_FRAME;
	host->frames[*frame].tag = s->tag;
	if (s->count == 1 && s->frame == NIL && access == PTE_LOAD && !swap_nearly_full(host)) {
		/* a clean copy stays on the slot (E4) */
		s->count = 0;
		slot_cache(host, slot, *frame);
	} else {
		host->frames[*frame].dirty = 1;
		slot_put_use(host, slot);
	}
	list_add(host, PGSTE_LIST_INACTIVE, *frame);
	pte_map_swapped(guest, gfn, *frame, access);
	host->stats.swap_ins++;
	guest->stats.swap_ins++;
	return PGSTE_OK;
}

static int fault_mapped(struct pgste_guest *guest, uint64_t gfn, enum pte_access access,
			uint32_t *frame)
{
	const uint64_t cold = guest->pte[gfn];
	const uint8_t state = guest->state[gfn];

	if (cold & COLD_FOREIGN)
		return PGSTE_E_FOREIGN;
	if (state & PGSTE_STATE_SWAP)
		return fault_swap(guest, gfn, access, frame);
	if (!pte_is_present(cold, state))
		return fault_zero(guest, gfn, access, frame);
	if (!page_is_young(guest, gfn) || (access == PTE_STORE && (cold & PTE_PROTECT)))
		pte_touch(guest, gfn, access);
	*frame = (uint32_t)(cold >> PTE_PFRA_SHIFT);
	return PGSTE_OK;
}

/* The page's frame, mapped for the access; on an error nothing has changed but reclaim. */
int fault_in(struct pgste_guest *guest, uint64_t gfn, enum pte_access access, uint32_t *frame)
{
	int error;

	if (guest->generation != PGSTE_GEN_ZVM)
		return fault_mapped(guest, gfn, access, frame);
	error = zvm_access(guest, gfn);
	if (!error)
		error = fault_mapped(guest, gfn, access, frame);
	if (!error && access == PTE_STORE)
		guest->state[gfn] |= PGSTE_STATE_GC;
	return error;
}

/* What a load would give. */
uint32_t content_of(const struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t cold = guest->pte[gfn];
	const uint32_t index = (uint32_t)(cold >> PTE_PFRA_SHIFT);

	if (cold & COLD_FOREIGN)
		return 0;
	if (guest->state[gfn] & PGSTE_STATE_SWAP)
		return guest->host->slots[index].tag;
	if (cold & PTE_PRESENT)
		return guest->host->frames[index].tag;
	return 0;
}

/*
 * May the call fail half way?  Each access takes at most one frame or slot for good, and
 * reclaim turns a free slot into a free frame whenever there is one and no frame is pinned;
 * so with as many of the two as accesses it cannot.
 */
static bool may_run_dry(const struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	const struct pgste_host *host = guest->host;

	return gfns->nr > host->nr_free + host->nr_slots_free || host->nr_pinned ||
	       guest->nr_foreign || guest->generation == PGSTE_GEN_ZVM;
}

/* gfn by gfn: tags NULL is a load into loaded, which may be NULL too. */
static int access_all(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		      const uint32_t *tags, unsigned tag_step, uint32_t *loaded)
{
	struct frame *frames = guest->host->frames;

	for (uint64_t i = 0; i < gfns->nr; i++) {
		uint32_t frame = NIL;
		int error = fault_in(guest, GFN(gfns, i), tags ? PTE_STORE : PTE_LOAD, &frame);

		if (error)
			return error;
		if (tags)
			frames[frame].tag = tags[tag_step ? i : 0];
		else
			loaded[i] = frames[frame].tag;
	}
	return PGSTE_OK;
}

static int access_checked(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  const uint32_t *tags, unsigned tag_step, uint32_t *loaded)
{
	struct snapshot *snapshot = NULL;
	int error;

	if (!gfns_below(gfns, guest->nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	if (may_run_dry(guest, gfns)) {
		snapshot = snapshot_take(guest, gfns);
		if (!snapshot)
			return PGSTE_E_NOMEM;
	}
	error = access_all(guest, gfns, tags, tag_step, loaded);
	if (error)
		snapshot_restore(snapshot);
	snapshot_free(snapshot);
	return error;
}

int pgste_write(struct pgste_guest *guest, const struct pgste_gfns *gfns, const uint32_t *tags,
		unsigned tag_step)
{
	if (!tags || tag_step > 1)
		return PGSTE_E_ARG;
	return access_checked(guest, gfns, tags, tag_step, NULL);
}

int pgste_read(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags)
{
	if (!tags)
		return PGSTE_E_ARG;
	return access_checked(guest, gfns, NULL, 0, tags);
}

int pgste_peek(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags)
{
	if (!gfns_below(gfns, guest->nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t i = 0; i < gfns->nr; i++)
		tags[i] = content_of(guest, GFN(gfns, i));
	return PGSTE_OK;
}

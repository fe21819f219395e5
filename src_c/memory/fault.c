/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of the mm, and the faults they take: zero fill (do_anonymous_page), or what a
 * file has (shmem_fault), and swap-in (do_swap_page).  docs/model.md section 4.
 */
#include "memory/key.h"
#include "memory/undo.h"
#include "memory/zero_page.h"

static int fault_zero(struct mm *mm, uint64_t gfn, enum pte_access access,
		      uint32_t *frame)
{
	struct pgste_host *host = mm->host;

	*frame = frame_for(mm, gfn);
	if (*frame == NIL)
		return PGSTE_E_NO_FRAME;
	list_add(host, PGSTE_LIST_INACTIVE, *frame);
	if (mm->file)
		host->frames[*frame].tag = (uint32_t)mm->file[gfn];
	chunk_touch(mm, gfn);
	pte_map_zero(mm, gfn, *frame, access);
	host->stats.zero_fills++;
	mm->stats.zero_fills++;
	return PGSTE_OK;
}

/* Hosts of PGSTE_RECLAIM_LRU; a slot that several use is copied from, as by the others. */
static bool goes_by_cache(const struct pgste_host *host, const struct slot *s)
{
	return has_lru(host) && s->count == 1 &&
	       (s->frame == NIL || frame_is_unmapped(&host->frames[s->frame]));
}

static int fault_swap(struct mm *mm, uint64_t gfn, enum pte_access access,
		      uint32_t *frame)
{
	struct pgste_host *host = mm->host;
	const uint32_t slot = pte_index(mm->pte[gfn]);
	struct slot *s = &host->slots[slot];

	if (goes_by_cache(host, s)) {
		*frame = swap_cache_frame(mm, gfn, slot, access);
		if (*frame == NIL)
			return PGSTE_E_NO_FRAME;
		pte_map_swapped(mm, gfn, *frame, access);
		return PGSTE_OK;
	}
	*frame = frame_for(mm, gfn);
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
	pte_map_swapped(mm, gfn, *frame, access);
	host->stats.swap_ins++;
	mm->stats.swap_ins++;
	return PGSTE_OK;
}

static int fault_mapped(struct mm *mm, uint64_t gfn, enum pte_access access,
			uint32_t *frame)
{
	const uint64_t cold = mm->pte[gfn];
	const uint8_t state = mm->state[gfn];

	if (cold & COLD_FOREIGN)
		return maps_zero_page(mm, gfn) ? zero_page_access(mm, gfn, access, frame) :
						 PGSTE_E_FOREIGN;
	if (state & PGSTE_STATE_SWAP)
		return fault_swap(mm, gfn, access, frame);
	if (!pte_is_present(cold, state)) {
		if (mm->own_memory)
			return PGSTE_E_FOREIGN;
		if (access == PTE_STORE || !mm->allow_cow_sharing)
			return fault_zero(mm, gfn, access, frame);
		zero_page_fault(mm, gfn);
		*frame = NIL;
		return PGSTE_OK;
	}
	*frame = pte_index(cold);
	if (pte_is_young(mm, gfn) && (access == PTE_LOAD || !(cold & PTE_PROTECT)))
		return PGSTE_OK;
	if (access == PTE_STORE && (cold & PTE_PROTECT) && mm->host->frames[*frame].shared)
		folio_copy(mm, gfn);
	else
		pte_touch(mm, gfn, access);
	return PGSTE_OK;
}

/* The page's frame, mapped for the access; on an error nothing has changed but reclaim. */
int fault_in(struct mm *mm, uint64_t gfn, enum pte_access access, uint32_t *frame)
{
	int error;

	if (!mm->rules)
		return fault_mapped(mm, gfn, access, frame);
	error = mm->rules->access(mm, gfn);
	if (!error)
		error = fault_mapped(mm, gfn, access, frame);
	if (!error && access == PTE_STORE)
		mm->rules->stored(mm, gfn);
	return error;
}

/* What a load would give. */
inline uint32_t content_of(const struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];
	const uint32_t index = pte_index(cold);

	if (cold & COLD_FOREIGN)
		return 0;
	if (mm->state[gfn] & PGSTE_STATE_SWAP)
		return mm->host->slots[index].tag;
	if (cold & PTE_PRESENT)
		return mm->host->frames[index].tag;
	return mm->file ? (uint32_t)mm->file[gfn] : 0;
}

/* Where fault_in has nothing to do but to tell the frame. */
static ALWAYS_INLINE bool is_mapped_for(const struct mm *mm, uint64_t gfn, enum pte_access access,
					uint32_t *frame)
{
	const uint64_t never = COLD_FOREIGN | (access == PTE_STORE ? PTE_PROTECT : 0);
	const uint8_t state = mm->state[gfn] & (PGSTE_STATE_VALID | PGSTE_STATE_SWAP);
	const uint64_t cold = mm->pte[gfn];

	*frame = pte_index(cold);
	return (cold & (PTE_PRESENT | never)) == PTE_PRESENT && state == PGSTE_STATE_VALID;
}

/* gfn by gfn: tags NULL is a load into loaded. */
static ALWAYS_INLINE int access_batch(struct mm *mm, const uint64_t *gfns, int nr,
				      const uint32_t *tags, unsigned tag_step, uint32_t *loaded)
{
	const enum pte_access access = tags ? PTE_STORE : PTE_LOAD;
	const bool plain = !mm->rules, keys = mm->extra & MM_SKEYS;
	struct frame *frames = mm->host->frames;

	for (int i = 0; i < nr; i++) {
		uint32_t frame = NIL;
		int error = PGSTE_OK;

		if (!plain)
			error = fault_in(mm, gfns[i], access, &frame);
		else if (!is_mapped_for(mm, gfns[i], access, &frame))
			error = fault_mapped(mm, gfns[i], access, &frame);
		if (error)
			return error;
		if (keys)
			key_accessed(mm->host, frame, tags != NULL);
		if (tags)
			frames[frame].tag = tags[tag_step ? i : 0];
		else
			loaded[i] = frame == NIL ? 0 : frames[frame].tag;
	}
	return PGSTE_OK;
}

static int access_all(struct mm *mm, const struct pgste_gfns *gfns,
		      const uint32_t *tags, unsigned tag_step, uint32_t *loaded)
{
	uint64_t batch[GFN_BATCH];
	int taken, error;

	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(mm, gfns, i, tags ? NEED_FRAME | NEED_REST : NEED_FRAME, batch);
		if (taken < 0)
			return taken;
		if (tags)
			error = access_batch(mm, batch, taken, tags + (tag_step ? i : 0),
					     tag_step, NULL);
		else
			error = access_batch(mm, batch, taken, NULL, 0, loaded + i);
		if (error)
			return error;
	}
	return PGSTE_OK;
}

/* All or nothing: what was done before an error is undone. */
static int access_or_undo(struct mm *mm, const struct pgste_gfns *gfns, const uint32_t *tags,
			  unsigned tag_step, uint32_t *loaded)
{
	struct pgste_gfns all = *gfns;
	struct snapshot *snapshot = NULL;
	int error = PGSTE_OK;

	if (may_run_dry(mm, gfns->nr))
		error = snapshot_take(mm, &all, &snapshot);
	if (!error)
		error = access_all(mm, &all, tags, tag_step, loaded);
	if (error)
		snapshot_restore(snapshot);
	snapshot_free(snapshot);
	return error;
}

int mm_write(struct mm *mm, const struct pgste_gfns *gfns, const uint32_t *tags,
	     unsigned tag_step)
{
	return access_or_undo(mm, gfns, tags, tag_step, NULL);
}

int mm_read(struct mm *mm, const struct pgste_gfns *gfns, uint32_t *tags)
{
	return access_or_undo(mm, gfns, NULL, 0, tags);
}

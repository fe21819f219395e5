/* SPDX-License-Identifier: MIT */
/*
 * The ways a page leaves memory (try_to_unmap_one): dropped because its guest page is unused,
 * discarded because it is lazyfree, or written to swap.  docs/model.md section 4.
 */
#include "memory/victims.h"

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
		} else if (has_lru(host)) {
			list_move(host, PGSTE_LIST_LAZYFREE_ACTIVE, frame);
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
	const uint64_t written = host->stats.swap_outs;

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
	if (has_lru(host) && host->config.write_delay && host->stats.swap_outs != written) {
		write_begin(host, frame);
		return;
	}
	if (has_lru(host))
		lru_evicted(host, frame);
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

/* pgtable: the PTE's exchange returns UNUSED; dat: the host's own PTE has it, or not. */
static bool drops_unused(struct mm *mm, uint64_t gfn)
{
	if (mm->two.bits)
		return host_drops(mm, gfn);
	return page_is_unused(mm, gfn);
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

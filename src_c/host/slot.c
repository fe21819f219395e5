/* SPDX-License-Identifier: MIT */
/*
 * Swap slots are taken, and given up by who uses them.  docs/model.md sections 4 and 6.
 * A slot is free when nobody uses it and no frame caches it.
 */
#include "host/lru.h"

/* The top of the stack, which nr_slots_free still counts. */
static void take_freed_slot(struct pgste_host *host, uint32_t slot)
{
	const struct slot *s = &host->slots[slot];

	host->free_slot = s->frame;
	__builtin_prefetch(&host->slots[s->tag], 1);
	hint_exchange(&host->slot_hints, host->nr_slots_free - 1, s->tag);
}

/* A free slot: the one freed last, else the lowest never used.  The caller checked for one. */
uint32_t slot_get(struct pgste_host *host)
{
	uint32_t slot = host->free_slot;
	uint64_t used;

	if (has_lru(host))
		slot = cluster_alloc(host);
	else if (slot != NIL)
		take_freed_slot(host, slot);
	else
		slot = (uint32_t)host->fresh_slot++;
	host->slots[slot] = (struct slot){ .frame = NIL };
	host->nr_slots_free--;
	used = host->config.nr_swap_slots - host->nr_slots_free;
	if (used > host->stats.swap_peak)
		host->stats.swap_peak = used;
	return slot;
}

/* free_swap_and_cache: one use less; is the slot free now?  Inline: a zap scan is mostly this. */
inline bool slot_put_use(struct pgste_host *host, uint32_t slot)
{
	struct slot *s = &host->slots[slot];

	if (--s->count != 0)
		return false;
	if (s->frame == NIL)
		return slot_maybe_free(host, slot);
	if (has_lru(host) && frame_is_unmapped(&host->frames[s->frame])) {
		if (host->frames[s->frame].writeback)
			return false;
		frame_put(host, s->frame); /* read ahead in vain; the slot goes with it */
		return true;
	}
	/* __try_to_reclaim_swap: the folio lock is tried, folio_free_swap refuses writeback */
	if (!swap_nearly_full(host) || host->frames[s->frame].locked ||
	    host->frames[s->frame].writeback)
		return false;
	/* the only copy is now in memory */
	host->frames[s->frame].dirty = 1;
	return slot_uncache(host, s->frame);
}

int pgste_host_slot(const struct pgste_host *host, uint64_t slot, struct pgste_slot_info *info)
{
	const struct slot *s;

	if (slot >= host->config.nr_swap_slots)
		return PGSTE_E_ARG;
	*info = (struct pgste_slot_info){ .frame = NIL };
	s = &host->slots[slot];
	if (slot >= host->fresh_slot || s->count == SLOT_FREE ||
	    (host->lru && !slot_is_used(host->lru, slot)))
		return PGSTE_OK;
	*info = (struct pgste_slot_info){ .count = s->count, .frame = s->frame, .tag = s->tag };
	return PGSTE_OK;
}

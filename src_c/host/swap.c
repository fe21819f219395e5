/* SPDX-License-Identifier: MIT */
/* The swap cache: which frame has the content of which slot.  docs/model.md section 4. */
#include "host/lru.h"

bool slot_maybe_free(struct pgste_host *host, uint32_t slot)
{
	struct slot *s = &host->slots[slot];

	if (s->count != 0 || s->frame != NIL)
		return false;
	s->count = SLOT_FREE;
	s->frame = host->free_slot;
	if (has_lru(host)) {
		cluster_free(host, slot);
	} else {
		host->free_slot = slot;
		s->tag = hint_exchange(&host->slot_hints, host->nr_slots_free, slot);
	}
	host->nr_slots_free++;
	return true;
}

void slot_cache(struct pgste_host *host, uint32_t slot, uint32_t frame)
{
	host->slots[slot].frame = frame;
	host->frames[frame].slot = slot;
	host->nr_cached++;
}

/* The frame leaves the swap cache: is the slot free now? */
bool slot_uncache(struct pgste_host *host, uint32_t frame)
{
	uint32_t slot = host->frames[frame].slot;

	host->frames[frame].slot = NIL;
	host->slots[slot].frame = NIL;
	host->nr_cached--;
	return slot_maybe_free(host, slot);
}

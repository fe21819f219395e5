/* SPDX-License-Identifier: MIT */
/* Questions about a guest's memory slots, which are few, in order, and do not overlap. */
#include "guest/guest.h"

static uint64_t end_of(const struct pgste_slot *slot)
{
	return slot->base + slot->pages;
}

uint32_t memslots_above(const struct memslots *slots, uint64_t gfn)
{
	uint32_t low = 0, high = slots->nr;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (end_of(&slots->at[middle]) > gfn)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool memslots_next(const struct memslots *slots, uint64_t *gfn, uint64_t *end)
{
	uint32_t i = memslots_above(slots, *gfn);

	if (i == slots->nr)
		return false;
	if (*gfn < slots->at[i].base)
		*gfn = slots->at[i].base;
	*end = end_of(&slots->at[i]);
	while (++i < slots->nr && slots->at[i].base == *end)
		*end = end_of(&slots->at[i]);
	return true;
}

bool memslots_cover(const struct memslots *slots, uint64_t gfn, uint64_t nr)
{
	for (uint32_t i = memslots_above(slots, gfn); nr; i++) {
		uint64_t in_slot;

		if (i == slots->nr || slots->at[i].base > gfn)
			return false;
		in_slot = end_of(&slots->at[i]) - gfn;
		if (nr <= in_slot)
			return true;
		nr -= in_slot;
		gfn += in_slot;
	}
	return true;
}

/* ---- of a guest ---- */

bool slots_walk(const struct pgste_guest *guest, uint64_t *gfn, uint64_t *end)
{
	if (guest->mm.generation == PGSTE_GEN_DAT)
		return memslots_next(&guest->slots, gfn, end);
	*end = guest->mm.nr_pages;
	return *gfn < *end;
}

bool slots_cover(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint64_t nr,
		 uint64_t *bad)
{
	const struct memslots *slots = &guest->slots;
	uint64_t gfn, end;

	if (slots->whole || gfns->nr == 0)
		return true; /* the caller has seen that all are below the limit */
	if (gfns->type == PGSTE_GFN_RANGE && nr == 1) {
		*bad = gfn = gfns->first;
		if (!memslots_next(slots, &gfn, &end) || gfn != gfns->first)
			return false;
		*bad = end;
		return gfns->nr <= end - gfn;
	}
	for (uint64_t i = 0; i < gfns->nr; i++) {
		gfn = gfn_unbounded(gfns->type, gfns, i);
		if (!memslots_cover(slots, gfn, nr)) {
			*bad = gfn;
			return false;
		}
	}
	return true;
}

const char *slots_validate(const struct pgste_guest *guest)
{
	const struct memslots *slots = &guest->slots;
	uint64_t end = 0;

	for (uint32_t i = 0; i < slots->nr; i++) {
		const struct pgste_slot *slot = &slots->at[i];

		if (slot->base < end || slot->pages == 0 ||
		    slot->pages > guest->mm.nr_pages - slot->base)
			return "memory slots overlap, are out of order, or beyond the guest";
		if (guest->mm.generation == PGSTE_GEN_PGTABLE &&
		    dirty_find(guest->mm.state, end, slot->base) < slot->base)
			return "a page outside every memory slot is attribute-dirty";
		if (guest->migration && guest->use_cmma && !slot->log_dirty)
			return "migration mode with a memory slot without dirty logging";
		end = end_of(slot);
	}
	if (guest->mm.generation == PGSTE_GEN_PGTABLE &&
	    dirty_find(guest->mm.state, end, guest->mm.nr_pages) < guest->mm.nr_pages)
		return "a page outside every memory slot is attribute-dirty";
	return NULL;
}

uint64_t slot_host_gfn(const struct pgste_guest *guest, uint64_t gfn)
{
	const struct pgste_slot *slot = memslots_find(&guest->slots, gfn);

	return slot ? slot->host + (gfn - slot->base) : PGSTE_NO_HOST_PAGE;
}

uint64_t slot_guest_gfn(const struct pgste_guest *guest, uint64_t host)
{
	for (uint32_t i = 0; i < guest->slots.nr; i++) {
		const struct pgste_slot *slot = &guest->slots.at[i];

		if (host - slot->host < slot->pages)
			return slot->base + (host - slot->host);
	}
	return PGSTE_NO_HOST_PAGE;
}

uint32_t pgste_slots(const struct pgste_guest *guest, struct pgste_slot *slots, uint32_t max)
{
	for (uint32_t i = 0; i < guest->slots.nr && i < max; i++)
		slots[i] = guest->slots.at[i];
	return guest->slots.nr;
}

int pgste_host_gfns(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    uint64_t *hosts)
{
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		hosts[i] = slot_host_gfn(guest, gfn);
	}
	return PGSTE_OK;
}

bool pgste_slots_cover(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		       uint64_t nr, uint64_t *bad)
{
	return slots_cover(guest, gfns, nr, bad);
}

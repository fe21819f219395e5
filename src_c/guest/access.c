/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of a guest, and what its host is asked to do with its pages: arguments are
 * checked, and frees that the mechanism holds back are issued first.  memory/ does the work.
 */
#include "guest/guest.h"

/* A load or store outside every slot is an addressing exception, as the machine has it. */
static int check_slots(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	return slots_cover(guest, gfns, 1, &guest->fault_gfn) ? PGSTE_OK : PGSTE_E_PGM_ADDRESSING;
}

int pgste_write(struct pgste_guest *guest, const struct pgste_gfns *gfns, const uint32_t *tags,
		unsigned tag_step)
{
	if (!tags || tag_step > 1)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	if (check_slots(guest, gfns))
		return PGSTE_E_PGM_ADDRESSING;
	guest_settle(guest);
	return mm_write(&guest->mm, gfns, tags, tag_step);
}

int pgste_read(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags)
{
	if (!tags)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	if (check_slots(guest, gfns))
		return PGSTE_E_PGM_ADDRESSING;
	guest_settle(guest);
	return mm_read(&guest->mm, gfns, tags);
}

int pgste_peek(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags)
{
	uint64_t batch[GFN_BATCH];
	int taken;

	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(&guest->mm, gfns, i, NEED_FRAME, batch);
		if (taken < 0)
			return taken;
		for (int k = 0; k < taken; k++)
			tags[i + (unsigned)k] = content_of(&guest->mm, batch[k]);
	}
	return PGSTE_OK;
}

static bool poke_one(struct mm *mm, uint64_t gfn, uint32_t tag)
{
	const uint64_t cold = mm->pte[gfn];

	if (cold & COLD_FOREIGN)
		return false;
	if (pte_is_present(cold, mm->state[gfn]))
		mm->host->frames[pte_index(cold)].tag = tag;
	else if (mm->file && mm->file[gfn])
		mm->file[gfn] = FILE_HAS | tag;
	else
		return false;
	return true;
}

int64_t pgste_poke(struct pgste_guest *guest, const struct pgste_gfns *gfns, const uint32_t *tags,
		   unsigned tag_step)
{
	struct mm *mm = &guest->mm;
	int64_t poked = 0;

	if (!tags || tag_step > 1)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, mm->nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, mm->nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		poked += poke_one(mm, gfn, tags[tag_step ? i : 0]);
	}
	return poked;
}

int64_t pgste_swap_out(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	return mm_pageout(&guest->mm, gfns);
}

int64_t pgste_set_folio(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			enum pgste_folio what, bool on)
{
	const enum pgste_generation generation = guest->mm.generation;

	if ((unsigned)what > PGSTE_FOLIO_SHARED ||
	    (generation == PGSTE_GEN_ZVM && what != PGSTE_FOLIO_PINNED) ||
	    ((generation == PGSTE_GEN_DAT || guest->mm.file) && what == PGSTE_FOLIO_SHARED))
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	return mm_set_folio(&guest->mm, gfns, what, on);
}

int64_t pgste_host_reclaim(struct pgste_host *host, uint64_t n)
{
	for (uint32_t i = 0; i < host->room_mms; i++)
		if (host->mms[i])
			guest_settle(guest_of(host->mms[i]));
	return reclaim_resting(host, n);
}

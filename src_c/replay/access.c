/* SPDX-License-Identifier: MIT */
/*
 * Accesses in a replay: loads and stores of pages in use, between the events that they were made
 * between.  docs/model.md section 9.
 */
#include "replay/steps.h"

static bool is_access(uint64_t access)
{
	return PGSTE_EVENT_KIND(access) >= PGSTE_ACCESS_LOAD && PGSTE_EVENT_ORDER(access) == 0;
}

/* The page of an access, from a word that was read once; false if it is none of the guests. */
static bool access_page(const struct pgste_replay *r, uint64_t access, uint64_t *gfn)
{
	*gfn = PGSTE_EVENT_PFN(access) - r->base_pfn;
	return is_access(access) && *gfn < r->nr_pages;
}

static int access_one(struct pgste_replay *r, struct pgste_guest *guest, uint64_t gfn,
		      bool is_store)
{
	const struct pgste_gfns page = { .first = gfn, .nr = 1 };
	uint32_t tag;
	int error;

	if (page_is_free(guest, gfn)) {
		r->ignored_accesses++;
		return PGSTE_OK;
	}
	if (is_store) {
		tag = replay_next_tag(r);
		error = mm_write(&guest->mm, &page, &tag, 0);
	} else {
		error = mm_read(&guest->mm, &page, &tag);
	}
	r->stores += !error && is_store;
	r->loads += !error && !is_store;
	return error;
}

int replay_accesses(struct pgste_replay *r)
{
	uint64_t access, gfn;

	for (; r->next_access < r->nr_accesses; r->next_access++) {
		if (READ_ONCE(r->places[r->next_access]) > r->at)
			return PGSTE_OK;
		access = READ_ONCE(r->accesses[r->next_access]);
		if (!access_page(r, access, &gfn))
			return PGSTE_E_CHANGED;
		if (!replay_in_slots(r, gfn, 1))
			return PGSTE_E_GFN;
		for (unsigned i = 0; i < r->nr_guests; i++) {
			int error = access_one(r, r->guests[i], gfn,
					       PGSTE_EVENT_KIND(access) == PGSTE_ACCESS_STORE);

			if (error)
				return error;
		}
	}
	return PGSTE_OK;
}

int pgste_replay_set_accesses(struct pgste_replay *r, const uint64_t *accesses,
			      const uint64_t *places, uint64_t nr)
{
	uint64_t place, before = 0, gfn;

	if (r->at || r->error)
		return PGSTE_E_ARG;
	for (uint64_t i = 0; i < nr; i++) {
		place = READ_ONCE(places[i]);
		if (!access_page(r, READ_ONCE(accesses[i]), &gfn) || place > r->nr ||
		    place < before || !replay_in_slots(r, gfn, 1))
			return PGSTE_E_ARG;
		before = place;
	}
	r->accesses = accesses;
	r->places = places;
	r->nr_accesses = nr;
	r->next_access = 0;
	return PGSTE_OK;
}

/* SPDX-License-Identifier: MIT */
/* A replay of page allocator events through the guests of one host. */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include "base/event.h"
#include "guest/guest.h"
#include "pgste/replay.h"

struct pgste_replay {
	struct pgste_guest **guests;
	unsigned nr_guests;
	uint64_t base_pfn;
	const uint64_t *events, *times;
	uint64_t nr, at;
	const uint64_t *accesses, *places;
	uint64_t nr_accesses, next_access;
	uint64_t nr_pages; /* of the smallest guest */
	uint32_t tag;
	int error;
	bool waiting;	   /* time has not come to the next event: */
	uint64_t left_ns;  /* it is still so far away */
	bool clocked; /* a guest's mechanism acts by the clock */
	bool holes;   /* a guest has pages outside every memory slot */
	uint64_t stale_allocs, stale_pages, implied_frees, ignored_frees;
	uint64_t loads, stores, ignored_accesses;
	double frame_ns, swap_ns, ns;
};

/* The event's block, from a word that was read once: false if it is none inside the guests. */
static ALWAYS_INLINE bool replay_block(const struct pgste_replay *r, uint64_t event,
				       struct block *block)
{
	return event_block(event, r->base_pfn, r->nr_pages, block);
}

/* Do the accesses that come before the event that is next (access.c). */
int replay_accesses(struct pgste_replay *r);
/* Does a guest have pages outside every memory slot?  Slots do not change while a call runs. */
static inline bool replay_has_holes(const struct pgste_replay *r)
{
	for (unsigned i = 0; i < r->nr_guests; i++)
		if (!r->guests[i]->slots.whole)
			return true;
	return false;
}

/* Are these pages in a memory slot of every guest? */
static inline bool replay_in_slots(const struct pgste_replay *r, uint64_t gfn, uint64_t nr)
{
	for (unsigned i = 0; i < r->nr_guests; i++)
		if (!memslots_have(&r->guests[i]->slots, gfn, nr))
			return false;
	return true;
}

/* Bring the guests to where the trace begins (setup.c).  PGSTE_E_ARG for an event that is none: no
 * guest has changed; PGSTE_E_NOMEM, PGSTE_E_NO_FRAME, PGSTE_E_CANCELLED. */
int replay_setup(struct pgste_replay *r);

#endif

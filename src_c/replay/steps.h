/* SPDX-License-Identifier: MIT */
/* What a replay and its setup do to a page, inline: an event is little more than these. */
#ifndef REPLAY_STEPS_H
#define REPLAY_STEPS_H

#include "guest/essa.h"
#include "replay/replay.h"

/* Tags are distinct and never 0, which is the content of a zeroed page. */
static inline uint32_t replay_next_tag(struct pgste_replay *r)
{
	if (++r->tag == 0)
		r->tag = 1;
	return r->tag;
}

/* The guest's first store after an alloc; *stale: a load before it would have seen old data. */
static inline int replay_first_store(struct pgste_guest *guest, uint64_t gfn, uint32_t tag,
				     bool *stale)
{
	const uint64_t mask = PTE_PRESENT | PTE_PROTECT | COLD_FOREIGN;
	struct frame *frames = guest->mm.host->frames;
	uint32_t frame = pte_index(guest->mm.pte[gfn]);
	int error;

	if (guest->mm.generation != PGSTE_GEN_ZVM &&
	    (guest->mm.state[gfn] & (PGSTE_STATE_VALID | PGSTE_STATE_SWAP)) == PGSTE_STATE_VALID &&
	    (guest->mm.pte[gfn] & mask) == PTE_PRESENT) {
		*stale = frames[frame].tag != 0;
	} else {
		*stale = content_of(&guest->mm, gfn) != 0;
		error = fault_in(&guest->mm, gfn, PTE_STORE, &frame);
		if (error)
			return error;
	}
	frames[frame].tag = tag;
	return PGSTE_OK;
}

/* mark_pages() for callers that do not ask what the pages were; most blocks are one page. */
static inline void replay_mark(struct pgste_guest *guest, uint64_t gfn, uint64_t nr, bool to_free)
{
	const uint64_t bit = UINT64_C(1) << gfn % 64;
	uint64_t *word = &guest->free[gfn / 64];

	if (nr == 1)
		*word = to_free ? *word | bit : *word & ~bit;
	else
		mark_pages(guest, gfn, nr, to_free);
}

/* The mechanism's hooks; most calls are for one page, and cmma's is known here. */
static ALWAYS_INLINE void replay_hint_free(struct pgste_guest *guest, uint64_t gfn, uint64_t nr,
				    unsigned order)
{
	if (guest->use_cmma && nr == 1)
		essa_hint(guest, &guest->vcpus[0], PGSTE_ORC_SET_UNUSED, gfn);
	else if (guest->mech->free)
		guest->mech->free(guest, &guest->vcpus[0], gfn, nr, order);
}

static ALWAYS_INLINE void replay_hint_alloc(struct pgste_guest *guest, uint64_t gfn, uint64_t nr,
				     unsigned order)
{
	if (guest->use_cmma && nr == 1)
		essa_hint(guest, &guest->vcpus[0], alloc_orc(guest), gfn);
	else if (guest->mech->alloc)
		guest->mech->alloc(guest, &guest->vcpus[0], gfn, nr, order);
}

/* Pages in use become free, and the mechanism hears of it. */
static inline void replay_free_run(struct pgste_guest *guest, uint64_t gfn, uint64_t nr,
				   unsigned order)
{
	replay_mark(guest, gfn, nr, true);
	guest->vcpus[0].pages_freed += nr;
	replay_hint_free(guest, gfn, nr, order);
}

#endif

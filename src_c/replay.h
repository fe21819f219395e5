/* SPDX-License-Identifier: MIT */
/* A replay: replay.c runs it, replay_setup.c brings its guests to where the trace begins. */
#ifndef PGSTE_REPLAY_H
#define PGSTE_REPLAY_H

#include "internal.h"

struct pgste_replay {
	struct pgste_guest **guests;
	unsigned nr_guests;
	uint64_t base_pfn;
	const uint64_t *events, *times;
	uint64_t nr, at;
	uint32_t tag;
	int error;
	bool clocked; /* a guest's mechanism acts by the clock */
	uint64_t stale_allocs, stale_pages, implied_frees, ignored_frees;
	double frame_ns, swap_ns, ns;
};

/* Tags are distinct and never 0, which is the content of a zeroed page. */
uint32_t replay_next_tag(struct pgste_replay *r);
/* The guest's first store after an alloc; *stale: a load before it would have seen old data. */
int replay_first_store(struct pgste_guest *guest, uint64_t gfn, uint32_t tag, bool *stale);
/* Pages in use become free, and the mechanism hears of it. */
void replay_free_run(struct pgste_guest *guest, uint64_t gfn, uint64_t nr, unsigned order);
/* PGSTE_E_NOMEM, PGSTE_E_NO_FRAME. */
int replay_setup(struct pgste_replay *r, uint64_t nr_pages);

#endif

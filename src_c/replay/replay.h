/* SPDX-License-Identifier: MIT */
/* A replay of page allocator events through the guests of one host. */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include "guest/guest.h"
#include "pgste/replay.h"

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

/* Bring the guests to where the trace begins (setup.c).  PGSTE_E_NOMEM, PGSTE_E_NO_FRAME. */
int replay_setup(struct pgste_replay *r, uint64_t nr_pages);

#endif

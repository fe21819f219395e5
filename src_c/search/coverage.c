/* SPDX-License-Identifier: MIT */
/* What of the state bytes and of ESSA's table a search got to. */
#include "search/system.h"

static void see(struct pgste_seen *seen, uint8_t state)
{
	state &= (uint8_t)~PGSTE_STATE_DIRTY;
	seen->bits[state / 64] |= UINT64_C(1) << state % 64;
}

/* A full list is processed before the ESSA, which may change what that meets: not counted. */
void search_cover(const struct search_system *s, struct search_coverage *coverage)
{
	const bool essa = s->guest->mech->cmma && s->guest->vcpus[0].nr < s->guest->cbrl_entries;

	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++) {
		const uint8_t state = s->guest->mm.state[gfn];

		see(&coverage->seen, state);
		if (!essa)
			continue;
		see(&coverage->met_unused, state);
		see(&coverage->met_stable, state);
	}
}

static void add_seen(const struct pgste_seen *seen, struct pgste_seen *all)
{
	for (unsigned i = 0; i < 4; i++)
		all->bits[i] |= seen->bits[i];
}

void search_add_coverage(const struct search_coverage *coverage,
			 struct pgste_search_result *result)
{
	add_seen(&coverage->seen, &result->seen);
	add_seen(&coverage->met_unused, &result->met_unused);
	add_seen(&coverage->met_stable, &result->met_stable);
}

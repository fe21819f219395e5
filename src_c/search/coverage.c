/* SPDX-License-Identifier: MIT */
/* What of the state bytes and of ESSA's table a search got to. */
#include "search/system.h"

static void see(struct pgste_seen *seen, uint8_t state)
{
	state &= (uint8_t)~PGSTE_STATE_DIRTY;
	seen->bits[state / 64] |= UINT64_C(1) << state % 64;
}

void search_cover_state(const struct search_system *s, struct pgste_search_result *result)
{
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++)
		see(&result->seen, s->guest->mm.state[gfn]);
}

/* A full list is processed before the ESSA, which may change what that meets: not counted. */
void search_cover_essa(const struct search_system *s, enum pgste_action action, uint64_t gfn,
		       struct pgste_search_result *result)
{
	const uint8_t state = s->guest->mm.state[gfn];

	if (!s->guest->mech->cmma || s->guest->vcpus[0].nr >= s->guest->cbrl_entries)
		return;
	if (action == PGSTE_ACTION_FREE)
		see(&result->met_unused, state);
	else if (action == PGSTE_ACTION_ALLOC)
		see(&result->met_stable, state);
}

/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "search/worker.h"

int worker_new(struct worker *w, const struct pgste_search_config *config,
	       const struct visited *visited)
{
	int error = system_new(&w->system, config);

	w->visited = visited;
	for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
		w->first[q] = NO_STEP;
	if (error)
		return error;
	for (unsigned a = 0; a < PGSTE_NR_ACTIONS; a++)
		for (uint8_t gfn = 0; gfn < config->nr_pages; gfn++)
			if (action_belongs(&w->system, (enum pgste_action)a, gfn))
				w->steps[w->nr_steps++] = (struct pgste_step){ (uint8_t)a, gfn };
	return PGSTE_OK;
}

void worker_free(struct worker *w)
{
	system_free(&w->system);
	free(w->candidates);
}

static bool worker_fails(struct worker *w, int error)
{
	w->error = error;
	return false;
}

/* The state that a step led to, unless that is where it came from.  Inlining takes 1 % off. */
__attribute__((flatten))
static void worker_reached(struct worker *w, struct pgste_step step, const uint64_t *from,
			   uint64_t from_packed)
{
	struct reached *r = &w->reached[w->nr_reached];

	system_save(&w->system, r->key);
	r->reordered = system_reorder(&w->system, r->key);
	r->packed = visited_pack_like(w->visited, r->key, from, from_packed);
	if (r->packed == from_packed)
		return;
	r->step = step;
	visited_fetch(w->visited, r->packed);
	w->nr_reached++;
}

/* Those that are new.  What is fetched of the set has come meanwhile. */
static bool worker_sift(struct worker *w, uint64_t parent)
{
	if (w->nr_candidates + w->nr_reached > w->room) {
		const uint64_t room = 2 * w->room + MOST_STEPS;
		void *candidates = realloc(w->candidates, room * sizeof(*w->candidates));

		if (!candidates)
			return worker_fails(w, PGSTE_E_NOMEM);
		w->candidates = candidates;
		w->room = room;
	}
	for (unsigned i = 0; i < w->nr_reached; i++) {
		const struct reached *r = &w->reached[i];
		struct candidate *c = &w->candidates[w->nr_candidates];

		if (r->packed && visited_has(w->visited, r->packed))
			continue;
		memcpy(c->key, r->key, sizeof(c->key));
		c->packed = r->packed;
		c->origin = (struct origin){ (uint32_t)parent, r->step, r->reordered };
		w->nr_candidates++;
	}
	return true;
}

static void worker_note(struct worker *w, uint64_t order, uint64_t found)
{
	for (; found; found &= found - 1) {
		uint64_t *first = &w->first[__builtin_ctzll(found)];

		*first = min_u64(*first, order);
	}
}

bool worker_expand(struct worker *w, uint64_t state)
{
	const uint64_t packed = w->visited->packed[state];
	bool changed = false; /* the system is no longer in this state */
	uint64_t key[SEARCH_WORDS];

	visited_key(w->visited, state, key);
	system_restore(&w->system, key);
	system_remember(&w->system, &w->image);
	note_before(&w->system, &w->before);
	search_cover(&w->system, &w->coverage);
	w->nr_reached = 0;
	for (unsigned i = 0; i < w->nr_steps; i++) {
		const struct pgste_step step = w->steps[i];
		uint64_t found = 0;
		bool done;

		if (changed)
			system_put_back(&w->system, &w->image);
		changed = action_applies(&w->system, (enum pgste_action)step.action, step.gfn);
		if (!changed)
			continue;
		done = action_do(&w->system, step, &w->before, &found, w->premises);
		if (w->system.no_memory)
			return worker_fails(w, PGSTE_E_NOMEM);
		if (found)
			worker_note(w, step_order(state, step), found);
		if (!done)
			continue;
		if (w->system.config->validated && pgste_validate(w->system.host))
			return worker_fails(w, PGSTE_E_STATE);
		w->transitions++;
		worker_reached(w, step, key, packed);
	}
	return worker_sift(w, state);
}

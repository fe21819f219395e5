/* SPDX-License-Identifier: MIT */
/*
 * What one thread of a search does: it tries every step in some of the states, and keeps those
 * that lead to a new one.  Each thread has a system of its own; they share the states that were
 * found, in which they only look.
 */
#ifndef SEARCH_WORKER_H
#define SEARCH_WORKER_H

#include "search/actions.h"
#include "search/observe.h"
#include "search/visited.h"

#define MOST_STEPS (PGSTE_NR_ACTIONS * SEARCH_MAX_PAGES)

/* A step from a state and the key behind it. */
struct reached {
	uint64_t key[SEARCH_WORDS];
	uint64_t packed; /* 0: surely new */
	struct pgste_step step;
	bool reordered;
};

/* A state that seems to be new; several steps may lead to it. */
struct candidate {
	uint64_t key[SEARCH_WORDS];
	uint64_t packed; /* 0: a word of it had no number then */
	struct origin origin;
};

struct worker {
	const struct visited *visited;
	struct search_system system;
	struct pgste_step steps[MOST_STEPS]; /* those that may apply in some state */
	unsigned nr_steps;
	/* of the state that it is at */
	struct search_image image;
	struct before before;
	struct reached reached[MOST_STEPS];
	unsigned nr_reached;
	/* in the order of states and steps; who takes them sets nr_candidates to 0 */
	struct candidate *candidates;
	uint64_t nr_candidates, room;
	/* what it counted: as in struct pgste_search_result, where it is added to */
	uint64_t transitions, premises[PGSTE_NR_QUESTIONS];
	struct search_coverage coverage;
	uint64_t first[PGSTE_NR_QUESTIONS]; /* the first step that shows it: step_order() */
	int error;
};

/* PGSTE_OK, or an error; worker_free is then due, too. */
int worker_new(struct worker *w, const struct pgste_search_config *config,
	       const struct visited *visited);
void worker_free(struct worker *w);
/* Try all steps in a state.  False: w->error says why. */
bool worker_expand(struct worker *w, uint64_t state);

/* Steps in the order in which one thread would try them; NO_STEP comes after all. */
#define NO_STEP UINT64_MAX
static inline uint64_t step_order(uint64_t state, struct pgste_step step)
{
	return state << 16 | (uint64_t)step.action << 8 | step.gfn;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Breadth-first search of every state that a tiny guest and its host can get into.  States
 * are kept in the order they are found (visited.c), each with the state and the action it came
 * from, so the first run that shows something is a shortest one.
 */
#include <stdlib.h>

#include "pgste/watch.h"
#include "search/worker.h"

#define ACTION_ROW(NAME, name, words) { name, words },
static const struct {
	const char *name, *words;
} actions[] = { PGSTE_ACTIONS(ACTION_ROW) };

#define QUESTION_ROW(NAME, name, text, found, good, stem) { name, text, found, good, stem },
static const struct pgste_question_info questions[] = { PGSTE_QUESTIONS(QUESTION_ROW) };

const char *pgste_action_name(unsigned i)
{
	return i < PGSTE_NR_ACTIONS ? actions[i].name : NULL;
}

const char *pgste_action_words(unsigned i)
{
	return i < PGSTE_NR_ACTIONS ? actions[i].words : NULL;
}

const struct pgste_question_info *pgste_question(unsigned i)
{
	return i < PGSTE_NR_QUESTIONS ? &questions[i] : NULL;
}

/* ---- answers ---- */

static uint8_t exchanged(uint8_t gfn)
{
	return gfn ? (uint8_t)(SEARCH_MAX_PAGES - gfn) : gfn;
}

/* The run to a state and one step more. */
static void tell_answer(const struct visited *visited, uint64_t order,
			struct pgste_search_answer *answer)
{
	uint64_t state = order >> 16;
	uint32_t at = visited_depth(visited, state);

	answer->nr_steps = at + 1;
	if (at >= PGSTE_SEARCH_STEPS)
		return;
	answer->steps[at] = (struct pgste_step){ order >> 8 & 0xff, order & 0xff };
	while (at) {
		const struct origin origin = visited_origin(visited, state);

		/* what comes after an exchange of pages speaks of them by their new numbers */
		if (origin.reordered)
			for (uint32_t i = at; i < answer->nr_steps; i++)
				answer->steps[i].gfn = exchanged(answer->steps[i].gfn);
		answer->steps[--at] = origin.step;
		state = origin.parent;
	}
}

/* ---- rounds ---- */

/*
 * States are searched in rounds: threads try the steps in some states each, and only look which
 * states were found.  Then one adds what is new, in the order in which one thread would have found
 * it.  So results do not depend on the number of threads.
 */
#define ROUND_STATES UINT64_C(2048) /* some 5 ms, after which the caller is asked */
#define CHUNK_STATES UINT64_C(64)
#define MOST_CHUNKS (ROUND_STATES / CHUNK_STATES)
#define ADD_AHEAD UINT64_C(8) /* candidates whose places are fetched meanwhile */

/* What came of some states of a round: a run of a worker's candidates. */
struct chunk {
	const struct worker *worker;
	uint64_t first, nr;
};

struct search {
	const struct pgste_search_config *config;
	struct pgste_search_result *result;
	struct visited visited;
	struct worker *workers;
	unsigned nr_workers;
	uint64_t from, to;  /* states of this round */
	uint64_t nr_taken;  /* chunks of it, by any thread */
	struct chunk chunks[MOST_CHUNKS];
};

/* A thread: chunk after chunk, as long as there are some. */
static void search_chunks(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct search *s = data;
	struct worker *w = &s->workers[part];
	/* the caller is asked between rounds: an action is never ended half way */
	const struct pgste_watch *watch = pgste_set_watch(NULL);
	bool ok = true;

	(void)from, (void)to;
	while (ok) {
		const uint64_t n = __atomic_fetch_add(&s->nr_taken, 1, __ATOMIC_RELAXED);
		const uint64_t first = s->from + n * CHUNK_STATES;
		const uint64_t end = min_u64(first + CHUNK_STATES, s->to);

		if (first >= s->to)
			break;
		s->chunks[n] = (struct chunk){ w, w->nr_candidates, 0 };
		for (uint64_t state = first; ok && state < end; state++)
			ok = worker_expand(w, state);
		s->chunks[n].nr = w->nr_candidates - s->chunks[n].first;
	}
	(void)pgste_set_watch(watch);
}

static int add_found(struct search *s)
{
	const uint64_t nr = (s->to - s->from + CHUNK_STATES - 1) / CHUNK_STATES;
	int error = PGSTE_OK;

	for (uint64_t n = 0; n < nr && !error; n++) {
		const struct candidate *c = s->chunks[n].worker->candidates + s->chunks[n].first;

		for (uint64_t i = 0; i < s->chunks[n].nr && !error; i++) {
			if (i + ADD_AHEAD < s->chunks[n].nr && c[i + ADD_AHEAD].packed)
				visited_fetch(&s->visited, c[i + ADD_AHEAD].packed);
			error = visited_add(&s->visited, c[i].key, c[i].packed, c[i].origin);
		}
	}
	for (unsigned i = 0; i < s->nr_workers; i++)
		s->workers[i].nr_candidates = 0;
	return error;
}

/* Questions that this round is the first to show. */
static void add_answers(struct search *s)
{
	for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++) {
		uint64_t first = NO_STEP;

		for (unsigned i = 0; i < s->nr_workers; i++)
			first = min_u64(first, s->workers[i].first[q]);
		if (first != NO_STEP && !s->result->answers[q].nr_steps)
			tell_answer(&s->visited, first, &s->result->answers[q]);
	}
}

static int search_round(struct search *s, uint64_t from)
{
	const uint64_t nr = min_u64(ROUND_STATES, s->visited.nr - from);
	const unsigned threads = (unsigned)min_u64(s->nr_workers,
						   (nr + CHUNK_STATES - 1) / CHUNK_STATES);

	s->from = from;
	s->to = from + nr;
	s->nr_taken = 0;
	threads_run(threads, threads, search_chunks, s);
	for (unsigned i = 0; i < s->nr_workers; i++)
		if (s->workers[i].error)
			return s->workers[i].error;
	add_answers(s);
	return add_found(s);
}

static void sum_counts(struct search *s)
{
	struct pgste_search_result *result = s->result;

	for (unsigned i = 0; i < s->nr_workers; i++) {
		const struct worker *w = &s->workers[i];

		result->transitions += w->transitions;
		for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
			result->answers[q].premises += w->premises[q];
		search_add_coverage(&w->coverage, result);
	}
}

static bool goes_on(struct search *s, uint64_t searched)
{
	const struct pgste_search_config *config = s->config;

	s->result->states = s->visited.nr;
	s->result->depth = visited_depth(&s->visited, s->visited.nr - 1);
	s->result->state_bytes = visited_bytes(&s->visited);
	return !config->go_on || config->go_on(config->data, searched);
}

static int search_all(struct search *s)
{
	uint64_t key[SEARCH_WORDS];
	int error;

	system_save(&s->workers[0].system, key);
	system_reorder(&s->workers[0].system, key);
	error = visited_add(&s->visited, key, 0, (struct origin){ 0 });
	while (!error && s->to < s->visited.nr) {
		error = search_round(s, s->to);
		if (!goes_on(s, s->to) && !error && s->to < s->visited.nr)
			error = PGSTE_E_CANCELLED;
	}
	sum_counts(s);
	return error;
}

static bool search_config_valid(const struct pgste_search_config *c)
{
	return c->nr_pages >= 1 && c->nr_pages <= SEARCH_MAX_PAGES && c->nr_frames >= 1 &&
	       c->nr_frames <= c->nr_pages && c->nr_swap_slots <= c->nr_pages &&
	       c->cbrl_entries >= 1 && c->cbrl_entries <= 2 && c->nr_vcpus <= 2 &&
	       c->threads <= MAX_THREADS &&
	       c->notifiers < 1u << PGSTE_NR_REWRITES &&
	       (c->generation == PGSTE_GEN_DAT || (!c->notifiers && !c->shifted)) &&
	       (c->generation != PGSTE_GEN_ZVM || (!c->memfd && !c->pinned && !c->mlock)) &&
	       (!c->mlock || c->nr_frames == c->nr_pages);
}

static int search_new(struct search *s)
{
	const uint32_t nr = s->config->threads ? s->config->threads : 1;
	int error = PGSTE_OK;

	s->workers = calloc(nr, sizeof(*s->workers));
	if (!s->workers || !visited_new(&s->visited, s->config->nr_pages, s->config->max_states))
		return PGSTE_E_NOMEM;
	while (s->nr_workers < nr && !error)
		error = worker_new(&s->workers[s->nr_workers++], s->config, &s->visited);
	return error;
}

static void search_free(struct search *s)
{
	for (unsigned i = 0; i < s->nr_workers; i++)
		worker_free(&s->workers[i]);
	free(s->workers);
	visited_free(&s->visited);
}

int pgste_search(const struct pgste_search_config *config, struct pgste_search_result *result)
{
	struct search s = { .config = config, .result = result };
	int error;

	if (!search_config_valid(config))
		return PGSTE_E_ARG;
	*result = (struct pgste_search_result){ 0 };
	error = search_new(&s);
	if (!error)
		error = search_all(&s);
	search_free(&s);
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * Breadth-first search of every state that a tiny guest and its host can get into.  States
 * are kept as keys (system.c) in the order they are found, each with the state and the
 * action it came from, so the first run that shows something is a shortest one.
 */
#include <stdlib.h>
#include <string.h>

#include "search/actions.h"

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

struct visited {
	uint64_t key[SEARCH_WORDS];
	uint32_t parent, depth;
	struct pgste_step step;
	bool reordered; /* after the step pages 1 and 2 were exchanged, see system_reorder */
};

struct search {
	struct search_system system;
	struct visited *states;
	uint64_t nr, room;
	uint64_t *table; /* open addressing: upper half of the hash, index + 1; 0 is empty */
	uint64_t mask;
	struct pgste_search_result *result;
};

static uint64_t hash(const uint64_t *key)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < SEARCH_WORDS; i++) {
		h = (h ^ key[i]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h;
}

/* The place of a key in the table: where it is, or where it belongs. */
static uint64_t place(const struct search *s, const uint64_t *key, uint64_t h)
{
	uint64_t at = h & s->mask;

	for (; s->table[at]; at = (at + 1) & s->mask)
		if ((s->table[at] ^ h) >> 32 == 0 &&
		    !memcmp(s->states[(uint32_t)s->table[at] - 1].key, key, sizeof(s->states->key)))
			break;
	return at;
}

static void enter(struct search *s, uint64_t state, uint64_t at, uint64_t h)
{
	s->table[at] = (h >> 32 << 32) | (uint32_t)(state + 1);
}

static bool grow_search(struct search *s)
{
	const uint64_t room = s->room ? 2 * s->room : 4096;
	struct visited *states = realloc(s->states, room * sizeof(*states));
	uint64_t *table;

	if (!states)
		return false;
	s->states = states;
	table = calloc(2 * room, sizeof(*table));
	if (!table)
		return false;
	free(s->table);
	s->table = table;
	s->room = room;
	s->mask = 2 * room - 1;
	for (uint64_t i = 0; i < s->nr; i++)
		enter(s, i, place(s, states[i].key, hash(states[i].key)), hash(states[i].key));
	return true;
}

/* The system's state now, if it is a new one. */
static int visit(struct search *s, uint64_t parent, struct pgste_step step)
{
	struct visited v = {
		.parent = (uint32_t)parent,
		.step = step,
		.depth = s->nr ? s->states[parent].depth + 1 : 0,
	};
	uint64_t at, h;

	if (s->nr == s->room && !grow_search(s))
		return PGSTE_E_NOMEM;
	system_save(&s->system, v.key);
	v.reordered = system_reorder(&s->system, v.key);
	if (s->nr && !memcmp(v.key, s->states[parent].key, sizeof(v.key)))
		return PGSTE_OK;
	h = hash(v.key);
	at = place(s, v.key, h);
	if (s->table[at])
		return PGSTE_OK;
	if (s->nr >= s->system.config->max_states || s->nr >= UINT32_MAX - 1)
		return PGSTE_E_NOMEM;
	s->states[s->nr] = v;
	enter(s, s->nr++, at, h);
	s->result->depth = v.depth;
	search_cover_state(&s->system, s->result);
	return PGSTE_OK;
}

static uint8_t exchanged(uint8_t gfn)
{
	return gfn ? (uint8_t)(SEARCH_MAX_PAGES - gfn) : gfn;
}

/* The run to a state and one step more. */
static void tell_answer(const struct search *s, uint64_t state, struct pgste_step last,
		 struct pgste_search_answer *answer)
{
	uint32_t at = s->states[state].depth;

	answer->nr_steps = at + 1;
	if (at >= PGSTE_SEARCH_STEPS)
		return;
	answer->steps[at] = last;
	for (; at; state = s->states[state].parent) {
		/* what comes after an exchange of pages speaks of them by their new numbers */
		if (s->states[state].reordered)
			for (uint32_t i = at; i < answer->nr_steps; i++)
				answer->steps[i].gfn = exchanged(answer->steps[i].gfn);
		answer->steps[--at] = s->states[state].step;
	}
}

static int expand(struct search *s, uint64_t state)
{
	struct pgste_search_result *result = s->result;
	uint64_t premises[PGSTE_NR_QUESTIONS] = { 0 };
	bool changed = false; /* the system is no longer in this state */
	struct search_image image;
	int error = PGSTE_OK;

	system_restore(&s->system, s->states[state].key);
	system_remember(&s->system, &image);
	for (unsigned a = 0; a < PGSTE_NR_ACTIONS && !error; a++)
		for (uint8_t gfn = 0; gfn < s->system.config->nr_pages && !error; gfn++) {
			const struct pgste_step step = { .action = (uint8_t)a, .gfn = gfn };
			bool found[PGSTE_NR_QUESTIONS] = { false };
			bool done;

			if (changed)
				system_put_back(&s->system, &image, s->states[state].key);
			changed = action_applies(&s->system, (enum pgste_action)a, gfn);
			if (!changed)
				continue;
			search_cover_essa(&s->system, (enum pgste_action)a, gfn, result);
			done = action_do(&s->system, (enum pgste_action)a, gfn, found, premises);
			if (s->system.no_memory)
				return PGSTE_E_NOMEM;
			for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
				if (found[q] && !result->answers[q].nr_steps)
					tell_answer(s, state, step, &result->answers[q]);
			if (!done)
				continue;
			result->transitions++;
			error = visit(s, state, step);
		}
	for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
		result->answers[q].premises += premises[q];
	return error;
}

/* Some 20 us are between two questions for each thousand states. */
#define ASK_STATES 2048u

static bool goes_on(struct search *s, uint64_t searched)
{
	const struct pgste_search_config *config = s->system.config;

	s->result->states = s->nr;
	return !config->go_on || config->go_on(config->data, searched);
}

static bool search_config_valid(const struct pgste_search_config *c)
{
	return c->nr_pages >= 1 && c->nr_pages <= SEARCH_MAX_PAGES && c->nr_frames >= 1 &&
	       c->nr_frames <= c->nr_pages && c->nr_swap_slots <= c->nr_pages &&
	       c->cbrl_entries >= 1 && c->cbrl_entries <= 2 && c->nr_vcpus <= 2 &&
	       c->notifiers < 1u << PGSTE_NR_REWRITES &&
	       (c->generation == PGSTE_GEN_DAT || (!c->notifiers && !c->shifted)) &&
	       (c->generation != PGSTE_GEN_ZVM || (!c->memfd && !c->pinned));
}

int pgste_search(const struct pgste_search_config *config, struct pgste_search_result *result)
{
	struct search s = { .result = result };
	int error;

	if (!search_config_valid(config))
		return PGSTE_E_ARG;
	*result = (struct pgste_search_result){ 0 };
	error = system_new(&s.system, config);
	if (error)
		return error;
	error = visit(&s, 0, (struct pgste_step){ 0 });
	for (uint64_t i = 0; i < s.nr && !error; i++) {
		error = expand(&s, i);
		if (!error && i % ASK_STATES == ASK_STATES - 1 && !goes_on(&s, i + 1))
			error = PGSTE_E_CANCELLED;
	}
	result->states = s.nr;
	system_free(&s.system);
	free(s.states);
	free(s.table);
	return error;
}

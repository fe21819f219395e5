/* SPDX-License-Identifier: MIT */
/*
 * The exhaustive search, with few states: any configuration, good or bad.  Promised is that a
 * bad one is refused with the right error, that max_states is kept, that two searches give the
 * same, whatever the number of threads, that every answer is a run that exists, and that a search
 * for which memory runs out is PGSTE_E_NOMEM and leaves nothing behind.
 */
#include "fuzz.h"

#include "faults.h"
#include "pgste.h"

#define MOST_STATES 400u

static const char *take_mechanism(struct input *in)
{
	static const char *const others[] = { "", "CMMA", "balloon", NULL };
	const uint8_t which = take_byte(in);

	if (which < 240)
		return pgste_mechanism_name(which % 5);
	return others[which % 4];
}

/* Mostly 0 .. n - 1, else anything. */
static uint32_t take_number(struct input *in, uint32_t n)
{
	const uint8_t byte = take_byte(in);

	return byte < 250 ? byte % n : byte == 250 ? (uint32_t)take(in, 4) : byte;
}

/* Asked as often as the input says; then the answer is, and stays, no. */
struct end {
	uint64_t questions;
	uint64_t states;
};

static bool goes_on(void *data, uint64_t states)
{
	struct end *end = data;

	REQUIRE(states >= end->states);
	end->states = states;
	if (!end->questions)
		return false;
	end->questions--;
	return true;
}

static void take_end(struct input *in, struct pgste_search_config *c, struct end *end)
{
	const uint8_t byte = take_byte(in);

	*end = (struct end){ .questions = byte };
	if (byte < 64) {
		c->go_on = goes_on;
		c->data = end;
	}
}

static struct pgste_search_config take_config(struct input *in, struct end *end)
{
	struct pgste_search_config c = { .mechanism = take_mechanism(in) };
	uint8_t world;

	c.generation = (enum pgste_generation)take_number(in, 3);
	c.rearm = (enum pgste_rearm)take_number(in, 3);
	c.poison = (enum pgste_poison)take_number(in, 3);
	c.nr_pages = take_number(in, 4);
	c.nr_frames = take_number(in, 4);
	c.nr_swap_slots = take_number(in, 4);
	c.cbrl_entries = take_number(in, 3);
	c.obedient = take_byte(in) & 1;
	c.max_states = take(in, 2) % (MOST_STATES + 1);
	c.revision = (enum pgste_revision)take_number(in, PGSTE_NR_REVISIONS);
	c.advice = (enum pgste_advice)take_number(in, 2);
	c.notifiers = take_number(in, 1u << PGSTE_NR_REWRITES);
	c.shifted = take_byte(in) & 1;
	world = take_byte(in);
	c.busy = world & 1;
	c.memfd = world >> 1 & 1;
	c.pinned = world >> 2 & 1;
	c.validated = world >> 3 & 1;
	c.mlock = world >> 4 & 1;
	c.plain = take_byte(in) & 1;
	c.nr_vcpus = take_number(in, 3);
	c.threads = take_number(in, 4);
	take_end(in, &c, end);
	return c;
}

static bool has_mechanism(const struct pgste_search_config *c)
{
	for (unsigned i = 0; c->mechanism && pgste_mechanism_name(i); i++)
		if (!strcmp(pgste_mechanism_name(i), c->mechanism))
			return true;
	return false;
}

static bool numbers_fit(const struct pgste_search_config *c)
{
	const bool two_tables = c->notifiers || c->shifted;

	return c->nr_pages >= 1 && c->nr_pages <= 3 && c->nr_frames >= 1 &&
	       c->nr_frames <= c->nr_pages && c->nr_swap_slots <= c->nr_pages &&
	       c->cbrl_entries >= 1 && c->cbrl_entries <= 2 && c->nr_vcpus <= 2 &&
	       c->threads <= 64 && c->notifiers < 1u << PGSTE_NR_REWRITES &&
	       (!two_tables || c->generation == PGSTE_GEN_DAT) &&
	       (!c->mlock || c->nr_frames == c->nr_pages) &&
	       ((!c->memfd && !c->pinned && !c->mlock) || c->generation != PGSTE_GEN_ZVM);
}

static void check_answer(const struct pgste_search_config *c, const struct pgste_search_result *r,
			 const struct pgste_search_answer *answer)
{
	REQUIRE(answer->nr_steps <= r->depth + 1);
	for (uint32_t i = 0; i < answer->nr_steps && i < PGSTE_SEARCH_STEPS; i++) {
		REQUIRE(answer->steps[i].action < PGSTE_NR_ACTIONS);
		REQUIRE(answer->steps[i].gfn < c->nr_pages);
	}
}

/* The same search once more, with so many threads: the same, bit by bit. */
static void search_again(struct pgste_search_config c, uint32_t threads, uint64_t questions,
			 int error, const struct pgste_search_result *first)
{
	static struct pgste_search_result again;
	struct end end = { .questions = questions };

	c.threads = threads;
	c.data = &end;
	memset(&again, 0xff, sizeof(again));
	REQUIRE(pgste_search(&c, &again) == error);
	REQUIRE(!memcmp(first, &again, sizeof(again)));
}

/* Memory runs out somewhere, or no thread is to be had, which changes nothing. */
static void search_without(struct pgste_search_config c, unsigned nth, uint64_t questions,
			   int error, const struct pgste_search_result *first)
{
	static struct pgste_search_result without;
	struct end end = { .questions = questions };
	int now;

	c.data = &end;
	faults_arm(nth);
	now = pgste_search(&c, &without);
	if (faults_disarm() && now == PGSTE_E_NOMEM)
		return;
	REQUIRE(now == error && !memcmp(first, &without, sizeof(without)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct end end;
	const struct pgste_search_config c = take_config(&in, &end);
	const uint64_t questions = end.questions;
	struct pgste_search_result first;
	int error;

	memset(&first, 0, sizeof(first));
	error = pgste_search(&c, &first);
	REQUIRE(error == PGSTE_OK || error == PGSTE_E_ARG || error == PGSTE_E_NAME ||
		error == PGSTE_E_NOMEM || error == PGSTE_E_CANCELLED);
	REQUIRE(numbers_fit(&c) || error == PGSTE_E_ARG);
	REQUIRE(!numbers_fit(&c) || has_mechanism(&c) || error == PGSTE_E_NAME ||
		error == PGSTE_E_ARG);
	REQUIRE(error != PGSTE_E_NAME || !has_mechanism(&c));
	REQUIRE(error != PGSTE_E_CANCELLED || c.go_on);
	REQUIRE(c.generation <= PGSTE_GEN_ZVM || error);
	if (error == PGSTE_E_ARG || error == PGSTE_E_NAME)
		return 0;
	REQUIRE(first.states <= c.max_states);
	REQUIRE(error || first.states >= 1);
	for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
		check_answer(&c, &first, &first.answers[q]);
	search_again(c, 1, questions, error, &first);
	search_again(c, 3, questions, error, &first);
	search_without(c, 1 + take_byte(&in) % 32, questions, error, &first);
	REQUIRE(faults_nr_tables() == 0);
	return 0;
}

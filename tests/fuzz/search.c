/* SPDX-License-Identifier: MIT */
/*
 * The exhaustive search, with few states: any configuration, good or bad.  Promised is that a
 * bad one is refused with the right error, that max_states is kept, that two searches give the
 * same, that every answer is a run that exists, and that a search for which memory runs out is
 * PGSTE_E_NOMEM and leaves nothing behind.
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

static struct pgste_search_config take_config(struct input *in)
{
	struct pgste_search_config c = { .mechanism = take_mechanism(in) };

	c.generation = (enum pgste_generation)take_number(in, 3);
	c.rearm = (enum pgste_rearm)take_number(in, 3);
	c.poison = (enum pgste_poison)take_number(in, 3);
	c.nr_pages = take_number(in, 4);
	c.nr_frames = take_number(in, 4);
	c.nr_swap_slots = take_number(in, 4);
	c.cbrl_entries = take_number(in, 3);
	c.obedient = take_byte(in) & 1;
	c.max_states = take(in, 2) % (MOST_STATES + 1);
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
	return c->nr_pages >= 1 && c->nr_pages <= 3 && c->nr_frames >= 1 &&
	       c->nr_frames <= c->nr_pages && c->nr_swap_slots <= c->nr_pages &&
	       c->cbrl_entries >= 1 && c->cbrl_entries <= 2;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	const struct pgste_search_config c = take_config(&in);
	struct pgste_search_result first, second;
	int error;

	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	error = pgste_search(&c, &first);
	REQUIRE(error == PGSTE_OK || error == PGSTE_E_ARG || error == PGSTE_E_NAME ||
		error == PGSTE_E_NOMEM);
	REQUIRE(numbers_fit(&c) || error == PGSTE_E_ARG);
	REQUIRE(!numbers_fit(&c) || has_mechanism(&c) || error == PGSTE_E_NAME ||
		error == PGSTE_E_ARG);
	REQUIRE(error != PGSTE_E_NAME || !has_mechanism(&c));
	REQUIRE(c.generation <= PGSTE_GEN_ZVM || error);
	if (error == PGSTE_E_ARG || error == PGSTE_E_NAME)
		return 0;
	REQUIRE(first.states <= c.max_states);
	REQUIRE(error || first.states >= 1);
	for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
		check_answer(&c, &first, &first.answers[q]);
	REQUIRE(pgste_search(&c, &second) == error);
	REQUIRE(!memcmp(&first, &second, sizeof(first)));
	faults_arm(1 + take_byte(&in) % 32);
	error = pgste_search(&c, &second);
	REQUIRE(!faults_disarm() || error == PGSTE_E_NOMEM);
	REQUIRE(faults_nr_tables() == 0);
	return 0;
}

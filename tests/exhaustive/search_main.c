/* SPDX-License-Identifier: MIT */
/*
 * Search one system and print the questions that were shown, with the steps of their runs:
 *   search_main MECHANISM GENERATION
 * For tests that build it with a fault in the core (tests/exhaustive/test_search_finds_faults.py).
 */
#include <stdio.h>
#include <stdlib.h>

#include "pgste.h"

static struct pgste_search_result result;

int main(int argc, char **argv)
{
	struct pgste_search_config config = {
		.nr_pages = 2,
		.nr_frames = 1,
		.nr_swap_slots = 2,
		.cbrl_entries = 2,
		.max_states = 10000000,
	};
	int error;

	if (argc != 3)
		return 2;
	config.mechanism = argv[1];
	config.generation = (enum pgste_generation)atoi(argv[2]);
	error = pgste_search(&config, &result);
	if (error) {
		fprintf(stderr, "%s\n", pgste_strerror(error));
		return 1;
	}
	for (unsigned q = 0; q < PGSTE_NR_QUESTIONS; q++)
		if (result.answers[q].nr_steps)
			printf("%s %u\n", pgste_question(q)->name, result.answers[q].nr_steps);
	return 0;
}

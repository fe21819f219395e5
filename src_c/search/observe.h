/* SPDX-License-Identifier: MIT */
/* What an observer learns from an action: the questions of the search. */
#ifndef SEARCH_OBSERVE_H
#define SEARCH_OBSERVE_H

#include "search/system.h"

/* The state before an action, as far as what it shows depends on that. */
struct before {
	struct observed watched;
	bool had_content[SEARCH_MAX_PAGES], zappable[SEARCH_MAX_PAGES];
	uint32_t content[SEARCH_MAX_PAGES];
	uint8_t state;
	struct listed {
		uint32_t nr, pages;
		uint64_t appended, processed;
	} lists[SEARCH_MAX_VCPUS];
};

bool has_content(const struct search_system *s, uint64_t gfn);
/* What the watched page shows is no longer what its user stored last. */
void content_is_old(struct search_system *s);
void note_before(const struct search_system *s, struct before *b);
void observe(struct search_system *s, enum pgste_action action, uint64_t about,
	   const struct before *b, uint64_t *found, uint64_t *premises);
/* *found has a bit for each question that is shown. */
#define SHOW(question, shows) (*found |= (uint64_t)(shows) << PGSTE_QUESTION_##question)
/* A question arises; if the second holds too, it is shown. */
#define ASK(question, arises, shows) do {                                                    \
		premises[PGSTE_QUESTION_##question] += (arises);                              \
		SHOW(question, (arises) && (shows));                                          \
	} while (0)

#endif

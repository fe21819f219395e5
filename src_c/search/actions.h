/* SPDX-License-Identifier: MIT */
/* The actions of the search: whether one applies, and what it does. */
#ifndef SEARCH_ACTIONS_H
#define SEARCH_ACTIONS_H

#include "search/observe.h"

/* Whether there is any state in which an action is worth trying. */
bool action_belongs(const struct search_system *s, enum pgste_action action, uint64_t gfn);
/* Of one that belongs, whether it is worth trying in this state: never wrong in saying no. */
bool action_applies(const struct search_system *s, enum pgste_action action, uint64_t gfn);
/*
 * One action that applies: false if the system refuses it.  before: of this state.  A bit of *found
 * for each question that it shows.
 */
bool action_do(struct search_system *s, struct pgste_step step, const struct before *before,
	       uint64_t *found, uint64_t *premises);

#endif

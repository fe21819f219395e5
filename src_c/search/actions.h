/* SPDX-License-Identifier: MIT */
/* The actions of the search: whether one applies, and what it does. */
#ifndef SEARCH_ACTIONS_H
#define SEARCH_ACTIONS_H

#include "search/system.h"

/* Whether an action is worth trying: never wrong in saying no. */
bool action_applies(const struct search_system *s, enum pgste_action action, uint64_t gfn);
/* One action: false if it does not apply here.  found[q] is set for what it shows. */
bool action_do(struct search_system *s, enum pgste_action action, uint64_t gfn, bool *found,
	       uint64_t *premises);

#endif

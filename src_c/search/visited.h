/* SPDX-License-Identifier: MIT */
/*
 * The states that a search has found, in the order they were found.  States are many, and the
 * words of their keys are few: each word is kept once and has a number.  A state is the numbers of
 * its words, packed into 64 bits; so it does not grow with what a page has.
 *
 * Threads: any number may look, as long as none adds.
 */
#ifndef SEARCH_VISITED_H
#define SEARCH_VISITED_H

#include "search/system.h"

/* A word and its number, 0 in an empty place. */
struct numbered {
	uint64_t word;
	uint32_t number;
};

/* How a state was found first. */
struct origin {
	uint32_t parent;
	struct pgste_step step;
	bool reordered; /* after the step pages 1 and 2 were exchanged, see system_reorder */
};

struct visited {
	unsigned nr_pages, bits; /* bits of a number in a packed key */
	uint64_t nr, room, most; /* states */
	uint64_t *packed;	 /* of each state */
	uint32_t *parents;
	uint16_t *steps;
	uint64_t *set; /* open addressing: the packed key of a state, or 0 */
	uint64_t set_mask;
	uint64_t nr_words, room_words;
	uint64_t *words; /* by number - 1 */
	struct numbered *numbers; /* open addressing */
	uint64_t numbers_mask;
};

/* The upper bits of the product depend on all of x. */
static ALWAYS_INLINE uint64_t visited_mixed(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 32;
}

/* visited_has is about to be asked. */
static ALWAYS_INLINE void visited_fetch(const struct visited *v, uint64_t packed)
{
	__builtin_prefetch(&v->set[visited_mixed(packed) & v->set_mask]);
}

/* No state yet, and no more than `most`.  False: no memory; visited_free is then due, too. */
bool visited_new(struct visited *v, uint32_t nr_pages, uint64_t most);
void visited_free(struct visited *v);
/* What the states take, with room for more. */
uint64_t visited_bytes(const struct visited *v);
/* 0: some word is new, and so is the state. */
uint64_t visited_pack(const struct visited *v, const uint64_t *key);
/* The same for a key that is mostly that of a state. */
uint64_t visited_pack_like(const struct visited *v, const uint64_t *key, const uint64_t *like,
			   uint64_t like_packed);
bool visited_has(const struct visited *v, uint64_t packed);
void visited_key(const struct visited *v, uint64_t state, uint64_t *key);
struct origin visited_origin(const struct visited *v, uint64_t state);
/* Steps from the first state. */
uint32_t visited_depth(const struct visited *v, uint64_t state);
/* packed: of the key, or 0 if it is not known.  PGSTE_OK, also if the state is; PGSTE_E_NOMEM. */
int visited_add(struct visited *v, const uint64_t *key, uint64_t packed, struct origin origin);

#endif

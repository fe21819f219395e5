/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "search/visited.h"

#define FIRST_ROOM UINT64_C(1024)

/* The place of each word of a packed key in the key itself. */
static ALWAYS_INLINE unsigned word_index(const struct visited *v, unsigned i)
{
	return i < v->nr_pages ? i : SEARCH_MAX_PAGES;
}

static ALWAYS_INLINE uint64_t mask_of(const struct visited *v)
{
	return (UINT64_C(1) << v->bits) - 1;
}

/* ---- words ---- */

/* Where a word is, or where it belongs. */
static ALWAYS_INLINE struct numbered *word_place(const struct visited *v, uint64_t word)
{
	uint64_t at = visited_mixed(word) & v->numbers_mask;

	while (v->numbers[at].number && v->numbers[at].word != word)
		at = (at + 1) & v->numbers_mask;
	return &v->numbers[at];
}

/* At most half of the places are taken. */
static bool words_grow(struct visited *v)
{
	const uint64_t room = v->room_words ? 2 * v->room_words : FIRST_ROOM;
	uint64_t *words = realloc(v->words, room * sizeof(*words));
	struct numbered *numbers;

	if (!words)
		return false;
	v->words = words;
	numbers = calloc(2 * room, sizeof(*numbers));
	if (!numbers)
		return false;
	free(v->numbers);
	v->numbers = numbers;
	v->numbers_mask = 2 * room - 1;
	v->room_words = room;
	for (uint64_t i = 0; i < v->nr_words; i++)
		*word_place(v, words[i]) = (struct numbered){ words[i], (uint32_t)(i + 1) };
	return true;
}

/* Its number; 0: no memory, or no number is left. */
static uint32_t word_enter(struct visited *v, uint64_t word)
{
	struct numbered *place = word_place(v, word);

	if (place->number)
		return place->number;
	if (v->nr_words >= min_u64(mask_of(v), UINT32_MAX))
		return 0;
	if (v->nr_words == v->room_words) {
		if (!words_grow(v))
			return 0;
		place = word_place(v, word);
	}
	v->words[v->nr_words++] = word;
	*place = (struct numbered){ word, (uint32_t)v->nr_words };
	return place->number;
}

/* ---- the set of packed keys ---- */

/* Where a packed key is, or where it belongs. */
static ALWAYS_INLINE uint64_t *set_place(const struct visited *v, uint64_t packed)
{
	uint64_t at = visited_mixed(packed) & v->set_mask;

	while (v->set[at] && v->set[at] != packed)
		at = (at + 1) & v->set_mask;
	return &v->set[at];
}

/* 3/4 of the places are taken at most. */
static bool set_grow(struct visited *v)
{
	const uint64_t places = v->set ? 2 * (v->set_mask + 1) : FIRST_ROOM;
	uint64_t *set = table_new(places * sizeof(*set)); /* of huge pages, if it is large */

	if (!set)
		return false;
	table_free(v->set, (v->set_mask + 1) * sizeof(*set));
	v->set = set;
	v->set_mask = places - 1;
	for (uint64_t i = 0; i < v->nr; i++)
		*set_place(v, v->packed[i]) = v->packed[i];
	return true;
}

static bool states_grow(struct visited *v)
{
	const uint64_t room = v->room ? 2 * v->room : FIRST_ROOM;
	uint64_t *packed = realloc(v->packed, room * sizeof(*packed));
	uint32_t *parents = realloc(v->parents, room * sizeof(*parents));
	uint16_t *steps = realloc(v->steps, room * sizeof(*steps));

	/* what was moved is kept, whatever else failed */
	v->packed = packed ? packed : v->packed;
	v->parents = parents ? parents : v->parents;
	v->steps = steps ? steps : v->steps;
	if (!packed || !parents || !steps)
		return false;
	v->room = room;
	return true;
}

/* ---- for the search ---- */

bool visited_new(struct visited *v, uint32_t nr_pages, uint64_t most)
{
	*v = (struct visited){
		.nr_pages = nr_pages,
		.bits = 64 / (nr_pages + 1),
		.most = min_u64(most, UINT32_MAX - 1),
	};
	return words_grow(v) && set_grow(v) && states_grow(v);
}

void visited_free(struct visited *v)
{
	free(v->packed);
	free(v->parents);
	free(v->steps);
	table_free(v->set, (v->set_mask + 1) * sizeof(*v->set));
	free(v->words);
	free(v->numbers);
}

uint64_t visited_bytes(const struct visited *v)
{
	return v->room * (sizeof(*v->packed) + sizeof(*v->parents) + sizeof(*v->steps)) +
	       (v->set_mask + 1) * sizeof(*v->set) + v->room_words * sizeof(*v->words) +
	       (v->numbers_mask + 1) * sizeof(*v->numbers);
}

/* One word: what is there already has a number, and is most often the same. */
static ALWAYS_INLINE bool pack_word(const struct visited *v, uint64_t word, uint64_t like,
				    unsigned shift, uint64_t *packed)
{
	uint64_t number;

	if (word == like)
		return true;
	number = word_place(v, word)->number;
	*packed = (*packed & ~(mask_of(v) << shift)) | number << shift;
	return number != 0;
}

uint64_t visited_pack_like(const struct visited *v, const uint64_t *key, const uint64_t *like,
			   uint64_t like_packed)
{
	uint64_t packed = like_packed;

	for (unsigned i = 0; i < v->nr_pages; i++)
		if (!pack_word(v, key[i], like[i], i * v->bits, &packed))
			return 0;
	return pack_word(v, key[SEARCH_MAX_PAGES], like[SEARCH_MAX_PAGES], v->nr_pages * v->bits,
			 &packed) ? packed : 0;
}

uint64_t visited_pack(const struct visited *v, const uint64_t *key)
{
	uint64_t packed = 0;

	for (unsigned i = 0; i <= v->nr_pages; i++) {
		const uint64_t number = word_place(v, key[word_index(v, i)])->number;

		if (!number)
			return 0;
		packed |= number << i * v->bits;
	}
	return packed;
}

bool visited_has(const struct visited *v, uint64_t packed)
{
	return *set_place(v, packed) != 0;
}

void visited_key(const struct visited *v, uint64_t state, uint64_t *key)
{
	memset(key, 0, SEARCH_WORDS * sizeof(*key));
	for (unsigned i = 0; i <= v->nr_pages; i++) {
		const uint64_t number = v->packed[state] >> i * v->bits & mask_of(v);

		key[word_index(v, i)] = v->words[number - 1];
	}
}

/* A step in 16 bits: action, gfn, and whether pages were reordered after it. */
static uint16_t step_pack(struct pgste_step step, bool reordered)
{
	return (uint16_t)(step.action | step.gfn << 8 | reordered << 15);
}

struct origin visited_origin(const struct visited *v, uint64_t state)
{
	const uint16_t step = v->steps[state];

	return (struct origin){
		.parent = v->parents[state],
		.step = { (uint8_t)step, step >> 8 & 0x7f },
		.reordered = step >> 15,
	};
}

uint32_t visited_depth(const struct visited *v, uint64_t state)
{
	uint32_t depth = 0;

	for (; state; state = v->parents[state])
		depth++;
	return depth;
}

int visited_add(struct visited *v, const uint64_t *key, uint64_t packed, struct origin origin)
{
	if (!packed)
		packed = visited_pack(v, key);
	if (packed && visited_has(v, packed))
		return PGSTE_OK;
	if (v->nr >= v->most || (v->nr == v->room && !states_grow(v)) ||
	    (4 * v->nr >= 3 * (v->set_mask + 1) && !set_grow(v)))
		return PGSTE_E_NOMEM;
	for (unsigned i = 0; !packed && i <= v->nr_pages; i++)
		if (!word_enter(v, key[word_index(v, i)]))
			return PGSTE_E_NOMEM;
	if (!packed)
		packed = visited_pack(v, key);
	*set_place(v, packed) = packed;
	v->packed[v->nr] = packed;
	v->parents[v->nr] = origin.parent;
	v->steps[v->nr++] = step_pack(origin.step, origin.reordered);
	return PGSTE_OK;
}

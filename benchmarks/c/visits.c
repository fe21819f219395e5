/* SPDX-License-Identifier: MIT */
/*
 * The least that an exhaustive search has to do: for each transition, look the key of the state
 * that it came to up among those that were found, and keep it if it is new.  Keys of one word, as
 * src_c/search/visited.c packs them, which here are made from random numbers.
 */
#include <stdlib.h>

#include "bare.h"

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Where a key is, or the empty place where it belongs. */
static uint64_t place(const uint64_t *table, uint64_t mask, uint64_t key)
{
	uint64_t at = mix(key) & mask;

	while (table[at] && table[at] != key)
		at = (at + 1) & mask;
	return at;
}

uint64_t bare_visits(uint64_t keys, uint64_t visits)
{
	uint64_t mask = 1, nr = 0;
	uint64_t *found = malloc(keys * sizeof(*found));
	uint64_t *table;

	while (mask < 2 * keys)
		mask *= 2;
	table = calloc(mask--, sizeof(*table));
	for (uint64_t i = 0; found && table && i < visits; i++) {
		const uint64_t key = 1 + mix(i + 1) % keys;
		const uint64_t at = place(table, mask, key);

		if (table[at])
			continue;
		found[nr++] = table[at] = key;
	}
	free(found);
	free(table);
	return nr;
}

/* SPDX-License-Identifier: MIT */
/*
 * The least that an exhaustive search has to do: for each transition, look the key of the state
 * that it came to up among those that were found, and keep it if it is new.  Keys of four
 * words, as src_c/search.c has them, which here are made from random numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "bare.h"

#define WORDS 4u

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Where a key is, or the empty place where it belongs; places hold the number of a key + 1. */
static uint64_t place(const uint32_t *table, uint64_t mask, const uint64_t (*found)[WORDS],
		      const uint64_t *key)
{
	uint64_t at = mix(key[0] ^ key[1] ^ key[2] ^ key[3]) & mask;

	while (table[at] && memcmp(found[table[at] - 1], key, sizeof(*found)) != 0)
		at = (at + 1) & mask;
	return at;
}

uint64_t bare_visits(uint64_t keys, uint64_t visits)
{
	uint64_t mask = 1, nr = 0;
	uint64_t (*found)[WORDS] = malloc(keys * sizeof(*found));
	uint32_t *table;

	while (mask < 2 * keys)
		mask *= 2;
	table = calloc(mask--, sizeof(*table));
	for (uint64_t i = 0; found && table && i < visits; i++) {
		const uint64_t which = mix(i + 1) % keys;
		const uint64_t key[WORDS] = { which, which * 3, which << 20, ~which };
		const uint64_t at = place(table, mask, (const uint64_t (*)[WORDS])found, key);

		if (table[at])
			continue;
		memcpy(found[nr++], key, sizeof(key));
		table[at] = (uint32_t)nr;
	}
	free(found);
	free(table);
	return nr;
}

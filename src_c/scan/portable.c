/* SPDX-License-Identifier: MIT */
/* The scan kernels in plain C: eight state bytes at a time where that helps. */
#include <string.h>

#include "scan/scan.h"

#define LOW UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

static uint64_t load8(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* Bit 7 of each byte of the result: that byte of word is zero. */
static uint64_t zero_bytes(uint64_t word)
{
	return ~(((word & ~HIGH) + ~HIGH) | word | ~HIGH);
}

static uint64_t zappable_bytes(uint64_t word)
{
	/* bit 7: SWAP; USAGE is unused: bit 0 and not bit 1; ZERO: bit 2 */
	return word & ((word << 7 & ~(word << 6)) | word << 5) & HIGH;
}

static bool always(void)
{
	return true;
}

static uint64_t find(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
		     uint8_t value, uint64_t *found, uint64_t max)
{
	uint64_t nr_found = 0;

	while (from < nr && nr_found < max) {
		const uint64_t end = min_u64(nr, from + 8);

		if (end - from == 8 &&
		    !zero_bytes((load8(state + from) & mask * LOW) ^ value * LOW)) {
			from = end;
			continue;
		}
		for (; from < end && nr_found < max; from++)
			if ((state[from] & mask) == value)
				found[nr_found++] = from;
	}
	return nr_found;
}

static uint64_t find_zappable(const uint8_t *state, uint64_t from, uint64_t nr)
{
	for (; from + 8 <= nr; from += 8)
		if (zappable_bytes(load8(state + from)))
			break;
	for (; from < nr; from++)
		if (state_zappable(state[from]))
			return from;
	return nr;
}

static uint64_t count_zappable(const uint8_t *state, uint64_t nr)
{
	uint64_t count = 0, i = 0;

	for (; i + 8 <= nr; i += 8)
		count += (zappable_bytes(load8(state + i)) >> 7) * LOW >> 56;
	for (; i < nr; i++)
		count += state_zappable(state[i]);
	return count;
}

/* A histogram of the bytes, in four parts so that equal neighbours do not wait. */
static void count_states(const uint8_t *state, uint64_t nr, struct pgste_state_counts *counts)
{
	uint64_t histogram[4][256] = { 0 };
	uint64_t i = 0;

	memset(counts, 0, sizeof(*counts));
	for (; i + 4 <= nr; i += 4)
		for (unsigned k = 0; k < 4; k++)
			histogram[k][state[i + k]]++;
	for (; i < nr; i++)
		histogram[0][state[i]]++;
	for (unsigned byte = 0; byte < 256; byte++) {
		uint64_t n = histogram[0][byte] + histogram[1][byte] + histogram[2][byte] +
			     histogram[3][byte];
		unsigned content = byte & PGSTE_STATE_VALID ? 0 : byte & PGSTE_STATE_ZERO ? 2 : 1;

		counts->pages[byte & PGSTE_STATE_USAGE][content] += n;
		counts->nodat += byte & PGSTE_STATE_NODAT ? n : 0;
		counts->dirty += byte & PGSTE_STATE_DIRTY ? n : 0;
		counts->swap += byte & PGSTE_STATE_SWAP ? n : 0;
		counts->zappable += state_zappable((uint8_t)byte) ? n : 0;
	}
}

static uint64_t mark(uint64_t *words, uint64_t nr, bool set)
{
	const uint64_t before = set ? 0 : ~UINT64_C(0);
	uint64_t already = 0;

	for (uint64_t i = 0; i < nr; i++) {
		const uint64_t wrong = words[i] ^ before;

		/* rare, and without CPU features counting bits is a function call */
		if (wrong)
			already += (uint64_t)__builtin_popcountll(wrong);
		words[i] = ~before;
	}
	return already;
}

static uint64_t essa(uint8_t *state, uint64_t nr, const struct essa_row *row, uint8_t *results,
		     uint64_t base, struct essa_list *list)
{
	uint32_t at = list->nr;
	unsigned seen = list->seen;
	uint64_t i = 0;

	/* as few pages at a time as the list surely has room for */
	while (i < nr && at < list->limit) {
		const uint64_t end = i + min_u64(nr - i, list->limit - at);

		for (; i < end; i++) {
			const unsigned entry = row->entry[state[i]];

			state[i] = ESSA_NEW(entry);
			list->entries[at] = base + i;
			at += ESSA_APPEND(entry);
			seen |= entry;
			if (results)
				results[i] = ESSA_RESULT(entry);
		}
	}
	list->nr = at;
	list->seen = (uint8_t)seen;
	return i;
}

const struct scan_ops scan_portable = {
	.name = "portable",
	.supported = always,
	.find = find,
	.find_zappable = find_zappable,
	.count_zappable = count_zappable,
	.count_states = count_states,
	.mark = mark,
	.essa = essa,
};

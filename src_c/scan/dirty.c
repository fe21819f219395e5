/* SPDX-License-Identifier: MIT */
/*
 * The CMMA log's passes over state bytes: which pages are attribute-dirty, and the attributes
 * as the log has them.  Eight bytes at a time, in loops that compilers vectorise; memory is
 * what they wait for.
 */
#include <string.h>

#include "scan/scan.h"

#define LOW UINT64_C(0x0101010101010101)
#define LINE 64u
#define DIRTY_BIT 5 /* of PGSTE_STATE_DIRTY */
#define NODAT_UP 3  /* from the state's bit to the value's */

_Static_assert(PGSTE_STATE_DIRTY == 1 << DIRTY_BIT, "where it is");
_Static_assert(PGSTE_STATE_NODAT << NODAT_UP == 0x40, "NODAT in a value");

static ALWAYS_INLINE uint64_t load8(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static ALWAYS_INLINE void store8(uint8_t *p, uint64_t word)
{
	memcpy(p, &word, sizeof(word));
}

/* wanted is PGSTE_STATE_DIRTY or 0. */
static ALWAYS_INLINE uint64_t find(const uint8_t *state, uint64_t from, uint64_t to,
				   uint8_t wanted)
{
	const uint64_t mask = PGSTE_STATE_DIRTY * LOW, other = wanted ? 0 : mask;

	for (; from + LINE <= to; from += LINE) {
		uint64_t any = 0;

		fetch_ahead(state + from);
		for (unsigned k = 0; k < LINE; k += 8)
			any |= load8(state + from + k) ^ other;
		if (any & mask)
			break;
	}
	for (; from + 8 <= to; from += 8)
		if ((load8(state + from) ^ other) & mask)
			break;
	while (from < to && (state[from] & PGSTE_STATE_DIRTY) != wanted)
		from++;
	return from;
}

uint64_t dirty_find(const uint8_t *state, uint64_t from, uint64_t to)
{
	return find(state, from, to, PGSTE_STATE_DIRTY);
}

uint64_t clean_find(const uint8_t *state, uint64_t from, uint64_t to)
{
	return find(state, from, to, 0);
}

static ALWAYS_INLINE uint64_t values8(uint64_t states)
{
	return (states & PGSTE_STATE_USAGE * LOW) | (states & PGSTE_STATE_NODAT * LOW) << NODAT_UP;
}

static ALWAYS_INLINE uint8_t value1(uint8_t state)
{
	return (uint8_t)((state & PGSTE_STATE_USAGE) | (state & PGSTE_STATE_NODAT) << NODAT_UP);
}

void values_read(const uint8_t *state, uint64_t nr, uint8_t *values)
{
	uint64_t i = 0;

	for (; i + 8 <= nr; i += 8)
		store8(values + i, values8(load8(state + i)));
	for (; i < nr; i++)
		values[i] = value1(state[i]);
}

/* ---- changes ---- */

/* One byte, which nobody else can change in between: what it was. */
static ALWAYS_INLINE uint8_t change1(uint8_t *state, uint8_t clear, uint8_t set, bool shared)
{
	uint8_t old;

	if (!shared) {
		old = *state;
		*state = (uint8_t)((old & ~clear) | set);
		return old;
	}
	old = __atomic_load_n(state, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(state, &old, (uint8_t)((old & ~clear) | set), true,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
	return old;
}

/* The sum of the bytes of counts, each at most 255. */
static ALWAYS_INLINE uint64_t sum8(uint64_t counts)
{
	const uint64_t pairs = (counts & UINT64_C(0x00ff00ff00ff00ff)) +
			       (counts >> 8 & UINT64_C(0x00ff00ff00ff00ff));

	return pairs * UINT64_C(0x0001000100010001) >> 48;
}

/* At most 255 words: the loop keeps a count in each byte. */
static ALWAYS_INLINE uint64_t take_words(uint8_t *state, uint64_t words, uint8_t *values,
					 bool dirty_only)
{
	uint64_t counts = 0;

	for (uint64_t i = 0; i < words; i++) {
		const uint64_t old = load8(state + 8 * i);
		const uint64_t dirty = old >> DIRTY_BIT & LOW;
		/* 1 becomes 0xff in each byte, and nothing is carried between them */
		const uint64_t shown = dirty_only ? (dirty << 8) - dirty : ~UINT64_C(0);

		counts += dirty;
		if (values)
			store8(values + 8 * i, values8(old) & shown);
		store8(state + 8 * i, old & ~(PGSTE_STATE_DIRTY * LOW));
	}
	return sum8(counts);
}

static ALWAYS_INLINE uint64_t take(uint8_t *state, uint64_t nr, uint8_t *values, bool dirty_only,
				   bool shared)
{
	uint64_t i = 0, taken = 0;

	while (!shared && i + 8 <= nr) {
		const uint64_t words = min_u64((nr - i) / 8, 255);

		taken += take_words(state + i, words, values ? values + i : NULL, dirty_only);
		i += 8 * words;
	}
	for (; i < nr; i++) {
		const uint8_t old = change1(&state[i], PGSTE_STATE_DIRTY, 0, shared);

		taken += old >> DIRTY_BIT & 1;
		if (values)
			values[i] = dirty_only && !(old & PGSTE_STATE_DIRTY) ? 0 : value1(old);
	}
	return taken;
}

uint64_t values_take(uint8_t *state, uint64_t nr, uint8_t *values, bool dirty_only, bool shared)
{
	if (shared)
		return take(state, nr, values, dirty_only, true);
	if (dirty_only)
		return take(state, nr, values, true, false);
	return take(state, nr, values, false, false);
}

uint64_t dirty_drop(uint8_t *state, uint64_t nr, bool shared)
{
	uint64_t dropped = 0;

	if (shared)
		return take(state, nr, NULL, false, true);
	/* stretches without one are not written: their memory stays untouched */
	for (uint64_t end, i = 0; (i = dirty_find(state, i, nr)) < nr; i = end) {
		end = min_u64(nr, i + 4096);
		dropped += take(state + i, end - i, NULL, false, false);
	}
	return dropped;
}

uint64_t dirty_set(uint8_t *state, uint64_t nr, bool shared)
{
	uint64_t fresh = 0, i = 0;

	while (!shared && i + 8 <= nr) {
		const uint64_t end = i + min_u64((nr - i) / 8, 255) * 8;
		uint64_t counts = 0;

		for (; i < end; i += 8) {
			const uint64_t old = load8(state + i);

			counts += ~old >> DIRTY_BIT & LOW;
			store8(state + i, old | PGSTE_STATE_DIRTY * LOW);
		}
		fresh += sum8(counts);
	}
	for (; i < nr; i++)
		fresh += !(change1(&state[i], 0, PGSTE_STATE_DIRTY, shared) & PGSTE_STATE_DIRTY);
	return fresh;
}

void values_write(uint8_t *state, uint64_t nr, const uint8_t *values, uint8_t set, uint8_t clear,
		  bool shared)
{
	const uint8_t gone = set | clear;
	uint64_t i = 0;

	for (; !shared && i + 8 <= nr; i += 8) {
		const uint64_t value = load8(values + i);
		const uint64_t bits = (value & PGSTE_STATE_USAGE * LOW) |
				      (value >> NODAT_UP & PGSTE_STATE_NODAT * LOW);

		store8(state + i, (load8(state + i) & ~(gone * LOW)) | (bits & set * LOW));
	}
	for (; i < nr; i++) {
		const uint8_t value = READ_ONCE(values[i]);
		const uint8_t bits = (uint8_t)((value & PGSTE_STATE_USAGE) |
					       (value >> NODAT_UP & PGSTE_STATE_NODAT));

		change1(&state[i], gone, bits & set, shared);
	}
}

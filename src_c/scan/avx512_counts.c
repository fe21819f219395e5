/* SPDX-License-Identifier: MIT */
/* Counts by state for AVX-512: whole tables in registers. */
#if defined(__x86_64__)
#include <string.h>

#include "scan/avx512.h"

/*
 * Counts by state.  Each byte is looked up to have these bits, and each eight bytes are
 * transposed as a matrix of 8 x 8 bits, so that a byte holds one of them for eight pages:
 *
 *   0 USAGE bit 0   1 USAGE bit 1   2 ZERO and not VALID   3 NODAT
 *   4 USAGE unused, or ZERO   5 DIRTY   6 VALID   7 SWAP
 *
 * Seven of them are sets of pages whose sizes are asked for; ands of up to three make eight
 * more, which together give all counts.  Sizes are added up by carry-save adders over four
 * blocks, then in bytes, 16-bit and 64-bit numbers in turn.
 */
enum {
	SET_U0, SET_U1, SET_ZERO, SET_NODAT, SET_UNNEEDED, SET_DIRTY, SET_VALID, SET_SWAP,
	SET_U01, SET_U0_VALID, SET_U1_VALID, SET_U01_VALID, SET_U0_ZERO, SET_U1_ZERO, SET_U01_ZERO,
	SET_ZAPPABLE,
	NR_SETS
};
/* What the second eight are ands of. */
static const uint8_t set_factors[3][8] = {
	{ SET_U0, SET_U0, SET_U1, SET_U0, SET_U0, SET_U1, SET_U0, SET_UNNEEDED },
	{ SET_U1, SET_VALID, SET_VALID, SET_U1, SET_ZERO, SET_ZERO, SET_U1, SET_SWAP },
	{ SET_U1, SET_VALID, SET_VALID, SET_VALID, SET_ZERO, SET_ZERO, SET_ZERO, SET_SWAP },
};
#define BYTE_STEPS 31u	 /* of at most 8 each: a byte holds them */
#define SHORT_STEPS 256u /* of at most 31 * 8 each: 16 bits hold them */

AVX512 static inline struct table128 planes_table(void)
{
	uint8_t table[2 * STEP];

	for (unsigned state = 0; state < 2 * STEP; state++) {
		unsigned byte = state & ~(unsigned)(PGSTE_STATE_GC | PGSTE_STATE_ZERO);

		if (!(state & PGSTE_STATE_VALID))
			byte |= state & PGSTE_STATE_ZERO;
		if (state_zappable((uint8_t)(state | PGSTE_STATE_SWAP)))
			byte |= PGSTE_STATE_GC;
		table[state] = (uint8_t)byte;
	}
	return (struct table128){ .half = { load(table), load(table + STEP) } };
}

AVX512 static inline __m512i factors(unsigned i)
{
	uint64_t eight;

	memcpy(&eight, set_factors[i], sizeof(eight));
	return _mm512_mask_add_epi8(_mm512_set1_epi64((long long)eight), 0xff00ff00ff00ff00,
				    _mm512_set1_epi64((long long)eight), _mm512_set1_epi8(8));
}

/* Bits by weight; add_four() keeps ones and twos and carries fours out. */
struct carry_save {
	__m512i ones, twos;
};

/* a + b + c: the sum bit is returned, the carry goes to *carry. */
AVX512 static inline __m512i add_three(__m512i a, __m512i b, __m512i c, __m512i *carry)
{
	*carry = _mm512_ternarylogic_epi64(a, b, c, 0xe8);
	return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

AVX512 static inline __m512i add_four(struct carry_save *sum, const __m512i v[GROUP])
{
	__m512i twos_a, twos_b, fours;

	sum->ones = add_three(sum->ones, v[0], v[1], &twos_a);
	sum->ones = add_three(sum->ones, v[2], v[3], &twos_b);
	sum->twos = add_three(sum->twos, twos_a, twos_b, &fours);
	return fours;
}

/* Even and odd bytes, as 16-bit numbers, added to two vectors of these. */
AVX512 static inline void widen(__m512i bytes, __m512i shorts[2])
{
	shorts[0] = _mm512_add_epi16(shorts[0],
				     _mm512_and_si512(bytes, _mm512_set1_epi16(0xff)));
	shorts[1] = _mm512_add_epi16(shorts[1], _mm512_srli_epi16(bytes, 8));
}

AVX512 static void add_shorts(const __m512i shorts[2], uint64_t weight, uint64_t *sizes)
{
	for (unsigned odd = 0; odd < 2; odd++) {
		uint16_t all[32];

		_mm512_storeu_si512((void *)all, shorts[odd]);
		for (unsigned i = 0; i < 32; i++)
			sizes[2 * (i % 4) + odd] += weight * all[i];
	}
}

/* What is left in the adders. */
AVX512 static void add_rest(const struct carry_save *sum, uint64_t *sizes)
{
	__m512i ones[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };
	__m512i twos[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };

	widen(_mm512_popcnt_epi8(sum->ones), ones);
	widen(_mm512_popcnt_epi8(sum->twos), twos);
	add_shorts(ones, 1, sizes);
	add_shorts(twos, 2, sizes);
}

/* Add the sizes of the sets for a number of groups of blocks, at most BYTE_STEPS * SHORT_STEPS. */
AVX512 static void count_sets(const uint8_t *state, uint64_t nr_groups, uint64_t sizes[NR_SETS])
{
	const struct table128 planes = planes_table();
	const __m512i swap = _mm512_set1_epi8((char)PGSTE_STATE_SWAP);
	const __m512i unit = _mm512_set1_epi64((long long)0x8040201008040201);
	const __m512i f0 = factors(0), f1 = factors(1), f2 = factors(2);
	const __m512i zero = _mm512_setzero_si512();
	struct carry_save first = { zero, zero }, second = { zero, zero };
	__m512i first_shorts[2] = { zero, zero }, second_shorts[2] = { zero, zero };

	while (nr_groups) {
		const uint64_t steps = min_u64(nr_groups, BYTE_STEPS);
		__m512i first_bytes = zero, second_bytes = zero;

		for (uint64_t i = 0; i < steps; i++, state += GROUP * STEP) {
			__m512i plane[GROUP], product[GROUP];

			fetch_group(state);
			for (unsigned k = 0; k < GROUP; k++) {
				const __m512i b = load(state + k * STEP);
				const __m512i bits = _mm512_ternarylogic_epi64(
					swap, b, look_up(&planes, b), 0xca);
				const __m512i p = _mm512_gf2p8affine_epi64_epi8(unit, bits, 0);

				plane[k] = p;
				product[k] = _mm512_ternarylogic_epi64(
					_mm512_shuffle_epi8(p, f0), _mm512_shuffle_epi8(p, f1),
					_mm512_shuffle_epi8(p, f2), 0x80);
			}
			first_bytes = _mm512_add_epi8(
				first_bytes, _mm512_popcnt_epi8(add_four(&first, plane)));
			second_bytes = _mm512_add_epi8(
				second_bytes, _mm512_popcnt_epi8(add_four(&second, product)));
		}
		widen(first_bytes, first_shorts);
		widen(second_bytes, second_shorts);
		nr_groups -= steps;
	}
	add_shorts(first_shorts, GROUP, sizes);
	add_shorts(second_shorts, GROUP, sizes + 8);
	add_rest(&first, sizes);
	add_rest(&second, sizes + 8);
}

AVX512 void avx512_count_states(const uint8_t *state, uint64_t nr,
				struct pgste_state_counts *counts)
{
	uint64_t n[NR_SETS] = { 0 }, groups = nr / (GROUP * STEP), step;

	for (; groups; groups -= step, state += step * GROUP * STEP) {
		step = min_u64(groups, BYTE_STEPS * SHORT_STEPS);
		count_sets(state, step, n);
	}
	scan_portable.count_states(state, nr % (GROUP * STEP), counts);
	/* pages with each of: any state, VALID, ZERO and not VALID; by usage */
	const uint64_t with[3][4] = {
		{ nr - nr % (GROUP * STEP), n[SET_U0], n[SET_U1], n[SET_U01] },
		{ n[SET_VALID], n[SET_U0_VALID], n[SET_U1_VALID], n[SET_U01_VALID] },
		{ n[SET_ZERO], n[SET_U0_ZERO], n[SET_U1_ZERO], n[SET_U01_ZERO] },
	};
	uint64_t usage[3][4];

	for (unsigned i = 0; i < 3; i++) {
		usage[i][3] = with[i][3];
		usage[i][2] = with[i][2] - with[i][3];
		usage[i][1] = with[i][1] - with[i][3];
		usage[i][0] = with[i][0] - with[i][1] - with[i][2] + with[i][3];
	}
	for (unsigned u = 0; u < 4; u++) {
		counts->pages[u][0] += usage[1][u];
		counts->pages[u][1] += usage[0][u] - usage[1][u] - usage[2][u];
		counts->pages[u][2] += usage[2][u];
	}
	counts->nodat += n[SET_NODAT];
	counts->dirty += n[SET_DIRTY];
	counts->swap += n[SET_SWAP];
	counts->zappable += n[SET_ZAPPABLE];
}
#endif

/* SPDX-License-Identifier: MIT */
/*
 * The scan kernels for AVX-512 (BW, and VBMI for ESSA on runs): 64 state bytes a step, bit
 * planes straight into mask registers, and the whole 256-entry ESSA row in registers.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi")))
#define STEP 64u

static bool supported(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
	       __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi");
}

AVX512 static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512((const void *)p);
}

AVX512 static inline uint64_t plane(__m512i bytes, uint8_t bit)
{
	return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8((char)bit));
}

AVX512 static inline uint64_t zappable(__m512i b)
{
	const uint64_t unused = _mm512_testn_epi8_mask(
		_mm512_xor_si512(b, _mm512_set1_epi8(PGSTE_USAGE_UNUSED)),
		_mm512_set1_epi8(PGSTE_STATE_USAGE));

	return _mm512_movepi8_mask(b) & (unused | plane(b, PGSTE_STATE_ZERO));
}

AVX512 static uint64_t find(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
			    uint8_t value)
{
	const __m512i m = _mm512_set1_epi8((char)mask), v = _mm512_set1_epi8((char)value);

	for (; from + STEP <= nr; from += STEP) {
		uint64_t hits = _mm512_testn_epi8_mask(
			_mm512_xor_si512(load(state + from), v), m);

		if (hits)
			return from + (uint64_t)__builtin_ctzll(hits);
	}
	return scan_portable.find(state, from, nr, mask, value);
}

AVX512 static uint64_t find_zappable(const uint8_t *state, uint64_t from, uint64_t nr)
{
	for (; from + STEP <= nr; from += STEP) {
		uint64_t hits = zappable(load(state + from));

		if (hits)
			return from + (uint64_t)__builtin_ctzll(hits);
	}
	return scan_portable.find_zappable(state, from, nr);
}

AVX512 static inline uint64_t ones(uint64_t word)
{
	return (uint64_t)__builtin_popcountll(word);
}

AVX512 static uint64_t count_zappable(const uint8_t *state, uint64_t nr)
{
	uint64_t count = 0, i = 0;

	for (; i + STEP <= nr; i += STEP)
		count += ones(zappable(load(state + i)));
	return count + scan_portable.count_zappable(state + i, nr - i);
}

AVX512 static void count_states(const uint8_t *state, uint64_t nr,
				struct pgste_state_counts *counts)
{
	struct pgste_state_counts tail;
	uint64_t pages[4][3] = { 0 }, nodat = 0, dirty = 0, swap = 0, zap = 0, i = 0;

	for (; i + STEP <= nr; i += STEP) {
		const __m512i b = load(state + i);
		const uint64_t u0 = plane(b, 1), u1 = plane(b, 2), zero = plane(b, 4);
		const uint64_t valid = plane(b, PGSTE_STATE_VALID);
		const uint64_t swapped = _mm512_movepi8_mask(b);
		const uint64_t usage[4] = { ~(u0 | u1), u0 & ~u1, u1 & ~u0, u0 & u1 };

		for (unsigned u = 0; u < 4; u++) {
			pages[u][0] += ones(usage[u] & valid);
			pages[u][1] += ones(usage[u] & ~valid & ~zero);
			pages[u][2] += ones(usage[u] & ~valid & zero);
		}
		nodat += ones(plane(b, PGSTE_STATE_NODAT));
		dirty += ones(plane(b, PGSTE_STATE_DIRTY));
		swap += ones(swapped);
		zap += ones(swapped & (usage[1] | zero));
	}
	scan_portable.count_states(state + i, nr - i, &tail);
	for (unsigned u = 0; u < 4; u++)
		for (unsigned c = 0; c < 3; c++)
			counts->pages[u][c] = tail.pages[u][c] + pages[u][c];
	counts->nodat = tail.nodat + nodat;
	counts->dirty = tail.dirty + dirty;
	counts->swap = tail.swap + swap;
	counts->zappable = tail.zappable + zap;
}

/*
 * A row as 128 entries: SWAP (bit 7) neither matters nor changes, so that bit 7 of an entry
 * can say "append"; vpermi2b looks 64 bytes up in 128 by their low seven bits.
 */
struct shuffles {
	__m512i new[2], result[2];
};

AVX512 static struct shuffles shuffles_of(const uint16_t *row)
{
	struct shuffles s;
	uint8_t new[128], result[128];

	for (unsigned i = 0; i < 128; i++) {
		new[i] = (uint8_t)(ESSA_NEW(row[i]) | ESSA_APPEND(row[i]) << 7);
		result[i] = ESSA_RESULT(row[i]);
	}
	for (unsigned half = 0; half < 2; half++) {
		s.new[half] = load(new + 64 * half);
		s.result[half] = load(result + 64 * half);
	}
	return s;
}

AVX512 static uint64_t essa(uint8_t *state, uint64_t nr, const uint16_t *row, uint8_t *results,
			    uint64_t base, uint64_t *list, uint32_t *nr_list, uint32_t room)
{
	const __m512i swap = _mm512_set1_epi8((char)PGSTE_STATE_SWAP);
	const uint32_t limit = *nr_list + room;
	struct shuffles s;
	uint32_t at = *nr_list;
	uint64_t i = 0;

	if (nr < STEP)
		return 0;
	s = shuffles_of(row);
	for (; i + STEP <= nr; i += STEP) {
		const __m512i b = load(state + i);
		const __m512i t = _mm512_permutex2var_epi8(s.new[0], b, s.new[1]);
		uint64_t append = _mm512_movepi8_mask(t);

		if (at + (uint32_t)ones(append) > limit)
			break;
		if (results)
			_mm512_storeu_si512((void *)(results + i),
				_mm512_permutex2var_epi8(s.result[0], b, s.result[1]));
		/* bit 7 from the old byte, the rest from the table */
		_mm512_storeu_si512((void *)(state + i),
				    _mm512_ternarylogic_epi64(swap, b, t, 0xca));
		for (; append; append &= append - 1)
			list[at++] = base + i + (uint64_t)__builtin_ctzll(append);
	}
	*nr_list = at;
	return i;
}

const struct scan_ops scan_avx512 = {
	.name = "avx512",
	.supported = supported,
	.find = find,
	.find_zappable = find_zappable,
	.count_zappable = count_zappable,
	.count_states = count_states,
	.essa = essa,
};
#endif

/* SPDX-License-Identifier: MIT */
/*
 * The scan kernels for AVX2: 32 state bytes a step.  Functions carry their target, so that
 * the file needs no compiler flags and runs only where isa.c has asked the CPU.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

#define AVX2 __attribute__((target("avx2,popcnt,bmi")))
#define STEP 32u
#define AHEAD 4096u

static bool supported(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") &&
	       __builtin_cpu_supports("bmi");
}

AVX2 static inline __m256i load(const uint8_t *p)
{
	return _mm256_loadu_si256((const void *)p);
}

/* Bit 7 of each byte, which is SWAP, if USAGE (bits 0-1) is unused or ZERO (bit 2) is set. */
AVX2 static inline __m256i zappable(__m256i b)
{
	const __m256i unneeded = _mm256_set1_epi64x((long long)0x8080808000008000);

	return _mm256_and_si256(b, _mm256_shuffle_epi8(unneeded,
						       _mm256_and_si256(b, _mm256_set1_epi8(7))));
}

AVX2 static inline uint32_t zeros(__m256i bytes)
{
	return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256()));
}

AVX2 static uint64_t find(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
			  uint8_t value, uint64_t *found, uint64_t max)
{
	const __m256i m = _mm256_set1_epi8((char)mask), v = _mm256_set1_epi8((char)value);
	uint64_t nr_found = 0;

	for (; from + 4 * STEP <= nr && max - nr_found >= 4 * STEP; from += 4 * STEP) {
		__m256i difference[4], least = _mm256_set1_epi8(-1);

		for (unsigned k = 0; k < 4; k++) {
			difference[k] = _mm256_xor_si256(
				_mm256_and_si256(load(state + from + k * STEP), m), v);
			least = _mm256_min_epu8(least, difference[k]);
		}
		if (!zeros(least))
			continue;
		for (unsigned k = 0; k < 4; k++)
			for (uint32_t hits = zeros(difference[k]); hits; hits &= hits - 1)
				found[nr_found++] = from + k * STEP + (uint64_t)__builtin_ctz(hits);
	}
	return nr_found + scan_portable.find(state, from, nr, mask, value, found + nr_found,
					     max - nr_found);
}

AVX2 static uint64_t find_zappable(const uint8_t *state, uint64_t from, uint64_t nr)
{
	for (; from + 4 * STEP <= nr; from += 4 * STEP) {
		__m256i any = _mm256_setzero_si256();

		for (unsigned k = 0; k < 4; k++)
			any = _mm256_or_si256(any, zappable(load(state + from + k * STEP)));
		if (_mm256_movemask_epi8(any))
			break;
	}
	return scan_portable.find_zappable(state, from, nr);
}

AVX2 static uint64_t count_zappable(const uint8_t *state, uint64_t nr)
{
	uint64_t count = 0, i = 0;

	for (; i + 2 * STEP <= nr; i += 2 * STEP) {
		/* see scan_avx512.c; a fetch never faults, wherever it goes */
		__builtin_prefetch((const void *)((uintptr_t)state + i + AHEAD));
		for (unsigned k = 0; k < 2; k++)
			count += (unsigned)__builtin_popcount((unsigned)_mm256_movemask_epi8(
				zappable(load(state + i + k * STEP))));
	}
	return count + scan_portable.count_zappable(state + i, nr - i);
}

/* Bit number bit of each of 64 bytes. */
AVX2 static inline uint64_t plane(__m256i low, __m256i high, int bit)
{
	const __m128i shift = _mm_cvtsi32_si128(7 - bit);

	return (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(low, shift)) |
	       (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(high, shift)) << STEP;
}

AVX2 static inline uint64_t ones(uint64_t word)
{
	return (uint64_t)__builtin_popcountll(word);
}

AVX2 static void count_states(const uint8_t *state, uint64_t nr, struct pgste_state_counts *counts)
{
	struct pgste_state_counts tail;
	uint64_t pages[4][3] = { 0 }, nodat = 0, dirty = 0, swap = 0, zap = 0, i = 0;

	for (; i + 2 * STEP <= nr; i += 2 * STEP) {
		const __m256i a = load(state + i), b = load(state + i + STEP);
		const uint64_t u0 = plane(a, b, 0), u1 = plane(a, b, 1), zero = plane(a, b, 2);
		const uint64_t valid = plane(a, b, 6), swapped = plane(a, b, 7);
		const uint64_t usage[4] = { ~(u0 | u1), u0 & ~u1, u1 & ~u0, u0 & u1 };

		for (unsigned u = 0; u < 4; u++) {
			pages[u][0] += ones(usage[u] & valid);
			pages[u][1] += ones(usage[u] & ~valid & ~zero);
			pages[u][2] += ones(usage[u] & ~valid & zero);
		}
		nodat += ones(plane(a, b, 3));
		dirty += ones(plane(a, b, 5));
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
 * The row as shuffles: an operation looks at the low four bits, VALID and GC only, and changes
 * the low four bits and DIRTY only.  So four tables of 16, picked by VALID and GC, give new
 * low bits, DIRTY and append (bit 7); two give the result byte.
 */
struct shuffles {
	__m256i new[4]; /* index VALID << 1 | GC */
	__m256i result[2];
};

AVX2 static inline __m256i table16(const uint8_t *table)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
}

AVX2 static inline struct shuffles shuffles_of(const struct essa_row *row)
{
	return (struct shuffles){
		.new = { table16(row->new), table16(row->new + PGSTE_STATE_GC),
			 table16(row->new + PGSTE_STATE_VALID),
			 table16(row->new + (PGSTE_STATE_VALID | PGSTE_STATE_GC)) },
		.result = { table16(row->result), table16(row->result + PGSTE_STATE_VALID) },
	};
}

AVX2 static inline __m256i pick(__m256i if_clear, __m256i if_set, __m256i bit7)
{
	return _mm256_blendv_epi8(if_clear, if_set, bit7);
}

AVX2 static uint64_t essa(uint8_t *state, uint64_t nr, const struct essa_row *row,
			  uint8_t *results, uint64_t base, struct essa_list *list)
{
	const __m256i low4 = _mm256_set1_epi8(0x0f), keep = _mm256_set1_epi8((char)0xf0);
	const __m256i take = _mm256_set1_epi8(0x2f);
	const struct shuffles s = shuffles_of(row);
	__m256i seen = _mm256_setzero_si256();
	uint64_t i = 0;

	for (; i + STEP <= nr; i += STEP) {
		const __m256i b = load(state + i), low = _mm256_and_si256(b, low4);
		const __m256i gc = _mm256_slli_epi16(b, 3), valid = _mm256_slli_epi16(b, 1);
		const __m256i t = pick(pick(_mm256_shuffle_epi8(s.new[0], low),
					    _mm256_shuffle_epi8(s.new[1], low), gc),
				       pick(_mm256_shuffle_epi8(s.new[2], low),
					    _mm256_shuffle_epi8(s.new[3], low), gc), valid);
		uint32_t append = (uint32_t)_mm256_movemask_epi8(t);

		/* the block that fills the list: page by page to where it does */
		if (list->nr + (uint32_t)__builtin_popcount(append) >= list->limit)
			break;
		if (results)
			_mm256_storeu_si256((void *)(results + i),
				pick(_mm256_shuffle_epi8(s.result[0], low),
				     _mm256_shuffle_epi8(s.result[1], low), valid));
		_mm256_storeu_si256((void *)(state + i),
				    _mm256_or_si256(_mm256_and_si256(b, keep),
						    _mm256_and_si256(t, take)));
		seen = _mm256_or_si256(seen, b);
		for (; append; append &= append - 1)
			list->entries[list->nr++] = base + i + (uint64_t)__builtin_ctz(append);
	}
	if (_mm256_movemask_epi8(seen))
		list->seen |= PGSTE_STATE_SWAP;
	if (i < nr)
		i += scan_portable.essa(state + i, min_u64(nr - i, STEP), row,
					results ? results + i : NULL, base + i, list);
	return i;
}

AVX2 static uint64_t mark(uint64_t *words, uint64_t nr, bool set)
{
	const __m256i before = _mm256_set1_epi64x(set ? 0 : -1);
	const __m256i after = _mm256_set1_epi64x(set ? -1 : 0);
	uint64_t already = 0, i = 0;

	for (; i + 4 <= nr; i += 4) {
		__m256i *at = (__m256i *)(words + i);
		const __m256i wrong = _mm256_xor_si256(before, _mm256_loadu_si256(at));

		if (_mm256_testz_si256(wrong, wrong))
			_mm256_storeu_si256(at, after);
		else
			already += scan_portable.mark(words + i, 4, set);
	}
	return already + scan_portable.mark(words + i, nr - i, set);
}

const struct scan_ops scan_avx2 = {
	.name = "avx2",
	.supported = supported,
	.find = find,
	.find_zappable = find_zappable,
	.count_zappable = count_zappable,
	.count_states = count_states,
	.mark = mark,
	.essa = essa,
};
#endif

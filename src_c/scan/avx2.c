/* SPDX-License-Identifier: MIT */
/*
 * The scan kernels for AVX2: 32 state bytes a step.  Functions carry their target, so that
 * the file needs no compiler flags and runs only where isa.c has asked the CPU.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "scan/scan.h"

#define AVX2 __attribute__((target("avx2,popcnt,bmi")))
#define STEP 32u
/*
 * An operation replaces the low four bits of a state byte and may set DIRTY; in tables, bit 7:
 * the page is appended.
 */
#define REPLACED 0x0fu
#define APPEND 0x80u

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
		fetch_ahead(state + i);
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
 * low bits, DIRTY and append (bit 7); two give the result byte.  Few orcs look at GC.
 */
struct shuffles {
	__m256i new[4]; /* index VALID << 1 | GC */
	__m256i result[2];
	bool gc;
};

AVX2 static inline __m256i table16(const uint8_t *table)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
}

AVX2 static inline struct shuffles shuffles_of(const struct essa_row *row)
{
	struct shuffles s = {
		.result = { table16(row->result), table16(row->result + PGSTE_STATE_VALID) },
	};
	const __m256i kept = _mm256_set1_epi8((char)(APPEND | PGSTE_STATE_DIRTY | REPLACED));
	__m256i differ;

	for (unsigned i = 0; i < 4; i++) {
		const unsigned state = (i & 1 ? PGSTE_STATE_GC : 0u) |
				       (i & 2 ? PGSTE_STATE_VALID : 0u);

		s.new[i] = _mm256_and_si256(table16(row->new + state), kept);
	}
	differ = _mm256_or_si256(_mm256_xor_si256(s.new[0], s.new[1]),
				 _mm256_xor_si256(s.new[2], s.new[3]));
	s.gc = !_mm256_testz_si256(differ, differ);
	return s;
}

AVX2 static inline __m256i pick(__m256i if_clear, __m256i if_set, __m256i bit7)
{
	return _mm256_blendv_epi8(if_clear, if_set, bit7);
}

/* REPLACED, DIRTY if it is set now, and APPEND. */
AVX2 static ALWAYS_INLINE __m256i look_up(const struct shuffles *s, __m256i b, bool gc)
{
	const __m256i low = _mm256_and_si256(b, _mm256_set1_epi8((char)REPLACED));
	const __m256i bit_gc = _mm256_slli_epi16(b, 3), valid = _mm256_slli_epi16(b, 1);
	__m256i without = _mm256_shuffle_epi8(s->new[0], low);
	__m256i with = _mm256_shuffle_epi8(s->new[2], low);

	if (gc) {
		without = pick(without, _mm256_shuffle_epi8(s->new[1], low), bit_gc);
		with = pick(with, _mm256_shuffle_epi8(s->new[3], low), bit_gc);
	}
	return pick(without, with, valid);
}

AVX2 static inline __m256i result_of(const struct shuffles *s, __m256i b)
{
	const __m256i low = _mm256_and_si256(b, _mm256_set1_epi8((char)REPLACED));

	return pick(_mm256_shuffle_epi8(s->result[0], low), _mm256_shuffle_epi8(s->result[1], low),
		    _mm256_slli_epi16(b, 1));
}

AVX2 static inline void store(uint8_t *p, __m256i bytes)
{
	_mm256_storeu_si256((void *)p, bytes);
}

/* The new states; APPEND must be clear in what was looked up. */
AVX2 static inline __m256i merge(__m256i old, __m256i looked_up)
{
	const __m256i replaced = _mm256_set1_epi8((char)REPLACED);

	return _mm256_or_si256(_mm256_andnot_si256(replaced, old), looked_up);
}

/* Groups of blocks for as long as no page of theirs is appended: bytes done. */
AVX2 static ALWAYS_INLINE uint64_t essa_quiet(uint8_t *state, uint64_t nr,
					      const struct shuffles *s, uint8_t *results,
					      __m256i *seen, bool gc)
{
	uint64_t i = 0;

	for (; i + 4 * STEP <= nr; i += 4 * STEP) {
		__m256i b[4], t[4], any = _mm256_setzero_si256();

		for (unsigned k = 0; k < 4; k++) {
			b[k] = load(state + i + k * STEP);
			t[k] = look_up(s, b[k], gc);
			any = _mm256_or_si256(any, t[k]);
		}
		if (_mm256_movemask_epi8(any))
			break;
		for (unsigned k = 0; k < 4; k++) {
			if (results)
				store(results + i + k * STEP, result_of(s, b[k]));
			store(state + i + k * STEP, merge(b[k], t[k]));
			*seen = _mm256_or_si256(*seen, b[k]);
		}
	}
	return i;
}

AVX2 static uint64_t essa(uint8_t *state, uint64_t nr, const struct essa_row *row,
			  uint8_t *results, uint64_t base, struct essa_list *list)
{
	const struct shuffles s = shuffles_of(row);
	__m256i seen = _mm256_setzero_si256();
	uint64_t i = 0;

	/* after a block without appends there may be more */
	for (bool quiet = true; i + STEP <= nr; i += STEP) {
		__m256i b, t;
		uint32_t append;

		if (quiet) {
			uint8_t *to = results ? results + i : NULL;

			i += s.gc ? essa_quiet(state + i, nr - i, &s, to, &seen, true) :
				    essa_quiet(state + i, nr - i, &s, to, &seen, false);
			if (i + STEP > nr)
				break;
		}
		b = load(state + i);
		t = look_up(&s, b, true);
		append = (uint32_t)_mm256_movemask_epi8(t);
		quiet = !append;
		/* the block that fills the list: page by page to where it does */
		if (list->nr + (uint32_t)__builtin_popcount(append) >= list->limit)
			break;
		if (results)
			store(results + i, result_of(&s, b));
		store(state + i, merge(b, _mm256_andnot_si256(_mm256_set1_epi8((char)APPEND), t)));
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

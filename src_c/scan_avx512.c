/* SPDX-License-Identifier: MIT */
/*
 * The scan kernels for AVX-512 (BW, and VBMI and VBMI2 for ESSA on runs): 64 state bytes a step, bit
 * planes straight into mask registers, and the whole 256-entry ESSA row in registers.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "internal.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,popcnt,bmi,bmi2")))
#define STEP 64u

static bool supported(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
	       __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("popcnt") &&
	       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

AVX512 static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512((const void *)p);
}

static const uint8_t zero_to_63[64] = {
	0,  1,	2,  3,	4,  5,	6,  7,	8,  9,	10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
	22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
	44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
};

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

/* base + the number of each bit of hits, ascending, to out: how many. */
AVX512 static inline uint32_t emit(uint64_t *out, uint64_t base, uint64_t hits)
{
	const uint32_t nr = (uint32_t)ones(hits);
	__m512i index = _mm512_maskz_compress_epi8(hits, load(zero_to_63));

	for (uint32_t i = 0; i < nr; i += 8) {
		const __m512i gfns = _mm512_add_epi64(
			_mm512_cvtepu8_epi64(_mm512_castsi512_si128(index)),
			_mm512_set1_epi64((long long)base));

		_mm512_mask_storeu_epi64(out + i, (__mmask8)_bzhi_u32(0xff, nr - i), gfns);
		index = _mm512_alignr_epi64(index, index, 1);
	}
	return nr;
}

/* vpermi2b looks 64 bytes up in the row's 128 entries by their low seven bits. */
struct lookup {
	__m512i new[2], result[2], swap;
};

AVX512 static inline struct lookup lookup_of(const struct essa_row *row)
{
	return (struct lookup){
		.new = { load(row->new), load(row->new + STEP) },
		.result = { load(row->result), load(row->result + STEP) },
		.swap = _mm512_set1_epi8((char)PGSTE_STATE_SWAP),
	};
}

/* SWAP from the old byte, the rest from the table. */
AVX512 static inline __m512i merge(const struct lookup *l, __m512i old, __m512i new)
{
	return _mm512_ternarylogic_epi64(l->swap, old, new, 0xca);
}

/* The last block of a run, or the one that fills the list, as far as that: pages done. */
AVX512 static uint64_t essa_part(uint8_t *state, uint64_t nr, const struct lookup *l,
				 uint8_t *results, uint64_t base, struct essa_list *list)
{
	const uint32_t room = list->limit - list->nr;
	uint64_t done = min_u64(nr, STEP);
	uint64_t todo = _bzhi_u64(~UINT64_C(0), (unsigned)done);
	const __m512i b = _mm512_maskz_loadu_epi8(todo, state);
	const __m512i t = _mm512_permutex2var_epi8(l->new[0], b, l->new[1]);
	uint64_t append = _mm512_movepi8_mask(t) & todo;

	if (ones(append) >= room) {
		/* up to and with the page that takes the last entry */
		done = _tzcnt_u64(_pdep_u64(UINT64_C(1) << (room - 1), append)) + 1;
		todo = _bzhi_u64(~UINT64_C(0), (unsigned)done);
		append &= todo;
	}
	if (results)
		_mm512_mask_storeu_epi8(results, todo,
					_mm512_permutex2var_epi8(l->result[0], b, l->result[1]));
	_mm512_mask_storeu_epi8(state, todo, merge(l, b, t));
	if (_mm512_movepi8_mask(b))
		list->seen |= PGSTE_STATE_SWAP;
	list->nr += emit(list->entries + list->nr, base, append);
	return done;
}

AVX512 static uint64_t essa(uint8_t *state, uint64_t nr, const struct essa_row *row,
			    uint8_t *results, uint64_t base, struct essa_list *list)
{
	const struct lookup l = lookup_of(row);
	__m512i seen = _mm512_setzero_si512();
	uint32_t at = list->nr;
	uint64_t i = 0;

	for (; i + STEP <= nr; i += STEP) {
		const __m512i b = load(state + i);
		const __m512i t = _mm512_permutex2var_epi8(l.new[0], b, l.new[1]);
		const uint64_t append = _mm512_movepi8_mask(t);

		if (append) {
			if (ones(append) >= list->limit - at)
				break;
			at += emit(list->entries + at, base + i, append);
		}
		if (results)
			_mm512_storeu_si512((void *)(results + i),
				_mm512_permutex2var_epi8(l.result[0], b, l.result[1]));
		_mm512_storeu_si512((void *)(state + i), merge(&l, b, t));
		seen = _mm512_or_si512(seen, b);
	}
	if (_mm512_movepi8_mask(seen))
		list->seen |= PGSTE_STATE_SWAP;
	list->nr = at;
	if (i < nr)
		i += essa_part(state + i, nr - i, &l, results ? results + i : NULL, base + i, list);
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

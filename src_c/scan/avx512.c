/* SPDX-License-Identifier: MIT */
/*
 * The scan kernels for AVX-512 with byte permutes, compress and popcount, and GFNI (Ice Lake
 * and Zen 4 have them all): 64 state bytes a step.  Counts are in scan_avx512_counts.c.
 */
#if defined(__x86_64__)
#include "scan/avx512.h"

static bool supported(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
	       __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bitalg") &&
	       __builtin_cpu_supports("gfni") && __builtin_cpu_supports("popcnt") &&
	       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static const uint8_t zero_to_63[64] = {
	0,  1,	2,  3,	4,  5,	6,  7,	8,  9,	10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
	22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
	44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
};

AVX512 static inline uint64_t ones(uint64_t word)
{
	return (uint64_t)__builtin_popcountll(word);
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

/* Bit 7: USAGE is unused, or ZERO; what the low six bits say.  See zappable(). */
AVX512 static inline __m512i unneeded_table(void)
{
	uint8_t table[STEP];

	for (unsigned state = 0; state < STEP; state++)
		table[state] = state_zappable((uint8_t)(state | PGSTE_STATE_SWAP)) ? 0x80 : 0;
	return load(table);
}

/* Bit 7 of each byte, which is SWAP, if the page can be zapped. */
AVX512 static inline __m512i zappable(__m512i table, __m512i bytes)
{
	return _mm512_and_si512(bytes, _mm512_permutexvar_epi8(bytes, table));
}

AVX512 static uint64_t find(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
			    uint8_t value, uint64_t *found, uint64_t max)
{
	const __m512i m = _mm512_set1_epi8((char)mask), v = _mm512_set1_epi8((char)value);
	uint64_t nr_found = 0;

#define DIFFERENCE(k) _mm512_and_si512(_mm512_xor_si512(load(state + from + (k) * STEP), v), m)
	for (; from + GROUP * STEP <= nr && max - nr_found >= GROUP * STEP; from += GROUP * STEP) {
		const __m512i d[GROUP] = { DIFFERENCE(0), DIFFERENCE(1),
					   DIFFERENCE(2), DIFFERENCE(3) };
		const __m512i least = _mm512_min_epu8(_mm512_min_epu8(d[0], d[1]),
						      _mm512_min_epu8(d[2], d[3]));

		fetch_group(state + from);
		if (!_mm512_testn_epi8_mask(least, least))
			continue;
		for (unsigned k = 0; k < GROUP; k++)
			nr_found += emit(found + nr_found, from + k * STEP,
					 _mm512_testn_epi8_mask(d[k], d[k]));
	}
#undef DIFFERENCE
	return nr_found + scan_portable.find(state, from, nr, mask, value, found + nr_found,
					     max - nr_found);
}

AVX512 static uint64_t find_zappable(const uint8_t *state, uint64_t from, uint64_t nr)
{
	const __m512i table = unneeded_table();

	for (; from + GROUP * STEP <= nr; from += GROUP * STEP) {
		__m512i any = _mm512_setzero_si512();

		fetch_group(state + from);
		for (unsigned k = 0; k < GROUP; k++)
			any = _mm512_or_si512(any, zappable(table, load(state + from + k * STEP)));
		if (_mm512_movepi8_mask(any))
			break;
	}
	return scan_portable.find_zappable(state, from, nr);
}

AVX512 static uint64_t count_zappable(const uint8_t *state, uint64_t nr)
{
	const __m512i table = unneeded_table();
	uint64_t count = 0, i = 0;

	for (; i + GROUP * STEP <= nr; i += GROUP * STEP) {
		fetch_group(state + i);
		for (unsigned k = 0; k < GROUP; k++)
			count += ones(_mm512_movepi8_mask(
				zappable(table, load(state + i + k * STEP))));
	}
	return count + scan_portable.count_zappable(state + i, nr - i);
}

AVX512 static uint64_t mark(uint64_t *words, uint64_t nr, bool set)
{
	const __m512i before = _mm512_set1_epi64(set ? 0 : -1);
	const __m512i after = _mm512_set1_epi64(set ? -1 : 0);
	uint64_t already = 0, i = 0;

	for (; i + 8 <= nr; i += 8) {
		const __m512i wrong = _mm512_xor_si512(before, load((const uint8_t *)(words + i)));

		if (_mm512_test_epi64_mask(wrong, wrong))
			already += scan_portable.mark(words + i, 8, set);
		else
			_mm512_storeu_si512((void *)(words + i), after);
	}
	return already + scan_portable.mark(words + i, nr - i, set);
}

/* A row of essa_table.c. */
struct lookup {
	struct table128 new, result;
	__m512i swap;
};

AVX512 static inline struct lookup lookup_of(const struct essa_row *row)
{
	return (struct lookup){
		.new = { { load(row->new), load(row->new + STEP) } },
		.result = { { load(row->result), load(row->result + STEP) } },
		.swap = _mm512_set1_epi8((char)PGSTE_STATE_SWAP),
	};
}

/* SWAP from the old byte, the rest from the table. */
AVX512 static inline __m512i merge(const struct lookup *l, __m512i old, __m512i new)
{
	return _mm512_ternarylogic_epi64(l->swap, old, new, 0xca);
}

/* The last block of a run, or the one that fills the list, up to where it is full: pages done. */
AVX512 static uint64_t essa_part(uint8_t *state, uint64_t nr, const struct lookup *l,
				 uint8_t *results, uint64_t base, struct essa_list *list)
{
	const uint32_t room = list->limit - list->nr;
	uint64_t done = min_u64(nr, STEP);
	uint64_t todo = _bzhi_u64(~UINT64_C(0), (unsigned)done);
	const __m512i b = _mm512_maskz_loadu_epi8(todo, state);
	const __m512i t = look_up(&l->new, b);
	uint64_t append = _mm512_movepi8_mask(t) & todo;

	if (ones(append) >= room) {
		/* up to and with the page that takes the last entry */
		done = _tzcnt_u64(_pdep_u64(UINT64_C(1) << (room - 1), append)) + 1;
		todo = _bzhi_u64(~UINT64_C(0), (unsigned)done);
		append &= todo;
	}
	if (results)
		_mm512_mask_storeu_epi8(results, todo, look_up(&l->result, b));
	_mm512_mask_storeu_epi8(state, todo, merge(l, b, t));
	if (_mm512_movepi8_mask(b))
		list->seen |= PGSTE_STATE_SWAP;
	list->nr += emit(list->entries + list->nr, base, append);
	return done;
}

AVX512 static inline __m512i or_three(__m512i a, __m512i b, __m512i c)
{
	return _mm512_ternarylogic_epi64(a, b, c, 0xfe);
}

/* Groups of blocks for as long as no page of theirs is appended: bytes done. */
AVX512 static inline uint64_t essa_quiet(uint8_t *state, uint64_t nr, const struct lookup *l,
					 uint8_t *results, __m512i *seen)
{
	uint64_t i = 0;

	for (; i + GROUP * STEP <= nr; i += GROUP * STEP) {
		__m512i b[GROUP], t[GROUP];

		for (unsigned k = 0; k < GROUP; k++) {
			b[k] = load(state + i + k * STEP);
			t[k] = look_up(&l->new, b[k]);
		}
		if (_mm512_movepi8_mask(_mm512_or_si512(or_three(t[0], t[1], t[2]), t[3])))
			break;
		fetch_group(state + i);
		for (unsigned k = 0; k < GROUP; k++) {
			if (results)
				_mm512_storeu_si512((void *)(results + i + k * STEP),
						    look_up(&l->result, b[k]));
			_mm512_storeu_si512((void *)(state + i + k * STEP), merge(l, b[k], t[k]));
		}
		*seen = or_three(or_three(*seen, b[0], b[1]), b[2], b[3]);
	}
	return i;
}

AVX512 static uint64_t essa(uint8_t *state, uint64_t nr, const struct essa_row *row,
			    uint8_t *results, uint64_t base, struct essa_list *list)
{
	const struct lookup l = lookup_of(row);
	__m512i seen = _mm512_setzero_si512();
	uint32_t at = list->nr;
	uint64_t i = 0;

	/* after a block without appends there may be more */
	for (bool quiet = true; i + STEP <= nr; i += STEP) {
		__m512i b, t;
		uint64_t append;

		if (quiet) {
			i += essa_quiet(state + i, nr - i, &l, results ? results + i : NULL, &seen);
			if (i + STEP > nr)
				break;
		}
		b = load(state + i);
		t = look_up(&l.new, b);
		append = _mm512_movepi8_mask(t);
		quiet = !append;

		if (append) {
			if (ones(append) >= list->limit - at)
				break;
			at += emit(list->entries + at, base + i, append);
		}
		if (results)
			_mm512_storeu_si512((void *)(results + i), look_up(&l.result, b));
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
	.count_states = avx512_count_states,
	.mark = mark,
	.essa = essa,
};
#endif

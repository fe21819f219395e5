/* SPDX-License-Identifier: MIT */
/*
 * The scan kernels for the Advanced SIMD of 64-bit ARM, which every such CPU has: 16 state
 * bytes a vector, mostly four vectors a branch.  Little-endian only, as numbers are read out of
 * vectors of bytes.
 */
#include "scan/scan.h"

#ifdef __AARCH64EL__
#include <arm_neon.h>

#define STEP 16u
#define GROUP 4u

static bool supported(void)
{
	return true;
}

/* Bit 7 of each byte, which is SWAP, if USAGE (bits 0-1) is unused or ZERO (bit 2) is set. */
static inline uint8x16_t zappable(uint8x16_t b)
{
	const uint8x16_t unneeded = vreinterpretq_u8_u64(vdupq_n_u64(0x8080808000008000));

	return vandq_u8(b, vqtbl1q_u8(unneeded, vandq_u8(b, vdupq_n_u8(7))));
}

static inline bool any_bit7(uint8x16_t bytes)
{
	return vmaxvq_u8(bytes) >= 0x80;
}

/* Bit 4 * i + 3 for each byte i with bit 7. */
static inline uint64_t bit7_mask(uint8x16_t bytes)
{
	const uint8x16_t whole = vcltzq_s8(vreinterpretq_s8_u8(bytes));
	const uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(whole), 4);

	return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & UINT64_C(0x8888888888888888);
}

/* base + i for each bit 4 * i + 3 of hits, ascending, to out: how many. */
static inline uint32_t emit(uint64_t *out, uint64_t base, uint64_t hits)
{
	uint32_t nr = 0;

	for (; hits; hits &= hits - 1)
		out[nr++] = base + ((uint64_t)__builtin_ctzll(hits) >> 2);
	return nr;
}

static uint64_t find(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
		     uint8_t value, uint64_t *found, uint64_t max)
{
	const uint8x16_t m = vdupq_n_u8(mask), v = vdupq_n_u8(value);
	uint64_t nr_found = 0;

	for (; from + GROUP * STEP <= nr && max - nr_found >= GROUP * STEP; from += GROUP * STEP) {
		uint8x16_t hits[GROUP], any = vdupq_n_u8(0);

		for (unsigned k = 0; k < GROUP; k++) {
			hits[k] = vceqq_u8(vandq_u8(vld1q_u8(state + from + k * STEP), m), v);
			any = vorrq_u8(any, hits[k]);
		}
		if (!any_bit7(any))
			continue;
		for (unsigned k = 0; k < GROUP; k++)
			nr_found += emit(found + nr_found, from + k * STEP, bit7_mask(hits[k]));
	}
	return nr_found + scan_portable.find(state, from, nr, mask, value, found + nr_found,
					     max - nr_found);
}

static uint64_t find_zappable(const uint8_t *state, uint64_t from, uint64_t nr)
{
	for (; from + GROUP * STEP <= nr; from += GROUP * STEP) {
		uint8x16_t any = vdupq_n_u8(0);

		for (unsigned k = 0; k < GROUP; k++)
			any = vorrq_u8(any, zappable(vld1q_u8(state + from + k * STEP)));
		if (any_bit7(any))
			break;
	}
	return scan_portable.find_zappable(state, from, nr);
}

#define ZAPPABLE_STEPS 255u /* of at most 1 each: a byte holds them */

static uint64_t count_zappable(const uint8_t *state, uint64_t nr)
{
	uint64_t count = 0, groups = nr / (GROUP * STEP), steps;

	for (; groups; groups -= steps) {
		uint8x16_t sums[GROUP] = { vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0),
					   vdupq_n_u8(0) };

		steps = min_u64(groups, ZAPPABLE_STEPS);
		for (uint64_t i = 0; i < steps; i++, state += GROUP * STEP)
			for (unsigned k = 0; k < GROUP; k++)
				sums[k] = vsraq_n_u8(sums[k],
						     zappable(vld1q_u8(state + k * STEP)), 7);
		for (unsigned k = 0; k < GROUP; k++)
			count += vaddlvq_u8(sums[k]);
	}
	return count + scan_portable.count_zappable(state, nr % (GROUP * STEP));
}

/*
 * Counts by state.  128 bytes are transposed so that vector i holds their bits i (in an order
 * that is the same in all of them), ands make one set of pages for each count that is asked
 * for, and their sizes are added up in bytes.
 */
#define PLANES 8u
#define NR_SETS 16u   /* 12 of usage and content, then NODAT, DIRTY, SWAP, zappable */
#define SET_STEPS 31u /* of at most 8 each: a byte holds them */

/* Of each 2 * n bits: the lower halves of both go to low, the upper ones to high. */
#define TRADE(low, high, n, lower)                                                           \
	do {                                                                                 \
		const uint8x16_t a = (low), b = (high);                                      \
		(low) = vbslq_u8(lower, a, vshlq_n_u8(b, n));                                \
		(high) = vbslq_u8(lower, vshrq_n_u8(a, n), b);                               \
	} while (0)

static inline void load_planes(const uint8_t *state, uint8x16_t plane[PLANES])
{
	const uint8x16_t lower2 = vdupq_n_u8(0x33), lower1 = vdupq_n_u8(0x55);

	for (unsigned k = 0; k < 4; k++) {
		const uint8x16_t a = vld1q_u8(state + k * STEP);
		const uint8x16_t b = vld1q_u8(state + (k + 4) * STEP);

		plane[k] = vsliq_n_u8(a, b, 4);
		plane[k + 4] = vsriq_n_u8(b, a, 4);
	}
	for (unsigned k = 0; k < PLANES; k += 4) {
		TRADE(plane[k], plane[k + 2], 2, lower2);
		TRADE(plane[k + 1], plane[k + 3], 2, lower2);
		TRADE(plane[k], plane[k + 1], 1, lower1);
		TRADE(plane[k + 2], plane[k + 3], 1, lower1);
	}
}

static inline void add_sets(const uint8x16_t p[PLANES], uint8x16_t sizes[NR_SETS])
{
	const uint8x16_t u0 = p[0], u1 = p[1], zero = p[2], valid = p[6], swap = p[7];
	const uint8x16_t usage[4] = { vmvnq_u8(vorrq_u8(u0, u1)), vbicq_u8(u0, u1),
				      vbicq_u8(u1, u0), vandq_u8(u0, u1) };
	const uint8x16_t content[3] = { valid, vmvnq_u8(vorrq_u8(valid, zero)),
					vbicq_u8(zero, valid) };
	uint8x16_t set[NR_SETS];

	for (unsigned u = 0; u < 4; u++)
		for (unsigned c = 0; c < 3; c++)
			set[3 * u + c] = vandq_u8(usage[u], content[c]);
	set[12] = p[3];
	set[13] = p[5];
	set[14] = swap;
	set[15] = vandq_u8(swap, vorrq_u8(usage[PGSTE_USAGE_UNUSED], zero));
	for (unsigned k = 0; k < NR_SETS; k++)
		sizes[k] = vaddq_u8(sizes[k], vcntq_u8(set[k]));
}

static void count_states(const uint8_t *state, uint64_t nr, struct pgste_state_counts *counts)
{
	uint64_t n[NR_SETS] = { 0 }, blocks = nr / (PLANES * STEP), steps;

	for (; blocks; blocks -= steps) {
		uint8x16_t sizes[NR_SETS];

		for (unsigned k = 0; k < NR_SETS; k++)
			sizes[k] = vdupq_n_u8(0);
		steps = min_u64(blocks, SET_STEPS);
		for (uint64_t i = 0; i < steps; i++, state += PLANES * STEP) {
			uint8x16_t plane[PLANES];

			load_planes(state, plane);
			add_sets(plane, sizes);
		}
		for (unsigned k = 0; k < NR_SETS; k++)
			n[k] += vaddlvq_u8(sizes[k]);
	}
	scan_portable.count_states(state, nr % (PLANES * STEP), counts);
	for (unsigned u = 0; u < 4; u++)
		for (unsigned c = 0; c < 3; c++)
			counts->pages[u][c] += n[3 * u + c];
	counts->nodat += n[12];
	counts->dirty += n[13];
	counts->swap += n[14];
	counts->zappable += n[15];
}

/*
 * An ESSA row as tables of 64: an operation looks at the low four bits, GC and VALID only, and
 * changes the low four bits and DIRTY only, see avx2.c.
 */
struct lookup {
	uint8x16x4_t new, result; /* index: VALID, GC, low four bits */
};

static inline uint8x16x4_t table64(const uint8_t *table)
{
	return (uint8x16x4_t){ { vld1q_u8(table), vld1q_u8(table + PGSTE_STATE_GC),
				 vld1q_u8(table + PGSTE_STATE_VALID),
				 vld1q_u8(table + (PGSTE_STATE_VALID | PGSTE_STATE_GC)) } };
}

static inline uint8x16_t index_of(uint8x16_t b)
{
	return vandq_u8(vbslq_u8(vdupq_n_u8(0x1f), b, vshrq_n_u8(b, 1)), vdupq_n_u8(0x3f));
}

/* t has the new low bits, whether DIRTY gets set, and append (bit 7). */
static inline uint8x16_t merge(uint8x16_t b, uint8x16_t t)
{
	return vorrq_u8(vandq_u8(b, vdupq_n_u8(0xf0)), vandq_u8(t, vdupq_n_u8(0x2f)));
}

/* Groups of vectors for as long as no page of theirs is appended: bytes done. */
static inline uint64_t essa_quiet(uint8_t *state, uint64_t nr, const struct lookup *l,
				  uint8_t *results, uint8x16_t *seen)
{
	uint64_t i = 0;

	for (; i + GROUP * STEP <= nr; i += GROUP * STEP) {
		uint8x16_t b[GROUP], t[GROUP], any = vdupq_n_u8(0);

		for (unsigned k = 0; k < GROUP; k++) {
			b[k] = vld1q_u8(state + i + k * STEP);
			t[k] = vqtbl4q_u8(l->new, index_of(b[k]));
			any = vorrq_u8(any, t[k]);
		}
		if (any_bit7(any))
			break;
		for (unsigned k = 0; k < GROUP; k++) {
			if (results)
				vst1q_u8(results + i + k * STEP,
					 vqtbl4q_u8(l->result, index_of(b[k])));
			vst1q_u8(state + i + k * STEP, merge(b[k], t[k]));
			*seen = vorrq_u8(*seen, b[k]);
		}
	}
	return i;
}

static uint64_t essa(uint8_t *state, uint64_t nr, const struct essa_row *row, uint8_t *results,
		     uint64_t base, struct essa_list *list)
{
	const struct lookup l = { table64(row->new), table64(row->result) };
	uint8x16_t seen = vdupq_n_u8(0);
	uint64_t i = 0;

	/* after a vector without appends there may be more */
	for (bool quiet = true; i + STEP <= nr; i += STEP) {
		uint8x16_t b, t;

		if (quiet) {
			i += essa_quiet(state + i, nr - i, &l, results ? results + i : NULL, &seen);
			if (i + STEP > nr)
				break;
		}
		b = vld1q_u8(state + i);
		t = vqtbl4q_u8(l.new, index_of(b));
		quiet = !any_bit7(t);

		/* the vector that fills the list: page by page to where it does */
		if (vaddvq_u8(vshrq_n_u8(t, 7)) >= list->limit - list->nr)
			break;
		if (results)
			vst1q_u8(results + i, vqtbl4q_u8(l.result, index_of(b)));
		vst1q_u8(state + i, merge(b, t));
		seen = vorrq_u8(seen, b);
		list->nr += emit(list->entries + list->nr, base + i, bit7_mask(t));
	}
	if (any_bit7(seen))
		list->seen |= PGSTE_STATE_SWAP;
	if (i < nr)
		i += scan_portable.essa(state + i, min_u64(nr - i, STEP), row,
					results ? results + i : NULL, base + i, list);
	return i;
}

static uint64_t mark(uint64_t *words, uint64_t nr, bool set)
{
	const uint64x2_t before = vdupq_n_u64(set ? 0 : ~UINT64_C(0));
	uint64_t already = 0, i = 0;

	for (; i + 2 <= nr; i += 2) {
		const uint64x2_t wrong = veorq_u64(before, vld1q_u64(words + i));

		if (vmaxvq_u32(vreinterpretq_u32_u64(wrong)))
			already += scan_portable.mark(words + i, 2, set);
		else
			vst1q_u64(words + i, veorq_u64(before, vdupq_n_u64(~UINT64_C(0))));
	}
	return already + scan_portable.mark(words + i, nr - i, set);
}

const struct scan_ops scan_neon = {
	.name = "neon",
	.supported = supported,
	.find = find,
	.find_zappable = find_zappable,
	.count_zappable = count_zappable,
	.count_states = count_states,
	.mark = mark,
	.essa = essa,
};
#endif

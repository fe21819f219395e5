/* SPDX-License-Identifier: MIT */
/* What the scan kernels for AVX-512 share: loads, fetches, and look-ups of 64 bytes. */
#ifndef SCAN_AVX512_H
#define SCAN_AVX512_H
#if defined(__x86_64__)
#include <immintrin.h>

#include "scan/scan.h"

#define AVX512                                                                               \
	__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,"           \
			      "avx512bitalg,gfni,popcnt,bmi,bmi2")))
#define STEP 64u
#define GROUP 4u /* blocks of a round in most loops */

AVX512 static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512((const void *)p);
}

AVX512 static ALWAYS_INLINE void fetch_group(const uint8_t *state)
{
	for (unsigned k = 0; k < GROUP; k++)
		fetch_ahead(state + k * STEP);
}

/* vpermi2b looks bytes up in 128 entries by their low seven bits. */
struct table128 {
	__m512i half[2];
};

AVX512 static inline __m512i look_up(const struct table128 *table, __m512i bytes)
{
	return _mm512_permutex2var_epi8(table->half[0], bytes, table->half[1]);
}

void avx512_count_states(const uint8_t *state, uint64_t nr, struct pgste_state_counts *counts);

#endif
#endif

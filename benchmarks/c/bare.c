/* SPDX-License-Identifier: MIT */
/*
 * What the machine can do, for benchmarks to be held against: plain reads and writes, a bare
 * read-modify-write of random bytes, arithmetic alone, and ESSA on two 64-bit words a page as a
 * kernel keeps them (docs/model.md, section 2, pgtable), with and without the lock bit.
 */
#include <stdbool.h>
#include <string.h>

#include "bare.h"
#include "pgste.h"

#define PREFETCH 128u

/* The machine's limit, not the portable subset's: picked when the module is loaded. */
#if defined(__x86_64__)
#define FASTEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FASTEST
#endif

/* Plain sequential read: the sum of the 64-bit words; compilers vectorise it. */
FASTEST uint64_t bare_read(const uint8_t *bytes, uint64_t nr)
{
	uint64_t sum[8] = { 0 };
	uint64_t i = 0;

	for (; i + 64 <= nr; i += 64)
		for (unsigned k = 0; k < 8; k++) {
			uint64_t word;

			memcpy(&word, bytes + i + 8 * k, sizeof(word));
			sum[k] += word;
		}
	for (; i < nr; i++)
		sum[0] += bytes[i];
	for (unsigned k = 1; k < 8; k++)
		sum[0] += sum[k];
	return sum[0];
}

/* Plain sequential write; the word is not known to the compiler, so it is no memset. */
FASTEST void bare_write(uint8_t *bytes, uint64_t nr, uint64_t word)
{
	for (uint64_t i = 0; i + 8 <= nr; i += 8)
		memcpy(bytes + i, &word, sizeof(word));
}

/* Every byte read, changed and written back, in order: what a range costs in traffic. */
FASTEST void bare_change(uint8_t *bytes, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		bytes[i] ^= 1;
}

/* The library's memset, block by block. */
void bare_memset_blocks(uint8_t *bytes, const int64_t *starts, uint64_t nr, uint64_t block_bytes,
			 int value)
{
	for (uint64_t i = 0; i < nr; i++)
		memset(bytes + starts[i], value, block_bytes);
}

/* The library's memchr from line to line: lines. */
uint64_t bare_lines(const char *text, uint64_t nr)
{
	const char *end = text + nr;
	uint64_t lines = 0;

	for (; text < end; lines++, text++) {
		text = memchr(text, '\n', (size_t)(end - text));
		if (!text)
			break;
	}
	return lines;
}

/* One byte a page, read, changed, written back, with prefetch: the least that ESSA can be. */
void bare_update(uint8_t *bytes, const int64_t *gfns, uint64_t nr)
{
	const uint64_t ahead = nr > PREFETCH ? nr - PREFETCH : 0;
	uint64_t i = 0;

	for (; i < ahead; i++) {
		__builtin_prefetch(&bytes[gfns[i + PREFETCH]], 1);
		bytes[gfns[i]] = (uint8_t)(bytes[gfns[i]] * 5 + 1);
	}
	for (; i < nr; i++)
		bytes[gfns[i]] = (uint8_t)(bytes[gfns[i]] * 5 + 1);
}

/* Arithmetic that depends on itself and touches no memory: what a core has, alone. */
uint64_t bare_spin(uint64_t nr)
{
	uint64_t x = nr;

	for (uint64_t i = 0; i < nr; i++)
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return x;
}

/* One ESSA on the words of a page: the result byte; *append: the page goes on the list. */
static inline unsigned essa_words(uint64_t *pgste, uint64_t pte, unsigned orc, bool *append)
{
	const uint64_t old = *pgste;
	const bool valid = !(pte & PTE_INVALID);
	uint64_t new = old & ~PGSTE_USAGE;
	unsigned result = (unsigned)((old & PGSTE_USAGE) >> PGSTE_USAGE_SHIFT) << 2;

	result |= old & PGSTE_NODAT ? PGSTE_RESULT_NODAT : 0u;
	if (!valid)
		result |= old & PGSTE_ZERO ? PGSTE_CONTENT_ZERO : PGSTE_CONTENT_PRESERVED;
	*append = false;
	switch (orc) {
	case PGSTE_ORC_SET_STABLE:
		new &= ~PGSTE_NODAT;
		break;
	case PGSTE_ORC_SET_STABLE_RESIDENT:
		break;
	case PGSTE_ORC_SET_UNUSED:
		new |= (uint64_t)PGSTE_USAGE_UNUSED << PGSTE_USAGE_SHIFT;
		*append = !valid;
		break;
	case PGSTE_ORC_SET_VOLATILE:
		new |= (uint64_t)PGSTE_USAGE_VOLATILE << PGSTE_USAGE_SHIFT;
		*append = !valid;
		break;
	case PGSTE_ORC_SET_POT_VOLATILE:
		if (valid) {
			new |= (uint64_t)PGSTE_USAGE_POT_VOLATILE << PGSTE_USAGE_SHIFT;
		} else if (old & PGSTE_ZERO) {
			new |= (uint64_t)PGSTE_USAGE_VOLATILE << PGSTE_USAGE_SHIFT;
		} else if (!(old & PGSTE_GC)) {
			new |= (uint64_t)PGSTE_USAGE_VOLATILE << PGSTE_USAGE_SHIFT;
			*append = true;
		}
		break;
	case PGSTE_ORC_SET_STABLE_IF_RESIDENT:
		new = valid ? new : old;
		break;
	case PGSTE_ORC_SET_STABLE_NODAT:
		new |= PGSTE_NODAT;
		break;
	default:
		new = old;
		break;
	}
	*pgste = *append ? new | PGSTE_ZERO : new;
	return result;
}

/* Two arrays of words, with prefetch of both: entries appended. */
uint64_t bare_two_words(uint64_t *pgste, const uint64_t *pte, unsigned orc, const int64_t *gfns,
			 uint64_t nr, uint8_t *results, uint64_t *appended)
{
	uint64_t nr_appended = 0;

	for (uint64_t i = 0; i < nr; i++) {
		const int64_t gfn = gfns[i];
		bool append;

		if (i + PREFETCH < nr) {
			__builtin_prefetch(&pgste[gfns[i + PREFETCH]], 1);
			__builtin_prefetch(&pte[gfns[i + PREFETCH]], 0);
		}
		results[i] = (uint8_t)essa_words(&pgste[gfn], pte[gfn], orc, &append);
		if (append)
			appended[nr_appended++] = (uint64_t)gfn;
	}
	return nr_appended;
}

/*
 * As a kernel of s390x keeps them: page tables of 256 PTEs with the 256 PGSTEs behind them, no
 * prefetch; locked: the PGSTE is locked by its PCL bit for the change.  Entries appended.
 */
static inline uint64_t kernel_words(uint64_t *tables, unsigned orc, const int64_t *gfns,
				    uint64_t nr, uint8_t *results, uint64_t *appended,
				    bool locked)
{
	uint64_t nr_appended = 0;

	for (uint64_t i = 0; i < nr; i++) {
		const uint64_t gfn = (uint64_t)gfns[i];
		uint64_t *pte = &tables[(gfn >> 8) * 512 + (gfn & 255)];
		uint64_t *pgste = pte + 256;
		uint64_t old = __atomic_load_n(pgste, __ATOMIC_RELAXED) & ~PGSTE_PCL, new;
		bool append;

		while (locked && !__atomic_compare_exchange_n(pgste, &old, old | PGSTE_PCL, true,
							      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			old &= ~PGSTE_PCL;
		new = old;
		results[i] = (uint8_t)essa_words(&new, *pte, orc, &append);
		__atomic_store_n(pgste, new, __ATOMIC_RELEASE);
		if (append)
			appended[nr_appended++] = gfn;
	}
	return nr_appended;
}

uint64_t bare_kernel_words(uint64_t *tables, unsigned orc, const int64_t *gfns, uint64_t nr,
			   uint8_t *results, uint64_t *appended)
{
	return kernel_words(tables, orc, gfns, nr, results, appended, false);
}

uint64_t bare_locked_words(uint64_t *tables, unsigned orc, const int64_t *gfns, uint64_t nr,
			   uint8_t *results, uint64_t *appended)
{
	return kernel_words(tables, orc, gfns, nr, results, appended, true);
}

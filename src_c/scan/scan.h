/* SPDX-License-Identifier: MIT */
/*
 * Kernels over state bytes, one file a CPU variant, and the choice among them: bytes in,
 * numbers out.  They know the layout of the byte (pgste/word.h) and no guest.
 */
#ifndef SCAN_SCAN_H
#define SCAN_SCAN_H

#include "base/base.h"
#include "pgste/scan.h"
#include "pgste/word.h"

/* ---- what ESSA's table looks like; guest/essa_table.c fills it ---- */

/* An entry: new state (bits 0-7), result (bits 8-14), append (bit 15). */
struct essa_row {
	uint16_t entry[256];
	/*
	 * For vectors, by the low seven bits of a state (pgtable and dat: SWAP neither
	 * matters nor changes): the new state with append in bit 7, and the result.
	 */
	uint8_t new[128], result[128];
};
#define ESSA_NEW(e) ((uint8_t)(e))
#define ESSA_RESULT(e) ((uint8_t)((e) >> 8 & 0x7f))
#define ESSA_APPEND(e) ((unsigned)((e) >> 15))

/* The CBRL of a vcpu while a call works on many pages. */
struct essa_list {
	uint64_t *entries;
	uint32_t nr, limit;
	uint8_t seen; /* or of the states of its pages, and perhaps more: is one swapped out? */
};

/* usage unused or ZERO, and a swap entry: ptep_zap_unused's condition */
static inline bool state_zappable(uint8_t state)
{
	return (state & PGSTE_STATE_SWAP) &&
	       ((state & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED || (state & PGSTE_STATE_ZERO));
}

struct scan_ops {
	const char *name;
	bool (*supported)(void);
	/*
	 * Indices of the bytes i >= from with (state[i] & mask) == value, ascending, at most max
	 * of them: how many.
	 */
	uint64_t (*find)(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
			 uint8_t value, uint64_t *found, uint64_t max);
	uint64_t (*find_zappable)(const uint8_t *state, uint64_t from, uint64_t nr);
	uint64_t (*count_zappable)(const uint8_t *state, uint64_t nr);
	void (*count_states)(const uint8_t *state, uint64_t nr, struct pgste_state_counts *counts);
	/* Set or clear all bits of a run of words: how many of them were so already. */
	uint64_t (*mark)(uint64_t *words, uint64_t nr, bool set);
	/*
	 * Look every byte of a run up in an ESSA row.  Stops after the page that fills the list
	 * and at the end: bytes done.  Appended pages (base + index) go to the list, which has
	 * room for one at the start.  results may be NULL.
	 */
	uint64_t (*essa)(uint8_t *state, uint64_t nr, const struct essa_row *row,
			 uint8_t *results, uint64_t base, struct essa_list *list);
};
/* ---- attribute-dirty pages and their values (dirty.c) ---- */

/* The first i of [from, to) that is dirty, or that is not; to if there is none. */
uint64_t dirty_find(const uint8_t *state, uint64_t from, uint64_t to);
uint64_t clean_find(const uint8_t *state, uint64_t from, uint64_t to);
/* The values of KVM's CMMA log: USAGE in bits 0-1, NODAT in bit 6. */
void values_read(const uint8_t *state, uint64_t nr, uint8_t *values);
/*
 * Those below change states, each byte at once if shared: other threads may change it too.
 * values_take: values of all pages, or 0 for those not dirty; none is dirty then.  It returns
 * how many were, as dirty_drop, and dirty_set how many were not.
 */
uint64_t values_take(uint8_t *state, uint64_t nr, uint8_t *values, bool dirty_only, bool shared);
uint64_t dirty_drop(uint8_t *state, uint64_t nr, bool shared);
uint64_t dirty_set(uint8_t *state, uint64_t nr, bool shared);
/* State bits of set become those of values, and those of clear 0. */
void values_write(uint8_t *state, uint64_t nr, const uint8_t *values, uint8_t set, uint8_t clear,
		  bool shared);

extern const struct scan_ops scan_portable;
#if defined(__x86_64__)
extern const struct scan_ops scan_avx2, scan_avx512;
#endif
#ifdef __AARCH64EL__
extern const struct scan_ops scan_neon;
#endif
const struct scan_ops *scan_ops(void);

#endif

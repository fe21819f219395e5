/* SPDX-License-Identifier: MIT */
/* Questions about the whole table, and the CPU variants of the kernels that answer them. */
#ifndef PGSTE_SCAN_H
#define PGSTE_SCAN_H

#include "base.h"

PGSTE_BEGIN

/* ---- CPU variants ---- */

/*
 * Choose the variant of the scan kernels: "portable", "avx2", "avx512", "neon", or NULL
 * or "" for what the environment variable PGSTE_ISA says, the best supported one if it is
 * unset.  PGSTE_E_NAME for a name that is unknown or that this CPU cannot run; the variant
 * in force then stays.  Not thread safe; call it before other threads use the library.
 */
int pgste_isa_select(const char *name);
const char *pgste_isa_name(void);
/* Name of the i-th variant compiled in, best first, NULL past the end; whether this CPU can. */
const char *pgste_isa_list(unsigned i, bool *supported);

/* ---- scans ---- */

/*
 * threads, below: how many threads a scan of the whole table may use, the caller's included;
 * 0 and 1 are the same, more than 64 are 64, and small tables use fewer.  Results are those
 * of one thread.  Counts are of pages in memory slots.
 */

/* pgste_zap over the whole table: pages zapped. */
int64_t pgste_zap_scan(struct pgste_guest *guest, unsigned threads);
/* Pages that pgste_zap_scan would zap now; a read of the whole table. */
uint64_t pgste_count_zappable(const struct pgste_guest *guest, unsigned threads);

struct pgste_state_counts {
	uint64_t pages[4][3]; /* [usage][0 resident, 1 preserved, 2 zero], content as in ESSA */
	uint64_t nodat, dirty, swap, zappable;
};
void pgste_count_states(const struct pgste_guest *guest, unsigned threads,
			struct pgste_state_counts *counts);
/*
 * gfns >= start with (state & mask) == value, ascending, at most max of them: how many.
 * PGSTE_E_ARG: value has bits outside mask; PGSTE_E_NOMEM with several threads only.
 */
int64_t pgste_find(const struct pgste_guest *guest, unsigned threads, uint64_t start, uint8_t mask,
		   uint8_t value, uint64_t *gfns, uint64_t max);

PGSTE_END

#endif

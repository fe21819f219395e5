/* SPDX-License-Identifier: MIT */
/* Undo for calls that may fail half way: who needs it, and what puts things back. */
#ifndef MEMORY_UNDO_H
#define MEMORY_UNDO_H

#include "memory/memory.h"

/* May nr accesses, one after another, find no frame?  Of hosts with host->lru (balance.c). */
bool lru_may_run_dry(const struct pgste_host *host, uint64_t nr);
/*
 * May accesses to nr pages fail half way?  Each takes at most one frame or slot for good, and
 * reclaim turns a free slot into a free frame whenever there is one and no frame is held; so with
 * as many of the two as accesses they cannot.
 */
static inline bool may_run_dry(const struct mm *mm, uint64_t nr)
{
	const struct pgste_host *host = mm->host;

	if (has_strangers(mm) || mm->rules)
		return true;
	if (has_lru(host))
		return lru_may_run_dry(host, nr);
	return nr > host->nr_free + host->nr_slots_free || host->nr_held ||
	       host->nr_mlocked;
}

struct snapshot;
/*
 * Of all that a call about these gfns may change.  *gfns is then the snapshot's own copy: what
 * is undone must be what was done, whoever writes to the caller's array meanwhile.
 * PGSTE_E_NOMEM, PGSTE_E_CHANGED; *snapshot is then NULL.
 */
int snapshot_take(struct mm *mm, struct pgste_gfns *gfns, struct snapshot **snapshot);
/* NULL is allowed, here and below. */
void snapshot_restore(struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);

#endif

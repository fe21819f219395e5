/* SPDX-License-Identifier: MIT */
/*
 * The second table of the dat generation: from Linux v7.0 on, KVM keeps the guest's PTEs, which
 * the PGSTEs belong to, in tables of its own beside the host's page table (that of the process
 * which runs the guest).  docs/dat.md says what ties the two and what each release does.
 *
 * A page of a dat guest costs 2 bytes for it.  In the other generations there is one table, and
 * the functions that change a host's own PTE are PGSTE_E_ARG.
 */
#ifndef PGSTE_HOST_PTE_H
#define PGSTE_HOST_PTE_H

#include "gfn.h"

PGSTE_BEGIN

/*
 * Releases that answer differently; the first is what a config of zeros means.
 *
 *   7.2    UNUSED on present host PTEs only, and cleared by whatever writes a present one
 *   7.1.5  the same: here nothing differs, in the CMMA log something does
 *   7.1    UNUSED lingers unless set_ptes writes the PTE
 *   7.0    that too; ZERO outlives map and unmap; the list walks guest addresses where host
 *          addresses are meant; a zap waits for the lock
 */
#define PGSTE_REVISIONS(X) X(7_2, "7.2") X(7_1_5, "7.1.5") X(7_1, "7.1") X(7_0, "7.0")
#define PGSTE_REVISION_ENUM(NAME, name) PGSTE_REVISION_##NAME,
enum pgste_revision { PGSTE_REVISIONS(PGSTE_REVISION_ENUM) PGSTE_NR_REVISIONS };
/* Of the i-th revision, NULL past the end. */
const char *pgste_revision_name(unsigned i);

/*
 * The host's own PTEs, in the kernel's format.  In pgtable and on z/VM these are the guest's
 * too: what pgste_get_words gives.  PGSTE_E_GFN.
 */
int pgste_get_host_ptes(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
			uint64_t *words);
/*
 * Somebody changes the host's page table; step 1 for a word a gfn, 0 for words[0] everywhere.
 * A present word of the frame that is there changes the other bits and leaves the guest's PTE.
 * Any other change goes with an MMU notifier: the guest's PTE becomes empty, and the word takes
 * the place of what was there, by the rules of pgste_set_words.  PGSTE_E_ARG, PGSTE_E_GFN.
 */
int pgste_set_host_ptes(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			const uint64_t *words, unsigned step);

/* How the host operation behind a notifier leaves the host's PTE. */
#define PGSTE_REWRITES(X)                                                                    \
	X(NONE, "none") /* not written: what only looked, or was given up half way */        \
	X(XCHG, "xchg") /* by ptep_xchg_* or ptep_modify_prot_commit: mprotect, NUMA, KSM */ \
	X(SET, "set")	/* by set_ptes: a page that was moved, or mapped anew */
#define PGSTE_REWRITE_ENUM(NAME, name) PGSTE_REWRITE_##NAME,
enum pgste_rewrite { PGSTE_REWRITES(PGSTE_REWRITE_ENUM) PGSTE_NR_REWRITES };
const char *pgste_rewrite_name(unsigned i);
/*
 * gmap_unmap_gfn_range: the MMU notifier of an operation of the host on these pages, and then
 * what the operation does to a host PTE that is present.  Pages whose guest PTE was present, or
 * PGSTE_E_ARG, PGSTE_E_GFN.
 */
int64_t pgste_notifier_unmap(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			     enum pgste_rewrite rewrite);

/* Host PTEs that share a lock: a page table of the host, 1 MiB. */
#define PGSTE_LOCK_PAGES 256u
/*
 * Somebody holds, or lets go of, the locks of the host's page tables that have these pages, so
 * that a trylock fails: UNUSED is then not set and (7.1 on) an entry of a CBRL not zapped.
 * PGSTE_E_ARG, PGSTE_E_GFN, PGSTE_E_NOMEM.
 */
int pgste_hold_host_locks(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on);
/*
 * Of 2^32 tries of a lock that nobody holds, rate fail, evenly spread: the first one that does
 * is number ceil(2^32 / rate).  0, as for a new guest, to 2^32.  PGSTE_E_ARG.
 */
int pgste_set_contention(struct pgste_guest *guest, uint64_t rate);

#define PGSTE_HOST_PTE_STATS(X)                                                              \
	X(notifier_unmaps)   /* guest PTEs that notifiers other than reclaim's took away */  \
	X(lock_tries)	     /* of a host PTE's lock, by what goes without it if it is held */ \
	X(lock_failures)     /* of these, how many found it held */                          \
	X(unused_swap_outs)  /* unused pages that reclaim wrote to swap all the same */      \
	X(used_discards)     /* pages in use that reclaim dropped: a lingering UNUSED */

struct pgste_host_pte_stats {
	PGSTE_HOST_PTE_STATS(PGSTE_STATS_FIELD)
};
/* All 0 for a guest that has one table.  pgste_guest_reset_stats zeroes them. */
void pgste_host_pte_get_stats(const struct pgste_guest *guest,
			      struct pgste_host_pte_stats *stats);
const char *pgste_host_pte_stats_name(unsigned i);

PGSTE_END

#endif

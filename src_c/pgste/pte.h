/* SPDX-License-Identifier: MIT */
/*
 * The PTE layer: the functions through which a kernel changes the PTEs of a guest, each with all
 * that it does to the PGSTE and the storage key, for simulators that bring their own memory
 * management.  docs/pte.md has a table of the kernel's functions and ours.
 *
 * Words are PTEs in the kernel's format (word.h).  A word that is put into a PTE is owned by the
 * rules of pgste_set_words: one that names the page's own frame keeps it, what the old word held
 * is given back to the host, and any other word is foreign.  In a guest whose memory is the
 * caller's (own_memory in struct pgste_guest_config) every word is foreign and costs the host
 * nothing; its loads and stores are PGSTE_E_FOREIGN.
 *
 * Arrays of results have an element a gfn and may be NULL.  step of an array of words is 1 for a
 * word a gfn, 0 for words[0] everywhere.  All calls: PGSTE_E_ARG (also in a generation that has
 * no such function: "dat" and "pgtable" mark those of one), PGSTE_E_GFN, PGSTE_E_NOMEM,
 * PGSTE_E_STATE (a page is between pgste_modify_prot_start and _commit, or a start or commit
 * names a page twice); nothing has changed.
 */
#ifndef PGSTE_PTE_H
#define PGSTE_PTE_H

#include "gfn.h"

PGSTE_BEGIN

/* ---- setting and exchanging ---- */

/*
 * set_pte_at (ptep_set_pte_at): UNUSED of a present word is dropped, ZERO goes, a valid word
 * takes the key out of the PGSTE into its frame, a writable one sets UC.
 */
int pgste_set_pte_at(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     const uint64_t *words, unsigned step);
/*
 * ptep_xchg_direct, or ptep_xchg_lazy: old takes the words before, with UNUSED added where a
 * page of usage unused becomes invalid.  Fires notifications; moves the key.
 */
int pgste_xchg_pte(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		   const uint64_t *words, unsigned step, bool lazy, uint64_t *old);
/*
 * ptep_test_and_clear_young: the PTE becomes old by an exchange.  young: 1 or 0, before: the
 * word before as pgste_xchg_pte reports it.  A page without a present PTE is left alone: the
 * kernel asks of present ones only; young is 0 and before its word.
 */
int pgste_age(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint8_t *young,
	      uint64_t *before);
/* dat: gmap_link, the guest maps a page; gmap_unmap, host takes the host's PTEs after it. */
int pgste_map_pte(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		  const uint64_t *words, unsigned step);
int pgste_unmap_pte(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint64_t *host);

/*
 * ptep_modify_prot_start and _commit: old takes the words before, and until the commit the PTE
 * is invalid and the PGSTE locked (PCL).  Meanwhile other calls of this layer and of skey.h for
 * the page are PGSTE_E_STATE, as is a commit without a start.
 */
int pgste_modify_prot_start(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			    uint64_t *old);
int pgste_modify_prot_commit(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			     const uint64_t *words, unsigned step);

/* ---- tracking of changes ---- */

/*
 * The dirty log of a memory slot (ptep_test_and_clear_uc; dat: the soft dirty bit of the guest's
 * PTE): 1 if the page may have been stored to since the last call.  A dirty page that is mapped
 * becomes read only, so that the next store is seen.
 */
int pgste_test_and_clear_dirty(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			       uint8_t *dirty);
/* Soft dirty of the host's PTE, as /proc/PID/pagemap tells it, and cleared as clear_refs does. */
int pgste_soft_dirty(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     uint8_t *dirty);
int pgste_clear_soft_dirty(struct pgste_guest *guest, const struct pgste_gfns *gfns);

/* ---- keys and bits of the PGSTE ---- */

/* ptep_zap_key: ACC and F of the PGSTE become 0, R and C 1; a writable frame's key 0. */
int pgste_zap_key(struct pgste_guest *guest, const struct pgste_gfns *gfns);
/* set_pgste_bits: the bits of mask become those of value.  PCL cannot be written. */
int pgste_set_pgste_bits(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			 uint64_t mask, uint64_t value);

/* ---- access and notifications ---- */

enum pgste_prot { PGSTE_PROT_NONE = 0, PGSTE_PROT_READ = 1, PGSTE_PROT_WRITE = 2 };
/* What force_prot and shadow_pte say where the kernel says -EAGAIN: fault the page in first. */
#define PGSTE_PTE_AGAIN (-11)
/* dat: -EOPNOTSUPP, a shadow that may be written of a page that may not. */
#define PGSTE_PTE_UNSUPPORTED (-95)
/*
 * ptep_force_prot: PROT_NONE makes the PTE invalid, PROT_READ read only, PROT_WRITE leaves it;
 * then bit, an or of PGSTE bits, is set.  results: 0, or PGSTE_PTE_AGAIN where the PTE is invalid
 * and prot is not PROT_NONE, or is protected and prot is PROT_WRITE: such a page is unchanged.
 */
int pgste_force_prot(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     enum pgste_prot prot, uint64_t bit, int8_t *results);
/*
 * ptep_set_notify: sets bits (pgtable: PGSTE_IN, PGSTE_VSIE; dat: PGSTE_DAT_PREFIX,
 * PGSTE_DAT_VSIE) so that the next change of the PTE is told.
 */
int pgste_set_notify(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint64_t bits);
/*
 * What ptep_notify was called with, oldest first: page and bits, which the change cleared.  Takes
 * out up to room of them and returns how many; with both arrays NULL: how many there are.
 */
int64_t pgste_notifications(struct pgste_guest *guest, uint64_t *gfns, uint64_t *bits,
			    uint64_t room);

/*
 * pgtable: ptep_shadow_pte.  The i-th page of targets in shadow, a guest of the same host that
 * stands for a shadow table, comes to map the frame of the i-th source page of parent, read only
 * if the i-th word has PROTECT; VSIE of the source is set.  results: 1 done, 0 the target is
 * mapped already, PGSTE_PTE_AGAIN the source does not allow it.  As many targets as sources.
 */
int pgste_shadow_pte(struct pgste_guest *parent, const struct pgste_gfns *sources,
		     struct pgste_guest *shadow, const struct pgste_gfns *targets,
		     const uint64_t *words, unsigned step, int8_t *results);
/* pgtable: ptep_unshadow_pte, of pages of a shadow table. */
int pgste_unshadow_pte(struct pgste_guest *shadow, const struct pgste_gfns *gfns);

/* ---- swap entries that zaps free ---- */

struct pgste_entry {
	uint64_t offset; /* 0 .. 2^52 - 1: the slot, if type is 0 and the slot the host's */
	uint32_t type;	 /* 0 .. 31 */
	uint32_t unused; /* 0 */
};
/* Where zapped entries go, in order; nr is set by the call, which never exceeds room. */
struct pgste_entries {
	struct pgste_entry *at;
	uint64_t room, nr;
};
/*
 * pgste_intercept, pgste_zap and pgste_zap_scan, telling the entries that they gave to
 * free_swap_and_cache.  PGSTE_E_ARG and nothing done if room is less than what may come: as many
 * as the CBRL has entries, 1, and pgste_count_zappable.
 */
int64_t pgste_intercept_entries(struct pgste_guest *guest, uint32_t vcpu,
				struct pgste_entries *entries);
int64_t pgste_zap_entries(struct pgste_guest *guest, uint64_t gfn,
			  struct pgste_entries *entries);
int64_t pgste_zap_scan_entries(struct pgste_guest *guest, unsigned threads,
			       struct pgste_entries *entries);

PGSTE_END

#endif

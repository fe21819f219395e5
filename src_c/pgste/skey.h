/* SPDX-License-Identifier: MIT */
/*
 * Storage keys of a guest's pages, and of the host's frames.
 *
 * A key is a byte: ACC 0xf0, F (fetch protection) 0x08, R (referenced) 0x04, C (changed) 0x02.
 * The lowest bit means nothing and is dropped.
 *
 * The key that the guest sees is kept in two places.  Of a page whose PTE is valid, ACC and F are
 * in the real key of its frame, and R and C are those of the frame or'ed with GR and GC of the
 * PGSTE.  Of any other page the whole key is in the PGSTE.  docs/pte.md has the rules.
 *
 * A guest uses no keys at first (mm_uses_skeys): then none of this costs anything, and nothing
 * moves between frames and PGSTEs.  It uses them from pgste_enable_storage_keys on, which the
 * calls that stand for an instruction of the guest make for themselves, as KVM does:
 * pgste_set_storage_key, pgste_cond_set_storage_key, pgste_reset_reference.
 *
 * step of an array is 1 for an element a gfn, 0 for its first element everywhere.  Calls for
 * guests are PGSTE_E_ARG in a generation that has none of this (zvm), PGSTE_E_GFN for a gfn
 * outside, PGSTE_E_PGM_ADDRESSING for one outside every slot, PGSTE_E_STATE for an open page
 * (pte.h), PGSTE_E_NOMEM if the frames' keys cannot be had; PGSTE_E_NO_FRAME as of
 * pgste_enable_storage_keys.  Nothing has then changed.
 *
 * Once the guest uses keys, the calls that stand for an instruction, and pgste_get_storage_key, may
 * share a guest with its vcpus (pgste.h), and rest.  What others did meanwhile to slots and open
 * pages ends a call at the first page of that kind, those before being done.
 */
#ifndef PGSTE_SKEY_H
#define PGSTE_SKEY_H

#include "gfn.h"

PGSTE_BEGIN

#define PGSTE_KEY_ACC 0xf0
#define PGSTE_KEY_FP 0x08
#define PGSTE_KEY_R 0x04
#define PGSTE_KEY_C 0x02

/*
 * May this vcpu execute SSKE, ISKE and RRBE?  PGSTE_E_PGM_PRIVILEGED in problem state, else
 * PGSTE_OK; PGSTE_E_ARG: no such vcpu.  For callers that carry out instructions.
 */
int pgste_check_supervisor(const struct pgste_guest *guest, uint32_t vcpu);

/*
 * SSKE (set_guest_storage_key; dat_set_storage_key).  nq (no quiescing) changes no result.  A
 * key that the guest sees change counts as a change of the page.
 */
int pgste_set_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  const uint8_t *keys, unsigned key_step, bool nq);
/*
 * The key that the guest sees (get_guest_storage_key; dat_get_storage_key).  Does not enable
 * keys: this is also how a hypervisor reads them.
 */
int pgste_get_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  uint8_t *keys);
/* ISKE (handle_iske): the same by the guest itself, which enables keys. */
int pgste_insert_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			     uint8_t *keys);
/*
 * Conditional SSKE (cond_set_guest_storage_key; dat_cond_set_storage_key).  With mr the
 * reference bit does not count as a difference, with mc the change bit does not.
 * rcs: 1 the key was set, 0 that was not needed.  old: the key before where the kernel tells it,
 * otherwise 0.  Either may be NULL.
 */
int pgste_cond_set_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			       const uint8_t *keys, unsigned key_step, bool mr, bool mc, bool nq,
			       uint8_t *rcs, uint8_t *old);
/*
 * RRBE (reset_guest_reference_bit; dat_reset_reference_bit).  ccs: condition code 0 .. 3, R << 1
 * | C as they were; may be NULL.
 */
int pgste_reset_reference(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  uint8_t *ccs);
/*
 * The keys of all pages to what they are when a guest begins to use keys (the walk of
 * s390_enable_skey; dat_reset_skeys).  Enables keys.
 */
int pgste_reset_storage_keys(struct pgste_guest *guest);

/*
 * The guest uses keys from now on (s390_enable_skey; gmap_enable_skeys): the keys of all pages
 * are set as pgste_reset_storage_keys does.  For a guest that uses them already: nothing.
 *
 * A key belongs to a frame.  So pages that map the shared zero page get frames of their own first,
 * in ascending order, and no more are mapped to it (s390_disable_cow_sharing): PGSTE_E_NO_FRAME if
 * these cannot be had, and nothing has changed.  The same holds of all calls that enable keys.
 */
int pgste_enable_storage_keys(struct pgste_guest *guest);
bool pgste_uses_storage_keys(const struct pgste_guest *guest);
/* May loads map the shared zero page? (mm->context.allow_cow_sharing) */
bool pgste_allows_cow_sharing(const struct pgste_guest *guest);

/*
 * The real keys of frames, by number; 0 where nobody has set one.  Loads and stores of guests
 * that use keys set R and C of their frames; so do they in the frames of no other guest.
 * PGSTE_E_ARG, PGSTE_E_GFN (a number outside the host's frames), PGSTE_E_NOMEM.
 */
int pgste_set_frame_key(struct pgste_host *host, const struct pgste_gfns *frames,
			const uint8_t *keys, unsigned key_step);
int pgste_frame_key(const struct pgste_host *host, const struct pgste_gfns *frames,
		    uint8_t *keys);

PGSTE_END

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Memory slots of a guest (KVM_SET_USER_MEMORY_REGION): which of its pages there are, and at
 * which pages of the host's address space.  docs/migration.md has the rules.
 *
 * A page outside every slot: ESSA is PGSTE_E_PGM_ADDRESSING (pgtable) or answers 0x10 (dat); a
 * load or store is PGSTE_E_PGM_ADDRESSING, and pgste_fault_gfn tells the page; free and alloc
 * are PGSTE_E_GFN.  Words and states can be looked at and loaded everywhere.
 *
 * One thread at a time for a guest, as everywhere.
 */
#ifndef PGSTE_SLOTS_H
#define PGSTE_SLOTS_H

#include "gfn.h"

PGSTE_BEGIN

#define PGSTE_MAX_SLOTS 32764u /* of a guest, as KVM_USER_MEM_SLOTS less a few */
#define PGSTE_MAX_HOST_PAGE (UINT64_C(1) << 52) /* host pages are below it */
#define PGSTE_NO_HOST_PAGE UINT64_MAX

struct pgste_slot {
	uint64_t base, pages; /* guest pages [base, base + pages) */
	uint64_t host;	      /* the host page of the first one */
	uint32_t id;	      /* 0 .. PGSTE_MAX_SLOTS - 1 */
	bool log_dirty;	      /* KVM_MEM_LOG_DIRTY_PAGES */
};

/* The slots in ascending order of base, at most max of them: how many there are. */
uint32_t pgste_slots(const struct pgste_guest *guest, struct pgste_slot *slots, uint32_t max);
/*
 * A new slot; slot->id is set, to the lowest that is free.  Without dirty logging it ends
 * migration mode.  In this order: PGSTE_E_KVM_INVAL: no pages, or too many slots;
 * PGSTE_E_KVM_EXIST: overlap with another slot; PGSTE_E_KVM_INVAL: beyond the guest's pages;
 * PGSTE_E_ARG: host pages beyond PGSTE_MAX_HOST_PAGE or of another slot, which KVM allows and
 * the model has no tables for.  PGSTE_E_NOMEM.
 */
int pgste_slot_add(struct pgste_guest *guest, struct pgste_slot *slot);
/*
 * The slot at another guest address: what is in its host memory goes with it.  PGSTE_E_KVM_INVAL:
 * no such slot, or beyond the guest's pages; PGSTE_E_KVM_EXIST.  PGSTE_E_NOMEM.
 */
int pgste_slot_move(struct pgste_guest *guest, uint32_t id, uint64_t base);
/* PGSTE_E_KVM_INVAL: no such slot.  PGSTE_E_NOMEM. */
int pgste_slot_delete(struct pgste_guest *guest, uint32_t id);
/* Dirty logging of a slot; switching it off ends migration mode.  PGSTE_E_KVM_INVAL. */
int pgste_slot_log(struct pgste_guest *guest, uint32_t id, bool on);
/* Are the blocks of nr pages at gfns, all below the limit, in slots?  *bad: the first not. */
bool pgste_slots_cover(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		       uint64_t nr, uint64_t *bad);
/* The host page of each gfn, PGSTE_NO_HOST_PAGE outside every slot.  PGSTE_E_GFN. */
int pgste_host_gfns(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    uint64_t *hosts);

PGSTE_END

#endif

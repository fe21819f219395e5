/* SPDX-License-Identifier: MIT */
/* ESSA, the CBRL, zap, and what the hypervisor switches: CMMA of a whole guest. */
#ifndef PGSTE_ESSA_H
#define PGSTE_ESSA_H

#include "gfn.h"

PGSTE_BEGIN

enum pgste_orc {
	PGSTE_ORC_GET_STATE = 0,
	PGSTE_ORC_SET_STABLE = 1,
	PGSTE_ORC_SET_UNUSED = 2,
	PGSTE_ORC_SET_VOLATILE = 3,
	PGSTE_ORC_SET_POT_VOLATILE = 4,
	PGSTE_ORC_SET_STABLE_RESIDENT = 5,
	PGSTE_ORC_SET_STABLE_IF_RESIDENT = 6,
	PGSTE_ORC_SET_STABLE_NODAT = 7,
	PGSTE_NR_ORC = 8
};

/* ESSA result byte: usage << 2 | content, and these. */
#define PGSTE_RESULT_NODAT 0x20
#define PGSTE_RESULT_EXCEPTION 0x10
enum pgste_content {
	PGSTE_CONTENT_RESIDENT = 0,
	PGSTE_CONTENT_PRESERVED = 2,
	PGSTE_CONTENT_ZERO = 3
};

/*
 * ESSA on each gfn in order.  results: one byte a gfn, or NULL.  Errors, checked before
 * anything changes: the PGSTE_E_PGM_* in the order operation, privileged, specification;
 * PGSTE_E_ARG for vcpu; a gfn outside the guest is PGSTE_E_PGM_ADDRESSING (pgtable) or
 * gives the result 0x10 (dat); a negative gfn is PGSTE_E_GFN.
 */
int pgste_essa(struct pgste_guest *guest, uint32_t vcpu, unsigned orc,
	       const struct pgste_gfns *gfns, uint8_t *results);
/* The same for one page: the result byte, or an error. */
int pgste_essa_page(struct pgste_guest *guest, uint32_t vcpu, unsigned orc, uint64_t gfn);

/* ---- CBRL and zap ---- */

/* Pending gfns of a vcpu in order (room for PGSTE_CBRL_MAX): how many.  PGSTE_E_ARG. */
int64_t pgste_cbrl(const struct pgste_guest *guest, uint32_t vcpu, uint64_t *gfns);
/* Process the list and reset it: pages zapped. PGSTE_E_ARG. */
int64_t pgste_intercept(struct pgste_guest *guest, uint32_t vcpu);
/* Zap one page if it may be zapped: 1 or 0.  PGSTE_E_GFN. */
int64_t pgste_zap(struct pgste_guest *guest, uint64_t gfn);

/* ---- CMMA of a whole guest ---- */

/*
 * The change bit of the guest's storage keys (GC), as SSKE sets it: z/VM keeps a potentially
 * volatile page if it is on.  Stores set it on z/VM, and never on KVM.  PGSTE_E_GFN.
 */
int pgste_set_changed(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on);

/* KVM_S390_VM_MEM_CLR_CMMA: USAGE and NODAT of every page to 0 (dat: attribute-dirty too). */
void pgste_reset_cmma(struct pgste_guest *guest);
/*
 * Migration mode: every ESSA is interpreted; starting makes every page attribute-dirty.  KVM:
 * pgste_start_migration and pgste_stop_migration, with their errors.
 */
int pgste_set_migration(struct pgste_guest *guest, bool on);
bool pgste_get_migration(const struct pgste_guest *guest);
/* Problem state of a vcpu: ESSA is then a privileged-operation exception. PGSTE_E_ARG. */
int pgste_set_problem_state(struct pgste_guest *guest, uint32_t vcpu, bool on);

PGSTE_END

#endif

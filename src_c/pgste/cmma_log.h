/* SPDX-License-Identifier: MIT */
/*
 * Controls of a virtual machine (KVM_S390_VM_MEM_CTRL, KVM_S390_VM_MIGRATION) and the CMMA log
 * (KVM_S390_GET_CMMA_BITS, KVM_S390_SET_CMMA_BITS).  docs/migration.md has the rules.
 * KVM only: on a guest of z/VM every call is PGSTE_E_KVM_NXIO.
 *
 * One thread at a time for a guest, as everywhere.
 */
#ifndef PGSTE_CMMA_LOG_H
#define PGSTE_CMMA_LOG_H

#include "gfn.h"

PGSTE_BEGIN

/* Constant, name, what has these rules. */
#define PGSTE_LOG_REVISIONS(X)                                                               \
	X(PGTABLE, "pgtable", "Linux v6.4 to v6.19: bitmaps of the memory slots")            \
	X(DAT, "dat", "Linux v7.0 and v7.1: CMMA_D in the PGSTE")                            \
	X(DAT_NEW, "dat_new", "Linux v7.2 and on: the same, with the fixes of 2026")

#define PGSTE_LOG_REVISION_ENUM(NAME, name, meaning) PGSTE_LOG_##NAME,
enum pgste_log_revision {
	PGSTE_LOG_REVISIONS(PGSTE_LOG_REVISION_ENUM) PGSTE_NR_LOG_REVISIONS
};
/* Of the i-th revision, NULL past the end. */
const char *pgste_log_revision_name(unsigned i);

/* ---- controls ---- */

/* KVM_S390_VM_MEM_ENABLE_CMMA.  PGSTE_E_KVM_NXIO: another mechanism; PGSTE_E_KVM_BUSY. */
int pgste_enable_cmma(struct pgste_guest *guest);
/* KVM_S390_VM_MEM_CLR_CMMA.  PGSTE_E_KVM_NXIO: another mechanism; PGSTE_E_KVM_INVAL: off. */
int pgste_clear_cmma(struct pgste_guest *guest);
bool pgste_cmma_enabled(const struct pgste_guest *guest);
/* uses_cmm: an ESSA was executed outside migration mode, or attributes were set. */
bool pgste_uses_cmm(const struct pgste_guest *guest);
/* The virtual CPUs come to be, as at the first use of one. */
void pgste_create_vcpus(struct pgste_guest *guest);
bool pgste_vcpus_created(const struct pgste_guest *guest);
/* PGSTE_E_KVM_INVAL: no memory slot, or one without dirty logging.  Nothing if it is on. */
int pgste_start_migration(struct pgste_guest *guest);
int pgste_stop_migration(struct pgste_guest *guest);

/* ---- the log ---- */

#define PGSTE_CMMA_PEEK 1u
#define PGSTE_CMMA_MAX (UINT32_C(1) << 20) /* values of one call */

/* struct kvm_s390_cmma_log less the pointer. */
struct pgste_cmma_log {
	uint64_t start_gfn;
	uint64_t remaining; /* answer: dirty pages left, 0 when not migrating */
	uint32_t count;	    /* room in values; answer: values written */
	uint32_t flags;	    /* PGSTE_CMMA_PEEK or 0; answer: 0 when nothing was looked at */
};

/*
 * Read a block of the log, whose pages are clean then, or any pages with PGSTE_CMMA_PEEK.
 * values: room for count, or PGSTE_CMMA_MAX if that is less; USAGE in bits 0-1, NODAT in bit 6.
 * In this order: PGSTE_E_KVM_NXIO: CMMA is not enabled; PGSTE_E_KVM_INVAL: other flags, or not
 * migrating; PGSTE_E_KVM_FAULT: PGSTE_CMMA_PEEK, and no value could be read.
 */
int pgste_get_cmma_bits(struct pgste_guest *guest, struct pgste_cmma_log *log, uint8_t *values);
/*
 * Set attributes of count pages from start_gfn on, as far as mask (bits of a PGSTE) says.
 * PGSTE_E_KVM_NXIO; PGSTE_E_KVM_INVAL: flags, or count above PGSTE_CMMA_MAX; PGSTE_E_KVM_FAULT:
 * pages outside every slot (pgtable: those before the first such page are set).
 */
int pgste_set_cmma_bits(struct pgste_guest *guest, uint64_t start_gfn, uint32_t count,
			uint32_t flags, uint64_t mask, const uint8_t *values);
/*
 * These pages dirty, and every other one clean (pgste_set_cmma_log), or as it was.
 * PGSTE_E_KVM_NXIO; PGSTE_E_KVM_INVAL: pgtable has bitmaps only while migrating; PGSTE_E_GFN:
 * a page outside every slot.
 */
int pgste_set_cmma_log(struct pgste_guest *guest, const struct pgste_gfns *gfns);
int pgste_mark_cmma_dirty(struct pgste_guest *guest, const struct pgste_gfns *gfns);
/* cmma_dirty_pages, which not every change of a dirty bit goes with: docs/migration.md. */
uint64_t pgste_cmma_dirty_count(const struct pgste_guest *guest);

PGSTE_END

#endif

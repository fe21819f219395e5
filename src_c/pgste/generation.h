/* SPDX-License-Identifier: MIT */
/* Generations: who implements the page states, by which rules.  One table for C and Python. */
#ifndef PGSTE_GENERATION_H
#define PGSTE_GENERATION_H

#include "base.h"

PGSTE_BEGIN

/* Constant, name, the hypervisor (its flavour), and what has these rules. */
#define PGSTE_GENERATIONS(X)                                                                 \
	X(PGTABLE, "pgtable", "kvm", "KVM of Linux v4.13 to v6.19: PGSTE beside the host's PTE") \
	X(DAT, "dat", "kvm", "KVM of Linux v7.0 on: a table of the guest's own")             \
	X(ZVM, "zvm", "zvm", "z/VM: the whole of guest page hinting, with volatile pages")

#define PGSTE_GENERATION_ENUM(NAME, name, flavour, meaning) PGSTE_GEN_##NAME,
enum pgste_generation { PGSTE_GENERATIONS(PGSTE_GENERATION_ENUM) PGSTE_NR_GENERATIONS };

/* Of the i-th generation, NULL past the end. */
const char *pgste_generation_name(unsigned i);
const char *pgste_generation_flavour(unsigned i);
const char *pgste_generation_meaning(unsigned i);
/* Can a guest of this generation have that mechanism?  False for an unknown name, too. */
bool pgste_mechanism_allowed(enum pgste_generation generation, const char *mechanism);

PGSTE_END

#endif

/* SPDX-License-Identifier: MIT */
/* Generations: who implements the states, by which rules. */
#ifndef PGSTE_GENERATION_H
#define PGSTE_GENERATION_H

#include "base.h"

PGSTE_BEGIN

/* Who implements the states: a generation of KVM, or z/VM (mechanisms none and cmma only). */
enum pgste_generation { PGSTE_GEN_PGTABLE = 0, PGSTE_GEN_DAT = 1, PGSTE_GEN_ZVM = 2 };

PGSTE_END

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Memory of the library under test: tables in blocks of just their size, so that the sanitizer
 * sees a step over their end, counted, so that one that stays behind is seen; and allocations
 * and threads that fail when a harness says so.  The linker puts faults.c before the real ones.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* The nth allocation from now on fails, and all after it; 0: none does. */
void faults_arm(unsigned nth);
/* No more failures: whether there was one. */
bool faults_disarm(void);
/* Tables that were made and not given back. */
uint64_t faults_nr_tables(void);

#endif

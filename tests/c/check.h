/* SPDX-License-Identifier: MIT */
/* What the tests of src_c/trace_*.c share: checks that are counted, events in short. */
#ifndef CHECK_H
#define CHECK_H

#include "pgste.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned failures;

#define CHECK(condition) check(condition, #condition, "", __LINE__)
#define CHECK_FOR(condition, what) check(condition, #condition, what, __LINE__)

static inline void check(bool holds, const char *condition, const char *what, int line)
{
	if (holds)
		return;
	failures++;
	fprintf(stderr, "line %d: %s %s\n", line, condition, what);
}

#define A(order, pfn) PGSTE_EVENT(PGSTE_EVENT_ALLOC, order, pfn)
#define F(order, pfn) PGSTE_EVENT(PGSTE_EVENT_FREE, order, pfn)

/* What a program ends with. */
static inline int checks_failed(void)
{
	if (failures)
		fprintf(stderr, "%u checks failed\n", failures);
	return failures != 0;
}

#endif

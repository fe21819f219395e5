/* SPDX-License-Identifier: MIT */
/* The table of generations, as pgste/generation.h has it. */
#include "base/base.h"
#include "pgste/generation.h"

struct generation {
	const char *name, *flavour, *meaning;
};

#define ROW(NAME, name, flavour, meaning) { name, flavour, meaning },
static const struct generation generations[] = { PGSTE_GENERATIONS(ROW) };

const char *pgste_generation_name(unsigned i)
{
	return i < PGSTE_NR_GENERATIONS ? generations[i].name : NULL;
}

const char *pgste_generation_flavour(unsigned i)
{
	return i < PGSTE_NR_GENERATIONS ? generations[i].flavour : NULL;
}

const char *pgste_generation_meaning(unsigned i)
{
	return i < PGSTE_NR_GENERATIONS ? generations[i].meaning : NULL;
}

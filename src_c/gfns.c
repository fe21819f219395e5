/* SPDX-License-Identifier: MIT */
/* Checks of gfn arguments, made before a call changes anything. */
#include "internal.h"

static ALWAYS_INLINE uint64_t or_all(enum pgste_gfn_type type, const struct pgste_gfns *gfns)
{
	uint64_t all = 0;

	for (uint64_t i = 0; i < gfns->nr; i++)
		all |= gfn_at(type, gfns, i);
	return all;
}

/* The or of all gfns is no smaller than the largest, and compilers vectorise it. */
static uint64_t gfns_or(const struct pgste_gfns *gfns)
{
	switch (gfns->type) {
	case PGSTE_GFN_U8: return or_all(PGSTE_GFN_U8, gfns);
	case PGSTE_GFN_U16: return or_all(PGSTE_GFN_U16, gfns);
	case PGSTE_GFN_U32: return or_all(PGSTE_GFN_U32, gfns);
	case PGSTE_GFN_U64: return or_all(PGSTE_GFN_U64, gfns);
	case PGSTE_GFN_I8: return or_all(PGSTE_GFN_I8, gfns);
	case PGSTE_GFN_I16: return or_all(PGSTE_GFN_I16, gfns);
	case PGSTE_GFN_I32: return or_all(PGSTE_GFN_I32, gfns);
	case PGSTE_GFN_I64: return or_all(PGSTE_GFN_I64, gfns);
	case PGSTE_GFN_RANGE: break;
	}
	return 0;
}

bool gfns_below(const struct pgste_gfns *gfns, uint64_t limit)
{
	if (gfns->nr == 0)
		return true;
	if (gfns->type == PGSTE_GFN_RANGE)
		return gfns->first < limit && gfns->nr <= limit - gfns->first;
	if (gfns_or(gfns) < limit)
		return true;
	for (uint64_t i = 0; i < gfns->nr; i++)
		if (GFN(gfns, i) >= limit)
			return false;
	return true;
}

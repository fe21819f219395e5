/* SPDX-License-Identifier: MIT */
/* The pages that a call is about. */
#ifndef PGSTE_GFN_H
#define PGSTE_GFN_H

#include "base.h"

PGSTE_BEGIN

enum pgste_gfn_type {
	PGSTE_GFN_RANGE = 0, /* first, first + 1, ... (nr of them); data is unused */
	PGSTE_GFN_U8, PGSTE_GFN_U16, PGSTE_GFN_U32, PGSTE_GFN_U64,
	PGSTE_GFN_I8, PGSTE_GFN_I16, PGSTE_GFN_I32, PGSTE_GFN_I64
};

#define PGSTE_MAX_PAGES (UINT64_C(1) << 40) /* of a guest */
#define PGSTE_MAX_ORDER 39u /* of a block of 2^order pages */

/* The gfns of one call: a range, or a native-endian contiguous array; processed in order. */
struct pgste_gfns {
	enum pgste_gfn_type type;
	const void *data;
	uint64_t first;
	uint64_t nr;
};

PGSTE_END

#endif

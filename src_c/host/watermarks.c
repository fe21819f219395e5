/* SPDX-License-Identifier: MIT */
/* Watermarks of a zone, as mm/page_alloc.c computes them at any size. */
#include "host/host.h"

uint64_t pgste_min_free(uint64_t pages)
{
	const uint64_t kib = isqrt_u64(64 * min_u64(pages, PGSTE_MAX_FRAMES));

	return (kib < 128 ? 128 : min_u64(kib, 262144)) / 4;
}

void pgste_zone_watermarks(uint64_t managed, uint64_t min, unsigned scale,
			   struct pgste_watermarks *marks)
{
	const uint64_t part = managed / 10000 * scale + managed % 10000 * scale / 10000;
	const uint64_t step = part > min / 4 ? part : min / 4;

	*marks = (struct pgste_watermarks){ min, min + step, min + 2 * step };
}

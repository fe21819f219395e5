/* SPDX-License-Identifier: MIT */
/* A trace of some of the pages only, page by page. */
#include "base/event.h"

int64_t pgste_trace_share(const uint64_t *events, uint64_t nr, uint64_t share, uint64_t *pages,
			  uint64_t *places, uint64_t room)
{
	struct block block;
	uint64_t found = 0, steps = 0;

	if (share == 0 || share > UINT64_C(1) << 32)
		return PGSTE_E_ARG;
	for (uint64_t i = 0; i < nr; i++) {
		if (!event_block(READ_ONCE(events[i]), 0, EVENT_PFNS, &block))
			return PGSTE_E_ARG;
		for (uint64_t pfn = block.first; pfn < block.first + block.nr; pfn++) {
			if (watch_stops_at(steps++))
				return PGSTE_E_CANCELLED;
			if (!pfn_in_share(pfn, share))
				continue;
			if (found < room) {
				pages[found] = PGSTE_EVENT(block.is_free, 0, pfn);
				places[found] = i;
			}
			found++;
		}
	}
	return (int64_t)found;
}

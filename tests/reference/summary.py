# SPDX-License-Identifier: MIT
"""What a trace holds, counted the slow way: one set of live pages, one owner for each page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from reference.replay import ALLOC, Event, first_kinds


def summarize(events: Sequence[Event]) -> dict[str, Any]:
    """Fields as in PGSTE_TRACE_SUMMARY; the order histograms as dicts."""
    count: Counter[str] = Counter()
    orders: dict[str, Counter[int]] = {"alloc_orders": Counter(), "free_orders": Counter()}
    owner: dict[int, int] = {}  # live page: index of the alloc event it came from
    in_use = {page for page, kind in first_kinds(events).items() if kind != ALLOC}
    live_at_start, peak_in_use, peak_live = len(in_use), len(in_use), 0
    allocated: set[int] = set()
    seen: set[int] = set()
    for index, (kind, order, pfn) in enumerate(events):
        pages = range(pfn, pfn + (1 << order))
        seen.update(pages)
        if kind == ALLOC:
            orders["alloc_orders"][order] += 1
            count["pages_allocated"] += len(pages)
            count["allocs_of_live"] += any(page in owner for page in pages)
            allocated.update(pages)
            in_use.update(pages)
            owner.update(dict.fromkeys(pages, index))
        else:
            orders["free_orders"][order] += 1
            count["pages_freed"] += len(pages)
            count.update(_judge(events, owner, order, pfn))
            in_use.difference_update(pages)
            for page in pages:
                owner.pop(page, None)
        peak_live = max(peak_live, len(owner))
        peak_in_use = max(peak_in_use, len(in_use))
    fields = (
        "pages_allocated",
        "pages_freed",
        "frees_of_allocated",
        "frees_of_unknown",
        "frees_of_block",
        "frees_of_part",
        "allocs_of_live",
    )
    return {
        "alloc_events": sum(orders["alloc_orders"].values()),
        "free_events": sum(orders["free_orders"].values()),
        **{name: count[name] for name in fields},
        "unique_allocated": len(allocated),
        "unique_pages": len(seen),
        "peak_live": peak_live,
        "live_at_end": len(owner),
        "live_at_start": live_at_start,
        "peak_in_use": peak_in_use,
        "lowest_pfn": min(seen, default=0),
        "highest_pfn": max(seen, default=0),
        **{name: dict(histogram) for name, histogram in orders.items()},
    }


def _judge(events: Sequence[Event], owner: dict[int, int], order: int, pfn: int) -> list[str]:
    """What a free event is, by the pages that it covers."""
    pages = range(pfn, pfn + (1 << order))
    live = [page for page in pages if page in owner]
    if not live:
        return ["frees_of_unknown"]
    if len(live) < len(pages):
        return []
    verdict = ["frees_of_allocated"]
    if len({owner[page] for page in pages}) == 1:
        _, alloc_order, alloc_pfn = events[owner[pfn]]
        whole = (alloc_order, alloc_pfn) == (order, pfn)
        verdict.append("frees_of_block" if whole else "frees_of_part")
    return verdict

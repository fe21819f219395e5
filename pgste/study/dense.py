# SPDX-License-Identifier: MIT
"""What a replay is given of a trace: its events, and the pages of a guest that has them all.

Few of the pages between the lowest and the highest of a trace may be in it.  A guest with those,
and one behind each run of them, takes less memory and time.  It counts the same, as a page has
the same next page: where no more is looked at than that (calls of madvise are joined).  Blocks of
free page reporting merge by their alignment, and walks of page tables go farther.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pgste._engine.trace import dense
from pgste.study.sizes import guest_pages
from pgste.traces.trace import Trace

__all__ = ["Pages", "guests_pages", "pages_for"]

Words = npt.NDArray[np.uint64]

_MOST_LOOKED_AT = 64  # pages for each one that is named: a bit of each is looked at
_MOST_COPIED = 1 << 22  # events, unless the tables that are saved are larger


@dataclass(frozen=True)
class Pages:
    """Events and accesses of the pages [base, base + pages)."""

    events: Words
    accesses: Words
    pages: int
    base: int = 0


def _is_dense(trace: Trace, summary: Mapping[str, Any]) -> bool:
    """Whether leaving pages out saves more than it costs."""
    pages, named = guest_pages(summary)[1], int(summary["unique_pages"])
    saved = pages - named
    looked_at = _MOST_LOOKED_AT * named
    return 2 * named <= pages <= looked_at and len(trace) <= max(saved, _MOST_COPIED)


def pages_for(
    trace: Trace, summary: Mapping[str, Any], mechanism: str, *, neighbours: bool = False
) -> Pages:
    """The pages that events name, in their order and runs whole, if that pays; or all of them.

    neighbours: whether something beside the mechanism looks at the neighbours of a page.
    """
    base, pages = guest_pages(summary)
    if neighbours or mechanism == "reporting" or not _is_dense(trace, summary):
        return Pages(trace.events, trace.accesses, pages, base)
    known: Pages | None = trace._derived.get("dense")
    if known is None:
        known = Pages(*dense(trace.events, trace.accesses, base, pages))
        trace._derived["dense"] = known
    return known


def guests_pages(
    trace: Trace, summary: Mapping[str, Any], mechanisms: Iterable[str], *, neighbours: bool = False
) -> dict[str, int]:
    """How many pages a guest has with each mechanism, by `pages_for`, at the most."""
    whole = guest_pages(summary)[1]
    most = whole if neighbours or not _is_dense(trace, summary) else 2 * summary["unique_pages"]
    return {name: whole if name == "reporting" else most for name in mechanisms}

# SPDX-License-Identifier: MIT
"""A trace cut to what real memory can hold: events with gfns of a compact memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgste.errors import ArgumentError
from pgste.traces.trace import Trace

__all__ = ["CHUNK_PAGES", "Scaled", "scale"]

CHUNK_PAGES = 1 << 10
"""Pages are taken or left out in aligned chunks of the kernel's largest block (4 MiB)."""


@dataclass(frozen=True)
class Scaled:
    """A trace cut to what fits: events with gfns of a compact memory in place of pfns."""

    events: npt.NDArray[np.uint64]
    times: npt.NDArray[np.uint64]
    pages: int
    """Size of the memory."""
    in_use: npt.NDArray[np.uint8]
    """1 for a page whose first event is a free: in use at the start."""
    peak: int
    """Most pages in use at once, those of the start included."""
    share: float
    """Of the trace's pages, those that are taken."""

    @property
    def used(self) -> int:
        """Pages that an event names: what a memory holds that gives none back."""
        first = (self.events >> np.uint64(8)).astype(np.int64)
        order = (self.events >> np.uint64(2) & np.uint64(63)).astype(np.int64)
        edges = np.zeros(self.pages + 1, dtype=np.int64)
        np.add.at(edges, first, 1)
        np.add.at(edges, first + (1 << order), -1)
        return int(np.count_nonzero(np.cumsum(edges)))


def scale(trace: Trace, most_pages: int) -> Scaled:
    """Cut a trace down to at most this many pages in use at once, and close the gaps between pfns.

    Aligned chunks of 4 MiB are taken or left out as a whole, every n-th of those that have events:
    a sample in space, in which each page lives as it did.  Blocks of more than a chunk are left
    out.
    """
    if not len(trace):
        raise ArgumentError("trace: has no events")
    if most_pages < 1:
        raise ArgumentError(f"most_pages: {most_pages} is less than 1")
    fits = trace.order <= CHUNK_PAGES.bit_length() - 1
    chunks, place = np.unique(trace.pfn // np.uint64(CHUNK_PAGES), return_inverse=True)
    whole = int(trace.summary()["unique_pages"])
    every = 1
    while True:
        kept = fits & (place % every == 0)
        scaled = _compact(trace, kept, place // every, len(chunks[::every]), whole)
        if scaled.peak <= most_pages or every >= len(chunks):
            return scaled
        every = max(every + 1, min(every * scaled.peak // most_pages, len(chunks)))


def _compact(
    trace: Trace, kept: npt.NDArray[np.bool_], chunk: npt.NDArray[np.int64], nr: int, whole: int
) -> Scaled:
    pfn = trace.pfn[kept]
    gfn = chunk[kept].astype(np.uint64) * np.uint64(CHUNK_PAGES) + pfn % np.uint64(CHUNK_PAGES)
    cut = Trace.from_arrays(trace.kind[kept], gfn, trace.order[kept], trace.time[kept])
    summary = cut.summary() if len(cut) else {"peak_in_use": 0, "unique_pages": 0}
    pages = max(nr, 1) * CHUNK_PAGES
    return Scaled(
        events=cut.events,
        times=cut.time,
        pages=pages,
        in_use=_first_is_free(cut, pages),
        peak=int(summary["peak_in_use"]),
        share=summary["unique_pages"] / whole if whole else 0.0,
    )


def _first_is_free(trace: Trace, pages: int) -> npt.NDArray[np.uint8]:
    """1 for each page whose first event is a free."""
    in_use = np.zeros(pages, dtype=np.uint8)
    # Later events first, so that the first one of a page is written last.
    order, pfn, kind = trace.order[::-1], trace.pfn[::-1].astype(np.int64), trace.kind[::-1]
    single = order == 0
    first = np.full(pages, -1, dtype=np.int64)
    at = np.arange(len(order))
    np.maximum.at(first, pfn[single], at[single])
    for number in at[~single]:
        first[pfn[number] : pfn[number] + (1 << int(order[number]))] = np.maximum(
            first[pfn[number] : pfn[number] + (1 << int(order[number]))], number
        )
    known = first >= 0
    in_use[known] = kind[first[known]]
    return in_use

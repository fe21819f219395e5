# SPDX-License-Identifier: MIT
"""What page-cache pages cost in I/O under z/VM: volatile pages against host paging.

A page of a guest's page cache can be read again from the guest's own disk.  If the host does
not know, it writes the page to its paging device and reads it back; if the guest made it
volatile ("collaborative memory management", Schwidefsky, Franke and Raj 2006 to 2009), the
host drops it and the guest reads it again.  Everything here runs on the engine, and every
figure is a count of what happened: page-outs and page-ins by the guest's statistics, disk
reads and writes by the simulated guest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgste._engine import Guest, Host
from pgste.enums import Content, Orc, Usage
from pgste.errors import ArgumentError

__all__ = ["COLD_PAGES", "POLICIES", "ColdPage", "PageIo", "cold_page", "file_accesses", "replay"]

Gfns = npt.NDArray[np.int64]

_DISCARDED = Usage.VOLATILE << 2 | Content.ZERO
# A page of the hog's that pushes others out of memory: any content will do.
_HOG_TAG = 0xFFFFFFFF


@dataclass(frozen=True)
class PageIo:
    """I/O operations of one page each: the host's paging device, the guest's own disk."""

    host_writes: int = 0
    host_reads: int = 0
    guest_writes: int = 0
    guest_reads: int = 0

    @property
    def total(self) -> int:
        return self.host_writes + self.host_reads + self.guest_writes + self.guest_reads


@dataclass(frozen=True)
class ColdPage:
    """A fate of a cold page: `prepare` before memory runs short, `reuse` when it is over.

    Both get the guest and the pages; `reuse` tells the guest's disk writes and reads.
    """

    key: str
    meaning: str
    prepare: Callable[[Guest, Gfns], object]
    reuse: Callable[[Guest, Gfns], tuple[int, int]]


def _tags(pages: Gfns) -> npt.NDArray[np.uint32]:
    """Content by which a file page is known again."""
    return (pages + 1).astype(np.uint32)


def _fill(guest: Guest, pages: Gfns) -> None:
    """The guest reads pages from its disk into memory; they are clean then."""
    guest.write(pages, _tags(pages))
    guest.set_changed(pages, False)


def _check(guest: Guest, pages: Gfns) -> None:
    wrong = np.flatnonzero(guest.read(pages) != _tags(pages))
    if wrong.size:
        raise AssertionError(f"page {pages[wrong[0]]} has lost its content")


def _reuse_paged(guest: Guest, pages: Gfns) -> tuple[int, int]:
    _check(guest, pages)
    return 0, 0


def _reuse_volatile(guest: Guest, pages: Gfns) -> tuple[int, int]:
    """Make the pages stable if they were not discarded, else read them from disk again."""
    gone = pages[guest.essa(Orc.SET_STABLE_IF_RESIDENT, pages) == _DISCARDED]
    guest.essa(Orc.SET_STABLE, gone)
    _fill(guest, gone)
    _check(guest, pages)
    return 0, len(gone)


def _reuse_page_out(guest: Guest, pages: Gfns) -> tuple[int, int]:
    """The guest runs short as well: it writes the same pages to its own swap and frees them."""
    _check(guest, pages)
    guest.free(pages)
    return len(pages), 0


def _reuse_free(guest: Guest, pages: Gfns) -> tuple[int, int]:
    guest.alloc(pages)
    guest.write(pages, _tags(pages))
    return 0, 0


COLD_PAGES = (
    ColdPage(
        "host-swap",
        "cache page, stable: the host pages it out, and in when it is read again",
        lambda guest, pages: None,
        _reuse_paged,
    ),
    ColdPage(
        "volatile",
        "cache page, volatile: the host drops it, the guest reads it from disk again",
        lambda guest, pages: guest.essa(Orc.SET_VOLATILE, pages),
        _reuse_volatile,
    ),
    ColdPage(
        "double-paging",
        "the host pages it out, then the guest, which has it paged in for that",
        lambda guest, pages: None,
        _reuse_page_out,
    ),
    ColdPage(
        "unused",
        "free page, unused: the host drops it, the guest allocates it again",
        lambda guest, pages: guest.free(pages),
        _reuse_free,
    ),
)


def cold_page(fate: ColdPage, pages: int = 1000) -> PageIo:
    """I/O of `pages` pages that go cold once, as another guest takes all of the memory.

    Raises
    ------
    ArgumentError
        No pages.
    """
    if pages < 1:
        raise ArgumentError(f"pages: {pages} is not 1 or more")
    host = Host(pages, 4 * pages)
    guest = Guest(pages, host=host, flavour="zvm")
    hog = Guest(3 * pages, host=host, flavour="zvm")
    cold: Gfns = np.arange(pages)
    _fill(guest, cold)
    guest.reset_stats()
    fate.prepare(guest, cold)
    hog.write(slice(None), _HOG_TAG)
    left = guest.count_states()
    if any(left[usage]["resident"] for usage in ("stable", "unused", "volatile")):
        raise AssertionError("the host has kept pages that should have gone cold")
    hog.close()
    writes, reads = fate.reuse(guest, cold)
    return _io(guest, writes, reads)


def _io(guest: Guest, writes: int, reads: int) -> PageIo:
    stats = guest.stats()
    return PageIo(stats["swap_outs"], stats["swap_ins"], writes, reads)


# ---- a page cache over time ------------------------------------------------------------


def file_accesses(
    accesses: int, file_pages: int, skew: float = 1.0, seed: int = 0
) -> npt.NDArray[np.int64]:
    """A stream of reads of file pages in which the n-th most popular comes up as n**-skew.

    Returns
    -------
    ndarray of int64, shape (accesses,)
        File pages, 0 .. file_pages - 1; popular ones lie anywhere in the file.
    """
    for name, value in (("accesses", accesses), ("file_pages", file_pages)):
        if value < 1:
            raise ArgumentError(f"{name}: {value} is not 1 or more")
    rng = np.random.default_rng(seed)
    weights = np.arange(1, file_pages + 1, dtype=np.float64) ** -skew
    ranks = rng.choice(file_pages, size=accesses, p=weights / weights.sum())
    place: npt.NDArray[np.int64] = rng.permutation(file_pages)[ranks]
    return place


#: How the guest keeps the pages of its cache while it does not use them.
POLICIES = {
    "stable": "the host knows nothing of the cache and pages it",
    "volatile": "the host may drop what the guest can read again",
}


def replay(
    policy: str, accesses: npt.NDArray[np.int64], cache_pages: int, host_frames: int
) -> PageIo:
    """Reads of file pages through a guest's page cache, on a host with too little memory.

    The guest has room for `cache_pages` pages, of which it evicts the least recently used (it
    frees them: unused); the host has `host_frames` frames for them.

    Parameters
    ----------
    policy : str
        One of `POLICIES`.
    accesses : ndarray of int
        File pages, in order.
    cache_pages, host_frames : int
        Pages; at least one each.

    Raises
    ------
    ArgumentError
    """
    if policy not in POLICIES:
        raise ArgumentError(f"policy: {policy!r} is not one of {', '.join(POLICIES)}")
    if cache_pages < 1:
        raise ArgumentError(f"cache_pages: {cache_pages} is not 1 or more")
    host = Host(host_frames, cache_pages + host_frames)
    guest = Guest(cache_pages, host=host, flavour="zvm")
    guest.free(slice(None))
    guest.reset_stats()
    cache: OrderedDict[int, int] = OrderedDict()  # file page: page of the guest
    reads = 0
    for wanted in accesses.tolist():
        gfn = cache.get(wanted)
        if gfn is None:
            if len(cache) == cache_pages:
                _, gfn = cache.popitem(last=False)
                guest.free_page(gfn)
            else:
                gfn = len(cache)
            guest.alloc_page(gfn)
            present = False
        elif policy == "volatile":
            present = guest.essa_page(Orc.SET_STABLE_IF_RESIDENT, gfn) != _DISCARDED
            if not present:
                guest.essa_page(Orc.SET_STABLE, gfn)
        else:
            present = True
        if not present:
            guest.write(gfn, wanted + 1)
            guest.set_changed(gfn, False)
            reads += 1
        if int(guest.read(gfn)[0]) != wanted + 1:
            raise AssertionError(f"file page {wanted} has lost its content")
        if policy == "volatile":
            guest.essa_page(Orc.SET_VOLATILE, gfn)
        cache[wanted] = gfn
        cache.move_to_end(wanted)
    return _io(guest, 0, reads)

# SPDX-License-Identifier: MIT
"""The two sides of `pgste.live.check`: one operation on the model and on the kernel's memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgste._engine import Guest, Host
from pgste.enums import PteBits
from pgste.live.memory import Advice, Memory, State

__all__ = ["NONE", "PRESENT", "SWAPPED", "Bits", "Kernel", "Model", "Op", "Pages"]

PTE_NONE = 0x400
NONE, PRESENT, SWAPPED = 0, 1, 2
"""Where a page is, in both sides' `residency`."""
ADVICE = {
    "drop": Advice.DONTNEED,
    "page_out": Advice.PAGEOUT,
    "page_in": Advice.POPULATE_READ,
    "willneed": Advice.WILLNEED,
    "cold": Advice.COLD,
}

Pages = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Op:
    """One step: what is done to which pages, in order.

    write: a new tag into the first word and its complement into the last word of each page;
    store: a new tag into the first word, the rest stays; drop: MADV_DONTNEED whatever the
    mechanism is; page_in: MADV_POPULATE_READ; out_in_free: MADV_PAGEOUT, MADV_POPULATE_READ and
    free without a look between them, so that a page may still be under writeback when it is freed;
    of pages that are ordinary and present on both sides only, since of others a page out may
    leave more than one thing.
    """

    kind: str
    gfns: tuple[int, ...]
    tag: int = 0
    """Tag of the first page of a write or store; those after it get the next ones."""

    def __str__(self) -> str:
        runs: list[list[int]] = []
        for gfn in self.gfns:
            if runs and runs[-1][1] + 1 == gfn:
                runs[-1][1] = gfn
            else:
                runs.append([gfn, gfn])
        text = ", ".join(str(a) if a == b else f"{a} .. {b}" for a, b in runs)
        tags = f", tags from {self.tag:#x}" if self.kind in ("write", "store") else ""
        return f"{self.kind} {text}{tags}"


class Model:
    """The model's side: a guest on a host with a frame for every page."""

    def __init__(self, pages: int, mechanism: str, swap: bool) -> None:
        self.host = Host(pages + 8, 8 * pages if swap else 0, low=0, high=8, batch=1)
        self.guest = Guest(pages, host=self.host, mechanism=mechanism)
        self.tail = np.zeros(pages, dtype=np.uint32)
        """Last word of each page; the first one is the model's tag."""
        self.stored = np.zeros(pages, dtype=bool)
        """Stored to since it was last none; only pages without a store may be the zero page."""
        self.refresh()

    def refresh(self) -> None:
        pte = self.guest.pte()
        present = (pte & np.uint64(PteBits.PRESENT)) != 0
        self.residency = np.where(present, PRESENT, np.where(pte == PTE_NONE, NONE, SWAPPED))
        lazy_frames = np.zeros(self.host.frames, dtype=bool)
        lazy_frames[self.host.frame_list("lazyfree")] = True
        self.lazy: Bits = np.zeros(len(pte), dtype=bool)
        frames = (pte[present] >> np.uint64(12)).astype(np.int64)
        self.lazy[present] = lazy_frames[frames]
        self.dirty = self.lazy & ((pte & np.uint64(PteBits.DIRTY)) != 0)
        self.tags = self.guest.peek(slice(None))
        gone = self.residency == NONE
        self.tail[gone] = 0
        self.stored[gone] = False

    def apply(self, op: Op, gfns: Pages) -> None:
        """Everything about which the kernel has no choice."""
        if op.kind in ("write", "store"):
            tags = tags_of(op)
            self.guest.write(gfns, tags)
            self.stored[gfns] = True
            if op.kind == "write":
                self.tail[gfns] = ~tags
        elif op.kind in ("read", "page_in"):
            self.guest.read(gfns)
        elif op.kind in ("free", "out_in_free"):
            self.guest.free(gfns)
        elif op.kind == "alloc":
            self.guest.alloc(gfns)
        elif op.kind == "drop":
            self.guest.set_words(gfns, pte=PTE_NONE)

    def reclaim(self, gfns: Pages) -> None:
        """Follow the kernel: these pages were reclaimed, or re-armed if they were dirty."""
        if gfns.size:
            self.host.swap_out(self.guest, gfns)

    def skip(self, gfns: Pages) -> None:
        """Follow the kernel: MADV_FREE left these pages alone."""
        if gfns.size:
            self.guest.write(gfns, self.guest.peek(gfns))
            self.host.swap_out(self.guest, gfns)  # a dirty lazyfree page becomes an ordinary one


def tags_of(op: Op) -> npt.NDArray[np.uint32]:
    """Tags of a write or store, one for each page, never 0."""
    return (np.arange(len(op.gfns), dtype=np.uint64) + np.uint64(op.tag)).astype(np.uint32)


class Kernel:
    """The kernel's side, and what it shows."""

    def __init__(self, pages: int, mechanism: str, flags: bool) -> None:
        self.memory = Memory(pages, mechanism)
        self.flags = flags
        self.last = self.memory.page_bytes - 4
        self.look()

    def look(self) -> None:
        states = self.memory.states(slice(None), flags=self.flags)
        self.residency = np.where(
            states & State.PRESENT, PRESENT, np.where(states & State.SWAPPED, SWAPPED, NONE)
        )
        self.zero: Bits = (states & State.ZERO) != 0
        self.lazy: Bits = (states & State.LAZYFREE) != 0
        self.cached: Bits = (states & State.SWAPCACHE) != 0
        self.writeback: Bits = (states & State.WRITEBACK) != 0

    def apply(self, op: Op, gfns: Pages) -> None:
        memory = self.memory
        if op.kind in ("write", "store"):
            tags = tags_of(op)
            memory.write(gfns, tags)
            if op.kind == "write":
                memory.write(gfns, ~tags, offset=self.last)
        elif op.kind == "read":
            memory.read(gfns)
        elif op.kind == "free":
            memory.free(gfns)
        elif op.kind == "alloc":
            memory.alloc(gfns)
        elif op.kind == "out_in_free":
            memory.advise(Advice.PAGEOUT, gfns)
            memory.advise(Advice.POPULATE_READ, gfns)
            memory.free(gfns)
        else:
            memory.advise(ADVICE[op.kind], gfns)

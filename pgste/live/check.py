# SPDX-License-Identifier: MIT
"""Conformance: the model of host memory and madvise against the real kernel, page by page.

One random sequence of operations goes through a `pgste.Guest` (the model) and through
`pgste.live.Memory` (the kernel).  After every step each page's residency is compared with what
the pagemap shows, the content of every page in memory with what the model says a load would give,
and, as root, membership of the lazyfree list with ``/proc/kpageflags``.  Content in swap is
compared when it comes back, at the latest at the end of the sequence.

Where the kernel may choose, the model's set of allowed outcomes must contain what happened, and
the model then follows the kernel:

=========================  ==================================================================
operation on a page that   may leave it
=========================  ==================================================================
page out: ordinary         in swap; as it was (never gone; without swap: as it was)
page out: lazyfree, clean  gone; as it was (never in swap)
page out: lazyfree, dirty  as it was, or ordinary again (never gone: no store is lost)
page out: shared zero      as it was
free (MADV_FREE): present  lazyfree; queued to become that, at most `BATCH` pages at a time
free: in the swap cache    the same, and its slot given back; unchanged if it was under writeback
free: shared zero          as it was (it is nobody's page to free)
free, then page out        in swap, if it was not on the lazyfree list by then: the kernel passes
                           over a page that is just on its way between two lists, e.g. since the
                           end of its writeback moved it on another CPU
read: none                 on the shared zero page, or a zeroed page of its own; the model always
                           gives the latter, as KVM on s390x does
all else                   exactly as the model says
=========================  ==================================================================

As root a slot that MADV_FREE keeps is seen: a page on the lazyfree list is never in the swap cache,
and one that was in it and not under writeback has left it.  Frees under writeback are tried for by
an operation of their own (`out_in_free`).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from pgste.errors import ArgumentError, PgsteError, UnknownNameError
from pgste.live.alone import alone
from pgste.live.memory import Memory
from pgste.live.pressure import swap_bytes
from pgste.live.refused import Refused
from pgste.live.sequences import Divergence, random_sequence, shrink
from pgste.live.sides import NONE, PRESENT, SWAPPED, Bits, Kernel, Model, Op, Pages

__all__ = [
    "BATCH",
    "Divergence",
    "Result",
    "check",
    "flags_allowed",
    "one_cpu",
    "random_sequence",
    "run_sequence",
    "shrink",
]

BATCH = 31
"""Pages that a CPU queues before they move between lists (PAGEVEC_SIZE of the kernel)."""
NAMES = {NONE: "none", PRESENT: "present", SWAPPED: "swapped"}


@dataclass
class Result:
    """What a run of the check saw."""

    mechanism: str
    swap: bool
    flags: bool
    """Whether lazyfree membership was compared too (needs root)."""
    seed: int
    page_ops: int = 0
    steps: int = 0
    sequences: int = 0
    compared: int = 0
    """Pages compared: every page after every step."""
    transient: int = 0
    """Steps where the kernel was just migrating a page, and a second look agreed."""
    seconds: float = 0.0
    choices: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(what the model says of a page that was paged out or freed, what the kernel made of it)."""
    divergence: Divergence | None = None


@dataclass(frozen=True)
class Before:
    """What the kernel showed before a free."""

    cached: Bits
    writeback: Bits
    unseen: bool
    """The pages were paged out and in since."""


class Run:
    """One sequence, on fresh memory and a fresh guest."""

    def __init__(self, pages: int, model: str, kernel: str, swap: bool, result: Result) -> None:
        self.pages = pages
        self.model = Model(pages, model, swap)
        self.kernel = Kernel(pages, kernel, result.flags)
        self.swap = swap
        self.result = result

    def close(self) -> None:
        self.kernel.memory.close()
        self.model.host.close()

    def step(self, op: Op) -> tuple[int, str, str] | None:
        """Do one operation on both sides: (gfn, model, kernel) of a divergence, or None."""
        gfns = np.array(op.gfns, dtype=np.int64)
        model, kernel = self.model, self.kernel
        if op.kind == "out_in_free":
            gfns = gfns[self._ordinary()[gfns]]
        self.kernel.apply(op, gfns)
        before = Before(kernel.cached, kernel.writeback, op.kind == "out_in_free")
        lazy = kernel.lazy
        kernel.look()
        model.apply(op, gfns)
        wrong = None
        if op.kind == "page_out":
            wrong = self._follow_page_out(gfns, lazy)
        elif op.kind in ("free", "out_in_free"):
            wrong = self._follow_free(gfns, before)
        model.refresh()
        if wrong:
            return wrong
        wrong = self._compare()
        if wrong and not np.array_equal(kernel.residency, model.residency):
            # A page that the kernel is just moving looks like one in swap.
            time.sleep(0.01)
            kernel.look()
            wrong = self._compare()
            self.result.transient += wrong is None
        return wrong

    def _ordinary(self) -> Bits:
        """Pages that are present on both sides, and on the lazyfree list of neither."""
        model, kernel = self.model, self.kernel
        both = (model.residency == PRESENT) & (kernel.residency == PRESENT)
        ordinary: Bits = both & ~model.lazy & ~kernel.lazy & ~kernel.zero
        return ordinary

    # ---- where the kernel may choose -----------------------------------------------------

    def _follow_page_out(self, gfns: Pages, lazy_before: Bits) -> tuple[int, str, str] | None:
        model, kernel = self.model, self.kernel
        told = np.zeros(self.pages, dtype=bool)
        told[gfns] = True
        told &= model.residency == PRESENT
        zero = told & kernel.zero
        told &= ~zero
        gone = told & (kernel.residency == NONE)
        out = told & (kernel.residency == SWAPPED)
        ordinary = told & ~model.lazy
        clean = told & model.lazy & ~model.dirty
        dirty = told & model.dirty
        # Without kernel flags a re-armed page cannot be told from one that was passed over; the
        # difference shows only if there is swap.
        rearmed = dirty & ~kernel.lazy & ~gone & ~out
        passed_over = out & model.lazy & ~lazy_before
        for pages, text in (
            (ordinary & gone, "an ordinary page goes to swap or stays"),
            (out & (not self.swap), "without swap a page stays or is discarded"),
            (clean & out & ~passed_over, "a clean lazyfree page is discarded or stays"),
            (dirty & gone, "a lazyfree page with a store is never discarded"),
            (dirty & out & ~passed_over, "a lazyfree page with a store stays, re-armed"),
        ):
            if pages.any():
                if bool(swap_bytes()[0]) != self.swap:
                    raise PgsteError("swap was switched on or off on this machine meanwhile")
                gfn = int(np.flatnonzero(pages)[0])
                return gfn, f"{self._model_says(gfn)} ({text})", self._kernel_says(gfn)
        for name, pages in (("ordinary", ordinary), ("lazyfree, clean", clean),
                            ("lazyfree, dirty", dirty), ("shared zero page", zero)):  # fmt: skip
            self._count(f"page out: {name}", "discarded", pages & gone)
            self._count(f"page out: {name}", "to swap", pages & out & ~passed_over)
            self._count(f"page out: {name}", "to swap, its free passed over", pages & passed_over)
            self._count(f"page out: {name}", "re-armed", pages & rearmed)
            self._count(f"page out: {name}", "kept", pages & ~gone & ~out & ~rearmed)
        model.skip(np.flatnonzero(passed_over))
        model.reclaim(np.flatnonzero(gone | out | rearmed))
        return None

    def _follow_free(self, gfns: Pages, before: Before) -> tuple[int, str, str] | None:
        if self.model.guest.mechanism != "madv_free":
            return None
        kernel = self.kernel
        told = np.zeros(self.pages, dtype=bool)
        told[gfns] = True
        told &= (self.model.residency == PRESENT) & (kernel.residency == PRESENT)
        zero = told & kernel.zero
        told &= ~zero
        had_slot = told & (before.cached | before.unseen) & self.swap
        kept = had_slot & kernel.cached & ~kernel.lazy
        self._count("free: shared zero page", "kept", zero)
        if self.result.flags:
            name = "free: just paged out and in" if before.unseen else "free: in the swap cache"
            self._count(name, "passed over, its slot kept", kept)
            self._count(name, "lazyfree, without a slot", had_slot & kernel.lazy)
            self._count(name, "queued, without a slot", had_slot & ~kernel.lazy & ~kept)
            self._count("free: present", "lazyfree", told & ~had_slot & kernel.lazy)
            self._count("free: present", "queued", told & ~had_slot & ~kernel.lazy)
            wrong = kept & ~before.writeback & (not before.unseen)
            if wrong.any():
                gfn = int(np.flatnonzero(wrong)[0])
                rule = "MADV_FREE gives a slot back unless it is just being written to"
                return gfn, f"{self._model_says(gfn)} ({rule})", self._kernel_says(gfn)
        self.model.skip(np.flatnonzero(kept | zero))
        return None

    def _count(self, state: str, outcome: str, pages: Bits) -> None:
        nr = int(np.count_nonzero(pages))
        if nr:
            self.result.choices[state, outcome] += nr

    # ---- comparison ----------------------------------------------------------------------

    def _compare(self) -> tuple[int, str, str] | None:
        model, kernel = self.model, self.kernel
        self.result.compared += self.pages
        bad = model.residency != kernel.residency
        bad |= kernel.zero & model.stored
        if self.result.flags:
            private = (kernel.residency == PRESENT) & ~kernel.zero
            bad |= private & kernel.lazy & (~model.lazy | kernel.cached)
            queued = private & model.lazy & ~kernel.lazy
            if np.count_nonzero(queued) > BATCH:
                bad |= queued
        here = np.flatnonzero(kernel.residency == PRESENT)
        first = kernel.memory.read(here)
        last = kernel.memory.read(here, kernel.last)
        bad[here] |= (first != model.tags[here]) | (last != model.tail[here])
        if not bad.any():
            return None
        gfn = int(np.flatnonzero(bad)[0])
        return gfn, self._model_says(gfn), self._kernel_says(gfn)

    def _model_says(self, gfn: int) -> str:
        model = self.model
        kind = ", lazyfree" if model.lazy[gfn] else ""
        words = f"words {model.tags[gfn]:#x} and {model.tail[gfn]:#x}"
        return f"{NAMES[int(model.residency[gfn])]}{kind}, {words}"

    def _kernel_says(self, gfn: int) -> str:
        kernel = self.kernel
        text = NAMES[int(kernel.residency[gfn])]
        text += ", shared zero page" if kernel.zero[gfn] else ""
        text += ", lazyfree" if kernel.lazy[gfn] else ""
        text += ", in the swap cache" if kernel.cached[gfn] else ""
        if kernel.residency[gfn] == PRESENT:
            first = int(kernel.memory.read(gfn)[0])
            text += f", words {first:#x} and {int(kernel.memory.read(gfn, kernel.last)[0]):#x}"
        return text


# ---- runs -------------------------------------------------------------------------------


def run_sequence(
    ops: Sequence[Op], pages: int, model: str, kernel: str, swap: bool, result: Result
) -> Divergence | None:
    """Run one sequence on fresh memory; at its end every page is read and compared."""
    run = Run(pages, model, kernel, swap, result)
    try:
        for i, op in enumerate([*ops, Op("read", tuple(range(pages)))]):
            wrong = run.step(op)
            if wrong:
                return Divergence((*ops[:i], op), *wrong)
            result.page_ops += len(op.gfns)
            result.steps += 1
    finally:
        run.close()
    return None


def flags_allowed() -> bool:
    """Whether /proc/kpageflags may be read, so that lazyfree pages are told from others."""
    with Memory(1) as memory:
        memory.write(0, 1)
        try:
            memory.states(0, flags=True)
        except Refused:
            return False
    return True


@contextmanager
def one_cpu() -> Iterator[None]:
    """Stay on the CPU where this thread is: the kernel has a queue of pages for each CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def check(
    ops: int = 100_000,
    *,
    swap: bool,
    mechanism: str = "madv_free",
    pages: int = 128,
    steps: int = 200,
    seed: int = 1,
    model_mechanism: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Drive random sequences through model and kernel until `ops` page-operations are done.

    Args:
        ops: page-operations: an operation on n pages counts n.
        swap: whether the machine has swap on; the caller sees to it (`SwapFile`).
        mechanism: what free tells the kernel.
        pages: size of the memory; new for each sequence of `steps` steps.
        seed: the same seed gives the same operations.
        model_mechanism: a wrong model on purpose, to see that the check finds it.
        progress: called with (page-operations done, of).

    Returns the result; its `divergence`, shrunk, is None if there was none.

    Raises `Refused` while another live run is going on.
    """
    if mechanism not in ("none", "madv_free", "madv_dontneed"):
        raise UnknownNameError(f"mechanism: {mechanism!r} is not a mechanism of live memory")
    for name, value in (("ops", ops), ("pages", pages), ("steps", steps)):
        if value < 1:
            raise ArgumentError(f"{name}: {value} is less than 1")
    with alone():
        return _check(ops, swap, mechanism, pages, steps, seed, model_mechanism, progress)


def _check(
    ops: int,
    swap: bool,
    mechanism: str,
    pages: int,
    steps: int,
    seed: int,
    model_mechanism: str | None,
    progress: Callable[[int, int], object] | None,
) -> Result:
    if bool(swap_bytes()[0]) != swap:
        raise ArgumentError(f"swap: {swap}, but the machine has swap {'off' if swap else 'on'}")
    result = Result(mechanism, swap, flags_allowed(), seed)
    model = model_mechanism or mechanism
    started = time.monotonic()
    with one_cpu():
        while result.page_ops < ops and result.divergence is None:
            rng = np.random.default_rng([seed, result.sequences])
            sequence = random_sequence(rng, pages, steps)
            found = run_sequence(sequence, pages, model, mechanism, swap, result)
            result.sequences += 1
            if found:
                result.divergence = shrink(found, _failing(pages, model, mechanism, swap, result))
            if progress:
                progress(min(result.page_ops, ops), ops)
    result.seconds = time.monotonic() - started
    return result


def _failing(
    pages: int, model: str, mechanism: str, swap: bool, result: Result
) -> Callable[[Sequence[Op]], Divergence | None]:
    def fails(ops: Sequence[Op]) -> Divergence | None:
        scratch = Result(mechanism, swap, result.flags, result.seed)
        # What the kernel chooses may differ from try to try.
        for _ in range(3):
            found = run_sequence(ops, pages, model, mechanism, swap, scratch)
            if found:
                return found
        return None

    return fails

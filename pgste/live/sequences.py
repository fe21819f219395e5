# SPDX-License-Identifier: MIT
"""Random sequences for `pgste.live.check`, and the shortest one that still shows a divergence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pgste.live.sides import Op

__all__ = ["WEIGHTS", "Divergence", "random_sequence", "shrink"]

WEIGHTS = {
    "write": 20,
    "store": 10,
    "read": 15,
    "free": 16,
    "out_in_free": 2,
    "alloc": 6,
    "drop": 5,
    "page_out": 16,
    "page_in": 5,
    "willneed": 2,
    "cold": 3,
}
"""Kinds of operation, and how often each comes in a hundred."""


@dataclass(frozen=True)
class Divergence:
    """A page of which the kernel made something that the model does not allow."""

    sequence: tuple[Op, ...]
    """The steps up to the one that shows it."""
    gfn: int
    model: str
    kernel: str

    def __str__(self) -> str:
        steps = "\n".join(f"  {i + 1}. {op}" for i, op in enumerate(self.sequence))
        return f"{steps}\n  page {self.gfn}: model: {self.model}; kernel: {self.kernel}"


def random_sequence(rng: np.random.Generator, pages: int, steps: int) -> list[Op]:
    """Random steps on runs, on scattered pages and on single ones; never a page twice."""
    ops = []
    tag = int(rng.integers(1, 1 << 20)) << 8
    shares = np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
    for kind in rng.choice(list(WEIGHTS), size=steps, p=shares):
        form = rng.integers(4)
        if form == 0:
            gfns = rng.integers(pages, size=1)
        elif form == 1:
            gfns = np.flatnonzero(rng.random(pages) < rng.random())
        else:
            first, end = np.sort(rng.integers(pages + 1, size=2))
            gfns = np.arange(first, end)
        if gfns.size:
            ops.append(Op(str(kind), tuple(gfns.tolist()), tag))
            tag += len(gfns) + 1
    return ops


def shrink(found: Divergence, fails: Callable[[Sequence[Op]], Divergence | None]) -> Divergence:
    """The shortest sequence that still diverges, as far as leaving things out gets.

    First all steps are cut down to the page that diverged, then steps are left out, the larger
    parts first, then pages of the steps that remain.
    """
    best = found
    lone = [
        Op(op.kind, (found.gfn,), op.tag + op.gfns.index(found.gfn))
        for op in found.sequence
        if found.gfn in op.gfns
    ]
    best = fails(lone) or best
    part = len(best.sequence) // 2
    while part:
        start = 0
        while start < len(best.sequence):
            rest = [*best.sequence[:start], *best.sequence[start + part :]]
            shorter = fails(rest) if rest else None
            if shorter and len(shorter.sequence) < len(best.sequence):
                best = shorter
            else:
                start += part
        part //= 2
    i = 0
    while i < len(best.sequence):
        for gfns in _smaller(best.sequence[i].gfns, best.gfn):
            ops = list(best.sequence)
            ops[i] = Op(ops[i].kind, gfns, ops[i].tag)
            smaller = fails(ops)
            if smaller and len(smaller.sequence) <= len(best.sequence):
                best = smaller
                break
        else:
            i += 1
    return best


def _smaller(gfns: tuple[int, ...], gfn: int) -> Iterator[tuple[int, ...]]:
    """Fewer pages of a step: the one page, then all but an eighth of them."""
    if len(gfns) > 1 and gfn in gfns:
        yield (gfn,)
    part = max(len(gfns) // 8, 1)
    for start in range(0, len(gfns), part):
        if rest := gfns[:start] + gfns[start + part :]:
            yield rest

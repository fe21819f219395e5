# SPDX-License-Identifier: MIT
"""Kernel-format words: composed from the packed state, and taken apart again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest


@pytest.mark.most(24)
@pytest.mark.parametrize("what", ["pgste", "pte"])
def bench_compose(measure: Measure, exponent: int, what: str) -> None:
    pages = 1 << exponent
    guest = Guest(pages)
    words = workloads.tile("swapping")
    workloads.load(guest, words)
    expected = words.pgste if what == "pgste" else words.pte
    bare = limits.load()
    beside = np.ones(8 * pages, np.uint8)

    def check(answer: np.ndarray) -> None:
        assert (answer.reshape(-1, workloads.TILE) == expected).all()

    measure(
        Plan(
            guest.pgste if what == "pgste" else guest.pte,
            items=pages,
            bytes=8 * pages,
            check=check,
            limits={"plain write": Limit(lambda: bare.write(beside, 1), pages)},
            series=f"compose {what}",
        )
    )


@pytest.mark.most(24)
def bench_load(measure: Measure, exponent: int) -> None:
    """New PGSTEs for every page."""
    pages = 1 << exponent
    guest = Guest(pages)
    both = [np.resize(words, pages) for words in (workloads.tile("swapping").pgste, np.uint64(0))]
    bare = limits.load()
    beside = np.ones(8 * pages, np.uint8)

    def check(_: object) -> None:
        assert np.array_equal(guest.pgste(), both[0])

    measure(
        Plan(
            lambda: guest.set_words(range(pages), pgste=both[0]),
            items=pages,
            bytes=8 * pages,
            prepare=lambda: guest.set_words(range(pages), pgste=both[1]),
            check=check,
            limits={"plain read": Limit(lambda: bare.read(beside), pages)},
        )
    )

# SPDX-License-Identifier: MIT
"""Two virtual CPUs on two threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Orc


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core only")
@pytest.mark.parametrize("mix", ["resident", "mixed"])
def bench_two_vcpus(measure: Measure, mix: str, short: bool) -> None:
    """ESSA on random pages, one half for each vcpu; against one vcpu that does both halves."""
    pages = 1 << (20 if short else 24)
    words = workloads.tile(mix)
    guest = Guest(pages, vcpus=2)
    workloads.load(guest, words)
    gfns = workloads.random_gfns(pages, pages)  # long enough to be spread over the cores
    halves = gfns[: gfns.size // 2], gfns[gfns.size // 2 :]
    expected = guest.essa(Orc.GET_STATE, gfns)
    pool = ThreadPoolExecutor(2)

    def prepare() -> None:
        guest.intercept(1)
        workloads.reload(guest, words, gfns)

    def one() -> object:
        return [guest.essa(Orc.SET_UNUSED, half, vcpu=0) for half in halves]

    def two() -> object:
        parts = [pool.submit(guest.essa, Orc.SET_UNUSED, half, i) for i, half in enumerate(halves)]
        return [part.result() for part in parts]

    def check(results: list[np.ndarray]) -> None:
        assert np.array_equal(np.concatenate(results), expected)

    bar = Bar("two vcpus on two threads, against one", limit="one vcpu", at_least=1.8)
    with pool:
        measure(
            Plan(
                two,
                items=gfns.size,
                pages=pages,
                prepare=prepare,
                check=check,
                limits={"one vcpu": Limit(one, gfns.size, prepare)},
                bars=[bar] if mix == "resident" else [],
            )
        )

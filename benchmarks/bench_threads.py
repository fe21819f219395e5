# SPDX-License-Identifier: MIT
"""Two virtual CPUs on two threads, and what this machine has for two threads at all."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import cores, limits, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Orc


@cores.two_cores
@pytest.mark.parametrize("mix", ["resident", "mixed"])
def bench_two_vcpus(measure: Measure, mix: str, short: bool) -> None:
    """ESSA on random pages, one half for each vcpu; against one vcpu that does both halves."""
    pages = 1 << (20 if short else 24)
    words = workloads.tile(mix)
    guest = Guest(pages, vcpus=2)
    workloads.load(guest, words)
    gfns = workloads.random_gfns(pages, pages)  # long enough to be spread over the cores
    halves = np.split(gfns, 2)
    outs = np.split(np.zeros(gfns.size, np.uint8), 2)
    expected = guest.essa(Orc.GET_STATE, gfns)

    def prepare() -> None:
        guest.intercept(1)
        workloads.reload(guest, words, gfns)
        for out in outs:
            out.fill(0xFF)

    def of_half(i: int, vcpu: int) -> np.ndarray:
        return guest.essa(Orc.SET_UNUSED, halves[i], vcpu, out=outs[i])

    def one() -> object:
        return [of_half(0, 0), of_half(1, 0)]

    def two() -> list[np.ndarray]:
        return cores.at_once(lambda: of_half(0, 0), lambda: of_half(1, 1))

    def check(results: list[np.ndarray]) -> None:
        assert np.array_equal(np.concatenate(results), expected)

    bar = Bar("two vcpus on two threads, against one", limit="one vcpu", at_least=1.8)
    measure(
        Plan(
            two,
            items=gfns.size,
            pages=pages,
            prepare=prepare,
            check=check,
            limits={"one vcpu": Limit(one, gfns.size, prepare)},
            gauges=cores.GAUGES,
            bars=[bar] if mix == "resident" else [],
            rounds=9,
        )
    )


@cores.two_cores
def bench_two_spins(measure: Measure) -> None:
    """Arithmetic without memory on two threads, against one: the cores that the machine lends."""
    expected = cores.spin(1)

    def check(answer: object) -> None:
        assert answer == expected

    measure(
        Plan(
            lambda: cores.spin(2),
            items=cores.SPIN_STEPS,
            unit="step",
            check=check,
            limits={"one thread": Limit(lambda: cores.spin(1), cores.SPIN_STEPS)},
        )
    )


@cores.two_cores
def bench_two_reads(measure: Measure, short: bool) -> None:
    """A plain read by two threads, against one: what memory has left for a second thread."""
    data = np.ones(1 << (22 if short else 28), np.uint8)
    one, two = cores.read_limits(data).values()
    half = limits.load().read(data[: data.size // 2])

    def check(answer: object) -> None:
        assert answer == [half, half]

    measure(
        Plan(
            two.run,
            items=data.size,
            unit="byte",
            bytes=data.size,
            check=check,
            limits={"one thread": one},
            gauges=cores.GAUGES,
        )
    )

# SPDX-License-Identifier: MIT
"""Two virtual CPUs on two threads, and what this machine has for two threads at all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import cores, limits, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Host, Orc

Half = Callable[[Guest, int, int], object]


class Halves:
    """What a vcpu does to one half of the pages, by name; every pass changes each page again."""

    def __init__(self, pages: int, mixed: bool) -> None:
        gfns = workloads.random_gfns(pages, pages)
        lower = gfns < pages // 2
        self.gfns = np.split(gfns, 2) if mixed else [gfns[lower], gfns[~lower]]
        self.ranges = range(pages // 2), range(pages // 2, pages)
        self.outs = np.split(np.zeros(pages, np.uint8), 2)
        self.passes: Counter[tuple[int, int]] = Counter()

    def second(self, guest: Guest, i: int) -> bool:
        """Whether this is every other pass of the guest over half i."""
        self.passes[id(guest), i] += 1
        return self.passes[id(guest), i] % 2 == 0

    def essa(self, guest: Guest, i: int, vcpu: int) -> None:
        orc = Orc.SET_STABLE if self.second(guest, i) else Orc.SET_UNUSED
        guest.essa(orc, self.gfns[i], vcpu, out=self.outs[i])

    def essa_range(self, guest: Guest, i: int, vcpu: int) -> None:
        orc = Orc.SET_STABLE if self.second(guest, i) else Orc.SET_UNUSED
        guest.essa(orc, self.ranges[i], vcpu, out=self.outs[i])

    def free_alloc(self, guest: Guest, i: int, vcpu: int) -> None:
        guest.free(self.gfns[i], vcpu=vcpu)
        guest.alloc(self.gfns[i], vcpu=vcpu)

    def free_alloc_range(self, guest: Guest, i: int, vcpu: int) -> None:
        guest.free(self.ranges[i], vcpu=vcpu)
        guest.alloc(self.ranges[i], vcpu=vcpu)

    def set_key(self, guest: Guest, i: int, vcpu: int) -> None:
        guest.set_storage_key(self.gfns[i], 0x50 if self.second(guest, i) else 0x36, vcpu=vcpu)

    def set_key_range(self, guest: Guest, i: int, vcpu: int) -> None:
        guest.set_storage_key(self.ranges[i], 0x50 if self.second(guest, i) else 0x36, vcpu=vcpu)

    def insert_key(self, guest: Guest, i: int, vcpu: int) -> None:
        guest.insert_storage_key(self.ranges[i], vcpu=vcpu)

    def cond_set_key(self, guest: Guest, i: int, vcpu: int) -> None:
        key = 0x50 if self.second(guest, i) else 0x36
        guest.cond_set_storage_key(self.ranges[i], key, True, False, vcpu=vcpu)

    def reset_reference(self, guest: Guest, i: int, vcpu: int) -> None:
        guest.reset_reference(self.ranges[i], vcpu=vcpu)


OPERATIONS = [name for name in vars(Halves) if name not in ("second",) and name[0] != "_"]
ESSAS = [name for name in OPERATIONS if "essa" in name or "free" in name]
# A call of a few milliseconds tells of how a thread is woken and of the core that it is put on,
# so each is of some passes; ranges of ESSA are done in less than one.  An odd number, so that
# the pages are changed when the check looks at them after every other call.
PASSES = 9
PASSES_QUICK = 33
QUICK = {"essa_range", "free_alloc_range"}


def shared_guest(pages: int, generation: str, interpreted: bool, vcpus: int) -> Guest:
    """All pages are mapped, so that a host of few swap slots will do."""
    guest = Guest(
        pages,
        Host(pages, 16),
        vcpus=vcpus,
        generation=generation,
        storage_keys=True,
        interpretation=interpreted,
    )
    guest.write(slice(None), 1)
    return guest


class Seconds:
    """CPU seconds of threads: what two vcpus take more than one, whatever the machine lends."""

    def __init__(self, call: Half) -> None:
        self.call = call
        self.one = self.two = 0.0

    def timed(self, guest: Guest, i: int, vcpu: int) -> float:
        start = time.thread_time()
        self.call(guest, i, vcpu)
        return time.thread_time() - start

    def with_one(self, guest: Guest) -> None:
        self.one = sum(cores.at_once(lambda: sum(self.timed(guest, i, 0) for i in (0, 1))))

    def with_two(self, guest: Guest) -> None:
        two = cores.at_once(lambda: self.timed(guest, 0, 0), lambda: self.timed(guest, 1, 1))
        self.two = sum(two)

    def gain(self) -> float:
        return 2 * self.one / self.two if self.two else 2.0


@cores.two_cores
@pytest.mark.parametrize("path", ["pgtable", "dat", "interpreted"])
@pytest.mark.parametrize("name", [*OPERATIONS, "essa_mixed", "free_alloc_mixed"])
def bench_two_vcpus(measure: Measure, name: str, path: str, short: bool) -> None:
    """Two vcpus of a guest, a thread and a half of the pages each; against one that does both.

    "mixed" are pages of two threads in the same cache lines, which then go from core to core.

    "two guests" are as many threads that share nothing, and "plain" a guest of one vcpu, which
    needs no atomic operation.
    """
    operation, mixed = name.removesuffix("_mixed"), name.endswith("_mixed")
    if path == "interpreted" and operation not in ESSAS:
        pytest.skip("keys have one path")
    pages = 1 << (16 if short else 20)
    generation = "dat" if path == "dat" else "pgtable"
    halves = Halves(pages, mixed)
    once: Half = getattr(halves, operation)
    quick = operation in QUICK and path != "interpreted"
    passes = PASSES_QUICK if quick else PASSES

    def call(guest: Guest, i: int, vcpu: int) -> None:
        for _ in range(passes):
            once(guest, i, vcpu)

    shared, left, right = (
        shared_guest(pages, generation, path == "interpreted", 2) for _ in range(3)
    )
    plain = shared_guest(pages, generation, path == "interpreted", 1)
    seconds = Seconds(call)

    def both_of_plain() -> None:
        for i in (0, 1):
            call(plain, i, 0)

    def check(_: object) -> None:
        """A guest of one vcpu that had as many passes is the same."""
        shared.host.validate()
        for i in (0, 1):
            while halves.passes[id(plain), i] < halves.passes[id(shared), i]:
                call(plain, i, 0)
        plain_keys, keys = plain.get_storage_key(slice(None)), shared.get_storage_key(slice(None))
        assert np.array_equal(plain.states(), shared.states())
        assert np.array_equal(plain_keys, keys)

    items = pages * passes
    bar = Bar("two vcpus on two threads, against one", limit="one vcpu", at_least=1.8)
    measure(
        Plan(
            lambda: seconds.with_two(shared),
            items=items,
            pages=pages,
            check=check,
            limits={
                "one vcpu": Limit(lambda: seconds.with_one(shared), items),
                "two guests": Limit(
                    lambda: cores.at_once(lambda: call(left, 0, 0), lambda: call(right, 1, 1)),
                    items,
                ),
                "plain": Limit(both_of_plain, items),
            },
            gauges={**cores.GAUGES, "gain by CPU time": seconds.gain},
            bars=[] if mixed else [bar],
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

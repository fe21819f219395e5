# SPDX-License-Identifier: MIT
"""Virtual CPUs on threads of their own with all that they do, and a host beside them.

What must hold of any such run: an answer is one that some order of the calls gives, nothing is
lost, and nothing is given up twice.  docs/vcpus.md; the C tests of the same are
`tests/c/test_vcpus.c` and, with an order for each page, `tests/c/test_linear.c`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from together import run_together

import pgste
from pgste import Guest, Host, Orc, State

TIMEOUT = 120
_run = partial(run_together, seconds=TIMEOUT)

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("quick_switches")]
ACC_F, R, C = 0xF8, 0x04, 0x02
Keys = npt.NDArray[np.uint8]
GENERATIONS = ("pgtable", "dat")


def whole(acc: npt.ArrayLike) -> Keys:
    """Keys all of which follows from ACC: a key with parts of two is seen to be torn."""
    acc = np.asarray(acc, np.uint8) & 15
    f = np.where(acc * 7 >> 1 & 1, 8, 0)
    r = np.where(acc & 2, R, 0)
    c = np.where((acc ^ acc >> 2) & 1, C, 0)
    return (acc << 4 | f | r | c).astype(np.uint8)


def assert_whole(keys: Keys) -> None:
    """R comes and goes by itself."""
    assert (((keys ^ whole(keys >> 4)) & ~np.uint8(R)) == 0).all()


# ---- key operations


@pytest.mark.parametrize("generation", GENERATIONS)
def test_keys_are_whole(generation: str) -> None:
    """Two vcpus and the hypervisor set and look at keys of the same pages."""
    pages, rounds = 512, 300
    guest = Guest(pages, vcpus=2, generation=generation, storage_keys=True)
    guest.read(range(0, pages, 2))
    guest.set_storage_key(slice(None), whole(np.arange(pages)))

    def body(vcpu: int | None) -> None:
        rng = np.random.default_rng(vcpu or 9)
        for _ in range(rounds):
            gfns = rng.integers(0, pages, 300)
            keys = whole(rng.integers(0, 16, gfns.size))
            guest.set_storage_key(gfns, keys, vcpu=vcpu)
            assert_whole(guest.get_storage_key(gfns))
            rcs, old = guest.cond_set_storage_key(gfns, keys, True, False, vcpu=vcpu)
            assert (rcs <= 1).all()
            assert_whole(old)
            assert_whole(guest.insert_storage_key(gfns, vcpu=vcpu))
            assert (guest.reset_reference(gfns, vcpu=vcpu) <= 3).all()

    _run(partial(body, 0), partial(body, 1), partial(body, None))
    assert_whole(guest.get_storage_key(slice(None)))
    mapped = np.arange(0, pages, 2)
    frames = guest.pte(mapped) >> np.uint64(12)
    in_pgste = (guest.pgste(mapped) >> np.uint64(56)).astype(np.uint8)
    assert (((guest.host.frame_key(frames) ^ in_pgste) & ACC_F) == 0).all()
    guest.host.validate()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_keys_are_enabled_once(generation: str) -> None:
    """Of vcpus that are the first to use keys one enables them, and no key is reset after that."""
    pages = 1 << 12
    for turn in range(30):
        guest = Guest(pages, vcpus=3, generation=generation)
        start = threading.Barrier(3)

        def body(vcpu: int, guest: Guest = guest, start: threading.Barrier = start) -> None:
            start.wait(TIMEOUT)
            guest.set_storage_key(range(vcpu, pages, 3), 0x10 * (vcpu + 1), vcpu=vcpu)

        assert not guest.uses_storage_keys
        _run(*(partial(body, vcpu) for vcpu in range(3)))
        assert guest.uses_storage_keys, turn
        keys = guest.get_storage_key(slice(None))
        assert (keys == 0x10 * (np.arange(pages) % 3 + 1)).all()


def test_what_a_vcpu_executes_is_refused_to_one_in_problem_state() -> None:
    guest = Guest(64, vcpus=2, storage_keys=True)
    guest.set_problem_state(1, True)
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            guest.set_storage_key(range(64), 0x30, vcpu=0)
            guest.set_storage_key(range(64), 0x30)

    def refused() -> None:
        try:
            for _ in range(200):
                with pytest.raises(pgste.PrivilegedOperationException):
                    guest.set_storage_key(range(64), 0x40, vcpu=1)
        finally:
            stop.set()

    _run(go_on, refused)
    assert (guest.get_storage_key(range(64)) == 0x30).all()


def test_long_key_calls_let_others_in() -> None:
    """They rest, and what becomes of the guest meanwhile ends them with the right error."""
    pages = 1 << 16
    guest = Guest(pages, vcpus=2, storage_keys=True)
    gfns = np.tile(np.arange(pages), 64)
    stop = threading.Event()
    got_in = 0

    def long_calls() -> None:
        while not stop.is_set():
            guest.set_storage_key(gfns, 0x30, vcpu=0)
            guest.get_storage_key(gfns)

    def others() -> None:
        nonlocal got_in
        try:
            for _ in range(20):
                started = time.perf_counter()
                guest.stats()
                got_in += time.perf_counter() - started < 1
        finally:
            stop.set()

    _run(long_calls, others)
    assert got_in > 15

    def end() -> None:
        time.sleep(0.02)
        guest.close()

    def use() -> None:
        reset = partial(guest.reset_reference, gfns, vcpu=1)
        with pytest.raises(pgste.GuestClosedError):
            any(reset() is None for _ in itertools.count())

    _run(end, use)


def test_a_page_is_opened_while_a_key_call_rests() -> None:
    pages = 1 << 12
    guest = Guest(pages, vcpus=2, storage_keys=True)
    gfns = np.tile(np.arange(pages), 256)

    def use() -> None:
        set_keys = partial(guest.set_storage_key, gfns, 0x30, vcpu=0)
        with pytest.raises(pgste.StateError, match="modify_prot_start"):
            any(set_keys() for _ in itertools.count())

    def open_one() -> None:
        time.sleep(0.02)
        guest.modify_prot_start(7)

    _run(use, open_one)
    guest.modify_prot_commit(7, 0x400)
    guest.set_storage_key(gfns, 0x30, vcpu=0)


# ---- everything at once


class Machine:
    """A guest of several vcpus that migrates, and threads that do all that can be done."""

    vcpus = 3
    pages = 2048
    keyed = range(1792, 2048)  # nobody stores here

    def __init__(self, generation: str, seconds: float) -> None:
        self.host = Host(1500, 2 * self.pages, low=8, high=64)
        self.guest = Guest(
            self.pages,
            self.host,
            vcpus=self.vcpus,
            generation=generation,
            nodat=True,
            storage_keys=True,
            cbrl_entries=37,
        )
        self.deadline = time.monotonic() + seconds
        self.counts = [dict.fromkeys(("essa", "freed", "allocated"), 0) for _ in range(3)]
        self.running = self.vcpus
        self.lock = threading.Lock()
        self.target = np.zeros(self.pages, np.uint8)
        self.reads = 0
        self.guest.set_storage_key(self.keyed, whole(np.arange(len(self.keyed))))
        self.guest.essa_page(Orc.GET_STATE, 0)
        for slot in range(len(self.guest.slots)):
            self.guest.set_dirty_logging(slot, True)
        self.guest.start_migration()
        self.guest.reset_stats()

    def vcpu(self, vcpu: int) -> None:
        rng, count, guest = np.random.default_rng(vcpu), self.counts[vcpu], self.guest
        try:
            while time.monotonic() < self.deadline:
                gfns = rng.integers(0, self.pages, 500)
                guest.free(gfns, vcpu=vcpu)
                guest.essa(int(rng.integers(8)), gfns, vcpu)
                guest.alloc(gfns[:200], vcpu=vcpu)
                guest.essa_page(Orc.SET_UNUSED, int(gfns[0]), vcpu)
                guest.intercept(vcpu)
                count["freed"] += gfns.size
                count["allocated"] += 200
                count["essa"] += 2 * gfns.size + 201
                self.use_keys(rng, gfns, vcpu)
        finally:
            with self.lock:
                self.running -= 1

    def use_keys(self, rng: np.random.Generator, gfns: npt.NDArray[np.int64], vcpu: int) -> None:
        guest = self.guest
        keyed = rng.integers(self.keyed.start, self.keyed.stop, 100)
        guest.set_storage_key(keyed, whole(rng.integers(0, 16, 100)), vcpu=vcpu)
        assert_whole(guest.insert_storage_key(keyed, vcpu=vcpu))
        guest.reset_reference(gfns, vcpu=vcpu)
        others = gfns[gfns < self.keyed.start]
        guest.cond_set_storage_key(others, int(rng.integers(256)), False, True, vcpu=vcpu)

    def beside(self, body: Callable[[np.random.Generator], object]) -> Callable[[], None]:
        def forever() -> None:
            rng = np.random.default_rng(99)
            while self.running:
                body(rng)

        return forever

    def reclaim(self, rng: np.random.Generator) -> None:
        first = int(rng.integers(self.keyed.start))
        self.guest.write(range(first, min(first + 300, self.keyed.start)), int(rng.integers(9)))
        self.guest.read(range(self.keyed.start, self.keyed.start + int(rng.integers(256))))
        self.host.reclaim(int(rng.integers(64)))
        self.host.swap_out(self.guest, rng.integers(0, self.pages, 200))

    def process(self, rng: np.random.Generator) -> None:
        self.guest.zap_scan()
        self.guest.intercept(int(rng.integers(self.vcpus)))
        self.host.validate()

    def read_log(self, _: object = None) -> int:
        """A block; from v7.0 on one page, as clean pages in the gaps of a block are 0 there."""
        for start in (0,) if self.guest.generation == "pgtable" else range(0, self.pages, 64):
            room = self.pages if self.guest.generation == "pgtable" else 1
            bits = self.guest.get_cmma_bits(start, room)
            self.target[bits.start_gfn : bits.start_gfn + bits.count] = bits.values
            self.reads += bits.count
        return int(bits.remaining)

    def check_counts(self) -> None:
        guest, stats, host = self.guest, self.guest.stats(), self.host.stats()
        for name, stat in (
            ("essa", "essa"),
            ("freed", "pages_freed"),
            ("allocated", "pages_allocated"),
        ):
            assert sum(count[name] for count in self.counts) == stats[stat]
        pending = sum(len(guest.cbrl(vcpu)) for vcpu in range(self.vcpus))
        assert stats["appended"] == stats["processed"] + pending
        assert stats["zapped"] == stats["zap_slots_freed"]
        marked = stats["pages_freed"] - stats["double_frees"]
        marked -= stats["pages_allocated"] - stats["double_allocs"]
        assert guest.is_free().sum() == marked
        used = host["swap_slots"] - host["swap_slots_free"]
        cached = used - guest.find(State.SWAP, State.SWAP).size  # of pages that were loaded again
        assert 0 <= cached <= host["swap_slots_cached"]

    def check_log(self) -> None:
        """Nothing is lost: once the log is empty, the target has what the guest has."""
        guest = self.guest
        dirty = guest.find(State.DIRTY, State.DIRTY).size
        assert guest.dirty_count == dirty
        while guest.dirty_count:
            before = guest.dirty_count
            assert self.read_log() == guest.dirty_count < before
        states = guest.states()
        nodat = np.where(states & State.NODAT, 0x40, 0)
        assert np.array_equal(self.target, states & State.USAGE | nodat)

    def check_keys(self) -> None:
        assert_whole(self.guest.get_storage_key(self.keyed))
        valid = self.guest.find(State.VALID, State.VALID)
        frames = self.guest.pte(valid) >> np.uint64(12)
        in_pgste = (self.guest.pgste(valid) >> np.uint64(56)).astype(np.uint8)
        assert (((self.host.frame_key(frames) ^ in_pgste) & ACC_F) == 0).all()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_everything_at_once(generation: str) -> None:
    """ESSA, free, alloc and keys; stores, reclaim, zaps, lists and the log beside them."""
    machine = Machine(generation, 3)
    _run(
        *(partial(machine.vcpu, vcpu) for vcpu in range(machine.vcpus)),
        machine.beside(machine.reclaim),
        machine.beside(machine.process),
        machine.beside(machine.read_log),
    )
    stats = machine.guest.stats()
    print(f"{stats['essa']} ESSAs, {stats['zapped']} zaps, {machine.reads} values of the log")
    assert stats["zapped"]
    assert machine.reads
    assert machine.host.stats()["swap_outs"]
    machine.host.validate()
    machine.check_counts()
    machine.check_log()
    machine.check_keys()
    machine.host.validate()

# SPDX-License-Identifier: MIT
"""Live memory that others close, or whose arrays others change, during a call: never a crash.

Each case runs in a process of its own, as a touch of memory that is gone would end it.
"""

from __future__ import annotations

from functools import partial

import pytest

from robust import beside

PROLOGUE = """
import os, threading, time
import numpy as np
import pgste
from pgste._engine import live
from pgste.errors import ChangedError, GfnError, GuestClosedError
from pgste.live import Advice, Memory
from robust.beside import overwriting, while_it_changes

N = 1 << 12
RANDOM = np.random.default_rng(2019)


class Closer:
    '''A number that closes the memory when it is read.'''
    def __init__(self, memory, value=0):
        self.memory, self.value = memory, value
    def __index__(self):
        self.memory.close()
        return self.value


class ClosingArray:
    '''An array that closes the memory when it is read.'''
    def __init__(self, memory):
        self.memory = memory
    def __array__(self, dtype=None, copy=None):
        self.memory.close()
        return np.zeros(4, dtype=np.int64)
"""

CALLS = {
    "write": "memory.write({}, 7)",
    "read": "memory.read({})",
    "words": "memory.words({}, 8)",
    "free": "memory.free({})",
    "alloc": "memory.alloc({})",
    "advise": "memory.advise(Advice.COLD, {})",
    "page_out": "memory.page_out({})",
    "states": "memory.states({})",
    "mincore": "memory.mincore({})",
}


run = partial(beside.run, PROLOGUE)


@pytest.mark.parametrize("argument", ["Closer(memory)", "ClosingArray(memory)"])
@pytest.mark.parametrize("name", CALLS)
def test_an_argument_that_closes_it(name: str, argument: str) -> None:
    run(f"""
        memory = Memory(N)
        memory.write(slice(None), 1)
        try:
            {CALLS[name].format(argument)}
        except GuestClosedError:
            pass
        else:
            raise SystemExit("it was closed, and nobody said so")
    """)


@pytest.mark.parametrize(
    "call",
    [
        "memory._map.advise(0, Advice.COLD, Closer(memory))",
        "memory._map.advise(0, Closer(memory, 20))",
        "memory._map.store(0, np.ones(1, np.uint32), Closer(memory))",
        "memory._map.load(0, Closer(memory, 1))",
        "memory._map.load(Closer(memory))",
        "memory._map.blocks(Closer(memory), 1)",
        "memory.write(0, 1, offset=Closer(memory))",
    ],
)
def test_other_arguments_that_close_it(call: str) -> None:
    run(f"""
        memory = Memory(N)
        try:
            {call}
        except (GuestClosedError, TypeError):
            pass
    """)


@pytest.mark.parametrize("name", CALLS)
def test_close_beside_a_thread_that_is_in_a_call(name: str) -> None:
    out = run(f"""
        gfns = RANDOM.permutation(N)
        refused = 0
        for round in range(30):
            memory = Memory(N)
            entered = threading.Event()
            ends = []

            def work():
                try:
                    while True:
                        entered.set()
                        {CALLS[name].format("gfns")}
                except GuestClosedError:
                    ends.append(True)

            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            entered.wait()
            time.sleep(0.0005 * (round % 5))
            memory.close()
            for thread in threads:
                thread.join()
            refused += len(ends)
        print(refused)
    """)
    assert out == "60\n", "each thread was told that the memory is closed"


@pytest.mark.parametrize("name", CALLS)
def test_gfns_that_change(name: str) -> None:
    run(f"""
        memory = Memory(N)
        gfns = RANDOM.integers(0, N, 8 * N, dtype=np.int64)
        errors = ChangedError, GfnError
        while_it_changes(lambda: {CALLS[name].format("gfns")}, gfns, 2**63 - 1, 20, errors)
    """)


def test_tags_that_change_give_a_mix() -> None:
    run("""
        memory = Memory(N)
        tags = np.full(N, 3, dtype=np.uint32)
        with overwriting(tags, 5):
            for _ in range(50):
                memory.write(slice(None), tags)
                assert set(memory.read(slice(None)).tolist()) <= {3, 5}
    """)


def test_what_a_call_returned_stays_after_close() -> None:
    """No array is a view of the mapping."""
    run("""
        memory = Memory(N)
        memory.write(slice(None), 9)
        kept = [memory.read(slice(None)), memory.states(), memory.mincore(), memory.is_free()]
        memory.close()
        assert (kept[0] == 9).all()
        for array in kept:
            array[:] = 0
        for mapping in (memory, memory._map):
            try:
                memoryview(mapping)
            except TypeError:
                continue
            raise SystemExit("a buffer of a live mapping")
    """)


def test_a_replay_in_two_threads_and_its_memory_closed() -> None:
    """The run that is pending is of both threads; torn, it would be madvise of another range."""
    run("""
        for round in range(20):
            mapping = live.Mapping(N)
            replay = live.Replay(mapping, np.ones(N, np.uint8), int(Advice.DONTNEED))
            gfns = np.arange(N, dtype=np.uint64)
            free, alloc = gfns << np.uint64(8) | np.uint64(1), gfns << np.uint64(8)
            ends = []

            def work():
                try:
                    while True:
                        replay.run(np.concatenate([free, alloc]), False)
                except GuestClosedError:
                    ends.append(True)

            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            time.sleep(0.01)
            mapping.close()
            for thread in threads:
                thread.join()
            assert len(ends) == 2
    """)


def test_events_that_change() -> None:
    run("""
        mapping = live.Mapping(N)
        replay = live.Replay(mapping, np.ones(N, np.uint8), -1)
        events = np.ones(8 * N, dtype=np.uint64)
        while_it_changes(lambda: replay.run(events, True), events, 2**64 - 1, 50, (ValueError,))
    """)


def test_objects_made_twice_or_never() -> None:
    run("""
        mapping = live.Mapping(N)
        replay = live.Replay(mapping, np.ones(N, np.uint8), -1)
        mapping.close()
        for again in (lambda: mapping.__init__(1), lambda: replay.__init__(mapping, [1], -1)):
            try:
                again()
            except (RuntimeError, ValueError):
                continue
            raise SystemExit("made twice")
        for never in (live.Mapping.__new__(live.Mapping).count,
                      live.Replay.__new__(live.Replay).setup):
            try:
                never()
            except GuestClosedError:
                continue
            raise SystemExit("used without having been made")
    """)


def test_a_child_that_closes_it_unmaps_nothing_of_its_own() -> None:
    """The mapping is not in the child, so that its addresses may be those of something else."""
    run("""
        import ctypes
        memory = Memory(N)
        child = os.fork()
        if child == 0:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.mmap.restype = ctypes.c_void_p
            libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3,
                                  ctypes.c_long]
            # MAP_FIXED_NOREPLACE | MAP_ANONYMOUS | MAP_PRIVATE where the parent's memory is
            at = libc.mmap(memory.address, 4096, 3, 0x100022, -1, 0)
            try:
                memory._map.count()
            except pgste.PgsteError as error:
                said = str(error)
            memory.close()
            ctypes.memset(at, 1, 4096)  # a touch of what is not there ends the child
            os._exit(0 if at == memory.address and "child" in said else 1)
        assert os.waitpid(child, 0)[1] == 0
    """)

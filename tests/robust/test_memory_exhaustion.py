# SPDX-License-Identifier: MIT
"""When memory runs out: a MemoryError of some kind, nothing half done, and all of it usable.

Each case runs in a process of its own, in which the address space ends a little further each
time (RLIMIT_AS), from nothing at all up to where the call has all it needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    "PGSTE_SANITIZED" in os.environ, reason="the sanitizers take terabytes of address space"
)

PROLOGUE = """
import bz2, ctypes, gc, gzip, lzma, resource
import numpy as np
import pgste

MIB = 1 << 20
TRIM = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)
_, HARD = resource.getrlimit(resource.RLIMIT_AS)


def address_space():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def limited(call, extra):
    '''Whether the call got through with so many bytes more; only a MemoryError is let pass.'''
    gc.collect()
    TRIM(0)  # what is free already would be had without asking
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + extra, HARD))
    try:
        call()
        return True
    except MemoryError:
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, HARD))


def sweep(call, after, most, steps=24):
    '''Refused at first, done at last, and good afterwards each time.'''
    done = []
    for step in range(steps + 1):
        done.append(limited(call, most * step // steps // 4096 * 4096))
        after(done[-1])
    print(done.count(False), "of", len(done), "refused")
    assert done[-1], "not done with all that memory"
    return done


def state(*guests):
    seen = []
    for guest in guests:
        host = guest.host
        seen += [guest.pgste().tobytes(), guest.pte().tobytes(), guest.states().tobytes()]
        seen += [guest.is_free().tobytes(), guest.peek(slice(None)).tobytes()]
        seen += [guest.cbrl().tobytes(), guest.stats(), host.stats()]
        seen += [host.frame_list(name).tobytes() for name in ("active", "inactive", "lazyfree")]
    return seen


def works(guest):
    '''A guest that can be used for all it is for.'''
    guest.host.validate()
    guest.alloc(0)
    guest.write(0, 7)
    assert guest.read(0)[0] == 7
    guest.host.swap_out(guest, 0)
    assert guest.read(0)[0] == 7
    guest.host.validate()


def unchanged_if_refused(call, guest, most):
    '''As sweep, with the whole state compared after each refusal.'''
    before = state(guest)

    def after(done):
        nonlocal before
        now = state(guest)
        assert done or now == before
        before = now
        guest.host.validate()

    done = sweep(call, after, most)
    works(guest)
    return done
"""

CASES = {
    "new guests": """
        small = pgste.Guest(64)
        def call():
            guest = pgste.Guest(1 << 22, pgste.Host(1 << 20, 1 << 20))
            guest.write(range(1000), 3)
            guest.close()
        done = sweep(call, lambda done: works(small), 160 * MIB)
        assert not done[0]
    """,
    "new guests that report": """
        small = pgste.Guest(64, mechanism="reporting")
        call = lambda: pgste.Guest(1 << 22, pgste.Host(64, 0), mechanism="reporting").close()
        assert not sweep(call, lambda done: works(small), 200 * MIB)[0]
    """,
    "many small guests": """
        host = pgste.Host(100, 100)
        kept = [pgste.Guest(64, host)]
        def call():
            kept.append(pgste.Guest(20000, host))
        for step in range(60):
            limited(call, step * 16384)
            host.validate()
            for guest in kept:
                works(guest)
    """,
    "refusals have a name": """
        for call in (lambda: pgste.Guest(1 << 32), lambda: pgste.Host(1 << 31, 0)):
            resource.setrlimit(resource.RLIMIT_AS, (address_space() + 64 * MIB, HARD))
            try:
                call()
                raise SystemExit("not refused")
            except pgste.ModelMemoryError as error:
                print(repr(error))
    """,
    "ESSA": """
        guest = pgste.Guest(256, pgste.Host(256, 256))
        gfns = np.arange(8 * MIB, dtype=np.uint8)
        call = lambda: guest.essa(2, gfns)
        assert not unchanged_if_refused(call, guest, 10 * MIB)[0]
    """,
    "lists of gfns": """
        guest = pgste.Guest(1 << 16, pgste.Host(256, 256))
        gfns = list(range(1 << 16))
        def call():
            guest.free(gfns)
            guest.alloc(gfns)
        sweep(call, lambda done: works(guest), 8 * MIB)
    """,
    "writes that take a copy first": """
        host = pgste.Host(20000, 20000)
        guest = pgste.Guest(60000, host)
        guest.write(range(30000), 5)
        gfns = np.arange(39000)
        unchanged_if_refused(lambda: guest.write(gfns, 6), guest, 12 * MIB)
    """,
    "reads that take a copy first": """
        host = pgste.Host(20000, 20000)
        guest = pgste.Guest(60000, host)
        guest.write(range(30000), 5)
        gfns = np.arange(39000)
        unchanged_if_refused(lambda: guest.read(gfns), guest, 12 * MIB)
    """,
    "swap-outs that take a copy first": """
        host = pgste.Host(30000, 20000)
        guest = pgste.Guest(40000, host)
        guest.write(range(30000), 5)
        gfns = np.concatenate([np.arange(100), np.arange(20000) % 100])
        unchanged_if_refused(lambda: host.swap_out(guest, gfns), guest, 12 * MIB)
    """,
    "words": """
        guest = pgste.Guest(1 << 18, pgste.Host(256, 256))
        words = np.full(1 << 18, 1 << 40, np.uint64)
        call = lambda: guest.set_words(slice(None), pgste=words)
        unchanged_if_refused(call, guest, 16 * MIB)
        assert (guest.pgste()[1:] == words[1:]).all()
    """,
    "looks at all of a guest": """
        guest = pgste.Guest(1 << 18, pgste.Host(256, 256))
        guest.essa(2, slice(None))
        def call():
            guest.pgste(), guest.pte(), guest.states(), guest.is_free(), guest.peek(slice(None))
            guest.find(3, 1, threads=4), guest.count_states(threads=4)
        unchanged_if_refused(call, guest, 64 * MIB)
    """,
    "replay": """
        trace = pgste.sample_trace()
        base = trace.summary()["lowest_pfn"]
        host = pgste.Host(100000, 100000)
        guest = pgste.Guest(trace.summary()["highest_pfn"] - base + 1, host)
        def call():
            replay = pgste.Replay(guest, trace.events, times=trace.time, base_pfn=base)
            replay.run(2000)
        sweep(call, lambda done: host.validate(), 24 * MIB)
        works(guest)
    """,
    "summary": """
        # a page in each of the chunks that the summary keeps
        trace = pgste.Trace.from_arrays([1] * 60000, np.arange(60000) * 64, [0] * 60000)
        whole = trace.summary()
        def call():
            assert trace.summary() == whole
        sweep(call, lambda done: None, 64 * MIB)
        assert sweep(call, lambda done: None, 64 * MIB).count(False) > 3
    """,
    "guarantees": """
        system = pgste.guarantees.__globals__["SYSTEMS"][0]
        for threads in (1, 2, 5):
            told = []
            def call():
                pgste.guarantees(
                    ["cmma", "madv_free"], [system], threads=threads,
                    progress=lambda *words: told.append(words),
                )
            call()
            sweep(call, lambda done: None, 64 * MIB, 24)
            assert told
    """,
    "compare": """
        trace = pgste.sample_trace()[:4000]
        for threads in (1, 2, 5):
            call = lambda: pgste.compare(trace, samples=10, threads=threads)
            call()  # what is imported at first use; without memory that is an OSError of Python's
            sweep(call, lambda done: None, 256 * MIB, 24)
    """,
    "run_all": """
        trace = pgste.sample_trace()[:4000]
        base, last = trace.summary()["lowest_pfn"], trace.summary()["highest_pfn"]
        for threads in (1, 2, 5):
            def call():
                replays = []
                for _ in range(4):
                    guest = pgste.Guest(last - base + 1, pgste.Host(100000, 100000))
                    replays.append(pgste.Replay(guest, trace.events, base_pfn=base))
                assert pgste.run_all(replays, threads=threads) == [len(trace)] * 4
            call()
            sweep(call, lambda done: None, 256 * MIB, 24)
    """,
}

READERS = """
    trace = pgste.sample_trace()[:150000]
    trace.save(folder + "/plain.pgt")
    data = open(folder + "/plain.pgt", "rb").read()
    lines = open(golden + "/cut.ftrace.txt", "rb").read()
    packed = {"xz": lzma.compress, "gz": gzip.compress, "bz2": bz2.compress}
    for name, compress in packed.items():
        open(folder + "/packed.pgt." + name, "wb").write(compress(data))
        open(folder + "/packed.txt." + name, "wb").write(compress(lines * 12))
    files = [folder + "/plain.pgt", golden + "/cut.ftrace.txt", golden + "/small.trace.dat"]
    files += [f"{folder}/packed.{what}.{name}" for what in ("pgt", "txt") for name in packed]
    refused = 0
    for file in files:
        whole = pgste.Trace.open(file)
        def call():
            assert len(pgste.Trace.open(file)) == len(whole)
        print(file)
        refused += sweep(call, lambda done: None, 48 * MIB).count(False)
    # how often depends on what the allocator keeps
    assert refused > 5
"""


def run(program: str) -> None:
    command = [sys.executable, "-c", PROLOGUE + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-3000:])


@pytest.mark.parametrize("case", CASES)
def test_memory_runs_out(case: str) -> None:
    run(CASES[case])


def test_memory_runs_out_in_readers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    golden = request.config.rootpath / "tests" / "golden" / "traces"
    folder = tmp_path_factory.mktemp("traces")
    run(f"folder, golden = {str(folder)!r}, {str(golden)!r}\n" + textwrap.dedent(READERS))

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
# what is large is had from the kernel each time, or earlier calls would decide about later ones
getattr(ctypes.CDLL(None), "mallopt", lambda *option: 0)(-3, 1 << 16)  # M_MMAP_THRESHOLD
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
        seen += [list(guest.slots.items()), guest.migration_mode, guest.dirty_count]
        seen += [guest.uses_storage_keys, guest.host_ptes().tobytes(), guest.host_pte_stats()]
        seen += [host.frame_key(range(host.frames)).tobytes()]
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
    "memory slots": """
        # their array doubles at 8192, and so does that of slots that are gone
        slots = [(2 * i, 1, 2 * i, True) for i in range(8192)]
        guest = pgste.Guest(1 << 16, pgste.Host(256, 256), slots=slots, generation="dat")
        guest.write(range(0, 512, 2), 3)
        added = iter(range(2 * 8192, 1 << 16))
        at = next(added)
        def add():
            global at
            guest.add_slot(at, 1, None, True)
            at = next(added)
        unchanged_if_refused(add, guest, 4 * MIB)
        for _ in range(25):  # how many there are now depends on how many were refused
            add()
        for number in range(8189):
            guest.delete_slot(number)
        number = 8189
        def delete():
            global number
            guest.delete_slot(number)
            number += 1
        guest.add_slot(0, 1, 0, True)
        assert not unchanged_if_refused(delete, guest, 4 * MIB)[-1:] == [False]
    """,
    "slots that move": """
        guest = pgste.Guest(1 << 18, pgste.Host(256, 256), slots=[(0, 1 << 16, 0, True)])
        guest.write(range(200), 3)
        guest.set_words(3, pgste=1 << 40)  # with an array of odd bits
        places = iter(range(1 << 18))
        def move():
            guest.move_slot(0, 1 << 17)
            guest.move_slot(0, 0)
        unchanged_if_refused(move, guest, 1 * MIB)
    """,
    "new guests with slots and keys": """
        small = pgste.Guest(64, storage_keys=True)
        slots = [(2 * i, 1) for i in range(20000)]
        def call():
            guest = pgste.Guest(1 << 20, pgste.Host(1 << 22, 16), slots=slots, storage_keys=True)
            guest.close()
        done = sweep(call, lambda done: works(small), 300 * MIB)
        assert not done[0]
    """,
    "storage keys are enabled": """
        host = pgste.Host(1 << 23, 16)
        guest = pgste.Guest(256, host, generation="dat")
        guest.write(range(100), 1)
        calls = [
            guest.enable_storage_keys, guest.reset_storage_keys,
            lambda: guest.set_storage_key(3, 0x30), lambda: guest.insert_storage_key(3),
            lambda: guest.cond_set_storage_key(3, 0x30, False, False),
            lambda: guest.reset_reference(3), lambda: host.set_frame_key(3, 0x30),
        ]
        for call in calls:
            assert not limited(call, 0)
            assert not guest.uses_storage_keys
            guest.host.validate()
        assert limited(guest.enable_storage_keys, 64 * MIB)
        works(guest)
    """,
    "results of the PTE layer and of keys": """
        guest = pgste.Guest(1 << 20, pgste.Host(256, 256), generation="dat", storage_keys=True)
        guest.write(range(100), 1)
        every, bit = slice(None), int(pgste.PgsteBits.DAT_VSIE)
        calls = [
            lambda: guest.get_storage_key(every), lambda: guest.host_gfn(every),
            lambda: guest.soft_dirty(every), lambda: guest.reset_reference(every),
            lambda: guest.test_and_clear_dirty(every), lambda: guest.age(every),
            lambda: guest.force_prot(every, 1, bit), lambda: guest.set_notify(every, bit),
            lambda: guest.xchg_pte(every, 0x400), lambda: guest.notifications(),
            lambda: guest.unmap_pte(every), lambda: guest.modify_prot_start(every),
        ]
        refused = 0
        for call in calls:
            before = state(guest)
            for extra in (0, 256 * 1024, 4 * MIB, 64 * MIB):
                if limited(call, extra):
                    break
                refused += 1
                assert state(guest) == before
            else:
                raise SystemExit("not done with all that memory")
            guest.host.validate()
        assert refused >= 12, refused
    """,
    "the CMMA log": """
        guest = pgste.Guest(1 << 21, pgste.Host(256, 256), generation="dat")
        guest.essa(1, 0)
        guest.start_migration()
        call = lambda: guest.get_cmma_bits(0, 1 << 20, peek=True)
        assert not sweep(call, lambda done: guest.host.validate(), 8 * MIB)[0]
        before = guest.dirty_count
        def call():
            guest.get_cmma_bits(0, 1 << 20)
        def after(done):
            global before
            assert done or guest.dirty_count == before, "taken from the log, and not told"
            before = guest.dirty_count
            guest.set_log(slice(None))
            before = guest.dirty_count
        assert not sweep(call, after, 8 * MIB)[0]
    """,
    "a stream of page states": """
        import io
        from pgste import migration
        source = pgste.Guest(1 << 21, pgste.Host(256, 256))
        source.essa(2, range(0, 1 << 21, 2))
        stream = io.BytesIO()
        migration.save(source, stream)
        data = stream.getvalue()
        guest = pgste.Guest(1 << 21, pgste.Host(256, 256))
        def load():
            migration.load(guest, io.BytesIO(data))
        def after(done):
            usages = guest.states() & 3
            counts = np.bincount(usages, minlength=4), done
            assert (usages[::2] == 1).all() if done else not usages.any(), counts
            guest.reset_cmma()
            works(guest)
        assert not sweep(load, after, 24 * MIB)[0]
        def save():
            migration.save(source, io.BytesIO())
        def after(done):
            assert not source.migration_mode
            source.host.validate()
        assert not sweep(save, after, 24 * MIB)[0]
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
        budget = pgste.traces.Budget()  # or else it is kept, and nothing is counted again
        whole = trace.summary(budget)
        def call():
            assert trace.summary(budget) == whole
        sweep(call, lambda done: None, 16 * MIB)
        assert sweep(call, lambda done: None, 16 * MIB).count(False) > 3
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

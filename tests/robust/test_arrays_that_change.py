# SPDX-License-Identifier: MIT
"""Arrays that another thread overwrites during a call: an error or a mix, never a crash.

Each case runs in a process of its own, as a touch outside the tables would end it.
"""

from __future__ import annotations

from functools import partial

import pytest

from robust import beside

PROLOGUE = """
import numpy as np
import pgste
from pgste import Guest, Host, Replay
from robust import beside

N = 1 << 16
RANDOM = np.random.default_rng(2019)
BAD = 2**63 - 1
NOTIFY = int(pgste.PgsteBits.DAT_VSIE)


# ESSA asks twice: is a gfn outside the guest, and if so, has the machine such a page at all?
REFUSED = pgste.ChangedError, pgste.GfnError, pgste.AddressingException


def while_it_changes(call, array, values, times=40, allowed=REFUSED):
    beside.while_it_changes(call, array, values, times, allowed)


def guest_and_gfns(mechanism="cmma", **options):
    guest = Guest(N, host=Host(N // 2, N), mechanism=mechanism, **options)
    guest.write(range(N), 1)
    return guest, RANDOM.integers(0, N, 8 * N, dtype=np.int64)


def dat_guest_and_gfns(**options):
    # two slots and a hole between them, keys, and every notification on
    half = N // 2
    slots = [(0, half, 0, True), (half + 64, half - 64, N, True)]
    guest = Guest(
        N, Host(N // 4, N), generation="dat", slots=slots, storage_keys=True, **options
    )
    inside = np.concatenate([np.arange(half), np.arange(half + 64, N)])
    guest.write(inside, 1)
    guest.set_notify(inside, NOTIFY)
    return guest, RANDOM.choice(inside, 4 * N)
"""

CALLS = {
    "essa": "guest.essa(2, gfns)",
    "essa, several vcpus": "guest.essa(2, gfns, vcpu=1)",
    "essa, migration": "guest.essa(2, gfns)",
    "free": "guest.free(gfns)",
    "alloc": "guest.alloc(gfns)",
    "blocks": "guest.free(gfns, order=2)",
    "write": "guest.write(gfns, 7)",
    "read": "guest.read(gfns)",
    "peek": "guest.peek(gfns)",
    "states": "guest.states(gfns)",
    "is_free": "guest.is_free(gfns)",
    "pgste": "guest.pgste(gfns)",
    "set_words": "guest.set_words(gfns, 1 << 24)",
    "set_changed": "guest.set_changed(gfns, True)",
    "swap_out": "guest.host.swap_out(guest, gfns)",
    "pin": "guest.host.pin(guest, gfns, True)",
    "host_ptes": "guest.host_ptes(gfns)",
    "host_gfn": "guest.host_gfn(gfns)",
    "set_pte_at": "guest.set_pte_at(gfns, 0x400)",
    "xchg_pte": "guest.xchg_pte(gfns, 0x400)",
    "age": "guest.age(gfns)",
    "test_and_clear_dirty": "guest.test_and_clear_dirty(gfns)",
    "soft_dirty": "guest.soft_dirty(gfns)",
    "clear_soft_dirty": "guest.clear_soft_dirty(gfns)",
    "set_pgste_bits": "guest.set_pgste_bits(gfns, 1 << 24, 1 << 24)",
    "force_prot": "guest.force_prot(gfns, 1, NOTIFY)",
    "set_notify": "guest.set_notify(gfns, NOTIFY)",
    "unshadow_pte": "guest.unshadow_pte(gfns)",
    "set_storage_key": "guest.set_storage_key(gfns, 0x30)",
    "get_storage_key": "guest.get_storage_key(gfns)",
    "insert_storage_key": "guest.insert_storage_key(gfns)",
    "cond_set_storage_key": "guest.cond_set_storage_key(gfns, 0x30, True, True)",
    "reset_reference": "guest.reset_reference(gfns)",
    "frame keys": "guest.host.set_frame_key(gfns % 1024, 0x30)",
}
#: Of generations, mechanism "cmma" alone.
OF_DAT = {
    "map_pte": "guest.map_pte(gfns, 0x7000021)",
    "unmap_pte": "guest.unmap_pte(gfns)",
    "set_host_ptes": "guest.set_host_ptes(gfns, 0x400)",
    "notifier_unmap": "guest.notifier_unmap(gfns, 'xchg')",
    "hold_host_locks": "guest.hold_host_locks(gfns, True)",
    "mark_dirty": "guest.mark_dirty(gfns)",
    "set_log": "guest.set_log(gfns)",
    "modify_prot_start": "guest.modify_prot_start(gfns)",
    "shadow_pte": "guest.shadow_pte(gfns, guest, gfns[::-1].copy(), 0x200)",
    **{name: call for name, call in CALLS.items() if name not in ("essa, migration", "frame keys")},
}
OF_DAT["shadow_pte, targets"] = "guest.shadow_pte(gfns[::-1].copy(), guest, gfns, 0x200)"


run = partial(beside.run, PROLOGUE)


@pytest.mark.parametrize("mechanism", ["cmma", "madv_dontneed", "reporting"])
@pytest.mark.parametrize("name", CALLS)
def test_gfns(name: str, mechanism: str) -> None:
    if "essa" in name and mechanism != "cmma":
        pytest.skip("a guest without ESSA")
    out = run(f"""
        NOTIFY = int(pgste.PgsteBits.IN)
        guest, gfns = guest_and_gfns({mechanism!r}, vcpus={2 if "vcpus" in name else 1})
        if {"migration" in name}:
            guest.migration_mode = True
        while_it_changes(lambda: {CALLS[name]}, gfns, BAD)
        guest.host.validate()
        assert all(gfn < N for vcpu in range(guest.vcpus) for gfn in guest.cbrl(vcpu))
    """)
    assert out.endswith("of 40\n")


@pytest.mark.parametrize(
    "name", ["essa", "free", "alloc", "blocks", "write", "read", "states", "set_words"]
)
def test_gfns_that_stay_changed(name: str) -> None:
    """What is wrong from the middle of a call on ends it: nobody waits for it to be right again."""
    out = run(
        f"""
        import random, threading, time

        guest, gfns = guest_and_gfns()
        good = np.resize(gfns % (N - 4), 64 * N)
        gfns = good.copy()
        began = time.monotonic()
        {CALLS[name]}
        took = time.monotonic() - began
        changed = 0
        # the moment falls into the call at some try, on a busy machine too
        while not changed and time.monotonic() < began + 60:
            gfns[:] = good
            timer = threading.Timer(random.uniform(0, took), lambda: gfns[::-1].fill(BAD))
            timer.start()
            try:
                {CALLS[name]}
            except pgste.ChangedError:
                changed += 1
            except REFUSED:
                pass
            timer.join()
        guest.host.validate()
        print(changed)
        """,
        seconds=100,
    )
    assert int(out) > 0


@pytest.mark.parametrize("name", OF_DAT)
def test_gfns_of_a_dat_guest(name: str) -> None:
    """Overwritten with what is no page, and with a page between two memory slots."""
    out = run(f"""
        guest, gfns = dat_guest_and_gfns(vcpus={2 if "vcpus" in name else 1})
        for bad in BAD, N // 2 + 3:
            while_it_changes(
                lambda: {OF_DAT[name]}, gfns, bad, times=8,
                allowed=(*REFUSED, pgste.StateError, pgste.ForeignPteError),
            )
            guest.host.validate()
        pages, bits = guest.notifications()
        assert (pages < N).all() and ((bits & NOTIFY) != 0).all()
    """)
    assert out.count("of 8\n") == 2


#: A call with an array beside gfns, what overwrites it, and how many elements it has.
BESIDE = {
    "set_storage_key": ("guest.set_storage_key(slice(None), values)", "uint8", "0xff"),
    "cond_set_storage_key": (
        "guest.cond_set_storage_key(slice(None), values, True, False)", "uint8", "0xff",
    ),
    "set_frame_key": ("guest.host.set_frame_key(slice(None), values[:N // 4])", "uint8", "0xff"),
    "set_cmma_bits": ("guest.set_cmma_bits(0, values, 2**64 - 1)", "uint8", "0x43"),
    "set_words, pgste": ("guest.set_words(slice(None), pgste=values)", "uint64", "2**64 - 1"),
    "set_words, pte": ("guest.set_words(slice(None), pte=values)", "uint64", "WORD"),
    "set_words, none": ("guest.set_words(slice(None), pte=values)", "uint64", "0x400"),
    "set_host_ptes": ("guest.set_host_ptes(slice(None), values)", "uint64", "WORD"),
    "set_pte_at": ("guest.set_pte_at(slice(None), values)", "uint64", "WORD"),
    "xchg_pte": ("guest.xchg_pte(slice(None), values)", "uint64", "WORD"),
    "map_pte": ("guest.map_pte(slice(None), values)", "uint64", "WORD"),
    "shadow_pte": (
        "guest.shadow_pte(slice(None), guest, range(N), values)", "uint64", "WORD",
    ),
    "modify_prot": (
        "(guest.modify_prot_start(slice(None)), guest.modify_prot_commit(slice(None), values))",
        "uint64", "WORD",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_values_beside_gfns(name: str, generation: str) -> None:
    """Keys, words and values: each is looked at once, and what it names is bounded."""
    call, dtype, other = BESIDE[name]
    if name in ("set_host_ptes", "map_pte") and generation == "pgtable":
        pytest.skip("one table")
    out = run(f"""
        WORD = (2**52 - 1) << 12 | 0x13f  # of a frame that no host has
        guest = Guest(
            N, host=Host(N // 4, N), generation={generation!r}, storage_keys=True
        )
        guest.write(range(N // 8), 1)
        guest.host.swap_out(guest, range(100))
        values = np.zeros(N, np.{dtype})
        values[:] = guest.pte().astype(np.{dtype})
        while_it_changes(
            lambda: {call}, values, {other}, times=12, allowed=(pgste.ChangedError,)
        )
        guest.host.validate()
        guest.get_storage_key(slice(None))
        guest.close()
    """)
    assert out.endswith("of 12\n")


def test_gfns_of_a_call_that_is_undone() -> None:
    """Frames run out: what is put back must be what was changed, whoever overwrote the array."""
    out = run("""
        host = Host(512, 0)
        guest = Guest(N, host=host, mechanism="none")
        gfns = RANDOM.permutation(N)[:4096].astype(np.int64)
        other = RANDOM.permutation(N)[:4096].astype(np.int64)
        while_it_changes(
            lambda: guest.write(gfns, 7), gfns, other[0], times=200,
            allowed=(pgste.ChangedError, pgste.GfnError, pgste.OutOfFramesError),
        )
        host.validate()
    """)
    assert out == "200 of 200\n"


def test_events_overwritten_after_a_replay_was_made() -> None:
    out = run("""
        guest = Guest(N)
        events = RANDOM.integers(0, N, 100_000, dtype=np.uint64) << np.uint64(8)
        replay = Replay(guest, events)
        replay.run(1000)
        events[:] = 2**64 - 1
        try:
            replay.run()
        except pgste.ChangedError as error:
            print(error)
        guest.host.validate()
    """)
    assert out.startswith("events[1000]: ")


def test_events_overwritten_during_a_run() -> None:
    out = run("""
        events = RANDOM.integers(0, N, 1_000_000, dtype=np.uint64) << np.uint64(8)

        def replay():
            guest = Guest(N, host=Host(N // 2, N), mechanism="reporting")
            Replay(guest, events).run()
            guest.host.validate()

        errors = (pgste.ChangedError, pgste.ArgumentError)
        while_it_changes(replay, events, np.uint64(2**64 - 256), times=10, allowed=errors)
    """)
    assert out.endswith("of 10\n")


def test_a_summary_of_events_that_change() -> None:
    run("""
        from pgste import Trace
        events = RANDOM.integers(0, N, 300_000, dtype=np.uint64) << np.uint64(8)
        events |= RANDOM.integers(0, 2, 300_000, dtype=np.uint64)
        trace = Trace(events, np.arange(events.size))
        while_it_changes(
            lambda: trace.summary(), events, np.uint64(2**64 - 1), times=20,
            allowed=(pgste.PgsteError, MemoryError),
        )
    """)


@pytest.mark.parametrize("rule", ["keep", "blocks", "reporting", "balloon", "age"])
@pytest.mark.parametrize("array", ["events", "times"])
def test_events_of_a_footprint(rule: str, array: str) -> None:
    """Overwritten with what is no event, with a page that was in none, and with another time."""
    out = run(f"""
        from pgste._engine.footprint import one_guest, place
        pages = RANDOM.integers(0, N, 20_000, dtype=np.uint64)
        events = pages << np.uint64(8) | RANDOM.integers(0, 2, 20_000, dtype=np.uint64)
        times = np.arange(20_000, dtype=np.uint64) * np.uint64(50)
        allowed = pgste.ChangedError, pgste.ArgumentError
        for bad in 2**63 - 1, N + 7 << 8, 0:
            while_it_changes(
                lambda: one_guest(
                    events, times, {rule!r}, base=0, pages=2 * N, period_ns=70_000, reserve=N // 8,
                    host_order=0 if {rule!r} == "age" else 9, block_order=9, populate=True,
                    samples=np.arange(10, dtype=np.uint64),
                ),
                {array}, bad, times=12, allowed=allowed,
            )
            if {array!r} == "events":
                for placement in "lowest", "buddy":
                    while_it_changes(
                        lambda: place(
                            events, placement, base=0, pages=2 * N, places=2 * N, most=40_000
                        ),
                        events, bad, times=12, allowed=allowed,
                    )
    """)
    assert out.count("of 12\n") == (9 if array == "events" else 3)

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


# ESSA asks twice: is a gfn outside the guest, and if so, has the machine such a page at all?
REFUSED = pgste.ChangedError, pgste.GfnError, pgste.AddressingException


def while_it_changes(call, array, values, times=40, allowed=REFUSED):
    beside.while_it_changes(call, array, values, times, allowed)


def guest_and_gfns(mechanism="cmma", **options):
    guest = Guest(N, host=Host(N // 2, N), mechanism=mechanism, **options)
    guest.write(range(N), 1)
    return guest, RANDOM.integers(0, N, 8 * N, dtype=np.int64)
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
}


run = partial(beside.run, PROLOGUE)


@pytest.mark.parametrize("mechanism", ["cmma", "madv_dontneed", "reporting"])
@pytest.mark.parametrize("name", CALLS)
def test_gfns(name: str, mechanism: str) -> None:
    if "essa" in name and mechanism != "cmma":
        pytest.skip("a guest without ESSA")
    out = run(f"""
        guest, gfns = guest_and_gfns({mechanism!r}, vcpus={2 if "vcpus" in name else 1})
        if {"migration" in name}:
            guest.migration_mode = True
        while_it_changes(lambda: {CALLS[name]}, gfns, BAD)
        guest.host.validate()
        assert all(gfn < N for vcpu in range(guest.vcpus) for gfn in guest.cbrl(vcpu))
    """)
    assert out.endswith("of 40\n")


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

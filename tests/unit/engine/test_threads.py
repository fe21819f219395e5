# SPDX-License-Identifier: MIT
"""Several threads on one host: results as if the calls came one after another, no starving."""

from __future__ import annotations

import contextlib
import itertools
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

import numpy as np
import pytest
from together import run_together

import pgste
from pgste import Orc
from pgste._engine import trace as engine_trace

TIMEOUT = 60
_run = partial(run_together, seconds=TIMEOUT)

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("quick_switches")]
NODAT_RESULT = 0x20  # of an ESSA result: the page had NODAT


def test_many_threads_on_one_guest() -> None:
    pages, rounds, nr_threads = 4096, 100, 6
    guest = pgste.Guest(pages, pgste.Host(3000, 8192))
    per_thread = pages // nr_threads

    def body(thread: int) -> None:
        rng = np.random.default_rng(thread)
        mine = np.arange(thread * per_thread, (thread + 1) * per_thread)
        for turn in range(rounds):
            gfns = rng.permutation(mine)
            guest.write(gfns, gfns + turn)
            assert np.array_equal(guest.read(gfns), gfns + turn)
            guest.free(gfns)
            guest.free_page(pages - 1)  # nobody's
            guest.essa_page(0, 1)
            guest.stats()
            guest.zap_scan()
            guest.alloc(gfns)

    _run(*[lambda thread=thread: body(thread) for thread in range(nr_threads)])
    stats = guest.stats()
    assert stats["pages_freed"] == nr_threads * rounds * (per_thread + 1)
    assert stats["pages_allocated"] == nr_threads * rounds * per_thread
    assert stats["essa"] == stats["pages_freed"] + stats["pages_allocated"] + nr_threads * rounds
    assert stats["hint_pages"] == stats["pages_freed"] + stats["pages_allocated"]
    guest.host.validate()


def test_two_vcpus_at_once() -> None:
    pages, rounds = 8192, 300
    guest = pgste.Guest(pages, pgste.Host(pages, 2 * pages), vcpus=3)
    guest.write(slice(None), 1)
    guest.host.swap_out(guest, slice(None))

    def body(vcpu: int) -> None:
        mine = np.arange(vcpu, pages, 2)
        for _ in range(rounds):
            guest.free(mine, vcpu=vcpu)
            guest.alloc(mine, vcpu=vcpu)
            guest.essa(Orc.SET_UNUSED, mine, vcpu)
            guest.essa_page(Orc.GET_STATE, vcpu, vcpu)

    _run(lambda: body(0), lambda: body(1))
    stats = guest.stats()
    assert stats["essa"] == 2 * rounds * (3 * pages // 2 + 1)
    assert stats["pages_freed"] == stats["pages_allocated"] == rounds * pages
    # Each page is zapped once: every one of them was swapped out and made unused.
    for vcpu in range(2):
        guest.intercept(vcpu)
    guest.zap_scan()
    stats = guest.stats()
    assert (stats["zapped"], stats["zap_slots_freed"]) == (pages, pages)
    assert stats["processed"] == stats["appended"]
    assert guest.host.stats()["swap_slots_free"] == 2 * pages
    assert (guest.states() == pgste.State.ZERO | 1).all()
    guest.host.validate()


def test_two_vcpus_on_the_same_pages() -> None:
    """Every ESSA counts once, whatever the order."""
    pages, rounds = 2048, 500
    guest = pgste.Guest(pages, vcpus=2, cbrl_entries=7)

    def body(vcpu: int) -> None:
        for _ in range(rounds):
            guest.free(range(pages), vcpu=vcpu)
            guest.alloc(slice(None), vcpu=vcpu)

    _run(lambda: body(0), lambda: body(1))
    stats = guest.stats()
    assert stats["essa"] == 4 * rounds * pages
    assert stats["appended"] == 2 * rounds * pages
    left = len(guest.cbrl(0)) + len(guest.cbrl(1))
    assert stats["processed"] == stats["appended"] - left
    guest.host.validate()


@pytest.mark.parametrize("form", ["array", "range", "page"])
def test_no_change_of_a_page_is_lost(form: str) -> None:
    """One vcpu makes pages unused, which keeps NODAT; the other sets NODAT and clears it.

    A change that was made of an old state would bring NODAT back, or lose it: the other vcpu's
    next results tell.
    """
    pages = 1024
    guest = pgste.Guest(pages, vcpus=2, nodat=True)
    stop = threading.Event()
    many = np.tile(np.arange(pages), 500)

    def disturb() -> None:
        while not stop.is_set():
            if form == "array":
                guest.essa(Orc.SET_UNUSED, many, vcpu=0)
            elif form == "range":
                for _ in range(100):
                    guest.essa(Orc.SET_UNUSED, range(pages), vcpu=0)
            else:
                for page in range(pages):
                    guest.essa_page(Orc.SET_UNUSED, page, 0)

    def look() -> None:
        gfns, had_nodat = np.arange(pages), False
        deadline = time.monotonic() + 1
        try:
            while time.monotonic() < deadline:
                orc = Orc.SET_STABLE if had_nodat else Orc.SET_STABLE_NODAT
                results = guest.essa(orc, gfns, vcpu=1)
                assert ((results & NODAT_RESULT != 0) == had_nodat).all()
                had_nodat = not had_nodat
        finally:
            stop.set()

    _run(disturb, look)


def test_one_vcpu_takes_one_call_at_a_time() -> None:
    pages, rounds = 1024, 400
    guest = pgste.Guest(pages, vcpus=2)

    def body() -> None:
        for _ in range(rounds):
            guest.essa(Orc.SET_UNUSED, range(pages), vcpu=1)
            guest.free_page(0)

    _run(body, body, body)
    stats = guest.stats()
    assert stats["appended"] == 3 * rounds * (pages + 1)
    assert stats["intercepts"] == stats["processed"] // 511
    guest.host.validate()


def test_a_call_for_the_whole_host_waits_for_the_vcpus() -> None:
    """No call sees the work of a vcpu half done."""
    pages = 4096
    guest = pgste.Guest(pages, vcpus=2)
    stop = threading.Event()

    def hint() -> None:
        while not stop.is_set():
            guest.free(slice(None), vcpu=0)
            guest.alloc(slice(None), vcpu=0)

    def look() -> None:
        while not stop.is_set():
            guest.essa(Orc.GET_STATE, slice(None), vcpu=1)

    def count() -> None:
        seen: set[int] = set()
        deadline = time.monotonic() + TIMEOUT
        while len(seen) < 2 and time.monotonic() < deadline:
            for _ in range(200):
                seen.add(guest.count_states()["unused"]["zero"])
        stop.set()
        assert seen == {0, pages}

    _run(hint, look, count)


def test_nobody_starves() -> None:
    """Threads that never leave the host alone do not keep one out that comes now and then."""
    guest = pgste.Guest(1 << 16, vcpus=3)
    stop = threading.Event()

    def greedy(call: Callable[[], object]) -> Callable[[], None]:
        def body() -> None:
            while not stop.is_set():
                call()

        return body

    def modest() -> None:
        for _ in range(100):
            guest.alloc_page(5)
            guest.host.stats()
            guest.zap(3)
        stop.set()

    _run(
        greedy(guest.zap_scan),
        greedy(guest.count_states),
        greedy(lambda: guest.free(slice(None), vcpu=1)),
        greedy(lambda: guest.free(slice(None), vcpu=2)),
        modest,
    )
    assert stop.is_set()


def _usual_wait(call: Callable[[], object], *others: Callable[[], object]) -> float:
    """Seconds that a call takes, the median, beside others that are made all the time."""
    stop = threading.Event()
    waits: list[float] = []

    def forever(other: Callable[[], object]) -> Callable[[], None]:
        def body() -> None:
            while not stop.is_set():
                other()

        return body

    def measure() -> None:
        try:
            time.sleep(0.1)
            for _ in range(20):
                start = time.perf_counter()
                call()
                waits.append(time.perf_counter() - start)
                time.sleep(0.001)
        finally:
            stop.set()

    _run(measure, *map(forever, others))
    return statistics.median(waits)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.mark.parametrize("vcpus", [1, 2])
@pytest.mark.parametrize("call", ["essa", "free", "range"])
def test_long_calls_of_vcpus_let_others_in(call: str, vcpus: int) -> None:
    """A call that wants the host for itself waits for a part of them, not for their end."""
    pages = 1 << 22
    guest = pgste.Guest(pages, pgste.Host(1 << 10, 1 << 10), vcpus=vcpus)
    gfns = np.random.default_rng(1).integers(0, pages, 1 << 23)
    guest.write(range(64), 1)

    def of(vcpu: int) -> Callable[[], object]:
        if call == "essa":
            return partial(guest.essa, Orc.SET_VOLATILE, gfns, vcpu, out=np.empty(gfns.size, "u1"))
        if call == "free":
            return partial(guest.free, gfns, vcpu=vcpu)
        return partial(guest.free, np.zeros(16, int), order=22, vcpu=vcpu)

    alone = _seconds(of(0))

    def host_calls() -> None:
        guest.host.stats()
        guest.host.swap_out(guest, range(8))
        guest.write(range(8), 2)
        guest.intercept(vcpus - 1)
        guest.host.reclaim(1)

    waited = _usual_wait(host_calls, *map(of, range(vcpus)))
    # five calls wait for a part of each vcpu, which is 1/64 of its call at the most
    print(f"waits {waited * 1e3:.2f} ms beside calls of {alone * 1e3:.0f} ms")
    assert waited < alone / 2, (waited, alone)
    guest.host.validate()


def test_scans_and_reclaim_let_vcpus_in() -> None:
    """And the other way round: a zap of every page, and the reclaim of all memory."""
    pages = 1 << 21
    host = pgste.Host(pages, 2 * pages)
    guest = pgste.Guest(pages, host, vcpus=2)
    guest.write(slice(None), 1)
    host.swap_out(guest, slice(None))
    guest.set_words(slice(None), pgste=1 << 24)
    calls = (guest.zap_scan, partial(host.reclaim, pages))
    for call in calls:
        waits: list[float] = []
        stop = threading.Event()

        def measure(waits: list[float] = waits, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                start = time.perf_counter()
                guest.essa(Orc.GET_STATE, range(100), 1)
                waits.append(time.perf_counter() - start)

        def once(
            call: Callable[[], object] = call,
            waits: list[float] = waits,
            stop: threading.Event = stop,
        ) -> None:
            try:
                time.sleep(0.05)
                waits.clear()
                call()
            finally:
                stop.set()

        _run(measure, once)
        print(f"{len(waits)} calls got in, the longest took {max(waits) * 1e3:.1f} ms")
        assert len(waits) > 5
        guest.write(slice(None), 1)
    host.validate()


def test_a_guest_is_closed_while_its_calls_rest() -> None:
    for what in ("guest", "host"):
        for turn in range(8):
            guest = pgste.Guest(1 << 20, pgste.Host(100, 100), vcpus=2)
            gfns = np.tile(np.arange(1 << 20), 8)
            out = [np.empty(gfns.size, np.uint8) for _ in range(2)]

            def use(
                vcpu: int,
                guest: pgste.Guest = guest,
                gfns: np.ndarray = gfns,
                out: list[np.ndarray] = out,
            ) -> None:
                essa = partial(guest.essa, Orc.SET_UNUSED, gfns, vcpu, out=out[vcpu])
                with pytest.raises(pgste.GuestClosedError):
                    any(essa() is None for _ in itertools.count())

            def end(guest: pgste.Guest = guest, what: str = what, turn: int = turn) -> None:
                time.sleep(0.002 * turn)
                (guest if what == "guest" else guest.host).close()

            _run(partial(use, 0), partial(use, 1), end)


@contextlib.contextmanager
def _alarms(
    handler: Callable[[int, FrameType | None], None], other: Callable[[], object]
) -> Iterator[None]:
    """SIGALRM has a handler, and two threads make another call all the time."""
    stop = threading.Event()

    def forever() -> None:
        while not stop.is_set():
            other()

    threads = [threading.Thread(target=forever, daemon=True) for _ in range(2)]
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_a_call_that_rests_is_interrupted() -> None:
    """A handler that raises ends the call, in its turn or while it waits for the next one."""
    guest = pgste.Guest(1 << 20, vcpus=2)
    gfns = np.tile(np.arange(1 << 20), 8)
    interrupted = 0

    class Interrupted(Exception):
        pass

    def handler(signum: int, frame: FrameType | None) -> None:
        raise Interrupted

    deadline = time.monotonic() + TIMEOUT
    with _alarms(handler, guest.count_states):
        while interrupted < 20 and time.monotonic() < deadline:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.003)
                while True:
                    guest.essa(Orc.SET_UNUSED, gfns)
            except Interrupted:
                interrupted += 1
    assert interrupted == 20
    guest.essa(Orc.SET_UNUSED, 3, 1)
    guest.host.validate()


def test_a_handler_uses_the_host_for_which_its_thread_waits() -> None:
    """It would wait behind its own thread, whose turn never ends: an error instead."""
    guest = pgste.Guest(1 << 22)
    refused = 0

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal refused
        try:
            guest.stats()
        except pgste.HostBusyError:
            refused += 1

    deadline = time.monotonic() + TIMEOUT
    with _alarms(handler, lambda: guest.find(255, 255)):
        while refused < 5 and time.monotonic() < deadline:
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
            guest.stats()
    assert refused == 5


def test_guests_that_go_away_while_the_host_is_in_use() -> None:
    host = pgste.Host(1000, 1000)
    busy = pgste.Guest(1 << 18, host)
    busy.write(range(100), 1)
    stop = threading.Event()

    def scan() -> None:
        while not stop.is_set():
            busy.zap_scan()

    def churn() -> None:
        for _ in range(300):
            guests = [pgste.Guest(8, host) for _ in range(4)]
            for guest in guests:
                guest.write(range(8), 2)
            del guests, guest
        stop.set()

    _run(scan, churn)
    assert host.stats()["frames_free"] == 900
    assert pgste.Guest(8, host).number == 1
    host.validate()


def test_closing_while_others_are_in() -> None:
    for close in ("guest", "host"):
        host = pgste.Host(4096, 4096)
        guest = pgste.Guest(4096, host, vcpus=2)
        started = threading.Barrier(4)

        def use_forever(vcpu: int, guest: pgste.Guest = guest) -> None:
            while True:
                guest.free(slice(None), vcpu=vcpu)
                guest.write(range(100), 1)
                guest.free_page(3)

        def use(vcpu: int, started: threading.Barrier = started) -> None:
            started.wait(TIMEOUT)
            with pytest.raises(pgste.GuestClosedError):
                use_forever(vcpu)

        def end(
            thing: pgste.Guest | pgste.Host = guest if close == "guest" else host,
            started: threading.Barrier = started,
        ) -> None:
            started.wait(TIMEOUT)
            time.sleep(0.01)
            thing.close()

        _run(lambda: use(0), lambda: use(1), lambda: use(0), end)


def test_an_interrupted_wait_leaves_the_host_usable() -> None:
    """A signal handler that raises (Ctrl-C) ends the wait; the turn is not lost."""
    guest = pgste.Guest(1 << 22)

    class Interrupted(Exception):
        pass

    def handler(signum: int, frame: FrameType | None) -> None:
        raise Interrupted

    interrupted = 0
    deadline = time.monotonic() + TIMEOUT
    with _alarms(handler, lambda: guest.find(255, 255)):
        while interrupted < 20 and time.monotonic() < deadline:
            with contextlib.suppress(Interrupted):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0005)
                    while True:
                        guest.stats()
                except Interrupted:
                    interrupted += 1
    assert interrupted == 20
    guest.free_page(1)
    guest.host.validate()


def _big(vcpus: int = 1) -> pgste.Guest:
    return pgste.Guest(1 << 22, pgste.Host(1 << 16, 1 << 16), vcpus=vcpus)


def _replay() -> pgste.Replay:
    """Pages that are allocated and freed, one after the other."""
    numbers = np.arange(1 << 20, dtype=np.uint64)
    pages = numbers >> np.uint64(1) & np.uint64(0x3FF)
    return pgste.Replay(_big(), pages << np.uint64(8) | numbers & np.uint64(1))


# Calls that are long, by the way in which they have the host: each lets go of the GIL by itself.
LONG_CALLS: dict[str, Callable[[], Callable[[], object]]] = {
    "states": lambda: partial(_big().states, slice(None)),  # Member.begin
    "zap_scan": lambda: _big().zap_scan,
    "free": lambda: partial(_big().free, slice(None)),
    "free of one vcpu of two": lambda: partial(_big(2).free, slice(None), vcpu=1),
    "essa of one vcpu of two": lambda: partial(_big(2).essa, Orc.GET_STATE, slice(None), vcpu=1),
    "keys of one vcpu of two": lambda: partial(_big(2).set_storage_key, slice(None), 0x30, vcpu=1),
    "write": lambda: partial(_big().write, range(1 << 15), 1),
    "find": lambda: partial(_big().find, 255, 255),
    "count_states": lambda: _big().count_states,
    "host.validate": lambda: _big().host.validate,  # Unit.begin
    "replay": lambda: partial(_replay().run, 1 << 16),
    "summary": lambda: partial(
        engine_trace.summarize, pgste.sample_trace().events, 1 << 62, 1 << 62
    ),
    "decode": lambda: partial(engine_trace.TextDecoder().feed, b"# a comment\n" * (1 << 18)),
}


@pytest.mark.parametrize("name", LONG_CALLS)
def test_array_work_lets_other_threads_run(name: str) -> None:
    """While a long call runs, another thread goes on.

    No thread gives the GIL up because another one asks for it, so that the other can only go on
    where a call lets go of the GIL by itself.
    """
    call = LONG_CALLS[name]()
    ended = False
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while not ended:
            ticks += 1
            time.sleep(1e-5)  # waits without the GIL

    thread = threading.Thread(target=tick, daemon=True)
    sys.setswitchinterval(1e6)
    thread.start()
    went_on = False
    deadline = time.monotonic() + 10
    try:
        while not went_on and time.monotonic() < deadline:
            before = ticks
            call()
            went_on = ticks > before
    finally:
        ended = True
    thread.join(TIMEOUT)
    assert went_on

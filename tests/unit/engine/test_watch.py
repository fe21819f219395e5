# SPDX-License-Identifier: MIT
"""Calls that are told to end early, and the progress of a search."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import pgste
from pgste import _threads
from pgste._engine.watch import Stop
from pgste.guarantees import System


def _events(nr: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    numbers = np.arange(nr, dtype=np.uint64)
    return (numbers >> np.uint64(1) & np.uint64(1023)) << np.uint64(8) | numbers & np.uint64(1)


def test_stop_ends_a_call_of_another_thread() -> None:
    events = _events(1 << 24)
    replay = pgste.Replay(pgste.Guest(1024), events)
    stop = Stop()
    errors: list[BaseException] = []

    def body() -> None:
        try:
            stop.run(replay.run)
        except pgste.CancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    time.sleep(0.05)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert stop.is_set()
    assert len(errors) == 1
    assert 0 < replay.position < len(events)
    replay.host.validate()
    with pytest.raises(pgste.CancelledError):
        stop.run(replay.run)
    left = len(events) - replay.position
    assert replay.run() == left


def test_calls_outside_of_run_go_on() -> None:
    stop = Stop()
    assert stop.run(sum, (1, 2)) == 3
    stop.set()
    assert pgste.Guest(1 << 20).find(0, 0).size == 1 << 20


@pytest.mark.parametrize("threads", [1, 3])
def test_one_failure_ends_the_others(threads: int) -> None:
    """No thread is left, and the exception is that of the call that failed."""

    def call(n: int) -> int:
        if n == 0:
            raise KeyError(n)
        return pgste.Replay(pgste.Guest(1024), _events(1 << 24)).run()

    before = threading.active_count()
    start = time.monotonic()
    with pytest.raises(KeyError):
        _threads.run_each(call, range(8), threads)
    assert threading.active_count() == before
    assert time.monotonic() - start < 10


def _sizes(nr: int) -> list[Callable[[], int]]:
    return [lambda n=n: n * n for n in range(nr)]  # type: ignore[misc]


def test_results_are_in_order() -> None:
    assert _threads.run_each(lambda call: call(), _sizes(20), 4) == [n * n for n in range(20)]


def test_progress_of_guarantees_counts_states() -> None:
    told: list[tuple[str, int, int]] = []
    result = pgste.guarantees(
        ["cmma", "none"],
        [System(2, 2, 2, 1)],
        progress=lambda *args: told.append(args),
        threads=2,
    )
    assert told
    assert {key for key, _, _ in told} <= {"cmma", "none"}
    assert all(0 <= done <= total for _, done, total in told)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == told[-1][2] == sum(result.states.values())


@pytest.mark.parametrize("threads", [1, 2])
def test_reports_come_in_the_middle_of_a_call(threads: int) -> None:
    """Also where the thread that is to report makes the call itself."""
    reports: list[int] = []
    here = threading.get_ident()
    replays = [pgste.Replay(pgste.Guest(1024), _events(1 << 24)) for _ in range(threads)]

    def report() -> None:
        assert threading.get_ident() == here
        reports.append(min(replay.position for replay in others))

    others = [pgste.Replay(pgste.Guest(1024), _events(16))]
    _threads.run_each(pgste.Replay.run, replays, threads, report)
    assert len(reports) >= 2
    # a thread that is not the main one reports as well
    before = len(reports)
    replays = [pgste.Replay(pgste.Guest(1024), _events(1 << 24)) for _ in range(threads)]

    def body() -> None:
        nonlocal here
        here = threading.get_ident()
        _threads.run_each(pgste.Replay.run, replays, threads, report)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert len(reports) >= before + 2


@pytest.mark.parametrize("threads", [1, 3])
def test_a_report_that_raises_ends_the_calls(threads: int) -> None:
    replays = [pgste.Replay(pgste.Guest(1024), _events(1 << 24)) for _ in range(4)]

    def report() -> None:
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        _threads.run_each(pgste.Replay.run, replays, threads, report)
    assert any(replay.position < 1 << 24 for replay in replays)
    for replay in replays:
        replay.run()
        replay.host.validate()


def test_a_report_may_make_calls_but_not_on_the_host_in_use() -> None:
    replay = pgste.Replay(pgste.Guest(1024), _events(1 << 24))
    refused: list[BaseException] = []
    found: list[int] = []

    def report() -> None:
        found.append(pgste.Guest(1 << 20).find(0, 0).size)
        try:
            replay.host.stats()
        except pgste.HostBusyError as error:
            refused.append(error)

    _threads.run_each(pgste.Replay.run, [replay], 1, report)
    assert refused
    assert set(found) == {1 << 20}


def test_without_threads_this_one_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import _thread

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert _threads.run_each(lambda call: call(), _sizes(20), 4) == [n * n for n in range(20)]
    assert len(pgste.compare(pgste.sample_trace()[:100], ["none", "cmma"], threads=2).results) == 2


def test_a_thread_that_never_comes_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that has no memory to begin with, which nobody hears of; and one that comes late."""
    import _thread

    begin = _thread.start_new_thread
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, args: 1)
    start = time.monotonic()
    assert _threads.run_each(lambda call: call(), _sizes(20), 3) == [n * n for n in range(20)]
    assert time.monotonic() - start < 3
    late: list[float] = []

    def begin_late(function: Callable[[], object], args: tuple[()]) -> int:
        def run() -> None:
            time.sleep(0.3)
            function()
            late.append(time.monotonic())

        return begin(run, args)

    monkeypatch.setattr(_thread, "start_new_thread", begin_late)
    start = time.monotonic()
    assert _threads.run_each(lambda call: call(), _sizes(20), 3) == [n * n for n in range(20)]
    assert 0.25 < time.monotonic() - start < 3, "it waits for a thread that begins"
    time.sleep(0.1)
    assert len(late) == 2

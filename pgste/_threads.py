# SPDX-License-Identifier: MIT
"""Several calls of this package at once, which Ctrl-C ends together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from pgste._checks import count_of
from pgste._engine.watch import Team, reporting

__all__ = ["MAX_THREADS", "cpus", "run_each", "threads_asked"]

MAX_THREADS = 64

T = TypeVar("T")
R = TypeVar("R")

_SECONDS = 0.1  # between two reports


def cpus() -> int:
    """How many this process may use, up to `MAX_THREADS`."""
    return min(len(os.sched_getaffinity(0)), MAX_THREADS)


def threads_asked(threads: int | None) -> int | None:
    """The checked argument ``threads``; None is as many as there are CPUs, and memory, for."""
    return None if threads is None else count_of("threads", threads, MAX_THREADS)


def run_each(
    call: Callable[[T], R],
    items: Iterable[T],
    threads: int,
    report: Callable[[], object] | None = None,
    *,
    work: Callable[[T], float] = lambda _: 0,
) -> list[R]:
    """What a call gives for each item, in order; ``threads`` of them are made at once.

    Those with the most ``work`` are begun first, so that no thread is left with one at the end.
    This thread is one of them; with ``threads=1``, or where the machine has no other thread to
    give, it makes all the calls.  An exception, be it of a call or KeyboardInterrupt here, ends
    the calls that run within a fraction of a second and drops the others; no thread is left.
    ``report`` is called here every now and then, and at the end.
    """
    items = list(items)
    order = sorted(range(len(items)), key=lambda i: -work(items[i]))
    team = Team(call, [items[i] for i in order])
    now_and_then = _now_and_then(report)
    try:
        for _ in range(min(threads, len(items)) - 1):
            if not team.start():
                break
        if now_and_then is None:
            team.work()
        else:
            reporting(now_and_then, team.work)
        while not team.wait(_SECONDS):
            if now_and_then:
                now_and_then()
    except BaseException as error:  # Ctrl-C while it waits, a report that raises
        team.fail(error)
    while True:
        try:
            while not team.wait(_SECONDS):
                pass
            break
        except BaseException as error:  # Ctrl-C again: the threads end all the same
            team.fail(error)
    results = dict(zip(order, team.finish(), strict=True))
    if report:
        report()
    return [results[i] for i in range(len(items))]


def _now_and_then(report: Callable[[], object] | None) -> Callable[[], None] | None:
    """Call it no more often than people can see."""
    if report is None:
        return None
    due = 0.0

    def call() -> None:
        nonlocal due
        if time.monotonic() >= due:
            report()
            due = time.monotonic() + _SECONDS

    return call

# SPDX-License-Identifier: MIT
"""Several calls of this package at once, which Ctrl-C ends together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pgste._engine.watch import Stop

__all__ = ["run_each"]

T = TypeVar("T")
R = TypeVar("R")

_SECONDS = 0.1  # between two reports


def run_each(
    call: Callable[[T], R],
    items: Iterable[T],
    threads: int,
    report: Callable[[], object] | None = None,
) -> list[R]:
    """What a call gives for each item, in order; ``threads`` of them are made at once.

    An exception, be it of a call or KeyboardInterrupt here, ends the calls that run within a
    fraction of a second and drops the others; no thread is left.  ``report`` is called here
    every now and then, and at the end.
    """
    from concurrent.futures import ThreadPoolExecutor, wait  # takes a while to import

    stop = Stop()
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        futures = [pool.submit(stop.run, call, item) for item in items]
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, _SECONDS if report else None, "FIRST_COMPLETED")
            if report:
                report()
            for future in done:
                future.result()
        return [future.result() for future in futures]
    finally:
        stop.set()
        try:
            pool.shutdown(cancel_futures=True)
        except BaseException:  # Ctrl-C while it waits: the threads end all the same
            pool.shutdown(cancel_futures=True)
            raise

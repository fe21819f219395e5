# SPDX-License-Identifier: MIT
"""Calls beside a thread that overwrites their array, and the processes that make them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]


@contextmanager
def overwriting(array: Any, values: Any) -> Iterator[None]:
    """Another thread writes other values all over the array, then those it had, and so on."""
    good = array.copy()
    stop = threading.Event()

    def overwrite() -> None:
        while not stop.is_set():
            for at in range(0, array.size, 997):
                array[at] = values
            array[: array.size // 2] = values
            array[:] = good

    thread = threading.Thread(target=overwrite)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def while_it_changes(
    call: Callable[[], object],
    array: Any,
    values: Any,
    times: int,
    allowed: tuple[type[Exception], ...],
) -> None:
    """Make a call so often while its array is overwritten, and print how often it was refused."""
    refused = 0
    with overwriting(array, values):
        for _ in range(times):
            try:
                call()
            except allowed:
                refused += 1
    print(refused, "of", times)


def run(prologue: str, program: str, seconds: float = 300) -> str:
    """What a program prints, in a process of its own: a touch outside the tables would end it."""
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", prologue + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"
    return done.stdout

"""One test at a time on this machine's swap, whichever clone its run is of.

Two locks, so that nobody starves: who is next waits for the machine while it has the turnstile,
and whoever has just had the machine must go through the turnstile again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pgste.live.alone import holder
from pgste.live.leftovers import clean

LIMIT = float(os.environ.get("PGSTE_TEST_LOCK_SECONDS", "600"))
NAMES = ("turnstile", "machine")
_depth = 0


def _open(name: str) -> int:
    """The lock file of all users: in /tmp root may not create what another user's file is."""
    path = f"/tmp/pgste-tests-{name}.lock"
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CREAT | os.O_EXCL, os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except (FileNotFoundError, FileExistsError):
            continue
    raise FileNotFoundError(path)


def _lock(fd: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)


@contextmanager
def machine_alone(seconds: float = LIMIT) -> Iterator[None]:
    """Wait for other live tests and live runs to end; a skip that says so if they do not."""
    global _depth
    if _depth:
        yield
        return
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        turnstile, machine = (_open(name) for name in NAMES)
        stack.callback(os.close, machine)
        with ExitStack() as turn:
            turn.callback(os.close, turnstile)
            got = _lock(turnstile, until) and _lock(machine, until)
        if not got:
            pytest.skip(f"other live tests had this machine for {seconds:g} s")
        clean()
        while (pid := holder()) is not None or swap_of_others():
            if time.monotonic() >= until:
                who = f"process {pid}" if pid else "somebody's swap file"
                pytest.skip(f"{who} had this machine's swap for {seconds:g} s")
            time.sleep(0.05)
        _depth += 1
        try:
            yield
        finally:
            _depth -= 1


def swap_of_others() -> bool:
    """Whether a swap file of another run is on, which will go; older versions name it otherwise."""
    return "pgste-swap-" in Path("/proc/swaps").read_text()

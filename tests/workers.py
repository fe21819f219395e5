# SPDX-License-Identifier: MIT
"""The tests on all cores: a process for each, and who runs beside whom.

The workers are those of pytest-xdist.  They come by themselves when folders of tests/ are run;
`-n 0` and whatever looks into single tests (a file's name, -k, -x, -s, --pdb) have one process.
A file's tests stay together on one worker, as they share fixtures, but for the files in SPREAD;
those of tests/live do as well, since they take turns on the machine's swap.

A test marked `alone` has the machine for itself: it measures time, waits for threads that must
meet, or changes what all processes share, such as swap.
"""

from __future__ import annotations

import fcntl
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
MOST = 4  # a worker takes up to 2 GB
#: Files of which each test may go to another worker, as they share little.
SPREAD = (
    "tests/cli/test_bad_calls.py",
    "tests/docs/test_blocks.py",
    "tests/exhaustive/test_legal_words.py",
    "tests/exhaustive/test_state_counts.py",
    "tests/robust/test_abuse_matrix.py",
    "tests/robust/test_ctrl_c.py",
)
#: Long ones go first, so that no worker is left with one when the others have ended.
LONG = ("live", "exhaustive", "robust", "differential", "docs", "stateful")


def choose(config: pytest.Config) -> None:
    """Say how many workers a run has, if its user did not."""
    option = config.option
    if getattr(option, "numprocesses", 0) is not None or "PYTEST_XDIST_WORKER" in os.environ:
        return  # no pytest-xdist here, somebody's choice, or a worker itself
    if not _plain(config):
        return
    option.numprocesses = min(MOST, len(os.sched_getaffinity(0)))
    option.benchmark_disable = True  # it does so itself beside workers, with a warning


def _plain(config: pytest.Config) -> bool:
    """Whether whole folders of tests/ are run, and nothing that one process does better."""
    option = config.option
    looks = ("keyword", "markexpr", "maxfail", "usepdb", "trace", "lf", "stepwise", "collectonly")
    folders = [Path(config.invocation_params.dir, name).resolve() for name in config.args]
    return (
        option.dist == "no"
        and option.capture != "no"
        and not any(getattr(option, name, None) for name in looks)
        and all(each.is_dir() and each.is_relative_to(TESTS) for each in folders)
    )


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Who gives work to the workers: file by file, in the order of `sort`."""
    if config.option.dist != "load":
        return None  # somebody's choice
    config.option.loadscopereorder = False
    # found at run time, as the checkers of types need not have it
    made = importlib.import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    made._split_scope = together
    return made


def together(nodeid: str) -> str:
    """What is the same for tests that stay on one worker."""
    file = nodeid.split("::", 1)[0]
    if file in SPREAD:
        return nodeid
    return "tests/live" if file.startswith("tests/live/") else file


def sort(items: list[pytest.Item]) -> None:
    """First those that need the machine alone, then long ones."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        room = item.path.relative_to(TESTS).parts[0]
        return not is_alone(item), LONG.index(room) if room in LONG else len(LONG)

    first: dict[str, tuple[bool, int]] = {}
    for item in items:  # what stays together has one place, and its order
        unit = together(item.nodeid)
        first[unit] = min(first.get(unit, (True, len(LONG))), place(item))
    items.sort(key=lambda item: first[together(item.nodeid)])


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def turns(config: pytest.Config) -> Turns | None:
    """Nothing but in a worker; all workers of a run have a folder."""
    worker = hasattr(config, "workerinput")
    return Turns(Path(config.option.basetemp).parent) if worker else None


class Turns:
    """One test alone on the machine, or one of each worker side by side.

    Two locks, so that nobody starves: who is next waits for the machine while it has the
    turnstile, and whoever has just had the machine must go through the turnstile again.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.turnstile, self.machine = (
            os.open(folder / f"{name}.lock", flags, 0o600) for name in ("turnstile", "machine")
        )
        self.kept = False

    @contextmanager
    def turn(self, item: pytest.Item, following: pytest.Item | None) -> Iterator[None]:
        """Wait for the machine, and keep it if the next test needs it as well."""
        alone = is_alone(item)
        if not self.kept:
            fcntl.flock(self.turnstile, fcntl.LOCK_EX)
            fcntl.flock(self.machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(self.turnstile, fcntl.LOCK_UN)
        self.kept = alone and following is not None and is_alone(following)
        try:
            yield
        finally:
            if not self.kept:
                fcntl.flock(self.machine, fcntl.LOCK_UN)

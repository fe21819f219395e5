# SPDX-License-Identifier: MIT
"""Fixtures of the tests, and signals as a terminal has them.

nohup, and a shell's background jobs, ignore some signals.  What is ignored stays so in every
process that a test starts, and could not end what the test is about.

PGSTE_TEST_SECONDS in the environment ends a run in which a test takes longer, with where all of
its threads are.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import workers

import pgste

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)


TEST_SECONDS = float(os.environ.get("PGSTE_TEST_SECONDS", "0"))
STDERR = pytest.StashKey[int]()
TURNS = pytest.StashKey[workers.Turns | None]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    workers.choose(config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: has the machine for itself (workers.py)")
    config.stash[STDERR] = os.dup(2)  # before tests capture what goes there
    config.stash[TURNS] = workers.turns(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[TURNS]:
        workers.sort(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return workers.scheduler(config, log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """No test hangs for ever: a C call that does can be ended in no other way."""
    turns = item.config.stash[TURNS]
    with turns.turn(item, nextitem) if turns else nullcontext():
        if TEST_SECONDS:
            file = item.config.stash[STDERR]
            faulthandler.dump_traceback_later(TEST_SECONDS, exit=True, file=file)
        yield
        if TEST_SECONDS:
            faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def _nothing_stays_set_up() -> Iterator[None]:
    """No test leaves a thing in the list of what is set up on the machine (pgste/live/ending.py).

    It would hold the signals of all tests that follow.
    """
    yield
    ending = sys.modules.get("pgste.live.ending")
    if ending is not None:
        assert ending.things() == []


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads take turns often, so that more interleavings happen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def _whole_state(guests: tuple[pgste.Guest, ...]) -> list[Any]:
    """Everything that can be seen of guests and their hosts."""
    state: list[Any] = []
    for guest in guests:
        host = guest.host
        state += [
            guest.pgste().tolist(),
            guest.pte().tolist(),
            guest.states().tolist(),
            guest.is_free().tolist(),
            guest.peek(slice(None)).tolist(),
            [guest.cbrl(vcpu).tolist() for vcpu in range(guest.vcpus)],
            guest.migration_mode,
            guest.stats(),
            host.stats(),
            [host.frame_info(frame) for frame in range(host.frames)],
            [host.slot_info(slot) for slot in range(host.swap_slots)],
            [host.frame_list(name).tolist() for name in ("active", "inactive", "lazyfree")],
        ]
    return state


@pytest.fixture
def unchanged() -> Callable[..., AbstractContextManager[None]]:
    """A context in which nothing about the given guests and their hosts may change."""

    @contextmanager
    def watch(*guests: pgste.Guest) -> Iterator[None]:
        before = _whole_state(guests)
        yield
        assert _whole_state(guests) == before
        for guest in guests:
            guest.host.validate()

    return watch

# SPDX-License-Identifier: MIT
"""Whatever is set up on the machine is taken away again, also when a signal ends the program.

A thing that is set up (`Thing`: a swap file, a cgroup, a mount, a tracing instance) is in a list
from before its first step until it is gone.  While there is one in the list, signals that end a
program (`ENDING`) are taken by a handler of this module:

- Inside a `step` (setting up, taking away) the signal waits for the end of the step, so that no
  step is left half done.
- Within `heard` it is told to whoever asked, and nothing ends.
- If the program has a handler of its own for the signal (Ctrl-C has Python's), that is called, and
  the ``with`` blocks do the rest.
- If not, all that is in the list is taken away, and the signal then ends the program as it would
  have without this module.

What is still in the list when Python exits is taken away then.  Handlers are the main thread's:
a program that sets things up in another thread must see to signals itself.  SIGKILL can not be
caught; `pgste.live.leftovers` finds what it leaves.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

__all__ = ["ENDING", "Thing", "forget", "heard", "holds", "remove_all", "set_up", "step", "things"]

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class Thing(Protocol):
    """Something of this process on the machine."""

    def remove(self) -> None:
        """Take it away, however much of it there is; twice does no harm."""


_things: list[Thing] = []
_before: dict[int, object] = {}
"""The handlers that ours stand in for."""
_listeners: list[Callable[[int], object]] = []
_depth = 0
_waiting: list[int] = []


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handle(number: int, frame: FrameType | None) -> None:
    if _depth:
        _waiting.append(number)
    else:
        _deliver(number, frame)


def _else(number: int) -> object:
    """Python's own handler, where nothing is known of another."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def _deliver(number: int, frame: FrameType | None) -> None:
    if _listeners:
        _listeners[-1](number)
        return
    before = _before.get(number, _else(number))
    if callable(before):
        before(number, frame)
    else:
        remove_all()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _take_signals() -> None:
    if not _in_main_thread():
        return
    for number in ENDING:
        before = signal.getsignal(number)
        # What is ignored (nohup) stays so; None is a handler of another language.
        if before is None or before == signal.SIG_IGN:
            continue
        if before is _handle:
            _before.setdefault(number, _else(number))
        else:  # never taken, or somebody has set another one since
            _before[number] = before
            signal.signal(number, _handle)


def _give_signals_back() -> None:
    if not _in_main_thread():
        return
    for number, before in list(_before.items()):
        if signal.getsignal(number) is _handle:  # or else somebody has set another one since
            signal.signal(number, before)  # type: ignore[arg-type]
        del _before[number]


@contextmanager
def step() -> Iterator[None]:
    """A step that signals do not come into; those that came are delivered at its end.

    A handler may raise then, as Python's does on Ctrl-C, like at the end of any statement.
    """
    global _depth
    if not _in_main_thread():
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            waiting = dict.fromkeys(_waiting)
            _waiting.clear()
            if not (_things or _listeners):
                _give_signals_back()
            for number in waiting:
                if _things or _listeners:
                    _deliver(number, None)
                else:
                    signal.raise_signal(number)


@contextmanager
def heard(call: Callable[[int], object]) -> Iterator[None]:
    """Signals that would end the program are told to `call` instead, for the length of a block.

    In another thread than the main one nothing changes: its signals are not ours to take.
    """
    if not _in_main_thread():
        yield
        return
    with step():
        _take_signals()
        _listeners.append(call)
    try:
        yield
    finally:
        with step():
            _listeners.remove(call)


def set_up(thing: Thing, make: Callable[[], object]) -> None:
    """Put a thing into the list, and make it; take it away again if that fails.

    A signal that came meanwhile may raise at the end, and the thing is taken away then too, since
    no ``with`` block has been entered.  Call it when the thing knows what it will be named.
    """
    try:
        with step():
            _take_signals()
            _things.append(thing)
            make()
    except BaseException:
        with contextlib.suppress(Exception):  # what went wrong first is what matters
            thing.remove()
        raise


def forget(thing: Thing) -> None:
    """It is gone; signals are given back at the end of the `step`."""
    with contextlib.suppress(ValueError):
        _things.remove(thing)


def things() -> list[Thing]:
    """What is set up now, the latest last."""
    return list(_things)


def holds(thing: Thing) -> bool:
    """Whether this process has set it up: a child made by fork has nothing to take away."""
    return any(one is thing for one in _things)


def remove_all() -> None:
    """Take away all that is set up, the latest first; what cannot be is left to the next run."""
    with step():
        for thing in reversed(list(_things)):
            with contextlib.suppress(Exception):
                thing.remove()


def _in_child() -> None:
    """A child made by fork owns nothing of what its parent has set up."""
    global _depth
    _things.clear()
    _listeners.clear()
    _waiting.clear()
    _depth = 0
    _give_signals_back()


atexit.register(remove_all)
os.register_at_fork(after_in_child=_in_child)

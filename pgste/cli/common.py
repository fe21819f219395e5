# SPDX-License-Identifier: MIT
"""What verbs of the command line share: traces, their names, exit statuses and a clean end."""

from __future__ import annotations

import argparse
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.progress import Progress

from pgste.cli.words import printable
from pgste.errors import ArgumentError
from pgste.traces import Budget, Trace, sample_trace
from pgste.traces.events import STORE
from pgste.traces.touch import touched
from pgste.units import format_count, parse_bytes

__all__ = [
    "PARTLY",
    "TRACE_HELP",
    "accesses_line",
    "add_budget",
    "add_live_arguments",
    "add_touch",
    "kernel_name",
    "open_trace",
    "terminable",
    "touch",
    "trace_name",
]

PARTLY = 3
"""Exit status: done, but some of what was asked for was skipped, or was not there."""

TRACE_HELP = (
    "ftrace, perf script or trace-cmd report text, trace.dat, or pgste's own format, plain or "
    "compressed; standard input by -; without it the sample that comes with the package"
)


def add_budget(parser: argparse.ArgumentParser) -> None:
    """The option of every verb that reads a trace."""

    def budget(text: str) -> Budget:
        try:
            return Budget(memory_bytes=parse_bytes(text))
        except ArgumentError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument(
        "--budget",
        type=budget,
        metavar="SIZE",
        help="memory that reading the trace may take, and work in proportion (default 1G, more "
        "for a larger file)",
    )


def open_trace(path: str | None, progress: Progress, budget: Budget | None = None) -> Trace:
    """The trace of a path, of standard input (-), or the sample, under a progress bar."""
    if path is None:
        return sample_trace()
    task = progress.add_task(f"reading {printable(Path(path).name)}", total=None)

    def advance(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    trace = Trace.open("/dev/stdin" if path == "-" else path, progress=advance, budget=budget)
    progress.remove_task(task)
    return trace


def trace_name(path: str | None) -> str:
    """What a trace is called where it is printed."""
    return "the package's sample trace" if path is None else printable(path)


def add_touch(parser: argparse.ArgumentParser) -> None:
    """The option of the verbs that replay a trace."""
    parser.add_argument(
        "--touch",
        metavar="HOW",
        help="loads and stores beside the first store after an allocation: none, uniform:RATE"
        " (accesses an event), zipf:S, or recorded (default: those of the trace, if it has any)",
    )


def touch(trace: Trace, how: str | None) -> Trace:
    """The trace with the accesses that were asked for."""
    return trace if how is None else touched(trace, how)


def accesses_line(trace: Trace, how: str | None) -> str:
    """What a table must say of accesses: how many there are, or what is missing without them."""
    nr = len(trace.accesses)
    if not nr:
        return (
            "no accesses: pages are touched once, after their allocation; what is read from\n"
            "swap is a lower bound (--touch uniform:RATE or zipf:S makes some up)"
        )
    stores = int((trace.accesses & np.uint64(3) == STORE).sum())
    kind = "recorded" if how in (None, "recorded") else f"made up, {how}"
    return f"accesses, {kind}: {format_count(nr - stores)} loads, {format_count(stores)} stores"


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verbs that use the real kernel's memory."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--swap-directory",
        metavar="DIR",
        help="where a swap file is made if one is needed (default: that for temporary files)",
    )


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGQUIT end the block as Ctrl-C does: what was set up is removed."""

    from pgste.live.ending import ENDING, remove_all  # of no use to most verbs

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    for number in ENDING:
        handler = signal.getsignal(number)
        if handler not in (signal.SIG_IGN, None):  # what is ignored (nohup) stays so
            before[number] = handler
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        try:
            remove_all()  # what an interrupt between two statements has kept from its block
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def kernel_name() -> str:
    """The running kernel and machine."""
    return printable(f"Linux {platform.release()}, {platform.machine()}")

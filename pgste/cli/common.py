# SPDX-License-Identifier: MIT
"""What verbs of the command line share: progress, tables, traces, and an end in order."""

from __future__ import annotations

import argparse
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pgste.traces import Trace, sample_trace

__all__ = [
    "TRACE_HELP",
    "add_live_arguments",
    "kernel_name",
    "open_trace",
    "plain_table",
    "progress_bar",
    "terminable",
    "trace_name",
]

TRACE_HELP = (
    "ftrace, perf script or trace-cmd report text, trace.dat, or pgste's own format, plain or "
    "compressed; without it the sample that comes with the package"
)


def progress_bar(told: bool = False) -> Progress:
    """A progress bar on standard error, where it does not mix with the result.

    Behind the bar stand what is done, of how much, and the time that is left; if `told`, each
    task's field of that name instead, and the time it has taken.
    """
    behind: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), TimeRemainingColumn())
    if told:
        behind = (TextColumn("{task.fields[told]}"), TimeElapsedColumn())
    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        *behind,
        console=Console(stderr=True),
        transient=True,
    )


def plain_table(**options: Any) -> Table:
    """A table with a line below its bold head, and none around."""
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", **options
    )


def open_trace(path: str | None, progress: Progress) -> Trace:
    """The trace of a path, or the sample, under a progress bar."""
    if path is None:
        return sample_trace()
    task = progress.add_task(f"reading {Path(path).name}", total=None)

    def advance(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    trace = Trace.open(path, progress=advance)
    progress.remove_task(task)
    return trace


def trace_name(path: str | None) -> str:
    return "the package's sample trace" if path is None else os.fspath(path)


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
    return f"Linux {platform.release()}, {platform.machine()}"

# SPDX-License-Identifier: MIT
"""What verbs of the command line share: progress, tables, traces, and a clean end."""

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
from rich.markup import escape
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

from pgste.errors import ArgumentError
from pgste.traces import Budget, Trace, sample_trace
from pgste.units import parse_bytes

__all__ = [
    "TRACE_HELP",
    "add_budget",
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
    "compressed; - for standard input; without it the sample that comes with the package"
)


def progress_bar(told: bool = False) -> Progress:
    """A progress bar on standard error, where it does not mix with the result.

    After the bar come what is done, the total, and the time that is left; if `told`, each task's
    field of that name instead, and the time it has taken.
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
    """A table with a line below its bold head, and no frame."""
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", **options
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
    task = progress.add_task(f"reading {escape(Path(path).name)}", total=None)

    def advance(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    trace = Trace.open("/dev/stdin" if path == "-" else path, progress=advance, budget=budget)
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
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was set up is removed."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def kernel_name() -> str:
    """The running kernel and machine."""
    return f"Linux {platform.release()}, {platform.machine()}"

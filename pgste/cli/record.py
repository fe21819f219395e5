# SPDX-License-Identifier: MIT
"""The verb record: this machine's page allocator while a command runs."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from pgste.cli.common import PARTLY
from pgste.cli.terminal import print_json, progress_bar
from pgste.cli.words import number, printable, whole_number
from pgste.live.record import Recording, import_perf, record
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: what to run")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="recording.pgt", help="default recording.pgt"
    )
    parser.add_argument(
        "--pid", type=whole_number, metavar="N", help="only this process and the children it starts"
    )
    parser.add_argument("--comm", metavar="NAME", help="only tasks of this name (* is anything)")
    parser.add_argument(
        "--seconds", type=number, metavar="N", help="at most this long (default: to the end, or ^C)"
    )
    parser.add_argument(
        "--buffer", metavar="SIZE", default="8M", help="ring buffer of each CPU (default 8M)"
    )
    parser.add_argument(
        "--import", dest="perf", metavar="PERF.DATA", help="read what perf record recorded instead"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what was recorded as JSON; COMMAND's output goes to standard error",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    if args.perf is not None:
        if args.command:
            raise ValueError("--import reads a file; it takes no COMMAND")
        trace = import_perf(args.perf)
        trace.save(args.output)
        if args.json:
            print_json({"output": args.output, "summary": trace.summary()})
        else:
            console.print(f"saved: {printable(args.output)}, {format_count(len(trace))} events")
        return 0
    if not args.command and args.pid is None and args.seconds is None and not sys.stdin.isatty():
        raise ValueError("say what to wait for: -- COMMAND, --pid N or --seconds N")
    _check_output(args.output)
    with progress_bar(told=True) as progress:
        task = progress.add_task("recording", total=None, told="")

        def advance(events: int, lost: int, seconds: float) -> None:
            told = f"{events:,} events" + (f", {lost:,} lost" if lost else "")
            progress.update(task, told=told)

        recording = record(
            args.command,
            pid=args.pid,
            comm=args.comm,
            seconds=args.seconds,
            buffer_kb=parse_frames(args.buffer, 1, "--buffer") * PAGE_BYTES // 1024,
            # standard output is for the JSON document alone
            stdout=sys.stderr.fileno() if args.json else None,
            progress=advance,
        )
    if len(recording.trace):  # nothing takes no older recording's place
        recording.trace.save(args.output)
    if args.json:
        print_json(_plain(recording, args.output))
    else:
        _print(recording, args, console)
    if recording.interrupted:
        return 130
    if recording.exit_status:
        return recording.exit_status if recording.exit_status > 0 else 128 - recording.exit_status
    return 0 if len(recording.trace) else PARTLY


def _check_output(path: str) -> None:
    """OSError or ValueError, before anything is recorded, if there can be no such file."""
    os.stat(Path(path).parent)
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with contextlib.suppress(FileNotFoundError):
        os.lstat(path)


def _plain(recording: Recording, output: str) -> dict[str, Any]:
    return {
        "output": output if len(recording.trace) else None,
        "summary": recording.trace.summary(),
        "lost": recording.lost,
        "seconds": recording.seconds,
        "cpus": recording.cpus,
        "exit_status": recording.exit_status,
        "interrupted": recording.interrupted,
    }


def _print(recording: Recording, args: argparse.Namespace, console: Console) -> None:
    if len(recording.trace):
        _print_trace(recording, args, console)
    else:
        console.print(f"{_nothing(args)}; {printable(args.output)} was not written", style="yellow")
    if recording.lost:
        console.print(
            f"{format_count(recording.lost)} events were lost: the buffers were full; give them "
            "more with --buffer",
            style="bold yellow",
        )
    elif len(recording.trace):
        console.print("no event was lost")
    if recording.interrupted:
        console.print("interrupted: this is what was recorded until then", style="yellow")
    elif recording.exit_status:
        console.print(f"the command's exit status was {recording.exit_status}", style="yellow")


def _print_trace(recording: Recording, args: argparse.Namespace, console: Console) -> None:
    summary = recording.trace.summary()
    rate = len(recording.trace) / recording.seconds if recording.seconds else 0.0
    console.print(
        f"saved: {printable(args.output)}, {format_bytes(Path(args.output).stat().st_size)}\n"
        f"{format_count(summary['alloc_events'])} allocs and "
        f"{format_count(summary['free_events'])} frees of "
        f"{format_count(summary['unique_pages'])} pages in {recording.seconds:.2f} s "
        f"({format_count(rate)} a second) on {recording.cpus} CPUs"
    )


def _nothing(args: argparse.Namespace) -> str:
    """Why a recording may have no events."""
    asked = []
    if args.comm is not None:
        asked.append(f"a task of the name {printable(args.comm)}")
    if args.pid is not None:
        asked.append(f"process {args.pid} or a child of it")
    if not asked:
        return "nothing was recorded: no page was allocated or freed in that time"
    return f"nothing was recorded: no event was of {' and of '.join(asked)}"

# SPDX-License-Identifier: MIT
"""The verb record: this machine's page allocator while a command runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from pgste.cli.common import progress_bar
from pgste.live.record import import_perf, record
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: what to run")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="recording.pgt", help="default recording.pgt"
    )
    parser.add_argument(
        "--pid", type=int, metavar="N", help="only this process and the children it starts"
    )
    parser.add_argument("--comm", metavar="NAME", help="only tasks of this name (* is anything)")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="at most this long (default: to the end, or ^C)"
    )
    parser.add_argument(
        "--buffer", metavar="SIZE", default="8M", help="ring buffer of each CPU (default 8M)"
    )
    parser.add_argument(
        "--import", dest="perf", metavar="PERF.DATA", help="read what perf record recorded instead"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    if args.perf:
        if args.command:
            raise ValueError("--import reads a file; it takes no COMMAND")
        trace = import_perf(args.perf)
        trace.save(args.output)
        console.print(
            f"saved: {args.output}, {format_count(len(trace))} events",
            highlight=False,
            markup=False,
        )
        return 0
    if not args.command and args.pid is None and args.seconds is None and not sys.stdin.isatty():
        raise ValueError("say what to wait for: -- COMMAND, --pid N or --seconds N")
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
            buffer_kb=parse_frames(args.buffer, 1) * PAGE_BYTES // 1024,
            progress=advance,
        )
    trace = recording.trace
    trace.save(args.output)
    summary = trace.summary()
    rate = len(trace) / recording.seconds if recording.seconds else 0.0
    console.print(
        f"saved: {args.output}, {format_bytes(Path(args.output).stat().st_size)}\n"
        f"{format_count(summary['alloc_events'])} allocs and "
        f"{format_count(summary['free_events'])} frees of "
        f"{format_count(summary['unique_pages'])} pages in {recording.seconds:.2f} s "
        f"({format_count(rate)} a second) on {recording.cpus} CPUs",
        highlight=False,
        markup=False,
    )
    if recording.lost:
        console.print(
            f"{format_count(recording.lost)} events were lost: the buffers were full; give them "
            "more with --buffer",
            style="bold yellow",
            highlight=False,
            markup=False,
        )
    else:
        console.print("no event was lost", highlight=False, markup=False)
    if recording.interrupted:
        console.print("interrupted: this is what was recorded until then", style="yellow")
        return 130
    if recording.exit_status:
        console.print(f"the command's exit status was {recording.exit_status}", style="yellow")
        return recording.exit_status if recording.exit_status > 0 else 128 - recording.exit_status
    return 0

# SPDX-License-Identifier: MIT
"""The verb record: this machine's page allocator while a command runs."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from pgste.cli.common import PARTLY
from pgste.cli.terminal import print_json, progress_bar
from pgste.cli.words import number, printable, whole_number
from pgste.live.record import Accesses, Recording, import_perf, record
from pgste.traces import Trace
from pgste.traces.damon import with_damo
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = ["add_arguments", "run"]

_PERF = b"PERFILE"


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
        "--access",
        action="store_true",
        help="record accesses too, by DAMON over physical addresses (estimates, of regions)",
    )
    parser.add_argument(
        "--import",
        dest="imported",
        metavar="TRACE",
        help="read what perf record has recorded, or any trace, instead",
    )
    parser.add_argument(
        "--damo",
        metavar="DAMO.DATA",
        help="with --import: accesses that damo record has written, of physical addresses",
    )
    parser.add_argument(
        "--samples",
        type=whole_number,
        metavar="N",
        help="with --damo: samples in an aggregation interval, if DAMO.DATA does not say",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what was recorded as JSON; COMMAND's output goes to standard error",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    if args.imported is not None:
        return _run_import(args, console)
    for name, value in (("--damo", args.damo), ("--samples", args.samples)):
        if value is not None:
            raise ValueError(f"{name} goes with --import; --access records accesses of this run")
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
            access=args.access,
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


def _run_import(args: argparse.Namespace, console: Console) -> int:
    if args.command:
        raise ValueError("--import reads a file; it takes no COMMAND")
    if args.access:
        raise ValueError("--access records accesses of this machine; --import takes --damo")
    if args.samples is not None and args.damo is None:
        raise ValueError("--samples goes with --damo")
    trace = _imported(args.imported)
    if args.damo is not None:
        trace = with_damo(trace, args.damo, most=args.samples)
    trace.save(args.output)
    if args.json:
        print_json(
            {
                "output": args.output,
                "accesses": len(trace.accesses),
                "accesses_left_out": trace.counters.get("accesses_left_out", 0),
                "summary": trace.summary(),
            }
        )
        return 0
    console.print(f"saved: {printable(args.output)}, {format_count(len(trace))} events")
    if args.damo is not None:
        console.print(f"accesses, by {printable(args.damo)}: {_drawn(trace)}")
    return 0


def _imported(path: str) -> Trace:
    """What perf record has recorded, or any trace."""
    with open(path, "rb") as file:
        binary = file.read(len(_PERF)) == _PERF
    return import_perf(path) if binary else Trace.open(path)


def _drawn(trace: Trace) -> str:
    """How many accesses came of regions, and how many were left out."""
    left_out = trace.counters.get("accesses_left_out", 0)
    text = f"{format_count(len(trace.accesses))} loads"
    return text + (f"; {format_count(left_out)} of pages not in use, left out" if left_out else "")


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
        "accesses": _plain_accesses(recording),
    }


def _plain_accesses(recording: Recording) -> dict[str, Any] | None:
    if recording.accesses is None:
        return None
    return {
        "loads": len(recording.trace.accesses),
        "left_out": recording.trace.counters.get("accesses_left_out", 0),
        **asdict(recording.accesses),
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
    if recording.accesses is not None:
        _print_accesses(recording, recording.accesses, console)
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


def _print_accesses(recording: Recording, accesses: Accesses, console: Console) -> None:
    told = accesses.monitoring
    whose = "set up for this" if accesses.own else "somebody else's, listened to"
    watched = sum(end - start for start, end in accesses.ranges)
    console.print(
        f"accesses: {_drawn(recording.trace)}\n"
        f"by DAMON, {whose}: {format_count(accesses.snapshots)} snapshots of "
        f"{told.aggregation_us / 1000:g} ms, a sample each {told.sample_us / 1000:g} ms, "
        f"{format_count(accesses.regions)} regions in all, of {format_bytes(watched)}"
    )
    if accesses.problem:
        console.print(f"no accesses: {printable(accesses.problem)}", style="yellow")
    if accesses.lost:
        console.print(f"{format_count(accesses.lost)} regions were lost", style="bold yellow")


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

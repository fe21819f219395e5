# SPDX-License-Identifier: MIT
"""The verb map: the states of all pages at one moment of a replay."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from pgste._engine import Guest, Host, Replay, mechanisms
from pgste.cli.common import TRACE_HELP, add_budget, open_trace, trace_name
from pgste.cli.terminal import Grid, print_json, progress_bar
from pgste.cli.words import number, printable
from pgste.enums import PteBits
from pgste.study.picture import check_picture
from pgste.study.sizes import check_room, guest_pages, kernel_watermarks
from pgste.units import format_count, parse_frames

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=TRACE_HELP)
    add_budget(parser)
    parser.add_argument(
        "--mechanism",
        choices=mechanisms(),
        default="cmma",
        metavar="NAME",
        help=f"one of {', '.join(mechanisms())} (default cmma)",
    )
    parser.add_argument(
        "--at",
        type=number,
        default=0.5,
        metavar="SHARE",
        help="after this share of the events, 0 to 1 (default 0.5)",
    )
    parser.add_argument("--host-frames", metavar="N", help="frames of the host, as for compare")
    parser.add_argument(
        "--output",
        metavar="FILE",
        default="map.png",
        help="the picture: .png, .svg or .pdf (default map.png)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    if not 0 <= args.at <= 1:
        raise ValueError(f"--at: {args.at} is not between 0 and 1")
    check_picture(args.output, "--output")
    with progress_bar() as progress:
        trace = open_trace(args.trace, progress, args.budget)
        summary = trace.summary()
        peak = summary["peak_in_use"]
        frames = parse_frames("75%" if args.host_frames is None else args.host_frames, peak)
        base, pages = guest_pages(summary)
        low, high = kernel_watermarks(frames)
        slots = summary["unique_pages"] + 64
        check_room(
            trace,
            summary,
            guests=1,
            host_frames=frames,
            swap_slots=slots,
            mechanisms=[args.mechanism],
            array_bytes=32,  # states, words and classes of all pages
        )
        host = Host(frames, slots, low=low, high=high)
        guest = Guest(pages, host=host, mechanism=args.mechanism)
        replay = Replay([guest], trace.events, trace.time, base)
        nr = round(len(trace) * args.at)
        task = progress.add_task(args.mechanism, total=nr)
        _run_in_steps(replay, nr, lambda done: progress.update(task, completed=done))
    from pgste.study import plot  # matplotlib takes longer to import than most verbs to run

    classes = plot.classify(
        guest.states(),
        (guest.pte() & np.uint64(PteBits.PRESENT)) != 0,
        guest.is_free().astype(bool),
    )
    seconds = float(trace.time[max(nr - 1, 0)] - trace.time[0]) * 1e-9
    title = (
        f"{_short_name(args.trace)}, {args.mechanism}, after {nr:,} events "
        f"({seconds:.2f} s); host {frames:,} frames"
    )
    plot.plot_map(classes, base, title, args.output)
    counts = np.bincount(classes, minlength=len(plot.MAP_CLASSES))
    if args.json:
        print_json(
            {
                "trace": "the package's sample trace" if args.trace is None else args.trace,
                "mechanism": args.mechanism,
                "events": nr,
                "seconds": seconds,
                "host_frames": frames,
                "states": {
                    name: int(count)
                    for (name, _), count in zip(plot.MAP_CLASSES, counts, strict=True)
                },
                "picture": args.output,
            }
        )
        return 0
    table = Grid()
    table.add_column("state")
    table.add_column("pages", justify="right")
    for (name, _), count in zip(plot.MAP_CLASSES, counts, strict=True):
        table.add_row(name, format_count(int(count)))
    console.print(title)
    console.print()
    console.print(table)
    console.print(f"\ndrawn: {printable(args.output)}")
    return 0


def _short_name(path: str | None) -> str:
    return trace_name(None) if path is None else printable(Path(path).name)


def _run_in_steps(replay: Replay, nr: int, done: Callable[[int], object]) -> None:
    at = 0
    while at < nr:
        at += replay.run(min(nr - at, max(nr // 100, 1)))
        done(at)

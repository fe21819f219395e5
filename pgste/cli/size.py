# SPDX-License-Identifier: MIT
"""The verb size: the smallest host for each mechanism."""

from __future__ import annotations

import argparse

from rich.console import Console

from pgste._engine import mechanisms
from pgste.cli.common import TRACE_HELP, add_budget, open_trace, trace_name
from pgste.cli.terminal import Grid, bars_by_name, print_json, progress_bar
from pgste.cli.words import whole_number
from pgste.study.smallest import Smallest, smallest_hosts
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_bytes

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=TRACE_HELP)
    add_budget(parser)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--no-swap",
        action="store_true",
        help="the smallest host without swap on which the trace runs to its end",
    )
    goal.add_argument(
        "--max-swap-rate",
        metavar="RATE",
        help="the smallest host that writes to swap and reads from it no more bytes a second (10M)",
    )
    parser.add_argument(
        "--mechanisms",
        metavar="LIST",
        help=f"which of {','.join(mechanisms())}, separated by commas (default: all)",
    )
    parser.add_argument(
        "--guests",
        type=whole_number,
        default=1,
        metavar="N",
        help="number of guests on the host (default 1)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number,
        metavar="N",
        help="mechanisms at once (default: as many as there are CPUs, and memory, for)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _rate(value: float | None) -> str:
    return "out of memory" if value is None else f"{format_bytes(value)}/s"


def _table(found: Smallest) -> Grid:
    table = Grid(dense=True)
    titles = ["mechanism", "host memory", "frames", "swap traffic", "one frame less", "replays"]
    if found.max_swap_rate is None:
        titles.remove("swap traffic")
    for title in titles:
        table.add_column(title, justify="left" if title == "mechanism" else "right")
    for one in found.results:
        below = "" if one.frames == 1 else _rate(one.swap_rate_below)
        rates = [below] if found.max_swap_rate is None else [_rate(one.swap_rate), below]
        memory = format_bytes(one.frames * PAGE_BYTES)
        table.add_row(one.mechanism, memory, format_count(one.frames), *rates, str(one.replays))
    return table


def run(args: argparse.Namespace, console: Console) -> int:
    names = args.mechanisms.split(",") if args.mechanisms is not None else None
    rate = None
    if args.max_swap_rate is not None:
        rate = 0 if args.max_swap_rate.strip() == "0" else parse_bytes(args.max_swap_rate)
    with progress_bar() as progress:
        trace = open_trace(args.trace, progress, args.budget)
        found = smallest_hosts(
            trace,
            names,
            args.guests,
            no_swap=args.no_swap,
            max_swap_rate=rate,
            threads=args.threads,
            progress=bars_by_name(progress),
        )
    if args.json:
        print_json(found.to_dict())
        return 0
    guests = "1 guest" if found.guests == 1 else f"{found.guests} guests"
    goal = "no swap" if rate is None else f"at most {format_bytes(rate)}/s of swap traffic"
    console.print(f"{trace_name(args.trace)}, {guests}: the smallest host with {goal}\n")
    console.print(_table(found))
    return 0

# SPDX-License-Identifier: MIT
"""The verb calibrate: what hints, page faults and swap cost on this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from pgste.cli.common import (
    add_live_arguments,
    kernel_name,
    plain_table,
    progress_bar,
    terminable,
)
from pgste.live.calibrate import LENGTHS, Cost, Profile, calibrate
from pgste.units import format_bytes, format_count

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="N", help="how long (default 30)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="save the profile (JSON)")
    parser.add_argument("--no-swap", action="store_true", help="leave swap out")
    add_live_arguments(parser)


_ADVICE_ROWS = ("call", "page", "nothing", *LENGTHS)


def _time(ns: float) -> str:
    if ns < 10:
        return f"{ns:.1f} ns"
    if ns < 10_000:
        return f"{ns:,.0f} ns"
    return f"{ns / 1000:,.1f} µs"


def _spread(cost: Cost) -> str:
    """Half the distance of the quartiles, as a share of the median."""
    if not cost.median:
        return ""
    return f"[dim]±{(cost.q3 - cost.q1) / 2 / cost.median:.0%}[/dim]"


def _advice_table(profile: Profile) -> Table:
    table = plain_table()
    table.add_column("madvise", no_wrap=True)
    for name in ("DONTNEED", "FREE"):
        table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", justify="right", no_wrap=True)
    for row in _ADVICE_ROWS:
        title = {
            "call": "a call, without its pages",
            "page": "each page of it",
            "nothing": "of a page of nothing",
        }.get(str(row), f"of {row} page{'s' if row != 1 else ''}")
        cells = []
        for name in ("dontneed", "free"):
            cost = profile.costs[f"{name}_{row}"]
            cells += [_time(cost.median), _spread(cost)]
        table.add_row(title, *cells)
    return table


def _cost_table(profile: Profile) -> Table:
    table = plain_table()
    table.add_column("", no_wrap=True)
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("rounds", justify="right", no_wrap=True)
    for name, cost in profile.costs.items():
        if not name.startswith(("dontneed_", "free_")):
            table.add_row(
                cost.meaning, _time(cost.median), _spread(cost), format_count(cost.rounds)
            )
    return table


def run(args: argparse.Namespace, console: Console) -> int:
    with terminable(), progress_bar(told=True) as progress:
        task = progress.add_task("calibrate", total=None, told="")
        profile = calibrate(
            args.seconds,
            swap=not args.no_swap,
            swap_directory=args.swap_directory,
            progress=lambda what: progress.update(task, told=what),
        )
    if args.output:
        profile.save(args.output)
    if args.json:
        print(json.dumps(asdict(profile)))
        return 0
    about = profile.machine
    console.print(
        f"{about['cpu']}, {about['cpus']} CPUs, {format_bytes(about['memory_bytes'])}, "
        f"{kernel_name()}; {profile.seconds:.0f} s",
        highlight=False,
        markup=False,
    )
    console.print()
    console.print(_advice_table(profile))
    console.print()
    console.print(_cost_table(profile))
    for what, why in profile.skipped.items():
        console.print(f"\nskipped: {what}: {why}", style="yellow", highlight=False, markup=False)
    if args.output:
        console.print(f"\nsaved: {args.output}", highlight=False, markup=False)
    return 0

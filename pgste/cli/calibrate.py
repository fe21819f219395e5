# SPDX-License-Identifier: MIT
"""The verb calibrate: what hints, page faults and swap cost on this machine."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from pgste.cli.common import PARTLY, add_live_arguments, kernel_name, terminable
from pgste.cli.terminal import Grid, print_json, progress_bar
from pgste.cli.words import number, printable
from pgste.live.calibrate import LENGTHS, Cost, Profile, calibrate
from pgste.units import format_bytes, format_count

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=number, default=30.0, metavar="N", help="how long (default 30)"
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


def _spread(cost: Cost) -> Text:
    """Half the distance of the quartiles, as a share of the median."""
    if not cost.median:
        return Text()
    return Text(f"±{(cost.q3 - cost.q1) / 2 / cost.median:.0%}", style="dim")


def _advice_table(profile: Profile) -> Grid:
    table = Grid(together=2)
    table.add_column("madvise")
    for name in ("DONTNEED", "FREE"):
        table.add_column(name, justify="right")
        table.add_column("", justify="right")
    for row in _ADVICE_ROWS:
        title = {
            "call": "a call, without its pages",
            "page": "each page of it",
            "nothing": "of a page of nothing",
        }.get(str(row), f"of {row} page{'s' if row != 1 else ''}")
        cells: list[str | Text] = []
        for name in ("dontneed", "free"):
            cost = profile.costs[f"{name}_{row}"]
            cells += [_time(cost.median), _spread(cost)]
        table.add_row(title, *cells)
    return table


def _cost_table(profile: Profile) -> Grid:
    table = Grid(together=2)
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("", justify="right")
    table.add_column("rounds", justify="right")
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
    if args.output is not None:
        profile.save(args.output)
    # What was left out on request was not asked for; a machine without huge pages has no costs.
    status = PARTLY if "swap" in profile.skipped and not args.no_swap else 0
    if args.json:
        print_json(asdict(profile))
        return status
    about = profile.machine
    console.print(
        f"{printable(about['cpu'])}, {about['cpus']} CPUs, {format_bytes(about['memory_bytes'])}, "
        f"{kernel_name()}; {profile.seconds:.0f} s"
    )
    console.print()
    console.print(_advice_table(profile))
    console.print()
    console.print(_cost_table(profile))
    for what, why in profile.skipped.items():
        console.print(f"\nskipped: {what}: {printable(why)}", style="yellow")
    if args.output is not None:
        console.print(f"\nsaved: {printable(args.output)}")
    return status

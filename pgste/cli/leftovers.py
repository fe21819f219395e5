# SPDX-License-Identifier: MIT
"""The job clean of the verb live: what live runs have on this machine, and the end of litter."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from pgste.cli.terminal import Grid, print_json
from pgste.cli.words import printable
from pgste.live.leftovers import Leftover, clean, find

__all__ = ["run_clean"]


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def run_clean(args: argparse.Namespace, console: Console) -> int:
    found = find(args.swap_directory)
    removed: list[Leftover] = []
    failed: list[tuple[Leftover, str]] = []
    if not args.dry_run:
        removed, failed = clean(args.swap_directory)
    # What died since it was listed was removed too.
    known = {left.path for left in found}
    found += [left for left in [*removed, *(one for one, _ in failed)] if left.path not in known]
    why = {left.path: text for left, text in failed}
    gone = {left.path for left in removed}
    if not args.dry_run:  # the others that were dead somebody else has removed meanwhile
        gone |= {left.path for left in found if left.owner == "dead"} - set(why)
    if args.json:
        rows = [
            {
                **asdict(left),
                "path": str(left.path),
                "removed": left.path in gone,
                "why_not": why.get(left.path),
            }
            for left in found
        ]
        print_json({"dry_run": args.dry_run, "found": rows})
        return int(bool(failed))
    if not found:
        console.print("nothing is set up, and nothing was left behind")
        return 0
    table = Grid(labels=2)
    table.add_column("kind")
    table.add_column("name")
    table.add_column("owner", justify="right")
    table.add_column("")
    table.add_column("age", justify="right")
    for left in found:
        # Only what is named by our rule is found, but its folder is of the user's naming.
        name = printable(left.path.name)
        table.add_row(left.kind, name, str(left.pid), left.owner, _age(left.age))
    console.print(table)
    console.print()
    dead = sum(left.owner == "dead" for left in found)
    told = f"would be removed: {dead}" if args.dry_run else f"removed: {len(gone)}"
    console.print(f"{told}; in use, left alone: {len(found) - dead}")
    for left, text in failed:
        console.print(
            Text(f"not removed: {printable(left.path)}: {printable(text)}", style="yellow")
        )
    return int(bool(failed))

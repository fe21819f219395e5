# SPDX-License-Identifier: MIT
"""The verb info: what is in a trace."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from pgste.cli.common import TRACE_HELP, add_budget, open_trace, trace_name
from pgste.cli.terminal import Grid, print_json, progress_bar
from pgste.cli.words import printable
from pgste.traces.trace import Trace
from pgste.units import format_count, format_rate

__all__ = ["add_arguments", "run"]

_ROWS: tuple[tuple[str, str], ...] = (
    ("alloc_events", "alloc events"),
    ("free_events", "free events"),
    ("pages_allocated", "pages allocated"),
    ("pages_freed", "pages freed"),
    ("frees_of_allocated", "frees of pages allocated earlier"),
    ("frees_of_unknown", "frees of pages never seen, or freed already"),
    ("frees_of_block", "frees of the block as it was allocated"),
    ("frees_of_part", "frees of a part of a larger block"),
    ("allocs_of_live", "allocs that hit a live page"),
    ("unique_allocated", "different pages allocated"),
    ("unique_pages", "different pages in any event"),
    ("peak_live", "peak of live pages, from an empty start"),
    ("live_at_end", "live pages at the end"),
    ("live_at_start", "pages live at the start (first event is a free)"),
    ("peak_in_use", "peak of pages in use, those of the start included"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=TRACE_HELP)
    add_budget(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--save", metavar="FILE", help="also save it in pgste's own format (.pgt)")


def _info(trace: Trace, name: str) -> dict[str, Any]:
    return {
        "trace": name,
        "format": trace.format,
        "compression": trace.compression,
        "seconds": trace.seconds,
        "summary": trace.summary(),
        "reader": trace.counters,
    }


def run(args: argparse.Namespace, console: Console) -> int:
    with progress_bar() as progress:
        trace = open_trace(args.trace, progress, args.budget)
    info = _info(trace, "the package's sample trace" if args.trace is None else args.trace)
    if args.save is not None:
        trace.save(args.save)
    if args.json:
        print_json(info)
        return 0
    summary = info["summary"]
    compression = f", {info['compression']}" if info["compression"] else ""
    rate = len(trace) / trace.seconds if trace.seconds else 0.0
    console.print(
        f"{trace_name(args.trace)}: {printable(trace.format)}{compression}\n"
        f"{trace.seconds:.2f} s, {format_rate(rate)} events, "
        f"pfn {summary['lowest_pfn']:#x} to {summary['highest_pfn']:#x}"
    )
    console.print()
    table = Grid(head=None)
    table.add_column("")
    table.add_column("", justify="right")
    for key, title in _ROWS:
        table.add_row(title, format_count(summary[key]))
    console.print(table)
    console.print()
    orders = Grid()
    for title in ("order", "alloc events", "free events"):
        orders.add_column(title, justify="right")
    allocs, frees = summary["alloc_orders"], summary["free_orders"]
    for order in sorted({*allocs, *frees}):
        orders.add_row(
            str(order), format_count(allocs.get(order, 0)), format_count(frees.get(order, 0))
        )
    console.print(orders)
    told = {key: value for key, value in info["reader"].items() if value}
    if told:
        console.print()
        console.print(
            "reader: "
            + ", ".join(f"{printable(key)} {format_count(value)}" for key, value in told.items())
        )
    if args.save is not None:
        console.print(f"saved: {printable(args.save)}")
    return 0

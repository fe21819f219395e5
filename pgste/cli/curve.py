# SPDX-License-Identifier: MIT
"""The verb curve: swap traffic and faults of each mechanism over every size of the host."""

from __future__ import annotations

import argparse

from rich.console import Console

from pgste._engine import mechanisms
from pgste.cli.common import TRACE_HELP, add_budget, open_trace, trace_name
from pgste.cli.terminal import Grid, bars_by_name, print_json, progress_bar
from pgste.cli.words import number, printable, whole_number
from pgste.study.curve import Curve, curve
from pgste.study.picture import check_picture
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = ["add_arguments", "run"]

_ROWS = 12  # of a table; JSON and picture have every size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=TRACE_HELP)
    add_budget(parser)
    parser.add_argument(
        "--mechanisms",
        metavar="LIST",
        help=f"which of {','.join(mechanisms())}, separated by commas (default: all)",
    )
    parser.add_argument(
        "--sizes",
        metavar="LIST",
        default="100",
        help="how many sizes of the host (default 100), or which, separated by commas: frames, "
        "shares of the guests' peak (75%%) or sizes (160M)",
    )
    parser.add_argument(
        "--guests",
        type=whole_number,
        default=1,
        metavar="N",
        help="number of guests on the host (default 1)",
    )
    parser.add_argument(
        "--share",
        type=number,
        default=1.0,
        metavar="SHARE",
        help="of the pages, those that are looked at, up to 1 (default 1); with less no "
        "whole host is replayed, and no error is known: for traces that are too long for replays",
    )
    parser.add_argument(
        "--replays",
        type=whole_number,
        default=18,
        metavar="N",
        help="replays of each mechanism, at most, that check the curve and correct it, beside "
        "those on small hosts; 0: exact LRU order (default 18)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number,
        metavar="N",
        help="mechanisms at once (default: as many as there are CPUs, and memory, for)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw swap traffic and faults (.png, .svg or .pdf)"
    )


def _sizes(text: str, peak: int) -> int | list[int]:
    words = text.split(",")
    if len(words) == 1 and words[0].strip().isdecimal():
        return int(words[0][:20])  # which is more than there can be
    return [parse_frames(word, peak, "size") for word in words]


def _table(found: Curve, name: str) -> Grid:
    table = Grid(dense=True)
    table.add_column("host memory", justify="right")
    table.add_column("frames", justify="right")
    for line in found.lines:
        table.add_column(line.mechanism, justify="right")
    rows = min(_ROWS, len(found.sizes))
    for i in (row * len(found.sizes) // rows - 1 for row in range(1, rows + 1)):
        frames = int(found.sizes[i])
        cells = [format_count(round(float(getattr(line, name)[i]))) for line in found.lines]
        table.add_row(format_bytes(frames * PAGE_BYTES), format_count(frames), *cells)
    return table


def _error_table(found: Curve) -> Grid | str:
    if not any(line.error for line in found.lines):
        return found.error_text()
    table = Grid(dense=True)
    for title in (
        "% of the curve's top",
        "small",
        "replays",
        "swap, mean",
        "worst",
        "faults, mean",
        "worst",
    ):
        table.add_column(title, justify="left" if title.startswith("%") else "right")
    for line in found.lines:
        if line.error:
            error = line.error
            shares = [
                share[name] for name in ("swap_traffic", "faults")
                for share in (error.mean, error.worst)
            ]  # fmt: skip
            checked = f"{len(line.replayed)}+{len(error.sizes)}"
            small = format_count(len(line.small))
            shown = (f"{share * 100:.2f}" for share in shares)
            table.add_row(line.mechanism, small, checked, *shown)
    return table


def run(args: argparse.Namespace, console: Console) -> int:
    if args.plot is not None:
        check_picture(args.plot, "--plot")
    names = args.mechanisms.split(",") if args.mechanisms is not None else None
    with progress_bar() as progress:
        trace = open_trace(args.trace, progress, args.budget)
        sizes = _sizes(args.sizes, args.guests * trace.summary()["peak_in_use"])
        found = curve(
            trace,
            names,
            sizes,
            args.guests,
            share=args.share,
            replays=args.replays,
            threads=args.threads,
            progress=bars_by_name(progress),
        )
    if args.plot is not None:
        found.plot(args.plot)
    if args.json:
        print_json(found.to_dict())
        return 0
    guests = "1 guest" if found.guests == 1 else f"{found.guests} guests"
    peak = found.guests * found.summary["peak_in_use"]
    console.print(
        f"{trace_name(args.trace)}: {format_count(found.summary['events'])} events, {guests}, at "
        f"most {format_bytes(peak * PAGE_BYTES)} in use"
    )
    console.print("\npages written to swap and read from it\n")
    console.print(_table(found, "swap_traffic"))
    console.print("\npage faults that need a frame\n")
    console.print(_table(found, "faults"))
    console.print(f"\n{found.finding()}")
    console.print("\nhow far replays at sizes between were from the curve\n")
    console.print(_error_table(found))
    if args.plot is not None:
        console.print(f"\ndrawn: {printable(args.plot)}")
    return 0

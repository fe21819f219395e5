# SPDX-License-Identifier: MIT
"""The verb footprint: how much of a guest's free memory comes back over time, by mechanism."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from pgste.cli.common import TRACE_HELP, add_budget, open_trace, trace_name
from pgste.cli.terminal import Grid, bars_by_name, print_json, progress_bar
from pgste.cli.words import number, printable, whole_number
from pgste.errors import ArgumentError
from pgste.study.footprint import HOST_PAGES, MECHANISMS, PLACED, UNNAMED, Footprint, footprint
from pgste.study.picture import check_picture
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_bytes

__all__ = ["add_arguments", "run"]


def _list_of(one: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        return [one(word) for word in text.split(",")]

    return parse


def _size(text: str) -> int:
    try:
        return 0 if text.strip() == "0" else parse_bytes(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _block(text: str) -> int:
    pages = _size(text) // PAGE_BYTES
    if pages < 1 or pages & (pages - 1) or pages * PAGE_BYTES != _size(text):
        raise argparse.ArgumentTypeError(f"{printable(text)} is not 4K times a power of 2")
    return pages.bit_length() - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=TRACE_HELP)
    add_budget(parser)
    parser.add_argument(
        "--mechanisms",
        metavar="LIST",
        help=f"which of {','.join(MECHANISMS)}, separated by commas (default: all)",
    )
    parser.add_argument(
        "--host-pages",
        choices=HOST_PAGES,
        default="4K",
        help="pages that the host has memory in; 2M: transparent huge pages (default 4K)",
    )
    parser.add_argument(
        "--unnamed",
        choices=UNNAMED,
        default="used",
        help="what pages in no event are all the time (default used, and left out)",
    )
    parser.add_argument(
        "--placement",
        choices=PLACED,
        default="recorded",
        help="which pages the guest's allocator hands out: those of the trace, or in a fresh guest "
        "the lowest that are free, or those of Linux's buddy allocator (default recorded)",
    )
    for name, of, metavar, default, text in (
        ("orders", whole_number, "LIST", "9", "of reporting: the smallest orders, 0 to 15"),
        ("delays", number, "LIST", "2", "of reporting: seconds from a free to the pass"),
        ("blocks", _block, "LIST", "2M,8M,32M,128M", "of virtio-mem: sizes of blocks"),
    ):
        parser.add_argument(
            f"--{name}",
            type=_list_of(of),
            metavar=metavar,
            default=default,
            help=f"{text}, separated by commas (default {default})",
        )
    for name, seconds, text in (
        ("scan", 5.0, "between two scans of HyperAlloc's host"),
        ("policy", 1.0, "between two decisions about balloon and virtio-mem"),
        ("age", 120.0, "after which proactive reclaim pages out what was not touched"),
    ):
        parser.add_argument(
            f"--{name}",
            type=number,
            metavar="SECONDS",
            default=seconds,
            help=f"seconds {text} (default {seconds:g})",
        )
    parser.add_argument(
        "--reserve",
        type=_size,
        metavar="SIZE",
        help="free memory that balloon and virtio-mem leave to the guest (default: a sixteenth of "
        "the pages in events)",
    )
    parser.add_argument(
        "--samples",
        type=whole_number,
        metavar="N",
        default=200,
        help="looks over trace time, for --json and --plot (default 200)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw what is held over time (.png, .svg or .pdf)"
    )


def _table(found: Footprint) -> Grid:
    table = Grid(labels=2, dense=True)
    for title in ("mechanism", "setting", "held, mean", "peak", "GiB·s saved", "of free"):
        table.add_column(title, justify="left" if title in ("mechanism", "setting") else "right")
    for title in ("calls", "madvise", "faults", "waits"):
        table.add_column(title, justify="right")
    for line in found.lines:
        counts = line.counts
        table.add_row(
            line.mechanism,
            line.setting or "-",
            format_bytes(line.held_mean * PAGE_BYTES),
            format_bytes(counts["peak"] * PAGE_BYTES),
            f"{line.saved:.3g}",
            f"{line.part:.1%}",
            *(format_count(counts[name]) for name in ("calls", "discards", "faults", "waits")),
        )
    return table


def _granules(found: Footprint) -> Grid:
    table = Grid(dense=True)
    for title in ("block", "host pages of 4 KiB", "of 2 MiB"):
        table.add_column(title, justify="left" if title == "block" else "right")
    for order, parts in found.granules.items():
        size = format_bytes(PAGE_BYTES << order)
        table.add_row(size, *(f"{parts[pages]:.1%}" for pages in HOST_PAGES))
    return table


def _notes(found: Footprint) -> str:
    which = "free all the time" if found.unnamed == "free" else "in use, and left out"
    notes = [
        f"in use, mean: {format_bytes(found.used_mean * PAGE_BYTES)}",
        f"host pages: {found.host_pages}; placement: {found.placement}",
        f"pages in no event: {which}",
    ]
    for line in found.lines:
        if line.counts["moved"]:
            notes.append(f"{line.name}: {format_count(line.counts['moved'])} allocs moved")
        if line.counts["splits"]:
            notes.append(f"{line.name}: {format_count(line.counts['splits'])} huge pages split")
        if line.mechanism == "proactive":
            counts = [line.counts[name] for name in ("swap_outs", "swap_outs_used", "swap_ins")]
            outs, used, ins = map(format_count, counts)
            notes.append(f"{line.name}: {outs} pages out, {used} of them in use; {ins} back in")
    return "\n".join(notes)


def run(args: argparse.Namespace, console: Console) -> int:
    if args.plot is not None:
        check_picture(args.plot, "--plot")
    with progress_bar() as progress:
        trace = open_trace(args.trace, progress, args.budget)
        found = footprint(
            trace,
            args.mechanisms.split(",") if args.mechanisms is not None else None,
            host_pages=args.host_pages,
            unnamed=args.unnamed,
            placement=args.placement,
            orders=args.orders,
            delays=args.delays,
            scan=args.scan,
            policy=args.policy,
            reserve=args.reserve,
            blocks=args.blocks,
            age=args.age,
            samples=args.samples,
            progress=bars_by_name(progress),
        )
    if args.plot is not None:
        found.plot(args.plot)
    if args.json:
        print_json(found.to_dict())
        return 0
    console.print(
        f"{trace_name(args.trace)}: {format_count(found.summary['events'])} events, "
        f"{found.summary['seconds']:.1f} s\n"
    )
    console.print(_table(found))
    console.print(f"\n{_notes(found)}")
    console.print("\nof the free memory, what comes back if wholly free blocks do at once\n")
    console.print(_granules(found))
    if args.plot is not None:
        console.print(f"\ndrawn: {printable(args.plot)}")
    return 0

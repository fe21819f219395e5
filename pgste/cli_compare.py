# SPDX-License-Identifier: MIT
"""The verbs that replay traces: compare, info, map."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pgste import cli_pagecache
from pgste._engine import Guest, Host, Replay, mechanisms
from pgste.calibrate import ESTIMATE_ROWS, Profile, estimate
from pgste.compare import ROWS, Comparison, Row, compare, guest_pages, kernel_watermarks
from pgste.enums import PteBits
from pgste.trace import Trace, sample_trace
from pgste.units import PAGE_BYTES, format_bytes, format_count, format_rate, parse_frames

__all__ = [
    "add_compare_arguments",
    "add_info_arguments",
    "add_map_arguments",
    "open_trace",
    "run_compare",
    "run_info",
    "run_map",
]

_TRACE_HELP = (
    "ftrace, perf script or trace-cmd report text, trace.dat, or pgste's own format, plain or "
    "compressed; without it the sample that comes with the package"
)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """A progress bar on standard error, where it does not mix with the result."""
    with Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        yield progress


def open_trace(path: str | None, progress: Progress) -> Trace:
    """The trace of a path, or the sample, under a progress bar."""
    if path is None:
        return sample_trace()
    task = progress.add_task(f"reading {Path(path).name}", total=None)

    def advance(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    trace = Trace.open(path, progress=advance)
    progress.remove_task(task)
    return trace


def _trace_name(path: str | None) -> str:
    return "the package's sample trace" if path is None else os.fspath(path)


# ---- compare ----


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=_TRACE_HELP)
    parser.add_argument(
        "--mechanisms",
        metavar="LIST",
        help=f"which of {','.join(mechanisms())}, separated by commas (default: all)",
    )
    parser.add_argument(
        "--host-frames",
        metavar="N",
        help="frames, a share of the guests' peak (75%%, the default), or a size (160M)",
    )
    parser.add_argument("--guests", type=int, default=1, metavar="N", help="guests (default 1)")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="mechanisms at once (default 1)"
    )
    parser.add_argument(
        "--swap-slots", type=int, metavar="N", help="default: enough for every page"
    )
    parser.add_argument(
        "--generation", choices=("pgtable", "dat"), default="pgtable", help="kernel generation"
    )
    parser.add_argument(
        "--flavour",
        choices=("kvm", "zvm"),
        default="kvm",
        help="hypervisor; zvm: mechanisms none and cmma, and what volatile pages save",
    )
    parser.add_argument(
        "--report-order",
        type=int,
        metavar="N",
        help="reporting: smallest order of a free block that is reported (default 9; s390x 8)",
    )
    parser.add_argument(
        "--report-delay",
        type=float,
        metavar="SECONDS",
        help="reporting: from a free to the pass that reports it (default 2)",
    )
    parser.add_argument(
        "--report-unseen",
        choices=("used", "free"),
        default="used",
        help="reporting: what pages are that no event names (default used)",
    )
    parser.add_argument(
        "--costs",
        metavar="PROFILE",
        help="a cost profile that pgste calibrate saved: estimate the time of each mechanism",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw memory and swap over time (.png, .svg, .pdf)"
    )


def _format(row: Row, value: float) -> str:
    return format_rate(value) if row.unit == "rate" else format_count(value)


def comparison_table(comparison: Comparison, costs: Profile | None = None) -> Table:
    """The comparison as a table, a column for each mechanism; times by a cost profile, if any."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,  # five mechanisms then fit into 80 columns
        header_style="bold",
    )
    table.add_column("", no_wrap=True)
    for result in comparison.results:
        table.add_column(result.mechanism, justify="right", no_wrap=True)
    for row in ROWS:
        values = [result.values[row.key] for result in comparison.results]
        cells = [_format(row, value) if value else "[dim]0[/dim]" for value in values]
        table.add_row(row.title, *cells)
    if costs:
        estimates = [estimate(costs, r.mechanism, r.guest_stats) for r in comparison.results]
        for part, title in ESTIMATE_ROWS:
            table.add_row(title, *(_milliseconds(getattr(one, part)) for one in estimates))
    return table


def _milliseconds(seconds: float | None) -> str:
    return "[dim]?[/dim]" if seconds is None else format_count(seconds * 1000)


def _costs_line(comparison: Comparison, path: str | None, costs: Profile | None) -> str:
    if costs is None:
        return "no cost profile was given, so no times (--costs; pgste calibrate makes one)"
    machine = costs.machine
    line = f"times by {path}: {machine.get('cpu')}, Linux {machine.get('kernel')}"
    if any(not estimate(costs, r.mechanism, r.guest_stats).known for r in comparison.results):
        line += "\n?: not in the profile"
    return line


def _settings(comparison: Comparison, name: str) -> str:
    summary = comparison.summary
    guests = "1 guest" if comparison.guests == 1 else f"{comparison.guests} guests"
    low, high = comparison.watermarks
    return (
        f"{name}: {format_count(summary['alloc_events'] + summary['free_events'])} events, "
        f"{format_count(summary['unique_pages'])} pages, {guests}\n"
        f"host: {format_count(comparison.host_frames)} frames "
        f"({format_bytes(comparison.host_frames * PAGE_BYTES)}), "
        f"{comparison.host_frames_reason};\n"
        f"      reclaim at {format_count(low)} free frames up to {format_count(high)}; "
        f"{format_count(comparison.swap_slots)} swap slots{_reporting(comparison.reporting)}"
    )


def _reporting(used: dict[str, Any] | None) -> str:
    """What free page reporting was set to: traces are short, and much depends on it."""
    if used is None:
        return ""
    unseen = "free" if used["unseen_free"] else "in use"
    return (
        f"\nreporting: free blocks of order {used['order']} and more, {used['delay_ns'] * 1e-9:g} s"
        f" after a free, {used['capacity']} a call;\n"
        f"      pages that no event names count as {unseen}"
    )


def _reporting_settings(args: argparse.Namespace) -> dict[str, int]:
    settings = {}
    if args.report_order is not None:
        settings["order"] = args.report_order
    if args.report_delay is not None:
        if not 0 <= args.report_delay < 1e9:
            raise ValueError(f"--report-delay: {args.report_delay} is not in 0 .. 1e9 seconds")
        settings["delay_ns"] = round(args.report_delay * 1e9)
    return settings


def run_compare(args: argparse.Namespace, console: Console) -> int:
    costs = Profile.load(args.costs) if args.costs else None
    names = args.mechanisms.split(",") if args.mechanisms else None
    with _progress(console) as progress:
        trace = open_trace(args.trace, progress)
        frames = None
        if args.host_frames is not None:
            peak = args.guests * trace.summary()["peak_in_use"]
            frames = parse_frames(args.host_frames, peak)
        tasks: dict[str, Any] = {}

        def advance(mechanism: str, done: int, total: int) -> None:
            if mechanism not in tasks:
                tasks[mechanism] = progress.add_task(mechanism, total=total)
            progress.update(tasks[mechanism], completed=done)

        comparison = compare(
            trace,
            names,
            frames,
            args.guests,
            swap_slots=args.swap_slots,
            generation=args.generation,
            flavour=args.flavour,
            reporting=_reporting_settings(args),
            unseen_free=args.report_unseen == "free",
            threads=args.threads,
            progress=advance,
        )
    if args.plot:
        comparison.plot(args.plot)
    volatile = cli_pagecache.measure() if args.flavour == "zvm" else None
    if args.json:
        data = comparison.to_dict()
        if volatile:
            data["volatile"] = volatile
        if costs:
            for result in comparison.results:
                cost = estimate(costs, result.mechanism, result.guest_stats)
                data["mechanisms"][result.mechanism]["estimated_seconds"] = {
                    part: getattr(cost, part) for part, _ in ESTIMATE_ROWS
                }
        print(json.dumps(data))
        return 0
    console.print(_settings(comparison, _trace_name(args.trace)), highlight=False)
    console.print()
    console.print(comparison_table(comparison, costs))
    console.print("\n" + _costs_line(comparison, args.costs, costs), highlight=False)
    if volatile:
        console.print()
        cli_pagecache.print_tables(console, volatile)
    if args.plot:
        console.print(f"\ndrawn: {args.plot}", highlight=False)
    return 0


# ---- info ----

_INFO_ROWS: tuple[tuple[str, str], ...] = (
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
    ("peak_in_use", "peak of pages in use, those included"),
)


def add_info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=_TRACE_HELP)
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


def run_info(args: argparse.Namespace, console: Console) -> int:
    with _progress(console) as progress:
        trace = open_trace(args.trace, progress)
    info = _info(trace, _trace_name(args.trace))
    if args.save:
        trace.save(args.save)
    if args.json:
        print(json.dumps(info))
        return 0
    summary = info["summary"]
    compression = f", {info['compression']}" if info["compression"] else ""
    rate = len(trace) / trace.seconds if trace.seconds else 0.0
    console.print(
        f"{info['trace']}: {info['format']}{compression}\n"
        f"{trace.seconds:.2f} s, {format_rate(rate)} events, "
        f"pfn {summary['lowest_pfn']:#x} to {summary['highest_pfn']:#x}",
        highlight=False,
    )
    console.print()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for key, title in _INFO_ROWS:
        table.add_row(title, format_count(summary[key]))
    console.print(table)
    console.print()
    orders = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
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
            "reader: " + ", ".join(f"{key} {format_count(value)}" for key, value in told.items()),
            highlight=False,
        )
    if args.save:
        console.print(f"saved: {args.save}", highlight=False)
    return 0


# ---- map ----


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", metavar="TRACE", help=_TRACE_HELP)
    parser.add_argument("--mechanism", choices=mechanisms(), default="cmma")
    parser.add_argument(
        "--at",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="after this share of the events, 0 to 1 (default 0.5)",
    )
    parser.add_argument("--host-frames", metavar="N", help="as for compare")
    parser.add_argument(
        "--output", metavar="FILE", default="map.png", help="picture (default map.png)"
    )


def run_map(args: argparse.Namespace, console: Console) -> int:
    if not 0 <= args.at <= 1:
        raise ValueError(f"--at: {args.at} is not between 0 and 1")
    with _progress(console) as progress:
        trace = open_trace(args.trace, progress)
        summary = trace.summary()
        peak = summary["peak_in_use"]
        frames = parse_frames(args.host_frames or "75%", peak)
        base, pages = guest_pages(summary)
        low, high = kernel_watermarks(frames)
        host = Host(frames, summary["unique_pages"] + 64, low=low, high=high)
        guest = Guest(pages, host=host, mechanism=args.mechanism)
        replay = Replay([guest], trace.events, trace.time, base)
        nr = round(len(trace) * args.at)
        task = progress.add_task(args.mechanism, total=nr)
        _run_in_steps(replay, nr, lambda done: progress.update(task, completed=done))
    from pgste import plot  # matplotlib takes longer to import than most verbs to run

    classes = plot.classify(
        guest.states(),
        (guest.pte() & np.uint64(PteBits.PRESENT)) != 0,
        guest.is_free().astype(bool),
    )
    seconds = float(trace.time[max(nr - 1, 0)] - trace.time[0]) * 1e-9
    title = (
        f"{Path(_trace_name(args.trace)).name}, {args.mechanism}, after {nr:,} events "
        f"({seconds:.2f} s); host {frames:,} frames"
    )
    plot.plot_map(classes, base, title, args.output)
    counts = np.bincount(classes, minlength=len(plot.MAP_CLASSES))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("state", no_wrap=True)
    table.add_column("pages", justify="right")
    for (name, _), count in zip(plot.MAP_CLASSES, counts, strict=True):
        table.add_row(name, format_count(int(count)))
    console.print(title, highlight=False)
    console.print()
    console.print(table)
    console.print(f"\ndrawn: {args.output}", highlight=False)
    return 0


def _run_in_steps(replay: Replay, nr: int, done: Callable[[int], object]) -> None:
    at = 0
    while at < nr:
        at += replay.run(min(nr - at, max(nr // 100, 1)))
        done(at)

# SPDX-License-Identifier: MIT
"""What `pgste compare` does with several traces: different guests on one host."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pgste.cli.common import open_trace
from pgste.cli.terminal import Grid, bars_by_name, print_json, progress_bar
from pgste.errors import ArgumentError
from pgste.study.ahead import ahead_text
from pgste.study.fleet import COUNTS, Fleet, FleetComparison, Member
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = ["is_fleet", "run"]

_TIME = r"(\d{1,9}(?:\.\d{1,9})?)s"
_GUEST = re.compile(rf"(.+?)(?:\*(\d{{1,4}}))?(?:@((?:\+|stagger=|start=|end=){_TIME}.*))?", re.S)
_OPTION = re.compile(rf"(\+|stagger=|start=|end=){_TIME}")
_TITLES = {"swap_outs": "swap-outs", "swap_ins": "swap-ins", "discards": "discarded unwritten"}
_TITLES |= {"zero_fills": "zero-fill faults", "hints": "hints"}
#: Options of compare that are for one trace alone.
_ALONE = (
    *("guests", "generation", "flavour", "revision", "contention", "notifiers", "report_order"),
    *(
        "report_delay",
        "report_unseen",
        "report_zones",
        "report_advice",
        "costs",
        "cost",
        "plot",
        "touch",
    ),
)


def is_fleet(words: Sequence[str]) -> bool:
    """Several traces, or one with a suffix that no file has."""
    return len(words) > 1 or any(_parse(word)[1] for word in words)


def _parse(word: str) -> tuple[str, dict[str, Any]]:
    """Path, and what is asked of its guests: ``db.pgt*2@+3s,stagger=5s``."""
    match = _GUEST.fullmatch(word)
    if match is None or os.path.exists(word):
        return word, {}
    path, weight, options, _ = match.groups()
    asked: dict[str, Any] = {} if weight is None else {"weight": int(weight)}
    for text in options.split(",") if options else []:
        option = _OPTION.fullmatch(text)
        if option is None:
            raise ArgumentError(f"{word}: {text!r} is not +TIME, stagger=, start= or end=TIME (3s)")
        asked["shift" if option[1] == "+" else option[1][:-1]] = float(option[2])
    return path, asked


def run(args: argparse.Namespace, console: Console, defaults: argparse.Namespace) -> int:
    for name in _ALONE:
        if getattr(args, name) != getattr(defaults, name):
            raise ArgumentError(f"--{name.replace('_', '-')}: not with several guests' traces")
    names = args.mechanisms.split(",") if args.mechanisms is not None else None
    with progress_bar() as progress:
        traces: dict[str, Any] = {}
        members = []
        for word in args.trace:
            path, asked = _parse(word)
            if path not in traces:
                traces[path] = open_trace(path, progress, args.budget)
            members.append(Member(traces[path], name=os.path.basename(path), **asked))
        fleet = Fleet(members)
        frames = None
        if args.host_frames is not None:
            frames = parse_frames(args.host_frames, fleet.peak_of_sum())
        found = fleet.compare(
            names,
            frames,
            swap_slots=args.swap_slots,
            threads=args.threads,
            reclaim=args.reclaim,
            progress=bars_by_name(progress),
        )
    if args.json:
        print_json(found.to_dict())
        return 0
    console.print(_settings(found))
    console.print()
    console.print(_host_table(found))
    console.print("\npages written to swap and read from it, by guest\n")
    console.print(_guest_table(found))
    if ahead := found.ahead():
        console.print("\n" + ahead_text(ahead))
    return 0


def _settings(found: FleetComparison) -> str:
    total, most = found.sum_of_peaks, found.peak_of_sum
    return (
        f"{len(found.peaks)} guests: the sum of their peaks is {format_bytes(total * PAGE_BYTES)}, "
        f"the peak of their sum {format_bytes(most * PAGE_BYTES)} "
        f"({most / max(total, 1):.0%}, after {found.peak_seconds:.2f} s)\n"
        f"host: {format_count(found.host_frames)} frames "
        f"({format_bytes(found.host_frames * PAGE_BYTES)}), {format_count(found.swap_slots)} "
        f"swap slots; reclaim {found.reclaim}"
    )


def _host_table(found: FleetComparison) -> Grid:
    table = Grid(dense=True)
    table.add_column("")
    for one in found.results:
        table.add_column(one.mechanism, justify="right")
    if any(one.out_of_memory for one in found.results):
        ends = [one.out_of_memory for one in found.results]
        table.add_row("out of memory after, s", *(f"{end[1]:.2f}" if end else "" for end in ends))
        table.add_row("  by", *(end[0] if end else "" for end in ends))
    for name in COUNTS:
        cells = (None if one.out_of_memory else one.counts[name] for one in found.results)
        table.add_row(_TITLES[name], *map(_cell, cells))
    for title, name in (("host frames, peak", "frames_peak"), ("swap slots, peak", "swap_peak")):
        table.add_row(title, *(format_count(getattr(one, name)) for one in found.results))
    return table


def _cell(count: int | None) -> str:
    return "-" if count is None else format_count(count)


def _guest_table(found: FleetComparison) -> Grid:
    table = Grid(labels=3, dense=True)
    table.add_column("guest")
    table.add_column("from, s", justify="right")
    table.add_column("peak", justify="right")
    for one in found.results:
        table.add_column(one.mechanism, justify="right")
    for i, guest in enumerate(found.results[0].guests):
        cells = []
        for one in found.results:
            counts = one.guests[i].counts
            traffic = counts["swap_outs"] + counts["swap_ins"]
            cells.append(_cell(None if one.out_of_memory else traffic))
        peak = format_bytes(found.peaks[guest.name] * PAGE_BYTES)
        table.add_row(guest.name, f"{guest.start:g}", peak, *cells)
    return table

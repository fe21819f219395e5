# SPDX-License-Identifier: MIT
"""The job replay of the verb live: a trace on real memory, with the model held against it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.text import Text

from pgste.cli.common import accesses_line, kernel_name, open_trace, touch
from pgste.cli.terminal import Grid, bars_by_name, print_json, progress_bar
from pgste.cli.words import printable
from pgste.live.memory import HINTS
from pgste.live.replay import Figure, LiveReplay, MechanismReplay, live_replay
from pgste.study.costs import Estimate, Profile, estimate
from pgste.traces import Trace
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = ["run_replay"]

_ROWS = {
    "resident_peak": "in memory, peak",
    "resident_mean": "in memory, mean",
    "swapped_peak": "in swap, peak",
    "swap_outs": "swap-outs",
    "pages_read": "pages read from swap",
    "readahead_pages": "  of these read ahead",
    "readahead_hits": "  found there by a fault",
    "lazyfree_discards": "lazyfree discards",
    "disk_faults": "page faults that read swap",
    "faults": "page faults",
    "hints": "hints",
    "hint_pages": "pages hinted",
    "stale_allocs": "stale allocs",
    "elapsed_seconds": "elapsed, ms",
    "hint_seconds": "  in hints",
    "touch_seconds": "  in stores",
    "user_seconds": "CPU, user, ms",
    "system_seconds": "CPU, kernel, ms",
}


def _dim(text: str) -> Text:
    return Text(text, style="dim")


def _number(value: float | None, key: str) -> str | Text:
    if value is None:
        return _dim("-")
    value = value * 1000 if key.endswith("_seconds") else value
    return format_count(value) if value else _dim("0")


def _share(value: float | None, sign: bool) -> str | Text:
    return _dim("-") if value is None else f"{value * 100:{'+' if sign else ''}.1f} %"


def _row(figure: Figure, indent: str) -> list[str | Text]:
    given = figure.key == "resident_peak" and figure.verdict is not None
    verdict = "given" if given else figure.verdict
    return [
        indent + _ROWS[figure.key],
        _number(figure.median, figure.key),
        _share(figure.spread, sign=False),
        _number(figure.model, figure.key),
        _share(figure.error, sign=True),
        _dim("-") if verdict is None else verdict,
    ]


def _table(one: MechanismReplay) -> Grid:
    """A mechanism: the figures of its group, then those that the kernel has for the machine."""
    table = Grid()
    table.add_column(one.mechanism)
    for title in ("kernel", "spread", "model", "error", "verdict"):
        table.add_column(title, justify="right")
    of_machine = []
    for figure in one.figures.values():
        if not figure.kernel and figure.model is None:
            continue  # this kernel does not count it
        if figure.scope == "group":
            table.add_row(*_row(figure, ""))
        else:
            of_machine.append(figure)
    if of_machine:
        table.add_row("whole machine:", *[""] * 5)
    for figure in of_machine:
        table.add_row(*_row(figure, "  "))
    return table


def _kernel_stats(one: MechanismReplay) -> dict[str, float]:
    """The kernel's counters as `estimate` takes them."""
    figures = {key: figure.median or 0 for key, figure in one.figures.items()}
    swap_ins = figures["disk_faults"] + figures["readahead_hits"]
    return {
        **figures,
        "swap_ins": swap_ins,
        "zero_fills": max(figures["faults"] - swap_ins, 0),
        "pages_allocated": median(run.values["touched"] for run in one.runs),
    }


def _estimates(one: MechanismReplay, costs: Profile) -> dict[str, Estimate]:
    """By the kernel's own counters and by the model's: what the profile makes of each."""
    stats: dict[str, Mapping[str, float]] = {}
    if one.model:
        stats["model's counts"] = one.model.values
    if one.runs:
        stats["kernel's counts"] = _kernel_stats(one)
    return {name: estimate(costs, one.mechanism, counts) for name, counts in stats.items()}


def _stores(cost: Estimate) -> float | None:
    return None if cost.faults is None or cost.swap is None else cost.faults + cost.swap


def _error(estimated: float | None, measured: float | None) -> float | None:
    return None if estimated is None or not measured else (estimated - measured) / measured


def _costs_table(result: LiveReplay, costs: Profile) -> Grid:
    table = Grid(labels=2, dense=True)
    table.add_column("time, ms")
    table.add_column("in")
    for title in ("measured", "by kernel's\ncounts", "error", "by model's\ncounts", "error"):
        table.add_column(title, justify="right")
    for name, one in result.mechanisms.items():
        by = _estimates(one, costs)
        for part, key in (("hints", "hint_seconds"), ("stores", "touch_seconds")):
            measured = one.figures[key].median
            cells: list[str | Text] = [_number(measured, key)]
            for counts in ("kernel's counts", "model's counts"):
                cost = by.get(counts)
                seconds = None
                if cost is not None:
                    seconds = cost.hints if part == "hints" else _stores(cost)
                cells += [_number(seconds, key), _share(_error(seconds, measured), sign=True)]
            table.add_row(name if part == "hints" else "", part, *cells)
    return table


def _read(args: argparse.Namespace) -> tuple[Trace, LiveReplay]:
    names = tuple(dict.fromkeys(args.mechanism or HINTS))
    with progress_bar() as progress:
        trace = touch(open_trace(args.trace, progress, args.budget), args.touch)
    with progress_bar(told=True) as progress:
        peak = trace.summary()["peak_in_use"]
        most = parse_frames(args.most, peak, "--most") if args.most is not None else None
        limit = (
            parse_frames(args.limit, min(peak, most or peak), "--limit")
            if args.limit is not None
            else None
        )
        return trace, live_replay(
            trace,
            names,
            runs=args.runs,
            limit_pages=limit,
            most_pages=most,
            swap_directory=args.swap_directory,
            progress=bars_by_name(progress, "events"),
        )


def run_replay(args: argparse.Namespace, console: Console) -> int:
    if args.plot is not None:
        from pgste.study.picture import check_picture  # of no use without a picture

        check_picture(args.plot, "--plot")
    costs = Profile.load(args.costs) if args.costs is not None else None
    trace, result = _read(args)
    if args.plot is not None:
        from pgste.live.plot import plot_live_replay

        plot_live_replay(result, args.plot)
    if args.json:
        data = {"system": kernel_name(), "accesses": len(trace.accesses), **result.to_dict()}
        if costs:
            for name, one in result.mechanisms.items():
                data["mechanisms"][name]["estimated_seconds"] = {
                    counts: vars(cost) for counts, cost in _estimates(one, costs).items()
                }
        print_json(data)
        return 0
    _print(args, result, costs, console)
    console.print("\n" + accesses_line(trace, args.touch))
    if args.plot is not None:
        console.print(f"drawn: {printable(args.plot)}")
    return 0


def _print(
    args: argparse.Namespace, result: LiveReplay, costs: Profile | None, console: Console
) -> None:
    scaled = result.scaled
    cut = "" if scaled.share == 1 else f" ({scaled.share:.0%} of the trace's pages)"
    name = printable(Path(args.trace).name) if args.trace is not None else "the sample trace"
    console.print(
        f"{name} on {kernel_name()}:\n"
        f"{format_count(len(scaled.events))} events, at most {format_count(scaled.peak)} pages "
        f"in use at once{cut};\nlimit {format_count(result.limit_pages)} pages "
        f"({format_bytes(result.limit_pages * PAGE_BYTES)}), cgroup version "
        f"{result.cgroup_version}; {format_count(result.swap_slots)} swap slots;\n"
        f"kernel: median of {args.runs} runs; spread: largest less smallest; "
        "model: the frames that were held"
    )
    if result.mglru:
        console.print(
            "MGLRU on: the model is of the classic LRU; what its figures are off by is unmeasured",
            style="bold yellow",
        )
    for one in result.mechanisms.values():
        console.print()
        console.print(_table(one))
        for number, killed in enumerate(one.killed, 1):
            console.print(
                f"{one.mechanism}, killed run {number} of {len(one.killed)}: {killed}",
                style="yellow",
            )
    if costs:
        console.print()
        console.print(_costs_table(result, costs))

# SPDX-License-Identifier: MIT
"""The verb compare: a trace through the mechanisms, side by side."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from pgste._engine import flavour_of, generations, mechanisms
from pgste._engine.names import RECLAIM_MODELS
from pgste.cli.common import (
    TRACE_HELP,
    accesses_line,
    add_budget,
    add_touch,
    open_trace,
    touch,
    trace_name,
)
from pgste.cli.terminal import Grid, bars_by_name, print_json, progress_bar
from pgste.cli.words import number, printable, whole_number
from pgste.study.ahead import ahead_text
from pgste.study.breakeven import (
    break_evens,
    missing_costs,
    parse_cost,
    with_costs,
)
from pgste.study.compare import DEFAULT_RECLAIM, compare
from pgste.study.costs import ESTIMATE_ROWS, OPERATIONS, Estimate, Profile, estimate
from pgste.study.picture import check_picture
from pgste.study.result import Comparison, MechanismResult, OutOfMemory, Row
from pgste.study.sizes import guest_pages
from pgste.traces import Trace
from pgste.units import PAGE_BYTES, format_bytes, format_count, format_rate, parse_frames

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trace",
        nargs="*",
        metavar="TRACE",
        help=f"{TRACE_HELP}; several for different guests of one host, each perhaps with *N for N "
        "guests and with @ for when it starts: web.pgt db.pgt@+3s build.pgt*2@stagger=5s",
    )
    add_budget(parser)
    add_touch(parser)
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
        help="mechanisms replayed at once (default: as many as there are CPUs, and memory, for)",
    )
    parser.add_argument(
        "--swap-slots",
        type=whole_number,
        metavar="N",
        help="swap slots of the host, 0 for none (default: enough for every page)",
    )
    parser.add_argument(
        "--generation",
        choices=tuple(generations()),
        default="pgtable",
        help="whose rules hold: KVM before Linux v7.0, KVM since, or z/VM (default pgtable)",
    )
    parser.add_argument(
        "--flavour",
        choices=tuple(dict.fromkeys(map(flavour_of, generations()))),
        help="hypervisor; zvm is short for --generation zvm: mechanisms none and cmma, and what"
        " volatile pages save",
    )
    parser.add_argument(
        "--reclaim",
        choices=RECLAIM_MODELS,
        default=DEFAULT_RECLAIM,
        help="how the host takes frames: one page at a time, or in a memory cgroup as Linux"
        " 6.18 without MGLRU, or as 6.12 with it, which is unmeasured (default lru)",
    )
    parser.add_argument(
        "--revision",
        metavar="RELEASE",
        help="generation dat: Linux 7.0, 7.1.5 or 7.2 (default 7.2)",
    )
    parser.add_argument(
        "--contention",
        type=number,
        default=0.0,
        metavar="SHARE",
        help="generation dat: tries of a host PTE's lock that fail, 0 to 1 (default 0)",
    )
    parser.add_argument(
        "--notifiers",
        type=number,
        default=0.0,
        metavar="SHARE",
        help="generation dat: pages that operations of the host unmap from the guest before each"
        " of 400 samples, 0 to 1 (default 0)",
    )
    parser.add_argument(
        "--report-order",
        type=whole_number,
        metavar="N",
        help="reporting: smallest order of a free block that is reported (default 9; s390x 8)",
    )
    parser.add_argument(
        "--report-delay",
        type=number,
        metavar="SECONDS",
        help="reporting: time from a free to the pass that reports it (default 2)",
    )
    parser.add_argument(
        "--report-zones",
        metavar="PFNS",
        help="reporting: first page frame of each zone, as start_pfn in /proc/zoneinfo, with commas"
        " between them (default one zone)",
    )
    parser.add_argument(
        "--report-unseen",
        choices=("used", "free"),
        default="used",
        help="reporting: whether pages that no event names are in use or free (default used)",
    )
    parser.add_argument(
        "--report-advice",
        choices=("madv_dontneed", "madv_free"),
        metavar="HOW",
        help="reporting: madv_dontneed or madv_free, how the host discards (default"
        " madv_dontneed, as QEMU does)",
    )
    parser.add_argument(
        "--costs",
        metavar="PROFILE",
        help="a cost profile that pgste calibrate saved: estimate the time of each mechanism",
    )
    parser.add_argument(
        "--cost",
        action="append",
        default=[],
        metavar="NAME=TIME",
        help=f"what an operation costs (essa=60ns, or a range: essa=40ns..90ns), beside those of "
        f"a profile; again for another: {', '.join(OPERATIONS)}",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw what each mechanism keeps beside what is used (.png, .svg, .pdf)",
    )


def _format(row: Row, value: float) -> str:
    return format_rate(value) if row.unit == "rate" else format_count(value)


def _cell(row: Row, result: MechanismResult) -> str | Text:
    if result.out_of_memory:  # what was counted until then is compared with nothing
        return Text("-", style="dim")
    value = result.values[row.key]
    return _format(row, value) if value else Text("0", style="dim")


def _event(end: OutOfMemory) -> str:
    return "start" if end.event is None else format_count(end.event)


def _out_of_memory_rows(table: Grid, comparison: Comparison) -> None:
    """At which event, and when, each mechanism ran out of memory, if any did."""
    ends = [result.out_of_memory for result in comparison.results]
    if not any(ends):
        return
    events = [_event(end) if end else "" for end in ends]
    table.add_row("out of memory at event", *(Text(event, style="bold red") for event in events))
    table.add_row("  after, s", *(f"{end.seconds:.2f}" if end else "" for end in ends))


def comparison_table(comparison: Comparison, costs: Profile | None = None) -> Grid:
    """The comparison as a table, a column for each mechanism; times by a cost profile, if any."""
    table = Grid(dense=True)  # five mechanisms then fit into 80 columns
    table.add_column("")
    for result in comparison.results:
        table.add_column(result.mechanism, justify="right")
    _out_of_memory_rows(table, comparison)
    if all(result.out_of_memory for result in comparison.results):
        return table  # nothing is comparable
    for row in comparison.rows:
        cells = [_cell(row, result) for result in comparison.results]
        table.add_row(row.title, *cells)
    if costs:
        estimates = [_estimate(costs, result) for result in comparison.results]
        for part, title in ESTIMATE_ROWS:
            times = (_milliseconds(getattr(one, part)) if one else "-" for one in estimates)
            table.add_row(title, *times)
        if any(cost.rounds == 0 and cost.q1 < cost.q3 for cost in costs.costs.values()):
            for which, title in (("q1", "  at least"), ("q3", "  at most")):
                ends = [_estimate(costs, result, which) for result in comparison.results]
                table.add_row(title, *(_milliseconds(one.total) if one else "-" for one in ends))
    return table


def _estimate(costs: Profile, result: MechanismResult, which: str = "median") -> Estimate | None:
    """Times of a whole replay; None for one that ran out of memory."""
    if result.out_of_memory:
        return None
    return estimate(costs, result.mechanism, result.cost_stats, which)


def _milliseconds(seconds: float | None) -> str | Text:
    return Text("?", style="dim") if seconds is None else format_count(seconds * 1000)


def _costs_lines(
    comparison: Comparison, path: str | None, given: Mapping[str, Any], costs: Profile | None
) -> str:
    """Where the times come from, which costs are not known, and who is ahead up to which cost."""
    if costs is None:
        return "no times: no cost profile was given (--costs; pgste calibrate makes one)"
    where = []
    if path is not None:
        machine = costs.machine
        where.append(f"{path}: {machine.get('cpu')}, Linux {machine.get('kernel')}")
    where += [f"{name}={_range(*ends)}" for name, ends in given.items()]
    lines = [printable(f"times by {'; '.join(where)}")]
    stats = _whole(comparison)
    missing = missing_costs(costs, stats)
    if missing:
        lacks = "; ".join(f"{name}: {', '.join(ops)}" for name, ops in missing.items())
        lines.append(f"?: --cost gives what is not known, as --cost essa=60ns ({lacks})")
    lines += filter(None, (_ahead(costs, stats, op) for op in _asked(given, missing)))
    return "\n".join(lines)


def _asked(given: Mapping[str, Any], missing: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Operations whose cost is a user's guess, or unknown: what break-even is told for."""
    return list(dict.fromkeys([*given, *(op for ops in missing.values() for op in ops)]))


def _ahead(costs: Profile, stats: Mapping[str, Mapping[str, float]], operation: str) -> str:
    """Who is ahead as the operation costs more and more: nothing if nobody needs it."""
    ranges = break_evens(costs, stats, operation)
    if not ranges:
        return ""
    if len(ranges) == 1 and ranges[0].above == 0 and ranges[0].below == math.inf:
        return f"ahead: {ranges[0].mechanism}, whatever {operation} costs"
    parts = [
        f"{one.mechanism} while {operation} costs "
        + (f"less than {_time(one.below)}" if one.below < math.inf else "more")
        for one in ranges
    ]
    return f"ahead: {', '.join(parts)}"


def _plain_break_evens(
    comparison: Comparison, given: Mapping[str, Any], costs: Profile
) -> list[dict[str, Any]]:
    """For JSON, which has no infinity: null for whatever it costs."""
    stats = _whole(comparison)
    found = []
    for operation in _asked(given, missing_costs(costs, stats)):
        for one in break_evens(costs, stats, operation):
            plain = asdict(one)
            found.append({**plain, "below": None if one.below == math.inf else one.below})
    return found


def _whole(comparison: Comparison) -> dict[str, dict[str, int]]:
    """Counters of the mechanisms that did not run out of memory."""
    return {r.mechanism: r.cost_stats for r in comparison.results if not r.out_of_memory}


def _time(ns: float) -> str:
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def _range(low: float, high: float) -> str:
    return _time(low) if low == high else f"{_time(low)} to {_time(high)}"


def _settings(comparison: Comparison, name: str) -> str:
    summary = comparison.summary
    guests = "1 guest" if comparison.guests == 1 else f"{comparison.guests} guests"
    return (
        f"{name}: {format_count(summary['alloc_events'] + summary['free_events'])} events, "
        f"{format_count(summary['unique_pages'])} pages, {guests}\n"
        f"host: {format_count(comparison.host_frames)} frames "
        f"({format_bytes(comparison.host_frames * PAGE_BYTES)}), "
        f"{comparison.host_frames_reason};\n"
        f"{_reclaim(comparison)}; "
        f"{format_count(comparison.swap_slots)} swap slots{_reporting(comparison.reporting)}"
        f"{_two_tables(comparison.two_tables)}"
    )


def _two_tables(used: dict[str, Any] | None) -> str:
    if used is None:
        return ""
    return (
        f"\nLinux {used['revision']}: of tries of a host PTE's lock {used['contention']:.0%} fail;"
        f" notifiers unmap {used['notifiers']:.0%} of the pages\n"
        "      from the guest before each sample"
    )


def _reclaim(comparison: Comparison) -> str:
    low, high = (format_count(mark) for mark in comparison.watermarks)
    if comparison.reclaim == "lru":
        return "      reclaim lru (Linux 6.18, no MGLRU; a memory cgroup)"
    if comparison.reclaim == "mglru":
        return "      reclaim mglru (Linux 6.12; a memory cgroup; unmeasured)"
    return f"      reclaim {comparison.reclaim}, from {low} free frames until {high}"


def _reporting(used: dict[str, Any] | None) -> str:
    """What free page reporting was set to: traces are short, and much depends on it."""
    if used is None:
        return ""
    unseen = "free" if used["unseen_free"] else "in use"
    advice = used["advice"].upper()
    zones = f"; {len(used['zones'])} zones" if len(used["zones"]) > 1 else ""
    return (
        f"\nreporting: free blocks of order {used['order']} and more, {used['delay_ns'] * 1e-9:g} s"
        f" after a free, up to {used['capacity']} a call;\n"
        f"      discarded by {advice}; pages that no event names count as {unseen}{zones}"
    )


def _zones(text: str, trace: Trace) -> list[int]:
    """First gfns of the zones that have pages of a guest, from the first pfn of each."""
    base, pages = guest_pages(trace.summary())
    if not re.fullmatch(r"[0-9]{1,20}(,[0-9]{1,20})*", text):
        raise ValueError(f"--report-zones: {text!r} is not numbers with commas between them")
    pfns = [int(pfn) for pfn in text.split(",")]
    if pfns != sorted(set(pfns)):
        raise ValueError(f"--report-zones: {text} does not ascend")
    return [0, *(pfn - base for pfn in pfns if base < pfn < base + pages)]


def _reporting_settings(args: argparse.Namespace, trace: Trace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if args.report_zones is not None:
        settings["zones"] = _zones(args.report_zones, trace)
    if args.report_advice is not None:
        settings["advice"] = args.report_advice
    if args.report_order is not None:
        settings["order"] = args.report_order
    if args.report_delay is not None:
        if not 0 <= args.report_delay < 1e9:
            raise ValueError(f"--report-delay: {args.report_delay} is not in 0 .. 1e9 seconds")
        settings["delay_ns"] = round(args.report_delay * 1e9)
    return settings


def run(args: argparse.Namespace, console: Console) -> int:
    if args.trace and (len(args.trace) > 1 or "*" in args.trace[0] or "@" in args.trace[0]):
        from pgste.cli import fleet  # of no use to others

        if fleet.is_fleet(args.trace):
            parser = argparse.ArgumentParser()
            add_arguments(parser)
            return fleet.run(args, console, parser.parse_args([]))
    path = args.trace[0] if args.trace else None
    if args.plot is not None:
        check_picture(args.plot, "--plot")
    costs = Profile.load(args.costs) if args.costs is not None else None
    given = dict(parse_cost(text) for text in args.cost)
    if given:
        costs = with_costs(costs, given)
    names = args.mechanisms.split(",") if args.mechanisms is not None else None
    with progress_bar() as progress:
        trace = touch(open_trace(path, progress, args.budget), args.touch)
        frames = None
        if args.host_frames is not None:
            peak = args.guests * trace.summary()["peak_in_use"]
            frames = parse_frames(args.host_frames, peak)
        comparison = compare(
            trace,
            names,
            frames,
            args.guests,
            swap_slots=args.swap_slots,
            generation=args.generation,
            flavour=args.flavour,
            reporting=_reporting_settings(args, trace),
            unseen_free=args.report_unseen == "free",
            revision=args.revision,
            contention=args.contention,
            notifiers=args.notifiers,
            reclaim=args.reclaim,
            threads=args.threads,
            progress=bars_by_name(progress),
        )
    if args.plot is not None:
        comparison.plot(args.plot)
    volatile = None
    if comparison.flavour == "zvm":
        from pgste.cli import pagecache  # of no use to others

        volatile = pagecache.measure()
    if args.json:
        data = comparison.to_dict()
        if volatile:
            data["volatile"] = volatile
        if costs:
            for result in comparison.results:
                cost = _estimate(costs, result)
                data["mechanisms"][result.mechanism]["estimated_seconds"] = cost and {
                    part: getattr(cost, part) for part, _ in ESTIMATE_ROWS
                }
            data["break_even"] = _plain_break_evens(comparison, given, costs)
        print_json(data)
        return 0
    console.print(_settings(comparison, trace_name(path)))
    console.print()
    console.print(comparison_table(comparison, costs))
    if ahead := comparison.ahead():
        console.print("\n" + ahead_text(ahead))
    console.print("\n" + accesses_line(trace, args.touch))
    console.print(_costs_lines(comparison, args.costs, given, costs))
    if volatile:
        console.print()
        pagecache.print_tables(console, volatile)
    if args.plot is not None:
        console.print(f"\ndrawn: {printable(args.plot)}")
    return 0

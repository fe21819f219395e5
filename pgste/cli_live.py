# SPDX-License-Identifier: MIT
"""The verbs on the real kernel: live check, live replay, calibrate, record."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pgste import conformance
from pgste.calibrate import LENGTHS, Cost, Profile, calibrate
from pgste.cli_compare import open_trace
from pgste.live import HINTS, Refused
from pgste.live_replay import LiveReplay, Run, live_replay
from pgste.pressure import SwapFile, swap_bytes
from pgste.record import import_perf, record
from pgste.units import PAGE_BYTES, format_bytes, format_count, parse_frames

__all__ = [
    "add_calibrate_arguments",
    "add_live_arguments",
    "add_record_arguments",
    "run_calibrate",
    "run_live",
    "run_record",
]

CHECK_SWAP_BYTES = 64 << 20
_TABLE: dict[str, Any] = {
    "box": box.SIMPLE_HEAD,
    "show_edge": False,
    "pad_edge": False,
    "header_style": "bold",
}


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was set up is removed."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _progress(told: bool = True) -> Iterator[Progress]:
    """A progress bar on standard error; told: its tasks have a text of that name."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *([TextColumn("{task.fields[told]}")] if told else []),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        yield progress


def _kernel() -> str:
    return f"Linux {platform.release()}, {platform.machine()}"


# ---- live ----


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    text = "hold the model against this machine's kernel, page by page"
    check = jobs.add_parser("check", help=text, description=text)
    check.add_argument(
        "--ops",
        type=int,
        default=1_000_000,
        metavar="N",
        help="page-operations of each run (default 1000000)",
    )
    check.add_argument(
        "--swap",
        choices=("on", "off", "both"),
        default="both",
        help="with a swap file, without, or first one and then the other (default)",
    )
    check.add_argument(
        "--mechanism",
        choices=tuple(HINTS),
        action="append",
        help="may be given more than once (default: madv_free, madv_dontneed)",
    )
    check.add_argument(
        "--pages", type=int, default=128, metavar="N", help="pages of the memory (default 128)"
    )
    check.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
    _add_common(check)
    text = "replay a trace on real memory under a real limit, beside the model's prediction"
    replay = jobs.add_parser("replay", help=text, description=text)
    replay.add_argument("trace", nargs="?", metavar="TRACE", help="default: the package's sample")
    replay.add_argument(
        "--mechanism",
        choices=tuple(HINTS),
        action="append",
        help="may be given more than once (default: all)",
    )
    replay.add_argument(
        "--limit",
        metavar="SIZE",
        help="a size (160M), or a share of the peak of pages in use (default 75%%)",
    )
    replay.add_argument(
        "--most",
        metavar="SIZE",
        help="cut the trace to this much memory in use at once (default: half of what there is)",
    )
    replay.add_argument("--plot", metavar="FILE", help="draw memory and swap (.png, .svg, .pdf)")
    _add_common(replay)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--swap-directory",
        metavar="DIR",
        help="where a swap file is made if one is needed (default: that for temporary files)",
    )


def run_live(args: argparse.Namespace, console: Console) -> int:
    with _terminable():
        return _run_check(args, console) if args.job == "check" else _run_replay(args, console)


# ---- live check ----


def _run_check(args: argparse.Namespace, console: Console) -> int:
    results: list[conformance.Result] = []
    skipped: list[tuple[bool, str]] = []
    for swap in {"off": (False,), "on": (True,), "both": (False, True)}[args.swap]:
        with ExitStack() as stack:
            try:
                if swap and not swap_bytes()[0]:
                    stack.enter_context(SwapFile(CHECK_SWAP_BYTES, args.swap_directory))
                elif not swap and swap_bytes()[0]:
                    skipped.append((swap, "this machine has swap of its own on"))
                    continue
            except Refused as refused:
                skipped.append((swap, str(refused)))
                continue
            progress = stack.enter_context(_progress())
            for mechanism in args.mechanism or ["madv_free", "madv_dontneed"]:
                name = f"{mechanism}, swap {'on' if swap else 'off'}"
                task = progress.add_task(name, total=args.ops, told="")

                def advance(
                    done: int, total: int, task: Any = task, progress: Progress = progress
                ) -> None:
                    progress.update(task, completed=done, told=f"{done:,} page-operations")

                results.append(
                    conformance.check(
                        args.ops,
                        swap=swap,
                        mechanism=mechanism,
                        pages=args.pages,
                        seed=args.seed,
                        progress=advance,
                    )
                )
    if args.json:
        print(json.dumps(_check_dict(results, skipped)))
    else:
        _print_check(results, skipped, console)
    return int(not results or any(result.divergence for result in results))


def _check_dict(
    results: list[conformance.Result], skipped: list[tuple[bool, str]]
) -> dict[str, Any]:
    runs = []
    for result in results:
        run = {**vars(result), "divergence": None}
        run["choices"] = [[*key, nr] for key, nr in sorted(result.choices.items())]
        if result.divergence:
            run["divergence"] = {
                "steps": [asdict(op) for op in result.divergence.sequence],
                "gfn": result.divergence.gfn,
                "model": result.divergence.model,
                "kernel": result.divergence.kernel,
            }
        runs.append(run)
    return {
        "kernel": platform.release(),
        "runs": runs,
        "skipped": [{"swap": swap, "reason": reason} for swap, reason in skipped],
    }


def _print_check(
    results: list[conformance.Result], skipped: list[tuple[bool, str]], console: Console
) -> None:
    console.print(f"model against kernel: {_kernel()}", highlight=False)
    console.print()
    table = Table(**_TABLE)
    table.add_column("mechanism")
    table.add_column("swap")
    for title in ("page-ops", "steps", "compared", "divergences", "seconds"):
        table.add_column(title, justify="right")
    for result in results:
        found = result.divergence is not None
        table.add_row(
            result.mechanism,
            "on" if result.swap else "off",
            format_count(result.page_ops),
            format_count(result.steps),
            format_count(result.compared),
            "[bold red]1[/bold red]" if found else "0",
            f"{result.seconds:.1f}",
        )
    if results:
        console.print(table)
    _print_choices(results, console)
    for swap, reason in skipped:
        console.print(f"skipped with swap {'on' if swap else 'off'}: {reason}", style="yellow")
    if any(not result.flags for result in results):
        console.print(
            "skipped: which pages are lazyfree; /proc/kpageflags takes root", style="yellow"
        )
    for result in results:
        if result.divergence:
            console.print(
                f"\n{result.mechanism}, swap {'on' if result.swap else 'off'}, seed "
                f"{result.seed}; the shortest sequence found:",
                style="bold",
            )
            console.print(str(result.divergence), highlight=False, markup=False)


def _print_choices(results: list[conformance.Result], console: Console) -> None:
    sums: dict[bool, Counter[tuple[str, str]]] = {}
    for result in results:
        sums.setdefault(result.swap, Counter()).update(result.choices)
    keys = sorted({key for counter in sums.values() for key in counter})
    if not keys:
        return
    console.print()
    table = Table(**_TABLE)
    table.add_column("where the kernel may choose")
    table.add_column("it did")
    for swap in sums:
        table.add_column(f"swap {'on' if swap else 'off'}", justify="right")
    last = ""
    for state, outcome in keys:
        counts = [counter[state, outcome] for counter in sums.values()]
        table.add_row(
            state if state != last else "",
            outcome,
            *(format_count(nr) if nr else "[dim]0[/dim]" for nr in counts),
        )
        last = state
    console.print(table)


# ---- live replay ----

_REPLAY_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("in memory, peak", "resident_peak", "resident_peak", ""),
    ("in memory, mean", "resident_mean", "resident_mean", ""),
    ("in swap, peak", "swapped_peak", "swapped_peak", ""),
    ("swap-outs", "swap_outs", "swap_outs", ""),
    ("swap-ins", "swap_ins", "swap_ins", ""),
    ("page faults", "faults", "faults", ""),
    ("  from disk", "major_faults", "", ""),
    ("hints", "hints", "hints", ""),
    ("pages hinted", "hint_pages", "hint_pages", ""),
    ("stale allocs", "stale_allocs", "stale_allocs", ""),
    ("elapsed, ms", "elapsed_seconds", "", "ms"),
    ("  in hints", "hint_seconds", "", "ms"),
    ("  in first stores", "touch_seconds", "", "ms"),
    ("CPU, user, ms", "user_seconds", "", "ms"),
    ("CPU, kernel, ms", "system_seconds", "", "ms"),
)
"""Title, key in the kernel's values, key in the model's, unit."""


def _cell(run: Run, key: str, unit: str) -> str:
    if not key:
        return "[dim]-[/dim]"
    if key != "faults":
        value = run.values[key]
    elif "minor_faults" in run.values:
        value = run.values["minor_faults"] + run.values["major_faults"]
    else:
        value = run.values["zero_fills"] + run.values["swap_ins"]
    if unit == "ms":
        value *= 1000
    return format_count(value) if value else "[dim]0[/dim]"


def _replay_table(result: LiveReplay) -> Table:
    table = Table(**_TABLE)
    table.add_column("", no_wrap=True)
    for name in result.kernel:
        family, _, rest = name.rpartition("_")
        head = f"{family}_\n{rest}" if family else f"\n{name}"
        table.add_column(f"{head}\nkernel", justify="right", no_wrap=True)
        table.add_column("\n\nmodel", justify="right", no_wrap=True)
    for title, kernel, model, unit in _REPLAY_ROWS:
        cells = []
        for name in result.kernel:
            cells.append(_cell(result.kernel[name], kernel, unit))
            cells.append(_cell(result.model[name], model, unit))
        table.add_row(title, *cells)
    return table


def _run_replay(args: argparse.Namespace, console: Console) -> int:
    names = tuple(dict.fromkeys(args.mechanism or HINTS))
    with _progress(told=False) as progress:
        trace = open_trace(args.trace, progress)
    with _progress() as progress:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, told="")
            progress.update(tasks[name], completed=done, told=f"{done:,} events")

        peak = trace.summary()["peak_in_use"]
        most = parse_frames(args.most, peak) if args.most else None
        limit = parse_frames(args.limit, min(peak, most or peak)) if args.limit else None
        result = live_replay(
            trace,
            names,
            limit_pages=limit,
            most_pages=most,
            swap_directory=args.swap_directory,
            progress=advance,
        )
    if args.plot:
        from pgste.plot_live import plot_live_replay

        plot_live_replay(result, args.plot)
    if args.json:
        print(json.dumps({"system": _kernel(), **result.to_dict()}))
        return 0
    scaled = result.scaled
    cut = "" if scaled.share == 1 else f" ({scaled.share:.0%} of the trace's pages)"
    console.print(
        f"{Path(args.trace).name if args.trace else 'the sample trace'} on {_kernel()}:\n"
        f"{format_count(len(scaled.events))} events, at most {format_count(scaled.peak)} pages "
        f"in use at once{cut};\nlimit {format_count(result.limit_pages)} pages "
        f"({format_bytes(result.limit_pages * PAGE_BYTES)})",
        highlight=False,
    )
    console.print()
    console.print(_replay_table(result))
    if args.plot:
        console.print(f"\ndrawn: {args.plot}", highlight=False)
    return 0


# ---- calibrate ----


def add_calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="N", help="how long (default 30)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="save the profile (JSON)")
    parser.add_argument("--no-swap", action="store_true", help="leave swap out")
    _add_common(parser)


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
    table = Table(**_TABLE)
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
    table = Table(**_TABLE)
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


def run_calibrate(args: argparse.Namespace, console: Console) -> int:
    with _terminable(), _progress() as progress:
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
        f"{_kernel()}; {profile.seconds:.0f} s",
        highlight=False,
    )
    console.print()
    console.print(_advice_table(profile))
    console.print()
    console.print(_cost_table(profile))
    for what, why in profile.skipped.items():
        console.print(f"\nskipped: {what}: {why}", style="yellow", highlight=False)
    if args.output:
        console.print(f"\nsaved: {args.output}", highlight=False)
    return 0


# ---- record ----


def add_record_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: what to run")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="recording.pgt", help="default recording.pgt"
    )
    parser.add_argument(
        "--pid", type=int, metavar="N", help="only this process and the children it starts"
    )
    parser.add_argument("--comm", metavar="NAME", help="only tasks of this name (* is anything)")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="at most this long (default: to the end, or ^C)"
    )
    parser.add_argument(
        "--buffer", metavar="SIZE", default="8M", help="ring buffer of each CPU (default 8M)"
    )
    parser.add_argument(
        "--import", dest="perf", metavar="PERF.DATA", help="read what perf record recorded instead"
    )


def run_record(args: argparse.Namespace, console: Console) -> int:
    if args.perf:
        if args.command:
            raise ValueError("--import reads a file; it takes no COMMAND")
        trace = import_perf(args.perf)
        trace.save(args.output)
        console.print(f"saved: {args.output}, {format_count(len(trace))} events", highlight=False)
        return 0
    if not args.command and args.pid is None and args.seconds is None and not sys.stdin.isatty():
        raise ValueError("say what to wait for: -- COMMAND, --pid N or --seconds N")
    with _progress() as progress:
        task = progress.add_task("recording", total=None, told="")

        def advance(events: int, lost: int, seconds: float) -> None:
            told = f"{events:,} events" + (f", {lost:,} lost" if lost else "")
            progress.update(task, told=told)

        recording = record(
            args.command,
            pid=args.pid,
            comm=args.comm,
            seconds=args.seconds,
            buffer_kb=parse_frames(args.buffer, 1) * PAGE_BYTES // 1024,
            progress=advance,
        )
    trace = recording.trace
    trace.save(args.output)
    summary = trace.summary()
    rate = len(trace) / recording.seconds if recording.seconds else 0.0
    console.print(
        f"saved: {args.output}, {format_bytes(Path(args.output).stat().st_size)}\n"
        f"{format_count(summary['alloc_events'])} allocs and "
        f"{format_count(summary['free_events'])} frees of "
        f"{format_count(summary['unique_pages'])} pages in {recording.seconds:.2f} s "
        f"({format_count(rate)} a second) on {recording.cpus} CPUs",
        highlight=False,
    )
    if recording.lost:
        console.print(
            f"{format_count(recording.lost)} events were lost: the buffers were full; give them "
            "more with --buffer",
            style="bold yellow",
            highlight=False,
        )
    else:
        console.print("no event was lost", highlight=False)
    if recording.interrupted:
        console.print("interrupted: this is what was recorded until then", style="yellow")
        return 130
    if recording.exit_status:
        console.print(f"the command's exit status was {recording.exit_status}", style="yellow")
        return recording.exit_status if recording.exit_status > 0 else 128 - recording.exit_status
    return 0

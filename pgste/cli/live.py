# SPDX-License-Identifier: MIT
"""The verb live: the model held against the real kernel, and traces on it."""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from pgste.cli.common import (
    PARTLY,
    add_budget,
    add_live_arguments,
    kernel_name,
    terminable,
)
from pgste.cli.terminal import Grid, print_json, progress_bar
from pgste.cli.words import printable, whole_number
from pgste.live.alone import alone
from pgste.live.check import Result, check
from pgste.live.leftovers import find, swap_areas
from pgste.live.memory import HINTS
from pgste.live.pressure import SwapFile, other_swap, swap_bytes
from pgste.live.refused import Refused
from pgste.units import format_count

__all__ = ["add_arguments", "run"]

CHECK_SWAP_BYTES = 64 << 20
_CLEAN_HELP = "list what live runs and recordings have set up, and remove what dead ones left"
_CLEAN_TEXT = (
    "List the swap files, cgroups, tracing instances, mounts and temporary folders of live runs "
    "and recordings on this machine, and remove those whose owner is dead: SIGKILL leaves no "
    "time to clean up. What belongs to a process that lives, or to another pid namespace "
    "(elsewhere), is left alone. Exit status 1: something could not be removed."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    text = "hold the model against this machine's kernel, page by page"
    job = jobs.add_parser("check", help=text, description=text)
    job.add_argument(
        "--ops",
        type=whole_number,
        default=1_000_000,
        metavar="N",
        help="page-operations of each run (default 1000000)",
    )
    job.add_argument(
        "--swap",
        choices=("on", "off", "both"),
        default="both",
        help="with a swap file, without, or first one and then the other (default)",
    )
    job.add_argument(
        "--mechanism",
        choices=tuple(HINTS),
        action="append",
        metavar="NAME",
        help=f"one of {', '.join(HINTS)}; may be given more than once "
        "(default: madv_free, madv_dontneed)",
    )
    job.add_argument(
        "--pages",
        type=whole_number,
        default=128,
        metavar="N",
        help="pages of the memory (default 128)",
    )
    job.add_argument("--seed", type=whole_number, default=1, metavar="N", help="default 1")
    add_live_arguments(job)
    text = "replay a trace on real memory under a real limit, beside the model's prediction"
    job = jobs.add_parser("replay", help=text, description=text)
    job.add_argument("trace", nargs="?", metavar="TRACE", help="default: the package's sample")
    add_budget(job)
    job.add_argument(
        "--mechanism",
        choices=tuple(HINTS),
        action="append",
        metavar="NAME",
        help=f"one of {', '.join(HINTS)}; may be given more than once (default: all)",
    )
    job.add_argument(
        "--runs",
        type=whole_number,
        default=5,
        metavar="N",
        help="runs of each mechanism on the kernel (default 5)",
    )
    job.add_argument(
        "--limit",
        metavar="SIZE",
        help="a size (160M), or a share of the peak of pages in use (default 75%%)",
    )
    job.add_argument(
        "--most",
        metavar="SIZE",
        help="cut the trace to this much memory in use at once (default: half of what there is)",
    )
    job.add_argument(
        "--costs",
        metavar="PROFILE",
        help="a cost profile that pgste calibrate saved: estimated beside measured time",
    )
    job.add_argument("--plot", metavar="FILE", help="draw memory and swap (.png, .svg, .pdf)")
    add_live_arguments(job)
    job = jobs.add_parser("clean", help=_CLEAN_HELP, description=_CLEAN_TEXT)
    job.add_argument("--dry-run", action="store_true", help="list only, remove nothing")
    job.add_argument("--json", action="store_true", help="print the result as JSON")
    job.add_argument(
        "--swap-directory",
        metavar="DIR",
        action="append",
        default=[],
        help="look for swap files here too; may be given more than once",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    jobs = {"check": _run_check, "replay": _run_replay, "clean": _run_clean}
    with terminable():
        return jobs[args.job](args, console)


def _run_replay(args: argparse.Namespace, console: Console) -> int:
    from pgste.cli.livereplay import run_replay  # of no use to the other jobs

    return run_replay(args, console)


def _run_clean(args: argparse.Namespace, console: Console) -> int:
    from pgste.cli.leftovers import run_clean  # of no use to the other jobs

    return run_clean(args, console)


# ---- live check ----


def _run_check(args: argparse.Namespace, console: Console) -> int:
    results: list[Result] = []
    skipped: list[tuple[bool, str]] = []
    with alone(args.swap_directory):
        for swap in {"off": (False,), "on": (True,), "both": (False, True)}[args.swap]:
            _check_with(swap, args, results, skipped)
    if args.json:
        print_json(_check_dict(results, skipped))
    else:
        _print_check(results, skipped, console)
    if not results or any(result.divergence for result in results):
        return 1
    return PARTLY if skipped else 0


def _whose_swap() -> str:
    """Why there is swap on where there should be none."""
    if other_swap()[0]:
        return "this machine has swap of its own on"
    for left in find():
        if left.kind == "swap file" and left.path in swap_areas():
            return f"the swap file of process {left.pid} is on, which is {left.owner}"
    return "swap was on a moment ago"


def _check_with(
    swap: bool,
    args: argparse.Namespace,
    results: list[Result],
    skipped: list[tuple[bool, str]],
) -> None:
    """All mechanisms with swap or without it."""
    with ExitStack() as stack:
        try:
            if swap and not swap_bytes()[0]:
                stack.enter_context(SwapFile(CHECK_SWAP_BYTES, args.swap_directory))
            elif not swap and swap_bytes()[0]:
                skipped.append((swap, _whose_swap()))
                return
        except Refused as refused:
            skipped.append((swap, str(refused)))
            return
        progress = stack.enter_context(progress_bar(told=True))
        for mechanism in args.mechanism or ["madv_free", "madv_dontneed"]:
            name = f"{mechanism}, swap {'on' if swap else 'off'}"
            task = progress.add_task(name, total=args.ops, told="")

            def advance(
                done: int, total: int, task: Any = task, progress: Progress = progress
            ) -> None:
                progress.update(task, completed=done, told=f"{done:,} page-operations")

            results.append(
                check(
                    args.ops,
                    swap=swap,
                    mechanism=mechanism,
                    pages=args.pages,
                    seed=args.seed,
                    progress=advance,
                )
            )


def _check_dict(results: list[Result], skipped: list[tuple[bool, str]]) -> dict[str, Any]:
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


def _print_check(results: list[Result], skipped: list[tuple[bool, str]], console: Console) -> None:
    console.print(f"model against kernel: {kernel_name()}")
    console.print()
    table = Grid(labels=2)
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
            Text("1", style="bold red") if found else "0",
            f"{result.seconds:.1f}",
        )
    if results:
        console.print(table)
    _print_choices(results, console)
    for swap, reason in skipped:
        console.print(
            f"skipped with swap {'on' if swap else 'off'}: {printable(reason)}", style="yellow"
        )
    if any(not result.flags for result in results):
        console.print(
            "skipped: which pages are lazyfree; /proc/kpageflags needs root", style="yellow"
        )
    for result in results:
        if result.divergence:
            console.print(
                f"\n{result.mechanism}, swap {'on' if result.swap else 'off'}, seed "
                f"{result.seed}; the shortest sequence found:",
                style="bold",
            )
            console.print(str(result.divergence))


def _print_choices(results: list[Result], console: Console) -> None:
    sums: dict[bool, Counter[tuple[str, str]]] = {}
    for result in results:
        sums.setdefault(result.swap, Counter()).update(result.choices)
    keys = sorted({key for counter in sums.values() for key in counter})
    if not keys:
        return
    console.print()
    table = Grid(labels=2)
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
            *(format_count(nr) if nr else Text("0", style="dim") for nr in counts),
        )
        last = state
    console.print(table)

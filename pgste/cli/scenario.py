# SPDX-License-Identifier: MIT
"""The verb scenario: run a scenario of the free and alloc path, or judge an order of steps."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pgste.cli.terminal import Grid, print_json
from pgste.freepath.judge import Finding, judge
from pgste.freepath.kernels import BUGS, KERNELS, Bug, Kernel, reproduce
from pgste.freepath.orders import NOT_ASKED_FOR, STEPS, Order, Stage, order_of
from pgste.freepath.page import PageView
from pgste.freepath.page import describe as describe_content
from pgste.freepath.scenarios import SCENARIOS, Act, Line, Outcome, Report, run_scenario
from pgste.kernels.releases import span_text

__all__ = ["add_arguments", "run"]

_WIDTH = 100  # of the tables at most, so that lines stay readable
_GAP = 2  # between columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="scenario to run; see --list")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    steps = {
        stage: ", ".join(step.name for step in STEPS.values() if step.stage is stage)
        for stage in Stage
    }
    parser.add_argument(
        "--order",
        metavar="RELEASE",
        help=f"judge the order of steps of this kernel instead ({KERNELS[0].first} or later)",
    )
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="which releases have which order, and which of them crash or report falsely",
    )
    parser.add_argument(
        "--free",
        metavar="LIST",
        help=f"judge this order of steps at free, separated by commas: {steps[Stage.FREE]}",
    )
    parser.add_argument(
        "--alloc", metavar="LIST", help=f"the same at allocation: {steps[Stage.ALLOC]}"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default text")
    parser.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="print the result as JSON",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    judging = any(value is not None for value in (args.order, args.free, args.alloc))
    if args.list + args.kernels + judging + (args.name is not None) != 1:
        raise ValueError(
            "scenario: one of NAME, --list, --kernels, or an order to judge (--order, --free)"
        )
    as_json = args.format == "json"
    if args.list:
        known = {name: scenario.question for name, scenario in SCENARIOS.items()}
        _show(console, known if as_json else _list())
    elif args.kernels:
        _show(console, _history() if as_json else _kernels())
    elif judging:
        order = _order(args)
        findings = judge(order)
        _show(console, _plain(order, findings) if as_json else _judgement(order, findings))
    else:
        report = run_scenario(args.name)
        _show(console, report.to_dict() if as_json else _report(report, _width(console)))
    return 0


def _width(console: Console) -> int:
    return min(console.width, _WIDTH)


def _show(console: Console, what: dict[str, Any] | RenderableType) -> None:
    if isinstance(what, dict):
        print_json(what)
    else:
        console.print(what, width=_width(console))


# ---- a scenario ----


def _list() -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("question")
    for name, scenario in SCENARIOS.items():
        table.add_row(name, scenario.question)
    return table


def _page(page: PageView) -> Text:
    usage = Text(page.usage, style="yellow" if page.usage == "unused" else "")
    where = "no frame" if page.backing == "nothing" else page.backing
    return Text.assemble(usage, f", {where}, {describe_content(page.content)}")


def _row(line: Line) -> tuple[Text, Text, Text, Text]:
    style = "" if line.acted else "dim"
    return (
        Text(line.actor, style="cyan"),
        Text(line.step, style=style),
        Text(line.text, style="bold red" if line.alarm else style),
        _page(line.page),
    )


def _shown(act: Act) -> list[Line]:
    return [line for line in act.lines if line.acted or line.text != NOT_ASKED_FOR]


_TITLES = ("who", "step", "what happens", "the page then")


def _lines(act: Act, widths: tuple[int, int, int, int] | None) -> RenderableType:
    """A row for each step; columns of these widths, or as is best where these have no room."""
    if widths is None:
        grid = Grid(labels=2)
        for title in _TITLES:
            grid.add_column(title, wraps=title == "what happens")
        for line in _shown(act):
            grid.add_row(*_row(line))
        return grid
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        header_style="dim",
    )
    for title, width in zip(_TITLES, widths, strict=True):
        table.add_column(title, width=width)
    for line in _shown(act):
        table.add_row(*_row(line))
    return table


def _act(number: int, act: Act, widths: tuple[int, int, int, int] | None) -> RenderableType:
    good = act.outcome == Outcome.FINE
    return Group(
        Text(f"{number}. {act.title}", style="bold"),
        Text(f"   {act.setting}", style="dim"),
        _lines(act, widths),
        Text.assemble(
            (f"=> {act.outcome}", "bold green" if good else "bold red"), f": {act.evidence}"
        ),
        Text(),
    )


def _report(report: Report, width: int) -> RenderableType:
    rows = [_row(line) for act in report.acts for line in _shown(act)]
    who, step, what, page = (max(len(row[i]) for row in rows) for i in range(4))
    room = width - who - step - page - 3 * _GAP
    widths = (who, step, min(what, room), page) if room >= len("what happens") else None
    acts = [_act(number, act, widths) for number, act in enumerate(report.acts, 1)]
    return Group(Text(report.question, style="bold"), Text(), *acts, Text(report.why))


# ---- a judgement ----


def _order(args: argparse.Namespace) -> Order:
    base = order_of("v6.1" if args.order is None else args.order)
    return replace(
        base,
        free=base.free if args.free is None else tuple(args.free.split(",")),
        alloc=base.alloc if args.alloc is None else tuple(args.alloc.split(",")),
    )


def _arrows(head: str, steps: tuple[str, ...]) -> RenderableType:
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column("head", style="dim", width=5)
    grid.add_column("steps")
    grid.add_row(head, " -> ".join(steps))
    return grid


def _plain(order: Order, findings: list[Finding]) -> dict[str, Any]:
    return {
        "free": list(order.free),
        "alloc": list(order.alloc),
        "findings": [
            {
                "stage": finding.stage.value,
                "step": finding.step,
                "problem": finding.problem,
                "zvm": finding.zvm,
                "kvm": finding.kvm,
            }
            for finding in findings
        ],
    }


def _judgement(order: Order, findings: list[Finding]) -> RenderableType:
    heads = [_arrows("free", order.free), _arrows("alloc", order.alloc), Text()]
    if not findings:
        return Group(*heads, Text("nothing is wrong with this order", style="bold green"))
    blocks = []
    for finding in findings:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column("where", style="dim", min_width=6)
        table.add_column("what")
        table.add_row("z/VM", finding.zvm)
        table.add_row("KVM", finding.kvm)
        title = Text.assemble((finding.step, "bold red"), f" {finding.problem}")
        blocks.append(Group(title, table, Text()))
    return Group(*heads, *blocks)


# ---- which releases ----

_KASAN = {
    "SHADOW": "KASAN touches its shadow only",
    "TAGS": "KASAN with hardware tags sets them in the page",
    "TAGS_AND_INIT": "KASAN with hardware tags sets them in the page, and zeroes it if asked to",
}


def _history() -> dict[str, Any]:
    releases = [kernel.first for kernel in KERNELS]
    return {
        "kernels": [kernel.to_dict() for kernel in KERNELS],
        "bugs": [
            bug.to_dict()
            | {
                "runs": {
                    release: None if act is None else act.outcome
                    for release in releases
                    for act in [reproduce(bug, release)]
                }
            }
            for bug in BUGS
        ],
    }


def _kernel(kernel: Kernel) -> RenderableType:
    said = [_KASAN[kernel.order.kasan.name]] + ([kernel.note] if kernel.note else [])
    return Group(
        Text.assemble((span_text(kernel.first, kernel.last), "bold"), f"  {kernel.commit}"),
        _arrows("free", kernel.order.free),
        _arrows("alloc", kernel.order.alloc),
        Text("; ".join(said) + ".", style="dim"),
        Text(),
    )


def _bug(bug: Bug) -> RenderableType:
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column("what", style="dim")
    facts.add_column("text")
    facts.add_row("releases", bug.releases)
    facts.add_row("options", str(bug.boot))
    facts.add_row("since", str(bug.introduced))
    if bug.fixed is None:
        facts.add_row("fixed by", Text("no fix known", style="bold red"))
    else:
        had = ", ".join((bug.fixed.release, *bug.fixed.stable))
        facts.add_row("fixed by", f"{bug.fixed} ({had})")
    act = reproduce(bug, bug.first)
    if act is not None:
        facts.add_row(f"in {bug.first}", f"{bug.step}: {act.evidence}")
    facts.add_row("note", bug.note)
    return Group(Text(bug.title, style="bold red"), facts, Text())


def _kernels() -> RenderableType:
    heads = [Text("Orders", style="bold underline"), Text()]
    bugs = [Text("What went wrong with them", style="bold underline"), Text()]
    return Group(*heads, *map(_kernel, KERNELS), *bugs, *map(_bug, BUGS))

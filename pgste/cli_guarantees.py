# SPDX-License-Identifier: MIT
"""`pgste guarantees`: the table of answers, and the run behind one of them."""

from __future__ import annotations

import argparse
import json
import sys
import time

from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pgste.guarantees import MECHANISMS, QUESTIONS, Cell, Guarantees, guarantees

__all__ = ["add_arguments", "explanation", "run", "table"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mechanisms",
        metavar="LIST",
        help="columns, separated by commas: " + ", ".join(subject.key for subject in MECHANISMS),
    )
    parser.add_argument(
        "--explain",
        nargs=2,
        metavar=("MECHANISM", "QUESTION"),
        help="the run behind one answer, step by step; questions: "
        + ", ".join(question.key for question in QUESTIONS),
    )
    parser.add_argument("--format", choices=("table", "markdown", "json"), default="table")


def run(args: argparse.Namespace, console: Console) -> int:
    wanted = args.mechanisms.split(",") if args.mechanisms else None
    if args.explain:
        wanted = [args.explain[0]]
    start = time.perf_counter()
    result = _with_progress(wanted)
    seconds = time.perf_counter() - start
    if args.explain:
        cell = result.cell(*args.explain)
        if args.format == "json":
            print(json.dumps(_cell_json(cell), indent=1))
        else:
            console.print(explanation(cell))
    elif args.format == "json":
        print(json.dumps(result.to_dict(), indent=1))
    elif args.format == "markdown":
        print(result.to_markdown(), end="")
    else:
        console.print(table(result, seconds))
    return 0


def _with_progress(wanted: list[str] | None) -> Guarantees:
    progress = Progress(
        TextColumn("searching"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        console=Console(file=sys.stderr),
        transient=True,
    )
    with progress:
        task = progress.add_task("", total=None)
        return guarantees(
            wanted,
            progress=lambda key, done, total: progress.update(
                task, completed=done, total=total, description=key
            ),
        )


def _cell_json(cell: Cell) -> dict[str, object]:
    moments = [] if cell.steps is None else cell.moments()
    return {
        "mechanism": cell.subject.key,
        "question": cell.question.key,
        **cell.to_dict(),
        "moments": [
            {
                "what": moment.what,
                "pgste": f"{moment.pgste:#018x}",
                "pte": f"{moment.pte:#x}",
                "state": moment.state,
                "listed": list(moment.listed),
                "reads": moment.reads,
            }
            for moment in moments
        ],
    }


def _answer(cell: Cell) -> Text:
    if cell.answer == "n/a":
        return Text("-", style="dim")
    style = "green" if cell.is_promise else "red"
    text = Text(cell.answer, style=style)
    if cell.steps is not None:
        text.append(f" {len(cell.steps)}", style="dim")
    if cell.note:
        text.append(f"\n{cell.note}", style="dim")
    return text


def table(result: Guarantees, seconds: float) -> Group:
    """Questions down, mechanisms across."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    grid.add_column("", min_width=22)
    for subject in result.subjects:
        grid.add_column(subject.title, justify="left")
    for number, question in enumerate(QUESTIONS):
        cells = [_answer(result.cell(subject.key, question.key)) for subject in result.subjects]
        last = number + 1 == len(QUESTIONS)
        grid.add_row(question.text, *cells, end_section=last or number in (2, 5, 7, 13))
    grid.add_row(
        Text("states searched", style="dim"),
        *(Text(f"{result.states[subject.key]:,}", style="dim") for subject in result.subjects),
    )
    legend = Text.assemble(
        ("green", "green"),
        ": a promise to the guest, ",
        ("red", "red"),
        ": none.  A number: steps of the shortest run that shows it (",
        ("--explain MECHANISM QUESTION", "bold"),
        ");\nno number: it holds in all states.  -: it cannot arise.  ",
        f"{sum(result.states.values()):,} states, {sum(result.transitions.values()):,}"
        f" transitions, {seconds:.0f} s.",
    )
    return Group(grid, legend)


def explanation(cell: Cell) -> Group:
    """A witness as a table, or the sentence that there is none."""
    subject, question = cell.subject, cell.question
    head = Text.assemble(
        (f"{subject.title}: {question.text} ", "bold"),
        (cell.answer, "bold green" if cell.is_promise else "bold red"),
        f"\n{subject.meaning}",
    )
    if cell.answer == "n/a":
        return Group(head, Text("The question cannot arise under this mechanism."))
    if cell.steps is None:
        return Group(head, Text(f"It is so in all {cell.states:,} states that can be reached."))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("", justify="right")
    grid.add_column("step", ratio=1)
    for title in ("state", "PGSTE", "PTE", "list", "a load gives"):
        grid.add_column(title, no_wrap=True)
    for number, moment in enumerate(cell.moments()):
        grid.add_row(
            str(number) if number else "",
            moment.what,
            moment.state,
            f"{moment.pgste:016x}",
            f"{moment.pte:x}",
            " ".join(map(str, moment.listed)),
            moment.reads,
        )
    foot = Text(
        f"Page 0, on {cell.system}; no shorter run shows it. State: S stable, U unused,"
        " V volatile, P potentially volatile;\nr resident, p on swap, z nothing kept.",
        style="dim",
    )
    return Group(head, grid, foot)

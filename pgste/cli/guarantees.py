# SPDX-License-Identifier: MIT
"""`pgste guarantees`: the table of answers, and the run behind one of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pgste.cli.bisect import histories
from pgste.cli.terminal import Grid, has_colours, print_json, progress_bar
from pgste.guarantees import (
    DEEP_SYSTEMS,
    MECHANISMS,
    QUESTIONS,
    SYSTEMS,
    Cell,
    Guarantees,
    Subject,
    System,
    bisect,
    guarantees,
)
from pgste.guarantees.result import known

__all__ = ["add_arguments", "explanation", "run", "table"]


_ALL = "all"  # questions, of --kernels


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
    parser.add_argument(
        "--kernels",
        nargs="?",
        const=_ALL,
        metavar="QUESTION",
        help="in which releases of Linux an answer changed and by which commit; without a"
        " question, all that changed",
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="search three pages on two frames too: takes minutes and gigabytes",
    )
    parser.add_argument(
        "--format", choices=("table", "markdown", "json"), default="table", help="default table"
    )
    parser.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="print the result as JSON",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    wanted = args.mechanisms.split(",") if args.mechanisms is not None else None
    if args.explain:
        wanted = [args.explain[0]]
        known("question", args.explain[1], [question.key for question in QUESTIONS])
    if args.kernels is not None:
        return _kernels(args, console)
    start = time.perf_counter()
    result = _with_progress(wanted, DEEP_SYSTEMS if args.deep else SYSTEMS)
    seconds = time.perf_counter() - start
    if args.explain:
        cell = result.cell(*args.explain)
        if args.format == "json":
            print_json(_cell_json(cell))
        else:
            console.print(explanation(cell))
    elif args.format == "json":
        print_json(result.to_dict())
    elif args.format == "markdown":
        console.out(result.to_markdown(), end="", highlight=False)
    else:
        console.print(table(result, seconds, console.width, has_colours(console)))
    return 0


def _kernels(args: argparse.Namespace, console: Console) -> int:
    if args.explain or args.mechanisms is not None:
        raise ValueError("guarantees: --kernels, --explain and --mechanisms: one of them")
    systems = DEEP_SYSTEMS if args.deep else SYSTEMS
    question = None if args.kernels == _ALL else args.kernels
    with _searching() as advance:
        found = bisect(question, systems, advance)
    if args.format == "json":
        print_json(found.to_dict())
    elif args.format == "markdown":
        console.out(found.to_markdown(), end="", highlight=False)
    else:
        console.print(histories(found, has_colours(console)))
    return 0


@contextmanager
def _searching() -> Iterator[Callable[[str, int, int], None]]:
    with progress_bar(told=True) as progress:
        task = progress.add_task("searching", total=None, told="")

        def advance(key: str, done: int, total: int) -> None:
            told = f"{done:,} of {total:,} states, {key}" if total else f"{done:,} states, {key}"
            progress.update(task, completed=done, total=total or None, told=told)

        yield advance


def _with_progress(wanted: list[str] | None, systems: Sequence[System]) -> Guarantees:
    with _searching() as advance:
        return guarantees(wanted, systems, progress=advance)


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


def _answer(cell: Cell, notes: list[str], colours: bool) -> Text:
    if cell.answer == "n/a":
        return Text("-", style="dim")
    text = Text(cell.answer, style="green" if cell.is_promise else "red")
    if not colours and not cell.is_promise:
        text.append(_NO_PROMISE)
    if cell.steps is not None:
        text.append(f" {len(cell.steps)}", style="dim")
    if cell.note:
        if cell.note not in notes:
            notes.append(cell.note)
        text.append(" " + _MARKS[notes.index(cell.note)], style="dim")
    return text


_MARKS = "abc"
_NO_PROMISE = "!"  # where there are no colours to tell it
_QUESTION_WIDTH = max(len(question.text) for question in QUESTIONS)
_COLUMN_WIDTH = 8  # "DONTNEED", "987,384"
_ENDS_OF_GROUPS = ("zero-after-alloc", "zapped-under-pressure", "stale-after-zero")
_ENDS_OF_MORE_GROUPS = ("announce-reuse", "stable-zero")


def _grid(
    result: Guarantees,
    subjects: Sequence[Subject],
    notes: list[str],
    colours: bool,
    widths: tuple[int, int],
) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    grid.add_column("", width=widths[0])
    for subject in subjects:
        title = subject.title.replace("MADV_", "MADV ").replace(" ", "\n")
        grid.add_column(title, width=widths[1], vertical="bottom", no_wrap=True)
    for question in QUESTIONS:
        found = [result.cell(subject.key, question.key) for subject in subjects]
        cells = [_answer(cell, notes, colours) for cell in found]
        ends = question.key in (*_ENDS_OF_GROUPS, *_ENDS_OF_MORE_GROUPS)
        grid.add_row(question.text, *cells, end_section=ends)
    counts = [Text(f"{result.states[subject.key]:,}", style="dim") for subject in subjects]
    grid.add_row(Text("states searched", style="dim"), *counts)
    return grid


def table(result: Guarantees, seconds: float, width: int, colours: bool = True) -> Group:
    """Questions down, mechanisms across; in several tables if that is too wide."""
    column = max(_COLUMN_WIDTH, *(len(f"{states:,}") for states in result.states.values()))
    question = min(_QUESTION_WIDTH, width - column - 3)
    fit = max((width - question - 3) // (column + 1), 1)
    tables = -(-len(result.subjects) // fit)
    size = -(-len(result.subjects) // tables)
    notes: list[str] = []
    grids = [
        _grid(result, result.subjects[at : at + size], notes, colours, (question, column))
        for at in range(0, len(result.subjects), size)
    ]
    marks = (
        [("green", "green"), ": a promise to the guest; ", ("red", "red"), ": no promise."]
        if colours
        else [f"{_NO_PROMISE}: no promise to the guest; other answers are promises."]
    )
    legend = Text.assemble(
        *marks,
        " A number: the steps of the shortest run that shows it (",
        ("--explain MECHANISM QUESTION", "bold"),
        "). No number: the answer holds in all states. -: the question cannot arise.",
    )
    for mark, note in zip(_MARKS, notes, strict=False):
        legend.append(f" {mark}: {note}.")
    legend.append(
        f"\n{sum(result.states.values()):,} states, {sum(result.transitions.values()):,}"
        f" transitions, {seconds:.0f} s."
    )
    return Group(*grids, legend)


def explanation(cell: Cell) -> Group:
    """A witness as a table, or the sentence that there is none."""
    subject, question = cell.subject, cell.question
    head = Text.assemble(
        (f"{subject.title}: {question.whole} ", "bold"),
        (cell.answer, "bold green" if cell.is_promise else "bold red"),
        f"\n{subject.meaning}",
    )
    if cell.answer == "n/a":
        return Group(head, Text("The question cannot arise under this mechanism."))
    if cell.steps is None:
        return Group(head, Text(f"It is so in all {cell.states:,} states that can be reached."))
    grid = Grid(labels=2, dense=True)
    grid.add_column("", justify="right")
    grid.add_column("step", wraps=True)
    for title in ("state", "PGSTE", "PTE", "list", "a load gives"):
        grid.add_column(title)
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
        f"Page 0, on {cell.system}; no shorter run shows it.\nState: S stable, U unused,"
        " V volatile, P potentially volatile; r resident, p on swap, z nothing kept.",
        style="dim",
    )
    return Group(head, Text(), grid, Text(), foot)

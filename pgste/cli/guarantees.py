# SPDX-License-Identifier: MIT
"""`pgste guarantees`: the table of answers, and the run behind one of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pgste.cli.terminal import NO_PROMISE, Grid, print_json, progress_bar
from pgste.cli.words import printable
from pgste.errors import ArgumentError
from pgste.guarantees import (
    ASSUMPTIONS,
    DEEP_SYSTEMS,
    MECHANISMS,
    QUESTIONS,
    SYSTEMS,
    Bisect,
    Cell,
    Guarantees,
    Subject,
    System,
    bisect,
    explain,
    guarantees,
)
from pgste.guarantees.result import named
from pgste.guarantees.search import BACKINGS
from pgste.guarantees.witness import Backing

__all__ = ["add_arguments", "explanation", "run", "table"]

_ALL = "all"  # questions, of --kernels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mechanisms",
        metavar="LIST",
        help="columns, separated by commas, by their headings or: "
        + ", ".join(subject.key for subject in MECHANISMS),
    )
    parser.add_argument(
        "--explain",
        nargs=2,
        metavar=("MECHANISM", "QUESTION"),
        help="the run behind one answer, step by step; mechanisms as above, questions as printed"
        " or: " + ", ".join(question.key for question in QUESTIONS),
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="with --explain: draw that run over its steps (.png, .svg, .pdf)",
    )
    parser.add_argument(
        "--kernels",
        nargs="?",
        const=_ALL,
        metavar="QUESTION",
        help="in which releases of Linux an answer changed and by which commit; a question as"
        " above, or all that changed",
    )
    parser.add_argument(
        "--backing",
        choices=BACKINGS,
        default=BACKINGS[0],
        help="the guest's memory: private and anonymous (default), or a shared file in memory",
    )
    parser.add_argument(
        "--pinned",
        action="store_true",
        help="a VFIO device has page 0 pinned, and is a second observer: a store is lost if guest"
        " or device do not see it",
    )
    parser.add_argument(
        "--mlock",
        action="store_true",
        help="the host has the guest's memory locked (mlockall, QEMU's mem-lock=on)",
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


_HEADINGS = {subject.key: (subject.title,) for subject in MECHANISMS}
_TEXTS = {question.key: (question.text, question.whole) for question in QUESTIONS}


class _World(TypedDict):
    """The memory behind the guest, as `guarantees` takes it."""

    backing: Backing
    pinned: bool
    mlock: bool


def _world(args: argparse.Namespace) -> _World:
    return {"backing": args.backing, "pinned": args.pinned, "mlock": args.mlock}


def run(args: argparse.Namespace, console: Console) -> int:
    systems = DEEP_SYSTEMS if args.deep else SYSTEMS
    if args.explain and args.kernels is not None:
        raise ArgumentError("--kernels, --explain: one of them")
    if args.explain:
        return _explain(args, systems, console)
    if args.plot is not None:
        raise ArgumentError("--plot: draws a run of --explain MECHANISM QUESTION, which is missing")
    if args.kernels is not None:
        return _kernels(args, console)
    wanted = None
    if args.mechanisms is not None:
        wanted = [named("mechanisms", name, _HEADINGS) for name in args.mechanisms.split(",")]
    start = time.perf_counter()
    with _progress() as advance:
        result = guarantees(wanted, systems, progress=advance, **_world(args))
    seconds = time.perf_counter() - start
    _show(result, lambda: table(result, seconds, console.width), args.format, console)
    return 0


def _show(
    found: Guarantees | Bisect, screen: Callable[[], Group], form: str, console: Console
) -> None:
    if form == "json":
        print_json(found.to_dict())
    elif form == "markdown":
        console.out(found.to_markdown(), end="", highlight=False)
    else:
        console.print(screen())


def _kernels(args: argparse.Namespace, console: Console) -> int:
    if args.mechanisms is not None:
        raise ArgumentError("--kernels, --mechanisms: one of them")
    from pgste.cli.bisect import histories  # of no use to the rest of the verb

    systems = DEEP_SYSTEMS if args.deep else SYSTEMS
    question = None if args.kernels == _ALL else named("question", args.kernels, _TEXTS)
    with _progress() as advance:
        found = bisect(question, systems, advance, **_world(args))
    _show(found, lambda: histories(found), args.format, console)
    return 0


def _explain(args: argparse.Namespace, systems: Sequence[System], console: Console) -> int:
    if args.mechanisms is not None:
        raise ArgumentError("--mechanisms: --explain names the one that it searches")
    if args.plot is not None:
        from pgste.study.picture import check_picture  # of no use without a picture

        check_picture(args.plot, "--plot")
    mechanism = named("mechanism", args.explain[0], _HEADINGS)
    question = named("question", args.explain[1], _TEXTS)
    with _progress() as advance:
        cell = explain(mechanism, question, systems, advance, **_world(args))
    drawn = args.plot is not None and cell.steps is not None
    if drawn:
        cell.plot(args.plot)
    if args.format == "json":
        print_json(cell.to_dict(moments=True))
    else:
        console.print(explanation(cell))
        if drawn:
            console.print(f"\ndrawn: {printable(args.plot)}")
        elif args.plot is not None:
            console.print("\nnothing is drawn: there is no run to show")
    if args.plot is not None and not drawn:
        from pgste.cli.common import PARTLY  # it brings traces, of no use to others

        return PARTLY
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    with progress_bar(told=True) as progress:
        task = progress.add_task("searching", total=None, told="")

        def advance(key: str, done: int, total: int) -> None:
            told = f"{done:,} of {total:,} states, {key}" if total else f"{done:,} states, {key}"
            progress.update(task, completed=done, total=total or None, told=told)

        yield advance


def _answer(cell: Cell, notes: list[str]) -> Text:
    if cell.answer == "n/a":
        return Text("-", style="dim")
    text = Text(cell.answer, style="green" if cell.is_promise else "red")
    if not cell.is_promise:
        text.append(NO_PROMISE)
    if cell.steps is not None:
        text.append(f" {len(cell.steps)}", style="dim")
    if cell.note:
        if cell.note not in notes:
            notes.append(cell.note)
        text.append(" " + _MARKS[notes.index(cell.note)], style="dim")
    return text


_MARKS = "abc"
_QUESTION_WIDTH = max(len(question.text) for question in QUESTIONS)
_COLUMN_WIDTH = 8  # "DONTNEED", "987,384"
_ENDS_OF_GROUPS = ("zero-after-alloc", "zapped-under-pressure", "stale-after-zero")
_ENDS_OF_MORE_GROUPS = ("announce-reuse", "stable-zero")


def _grid(
    result: Guarantees,
    subjects: Sequence[Subject],
    notes: list[str],
    widths: tuple[int, int],
) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    grid.add_column("", width=widths[0])
    for subject in subjects:
        title = subject.title.replace("MADV_", "MADV ").replace(" ", "\n")
        grid.add_column(title, width=widths[1], vertical="bottom", no_wrap=True)
    for question in QUESTIONS:
        found = [result.cell(subject.key, question.key) for subject in subjects]
        cells = [_answer(cell, notes) for cell in found]
        ends = question.key in (*_ENDS_OF_GROUPS, *_ENDS_OF_MORE_GROUPS)
        grid.add_row(question.text, *cells, end_section=ends)
    counts = [Text(f"{result.states[subject.key]:,}", style="dim") for subject in subjects]
    grid.add_row(Text("states searched", style="dim"), *counts)
    return grid


def table(result: Guarantees, seconds: float, width: int) -> Group:
    """Questions down, mechanisms across; in several tables if that is too wide."""
    column = max(_COLUMN_WIDTH, *(len(f"{states:,}") for states in result.states.values()))
    question = min(_QUESTION_WIDTH, width - column - 3)
    fit = max((width - question - 3) // (column + 1), 1)
    tables = -(-len(result.subjects) // fit)
    size = -(-len(result.subjects) // tables)
    notes: list[str] = []
    grids = [
        _grid(result, result.subjects[at : at + size], notes, (question, column))
        for at in range(0, len(result.subjects), size)
    ]
    legend = Text.assemble(
        (NO_PROMISE, "red"),
        ": no promise to the guest; other answers are promises.",
        " A number: the steps of the shortest run that shows it (",
        ("--explain MECHANISM QUESTION", "bold"),
        "). No number: the answer holds in all states. -: the question cannot arise.",
    )
    for mark, note in zip(_MARKS, notes, strict=False):
        legend.append(f" {mark}: {note}.")
    legend.append(f"\nAssumed: {_assumptions(result.assumed)}.")
    legend.append(
        f"\n{sum(result.states.values()):,} states, {sum(result.transitions.values()):,}"
        f" transitions, {seconds:.0f} s."
    )
    return Group(*grids, legend)


def _assumptions(assumptions: Sequence[str]) -> str:
    """What is taken for granted, with the switch that changes it behind."""
    return ", ".join(
        each + (f" ({ASSUMPTIONS[each]})" if ASSUMPTIONS.get(each) else "") for each in assumptions
    )


def _searched(what: str, cell: Cell) -> Text:
    """What an answer without a run rests on."""
    text = Text(f"\n{what} {cell.states:,} states that these systems can get into:")
    for system in cell.systems:
        others = "; other pages keep to free and alloc" if system.obedient else ""
        text.append(f"\n  {system}{others}")
    text.append(f"\nAssumed: {_assumptions(cell.subject.assumed)}.")
    return text


def explanation(cell: Cell) -> Group:
    """A witness as a table, or the sentence that there is none."""
    subject, question = cell.subject, cell.question
    head = Text.assemble(
        (f"{subject.title}: {question.whole} ", "bold"),
        (cell.answer, "bold green" if cell.is_promise else "bold red"),
        "" if cell.is_promise or cell.answer == "n/a" else (NO_PROMISE, "bold red"),
        f"\n{subject.meaning}",
        *(f"\nwith {each}" for each in cell.subject.assumed if each not in ASSUMPTIONS),
    )
    if cell.answer == "n/a":
        return Group(head, _searched("The question arises in none of the", cell))
    if cell.steps is None:
        return Group(head, _searched("It is so in all", cell))
    grid = Grid(labels=2, dense=True)
    grid.add_column("", justify="right")
    grid.add_column("step", wraps=True)
    moments = cell.moments()
    two = moments[0].host_pte is not None
    ptes = ("PTE", "host PTE") if two else ("PTE",)
    digits = 16 if any(moment.pgste >> 32 for moment in moments) else 8
    lists = ("list",) if subject.mechanism == "cmma" else ()
    device = ("device",) if subject.pinned else ()
    for title in ("state", "PGSTE", *ptes, *lists, "a load gives", *device):
        grid.add_column(title)
    for number, moment in enumerate(moments):
        words = (moment.pte, moment.host_pte) if two else (moment.pte,)
        grid.add_row(
            str(number) if number else "",
            moment.what,
            moment.state,
            f"{moment.pgste:0{digits}x}",
            *(f"{word:x}" for word in words),
            *([" ".join(map(str, moment.listed))] if lists else []),
            moment.reads,
            *([moment.device or ""] if device else []),
        )
    foot = Text(
        f"Page 0, on {cell.system}; no shorter run shows it.\nState: S stable, U unused,"
        " V volatile, P potentially volatile; r resident, p on swap, z nothing kept.",
        style="dim",
    )
    return Group(head, Text(), grid, Text(), foot)

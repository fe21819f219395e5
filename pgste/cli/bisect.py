# SPDX-License-Identifier: MIT
"""`pgste guarantees --kernels`: answers release by release, and the commits that changed them."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from pgste.cli.terminal import NO_PROMISE, Grid
from pgste.guarantees.kernels import Answer, Bisect
from pgste.guarantees.questions import Question

__all__ = ["histories"]


def _answer(answer: Answer) -> Text:
    if answer.cell is None or answer.cell.answer == "n/a":
        return Text(answer.text, style="dim")
    good = answer.cell.is_promise
    mark = "" if good else NO_PROMISE
    text = answer.text.replace(answer.cell.answer, answer.cell.answer + mark, 1)
    return Text(text, style="green" if good else "red")


def _commits(answer: Answer) -> Text:
    found = []
    for commit in answer.by:
        also = f" (also {', '.join(commit.stable)})" if commit.stable else ""
        unseen = "" if commit.seen else " (not seen in the source)"
        found.append(Text.assemble((commit.id, "bold"), f" {commit.title}{also}{unseen}"))
    return Text("\nor ").join(found)


def _history(question: Question, places: list[list[Answer]]) -> RenderableType:
    grid = Grid(labels=2, dense=True)
    for title in ("where", "releases", "answer"):
        grid.add_column(title)
    grid.add_column("changed by", wraps=True)
    for place in places:
        for number, answer in enumerate(place):
            grid.add_row(
                "" if number else answer.span.where,
                Text(answer.span.releases),
                _answer(answer),
                _commits(answer),
            )
    return Group(Text(question.whole, style="bold"), grid, Text())


def histories(found: Bisect) -> Group:
    """For each question a table: where, in which releases, the answer, what changed it."""
    tables = [_history(question, places) for question, places in found.histories()]
    spans = dict.fromkeys(answer.span for answer in found.answers)
    notes = [
        Text(f"{span.where}, {span.releases}: {span.note}.", style="dim")
        for span in spans
        if span.note
    ]
    legend = Text.assemble(
        (NO_PROMISE, "red"),
        ": no promise to the guest; ",
        "other answers are promises. In brackets: the steps of the shortest run that shows it. No "
        "brackets: the answer holds in all states. n/a: the question cannot arise.",
    )
    if not tables:
        tables = [Text("No answer changed in these releases.")]
    return Group(*tables, *notes, Text(), legend)

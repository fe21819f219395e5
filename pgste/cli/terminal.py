# SPDX-License-Identifier: MIT
"""What verbs print on: a console that nothing foreign can command, tables that no width cuts.

Everything that a verb prints goes through `Screen`, `Grid`, `print_json` or `progress_bar`;
tests/rules/test_terminal.py holds that.  docs/robustness.md says what is promised.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

from rich import box
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from pgste.cli.words import printable

__all__ = ["NO_PROMISE", "Grid", "Screen", "bars_by_name", "print_json", "progress_bar"]

NO_PROMISE = "!"  # behind a word that is red, too: colours are not for everybody
_NARROWEST, _WIDEST = 40, 1000
_LEAST_LABEL = 12  # columns that a row's title keeps before tables are stacked
_LONG_LABEL = 28  # that they keep before tables are cut
_LEAST_PROSE = 20


class Screen(Console):
    """A console that takes plain text as plain text, and is at least 40 columns wide.

    Neither markup nor control characters in a string that is printed have an effect; only line
    ends have.  Styles come as `Text`.  A narrower terminal breaks the lines itself.
    """

    def __init__(self, stderr: bool = False) -> None:
        # Rich takes these two for numbers if they look a little like some.
        environ = dict(os.environ)
        for name in ("COLUMNS", "LINES"):
            value = environ.get(name, "")
            if not (value.isascii() and value.isdigit() and len(value) < 6):
                environ.pop(name, None)
        super().__init__(
            stderr=stderr, markup=False, highlight=False, emoji=False, _environ=environ
        )

    @property  # type: ignore[misc]  # Rich's can be set, too; nobody does
    def size(self) -> ConsoleDimensions:
        # For a terminal that is dumb, Rich takes 80 columns, whatever there are.
        width, height = shutil.get_terminal_size() if self.is_dumb_terminal else super().size
        return ConsoleDimensions(min(max(width, _NARROWEST), _WIDEST), height)

    def on_broken_pipe(self) -> None:
        raise  # Rich would end the program; main() does that

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **options)


def print_json(data: object) -> None:
    """The result as one JSON document on standard output."""
    print(json.dumps(data, allow_nan=False))


def progress_bar(told: bool = False) -> Progress:
    """A progress bar on standard error, where it does not mix with the result.

    After the bar come what is done, the total, and the time that is left; if `told`, each task's
    field of that name instead, and the time it has taken.  Only on a terminal.
    """
    behind: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), TimeRemainingColumn())
    if told:
        behind = (TextColumn("{task.fields[told]}", markup=False), TimeElapsedColumn())
    console = Screen(stderr=True)
    return Progress(
        TextColumn("{task.description:24}", markup=False),
        BarColumn(None if console.width < 80 else 40),
        *behind,
        console=console,
        transient=True,
        disable=not console.is_interactive,  # it would leave an empty line behind
    )


def bars_by_name(progress: Progress, what: str = "") -> Callable[..., None]:
    """What is called with (name, done, total): a bar for each name, from its first call on.

    `what` is done: for bars that tell that instead of the total.
    """
    tasks: dict[str, TaskID] = {}

    def advance(name: str, done: int, total: int | None = None) -> None:
        told = f"{done:,} {what}"
        if name not in tasks:
            tasks[name] = progress.add_task(name, total=total, told=told)
        progress.update(tasks[name], completed=done, told=told)

    return advance


Cell = str | Text


class Grid:
    """A table with a line below its head, and no frame, that shows all of every cell.

    The first `labels` columns name a row.  Too wide, the table is cut into several, one below
    the other, each with the labels and some of the other columns (`together`: how many of these
    stay beside one another).  If even one does not fit, or if a column that `wraps` has no room,
    each row becomes a paragraph.
    """

    def __init__(
        self,
        labels: int = 1,
        together: int = 1,
        *,
        head: str | None = "bold",
        dense: bool = False,
    ) -> None:
        self.labels = labels
        self.together = together
        self.head = head
        self.dense = dense
        self.columns: list[tuple[Text, Literal["left", "right"], bool]] = []
        self.rows: list[list[Text]] = []

    def add_column(
        self, title: str, justify: Literal["left", "right"] = "left", wraps: bool = False
    ) -> None:
        self.columns.append((Text(printable(title, keep="\n")), justify, wraps))

    def add_row(self, *cells: Cell) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append([c if isinstance(c, Text) else Text(printable(c)) for c in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        wrapping = sum(wraps for _, _, wraps in self.columns)
        everything = range(len(self.columns))
        if wrapping:
            if self._width(console, everything, prose=_LEAST_PROSE) <= width:
                yield self._table(everything)
            else:
                yield from self._paragraphs(width)
            return
        first, rest = everything[: self.labels], everything[self.labels :]
        groups = [rest[at : at + self.together] for at in range(0, len(rest), self.together)]
        parts = self._parts(console, list(first), groups, width)
        if parts is None:
            yield from self._paragraphs(width)
            return
        for number, (which, label) in enumerate(parts):
            if number:
                yield Text()
            yield self._table(which, label)

    def _parts(
        self, console: Console, first: list[int], groups: Sequence[Sequence[int]], width: int
    ) -> list[tuple[list[int], int | None]] | None:
        """Columns of each table, and how wide the last label may be; None: nothing fits."""
        for nr in range(1, len(groups) + 1):
            cuts = [len(groups) * i // nr for i in range(nr + 1)]  # about as many in each
            parts = []
            for start, stop in pairwise(cuts):
                which = first + [column for group in groups[start:stop] for column in group]
                over = self._width(console, which) - width
                label = None
                if over > 0:
                    natural = max(cell.cell_len for cell in self._cells(first[-1]))
                    label = natural - over
                    # titles of rows are broken a little, or when no other way is left
                    least = _LEAST_LABEL if nr == len(groups) else _LONG_LABEL
                    if label < min(least, natural):
                        break
                parts.append((which, label))
            else:
                return parts
        return None

    def _cells(self, column: int) -> list[Text]:
        head = [] if self.head is None else list(self.columns[column][0].split("\n"))
        return [*head, *(row[column] for row in self.rows)]

    def _table(self, which: Sequence[int], label: int | None = None) -> Table:
        table = Table(
            box=None if self.head is None else box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            show_header=self.head is not None,
            header_style=self.head or "",
            collapse_padding=self.dense,
        )
        for column in which:
            title, justify, wraps = self.columns[column]
            narrow = label is not None and column == self.labels - 1
            table.add_column(
                title,
                justify=justify,
                no_wrap=not (wraps or narrow),
                width=label if narrow else None,
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*(row[column] for column in which))
        return table

    def _width(self, console: Console, which: Sequence[int], prose: int | None = None) -> int:
        """Columns of the terminal that it takes; those that wrap take `prose` at most."""
        table = self._table(which)
        wide = console.options.update(max_width=_WIDEST * 10)
        width = Measurement.get(console, wide, table).maximum
        for column in which:
            if prose is not None and self.columns[column][2]:
                widest = max(cell.cell_len for cell in self._cells(column))
                width -= max(widest - prose, 0)
        return width

    def _paragraphs(self, width: int) -> Iterator[RenderableType]:
        for row in self.rows:
            head = [cell for cell in row[: self.labels] if cell.plain.strip()]
            if head:
                title = Text("  ").join(head)
                title.stylize("bold")
                yield title
            line = Text()
            for (title, _, _), cell in zip(
                self.columns[self.labels :], row[self.labels :], strict=True
            ):
                if not cell.plain:
                    continue
                item = Text.assemble((" ".join(title.plain.split()) + ":", "dim"), " ", cell)
                if line and line.cell_len + 3 + item.cell_len > width - 3:
                    yield _indented(line)
                    line = Text()
                line = Text("   ").join([line, item]) if line else item
            if line:
                yield _indented(line)


def _indented(line: Text) -> RenderableType:
    grid = Table.grid()
    grid.add_column(width=3)
    grid.add_column(overflow="fold")
    grid.add_row("", line)
    return grid

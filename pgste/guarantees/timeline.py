# SPDX-License-Identifier: MIT
"""A witness as a picture: what guest and host do, and what becomes of the page, step by step.

Time goes from left to right, a column for each step.  Above stands who does what; below, a row
for each thing that has a state, as a bar that lasts as long as the state.  What the answer rests
on has a heavy frame, and a sentence below it.  Everything is told by words and patterns; colours
only repeat it.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from pgste.study.figure import (
    Axes,
    FancyBboxPatch,
    Figure,
    Rectangle,
    new_figure,
    rc_context,
    save,
)

if TYPE_CHECKING:
    from pgste.guarantees.columns import Subject
    from pgste.guarantees.questions import Question
    from pgste.guarantees.systems import System
    from pgste.guarantees.witness import Moment, Page, Step

__all__ = ["draw_timeline", "plot_timeline"]


class Answer(Protocol):
    """What is drawn: a `pgste.guarantees.Cell` has it."""

    @property
    def question(self) -> Question: ...
    @property
    def subject(self) -> Subject: ...
    @property
    def answer(self) -> str: ...
    @property
    def system(self) -> System | None: ...
    @property
    def steps(self) -> tuple[Step, ...] | None: ...
    @property
    def is_promise(self) -> bool: ...
    def moments(self) -> list[Moment]: ...


# ---- what is shown: rows of words, one word for each moment -----------------------------------


@dataclass(frozen=True)
class _Row:
    title: str
    words: tuple[str, ...]
    key: str = ""  # what the answer of a question may rest on


def _life(
    steps: Sequence[Step], moments: Sequence[Moment]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the guest has page 0 for, and its last store to it: at the start and after each."""
    phase, store, tag = "in use", "none", 0
    phases, stores = [phase], [store]
    for step, moment in zip(steps, moments[1:], strict=True):
        tag += step.action in ("write", "free_raced")
        if step.gfn == 0 and not _is_refused(moment):
            match step.action:
                case "write":
                    store = f"store {tag}"
                case "free" | "free_raced":
                    phase = "free"
                    if step.action == "free_raced":
                        store = f"store {tag}"
                case "alloc":
                    phase = "in use"
                case "take":
                    phase = "used, alloc skipped"
        phases.append(phase)
        stores.append(store)
    return tuple(phases), tuple(stores)


def _is_refused(moment: Moment) -> bool:
    return "program interruption" in moment.what


def _rows(cell: Answer, moments: Sequence[Moment]) -> list[_Row]:
    phases, stores = _life(cell.steps or (), moments)
    rows = [_Row("page 0 is", phases), _Row("last store to it", stores)]
    pages = [moment.pages[0] for moment in moments]

    def add(title: str, key: str, word: Callable[[Page], str], *, always: bool = False) -> None:
        words = tuple(map(word, pages))
        if always or len({*words}) > 1:
            rows.append(_Row(title, words, key))

    cmma = cell.subject.mechanism == "cmma"
    add("PGSTE", "pgste", lambda page: page.usage, always=cmma)
    listed = tuple(_listed(moment.listed) for moment in moments)
    if len({*listed}) > 1:
        rows.append(_Row("list (CBRL)", listed, "list"))
    add("reporting", "report", lambda page: page.report)
    if pages[0].host_pte is None:
        add("host pte", "pte", lambda page: page.pte, always=True)
    else:
        add("guest pte", "guest pte", lambda page: page.pte, always=True)
        add("host pte", "pte", lambda page: page.host_pte or "", always=True)
    add("swap slot", "swap", _slot, always=True)
    add("a load gives", "reads", lambda page: page.reads, always=True)
    for gfn in range(1, len(moments[0].pages)):
        words = tuple(_other(moment.pages[gfn], cmma) for moment in moments)
        if len({*words}) > 1:
            rows.append(_Row(f"page {gfn}", words))
    return rows


def _listed(gfns: tuple[int, ...]) -> str:
    pages = ", ".join(map(str, gfns))
    return f"page{'s' * (len(gfns) > 1)} {pages}" if gfns else "empty"


def _slot(page: Page) -> str:
    if page.swap is None:
        return "empty"
    return f"{page.swap}, a copy" if page.resident else page.swap


def _other(page: Page, cmma: bool) -> str:
    """Another page, in one row."""
    said = [page.usage] if cmma else []
    said += [page.report] if page.report else []
    said += [page.host_pte or page.pte]
    said += [page.reads]
    return ", ".join(word for word in said if word not in ("none", "zero")) or "nothing kept"


#: Question: the row that its answer rests on, and a sentence; {store}: the last store.
_TOLD = {
    "zero-after-free": ("reads", "right after the free a load gives {reads}"),
    "zero-after-zap": ("reads", "after the zap a load gives {reads}"),
    "zero-after-alloc": ("reads", "after alloc a load gives {reads}"),
    "zapped-ever": ("pte", "the host gave up what the free page held"),
    "zapped-at-once": ("pte", "after the free the host still has what the page held"),
    "zapped-under-pressure": ("pte", "short of memory, the host still keeps the free page"),
    "stale": ("reads", "a load gives {reads}, from before the free"),
    "stale-after-zero": ("reads", "a load gives {reads}, from before the free, after it gave zero"),
    "touch-while-free": ("does", "the free page may not be touched"),
    "lost-after-alloc": ("reads", "{store}, made after alloc, is lost"),
    "lost-before-alloc": ("reads", "{store}, made between free and alloc, is lost"),
    "lost-without-alloc": ("reads", "{store}, made with alloc skipped, is lost"),
    "lost-racing": ("reads", "{store}, made while the host was told, is lost"),
    "announce-reuse": ("reads", "{store}, made with alloc skipped, is lost"),
    "zap-harms": ("", "the content of another page has changed"),
    "entry-lost": ("list", "an entry has left the list, and its page was not zapped"),
    "entry-twice": ("list", "a swap slot was given up twice"),
    "stable-zero": ("reads", "{store}, on a page that is stable again, is lost"),
}


def _told(cell: Answer, moments: Sequence[Moment]) -> tuple[str, str]:
    """The row that the answer rests on, and the sentence."""
    key, sentence = _TOLD.get(cell.question.key, ("", f"{cell.question.whole} {cell.answer}"))
    last = moments[-1]
    if _is_refused(last):
        key, sentence = "does", "the page may not be touched"
    store = _life(cell.steps or (), moments)[1][-1]
    return key, sentence.format(reads=last.reads, store=store)


# ---- how it is drawn: lengths in inches, from the upper left corner ---------------------------

_LABEL, _MARGIN = 1.22, 0.12
_LEFT = _MARGIN + _LABEL  # where the columns begin
_NARROW, _BROAD, _WIDTH = 1.2, 1.9, 7.4  # columns, and what a short run fills
_BAR, _LINE, _GAP = 0.27, 0.15, 0.09
_MOST = 7  # steps beside one another
_SIZE = 8.5  # points
_LETTERS = 14.5  # of that size to an inch
_TEXT, _QUIET, _FRAME, _GOOD, _BAD = "#111111", "#666666", "#888888", "#0b5394", "#a61c00"
_EDGE: dict[str, Any] = {"color": "#bbbbbb", "linewidth": 0.8, "linestyle": (0, (3, 2))}

#: What a word begins with: face and pattern of its bar.  Others are plain.
_LOOKS = (
    (("none", "empty", "zero", "not free", "nothing"), "#ffffff", ""),
    (("unused, ZERO",), "#f6d7a7", "xxx"),
    (("stable, ZERO",), "#dcebf5", "xxx"),
    (("free, reported",), "#f6d7a7", "xxx"),
    (("unused", "free", "lazyfree", "used,"), "#f6d7a7", "///"),
    (("waits", "volatile", "potentially"), "#f6d7a7", "---"),
    (("present, UNUSED",), "#f6d7a7", "\\\\\\"),
    (("swap entry",), "#e4dcee", "..."),
    (("addressing", "discard"), "#f3d3cd", "|||"),
)
_PLAIN = "#dcebf5", ""


def _look(words: str) -> tuple[str, str]:
    for starts, face, pattern in _LOOKS:
        if words.startswith(starts):
            return face, pattern
    return _PLAIN


def _wrapped(text: str, width: float) -> list[str]:
    letters = max(int(width * _LETTERS), 8)
    text = re.sub(r"(pages?|store) (?=\d)", "\\1\u00a0", text)  # not broken there
    return textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False) or [""]


def _stretches(words: Sequence[str], apart: bool = False) -> Iterator[tuple[int, int, str]]:
    """First column, the one behind the last, and the word that stays so long.

    With `apart` the last column has a bar of its own.
    """
    first = 0
    for at in range(1, len(words) + 1):
        ends = apart and at == len(words) - 1
        if ends or at == len(words) or words[at] != words[first]:
            yield first, at, words[first]
            first = at


def plot_timeline(cell: Answer, path: str | os.PathLike[str]) -> None:
    """Draw the witness of an answer into a file; see `Cell.plot`."""
    save(draw_timeline(cell), path)


def draw_timeline(cell: Answer) -> Figure:
    """The witness of an answer as a figure."""
    moments = cell.moments()
    rows = _rows(cell, moments)
    focus, sentence = _told(cell, moments)
    steps = len(moments) - 1
    nr = -(-steps // _MOST)
    cuts = [steps * band // nr for band in range(nr + 1)]
    most = max(last - first for first, last in pairwise(cuts)) + 1
    column = min(max((_WIDTH - _LEFT - _MARGIN) / most, _NARROW), _BROAD)
    width = max(_LEFT + most * column + _MARGIN, _WIDTH)
    bands = [_Band(moments, rows, cut, column) for cut in pairwise(cuts)]
    head = _wrapped(f"{cell.subject.title}: {cell.question.whole} {cell.answer}", width * 0.7)
    meaning = _wrapped(cell.subject.meaning, width * 0.95)
    foot = _wrapped(_foot(cell), width * 1.1)
    below_head = 0.14 + 0.21 * len(head)
    top = below_head + 0.17 * len(meaning) + 0.12
    height = top + sum(band.height + 0.2 for band in bands) + 0.32 + 0.16 * len(foot) + _MARGIN
    figure = new_figure(width, height)
    figure.set_layout_engine("none")  # every place is given
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    _say(axes, _MARGIN, 0.14, head, size=11.5, weight="bold")
    _say(axes, _MARGIN, below_head, meaning, size=_SIZE + 0.5, color=_QUIET)
    for band in bands:
        band.draw(axes, top, focus if band is bands[-1] else "", cell.is_promise)
        top += band.height + 0.2
    told = f"{_CHECK if cell.is_promise else _CROSS} step {steps}: {sentence}"
    # it ends below what it is about, unless it then begins outside the picture
    end = max(_LEFT + bands[-1].columns * column, _MARGIN + len(told) * 0.1)
    colour = _GOOD if cell.is_promise else _BAD
    _say(axes, end, top - 0.08, [told], size=10, weight="bold", color=colour, ha="right")
    _say(axes, _MARGIN, top + 0.26, foot, size=_SIZE - 0.5, color=_QUIET)
    return figure


_CHECK, _CROSS = "\u2713", "\u2717"


def _foot(cell: Answer) -> str:
    return (
        f"The shortest run that shows it, for page 0 on {cell.system}. Columns: the start, and"
        " after each step. A bar lasts as long as what it says."
    )


class _Band:
    """Some of the steps beside one another, with the moment before the first."""

    def __init__(
        self,
        moments: Sequence[Moment],
        rows: Sequence[_Row],
        cut: tuple[int, int],
        column: float,
    ) -> None:
        first, last = cut
        part = moments[first : last + 1]
        self.columns = len(part)
        self.column = column
        self.rows = [_Row(row.title, row.words[first : last + 1], row.key) for row in rows]
        self.does = {
            number: (_actor(moment), _wrapped(f"{first + number}  {_deed(moment)}", column - 0.2))
            for number, moment in enumerate(part)
            if number
        }
        self.lanes: dict[str, float] = {}  # who does something, and how high that is
        for who in ("guest", "host"):
            lines = [len(words) for actor, words in self.does.values() if actor == who]
            if lines:
                self.lanes[who] = 0.26 + _LINE * max(lines)
        self.heights = [self._height(row) for row in self.rows]
        self.height = sum(self.lanes.values()) + 0.12 + sum(self.heights) + _GAP * len(rows)

    def _height(self, row: _Row) -> float:
        lines = [
            len(_wrapped(words, (stop - start) * self.column - 0.12))
            for start, stop, words in _stretches(row.words, row.key != "")
        ]
        return _BAR + _LINE * (max(lines) - 1)

    def draw(self, axes: Axes, top: float, focus: str, good: bool) -> None:
        """Draw it; `focus` is the row that the answer rests on, "" for none of this band."""
        for number in range(1, self.columns):
            x = _LEFT + number * self.column
            axes.plot([x, x], [top + 0.02, top + self.height], zorder=0, **_EDGE)
        tops, y = {}, top
        for who, height in self.lanes.items():
            _title(axes, y + 0.18, f"the {who}", bold=True)
            tops[who] = y
            y += height
        for number, (who, lines) in self.does.items():
            heavy = focus == "does" and number == self.columns - 1
            self._draw_step(axes, number, tops[who], lines, who == "guest")
            if heavy:
                box = _LINE * len(lines) + 0.11
                _heavy(axes, _LEFT + number * self.column, tops[who] + 0.05, self.column, box, good)
        y += 0.12
        for row, height in zip(self.rows, self.heights, strict=True):
            heavy = focus != "" and row.key == focus
            _title(axes, y + height / 2, row.title, bold=row.key == "reads")
            for start, stop, words in _stretches(row.words, heavy):
                wide = (stop - start) * self.column
                _bar(axes, _LEFT + start * self.column, y, wide, height, words)
            if heavy:
                last = _LEFT + (self.columns - 1) * self.column
                _heavy(axes, last, y, self.column, height, good)
            y += height + _GAP

    def _draw_step(
        self, axes: Axes, number: int, top: float, lines: list[str], guest: bool
    ) -> None:
        x = _LEFT + number * self.column
        box = FancyBboxPatch(
            (x + 0.04, top + 0.04),
            self.column - 0.08,
            0.13 + _LINE * len(lines),
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="#ffffff" if guest else "#eeeeee",
            edgecolor=_TEXT,
            linewidth=0.9,
        )
        axes.add_patch(box)
        _say(axes, x + 0.1, top + 0.1, lines, linespacing=1.25)


def _actor(moment: Moment) -> str:
    return "guest" if moment.what.startswith("guest") else "host"


def _deed(moment: Moment) -> str:
    """Without who does it, where the row says that."""
    return moment.what.removeprefix("guest ").removeprefix("host ")


def _say(
    axes: Axes, x: float, y: float, lines: Sequence[str], *, size: float = _SIZE, **style: Any
) -> None:
    axes.text(x, y, "\n".join(lines), fontsize=size, **{"va": "top", "ha": "left", **style})


def _title(axes: Axes, y: float, text: str, bold: bool) -> None:
    weight = "bold" if bold else "normal"
    _say(axes, _LEFT - 0.1, y, [text], size=_SIZE + 0.5, ha="right", va="center", weight=weight)


def _bar(axes: Axes, x: float, y: float, width: float, height: float, words: str) -> None:
    face, pattern = _look(words)
    style: dict[str, Any] = {
        "facecolor": face,
        "edgecolor": _FRAME,
        "linewidth": 0.8,
        "hatch": pattern,
    }
    with rc_context({"hatch.linewidth": 0.5}):
        axes.add_patch(Rectangle((x + 0.02, y), width - 0.04, height, **style))
    _say(
        axes,
        x + width / 2,
        y + height / 2,
        _wrapped(words, width - 0.12),
        ha="center",
        va="center",
        linespacing=1.1,
        color=_QUIET if face == "#ffffff" else _TEXT,
        bbox={"facecolor": face, "edgecolor": "none", "pad": 1.2} if pattern else None,
    )


def _heavy(axes: Axes, x: float, y: float, width: float, height: float, good: bool) -> None:
    """The frame around what the answer rests on."""
    style: dict[str, Any] = {"fill": False, "linewidth": 2.6, "zorder": 5}
    style["edgecolor"] = _GOOD if good else _BAD
    axes.add_patch(Rectangle((x + 0.02, y - 0.01), width - 0.04, height + 0.02, **style))

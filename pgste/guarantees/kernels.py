# SPDX-License-Identifier: MIT
"""A bisect of guarantees: in which releases an answer changed, and by which commit.

`SPANS` says which column of the search is true of which releases of Linux.  `bisect` searches the
columns and compares each with the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from pgste._checks import name_of
from pgste._engine.names import shown
from pgste.errors import ArgumentTypeError
from pgste.guarantees.questions import QUESTIONS, Question
from pgste.guarantees.result import Cell, Guarantees, cell_text
from pgste.guarantees.search import Progress, guarantees
from pgste.guarantees.systems import SYSTEMS, System
from pgste.guarantees.witness import Backing
from pgste.kernels.releases import Commit, span_text

__all__ = ["NO_RELEASE", "SPANS", "Answer", "Bisect", "Span", "bisect"]

#: Columns that are not those of a release of Linux.
NO_RELEASE = ("none", "cmma_zvm", "reporting_madv_free")


@dataclass(frozen=True)
class Span:
    """Releases for which one column holds: where, the first, the last, and the commits.

    `column` is a key of `MECHANISMS`, None for a rule that no column has.  `last` None: no end
    is known.  `commits` brought the rule; none for what is as old as the call.
    """

    where: str
    column: str | None
    first: str
    last: str | None
    commits: tuple[Commit, ...]
    note: str = ""

    @property
    def releases(self) -> str:
        return span_text(self.first, self.last)


_KVM = "CMMA on KVM"
_SHIFTED = "CMMA, shifted slot"
_LEFT = "CMMA, PTE left alone"
_FREE = "MADV_FREE"
_ALONE = "MADV_FREE, page alone"
_REPORTS = "free page reporting"
_POISONED = "reporting, page_poison"
_ZEROED = "reporting, init_on_free"

_LISTED = "a list of the commits merged for this release"
_EMULATION = Commit(
    "190df4a212a7",
    "KVM: s390: CMMA tracking, ESSA emulation, migration mode",
    "v4.13",
    "later commits' Fixes lines",
)
_NEW_GMAP = Commit(
    "e38c884df921",
    "KVM: s390: Switch to new gmap",
    "v7.0",
    f"{_LISTED}, and later commits' Fixes lines",
)
_ZERO_RESET = Commit(
    "9029496abfae",
    "KVM: s390: Properly reset zero bit in PGSTE",
    "v7.1",
    f"the patch, and {_LISTED}",
)
_ADDRESSES = Commit(
    "ca42c16638d5",
    "KVM: s390: Fix guest / virtual address confusion in _essa_clear_cbrl()",
    "v7.1",
    f"the patch, and {_LISTED}",
)
_TRYLOCK = Commit(
    "89fa757931dc",
    "KVM: s390: Avoid potentially sleeping while atomic when zapping pages",
    "v7.1",
    f"{_LISTED}, and a later commit's Fixes line",
)
_FIXES_OF_7_1 = (_ZERO_RESET, _ADDRESSES, _TRYLOCK)
_UNUSED_BIT = Commit(
    "fda07c8e4b54",
    "s390/mm: Fix handling of _PAGE_UNUSED pte bit",
    "v7.1.5",
    "the CVE-2026-72412 record; upstream d4bb00704a66",
    stable=("v7.2",),
)
_LAZYFREE = Commit(
    "802a3a92ad7a", "mm: reclaim MADV_FREE pages", "v4.12", "later commits' Fixes lines"
)
_REFERENCED = Commit(
    "6c8e2a256915",
    "mm: fix race between MADV_FREE reclaim and blkdev direct IO read",
    "v5.18",
    f"{_LISTED}, and the patch as backported to 5.10 (7 Apr 2022)",
)
_DIRTY_ONLY = Commit(
    "faeb2831b517",
    "mm: set folio swapbacked iff folios are dirty in try_to_unmap_one",
    "v6.15",
    _LISTED,
)
_REPORTED = Commit("36e66c554b5c", "mm: introduce Reported pages", "v5.7", "the patch")
_NO_POISON = Commit(
    "fb69c2c896fc",
    "virtio-balloon: Disable free page reporting if page poison reporting is not enabled",
    "v5.8",
    "the patch as reviewed for 5.7-stable (19 Jun 2020)",
)

#: What a span says beside its answers.
_OLDEST = "older releases were not looked at"
_RELEASED = "as released; stable 7.0 was not looked at"
_LINGERS = "UNUSED lingers as in v7.0 (CVE-2026-72412)"
_WRITTEN = "operations of the host write its PTE"
_OPEN = "an operation of the host may leave its PTE alone; whether one does is open"
_ANY_CLEAN = "drops a clean page whatever refers to it; the fix was backported in April 2022"
_OR_HELD = "a page that is dirty or has another reference is ordinary again"
_DIRTY = "only a page that is dirty is ordinary again"
_NOT_BUSY = "unshared, not under writeback, its lock free"
_IN_GUEST = "in the guest; QEMU from 5.1"

#: Oldest first for each place.  A column joins by a line.
SPANS = (
    Span(_KVM, "cmma", "v4.13", "v6.19", (_EMULATION,), _OLDEST),
    Span(_KVM, "cmma_7_0", "v7.0", "v7.0", (_NEW_GMAP,), _RELEASED),
    Span(_KVM, "cmma_7_1", "v7.1", "v7.1.4", _FIXES_OF_7_1, _LINGERS),
    Span(_KVM, "cmma_7_1_5", "v7.1.5", None, (_UNUSED_BIT,), _WRITTEN),
    Span(_SHIFTED, "cmma", "v4.13", "v6.19", (_EMULATION,), _OLDEST),
    Span(_SHIFTED, "cmma_7_0_shifted", "v7.0", "v7.0", (_NEW_GMAP,), _RELEASED),
    Span(_SHIFTED, "cmma_7_1", "v7.1", "v7.1.4", _FIXES_OF_7_1, _LINGERS),
    Span(_SHIFTED, "cmma_7_1_5", "v7.1.5", None, (_UNUSED_BIT,), _WRITTEN),
    Span(_LEFT, "cmma_7_1_5_left", "v7.1.5", None, (_UNUSED_BIT,), _OPEN),
    Span(_FREE, "madv_free_4_12", "v4.12", "v5.17", (_LAZYFREE,), _ANY_CLEAN),
    Span(_FREE, "madv_free", "v5.18", "v6.14", (_REFERENCED,), _OR_HELD),
    Span(_FREE, "madv_free_dirty", "v6.15", None, (_DIRTY_ONLY,), _DIRTY),
    Span(_ALONE, None, "v5.18", "v6.14", (_REFERENCED,), _OR_HELD),
    Span(_ALONE, "madv_free_alone", "v6.15", None, (_DIRTY_ONLY,), _NOT_BUSY),
    Span("MADV_DONTNEED", "madv_dontneed", "v2.6", None, ()),
    Span(_REPORTS, "reporting", "v5.7", None, (_REPORTED,), _IN_GUEST),
    Span(_ZEROED, "reporting_init", "v5.8", None, (_NO_POISON,), _IN_GUEST),
    Span(_POISONED, "reporting_poison", "v5.8", None, (_NO_POISON,), _IN_GUEST),
)


@dataclass(frozen=True)
class Answer:
    """One answer in the releases of one span.

    `cell` is None if no column has the span's rule.  `by` are the commits that changed the answer;
    more than one if it is one of them, as spans between could not be tried (git bisect skip).
    Empty: it is the answer of the releases before, or the oldest.
    """

    span: Span
    question: Question
    cell: Cell | None
    by: tuple[Commit, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.by)

    @property
    def text(self) -> str:
        return "not modelled" if self.cell is None else cell_text(self.cell)

    def to_dict(self) -> dict[str, Any]:
        return {
            "where": self.span.where,
            "column": self.span.column,
            "first": self.span.first,
            "last": self.span.last,
            "answer": None if self.cell is None else self.cell.answer,
            "note": None if self.cell is None else self.cell.note,
            "steps": None if self.cell is None or self.cell.steps is None else len(self.cell.steps),
            "changed": self.changed,
            "changed_by": [asdict(commit) for commit in self.by],
            "commits": [asdict(commit) for commit in self.span.commits],
            "remark": self.span.note,
        }


@dataclass(frozen=True)
class Bisect:
    """The result of `bisect`: answers by question and place, oldest release first."""

    answers: tuple[Answer, ...]

    @property
    def changes(self) -> tuple[Answer, ...]:
        """The answers that are other than in the releases before."""
        return tuple(answer for answer in self.answers if answer.changed)

    def histories(self) -> list[tuple[Question, list[list[Answer]]]]:
        """For each question, the answers at each place."""
        return [
            (group[0].question, [list(g) for _, g in groupby(group, lambda a: a.span.where)])
            for _, each in groupby(self.answers, lambda answer: answer.question)
            for group in [list(each)]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: for each question its text and its answers."""
        return {
            question.key: {
                "text": question.whole,
                "answers": [answer.to_dict() for place in places for answer in place],
            }
            for question, places in self.histories()
        }

    def to_markdown(self) -> str:
        """A table with a row for each answer, and the commit of each change."""
        lines = ["| question | where | releases | answer | changed by |", "|---" * 5 + "|"]
        for question, places in self.histories():
            for answer in (answer for place in places for answer in place):
                commit = " or ".join(map(str, answer.by))
                lines.append(
                    f"| {question.whole} | {answer.span.where} | {answer.span.releases} |"
                    f" {answer.text} | {commit} |"
                )
        return "\n".join(lines) + "\n"


def _spans(everywhere: bool) -> tuple[Span, ...]:
    """The spans of places with a history, or of all."""
    columns: dict[str, int] = {}
    for span in SPANS:
        columns[span.where] = columns.get(span.where, 0) + (span.column is not None)
    return tuple(span for span in SPANS if everywhere or columns[span.where] > 1)


def bisect(
    question: str | None = None,
    systems: Sequence[System] = SYSTEMS,
    progress: Progress | None = None,
    threads: int | None = None,
    *,
    everywhere: bool = False,
    result: Guarantees | None = None,
    backing: Backing = "anonymous",
    pinned: bool = False,
    mlock: bool = False,
) -> Bisect:
    """In which releases an answer changed, and by which commit.

    Parameters
    ----------
    question : str, optional
        A key of `QUESTIONS`; default: all, and of these what changed somewhere.
    systems, progress, threads
        As for `guarantees`.
    everywhere : bool
        Places with one rule in all releases too.
    result : Guarantees, optional
        Answers that are there already; what it lacks is searched.
    backing, pinned, mlock
        As for `guarantees`; answers of `result` for another memory are not taken.

    Raises
    ------
    UnknownNameError
        No such question.
    ArgumentTypeError, ArgumentError, ModelMemoryError
        As `guarantees`; a result that is none.
    """
    if question is not None:
        name_of("question", question, [each.key for each in QUESTIONS])
    if result is not None and not isinstance(result, Guarantees):
        raise ArgumentTypeError(f"result: {shown(result)} is not a Guarantees")
    spans = _spans(everywhere)
    world = (backing, pinned, mlock)
    have = {s.key for s in (result.subjects if result else ()) if s.world == world}
    columns = dict.fromkeys(span.column for span in spans if span.column is not None)
    missing = [column for column in columns if column not in have]
    found = dict(result.cells) if result is not None else {}
    if missing:
        found |= guarantees(
            missing, systems, progress, threads, backing=backing, pinned=pinned, mlock=mlock
        ).cells
    answers = [
        answer
        for each in QUESTIONS
        if question in (None, each.key)
        for _, group in groupby(spans, lambda span: span.where)
        for answer in _history(each, list(group), found)
    ]
    if question is None:
        changed = {(a.question.key, a.span.where) for a in answers if a.changed}
        answers = [a for a in answers if (a.question.key, a.span.where) in changed]
    return Bisect(tuple(answers))


def _history(
    question: Question, spans: Sequence[Span], found: dict[tuple[str, str], Cell]
) -> list[Answer]:
    answers = []
    before: Cell | None = None
    since: tuple[Commit, ...] = ()  # commits after the last answer that is known
    for span in spans:
        since += span.commits
        if span.column is None:
            answers.append(Answer(span, question, None))
            continue
        cell = found[span.column, question.key]
        same = before is None or (cell.answer, cell.note) == (before.answer, before.note)
        answers.append(Answer(span, question, cell, () if same else since))
        before, since = cell, ()
    return answers

# SPDX-License-Identifier: MIT
"""What the search found: an answer for each question and mechanism."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgste._checks import name_of
from pgste.errors import UnknownNameError
from pgste.guarantees.columns import Subject
from pgste.guarantees.questions import QUESTIONS, Question
from pgste.guarantees.systems import System
from pgste.guarantees.witness import Moment, Step, play

__all__ = ["Cell", "Guarantees", "cell_text", "named"]


def named(name: str, value: str, choices: Mapping[str, Sequence[str]]) -> str:
    """The key of which `value` is one of the names, as a table prints them, or the key itself.

    Case, blanks and signs make no difference: "MADV FREE v6.15" is "MADV_FREE v6.15".
    UnknownNameError lists the keys.
    """
    plain = _plain(value)
    for key, names in choices.items():
        if plain and plain in map(_plain, (key, *names)):
            return key
    name_of(name, value, tuple(choices))
    return value


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


@dataclass(frozen=True)
class Cell:
    """An answer: "yes", "no", or "n/a" if the question never arises.

    `steps` is a shortest run that shows the answer, on `system`; None if it rests on all of
    the `states` that were searched, which are those of `systems`.
    """

    question: Question
    subject: Subject
    answer: str
    note: str
    states: int
    system: System | None = None
    steps: tuple[Step, ...] | None = None
    systems: tuple[System, ...] = ()

    @property
    def is_promise(self) -> bool:
        return self.answer == self.question.good

    def to_dict(self, moments: bool = False) -> dict[str, Any]:
        """Plain data for JSON; with `moments` all of it, and the witness played."""
        told = {
            "answer": self.answer,
            "promise": self.is_promise,
            "note": self.note,
            "states": self.states,
            "system": None if self.system is None else str(self.system),
            "witness": None
            if self.steps is None
            else [{"action": step.action, "gfn": step.gfn} for step in self.steps],
        }
        if not moments:
            return told
        return {
            "mechanism": self.subject.key,
            "title": self.subject.title,
            "meaning": self.subject.meaning,
            "assumptions": list(self.subject.assumed),
            "question": self.question.key,
            "text": self.question.whole,
            **told,
            "systems": [str(system) for system in self.systems],
            "moments": [moment.to_dict() for moment in self.moments()] if self.steps else [],
        }

    def moments(self) -> list[Moment]:
        """The witness played on a guest: what the words were after each step.

        Raises
        ------
        UnknownNameError
            The answer rests on the whole search, there is no run to show.
        """
        if self.steps is None or self.system is None:
            raise UnknownNameError(
                f"question: {self.question.key!r} of {self.subject.key!r} has no witness:"
                f" the answer {self.answer!r} holds in all {self.states:,} states"
            )
        subject = self.subject
        return play(
            self.steps,
            pages=self.system.pages,
            frames=self.system.frames,
            swap_slots=self.system.swap_slots,
            cbrl_entries=self.system.cbrl_entries,
            mechanism=subject.mechanism,
            generation=subject.generation,
            rearm=subject.rearm,
            poison=subject.poison,
            vcpus=self.system.vcpus,
            revision=subject.revision,
            notifiers=subject.notifiers,
            shifted=subject.shifted,
            advice=subject.advice,
            backing=subject.backing,
            pinned=subject.pinned,
            mlock=subject.mlock,
        )

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the witness over its steps, into a picture file (.png, .svg, .pdf).

        Raises
        ------
        UnknownNameError
            There is no run to show (see `moments`).
        ArgumentError
            Another kind of file.
        MissingPackageError
            matplotlib is not installed.
        """
        from pgste.guarantees.timeline import plot_timeline  # matplotlib is slow to import

        plot_timeline(self, path)


@dataclass(frozen=True)
class Guarantees:
    """The result of `guarantees`: a `Cell` for each question and mechanism."""

    subjects: tuple[Subject, ...]
    systems: tuple[System, ...]
    cells: dict[tuple[str, str], Cell] = field(repr=False)
    states: dict[str, int]
    transitions: dict[str, int]

    def cell(self, mechanism: str, question: str) -> Cell:
        """One answer, by key; UnknownNameError names the argument that is unknown."""
        name_of("mechanism", mechanism, [subject.key for subject in self.subjects])
        name_of("question", question, [each.key for each in QUESTIONS])
        return self.cells[mechanism, question]

    @property
    def assumed(self) -> tuple[str, ...]:
        """What is taken for granted of the guest's memory."""
        [told] = {subject.assumed for subject in self.subjects}
        return told

    def zapped(self, mechanism: str) -> str:
        """When a freed page's content goes: the three answers about it as one phrase."""
        for question, phrase in (
            ("zapped-at-once", "at once"),
            ("zapped-under-pressure", "under pressure"),
            ("zapped-ever", "maybe never"),
        ):
            if self.cell(mechanism, question).answer == "yes":
                return phrase
        return "never"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "systems": [str(system) for system in self.systems],
            "assumptions": list(self.assumed),
            "mechanisms": {
                subject.key: {
                    "title": subject.title,
                    "meaning": subject.meaning,
                    "states": self.states[subject.key],
                    "transitions": self.transitions[subject.key],
                    "zapped": self.zapped(subject.key),
                    "answers": {
                        question.key: self.cell(subject.key, question.key).to_dict()
                        for question in QUESTIONS
                    },
                }
                for subject in self.subjects
            },
            "questions": {question.key: question.text for question in QUESTIONS},
        }

    def to_markdown(self) -> str:
        """The table as Markdown; behind a "no" or "yes" that has one, the witness's length."""
        lines = [
            "| | " + " | ".join(subject.title for subject in self.subjects) + " |",
            "|---" * (len(self.subjects) + 1) + "|",
        ]
        for question in QUESTIONS:
            cells = [cell_text(self.cell(s.key, question.key)) for s in self.subjects]
            lines.append(f"| {question.text} | " + " | ".join(cells) + " |")
        counts = [f"{self.states[s.key]:,}" for s in self.subjects]
        lines.append("| states searched | " + " | ".join(counts) + " |")
        return "\n".join(lines) + "\n"


def cell_text(cell: Cell) -> str:
    """An answer in a few characters: the note, and the steps of its witness."""
    steps = "" if cell.steps is None else f" [{len(cell.steps)}]"
    return cell.answer + steps + (f", {cell.note}" if cell.note else "")

# SPDX-License-Identifier: MIT
"""What each free-page mechanism guarantees, by searching every state of a tiny guest.

`guarantees` drives guests of one to three pages, on hosts that have too few frames for them,
through every sequence of actions with the C core (src_c/search.c), breadth first.  A promise
that fails comes with a shortest run that shows it, one that holds with the number of states
that were searched.  docs/guarantees.md explains questions, actions and systems.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pgste._search import search
from pgste.errors import ArgumentError, UnknownNameError
from pgste.witness import Moment, Poison, Step, play

if TYPE_CHECKING:
    from pgste._search import SearchResult

__all__ = [
    "DEEP_SYSTEMS",
    "MECHANISMS",
    "QUESTIONS",
    "SYSTEMS",
    "Cell",
    "Guarantees",
    "Question",
    "Subject",
    "System",
    "guarantees",
]

Progress = Callable[[str, int, int], object]
_MAX_STATES = 40_000_000


@dataclass(frozen=True)
class Subject:
    """A column: a mechanism as some hypervisor has it."""

    key: str
    title: str
    meaning: str
    mechanism: str
    generation: str = "pgtable"
    rearm: str = "referenced"
    poison: Poison = "none"


MECHANISMS = (
    Subject("none", "none", "the guest says nothing about free pages", "none"),
    Subject("cmma", "cmma", "CMMA on KVM, Linux v4.13 to v6.19", "cmma"),
    Subject("cmma_dat", "cmma v7", "CMMA on KVM, Linux v7.0 on", "cmma", "dat"),
    Subject("cmma_zvm", "z/VM", "CMMA on z/VM", "cmma", "zvm"),
    Subject(
        "madv_free",
        "MADV_FREE",
        "madvise(MADV_FREE); reclaim re-arms dirty and referenced pages (v6.1)",
        "madv_free",
    ),
    Subject(
        "madv_free_dirty",
        "MADV_FREE '25",
        "madvise(MADV_FREE); reclaim re-arms dirty pages only (2025)",
        "madv_free",
        rearm="dirty",
    ),
    Subject("madv_dontneed", "MADV_DONTNEED", "madvise(MADV_DONTNEED)", "madv_dontneed"),
    Subject(
        "reporting",
        "FPR",
        "free page reporting to QEMU, which discards (MADV_DONTNEED)",
        "reporting",
    ),
    Subject(
        "reporting_poison",
        "FPR poison",
        "free page reporting, page poison negotiated (0xaa): QEMU acks and keeps",
        "reporting",
        poison="page_poison",
    ),
)


@dataclass(frozen=True)
class System:
    """A system that is searched; `obedient`: pages but the first keep to free and alloc."""

    pages: int
    frames: int
    swap_slots: int
    cbrl_entries: int
    obedient: bool = False

    def __str__(self) -> str:
        pages = f"{self.pages} page{'s' * (self.pages > 1)}"
        frames = f"{self.frames} frame{'s' * (self.frames > 1)}"
        slots = f"{self.swap_slots} swap slot{'s' * (self.swap_slots > 1)}"
        entries = f"list of {self.cbrl_entries}"
        return f"{pages}, {frames}, {slots}, {entries}"


#: From the smallest; a witness comes from the first that has a shortest one.
SYSTEMS = (
    System(1, 1, 1, 1),
    System(2, 1, 2, 1),
    System(2, 1, 2, 2),
    System(2, 1, 1, 2),
    System(3, 1, 3, 2, obedient=True),
)

#: One frame fewer than three pages need: minutes and gigabytes, and the same answers.
DEEP_SYSTEMS = (*SYSTEMS, System(3, 2, 3, 1, obedient=True))


@dataclass(frozen=True)
class Question:
    """A row: `shown_by` is what the core looks for; found, the answer is `found`."""

    key: str
    text: str
    shown_by: str
    found: str
    good: str  # the answer that is a promise to the guest
    stem: str = ""  # what a text that begins with "…" goes on from

    @property
    def whole(self) -> str:
        """The text as it stands alone."""
        return self.text.replace("…", self.stem)

    @property
    def otherwise(self) -> str:
        return "no" if self.found == "yes" else "yes"


QUESTIONS = (
    Question("zero-after-free", "zero right after free?", "free_not_zero", "no", "yes"),
    Question("zero-after-zap", "zero after the zap?", "zap_not_zero", "no", "yes"),
    Question("zero-after-alloc", "zero after alloc?", "alloc_not_zero", "no", "yes"),
    Question("zapped-ever", "may a free page be zapped?", "zapped", "yes", "yes"),
    Question("zapped-at-once", "must it be zapped at once?", "not_zapped_at_once", "no", "yes"),
    Question(
        "zapped-under-pressure",
        "… under pressure?",
        "not_zapped_later",
        "no",
        "yes",
        stem="must it be zapped",
    ),
    Question("stale", "may stale data reappear?", "stale", "yes", "no"),
    Question(
        "stale-after-zero",
        "… after it once read as zero?",
        "stale_after_zero",
        "yes",
        "no",
        stem="may stale data reappear",
    ),
    Question("touch-while-free", "may a free page be touched?", "touch_faults", "no", "yes"),
    Question("lost-after-alloc", "store lost: made after alloc?", "lost_in_use", "yes", "no"),
    Question(
        "lost-before-alloc",
        "… between free and alloc?",
        "lost_free",
        "yes",
        "no",
        stem="store lost: made",
    ),
    Question(
        "lost-without-alloc",
        "… with alloc skipped?",
        "lost_taken",
        "yes",
        "no",
        stem="store lost: made",
    ),
    Question(
        "lost-racing",
        "… while the host is told?",
        "lost_raced",
        "yes",
        "no",
        stem="store lost: made",
    ),
    Question("announce-reuse", "must reuse be announced?", "reuse_fails", "yes", "no"),
    Question("zap-harms", "may a zap harm another page?", "zap_harms", "yes", "no"),
    Question("entry-lost", "can the list lose an entry?", "entry_lost", "yes", "no"),
    Question(
        "entry-twice",
        "… free an entry twice?",
        "entry_freed_twice",
        "yes",
        "no",
        stem="can the list",
    ),
    Question(
        "stable-zero",
        "stable with ZERO set survives?",
        "stable_zero_lost",
        "no",
        "yes",
    ),
)


@dataclass(frozen=True)
class Cell:
    """An answer: "yes", "no", or "n/a" if the question never arises.

    `steps` is a shortest run that shows the answer, on `system`; None if it rests on all of
    the `states` that were searched.
    """

    question: Question
    subject: Subject
    answer: str
    note: str
    states: int
    system: System | None = None
    steps: tuple[Step, ...] | None = None

    @property
    def is_promise(self) -> bool:
        return self.answer == self.question.good

    def to_dict(self) -> dict[str, Any]:
        return {
            "answer": self.answer,
            "note": self.note,
            "states": self.states,
            "system": None if self.system is None else str(self.system),
            "witness": None
            if self.steps is None
            else [{"action": step.action, "gfn": step.gfn} for step in self.steps],
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
            generation="pgtable" if subject.generation == "zvm" else subject.generation,
            flavour="zvm" if subject.generation == "zvm" else "kvm",
            rearm=subject.rearm,
            poison=subject.poison,
        )


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
        _known("mechanism", mechanism, [subject.key for subject in self.subjects])
        _known("question", question, [each.key for each in QUESTIONS])
        return self.cells[mechanism, question]

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


def guarantees(
    mechanisms: Iterable[str] | None = None,
    systems: Sequence[System] = SYSTEMS,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Guarantees:
    """Answer every question for every mechanism, by exhaustion.

    Parameters
    ----------
    mechanisms : iterable of str, optional
        Keys of `MECHANISMS`; default: all.
    systems : sequence of System
        What to search, smallest first.
    progress : callable, optional
        Called with a mechanism's key, searches done and searches in all; from one thread at
        a time, but not always the same.
    threads : int, optional
        Searches at a time; default: one for each CPU.

    Raises
    ------
    UnknownNameError
        No such mechanism.
    ArgumentError
        A system out of range (`struct pgste_search_config`).
    ModelMemoryError
        A system has too many states for memory.
    """
    keys = [subject.key for subject in MECHANISMS]
    wanted = keys if mechanisms is None else list(mechanisms)
    for key in wanted:
        _known("mechanisms", key, keys)
    for index, system in enumerate(systems):
        _check(index, system)
    if not systems:
        raise ArgumentError("systems: none to search")
    subjects = tuple(subject for subject in MECHANISMS if subject.key in wanted)
    jobs = [(subject, system) for subject in subjects for system in systems]
    jobs.sort(key=lambda job: -job[1].pages)  # the long ones first
    found: dict[tuple[str, System], SearchResult] = {}
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for (subject, system), result in zip(
            jobs, pool.map(lambda job: _search(*job), jobs), strict=True
        ):
            found[subject.key, system] = result
            if progress is not None:
                progress(subject.key, len(found), len(jobs))
    cells = {}
    for subject in subjects:
        results = [(system, found[subject.key, system]) for system in systems]
        for question in QUESTIONS:
            cells[subject.key, question.key] = _cell(question, subject, results)
    return Guarantees(
        subjects=subjects,
        systems=tuple(systems),
        cells=cells,
        states={s.key: sum(found[s.key, y]["states"] for y in systems) for s in subjects},
        transitions={s.key: sum(found[s.key, y]["transitions"] for y in systems) for s in subjects},
    )


def _check(index: int, system: System) -> None:
    most = system.pages
    for name, value, low, high in (
        ("pages", system.pages, 1, 3),
        ("frames", system.frames, 1, most),
        ("swap_slots", system.swap_slots, 0, most),
        ("cbrl_entries", system.cbrl_entries, 1, 2),
    ):
        if not low <= value <= high:
            raise ArgumentError(f"systems[{index}].{name}: {value} is not in {low} .. {high}")


def _known(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise UnknownNameError(f"{name}: {value!r} is not one of {listed}")


def _search(subject: Subject, system: System) -> SearchResult:
    return search(
        subject.mechanism,
        subject.generation,
        subject.rearm,
        subject.poison,
        system.pages,
        system.frames,
        system.swap_slots,
        system.cbrl_entries,
        system.obedient,
        _MAX_STATES,
    )


_Results: TypeAlias = "Sequence[tuple[System, SearchResult]]"


def _cell(question: Question, subject: Subject, results: _Results) -> Cell:
    states = sum(result["states"] for _, result in results)
    best = _shortest(question.shown_by, results)
    if best is not None:
        system, steps = best
        note = _note(question, results)
        return Cell(question, subject, question.found, note, states, system, steps)
    premises = sum(result["answers"][question.shown_by][0] for _, result in results)
    answer = question.otherwise if premises else "n/a"
    return Cell(question, subject, answer, "", states)


def _shortest(name: str, results: _Results) -> tuple[System, tuple[Step, ...]] | None:
    best: tuple[System, tuple[Step, ...]] | None = None
    for system, result in results:
        steps = result["answers"][name][1]
        if steps is not None and (best is None or len(steps) < len(best[1])):
            best = system, tuple(Step(action, gfn) for action, gfn in steps)
    return best


def _note(question: Question, results: _Results) -> str:
    """What a bare "no" would hide."""
    if question.key != "zero-after-free":
        return ""
    if _shortest("free_readable", results) is None:
        return "not readable"
    if _shortest("free_swapped_not_zero", results) is None and any(
        result["answers"]["free_swapped_not_zero"][0] for _, result in results
    ):
        return "swapped: yes"
    return ""

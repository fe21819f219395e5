# SPDX-License-Identifier: MIT
"""What each free-page mechanism guarantees, by searching every state of a tiny guest.

`guarantees` drives guests of one to three pages, on hosts that have too few frames for them,
through every sequence of actions with the C core (src_c/search/), breadth first.  A promise
that fails comes with a shortest run that shows it, one that holds with the number of states
that were searched.  docs/guarantees.md explains questions, actions and systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pgste._checks import check_callable, check_flag, items_of, name_of, names_of
from pgste._engine.search import search
from pgste._engine.watch import Progress as Searched
from pgste._threads import cpus, run_each, threads_asked
from pgste.errors import ArgumentError
from pgste.guarantees.columns import MECHANISMS, Subject
from pgste.guarantees.questions import QUESTIONS, Question
from pgste.guarantees.result import Cell, Guarantees
from pgste.guarantees.systems import STATES, SYSTEMS, System
from pgste.guarantees.witness import Backing, Step

if TYPE_CHECKING:
    from pgste._engine.search import SearchResult

__all__ = ["explain", "guarantees"]

Progress = Callable[[str, int, int], object]
_MAX_STATES = 40_000_000
_MAX_STEPS = 64  # PGSTE_SEARCH_STEPS
BACKINGS = ("anonymous", "memfd")


def guarantees(
    mechanisms: Iterable[str] | None = None,
    systems: Sequence[System] = SYSTEMS,
    progress: Progress | None = None,
    threads: int | None = None,
    *,
    backing: Backing = "anonymous",
    pinned: bool = False,
    mlock: bool = False,
) -> Guarantees:
    """Answer every question for every mechanism, by exhaustion.

    Parameters
    ----------
    mechanisms : iterable of str, optional
        Keys of `MECHANISMS`; default: all.
    systems : sequence of System
        What to search, smallest first.
    progress : callable, optional
        Called some ten times a second, by the calling thread, with a mechanism's key, the
        states searched so far, and the states to search in all.  For a system whose number of
        states is not known, the latter counts the states found so far: it grows, and at the end
        both are the same.
    threads : int, optional
        Threads to search with, 1 .. 64; default: one for each CPU.  Many searches are done one a
        thread, few one after another by all threads.  Results are the same.
    backing : {"anonymous", "memfd"}
        The guest's memory: private and anonymous, or that of a shared file in memory.
    pinned : bool
        A VFIO device has page 0 pinned from the start, and keeps the frame that it had then.  A
        store is lost if guest or device do not see it.
    mlock : bool
        The host has the guest's memory locked (`Guest`); searched are systems with a frame for
        each page.  None of the three is asked of z/VM.

    Raises
    ------
    UnknownNameError
        No such mechanism or backing.
    ArgumentError
        A system out of range (`struct pgste_search_config`); z/VM alone with `backing`,
        `pinned` or `mlock`; no system that fits.
    ModelMemoryError
        A system has too many states for memory.
    """
    keys = tuple(subject.key for subject in MECHANISMS)
    wanted = keys if mechanisms is None else names_of("mechanisms", mechanisms, keys)
    systems = _checked(systems)
    asked = threads_asked(threads)
    check_callable("progress", progress)
    subjects = _in_world([s for s in MECHANISMS if s.key in wanted], backing, pinned, mlock)
    jobs = [(subject, y) for subject in subjects for y in systems if y.fits(subject)]
    if subjects and not jobs:
        raise ArgumentError(f"systems: none that fits {subjects[0].key!r}")
    jobs.sort(key=lambda job: -_states(*job))  # the long ones first
    results_of = _search_all(jobs, asked or cpus(), progress)
    found = {
        (subject.key, system): result
        for (subject, system), result in zip(jobs, results_of, strict=True)
    }
    cells = {}
    for subject in subjects:
        results = [(y, found[subject.key, y]) for y in systems if y.fits(subject)]
        for question in QUESTIONS:
            cells[subject.key, question.key] = _cell(question, subject, results)
    return Guarantees(
        subjects=subjects,
        systems=tuple(y for y in systems if any(y.fits(s) for s in subjects)),
        cells=cells,
        states={s.key: _sum(found, s, "states") for s in subjects},
        transitions={s.key: _sum(found, s, "transitions") for s in subjects},
    )


def _in_world(
    subjects: list[Subject], backing: Backing, pinned: bool, mlock: bool
) -> tuple[Subject, ...]:
    """The columns with another memory behind the guest; z/VM's is its own affair."""
    name_of("backing", backing, BACKINGS)
    check_flag("pinned", pinned)
    check_flag("mlock", mlock)
    if backing == "anonymous" and not pinned and not mlock:
        return tuple(subjects)
    kept = [subject for subject in subjects if subject.can_change]
    if not kept:
        raise ArgumentError(
            f"mechanisms: {subjects[0].key!r} knows no backing, no pinned and no locked pages"
        )
    memfd = backing == "memfd"
    return tuple(
        replace(s, backing=backing, pinned=pinned, mlock=mlock, busy=s.busy and not memfd)
        for s in kept
    )


def _states(subject: Subject, system: System) -> int:
    """How many there are, if that is known; the most there may be else."""
    return STATES.get((subject.key, system), _MAX_STATES)


def _sum(
    found: dict[tuple[str, System], SearchResult],
    subject: Subject,
    name: Literal["states", "transitions"],
) -> int:
    return sum(result[name] for (key, _), result in found.items() if key == subject.key)


#: Details that say more of a question's answer (`_note`).
_DETAILS = {"zero-after-free": ("readable-after-free", "zero-after-free-swapped")}


def explain(
    mechanism: str,
    question: str,
    systems: Sequence[System] = SYSTEMS,
    progress: Progress | None = None,
    *,
    backing: Backing = "anonymous",
    pinned: bool = False,
    mlock: bool = False,
) -> Cell:
    """Answer one question for one mechanism: the cell that `guarantees` has for it, sooner.

    Systems are searched one after another, each only until it is sure that no shorter run is to
    come.  An answer without a run takes the whole search of the mechanism.  The cell's `states`
    are those that were searched.

    Parameters
    ----------
    mechanism, question : str
        Keys of `MECHANISMS` and `QUESTIONS`.
    systems, progress, backing, pinned, mlock
        As in `guarantees`; the states to search in all are an upper bound.

    Raises
    ------
    UnknownNameError, ArgumentError, ModelMemoryError
        As `guarantees` raises them.
    """
    name_of("mechanism", mechanism, [subject.key for subject in MECHANISMS])
    name_of("question", question, [each.key for each in QUESTIONS])
    check_callable("progress", progress)
    [subject] = _in_world([s for s in MECHANISMS if s.key == mechanism], backing, pinned, mlock)
    systems = tuple(y for y in _checked(systems) if y.fits(subject))
    if not systems:
        raise ArgumentError(f"systems: none that fits {mechanism!r}")
    until = (question, *_DETAILS.get(question, ()))
    results: list[tuple[System, SearchResult]] = []
    for system in systems:
        best = _shortest(question, results)
        # what has been found needs no longer run; a detail that has not may need any
        sure = best is not None and all(_shortest(name, results) for name in until)
        below = len(best[1]) if best is not None and sure else _MAX_STEPS
        [result] = _search_all([(subject, system)], cpus(), progress, until, below)
        results.append((system, result))
    return _cell(next(each for each in QUESTIONS if each.key == question), subject, results)


def _search_all(
    jobs: Sequence[tuple[Subject, System]],
    threads: int,
    progress: Progress | None,
    until: tuple[str, ...] = (),
    below: int = _MAX_STEPS,
) -> list[SearchResult]:
    counts = [Searched() for _ in jobs]
    plain = [s.world == ("anonymous", False, False) for s, _ in jobs]
    known = [plain[n] * STATES.get((s.key, system), 0) for n, (s, system) in enumerate(jobs)]

    def report() -> None:
        running = [n for n, count in enumerate(counts) if count.searched < count.found]
        at = running[0] if running else -1
        searched = sum(count.searched for count in counts)
        total = sum(max(known[n], count.found) for n, count in enumerate(counts))
        assert progress is not None
        progress(jobs[at][0].key, searched, max(total, searched))

    if progress is not None:
        progress(jobs[0][0].key, 0, sum(known))
    # one thread a search wastes nothing, but at the end threads wait for the longest
    at_a_time = threads if len(jobs) >= 4 * threads else 1
    return run_each(
        lambda n: _search(*jobs[n], counts[n], until, below, threads // at_a_time),
        range(len(jobs)),
        at_a_time,
        report if progress is not None else None,
    )


def _checked(systems: Sequence[System]) -> tuple[System, ...]:
    systems = items_of("systems", systems, System, "systems")
    for index, system in enumerate(systems):
        _check(index, system)
    if not systems:
        raise ArgumentError("systems: none to search")
    return tuple(systems)


def _check(index: int, system: System) -> None:
    most = system.pages
    for name, value, low, high in (
        ("pages", system.pages, 1, 3),
        ("frames", system.frames, 1, most),
        ("swap_slots", system.swap_slots, 0, most),
        ("cbrl_entries", system.cbrl_entries, 1, 2),
        ("vcpus", system.vcpus, 1, 2),
    ):
        if not low <= value <= high:
            raise ArgumentError(f"systems[{index}].{name}: {value} is not in {low} .. {high}")


def _search(
    subject: Subject,
    system: System,
    searched: Searched,
    until: tuple[str, ...] = (),
    below: int = _MAX_STEPS,
    threads: int = 1,
    **how: Any,
) -> SearchResult:
    """A column in one system; ``how``: what only tests ask of the engine's search."""
    return search(
        subject.mechanism,
        subject.generation,
        subject.revision,
        subject.rearm,
        subject.poison,
        subject.notifiers,
        subject.shifted,
        subject.advice,
        subject.busy,
        system.pages,
        system.frames,
        system.swap_slots,
        system.cbrl_entries,
        system.vcpus,
        system.obedient,
        _MAX_STATES,
        searched,
        until=until,
        below=below,
        threads=threads,
        memfd=subject.backing == "memfd",
        pinned=subject.pinned,
        mlock=subject.mlock,
        **how,
    )


_Results: TypeAlias = "Sequence[tuple[System, SearchResult]]"


def _cell(question: Question, subject: Subject, results: _Results) -> Cell:
    states = sum(result["states"] for _, result in results)
    systems = tuple(system for system, _ in results)
    best = _shortest(question.key, results)
    if best is not None:
        system, steps = best
        note = _note(question, results)
        return Cell(question, subject, question.found, note, states, system, steps, systems)
    premises = sum(result["answers"][question.key][0] for _, result in results)
    answer = question.otherwise if premises else "n/a"
    return Cell(question, subject, answer, "", states, systems=systems)


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
    if _shortest("readable-after-free", results) is None:
        return "not readable"
    if _shortest("zero-after-free-swapped", results) is None and any(
        result["answers"]["zero-after-free-swapped"][0] for _, result in results
    ):
        return "swapped: yes"
    return ""

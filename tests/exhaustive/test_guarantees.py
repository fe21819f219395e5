# SPDX-License-Identifier: MIT
"""The guarantees against what is known of them, and their proofs against the reference model.

J is the table of the kernel facts ("J. Guarantees": CMMA on KVM, CMMA on z/VM, MADV_FREE,
MADV_DONTNEED on private anonymous memory, free page reporting with QEMU), entered by hand, one
word for each of its cells and, where a cell holds two statements, one line for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from reference import ModelError, ProgramInterruption

import pgste
from exhaustive import search_reference
from pgste._engine.search import search
from pgste._engine.watch import Progress
from pgste.guarantees import (
    ASSUMPTIONS,
    MECHANISMS,
    QUESTIONS,
    SYSTEMS,
    Cell,
    Guarantees,
    Subject,
    System,
    explain,
    guarantees,
)
from pgste.guarantees.search import _search
from pgste.guarantees.witness import Step

COLUMNS = (
    "cmma",
    "cmma_7_1_5",
    "cmma_zvm",
    "madv_free_4_12",
    "madv_free",
    "madv_free_dirty",
    "madv_free_alone",
    "madv_dontneed",
    "reporting",
)
# question: CMMA on KVM (both generations), on z/VM, MADV_FREE (both rules), MADV_DONTNEED, FPR
J: dict[str, tuple[str, str, str, str, str]] = {
    "zero-after-free": ("no", "no", "no", "yes", "no"),
    "zero-after-zap": ("yes", "yes", "yes", "yes", "yes"),
    "zero-after-alloc": ("no", "no", "no", "yes", "no"),
    "stale": ("yes", "yes", "yes", "no", "yes"),
    "touch-while-free": ("yes", "no", "yes", "yes", "yes"),
    "lost-after-alloc": ("no", "no", "no", "no", "no"),  # "until set-stable"
    "lost-before-alloc": ("yes", "no", "no", "no", "no"),
    "lost-without-alloc": ("yes", "no", "no", "no", "no"),
    "announce-reuse": ("yes", "yes", "no", "no", "no"),
}
GROUP = dict(zip(COLUMNS, (0, 0, 1, 2, 2, 2, 2, 3, 4), strict=True))
# Where the engine is right and J too short; docs/guarantees.md, "Where the table differs".
DIFFERS = {
    # A reported block that merges with a neighbour is reported again (F6), with the store.
    ("lost-before-alloc", "reporting"): "yes",
}
# "no (not readable)", "no (swapped pages: yes)"
NOTES = ("", "not readable", "swapped: yes", "", "")
# "will it be zapped?"  J: maybe never, maybe never, under pressure, at once, "usually; may be
# skipped".  MADV_FREE with the v6.1 rule differs, see docs/guarantees.md.
ZAPPED = {
    "none": "never",
    "cmma": "maybe never",
    "cmma_7_0": "maybe never",
    "cmma_7_1": "maybe never",
    "cmma_7_1_5": "maybe never",
    "cmma_zvm": "maybe never",
    "madv_free_4_12": "maybe never",
    "madv_free": "maybe never",
    "madv_free_dirty": "maybe never",  # passed over: released.md D, measured on 6.18
    "madv_free_alone": "under pressure",
    "madv_dontneed": "at once",
    "reporting": "maybe never",
    "reporting_madv_free": "maybe never",
    "reporting_init": "maybe never",
    "reporting_poison": "never",
}
# Not in J.  From the rules: docs/model.md sections 2, 5 and 7, worked out by hand.
# "never after" (the zap); a slot is given up once; ZERO survives set-stable in pgtable only.
BEYOND_J = {
    "stale-after-zero": dict.fromkeys(COLUMNS, "no"),
    "lost-racing": dict.fromkeys(COLUMNS, "yes"),
    "zap-harms": dict.fromkeys(COLUMNS, "no"),
    "entry-lost": dict.fromkeys(COLUMNS, "n/a")
    # a zap that finds the lock held passes the entry over, since v7.1
    | {"cmma": "no", "cmma_7_1_5": "yes"},
    "entry-twice": dict.fromkeys(COLUMNS, "n/a") | {"cmma": "no", "cmma_7_1_5": "no"},
    "stable-zero": dict.fromkeys(COLUMNS, "n/a") | {"cmma": "no"},
}


@pytest.fixture(scope="module")
def result() -> Guarantees:
    return guarantees()


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("question", J)
def test_section_j(result: Guarantees, question: str, column: str) -> None:
    expected = DIFFERS.get((question, column), J[question][GROUP[column]])
    assert result.cell(column, question).answer == expected


@pytest.mark.parametrize("column", COLUMNS)
def test_notes(result: Guarantees, column: str) -> None:
    assert result.cell(column, "zero-after-free").note == NOTES[GROUP[column]]


@pytest.mark.parametrize("column", ZAPPED)
def test_zapped(result: Guarantees, column: str) -> None:
    assert result.zapped(column) == ZAPPED[column]


@pytest.mark.parametrize("question", BEYOND_J)
@pytest.mark.parametrize("column", COLUMNS)
def test_beyond_section_j(result: Guarantees, question: str, column: str) -> None:
    assert result.cell(column, question).answer == BEYOND_J[question][column]


# ---- kernels as they were released (released.md A and B; worked out by hand) -------------

RELEASED = {
    # CVE-2026-72412: free with a store, notifier, alloc, store, reclaim
    ("cmma_7_0", "lost-after-alloc"): 5,
    ("cmma_7_0", "zap-harms"): None,
    # store 0, reclaim 0, free 1, intercept
    ("cmma_7_0_shifted", "lost-after-alloc"): 4,
    ("cmma_7_0_shifted", "zap-harms"): 4,
    # the fix, where every operation writes the host's PTE, and where one leaves it alone
    # UNUSED lingers until v7.1.5, the list's addresses are right from v7.1 on
    ("cmma_7_1", "lost-after-alloc"): 5,
    ("cmma_7_1", "zap-harms"): None,
    ("cmma_7_1_5", "lost-after-alloc"): None,
    ("cmma_7_1_5", "zap-harms"): None,
    ("cmma_7_1_5_left", "lost-after-alloc"): 5,
    # one table
    ("cmma", "lost-after-alloc"): None,
}


@pytest.mark.parametrize(("column", "question"), RELEASED)
def test_released(result: Guarantees, column: str, question: str) -> None:
    steps = result.cell(column, question).steps
    assert (None if steps is None else len(steps)) == RELEASED[column, question]


def test_the_cve_step_by_step(result: Guarantees) -> None:
    for column in ("cmma_7_0", "cmma_7_1"):
        steps = result.cell(column, "lost-after-alloc").steps
        assert steps is not None
        assert [step.action for step in steps] == [
            *("free_raced", "notify_xchg", "alloc", "write", "swap_out")
        ]


def test_unused_lingers_before_the_store_is_lost(result: Guarantees) -> None:
    """What both are about: the host's PTE of a page in use has UNUSED (0x080)."""
    for column in ("cmma_7_0", "cmma_7_1", "cmma_7_1_5_left"):
        moments = result.cell(column, "lost-after-alloc").moments()
        word = moments[-2].host_pte
        assert word is not None
        assert word & 0x080
        assert moments[-2].state == "Sr"


def test_7_2_answers_as_7_1_5() -> None:
    """The two differ in the CMMA log alone, so there is one column for both."""
    kinds = ("dat", "7.1.5", "referenced"), ("dat", "7.2", "referenced")
    one, other = (
        search(
            *("cmma", *kind, "none", ("xchg",), False, "madv_dontneed", False),
            *(2, 1, 2, 1, 1, False, 10_000_000),
        )
        for kind in kinds
    )
    assert one == other


@pytest.mark.parametrize("subject", MECHANISMS, ids=lambda subject: subject.key)
def test_pages_that_nobody_watches_are_alike(subject: Subject) -> None:
    """Every column, with three pages: the same answers and lengths where nothing is left out."""
    less, plain = (
        _search(subject, System(3, 1, 1, 1, obedient=True), Progress(), plain=plain)
        for plain in (False, True)
    )
    # in the last column memory is filled before it is freed, and all marks follow from the rest
    assert less["states"] < plain["states"] or subject.key == "reporting_poison"
    assert less["answers"].keys() == plain["answers"].keys()
    for question, (_, steps) in less["answers"].items():
        other = plain["answers"][question][1]
        assert (steps and len(steps)) == (other and len(other)), question


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_what_is_left_out_of_keys_changes_no_answer(generation: str) -> None:
    """`plain` tells pages apart that nobody watches, and marks that nobody reads."""
    notifiers = ("xchg",) if generation == "dat" else ()
    shapes = [(2, 1, 2, 1, 1, False), (3, 1, 1, 1, 1, True)]
    for *shape, obedient in shapes[: 1 if generation == "dat" else 2]:
        pages, frames, slots, entries, vcpus = shape
        short, plain = (
            search(
                *("cmma", generation, "7.2", "referenced", "none", notifiers, False),
                *("madv_dontneed", False, pages, frames, slots, entries, vcpus),
                obedient=bool(obedient),
                max_states=10_000_000,
                plain=plain,
            )
            for plain in (False, True)
        )
        assert short["states"] < plain["states"]
        for question, (_, steps) in short["answers"].items():
            other = plain["answers"][question][1]
            assert (steps is None) == (other is None)
            assert steps is None or other is None or len(steps) == len(other)


@pytest.mark.parametrize("column", ["none", "reporting_poison"])
def test_a_host_that_discards_nothing(result: Guarantees, column: str) -> None:
    """One that hears nothing, or keeps poisoned pages (F8), neither zaps nor loses."""
    answers = {question.key: result.cell(column, question.key).answer for question in QUESTIONS}
    assert answers["zapped-ever"] == "no"
    assert answers["zero-after-free"] == answers["zero-after-alloc"] == "no"
    assert {answers[key] for key in answers if key.startswith("lost")} == {"no"}


def test_no_question_is_left_out(result: Guarantees) -> None:
    asked = {*J, *BEYOND_J, "zapped-ever", "zapped-at-once", "zapped-under-pressure"}
    assert {question.key for question in QUESTIONS} == asked
    assert len(result.cells) == len(QUESTIONS) * len(MECHANISMS)


# Free page reporting over MADV_FREE (the last question of the thread of 2019), answered by a
# model of its own; in brackets there: steps of the shortest run.
OVER_MADV_FREE = {
    "zero-after-alloc": ("no", None),
    "zapped-under-pressure": ("no", 3),
    "lost-before-alloc": ("yes", 8),
    "lost-racing": ("yes", 4),
    "lost-after-alloc": ("no", None),
    # a load gives old data until the host discards, and MADV_DONTNEED's one step comes later
    "stale": ("yes", 2),
    "stale-after-zero": ("no", None),
    "zero-after-zap": ("yes", None),
    "zapped-ever": ("yes", 5),
}


@pytest.mark.parametrize("question", OVER_MADV_FREE)
def test_reporting_over_madv_free(result: Guarantees, question: str) -> None:
    answer, steps = OVER_MADV_FREE[question]
    cell = result.cell("reporting_madv_free", question)
    assert cell.answer == answer
    if steps is not None:
        assert cell.steps is not None
        assert len(cell.steps) == steps


# A guest that fills what it frees (F9): with zeros it relies on nothing but zeros (A8), with
# 0xaa QEMU keeps the page.  Its own old data is gone either way.
FILLED = {
    "zero-after-free": ("yes", "no"),
    "zero-after-alloc": ("yes", "no"),
    "stale": ("no", "no"),
    "zapped-ever": ("yes", "no"),
    "lost-before-alloc": ("yes", "no"),
    "lost-racing": ("yes", "no"),
    "lost-after-alloc": ("no", "no"),
}


@pytest.mark.parametrize("question", FILLED)
def test_reporting_of_pages_that_the_guest_fills(result: Guarantees, question: str) -> None:
    zeroed, poisoned = FILLED[question]
    assert result.cell("reporting_init", question).answer == zeroed
    assert result.cell("reporting_poison", question).answer == poisoned


# ---- witnesses -------------------------------------------------------------------------


def witnesses(result: Guarantees) -> list[Cell]:
    return [cell for cell in result.cells.values() if cell.steps is not None]


def test_a_witness_for_each_answer_that_needs_one(result: Guarantees) -> None:
    for cell in result.cells.values():
        needs = cell.answer == cell.question.found
        assert (cell.steps is not None) == needs, cell
    assert len(witnesses(result)) > 40


def test_witnesses_show_what_they_claim(result: Guarantees) -> None:
    """Played through the Python API: what the last step leaves."""
    for cell in witnesses(result):
        moments = cell.moments()
        assert len(moments) == len(cell.steps or ()) + 1
        last, before = moments[-1], moments[-2]
        stores = [m.what for m in moments if "store" in m.what and "page 0" in m.what]
        match cell.question.key:
            case "zero-after-free" | "zero-after-alloc" | "stale":
                assert last.reads != "zero"
            case "zapped-ever":
                assert before.state[1:2] != "z" or "frees" in last.what
                assert last.state[1] == "z"
            case "zapped-at-once" | "zapped-under-pressure":
                assert last.state[1] != "z"
            case "touch-while-free":
                assert "program interruption 0x0005" in last.what
            case (
                "lost-before-alloc"
                | "lost-without-alloc"
                | "lost-racing"
                | "lost-after-alloc"
                | "stable-zero"
            ):
                assert stores
                assert last.reads == "zero"
            case "entry-lost":
                assert len(last.listed) < len(before.listed)
            case "zap-harms":
                assert before.reads != "zero"
                assert last.reads == "zero"
            case "announce-reuse":
                assert last.reads == "zero" or "program interruption" in last.what
            case other:
                pytest.fail(f"nothing is said about witnesses of {other!r}")


def reference_run(cell: Cell) -> Sequence[tuple[int, int, int, int | None]]:
    """PGSTE, PTE, content and what a device reads of page 0 in the reference model."""
    subject, shape = cell.subject, cell.system
    assert shape is not None
    assert cell.steps is not None
    system = reference_system(subject, shape)
    guest = system.guest

    def look() -> tuple[int, int, int, int | None]:
        return guest.pgste[0], guest.pte[0], guest.peek(0), device_reads(system)

    words = [look()]
    stores = 0
    for step in cell.steps:
        try:
            stores += step.action in ("write", "free_raced", "dma_write")
            if step.action in ("free", "free_raced"):
                search_reference.fill(guest, step.gfn, subject.poison)
            reference_step(system, step, stores)
        except (ModelError, ProgramInterruption):
            assert step is cell.steps[-1]
        words.append(look())
    return words


def device_reads(system: search_reference.System) -> int | None:
    return None if system.device is None else search_reference.device_reads(system)


def reference_system(subject: Subject, shape: System) -> search_reference.System:
    return search_reference.new_system(
        subject.mechanism,
        subject.generation,
        subject.rearm,
        subject.poison,
        (shape.pages, shape.frames, shape.swap_slots, shape.cbrl_entries, shape.vcpus),
        subject.revision,
        subject.notifiers,
        subject.shifted,
        subject.advice,
        subject.busy,
        "memfd" if subject.backing == "memfd" else "host",
        subject.pinned,
        subject.mlock,
    )


def reference_step(system: search_reference.System, step: Step, stores: int) -> None:
    guest, gfn, host = system.guest, step.gfn, system.guest.host
    if step.action.startswith(("notify_", "end_")) or step.action.endswith("_held"):
        assert search_reference.act_two_tables(system, step.action, gfn)
    if step.action in ("free_elsewhere", "alloc_elsewhere", "age", "intercept_elsewhere"):
        assert search_reference.act(system, step.action, gfn)
    if step.action in ("write", "free_raced"):
        guest.write([gfn], [stores])
    if step.action == "dma_write":
        assert search_reference.act(system, step.action, gfn)
        search_reference.device_stores(system, stores)
    if step.action in ("read", "swap_in"):
        guest.read([gfn])
    if step.action in ("free", "free_raced"):
        guest.free([gfn])
    if step.action == "alloc":
        guest.alloc([gfn])
    if step.action == "swap_out":
        guest.swap_out([gfn])
    if step.action == "zap":
        guest.zap(gfn)
    if step.action in search_reference.FOLIO:
        search_reference.flip(guest, step.action, gfn)
    if step.action == "reclaim":
        host.reclaim(1)
    if step.action == "intercept":
        guest.intercept()
    if step.action == "zap_scan":
        guest.zap_scan()
    if step.action == "reset_cmma":
        guest.reset_cmma()
    if step.action == "migrate":
        guest.set_migration(not guest.migration)
    if step.action == "report":
        search_reference.report(guest)
    if step.action == "pressure":
        for page in range(len(guest.pte)):
            for what in ("pinned", "locked", "writeback")[system.device is not None :]:
                guest.set_folio(page, what, False)
        for _ in range(4):
            host.reclaim(len(host.frames))


def told(tag: int) -> str:
    """What a load gives, as `Moment.reads` tells it."""
    if tag == search_reference.POISON:
        return "poison"
    return f"store {tag}" if tag else "zero"


def test_witnesses_in_the_reference_model(result: Guarantees) -> None:
    for cell in witnesses(result):
        plays_alike(cell)


def plays_alike(cell: Cell) -> None:
    expected = reference_run(cell)
    moments = cell.moments()
    assert [(m.pgste, m.pte) for m in moments] == [words[:2] for words in expected]
    for moment, (_, _, tag, device) in zip(moments, expected, strict=True):
        if "exception" not in moment.reads and "fault" not in moment.reads:
            assert moment.reads == told(tag)
        assert moment.device == (None if device is None else told(device))


def test_no_shorter_witness(result: Guarantees) -> None:
    """A smaller system's shortest run is never shorter than the one that is shown."""
    for subject in MECHANISMS:
        small = guarantees([subject.key], systems=SYSTEMS[:1])
        for question in QUESTIONS:
            cell, other = (
                result.cell(subject.key, question.key),
                small.cell(subject.key, question.key),
            )
            if other.steps is not None:
                assert cell.steps is not None
                assert len(cell.steps) <= len(other.steps)


def test_explain_says_what_the_table_says(result: Guarantees) -> None:
    """And a run is found without searching the column."""
    for cell in result.cells.values():
        if cell.steps is None and cell.states > 20_000:
            continue  # minutes; the others take the same way
        told = explain(cell.subject.key, cell.question.key)
        assert (told.answer, told.note) == (cell.answer, cell.note)
        assert (told.system, told.steps) == (cell.system, cell.steps)
        assert told.systems == cell.systems
        assert told.systems == tuple(each for each in SYSTEMS if each.fits(cell.subject))
        if cell.steps is None:
            assert told.states == cell.states
    for mechanism in ("cmma", "cmma_7_0", "reporting"):
        told = explain(mechanism, "lost-before-alloc")
        assert told.states < result.cell(mechanism, "lost-before-alloc").states / 8


# ---- state counts ----------------------------------------------------------------------


@pytest.mark.parametrize("subject", MECHANISMS, ids=lambda subject: subject.key)
def test_states_of_the_smallest_system(subject: Subject) -> None:
    count_alike(subject, 0)


@pytest.mark.parametrize("key", ["none", "madv_dontneed"])
def test_states_of_two_pages(key: str) -> None:
    subject = next(subject for subject in MECHANISMS if subject.key == key)
    count_alike(subject, 1)


@pytest.mark.parametrize("key", ["cmma", "cmma_7_0", "cmma_7_1_5"])
def test_states_with_two_lists(key: str) -> None:
    subject = next(subject for subject in MECHANISMS if subject.key == key)
    count_on(subject, System(1, 1, 1, 1, vcpus=2))


@pytest.mark.parametrize(
    ("key", "slots"), [("madv_dontneed", 1), ("madv_free_alone", 1), ("cmma_zvm", 0)]
)
def test_states_with_two_pages_that_are_alike(key: str, slots: int) -> None:
    """Counted by the reference with and without telling them apart: fewer, and as many as here."""
    subject = next(subject for subject in MECHANISMS if subject.key == key)
    system = System(3, 1, slots, 1)
    reference = reference_system(subject, system)
    found = guarantees([key], systems=[system])
    assert found.states[key] == search_reference.count_states(reference, alike=True)
    told_apart = search_reference.count_states(reference_system(subject, system))
    assert found.states[key] < told_apart


def count_alike(subject: Subject, index: int) -> None:
    count_on(subject, SYSTEMS[index])


def count_on(subject: Subject, system: System) -> None:
    reference = reference_system(subject, system)
    found = guarantees([subject.key], systems=[system])
    assert found.states[subject.key] == search_reference.count_states(reference)


# ---- the result object -----------------------------------------------------------------


def test_to_dict_and_markdown(result: Guarantees) -> None:
    data = json.loads(json.dumps(result.to_dict()))
    assert data["mechanisms"]["cmma"]["answers"]["lost-before-alloc"]["answer"] == "yes"
    assert len(data["mechanisms"]["cmma"]["answers"]["lost-before-alloc"]["witness"]) == 4
    assert data["assumptions"] == list(ASSUMPTIONS)
    lines = result.to_markdown().splitlines()
    assert len(lines) == 2 + len(QUESTIONS) + 1
    assert all(line.count("|") == len(MECHANISMS) + 2 for line in lines)


def test_the_document_has_this_table(result: Guarantees) -> None:
    document = Path(__file__).parents[2] / "docs/guarantees.md"
    assert result.to_markdown() in document.read_text(encoding="utf-8")


def test_the_readme_has_cells_of_this_table(result: Guarantees) -> None:
    def rows(markdown: str) -> list[list[str]]:
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines()]

    titles, _, *body = rows(result.to_markdown())
    cells = {
        (question.whole, title): cell
        for question, row in zip(QUESTIONS, body, strict=False)
        for title, cell in zip(titles, row, strict=True)
    }
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    table = next(part for part in readme.split("\n\n") if part.startswith("| | none | cmma | z/VM"))
    shown, _, *lines = rows(table)
    assert len(lines) == 4
    for name, *answers in lines:
        assert answers == [cells[name, title] for title in shown[1:]]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(result: Guarantees, threads: int) -> None:
    """States, counts, and each witness step by step; with 1, a search at a time on one thread."""
    again = guarantees(["madv_free", "cmma_zvm"], threads=threads)
    for key in ("madv_free", "cmma_zvm"):
        assert again.states[key] == result.states[key]
        assert again.transitions[key] == result.transitions[key]
        for question in QUESTIONS:
            assert again.cell(key, question.key) == result.cell(key, question.key)


@pytest.mark.parametrize(
    ("system", "match"),
    [
        (System(4, 1, 1, 1), r"systems\[0\].pages: 4 is not in 1 .. 3"),
        (System(2, 3, 1, 1), r"systems\[0\].frames: 3 is not in 1 .. 2"),
        (System(2, 1, -1, 1), r"systems\[0\].swap_slots: -1"),
        (System(2, 1, 1, 3), r"systems\[0\].cbrl_entries: 3"),
    ],
)
def test_bad_systems(system: System, match: str) -> None:
    with pytest.raises(pgste.ArgumentError, match=match):
        guarantees(["none"], systems=[system])


def test_unknown_names() -> None:
    with pytest.raises(pgste.UnknownNameError, match="mechanisms: 'vmware'"):
        guarantees(["vmware"])
    result = guarantees(["none"], systems=SYSTEMS[:1])
    with pytest.raises(pgste.UnknownNameError, match="question: 'why'"):
        result.cell("none", "why")
    with pytest.raises(pgste.UnknownNameError, match="has no witness"):
        result.cell("none", "stale-after-zero").moments()

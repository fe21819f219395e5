# SPDX-License-Identifier: MIT
"""What answers become with other memory behind the guest, and with a device that has it pinned.

Expected answers are worked out by hand.  memfd: a PTE that goes leaves the page with the file, so
nothing but a hole drops it (reporting to QEMU), and MADV_FREE is refused.  A device (VFIO): reclaim
leaves a pinned page alone, so CMMA and MADV_FREE since v5.18 drop nothing; MADV_DONTNEED, a report
and MADV_FREE up to v5.17 take the page from the guest, and the device keeps the frame.  mlock: no
page leaves memory but by a hole in a file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import pytest

import pgste
from exhaustive import search_reference
from exhaustive.test_guarantees import plays_alike, reference_system
from pgste._engine.watch import Progress
from pgste.guarantees import MECHANISMS, QUESTIONS, Guarantees, System, bisect, explain, guarantees
from pgste.guarantees.search import _search
from pgste.guarantees.witness import Backing

KEYS = tuple(subject.key for subject in MECHANISMS if subject.generation != "zvm")
World: TypeAlias = tuple[Backing, bool, bool]  # backing, pinned, mlock
WORLDS: tuple[World, ...] = (
    ("memfd", False, False),
    ("anonymous", True, False),
    ("memfd", True, False),
    ("anonymous", False, True),
    ("memfd", False, True),
)
SMALL = (System(1, 1, 1, 1), System(2, 1, 2, 1), System(2, 2, 1, 1, obedient=True))
PUNCHED = ("reporting", "reporting_init")
APART = ("madv_free_4_12", "madv_dontneed", *PUNCHED)
LOST = ("lost-after-alloc", "lost-before-alloc", "lost-without-alloc", "lost-racing")


@pytest.fixture(scope="module", params=WORLDS, ids=str)
def result(request: pytest.FixtureRequest) -> Guarantees:
    return answers(request.param)


def answers(world: World, keys: list[str] | None = None, *systems: System) -> Guarantees:
    backing, pinned, mlock = world
    return guarantees(keys, systems or SMALL, backing=backing, pinned=pinned, mlock=mlock)


def is_pinned(result: Guarantees) -> bool:
    return result.subjects[0].pinned


def dropping(result: Guarantees) -> tuple[str, ...]:
    """The columns whose host takes the page's content from the guest."""
    backing, _, mlock = result.subjects[0].world
    if backing == "memfd":
        return PUNCHED
    return () if mlock else APART


def test_columns_are_all_but_z_vm(result: Guarantees) -> None:
    assert tuple(subject.key for subject in result.subjects) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_who_loses_a_store(result: Guarantees, key: str) -> None:
    """With a device: any store after the drop, by either, is not seen by the other."""
    lost = {question for question in LOST if result.cell(key, question).answer == "yes"}
    if key not in dropping(result):
        assert lost == set()
    elif is_pinned(result):
        assert lost == set(LOST)
    else:
        assert lost == {"lost-before-alloc", "lost-racing"}


@pytest.mark.parametrize("key", KEYS)
def test_who_drops_a_free_page(result: Guarantees, key: str) -> None:
    drops = "yes" if key in dropping(result) else "no"
    assert result.cell(key, "zapped-ever").answer == drops
    assert result.cell(key, "zero-after-zap").answer == {"yes": "yes", "no": "n/a"}[drops]
    assert result.cell(key, "zap-harms").answer in ("no", "n/a")
    if result.subjects[0].backing == "memfd":  # page 1 is not pinned: its entries are lost as ever
        assert result.cell(key, "entry-lost").answer in ("no", "n/a")


def test_madv_dontneed_leaves_the_file() -> None:
    """Anonymous memory reads zero at once, that of a file what it was."""
    for backing, zero in (("anonymous", "yes"), ("memfd", "no")):
        cell = explain("madv_dontneed", "zero-after-free", SMALL, backing=backing)  # type: ignore[arg-type]
        assert cell.answer == zero


def test_the_cve_loses_nothing_of_a_file(result: Guarantees) -> None:
    """UNUSED lingers, and the PTE is dropped: the page cache has the page all the same.  Of a
    page that is pinned reclaim takes nothing."""
    for key in ("cmma_7_0", "cmma_7_0_shifted", "cmma_7_1", "cmma_7_1_5_left"):
        assert result.cell(key, "lost-after-alloc").answer == "no"


# 6c8e2a256915 (v5.18): direct I/O into a page that MADV_FREE was called for.
def test_the_race_of_madv_free_and_direct_io() -> None:
    cell = explain("madv_free_4_12", "lost-after-alloc", SMALL, pinned=True)
    assert cell.steps is not None
    assert [step.action for step in cell.steps[:3]] == ["free", "swap_out", "alloc"]
    assert len(cell.steps) == 4
    last = cell.moments()[-1]
    assert last.device != last.reads
    history = [
        answer
        for answer in bisect("lost-after-alloc", SMALL, pinned=True).answers
        if answer.span.where == "MADV_FREE"
    ]
    assert [answer.text for answer in history] == ["yes [4]", "no", "no"]
    assert [[c.id for c in answer.by] for answer in history] == [[], ["6c8e2a256915"], []]


def test_a_device_sees_what_the_guest_stores_until_the_drop() -> None:
    for cell in guarantees(["reporting"], SMALL, pinned=True).cells.values():
        for moment in cell.moments() if cell.steps else ():
            assert moment.device is not None
    cell = explain("madv_dontneed", "lost-after-alloc", SMALL, pinned=True)
    told = [(moment.reads, moment.device) for moment in cell.moments()]
    assert told[-1] == ("store 1", "zero")


def test_witnesses_in_the_reference_model(result: Guarantees) -> None:
    cells = [cell for cell in result.cells.values() if cell.steps is not None]
    assert len(cells) >= 60
    for cell in cells:
        plays_alike(cell)


@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("key", KEYS)
def test_states_of_the_smallest_system(key: str, world: World) -> None:
    count_alike(key, world, System(1, 1, 1, 1))


@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("key", ["madv_dontneed", "madv_free_alone"])
def test_states_of_two_pages(key: str, world: World) -> None:
    _, _, mlock = world
    count_alike(key, world, System(2, 1 + mlock, 1, 1))


def count_alike(key: str, world: World, system: System) -> None:
    found = answers(world, [key], system)
    reference = reference_system(found.subjects[0], system)
    assert found.states[key] == search_reference.count_states(reference)


def test_what_is_assumed(result: Guarantees) -> None:
    told = result.assumed
    assert ("private anonymous memory" in told) == (result.subjects[0].backing == "anonymous")
    assert ("no VFIO" in told) != is_pinned(result)
    assert ("no mlock" in told) != result.subjects[0].mlock
    assert result.to_dict()["assumptions"] == list(told)
    assert set(result.cells) == {(key, question.key) for key in KEYS for question in QUESTIONS}


def test_refused() -> None:
    with pytest.raises(pgste.UnknownNameError, match="backing: 'file'"):
        guarantees(["none"], backing="file")  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentTypeError, match="pinned: 2"):
        explain("none", "stale", pinned=2)  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentTypeError, match="mlock: 'yes'"):
        bisect("stale", mlock="yes")  # type: ignore[arg-type]
    for world in WORLDS:
        with pytest.raises(pgste.ArgumentError, match="mechanisms: 'cmma_zvm' knows no backing"):
            answers(world, ["cmma_zvm"])
    with pytest.raises(pgste.ArgumentError):  # the engine's own check
        _search(replace(MECHANISMS[0], mlock=True), System(2, 1, 1, 1), Progress())
    with pytest.raises(pgste.ArgumentError, match="systems: none that fits 'none'"):
        guarantees(["none"], [System(2, 1, 1, 1)], mlock=True)
    with pytest.raises(pgste.ArgumentError, match="systems: none that fits 'none'"):
        explain("none", "stale", [System(2, 1, 1, 1)], mlock=True)


@pytest.mark.parametrize("key", [subject.key for subject in MECHANISMS])
def test_every_state_is_sound(key: str) -> None:
    """`pgste_validate` after every action finds nothing, in any column, with any memory."""
    subject = next(subject for subject in MECHANISMS if subject.key == key)
    for backing, pinned, mlock in (("anonymous", False, False), *WORLDS):
        if subject.generation == "zvm" and (backing == "memfd" or pinned or mlock):
            continue
        found = _search(
            replace(subject, backing=backing, pinned=pinned, mlock=mlock),
            System(2, 1 + mlock, 2, 1, obedient=True),
            Progress(),
            validated=True,
        )
        assert found["all"]

# SPDX-License-Identifier: MIT
"""The search must find what is wrong when something is: faults put into copies of the core.

mutations.py has them and what each does to the table.  Here each is searched in the columns that
it changes, on the smallest systems that show it.  With ``PGSTE_MUTATIONS=all`` all systems of up
to two pages on one frame are searched, and for the faults every column (some 20 minutes): what is
listed must be among the changes, and what is said to change nothing must not.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import astuple

import pytest

from exhaustive import mutant
from exhaustive.mutant import Cores, Table, difference
from exhaustive.mutations import FAULTS, SAME, Fault, Same, Shape
from pgste.guarantees import MECHANISMS, QUESTIONS, SYSTEMS

ALL = os.environ.get("PGSTE_MUTATIONS") == "all"
EVERY = tuple(subject.key for subject in MECHANISMS)
SMALL = tuple(
    astuple(system)
    for system in SYSTEMS
    if system.pages <= 2 and system.frames == system.vcpus == 1
)

pytestmark = [
    pytest.mark.skipif(not mutant.CORE.is_dir(), reason="no sources of the core beside the tests"),
    pytest.mark.skipif(shutil.which(mutant.CC[0]) is None, reason="no C compiler"),
    pytest.mark.skipif("PGSTE_SANITIZED" in os.environ, reason="a core of its own kind is needed"),
]


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Cores:
    return Cores(tmp_path_factory.mktemp("cores"))


class Sound:
    """Tables of the sound core, each column on each choice of systems once."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self.known: dict[tuple[str, tuple[Shape, ...]], dict[str, str]] = {}

    def table(self, columns: tuple[str, ...], systems: tuple[Shape, ...]) -> Table:
        new = [column for column in columns if (column, systems) not in self.known]
        if new:
            found = mutant.table(self.cores.sound, new, systems)
            assert isinstance(found, dict), found
            self.known |= {(column, systems): cells for column, cells in found.items()}
        return {column: self.known[column, systems] for column in columns}


@pytest.fixture(scope="module")
def sound(cores: Cores) -> Sound:
    return Sound(cores)


def changes(cores: Cores, sound: Sound, fault: Fault | Same, columns: tuple[str, ...],
            answers: bool) -> Table:  # fmt: skip
    systems = SMALL if ALL else fault.systems
    columns = EVERY if ALL and isinstance(fault, Fault) else columns
    name = re.sub(r"\W+", "-", fault.name)
    library = cores.faulty(name, fault.file, fault.old, fault.new)
    found = mutant.table(library, columns, systems)
    shutil.rmtree(library)
    assert isinstance(found, dict), found
    return difference(sound.table(columns, systems), found, answers)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_the_table(fault: Fault, cores: Cores, sound: Sound) -> None:
    answers = "[" not in str(fault.changes)
    found = changes(cores, sound, fault, tuple(fault.changes), answers)
    if ALL and answers:
        for mechanism, cells in fault.changes.items():
            assert found[mechanism].items() >= cells.items()
    elif not ALL:
        assert found == fault.changes


@pytest.mark.parametrize("same", SAME, ids=lambda same: same.name)
def test_what_changes_nothing(same: Same, cores: Cores, sound: Sound) -> None:
    assert changes(cores, sound, same, same.columns, answers=False) == {}


@pytest.mark.parametrize(
    ("name", "mechanism", "generation"),
    [
        # no cell shows it, as every state numbers its slots anew: the core's own look does
        ("z/VM: the slot of lost content is not given up", "cmma", "zvm"),
        ("a zap keeps the slot", "cmma", "pgtable"),
        ("a swapped page's use of its slot is not counted", "none", "pgtable"),
    ],
)
def test_a_slot_that_nobody_has_is_seen(
    name: str, mechanism: str, generation: str, cores: Cores
) -> None:
    fault = next(each for each in (*FAULTS, *SAME) if each.name == name)
    library = cores.faulty("validated", fault.file, fault.old, fault.new)
    assert mutant.validated(cores.sound, mechanism, generation, (2, 1, 2, 1)) == "sound"
    assert "StateError" in mutant.validated(library, mechanism, generation, (2, 1, 2, 1))
    shutil.rmtree(library)


def test_the_lists_say_what_can_be() -> None:
    questions = {question.key for question in QUESTIONS}
    for fault in FAULTS:
        assert fault.why
        assert set(fault.changes) <= set(EVERY)
        for cells in fault.changes.values():
            assert set(cells) <= questions
            for change in cells.values():
                before, after = change.split(" -> ")
                assert before != after
    for same in SAME:
        assert len(same.argument) > 40
        assert set(same.columns) <= set(EVERY)
    for each in (*FAULTS, *SAME):
        text = (mutant.CORE / each.file).read_text(encoding="utf-8")
        assert text.count(each.old) == 1, f"{each.name}: {each.file} has it not once"
    names = [each.name for each in (*FAULTS, *SAME)]
    assert len({*names}) == len(names)
    assert len(FAULTS) >= 50


def test_every_part_has_faults() -> None:
    """Issue 12, item 4: essa table, zap, reclaim, madvise, pte, fault and reporting."""
    files = {fault.file for fault in FAULTS}
    assert files >= {
        "guest/essa_table.c", "guest/zap.c", "guest/cbrl.c", "memory/evict.c",
        "memory/madvise.c", "memory/pte.c", "memory/fault.c", "mech/reporting.c",
    }  # fmt: skip

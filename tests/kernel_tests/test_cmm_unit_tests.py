# SPDX-License-Identifier: MIT
"""What s390x/cmm.c and s390x/migration-cmm.c of kvm-unit-tests check, asked of the model.

| program | checks | here |
|---|---|---|
| cmm.c, test_availability | ESSA is there, or an operation exception | `test_availability` |
| cmm.c, test_priv | in problem state, privileged operation | `test_priv` |
| cmm.c, test_params | operation 8 is a specification exception | `test_params` |
| migration-cmm.c, test_migration | 128 pages keep their four states | `test_migration` |
| | a page set potentially volatile may be volatile by then | the same |
"""

from __future__ import annotations

import io

import pytest

import pgste
from pgste import Orc, Usage, migration

GENERATIONS = ["pgtable", "dat"]
PAGES = 128


@pytest.mark.parametrize("generation", GENERATIONS)
def test_availability(generation: str) -> None:
    pgste.Guest(1, generation=generation).essa_page(Orc.GET_STATE, 0)
    for guest in (
        pgste.Guest(1, generation=generation, mechanism="none"),
        pgste.Guest(1, generation=generation, cmma=False),
    ):
        with pytest.raises(pgste.OperationException):
            guest.essa_page(Orc.GET_STATE, 0)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_priv(generation: str) -> None:
    guest = pgste.Guest(1, generation=generation)
    guest.set_problem_state(0, True)
    with pytest.raises(pgste.PrivilegedOperationException):
        guest.essa_page(Orc.GET_STATE, 0)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_params(generation: str) -> None:
    guest = pgste.Guest(1, generation=generation)
    with pytest.raises(pgste.SpecificationException):
        guest.essa_page(8, 0)


@pytest.mark.parametrize("target", GENERATIONS)
@pytest.mark.parametrize("source", GENERATIONS)
def test_migration(source: str, target: str) -> None:
    """From each generation to each: the bytes on the wire are the same."""
    guest = pgste.Guest(PAGES, generation=source)
    for page in range(0, PAGES, 4):
        guest.essa_page(Orc.SET_STABLE, page)
        guest.essa_page(Orc.SET_UNUSED, page + 1)
        guest.essa_page(Orc.SET_VOLATILE, page + 2)
        guest.essa_page(Orc.SET_POT_VOLATILE, page + 3)
    stream = io.BytesIO()
    migration.save(guest, stream)
    stream.seek(0)
    other = pgste.Guest(PAGES, generation=target)
    migration.load(other, stream)
    allowed = [
        {Usage.STABLE},
        {Usage.UNUSED},
        {Usage.VOLATILE},
        {Usage.VOLATILE, Usage.POT_VOLATILE},
    ]
    for page in range(PAGES):
        state = other.essa_page(Orc.GET_STATE, page) >> 2 & 3
        assert Usage(state) in allowed[page % 4], page

# SPDX-License-Identifier: MIT
"""The numbers of states that the progress of `guarantees` counts towards, all of them."""

from __future__ import annotations

import pytest

from pgste._engine.watch import Progress
from pgste.guarantees import MECHANISMS, SYSTEMS, System, guarantees
from pgste.guarantees.search import _search
from pgste.guarantees.systems import STATES


def test_there_is_a_number_for_each() -> None:
    assert set(STATES) == {
        (subject.key, system)
        for subject in MECHANISMS
        for system in SYSTEMS
        if system.fits(subject)
    }


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_numbers_of_states(system: System) -> None:
    """The last system takes some ten seconds on one CPU, the others less than one each."""
    told: list[tuple[int, int]] = []
    found = guarantees(
        systems=[system], progress=lambda key, done, total: told.append((done, total))
    )
    assert found.states == {
        subject.key: STATES.get((subject.key, system), 0) for subject in MECHANISMS
    }
    assert {total for _, total in told} == {sum(found.states.values())}, "known from the start"


def test_memory_of_a_state() -> None:
    """14 bytes and a place of 8 in a set, both with room for at most twice as many."""
    subject = next(subject for subject in MECHANISMS if subject.key == "cmma")
    found = _search(subject, System(2, 1, 2, 2), Progress())
    assert found["states"] == 56_864
    assert 22 < found["state_bytes"] / found["states"] < 2 * 14 + 8 * 8 / 3

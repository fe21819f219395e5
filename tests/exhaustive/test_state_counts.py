# SPDX-License-Identifier: MIT
"""The numbers of states that the progress of `guarantees` counts towards, all of them."""

from __future__ import annotations

import pytest

from pgste.guarantees import MECHANISMS, SYSTEMS, System, guarantees
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

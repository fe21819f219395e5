# SPDX-License-Identifier: MIT
"""One column of the table, searched in one system as the tests like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgste._engine.search import search
from pgste.guarantees import System
from pgste.guarantees.columns import Subject

if TYPE_CHECKING:
    from pgste._engine.search import SearchResult

__all__ = ["search_column"]


def search_column(subject: Subject, shape: System, **how: Any) -> SearchResult:
    """What the engine's search finds, with the given keyword arguments of `search`."""
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
        shape.pages,
        shape.frames,
        shape.swap_slots,
        shape.cbrl_entries,
        shape.vcpus,
        shape.obedient,
        **{"max_states": 10_000_000, **how},
    )

# SPDX-License-Identifier: MIT
from typing import Final, TypedDict

from pgste._engine.watch import Progress

ACTIONS: Final[tuple[str, ...]]
ACTION_WORDS: Final[dict[str, str]]
QUESTION_ROWS: Final[tuple[tuple[str, str, str, str, str], ...]]
QUESTIONS: Final[tuple[str, ...]]
GENERATIONS: Final[tuple[str, ...]]
REARM_RULES: Final[tuple[str, ...]]
REVISIONS: Final[tuple[str, ...]]
REWRITES: Final[tuple[str, ...]]
POISONS: Final[tuple[str, ...]]

class SearchResult(TypedDict):
    states: int
    transitions: int
    depth: int
    state_bytes: int
    seen: list[int]
    met_unused: list[int]
    met_stable: list[int]
    all: bool
    answers: dict[str, tuple[int, list[tuple[str, int]] | None]]

def search(
    mechanism: str,
    generation: str,
    revision: str,
    rearm: str,
    poison: str,
    notifiers: tuple[str, ...],
    shifted: bool,
    advice: str,
    busy: bool,
    pages: int,
    frames: int,
    swap_slots: int,
    cbrl_entries: int,
    vcpus: int,
    obedient: bool,
    max_states: int,
    progress: Progress | None = None,
    plain: bool = False,
    until: tuple[str, ...] = (),
    below: int = ...,
    threads: int = 1,
    memfd: bool = False,
    pinned: bool = False,
    mlock: bool = False,
    validated: bool = False,
) -> SearchResult: ...

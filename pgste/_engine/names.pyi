# SPDX-License-Identifier: MIT
from typing import Final

VERSION: Final[str]
ERROR_LAST: Final[int]
GENERATIONS: Final[tuple[str, ...]]
REVISIONS: Final[tuple[str, ...]]
REWRITES: Final[tuple[str, ...]]
REARM_RULES: Final[tuple[str, ...]]
RECLAIM_MODELS: Final[tuple[str, ...]]
POISONS: Final[tuple[str, ...]]
ADVICES: Final[tuple[str, ...]]
FOLIOS: Final[tuple[str, ...]]

def strerror(error: int) -> str: ...
def generations() -> dict[str, str]: ...
def flavour_of(generation: str) -> str: ...
def generation_of(generation: str, flavour: object = None) -> str: ...
def mechanisms(generation: str | None = None) -> tuple[str, ...]: ...
def shown(value: object) -> str: ...

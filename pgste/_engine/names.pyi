# SPDX-License-Identifier: MIT
from typing import Final

VERSION: Final[str]
ERROR_LAST: Final[int]
REARM_RULES: Final[tuple[str, ...]]
POISONS: Final[tuple[str, ...]]

def strerror(error: int) -> str: ...
def mechanisms() -> tuple[str, ...]: ...

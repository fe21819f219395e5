# SPDX-License-Identifier: MIT
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

RULES: tuple[str, ...]
COUNTS: tuple[str, ...]
PLACEMENTS: tuple[str, ...]

def one_guest(
    events: npt.NDArray[np.uint64],
    times: npt.NDArray[np.uint64],
    rule: str,
    *,
    base: int,
    pages: int,
    unnamed_free: bool = False,
    host_order: int = 0,
    block_order: int = 0,
    period_ns: int = 0,
    reserve: int = 0,
    asks: bool = False,
    populate: bool = False,
    reporting: Mapping[str, Any] | None = None,
    samples: npt.NDArray[np.uint64],
) -> dict[str, Any]: ...
def place(
    events: npt.NDArray[np.uint64],
    placement: str,
    *,
    base: int,
    pages: int,
    places: int,
    most: int,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]: ...

# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from pgste._engine.arguments import Integers
from pgste._engine.guest import Guest
from pgste._engine.host import Host

class Replay:
    def __init__(
        self,
        guests: Guest | Sequence[Guest],
        events: Integers,
        times: Integers | None = None,
        base_pfn: SupportsIndex = 0,
        accesses: Integers | None = None,
        places: Integers | None = None,
    ) -> None: ...
    def run(self, n: SupportsIndex | None = None) -> int: ...
    def run_until(self, ns: SupportsIndex) -> int: ...
    def run_samples(
        self,
        at: Integers,
        flush: npt.ArrayLike | None = None,
        *,
        events: bool = False,
    ) -> dict[str, npt.NDArray[np.uint64]]: ...
    @property
    def guests(self) -> tuple[Guest, ...]: ...
    @property
    def host(self) -> Host: ...
    @property
    def position(self) -> int: ...
    def stats(self) -> dict[str, int | float]: ...

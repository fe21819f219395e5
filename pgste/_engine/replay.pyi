# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import SupportsIndex

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
    @property
    def guests(self) -> tuple[Guest, ...]: ...
    @property
    def host(self) -> Host: ...
    @property
    def position(self) -> int: ...
    def stats(self) -> dict[str, int | float]: ...

# SPDX-License-Identifier: MIT
from typing import Literal, SupportsFloat, SupportsIndex, TypedDict

import numpy as np
import numpy.typing as npt

from pgste._engine.arguments import Flag, Gfns, Values
from pgste._engine.member import Member

class ContentCounts(TypedDict):
    resident: int
    preserved: int
    zero: int

class StateCounts(TypedDict):
    stable: ContentCounts
    unused: ContentCounts
    pot_volatile: ContentCounts
    volatile: ContentCounts
    nodat: int
    dirty: int
    swap: int
    zappable: int

class PageTable(Member):
    def pgste(self, gfns: Gfns | None = None) -> npt.NDArray[np.uint64]: ...
    def pte(self, gfns: Gfns | None = None) -> npt.NDArray[np.uint64]: ...
    def set_words(
        self, gfns: Gfns, pgste: Values | None = None, pte: Values | None = None
    ) -> None: ...
    def host_ptes(self, gfns: Gfns | None = None) -> npt.NDArray[np.uint64]: ...
    def set_host_ptes(self, gfns: Gfns, words: Values) -> None: ...
    def notifier_unmap(
        self, gfns: Gfns, rewrite: Literal["none", "xchg", "set"] = "none"
    ) -> int: ...
    def hold_host_locks(self, gfns: Gfns, on: Flag = True) -> None: ...
    def set_contention(self, rate: SupportsFloat) -> None: ...
    def host_pte_stats(self) -> dict[str, int]: ...
    def states(self, gfns: Gfns | None = None) -> npt.NDArray[np.uint8]: ...
    def is_free(self, gfns: Gfns | None = None) -> npt.NDArray[np.bool_]: ...
    def count_zappable(self, threads: SupportsIndex = 1) -> int: ...
    def count_states(self, threads: SupportsIndex = 1) -> StateCounts: ...
    def find(
        self,
        mask: SupportsIndex,
        value: SupportsIndex,
        start: SupportsIndex = 0,
        limit: SupportsIndex | None = None,
        threads: SupportsIndex = 1,
    ) -> npt.NDArray[np.uint64]: ...

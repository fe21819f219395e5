# SPDX-License-Identifier: MIT
from typing import Literal, SupportsIndex, TypedDict

import numpy as np
import numpy.typing as npt

from pgste._engine.arguments import Flag, Gfns, Values
from pgste._engine.member import Member
from pgste._engine.unit import Unit

class FrameInfo(TypedDict):
    list: Literal["free", "active", "inactive", "lazyfree", "lazyfree_active"]
    guest: int | None
    gfn: int | None
    tag: int
    slot: int | None
    referenced: bool
    dirty: bool
    pinned: bool
    locked: bool
    writeback: bool
    shared: bool
    generation: int | None
    tier: int | None

class Generations(TypedDict):
    max_seq: int
    min_seq: tuple[int, int]
    anon: tuple[npt.NDArray[np.uint32], ...]
    file: tuple[npt.NDArray[np.uint32], ...]
    pages: list[list[int]]
    refaulted: list[list[int]]
    evicted: list[list[int]]
    protected: list[list[int]]
    avg_refaulted: list[list[int]]
    avg_total: list[list[int]]

class SlotInfo(TypedDict):
    count: int
    frame: int | None
    tag: int

def zone_watermarks(
    managed: SupportsIndex, min: SupportsIndex | None = None, scale: SupportsIndex = 10
) -> tuple[int, int, int]: ...

class Host(Unit):
    def __init__(
        self,
        frames: SupportsIndex,
        swap_slots: SupportsIndex,
        low: SupportsIndex | None = None,
        high: SupportsIndex | None = None,
        batch: SupportsIndex | None = None,
        *,
        rearm: str = "referenced",
        reclaim: str = "simple",
        swappiness: SupportsIndex = 60,
        page_cluster: SupportsIndex = 3,
        rotational: Flag = True,
        write_delay: SupportsIndex = 200,
        fresh_stats: Flag = True,
        mm_walk: Flag = True,
    ) -> None: ...
    @property
    def frames(self) -> int: ...
    @property
    def swap_slots(self) -> int: ...
    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def rearm(self) -> str: ...
    @property
    def reclaim_model(self) -> str: ...
    def close(self) -> None: ...
    def reclaim(self, n: SupportsIndex) -> int: ...
    def swap_out(self, guest: Member, gfns: Gfns) -> int: ...
    def pin(self, guest: Member, gfns: Gfns, on: Flag = True) -> int: ...
    def set_folio(
        self,
        guest: Member,
        gfns: Gfns,
        what: Literal["pinned", "locked", "writeback", "shared"],
        on: Flag = True,
    ) -> int: ...
    def set_frame_key(self, frames: Gfns, keys: Values) -> None: ...
    def frame_key(self, frames: Gfns) -> npt.NDArray[np.uint8]: ...
    def stats(self) -> dict[str, int]: ...
    def reset_stats(self) -> None: ...
    def flush_stats(self) -> None: ...
    def frame_info(self, frame: SupportsIndex) -> FrameInfo: ...
    def slot_info(self, slot: SupportsIndex) -> SlotInfo: ...
    def frame_list(self, name: str) -> npt.NDArray[np.uint32]: ...
    def generations(self) -> Generations: ...
    def validate(self) -> None: ...

# SPDX-License-Identifier: MIT
from typing import Any, Literal, SupportsIndex

from pgste._engine.ptes import Ptes

_OfZones = SupportsIndex | list[int] | tuple[int, ...]

class Reporting(Ptes):
    @property
    def now_ns(self) -> int: ...
    def advance(self, ns: SupportsIndex) -> None: ...
    def set_reporting(
        self,
        *,
        order: SupportsIndex | None = None,
        max_order: SupportsIndex | None = None,
        parked_order: SupportsIndex | None = None,
        parked_high: SupportsIndex | None = None,
        parked_batch: SupportsIndex | None = None,
        capacity: SupportsIndex | None = None,
        delay_ns: SupportsIndex | None = None,
        ack_ns: SupportsIndex | None = None,
        min: _OfZones | None = None,
        low: _OfZones | None = None,
        spare: _OfZones | None = None,
        poison: Literal["none", "init_on_free", "page_poison"] | None = None,
        negotiated: bool | None = None,
        inhibited: bool | None = None,
        advice: Literal["madv_dontneed", "madv_free"] | None = None,
        zones: list[int] | tuple[int, ...] | None = None,
        migratetypes: str | list[str] | tuple[str, ...] | None = None,
        pageblock_order: SupportsIndex | None = None,
    ) -> None: ...
    def reporting(self) -> dict[str, Any]: ...
    @property
    def _due_ns(self) -> int | None: ...
    def free_blocks(
        self,
        order: SupportsIndex,
        *,
        zone: SupportsIndex | None = None,
        migratetype: str | None = None,
    ) -> list[tuple[int, int, bool]]: ...
    def migratetypes(self) -> list[str]: ...
    def parked_blocks(self, vcpu: SupportsIndex = 0) -> list[tuple[int, int, bool]]: ...
    def isolated_blocks(self) -> list[tuple[int, int, bool]]: ...

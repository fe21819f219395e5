# SPDX-License-Identifier: MIT
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

class TextDecoder:
    @property
    def format(self) -> str | None: ...
    @property
    def counters(self) -> dict[str, int]: ...
    def feed(
        self, data: bytes | bytearray | memoryview, end: bool = ...
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], int]: ...

class RingDecoder:
    page_bytes: int
    def __init__(self, layout: Mapping[str, int]) -> None: ...
    @property
    def counters(self) -> dict[str, int]: ...
    def decode(
        self, pages: bytes | bytearray | memoryview
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]: ...

def summarize(
    events: npt.NDArray[np.uint64],
    most_pages: int,
    most_bytes: int,
    in_use: npt.NDArray[np.uint64] | None = ...,
) -> dict[str, Any] | str: ...
def dense(
    events: npt.NDArray[np.uint64], accesses: npt.NDArray[np.uint64], base: int, pages: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], int]: ...
def share_of(
    events: npt.NDArray[np.uint64], share: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]: ...

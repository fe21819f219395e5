# SPDX-License-Identifier: MIT
"""How large a host and its guests are made for a trace."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["guest_pages", "kernel_watermarks"]

# A guest starts on a multiple of this many pages below the lowest one of the trace, so that
# blocks keep their alignment.
_ALIGN = 1 << 10


def kernel_watermarks(frames: int, batch: int = 32) -> tuple[int, int]:
    """Low and high watermark, in frames, for a host with this many frames.

    The kernel's ``min_free_kbytes`` (the root of 16 times the memory in KiB, mm/page_alloc.c)
    and its low and high, a quarter and a half above; never more than a quarter of the host.
    """
    minimum = math.isqrt(64 * frames) // 4
    low = max(minimum * 5 // 4, 1)
    high = max(minimum * 3 // 2, low + batch)
    low, high = min(low, frames // 4), min(high, frames // 4)
    return (low, high) if low < high else (0, max(high, 1))


def guest_pages(summary: dict[str, Any]) -> tuple[int, int]:
    """First pfn of a guest that has every page of the trace, and its pages."""
    base = summary["lowest_pfn"] // _ALIGN * _ALIGN
    return base, summary["highest_pfn"] + 1 - base

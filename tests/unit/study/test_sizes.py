# SPDX-License-Identifier: MIT
"""Watermarks, against those that kernels told; and those of a host."""

from __future__ import annotations

import pytest

import pgste
from pgste._engine import zone_watermarks
from pgste.study.sizes import kernel_watermarks

# /proc/zoneinfo of a machine with 24 GB (x86-64, Linux 6.18): managed, and min, low, high of each
# zone.  Its min_free_kbytes is 67,584, what khugepaged asks for: 512 * 3 zones * 11 pages.
ZONES = {
    "DMA": (3840, (16, 20, 24)),
    "DMA32": (772_915, (3301, 4126, 4951)),
    "Normal": (3_178_496, (13_577, 16_971, 20_365)),
}


@pytest.mark.parametrize("zone", ZONES)
def test_zones_of_a_real_machine(zone: str) -> None:
    managed, marks = ZONES[zone]
    share = 512 * 3 * 11 * managed // sum(pages for pages, _ in ZONES.values())
    assert zone_watermarks(managed, share) == marks


def test_above_a_gigabyte_the_scale_factor_counts() -> None:
    """16 GiB: a quarter of min is 1024 pages, 10/10000 of the memory 4194."""
    assert zone_watermarks(1 << 22) == (4096, 8290, 12_484)
    assert zone_watermarks(1 << 22, scale=1) == (4096, 5120, 6144)


def test_min_free_kbytes_has_bounds() -> None:
    assert zone_watermarks(100)[0] == 128 // 4
    assert zone_watermarks((1 << 32) - 2)[0] == 262_144 // 4


def test_refused() -> None:
    with pytest.raises(pgste.ArgumentError, match="managed: -1"):
        zone_watermarks(-1)
    with pytest.raises(pgste.ArgumentError, match="min: 4294967296"):
        zone_watermarks(1, 1 << 32)
    with pytest.raises(pgste.ArgumentError, match="scale: 0"):
        zone_watermarks(1, scale=0)


def test_kernel_watermarks() -> None:
    # 2^20 frames are 4 GiB: min_free_kbytes = sqrt(16 * 4194304) = 8192 KiB = 2048 pages, and the
    # step is 10/10000 of the memory
    assert kernel_watermarks(1 << 20) == (2048 + 1048, 2048 + 2 * 1048)
    assert kernel_watermarks(1 << 16) == (512 + 128, 512 + 256)
    for frames in range(1, 3000):
        low, high = kernel_watermarks(frames)
        assert 0 <= low < high <= max(frames, 1)

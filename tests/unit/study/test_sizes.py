# SPDX-License-Identifier: MIT
"""Watermarks of a host."""

from __future__ import annotations

from pgste.study.sizes import kernel_watermarks


def test_kernel_watermarks() -> None:
    # 2^20 frames are 4 GiB: min_free_kbytes = sqrt(16 * 4194304) = 8192 KiB = 2048 pages
    assert kernel_watermarks(1 << 20) == (2560, 3072)
    for frames in range(1, 3000):
        low, high = kernel_watermarks(frames)
        assert 0 <= low < high <= max(frames, 1)

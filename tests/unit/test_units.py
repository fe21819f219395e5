# SPDX-License-Identifier: MIT
"""Counts, sizes and rates, printed and parsed."""

from __future__ import annotations

import pytest

import pgste
from pgste.units import format_bytes, format_count, format_rate, parse_frames


def test_units() -> None:
    assert format_count(1234567) == "1,234,567"
    assert format_bytes(160 << 20) == "160 MiB"
    assert format_bytes(512) == "512 B"
    assert format_rate(41_234_567) == "41.2 M/s"
    # a whole number is as wide, so that no column changes its width
    assert [format_rate(n * 1e6) for n in (3, 32, 320)] == ["3.00 M/s", "32.0 M/s", "320 M/s"]
    assert parse_frames("1000", 10) == 1000
    assert parse_frames("75%", 1000) == 750
    assert parse_frames("160M", 1) == 40960
    assert parse_frames("1.5GiB", 1) == 393216
    assert parse_frames("1_000", 1) == 1000
    for bad in ("", "0", "-5", "x", "0%", "1K", "12Q", "nan%"):
        with pytest.raises(pgste.ArgumentError, match="host frames"):
            parse_frames(bad, 100)

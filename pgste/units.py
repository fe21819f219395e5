# SPDX-License-Identifier: MIT
"""Counts, sizes and rates as people write and read them; all parsing and printing of units."""

from __future__ import annotations

import re

from pgste.errors import ArgumentError

__all__ = [
    "PAGE_BYTES",
    "format_bytes",
    "format_count",
    "format_rate",
    "parse_bytes",
    "parse_frames",
]

PAGE_BYTES = 4096

_SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LONGEST = 40
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)


def format_count(value: float) -> str:
    """A count with thousands separators; fractions are rounded."""
    return f"{round(value):,}"


def format_bytes(nr_bytes: float) -> str:
    """A size with a binary unit and three digits or so: ``160 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(nr_bytes) < 1024:
            return f"{nr_bytes:.0f} {unit}" if nr_bytes >= 100 else f"{nr_bytes:.3g} {unit}"
        nr_bytes /= 1024
    return f"{nr_bytes:.3g} TiB"


def format_rate(per_second: float) -> str:
    """A rate with a decimal unit: ``41.2 M/s``."""
    for divisor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if per_second >= divisor:
            rate = per_second / divisor
            # not .3g: a column must not change its width with a rate that is a whole number
            return f"{rate:.{2 if rate < 10 else 1 if rate < 100 else 0}f} {unit}/s"
    return f"{per_second:.3g} /s"


def parse_frames(text: str, peak: int, name: str = "host frames") -> int:
    """Host frames from what a user wrote: a count, ``75%`` of ``peak``, or a size (``160M``).

    Sizes are rounded down to whole 4 KiB frames.  ValueError has the name and the text.
    """
    plain = text.strip().replace("_", "").replace(",", "")
    frames = 0
    if len(plain) <= _LONGEST:  # no number that makes sense is longer
        if plain.endswith("%"):
            try:
                share = float(plain[:-1])
            except ValueError:
                share = -1.0
            frames = int(peak * share / 100) if 0 < share < 1e6 else 0
        elif match := _SIZE.fullmatch(plain):
            frames = int(float(match[1]) * _SUFFIXES[match[2].upper()]) // PAGE_BYTES
        else:
            frames = int(plain) if plain.isdecimal() else 0
    if not 1 <= frames < 1 << 52:  # 2^64 bytes
        shown = text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}..."
        raise ArgumentError(
            f"{name} {shown!r}: a count of frames, a percentage of the trace's peak (75%), "
            "or a size of at least one page (160M)"
        )
    return frames


def parse_bytes(text: str) -> int:
    """Bytes from what a user wrote: a count or a size (``4G``).  ArgumentError names the text."""
    plain = text.strip().replace("_", "").replace(",", "")
    if match := _SIZE.fullmatch(plain):
        size = float(match[1]) * _SUFFIXES[match[2].upper()]
    else:
        size = float(plain) if plain.isdecimal() and len(plain) < 20 else 0.0
    if not 1 <= size < 1 << 62:
        raise ArgumentError(f"size {text!r}: a count of bytes, or a size such as 4G")
    return int(size)

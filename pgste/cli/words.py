# SPDX-License-Identifier: MIT
"""Words from outside: shown so that they cannot act on a terminal, and read as numbers.

File names, profiles, traces, the kernel and the command line itself are foreign text.
"""

from __future__ import annotations

import argparse
import math

__all__ = ["number", "one_line", "printable", "whole_number"]

_MOST = 1 << 63
_MOST_SECONDS = 1e9  # thirty years
_LONGEST = 1000  # characters of a message: a few lines of a terminal


def printable(text: object, keep: str = "") -> str:
    r"""The text with every character that is not printed as itself written as an escape.

    Control characters, line ends, marks that change the direction of text and bytes that are no
    UTF-8 become ``\x1b``, ``\n``, ``\u202e``, ``\xff``; those in `keep` stay.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in shown)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python passes on a byte that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def one_line(message: object) -> str:
    """A message as one line of bearable length: what is too much is left out in the middle."""
    shown = printable(message)
    if len(shown) <= _LONGEST:
        return shown
    half = _LONGEST // 2
    return f"{shown[:half]} ... {shown[-half:]}"


def whole_number(text: str) -> int:
    """An integer option.  What no 64-bit integer holds is refused here, not deep in the core."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not an integer: {_short(text)}") from None
    if not -_MOST <= value < _MOST:
        raise argparse.ArgumentTypeError(f"too large: {_short(text)}")
    return value


def number(text: str) -> float:
    """An option that is a number, neither infinite nor NaN nor beyond all use."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number: {_short(text)}") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"not a finite number: {_short(text)}")
    if abs(value) > _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"too large: {_short(text)}")
    return value


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:40]!r} and {len(text) - 40:,} characters"

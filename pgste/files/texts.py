# SPDX-License-Identifier: MIT
"""JSON that others wrote: bounded before it is parsed, so that it cannot exhaust anything.

`json.loads` recurses with each bracket and takes integers of any length.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "load_json", "read_bounded"]

MAX_DEPTH = 32
"""Objects and arrays within one another."""
MAX_DIGITS = 100
"""Digits of an integer."""

_MARKS = re.compile(rb'["\\\[\]{}]')


def _depth(text: bytes) -> int:
    """The most brackets that are open at once, those in strings left out; one pass."""
    depth = deepest = escaped = 0
    in_string = False
    for mark in _MARKS.finditer(text):
        byte, at = mark[0], mark.start()
        if in_string:
            if at == escaped:
                continue
            if byte == b"\\":
                escaped = at + 1
            elif byte == b'"':
                in_string = False
        elif byte == b'"':
            in_string, escaped = True, -1
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits; {MAX_DIGITS} are the most")
    return int(digits)


def load_json(text: bytes) -> Any:
    """What a JSON text in UTF-8 says.

    Parameters
    ----------
    text : bytes
        The text; how long it may be is up to the caller.

    Raises
    ------
    ValueError
        The text is no JSON, is nested deeper than `MAX_DEPTH`, or has an integer of more than
        `MAX_DIGITS` digits.
    """
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        depth = _depth(text)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested {depth} deep; {MAX_DEPTH} is the most")
    return json.loads(text.decode("utf-8"), parse_int=_integer)


def read_bounded(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a file, a pipe or a device, if they are at most ``most``.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It has more bytes.
    """
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data

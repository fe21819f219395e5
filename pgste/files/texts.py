# SPDX-License-Identifier: MIT
"""JSON and TOML that others wrote: bounded before they are parsed, so that nothing is exhausted.

`json.loads` and `tomllib.loads` recurse with each bracket and take integers of any length.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "MAX_PARTS", "load_json", "load_toml", "read_bounded"]

MAX_DEPTH = 32
"""Objects and arrays within one another."""
MAX_DIGITS = 100
"""Digits of an integer."""

MAX_PARTS = 32
"""Of a key of TOML with dots in it: tomllib takes minutes for 64 KiB of them."""

_MARKS = re.compile(rb'["\\\[\]{}]')
_TOKENS = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'|#[^\n]*|[ \t]+|[^\s\"'#.,=\[\]{}]+|.",
    re.DOTALL,
)


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


def load_toml(text: bytes) -> dict[str, Any]:
    """What a TOML text in UTF-8 says, bounded as JSON is.

    Parameters
    ----------
    text : bytes
        The text; how long it may be is up to the caller.

    Raises
    ------
    ValueError
        The text is no TOML, is nested deeper than `MAX_DEPTH`, has a key of more than `MAX_PARTS`
        parts or a number of more than `MAX_DIGITS` digits.
    """
    decoded = text.decode("utf-8")
    depth = dots = 0
    for token in _TOKENS.finditer(decoded):
        word = token[0]
        if word in "[{":
            depth += 1
        elif word in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if word == ".":
            dots += 1
        elif word in ",=[]{}\n" or word[0] == "#":
            dots = 0
        if dots >= MAX_PARTS:
            raise ValueError(f"a key of more than {MAX_PARTS} parts")
        if len(word) > MAX_DIGITS and word.lstrip("+-")[0].isdigit():
            raise ValueError(f"a number of {len(word)} digits; {MAX_DIGITS} are the most")
    return tomllib.loads(decoded)

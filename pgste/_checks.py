# SPDX-License-Identifier: MIT
"""Checks of arguments that the binding does not make."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np

from pgste._engine.member import Member
from pgste._engine.names import shown
from pgste._engine.unit import Unit
from pgste.errors import ArgumentError, ArgumentTypeError, UnknownNameError

__all__ = [
    "check_callable",
    "check_flag",
    "count_of",
    "items_of",
    "name_of",
    "name_of_file",
    "names_of",
    "number_of",
    "path_of",
]


def count_of(name: str, value: Any, most: int | None = None, least: int = 1) -> int:
    """An integer in ``least`` .. ``most``, or no less than ``least``."""
    try:
        number = None if isinstance(value, (bool, np.bool_, np.ndarray)) else index(value)
    except TypeError:
        number = None
    if number is None:
        raise ArgumentTypeError(f"{name}: {shown(value)} is not an integer")
    if number < least and most is None:
        raise ArgumentError(f"{name}: {shown(number)} is less than {least}")
    if most is not None and not least <= number <= most:
        raise ArgumentError(f"{name}: {shown(number)} is not in {least} .. {most}")
    return number


def number_of(name: str, value: Any, least: float, most: float, unit: str = "") -> float:
    """A number in ``least`` .. ``most``; what only claims to be one by `__class__` is none."""
    kind = type(value)
    if kind is bool or not issubclass(kind, (int, float)):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a number")
    if not least <= value <= most:
        raise ArgumentError(f"{name}: {shown(value)} is not in {least:g} .. {most:g}{unit}")
    return float(value)


def check_callable(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise ArgumentTypeError(f"{name}: {shown(value)} cannot be called")


def check_flag(name: str, value: object) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a bool")


def name_of_file(name: str, value: object) -> str | bytes:
    """The path that a str or a path-like object is."""
    if isinstance(value, (str, os.PathLike)):
        try:
            return os.fspath(value)
        except TypeError as error:
            raise ArgumentTypeError(f"{name}: {shown(value)} is not a path") from error
    raise ArgumentTypeError(f"{name}: {shown(value)} is not a path")


def path_of(name: str, value: object, method: str) -> str | bytes | None:
    """The path that a value is, or None if it is a file, which has the method."""
    if isinstance(value, (str, os.PathLike)):
        return name_of_file(name, value)
    if isinstance(value, (Member, Unit)) or not callable(getattr(value, method, None)):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a path or a binary file")
    return None


def items_of(
    name: str, value: object, of: type[Any], what: str, most: int = 1 << 24
) -> tuple[Any, ...]:
    """The items of an iterable, all of one type, and no more than ``most``: it may be endless."""
    if isinstance(value, str) and of is str:
        raise ArgumentTypeError(f"{name}: a sequence of {what}, not the string {shown(value)}")
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a sequence of {what}")
    found = []
    try:
        for i, item in enumerate(value):
            if not isinstance(item, of):
                raise ArgumentTypeError(f"{name}[{i}]: {shown(item)} is not a {of.__name__}")
            if i == most:
                raise ArgumentError(f"{name}: more than {most:,} {what}")
            found.append(item)
    except (TypeError, ValueError, NotImplementedError) as error:
        if isinstance(error, (ArgumentError, ArgumentTypeError)):
            raise
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a sequence of {what}") from error
    return tuple(found)


def name_of(name: str, value: object, known: Sequence[str]) -> None:
    """A name that is known; the error lists those that are."""
    if not issubclass(type(value), str):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a name")
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise UnknownNameError(f"{name}: {shown(value)} is not one of {listed}")


def names_of(name: str, value: object, known: tuple[str, ...]) -> tuple[str, ...]:
    """Names, all of them known."""
    names = tuple(str.__str__(item) for item in items_of(name, value, str, "names"))
    for item in names:
        if item not in known:
            raise UnknownNameError(f"{name}: {shown(item)} is not one of {', '.join(known)}")
    return names

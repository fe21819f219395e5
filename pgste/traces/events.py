# SPDX-License-Identifier: MIT
"""Packed events, a word each: checks of them and of their times, and their pages."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pgste._engine.arguments import as_array
from pgste._engine.names import shown
from pgste.errors import ArgumentError, ArgumentTypeError

__all__ = [
    "FREE",
    "LOAD",
    "MAX_ORDER",
    "MAX_PFN",
    "STORE",
    "Words",
    "check_accesses",
    "check_events",
    "check_times",
    "distinct",
    "each_page",
    "integers",
]

Words: TypeAlias = npt.NDArray[np.uint64]

FREE = 1
"""The higher of the two kinds; 0 is an alloc."""
LOAD, STORE = 2, 3
"""The kinds of an access."""
MAX_ORDER = 39
MAX_PFN = 1 << 56
CHECK_EVENTS = 1 << 16


def integers(name: str, values: npt.ArrayLike, highest: int, dtype: Any) -> Words:
    """A new array of dtype, from integers 0 .. highest in one dimension."""
    array = as_array(values, name)
    if array.ndim != 1:
        raise ArgumentTypeError(f"{name}: {array.ndim} dimensions instead of one")
    if array.size == 0:
        return np.empty(0, dtype)
    if array.dtype.kind == "O":  # Python integers beyond 64 bits; anything else is no integer
        try:
            numbers = [operator.index(value) for value in array.tolist()]
        except TypeError as error:
            raise ArgumentTypeError(f"{name}: {error}") from None
        for i, number in enumerate(numbers):
            if not 0 <= number <= highest:
                raise ArgumentError(
                    f"{name}: {shown(number)} at position {i} is not in 0 .. {highest}"
                )
        return np.array(numbers, dtype)
    if array.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name}: dtype {array.dtype} instead of integers")
    wrong = array < 0 if array.dtype.kind == "i" else np.zeros(1, bool)
    if not wrong.any() and highest < np.iinfo(array.dtype).max:
        wrong = array > highest
    if wrong.any():
        i = int(wrong.argmax())
        raise ArgumentError(f"{name}: {array[i]} at position {i} is not in 0 .. {highest}")
    return array.astype(dtype)


def distinct(words: Words) -> Words:
    """Each once, ascending: `np.unique` imports masked arrays, slower than a small comparison."""
    words = np.sort(words)
    kept: Words = words[np.append(True, words[1:] != words[:-1])[: len(words)]]
    return kept


def each_page(
    pfn: Words, order: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The pages of all blocks, and for each the number of its block: both in the blocks' order."""
    counts = np.int64(1) << order.astype(np.int64)
    block = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    within = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(pfn.astype(np.int64), counts) + within, block


def check_events(words: Words) -> None:
    """Kinds, orders and ends of blocks, a piece at a time: maps may exceed memory."""
    for start in range(0, len(words), CHECK_EVENTS):
        part = words[start : start + CHECK_EVENTS]
        order = part >> np.uint64(2) & np.uint64(63)
        for name, value, wrong in (
            ("kind", part & np.uint64(3), part & np.uint64(2) != 0),
            ("order", order, order > MAX_ORDER),
        ):
            if wrong.any():
                i = int(wrong.argmax())
                raise ArgumentError(f"{name}: {value[i]} at position {start + i} is out of range")
        pfn = part >> np.uint64(8)
        wrong = pfn + (np.uint64(1) << order) > MAX_PFN
        if wrong.any():
            i = int(wrong.argmax())
            raise ArgumentError(
                f"pfn: {pfn[i]} at position {start + i}: its block of order {order[i]} "
                "reaches above 2^56"
            )


def check_times(times: Words) -> None:
    for start in range(0, len(times), CHECK_EVENTS):
        part = times[start : start + CHECK_EVENTS + 1]
        wrong = part[1:] < part[:-1]
        if wrong.any():
            i = int(wrong.argmax()) + 1
            raise ArgumentError(f"time: {part[i]} at position {start + i} is before {part[i - 1]}")


def check_accesses(words: Words, places: Words, events: int) -> None:
    """Loads and stores of single pages, and for each how many of the events come before it."""
    if len(words) != len(places):
        raise ArgumentError(f"places: {len(places)} values for {len(words)} accesses")
    for start in range(0, len(words), CHECK_EVENTS):
        part = words[start : start + CHECK_EVENTS]
        wrong = (part & np.uint64(2) == 0) | (part & np.uint64(0xFC) != 0)
        if wrong.any():
            i = int(wrong.argmax())
            raise ArgumentError(
                f"accesses: {part[i]} at position {start + i} is no load or store of one page"
            )
        where = places[start : start + CHECK_EVENTS + 1]
        wrong = where > events
        if wrong.any():
            i = int(wrong.argmax())
            raise ArgumentError(
                f"places: {where[i]} at position {start + i} is more than the {events} events"
            )
        wrong = where[1:] < where[:-1]
        if wrong.any():
            i = int(wrong.argmax()) + 1
            raise ArgumentError(
                f"places: {where[i]} at position {start + i} is before {where[i - 1]}"
            )

# SPDX-License-Identifier: MIT
"""ESSA as others would write it in Python: NumPy on words, NumPy on bytes, Numba.

Written from docs/model.md, section 2 (pgtable), for the orcs 1 and 2; with NumPy for gfns that
are all different.  Benchmarks also hold the engine's answers, states and lists against these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

SET_STABLE, SET_UNUSED = 1, 2
LIST_ENTRIES = 511  # of a vcpu
_INVALID = np.uint64(0x400)
_PROTECT, _PRESENT = np.uint64(0x200), np.uint64(0x001)
_ZERO, _NODAT = np.uint64(1 << 31), np.uint64(1 << 30)
_USAGE, _USAGE_SHIFT = np.uint64(3 << 24), np.uint64(24)
_UNUSED = np.uint64(1 << 24)


def numpy_words(
    pgste: Words, pte: Words, orc: int, gfns: npt.NDArray[np.int64]
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """ESSA on an array of PGSTEs and one of PTEs: result bytes, gfns appended."""
    old = pgste[gfns]
    absent = (pte[gfns] & _INVALID) != 0
    zero = (old & _ZERO) != 0
    results = ((old & _USAGE) >> np.uint64(22)).astype(np.uint8)
    results |= np.where(absent, np.where(zero, 3, 2), 0).astype(np.uint8)
    results |= np.where((old & _NODAT) != 0, 0x20, 0).astype(np.uint8)
    if orc == SET_STABLE:
        pgste[gfns] = old & ~(_USAGE | _NODAT)
        return results, gfns[:0]
    pgste[gfns] = (old & ~_USAGE) | _UNUSED | np.where(absent, _ZERO, np.uint64(0))
    return results, gfns[absent]


def pack(pgste: Words, pte: Words) -> Bytes:
    """State bytes in the engine's layout (src_c/pgste.h); without attribute-dirty."""
    state = ((pgste & _USAGE) >> _USAGE_SHIFT).astype(np.uint8)
    state |= np.where(pgste & _ZERO, 0x04, 0).astype(np.uint8)
    state |= np.where(pgste & _NODAT, 0x08, 0).astype(np.uint8)
    state |= np.where(pgste & np.uint64(1 << 49), 0x10, 0).astype(np.uint8)
    state |= np.where(pte & _INVALID, 0, 0x40).astype(np.uint8)
    swap = (pte & (_PROTECT | _PRESENT)) == _PROTECT
    state |= np.where(swap, 0x80, 0).astype(np.uint8)
    return state


@cache
def byte_table(orc: int) -> tuple[Bytes, Bytes, npt.NDArray[np.bool_]]:
    """For each state byte: new state byte, result byte, appended."""
    state = np.arange(256, dtype=np.uint8)
    absent = (state & 0x40) == 0
    results = (state & 3) << 2 | np.where(absent, np.where(state & 4, 3, 2), 0)
    results |= np.where(state & 8, 0x20, 0)
    append = absent & (orc == SET_UNUSED)
    new = (state & 0xF4) if orc == SET_STABLE else (state & 0xFC) | 1 | np.where(append, 4, 0)
    return new.astype(np.uint8), results.astype(np.uint8), append


def numpy_bytes(
    states: Bytes, orc: int, gfns: npt.NDArray[np.int64]
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The same on the engine's own layout, by table lookups in NumPy."""
    new, results, append = byte_table(orc)
    old = states[gfns]
    states[gfns] = new[old]
    return results[old], gfns[append[old]]


@dataclass(frozen=True)
class Outcome:
    """What ESSA on some gfns leaves behind, a list that is processed whenever it is full apart.

    `words`, `states` and `results` are in the order of the gfns; `states` without any zap.
    """

    gfns: npt.NDArray[np.int64]
    results: Bytes
    words: Words
    states: Bytes
    appended: npt.NDArray[np.int64]

    def left(self, entries: int) -> int:
        """How many of `appended` are on the list of a vcpu in the end, which was empty before.

        A full list is processed before the next ESSA.
        """
        rest = self.appended.size % entries
        filled_last = self.appended.size > 0 and self.appended[-1] == self.gfns[-1]
        return entries if rest == 0 and filled_last else int(rest)

    def after_zaps(self, entries: int) -> Bytes:
        """The states when every entry of a processed list is zapped if it is swapped out."""
        processed = self.appended[: self.appended.size - self.left(entries)]
        zapped = np.isin(self.gfns, processed)
        return np.where(zapped, self.states & 0x7F, self.states).astype(np.uint8)


def outcome(pgste: Words, pte: Words, orc: int, gfns: npt.NDArray[np.int64]) -> Outcome:
    """Of gfns that are all different, from the words of each."""
    new = pgste.copy()
    results, appended = numpy_words(new, pte, orc, np.arange(gfns.size))
    return Outcome(gfns, results, new, pack(new, pte), gfns[appended])


@cache
def numba_words() -> Any:
    """The same on words, compiled by Numba; None if that is not installed."""
    try:
        numba: Any = import_module("numba")
    except ImportError:
        return None

    def essa(
        pgste: Words,
        pte: Words,
        orc: int,
        gfns: npt.NDArray[np.int64],
        results: Bytes,
        appended: npt.NDArray[np.int64],
    ) -> int:
        nr = 0
        for i in range(gfns.size):
            gfn = gfns[i]
            old = pgste[gfn]
            absent = (pte[gfn] & np.uint64(0x400)) != 0
            result = (old >> np.uint64(22)) & np.uint64(12)
            if absent:
                result |= np.uint64(3) if old & np.uint64(1 << 31) else np.uint64(2)
            if old & np.uint64(1 << 30):
                result |= np.uint64(0x20)
            results[i] = result
            if orc == 1:
                pgste[gfn] = old & ~np.uint64(3 << 24 | 1 << 30)
            else:
                new = (old & ~np.uint64(3 << 24)) | np.uint64(1 << 24)
                if absent:
                    new |= np.uint64(1 << 31)
                    appended[nr] = gfn
                    nr += 1
                pgste[gfn] = new
        return nr

    return numba.njit(essa)

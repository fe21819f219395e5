# SPDX-License-Identifier: MIT
"""Gfns of every integer dtype: arrays are read as they are, a hidden copy would show here."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest, Orc

PAGES = 128  # so that a gfn fits into every dtype
NATIVE = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
# What has to be copied: the other byte order, and every second element of an array.
COPIED = ["big-endian int64", "big-endian uint32", "strided int64"]


def as_dtype(gfns: np.ndarray, name: str) -> np.ndarray:
    """The same gfns, as one of the names above has them."""
    dtype = np.dtype(name.rpartition(" ")[2])
    if name.startswith("big-endian"):
        return gfns.astype(dtype.newbyteorder(">"))
    if name.startswith("strided"):
        return np.repeat(gfns.astype(dtype), 2)[::2]
    return gfns.astype(dtype)


def allocated_by(guest: Guest, gfns: np.ndarray) -> int:
    """Most memory that one call had from NumPy at once, beside its result, in bytes."""
    tracemalloc.start()
    try:
        result = guest.essa(Orc.GET_STATE, gfns)
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", NATIVE + COPIED)
def bench_dtype(measure: Measure, dtype: str, short: bool) -> None:
    """ESSA "get state" of 128 pages, over and over; against the same gfns as int64."""
    nr = 1 << (18 if short else 22)
    guest = Guest(PAGES)
    words = workloads.tile("mixed")
    guest.set_words(range(PAGES), pgste=words.pgste[:PAGES], pte=words.pte[:PAGES])
    values = np.random.default_rng(47).integers(0, PAGES, nr)
    gfns = as_dtype(values, dtype)
    expected = guest.essa(Orc.GET_STATE, range(PAGES))[values]
    beside = np.ones(PAGES, np.uint8)
    bare = limits.load()
    copied = allocated_by(guest, gfns)
    if dtype in NATIVE:
        assert copied < 1 << 16
    else:
        assert copied >= gfns.nbytes

    def check(answer: Any) -> None:
        assert np.array_equal(answer, expected)

    measure(
        Plan(
            lambda: guest.essa(Orc.GET_STATE, gfns),
            items=nr,
            pages=PAGES,
            bytes=gfns.nbytes + nr,
            check=check,
            limits={
                "int64": Limit(lambda: guest.essa(Orc.GET_STATE, values), nr),
                "bare update": Limit(lambda: bare.update(beside, values), nr),
                "a copy as int64": Limit(lambda: gfns.astype(np.int64), nr),
            },
            sizes={"memory of a call": copied},
        )
    )

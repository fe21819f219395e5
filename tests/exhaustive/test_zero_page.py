# SPDX-License-Identifier: MIT
"""The shared zero page: every run of a few calls on two pages that have one frame between them.

Engine against reference, whole state at the end of each run; every run's beginnings are runs too.
Random calls with the zero page allowed are in `test_keys_on_a_host.py`,
`tests/differential/test_two_tables.py` and `tests/stateful`.  `PGSTE_DEPTH` is how many calls.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest
from differential.test_two_tables import TwoTables
from reference.two_tables import DatGuest
from stateful.pair import Pair

DEPTH = int(os.environ.get("PGSTE_DEPTH", "3"))


def enable_keys(pair: Pair) -> None:
    engine, model = pair.guests[0]
    enable = model.use_keys if isinstance(model, DatGuest) else model.enable_skey
    pair.both(engine.enable_storage_keys, enable)
    assert engine.uses_storage_keys == model.uses_skeys
    assert engine.allow_cow_sharing == model.allow_cow_sharing


def notify(pair: Pair) -> None:
    if isinstance(pair, TwoTables):
        pair.notifier_unmap(0, range(2), "xchg")
    else:
        engine, model = pair.guests[0]
        engine.age(0)
        model.loading = True
        model.ptep_test_and_clear_young(0)
        model.loading = False


CALLS: tuple[Callable[[Pair], None], ...] = (
    lambda pair: pair.read(0, 0),
    lambda pair: pair.read(0, range(2)),
    lambda pair: pair.write(0, 0, 7),
    lambda pair: pair.free(0, [0], 0, 0),
    lambda pair: pair.alloc(0, [0], 0, 0),
    lambda pair: pair.swap_out(0, range(2)),
    lambda pair: pair.reclaim(1),
    notify,
    enable_keys,
)


@pytest.mark.parametrize("swap_slots", [0, 2])
@pytest.mark.parametrize(
    ("revision", "mechanism"),
    [
        (None, "cmma"), (None, "madv_free"), (None, "madv_dontneed"),
        ("7.0", "cmma"), ("7.2", "cmma"), ("7.2", "madv_free"),
    ],
)  # fmt: skip
def test_every_run(revision: str | None, mechanism: str, swap_slots: int) -> None:
    for depth in range(1, DEPTH + 1):
        for calls in itertools.product(CALLS, repeat=depth):
            pair: Any = Pair(1, swap_slots) if revision is None else TwoTables(1, swap_slots)
            if revision is not None:
                pair.revision = revision
            pair.create(2, mechanism=mechanism, allow_cow_sharing=True)
            for call in calls:
                call(pair)
            pair.check()

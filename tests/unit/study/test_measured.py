# SPDX-License-Identifier: MIT
"""Runs of a real kernel, stored, against what the model predicts (docs/reclaim.md).

The kernel replayed the sample on real memory in a memory cgroup (Linux 6.18.44); the figures are
its own.  `frames` is what the group really had mapped at most.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste.live.replay import Scaled, scale

GOLDEN = Path(__file__).parents[2] / "golden" / "measured" / "sample.json"
CELLS: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cells"]

#: Percent that the model may be off by, of pages written, read and discarded.
GOALS = {"swap_outs": 3.0, "pages_read": 10.0, "lazyfree_discards": 10.0}
#: Cells that are short of the goal: limit, mechanism, flushes; the error that they have.
SHORT = {
    ("swap_outs", 75, "none", 400): 6.0,
    ("swap_outs", 75, "madv_free", 400): 4.5,
    ("swap_outs", 90, "none", 0): 4.0,
    ("swap_outs", 90, "madv_free", 0): 5.0,
}
FEW = 300  # fewer pages than this are those of the program that measured
NAMES = {"swap_outs": "swap_outs", "pages_read": "swap_ins"}


@pytest.fixture(scope="module")
def scaled() -> Scaled:
    return scale(pgste.sample_trace(), 1 << 21)


def predict(scaled: Scaled, cell: dict[str, Any], **settings: Any) -> dict[str, int]:
    host = pgste.Host(cell["frames"], cell["swap_slots"], **settings)
    guest = pgste.Guest(scaled.pages, host=host, mechanism=cell["mechanism"])
    replay = pgste.Replay([guest], scaled.events, scaled.times)
    steps = np.linspace(0, len(scaled.events), 401).astype(int)
    for first, end in itertools.pairwise(steps.tolist()):
        replay.run(end - first)
        if cell["flushes"]:
            host.flush_stats()
    stats = host.stats()
    host.close()
    return stats


def error(stats: dict[str, int], cell: dict[str, Any], figure: str) -> float:
    """Percent off the kernel's median."""
    measured: float = cell[figure]["median"]
    return 100 * (stats[NAMES.get(figure, figure)] / measured - 1)


@pytest.mark.parametrize(
    "cell", CELLS, ids=lambda c: f"{c['limit_percent']}-{c['mechanism']}-{c['flushes']}"
)
def test_lru_holds(scaled: Scaled, cell: dict[str, Any]) -> None:
    stats = predict(scaled, cell, reclaim="lru", fresh_stats=False)
    simple = predict(scaled, cell)
    for figure, goal in GOALS.items():
        if cell[figure]["median"] < FEW:
            assert stats[NAMES.get(figure, figure)] < FEW
            continue
        key = (figure, cell["limit_percent"], cell["mechanism"], cell["flushes"])
        off = error(stats, cell, figure)
        assert abs(off) < SHORT.get(key, goal), f"{figure}: {off:+.1f} %"
        if figure != "lazyfree_discards":
            assert abs(off) <= abs(error(simple, cell, figure))


@pytest.mark.parametrize("limit", [50, 75, 90])
def test_order_of_mechanisms(scaled: Scaled, limit: int) -> None:
    """By pages written; the kernel's own runs keep these apart."""
    cells = [cell for cell in CELLS if cell["limit_percent"] == limit and not cell["flushes"]]
    assert len(cells) == 3
    by_kernel = sorted(cells, key=lambda cell: cell["swap_outs"]["median"])
    for fewer, more in itertools.pairwise(by_kernel):
        assert fewer["swap_outs"]["high"] < more["swap_outs"]["low"]
    predicted = [
        predict(scaled, cell, reclaim="lru", fresh_stats=False)["swap_outs"] for cell in by_kernel
    ]
    assert predicted == sorted(predicted)

# SPDX-License-Identifier: MIT
"""Runs of a real kernel, stored, against what the model predicts: docs/predictions.md.

The kernel replayed traces on real memory in a memory cgroup; the figures are its own.  Traces that
are not here are looked for in the folders that PGSTE_TRACES names (as a path list).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pgste.live.scaled import Scaled

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "docs" / "draw_predictions.py"


def script() -> ModuleType:
    """docs/draw_predictions.py, which makes the page."""
    found = importlib.util.spec_from_file_location("draw_predictions", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


draw = script()
DATA: dict[str, Any] = draw.load()
CELLS: list[dict[str, Any]] = DATA["cells"]
SAMPLE = "mixed"
#: Figures of the sample that are short of the goal: limit, mechanism, flushes; the error they have.
SHORT = {
    ("swap_outs", 75, "none", 400): 6.0,
    ("swap_outs", 75, "madv_free", 400): 4.5,
    # runs of two kinds, by the kernel's timer
    ("swap_outs", 75, "madv_free", 0): 4.5,
    ("swap_outs", 90, "madv_free", 0): 12.0,
}


def of_trace(name: str) -> list[dict[str, Any]]:
    return [cell for cell in CELLS if cell["trace"] == name]


def name_of(cell: dict[str, Any]) -> str:
    return f"{cell['limit']}-{cell['mechanism']}-{cell['flushes']}"


@pytest.fixture(scope="module")
def sample() -> Scaled:
    found = draw.scaled(None)
    assert isinstance(found, Scaled)
    return found


@pytest.mark.parametrize("cell", of_trace(SAMPLE), ids=name_of)
def test_the_sample_is_predicted_as_stored(sample: Scaled, cell: dict[str, Any]) -> None:
    predicted = draw.predict(sample, cell)
    assert predicted == {model: cell[model] for model in draw.MODELS}, f"predict {SAMPLE} again"


@pytest.mark.parametrize("cell", of_trace(SAMPLE), ids=name_of)
def test_lru_holds(cell: dict[str, Any]) -> None:
    for figure, goal in draw.GOALS.items():
        if not draw.compared(cell, figure):
            assert max(cell["lru"][figure]) < draw.FEW
            continue
        key = (figure, cell["limit"], cell["mechanism"], cell["flushes"])
        off = draw.error(cell, figure, "lru")
        assert abs(off) < SHORT.get(key, goal), f"{figure}: {off:+.1f} %"


@pytest.mark.parametrize("limit", [50, 75, 90])
def test_order_of_mechanisms(limit: int) -> None:
    """By pages written; the kernel's own runs keep these apart."""
    cells = [cell for cell in of_trace(SAMPLE) if cell["limit"] == limit and not cell["flushes"]]
    kept = list(draw.pairs(cells))
    assert len(kept) == 3
    assert all(draw.in_order(*pair, "lru") for pair in kept)


@pytest.mark.parametrize("name", [name for name in DATA["traces"] if name != SAMPLE])
def test_other_traces_are_predicted_as_stored(name: str) -> None:
    file = DATA["traces"][name]["file"]
    folders = os.environ.get("PGSTE_TRACES", "").split(os.pathsep)
    path = next((Path(folder, file) for folder in folders if Path(folder, file).is_file()), None)
    if path is None or not folders[0]:
        pytest.skip(f"PGSTE_TRACES names no folder with {file}")
    scaled = draw.scaled(str(path))
    for cell in of_trace(name):
        predicted = draw.predict(scaled, cell)
        assert predicted == {model: cell[model] for model in draw.MODELS}, name_of(cell)


def test_every_cell_is_whole() -> None:
    """Three mechanisms a limit; runs and a prediction of every figure."""
    assert {cell["trace"] for cell in CELLS} == set(DATA["traces"])
    for group in draw.groups(CELLS):
        assert sorted(cell["mechanism"] for cell in group) == sorted(draw.MECHANISMS)
    for cell in CELLS:
        whole = 3 if cell["flushes"] else 5 - cell.get("killed", 0)
        for figure in draw.GOALS:
            assert len(cell[figure]) == whole, name_of(cell)
            assert all(len(cell[model][figure]) for model in draw.MODELS), name_of(cell)


def test_lru_holds_better_than_simple() -> None:
    """On every figure, and for the order: why `compare` reclaims by lru."""
    for figure in draw.GOALS:
        cells = [cell for cell in CELLS if draw.compared(cell, figure)]
        assert len(cells) > 20
        reached = [
            sum(draw.verdict(cell, figure, model) == "goal" for cell in cells)
            for model in draw.MODELS
        ]
        assert reached[0] > reached[1]
    kept = list(draw.pairs(CELLS))
    lru, simple = ([draw.in_order(*pair, model) for pair in kept] for model in draw.MODELS)
    assert sum(lru) >= sum(simple)


def test_the_page_is_what_the_figures_give() -> None:
    if not draw.PAGE.is_file():
        pytest.skip("no documents beside the tests")
    text = draw.PAGE.read_text()
    assert draw.page(text, DATA) == text, "run docs/draw_predictions.py"

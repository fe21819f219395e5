# SPDX-License-Identifier: MIT
"""Makes the tables and the picture of docs/predictions.md from runs of a real kernel.

    python docs/draw_predictions.py                        the page and its picture
    python docs/draw_predictions.py add NAME N FILE        takes in what `pgste live replay TRACE
                                                           --limit N% --runs 5 --json` printed
    python docs/draw_predictions.py predict NAME [TRACE]   what today's model says of these cells

tests/golden/measured/cells.json has the kernel's figures, and what the model predicts.
tests/unit/study/test_measured.py holds the page and the predictions against it.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import pgste
from pgste.live.predicted import predict as live_predict
from pgste.live.predicted import replay_once
from pgste.live.scaled import Scaled, scale
from pgste.live.worker import Run

HERE = Path(__file__).resolve().parent
PAGE = HERE / "predictions.md"
PICTURE = HERE / "predictions.png"
STORED = HERE.parent / "tests" / "golden" / "measured" / "cells.json"

#: Percent that a prediction may be off by, and what the figure is called on the page.
GOALS = {"swap_outs": 3.0, "pages_read": 10.0, "lazyfree_discards": 10.0}
TITLES = {
    "swap_outs": "pages written",
    "pages_read": "pages read",
    "lazyfree_discards": "lazyfree pages discarded",
}
MODELS = ("lru", "simple")
FEW = 300  # fewer pages than this are those of the program that measures
MOST_PAGES = 1 << 21

Cell = dict[str, Any]


def load() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORED.read_text())
    return found


def store(data: dict[str, Any]) -> None:
    """One line a cell: a change of one is a change of one line."""
    head = {key: value for key, value in data.items() if key != "cells"}
    cells = sorted(data["cells"], key=lambda cell: (place(data, cell), cell["mechanism"]))
    lines = ",\n".join("  " + json.dumps(cell) for cell in cells)
    text = json.dumps(head, indent=1)[:-2] + ',\n "cells": [\n' + lines + "\n ]\n}\n"
    STORED.write_text(text)


def place(data: dict[str, Any], cell: Cell) -> tuple[int, int, int]:
    return list(data["traces"]).index(cell["trace"]), cell["flushes"], cell["limit"]


# ---- kernel and model ----


def add(data: dict[str, Any], name: str, measured: dict[str, Any], limit: int) -> None:
    """The cells that a live replay of this trace measured, in place of older ones."""
    for mechanism, one in measured["mechanisms"].items():
        cell: Cell = {
            "trace": name,
            "limit": limit,
            "mechanism": mechanism,
            "flushes": 0,
            "frames": one["frames"],
            "swap_slots": measured["swap_slots"],
            "seconds": round(one["figures"]["elapsed_seconds"]["median"], 2),
        }
        if one["killed"]:
            cell["killed"] = len(one["killed"])
        for figure in GOALS:
            cell[figure] = [int(run) for run in one["figures"][figure]["runs"]]
        old = [old for old in data["cells"] if key(old) == key(cell)]
        cell.update((name, old[0][name]) for name in ("first",) if old and name in old[0])
        data["cells"] = [old for old in data["cells"] if key(old) != key(cell)] + [cell]


def key(cell: Cell) -> tuple[str, int, str, int]:
    return cell["trace"], cell["limit"], cell["mechanism"], cell["flushes"]


def scaled(path: str | None) -> Scaled:
    """The events that were replayed; of the sample by default."""
    trace = pgste.sample_trace() if path is None else pgste.Trace.open(path)
    return scale(trace, MOST_PAGES)


def predict(of: Scaled, cell: Cell) -> dict[str, dict[str, list[int]]]:
    """What the models say of a cell: each figure, of `lru` for each phase of the timer."""

    def once(flushes: tuple[float, ...], reclaim: str) -> Run | None:
        frames, slots = cell["frames"], cell["swap_slots"]
        return replay_once(of, cell["mechanism"], frames, slots, 1, flushes, reclaim)

    if cell["flushes"]:
        moments = tuple((i + 1) / cell["flushes"] for i in range(cell["flushes"]))
        lru = [once(moments, "lru")]
    else:
        frames, slots = cell["frames"], cell["swap_slots"]
        lru = list(live_predict(of, cell["mechanism"], frames, slots, 1, cell["seconds"]))
    runs = {"lru": lru, "simple": [once((), "simple")]}
    return {
        model: {figure: [int(run.values[figure]) for run in each if run] for figure in GOALS}
        for model, each in runs.items()
    }


def predict_all(data: dict[str, Any], name: str, path: str | None) -> None:
    of = scaled(path)
    for cell in data["cells"]:
        if cell["trace"] == name:
            cell.update(predict(of, cell))


# ---- what is said of a cell ----


def compared(cell: Cell, figure: str) -> bool:
    return bool(median(cell[figure]) >= FEW)


def error(cell: Cell, figure: str, model: str) -> float:
    """Percent by which the model is off the kernel's median."""
    return float(100 * (median(cell[model][figure]) / median(cell[figure]) - 1))


def verdict(cell: Cell, figure: str, model: str) -> str:
    """goal; spread: off the goal, but runs of the kernel and of the model overlap; short."""
    if abs(error(cell, figure, model)) <= GOALS[figure]:
        return "goal"
    runs, predicted = cell[figure], cell[model][figure]
    return "spread" if min(runs) <= max(predicted) and min(predicted) <= max(runs) else "short"


def groups(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Cells that differ in nothing but the mechanism."""
    found: dict[tuple[str, int, int], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell["trace"], cell["flushes"], cell["limit"]), []).append(cell)
    yield from found.values()


def pairs(cells: Iterable[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Mechanisms that the kernel's own runs keep apart by pages written: fewer, more."""
    for group in groups(cells):
        for one, other in itertools.permutations(group, 2):
            if max(one["swap_outs"]) < min(other["swap_outs"]):
                yield one, other


def in_order(one: Cell, other: Cell, model: str) -> bool:
    return bool(median(one[model]["swap_outs"]) < median(other[model]["swap_outs"]))


# ---- the page ----


def count_table(data: dict[str, Any]) -> list[str]:
    """How many cells of each figure reach the goal."""
    lines = [
        "| figure | goal | cells | `lru`: reached | in the kernel's spread | short |"
        " `simple`: reached | in the spread | short |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for figure, goal in GOALS.items():
        cells = [cell for cell in data["cells"] if compared(cell, figure)]
        counts = [
            sum(verdict(cell, figure, model) == which for cell in cells)
            for model in MODELS
            for which in ("goal", "spread", "short")
        ]
        row = [TITLES[figure], f"{goal:g} %", len(cells), *counts]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    kept = list(pairs(data["cells"]))
    right = [sum(in_order(*pair, model) for pair in kept) for model in MODELS]
    row = ["order of two mechanisms", "same", len(kept)]
    row += [right[0], "", len(kept) - right[0], right[1], "", len(kept) - right[1]]
    lines.append("| " + " | ".join(map(str, row)) + " |")
    return lines


def again_table(data: dict[str, Any]) -> list[str]:
    """The kernel against itself: an earlier series of runs as the prediction of this one."""
    lines = [
        "| figure | cells | by | within the goal | median distance | largest |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for figure, goal in GOALS.items():
        cells = [cell for cell in data["cells"] if "first" in cell and compared(cell, figure)]
        for model in ("first", "lru", "simple"):
            off = sorted(abs(error(cell, figure, model)) for cell in cells)
            reached = sum(each <= goal for each in off)
            who = "the kernel, minutes before" if model == "first" else f"`{model}`"
            lines.append(
                f"| {TITLES[figure]} | {len(cells)} | {who} | {reached} |"
                f" {median(off):.1f} % | {off[-1]:.1f} % |"
            )
    return lines


def error_table(data: dict[str, Any]) -> list[str]:
    """Median and largest distance, trace by trace."""
    lines = [
        "| trace | " + " | ".join(f"{TITLES[figure]}: `lru` | `simple`" for figure in GOALS) + " |",
        "|---|" + "--:|" * (2 * len(GOALS)),
    ]
    for name in data["traces"]:
        row = [name]
        for figure in GOALS:
            cells = [c for c in data["cells"] if c["trace"] == name and compared(c, figure)]
            for model in MODELS:
                off = sorted(abs(error(cell, figure, model)) for cell in cells)
                row.append(f"{median(off):.1f}, {off[-1]:.1f}" if off else "")
        lines.append("| " + " | ".join(row) + " |")
    return lines


def cell_table(data: dict[str, Any], name: str) -> list[str]:
    """Every cell of a trace, predicted and measured side by side."""
    head = ["limit, %", "mechanism"]
    for figure in ("written", "read", "discarded"):
        head += [figure, "spread, %", "`lru`", "off, %", "`simple`, off, %"]
    lines = ["| " + " | ".join([*head, "short"]) + " |", "|--:|---|" + "--:|" * 15 + "---|"]
    for cell in sorted(
        (cell for cell in data["cells"] if cell["trace"] == name),
        key=lambda cell: (place(data, cell), list(MECHANISMS).index(cell["mechanism"])),
    ):
        flush = ", flushed" if cell["flushes"] else ""
        row = [f"{cell['limit']}{flush}", cell["mechanism"]]
        for figure in GOALS:
            row += figure_cells(cell, figure)
        row.append(", ".join(short_figures(cell)))
        lines.append("| " + " | ".join(row) + " |")
    return lines


MECHANISMS = ("none", "madv_free", "madv_dontneed")


def figure_cells(cell: Cell, figure: str) -> list[str]:
    runs = cell[figure]
    middle = median(runs)
    if figure == "lazyfree_discards" and cell["mechanism"] != "madv_free":
        return [""] * 5
    shown = [f"{middle:,.0f}"]
    predicted = median(cell["lru"][figure])
    if not compared(cell, figure):
        return [*shown, "", f"{predicted:,.0f}", "", ""]
    spread = f"{100 * (max(runs) - min(runs)) / middle:.0f}"
    of_model = max(cell["lru"][figure]) - min(cell["lru"][figure])
    if predicted and of_model >= 0.005 * predicted:
        spread += f" / {100 * of_model / predicted:.0f}"
    off = f"{error(cell, figure, 'lru'):+.1f}"
    if verdict(cell, figure, "lru") == "short":
        off = f"**{off}**"
    shown += [spread, f"{predicted:,.0f}", off]
    return [*shown, f"{error(cell, figure, 'simple'):+.1f}"]


def short_figures(cell: Cell) -> list[str]:
    words = {"swap_outs": "written", "pages_read": "read", "lazyfree_discards": "discarded"}
    return [
        words[figure]
        for figure in GOALS
        if compared(cell, figure) and verdict(cell, figure, "lru") == "short"
    ]


def tables(data: dict[str, Any]) -> dict[str, list[str]]:
    found = {
        "counts": count_table(data),
        "again": again_table(data),
        "errors": error_table(data),
    }
    return found | {name: cell_table(data, name) for name in data["traces"]}


MARK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str, data: dict[str, Any]) -> str:
    """The page with the tables of these data between its marks."""
    found = tables(data)
    missing = set(found) - {match[2] for match in MARK.finditer(text)}
    assert not missing, f"no marks for {missing}"
    return MARK.sub(lambda m: m[1] + "\n".join(found[m[2]]) + "\n" + m[3], text)


# ---- the picture ----

COLOUR = {"none": "#4c78a8", "madv_free": "#e08a2c", "madv_dontneed": "#3a9a5b"}


def draw(data: dict[str, Any], path: Path) -> None:
    """Predicted against measured, a panel a figure: on the diagonal they are the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        "What the model says, and what Linux 6.18 did: on the line they are the same",
        fontsize=13,
    )
    for axes, (name, goal) in zip(figure.subplots(1, 3), GOALS.items(), strict=True):
        cells = [cell for cell in data["cells"] if compared(cell, name)]
        ends = [median(cell[name]) for cell in cells]
        low, high = min(ends) * 0.6, max(ends) * 1.7
        line = np.array([low, high])
        share = goal / 100
        axes.fill_between(line, line * (1 - share), line * (1 + share), color="#bbbbbb", alpha=0.7,
                          linewidth=0, label=f"goal: {goal:g} % off")  # fmt: skip
        axes.plot(line, line, color="#555555", linewidth=0.8)
        for mechanism, colour in COLOUR.items():
            points = [cell for cell in cells if cell["mechanism"] == mechanism]
            x = [median(cell[name]) for cell in points]
            if not x:
                continue
            floor = low * 0.55  # where nothing at all is drawn: a logarithm has no 0
            hollow = [max(median(cell["simple"][name]), floor) for cell in points]
            axes.scatter(x, hollow, s=34, facecolors="none",
                         edgecolors=colour, linewidths=0.9, alpha=0.75)  # fmt: skip
            filled = [max(median(cell["lru"][name]), floor) for cell in points]
            axes.scatter(x, filled, s=26, color=colour,
                         linewidths=0, label=mechanism, zorder=3)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(low * 0.5, high)
        off = {model: median(abs(error(cell, name, model)) for cell in cells) for model in MODELS}
        axes.set_title(
            f"{TITLES[name]}\nmedian distance: {off['lru']:.1f} % lru,"
            f" {off['simple']:.1f} % simple",
            fontsize=11,
        )
        axes.set_xlabel(f"by the kernel, {len(cells)} cells")
        axes.grid(alpha=0.25)
        axes.scatter([], [], s=34, facecolors="none", edgecolors="#555555", label="simple (hollow)")
        axes.legend(loc="upper left", fontsize=9, framealpha=0.9)
    figure.axes[0].set_ylabel("predicted by the model")
    figure.savefig(path, dpi=90, pil_kwargs={"optimize": True})


def main(arguments: list[str]) -> None:
    data = load()
    match arguments:
        case []:
            PAGE.write_text(page(PAGE.read_text(), data))
            draw(data, PICTURE)
        case ["add", name, limit, file]:
            add(data, name, json.loads(Path(file).read_text()), int(limit))
            store(data)
        case ["predict", name, *path]:
            predict_all(data, name, path[0] if path else None)
            store(data)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

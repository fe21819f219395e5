# SPDX-License-Identifier: MIT
"""Draws docs/architecture.png from the tables that the tests hold the code against.

    python docs/draw_architecture.py [FILE.png]

Each room stands above all that it may use; an arrow goes to a room unless another room that it
uses leads there anyway.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from graphlib import TopologicalSorter
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).resolve().parent
RULES = HERE.parent / "tests" / "rules"
FACE = {"src_c": "#e8eef4", "pgste": "#f6efe2"}
#: Where a room stands, from 0 to 10; a room that is not named here stands in the middle.
PLACE = {
    "src_c": {"search": 1.6, "replay": 5, "footprint": 8.4, "mech": 4.2, "guest": 3, "memory": 4.6}
    | {"scan": 1, "host": 3.45, "trace": 5.7, "curve": 7.4, "live": 9.2},
    "pgste": {
        "files": 1.2,
        "kernels": 9,
        "_engine": 5.1,
        "live": 1.5,
        "study": 1.5,
        "traces": 1.2,
        "migration": 3.7,
        "guarantees": 8.4,
        "freepath": 7.2,
    },
}
WIDTH = {
    "memory": 3.6,
    "files": 2.6,
    "kernels": 2,
    "traces": 2.4,
    "study": 3.2,
    "search": 3,
    "replay": 3,
    "footprint": 3.2,
    "scan": 2.1,
    "host": 2.6,
    "trace": 1.6,
    "curve": 1.6,
    "live": 1.8,
    "guarantees": 2.4,
    "freepath": 2.4,
    "migration": 2.4,
}


def allowed(file: str) -> dict[str, set[str]]:
    """The table ALLOWED of a test: room, and the rooms it may use."""
    for node in ast.parse((RULES / file).read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ALLOWED":
            assert isinstance(node.value, ast.Dict)
            return {
                ast.literal_eval(key): words(value)
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if key is not None
            }
    raise LookupError(f"{file} has no table ALLOWED")


def words(value: ast.expr) -> set[str]:
    """A set of names; a string of names; ``set[str]()`` is none."""
    if isinstance(value, ast.Call):
        return set()
    found = ast.literal_eval(value)
    return set(found.split()) if isinstance(found, str) else set(found)


def descriptions(heading: str) -> dict[str, str]:
    """The first words of each room's line in a table of architecture.md."""
    text = (HERE / "architecture.md").read_text().split(f"## {heading}")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `/"): row[1].strip() for row in rows}


def floors(table: dict[str, set[str]]) -> dict[str, int]:
    """The lowest floor on which a room stands above all that it uses."""
    floor: dict[str, int] = {}
    for room in TopologicalSorter(table).static_order():
        floor[room] = 1 + max((floor[used] for used in table[room]), default=-1)
    return floor


def draw(axes: Axes, side: str, table: dict[str, set[str]], told: dict[str, str]) -> None:
    floor = floors(table)
    at = {room: (PLACE[side].get(room, 5.0), floor[room] * 1.5) for room in table}
    for room, (x, y) in at.items():
        wide = WIDTH.get(room, 4.0) if side == "src_c" or room != "live" else 3.2
        axes.add_patch(
            FancyBboxPatch(
                (x - wide / 2, y - 0.42),
                wide,
                0.84,
                boxstyle="round,pad=0.02,rounding_size=0.08",
                facecolor=FACE[side],
                edgecolor="#445566",
                linewidth=0.9,
                zorder=2,
            )
        )
        note = textwrap.fill(told.get(room, "").replace("`", "").rstrip("."), int(wide * 8.2))
        axes.text(x, y + 0.23, room, ha="center", va="center", fontsize=11, weight="bold", zorder=3)
        axes.text(x, y - 0.13, note, ha="center", va="center", fontsize=8, zorder=3)
    for room, used in table.items():
        indirect = {far for near in used for far in reach(table, near)}
        for other in used - indirect:
            (x, y), (to_x, to_y) = at[room], at[other]
            axes.annotate(
                "",
                (to_x, to_y + 0.45),
                (x, y - 0.45),
                arrowprops={"arrowstyle": "-|>", "color": "#667788", "lw": 0.8},
                zorder=1,
            )
    axes.set_xlim(-0.2, 10.2)
    axes.set_ylim(-0.7, 1.5 * max(floor.values()) + 0.8)
    axes.set_axis_off()
    axes.set_title(f"{side}/", loc="left", fontsize=12, weight="bold")


def reach(table: dict[str, set[str]], room: str) -> set[str]:
    return table[room] | {far for near in table[room] for far in reach(table, near)}


def main(path: str) -> None:
    figure = Figure(figsize=(12.5, 8.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    core = allowed("test_includes.py")
    core.pop("pgste")  # the public headers, which all of them use
    draw(left, "src_c", core, descriptions("src_c"))
    python = allowed("test_imports.py")
    names = {"enums", "errors", "units", "moved", "_c", "_checks", "_threads", "__init__"}
    rooms = {room: used - names for room, used in python.items() if room not in names}
    draw(right, "pgste", rooms, descriptions("pgste"))
    figure.savefig(path, dpi=110, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(HERE / "architecture.png"))

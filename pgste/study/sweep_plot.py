# SPDX-License-Identifier: MIT
"""The picture of a sweep: a figure over an axis of numbers, a line for each mechanism."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pgste._engine.names import shown
from pgste.errors import ArgumentError
from pgste.study.figure import Axes, line_style, new_figure, save
from pgste.study.result import ROWS

__all__ = ["sweep_plot"]

_ACROSS = ("host_frames", "guests", "swap_slots")
_TITLES = {"host_frames": "host frames", "guests": "guests", "swap_slots": "swap slots"}


class Swept(Protocol):
    """What is drawn: a `pgste.Sweep` has it."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]: ...
    def varying(self) -> list[str]: ...
    def line(self, record: Mapping[str, Any]) -> str: ...


def sweep_plot(sweep: Swept, path: str | os.PathLike[str], value: str = "swap_outs") -> None:
    """A panel for each setting of the other axes; the median over seeds, and quartiles as a band.

    Points where a cell ran out of memory, or has no such figure, are left out of the line.
    ArgumentError when no axis of numbers has two values, or the figure is not one of the records.
    """
    if not sweep.records or value not in sweep.records[0]:
        raise ArgumentError(f"value: {shown(value)} is not a figure of the records")
    done = [
        record
        for record in sweep.records
        if record["status"] == "done" and record[value] is not None
    ]
    axis = max(_ACROSS, key=lambda name: len(_different(sweep.records, name)))
    if axis == "host_frames" and len(_different(sweep.records, "seed")) > 1:
        # shares of a peak are other frames for each seed
        axis = "guests" if len(_different(sweep.records, "guests")) > 1 else axis
    if len(_different(sweep.records, axis)) < 2:
        raise ArgumentError("plot: no axis of numbers (host memory, guests, swap) has two values")
    varying = [
        name
        for name in sweep.varying()
        if name not in (axis, "seed", "mechanism", "reporting")
        and not (axis == "host_frames" and name == "host_memory")
    ]
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for record in done:
        title = ", ".join(f"{name.replace('_', ' ')} {record[name]}" for name in varying)
        panels.setdefault(title, []).append(record)
    panels = panels or {"no cell has this figure": []}
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = new_figure(max(4.5, 3.6 * columns), 0.9 + 3.0 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    names = list(dict.fromkeys(sweep.line(record) for record in sweep.records))
    for axes, (title, records) in zip(grid, panels.items(), strict=False):
        _draw(axes, [(sweep.line(record), record) for record in records], names, axis, value)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel(_TITLES[axis])
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    labels = {row.key: f"{row.title} ({row.meaning})" for row in ROWS}
    figure.suptitle(labels.get(value, value.replace("_", " ")), x=0.01, ha="left", fontsize=11)
    handles, told = grid[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, told, loc="outside lower left", ncols=5, frameon=False, fontsize=8.5)
    save(figure, path)


def _different(records: Sequence[Mapping[str, Any]], name: str) -> set[Any]:
    return {record[name] for record in records if record[name] is not None}


def _draw(
    axes: Axes,
    records: Sequence[tuple[str, Mapping[str, Any]]],
    names: Sequence[str],
    axis: str,
    value: str,
) -> None:
    for i, name in enumerate(names):
        points: dict[int, list[float]] = {}
        for line, record in records:
            if line == name and record[axis] is not None:
                points.setdefault(record[axis], []).append(record[value])
        at = sorted(points)
        if not at:
            continue
        low, middle, high = (
            [float(np.quantile(points[x], share)) for x in at] for share in (0.25, 0.5, 0.75)
        )
        style = line_style(name, i)
        if any(len(values) > 1 for values in points.values()):
            axes.fill_between(at, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(at, middle, label=name, markersize=4, **style)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    axes.yaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")

# SPDX-License-Identifier: MIT
"""Pictures: host memory and swap over time, and the map of page states."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from pgste.enums import State, Usage
from pgste.study.figure import new_figure, save
from pgste.units import PAGE_BYTES

__all__ = ["MAP_CLASSES", "classify", "plot_comparison", "plot_map"]

# Okabe and Ito's colours, which colour-blind people tell apart; dashes tell lines apart that
# lie on one another.
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MIB_PAGES = (1 << 20) // PAGE_BYTES
_DASHES: tuple[Any, ...] = ("solid", "solid", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)))


class Line(Protocol):
    """What a line shows: a `pgste.study.result.MechanismResult` has it."""

    @property
    def mechanism(self) -> str: ...
    @property
    def seconds(self) -> npt.NDArray[np.float64]: ...
    @property
    def frames_used(self) -> npt.NDArray[np.uint64]: ...
    @property
    def swap_used(self) -> npt.NDArray[np.uint64]: ...


class Lines(Protocol):
    """Lines and what they have in common: a `pgste.Comparison` has it."""

    @property
    def trace(self) -> str: ...
    @property
    def guests(self) -> int: ...
    @property
    def host_frames(self) -> int: ...
    @property
    def host_frames_reason(self) -> str: ...
    @property
    def results(self) -> Sequence[Line]: ...


def plot_comparison(comparison: Lines, path: str | os.PathLike[str]) -> None:
    """Host frames and swap slots in use over trace time, a line for each mechanism.

    ``path`` ends in .png, .svg or .pdf; ValueError otherwise.
    """
    figure = new_figure(9, 6)
    memory, swap = figure.subplots(2, 1, sharex=True)
    for i, result in enumerate(comparison.results):
        style = {
            "color": _COLOURS[i % len(_COLOURS)],
            "linestyle": _DASHES[i % len(_DASHES)],
            "linewidth": 1.6,
            "label": result.mechanism,
        }
        memory.plot(result.seconds, result.frames_used / _MIB_PAGES, **style)
        swap.plot(result.seconds, result.swap_used / _MIB_PAGES, **style)
    limit = comparison.host_frames / _MIB_PAGES
    memory.axhline(limit, color="#888888", linewidth=0.8, linestyle="dotted")
    memory.annotate(
        f"host: {comparison.host_frames:,} frames",
        (1, limit),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#555555",
    )
    memory.set_ylim(0, limit * 1.12)
    swap.set_ylim(bottom=0)
    memory.set_ylabel("host memory in use (MiB)")
    swap.set_ylabel("swap in use (MiB)")
    swap.set_xlabel("trace time (s)")
    for axes in (memory, swap):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    guests = "1 guest" if comparison.guests == 1 else f"{comparison.guests} guests"
    memory.set_title(
        f"{Path(comparison.trace).name}: {guests}, {comparison.host_frames_reason}",
        fontsize=10,
        loc="left",
    )
    figure.legend(
        *memory.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(comparison.results),
        frameon=False,
    )
    save(figure, path)


# What a page of the map can be: name, colour.  Order is the class number.
MAP_CLASSES = (
    ("never used, or given back: nothing mapped", "#f4f4f4"),
    ("in use, resident", "#0072b2"),
    ("in use, on swap", "#56b4e9"),
    ("free, still resident", "#e69f00"),
    ("free, on swap", "#d55e00"),
    ("free, nothing mapped (reads zero)", "#b9dfc5"),
    ("volatile", "#cc79a7"),
)


def classify(
    states: npt.NDArray[np.uint8],
    present: npt.NDArray[np.bool_],
    free: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Class number (index into `MAP_CLASSES`) of each page.

    ``states``: packed state bytes; ``present``: the PTE has PRESENT; ``free``: the guest's
    allocator has the page free.
    """
    swap = (states & State.SWAP) != 0
    volatile = (states & 3) >= Usage.POT_VOLATILE
    classes = np.zeros(states.shape, np.uint8)
    classes[free] = 5
    classes[present & ~free] = 1
    classes[swap & ~free] = 2
    classes[present & free] = 3
    classes[swap & free] = 4
    classes[volatile] = 6
    return classes


def plot_map(
    classes: npt.NDArray[np.uint8], first_pfn: int, title: str, path: str | os.PathLike[str]
) -> None:
    """Draw one pixel a page, row by row from ``first_pfn``; stretches of unused rows are cut.

    ``classes``: what `classify` gave, one for each page in ascending order.
    """
    width = 512
    rows = -(-len(classes) // width)
    padded = np.zeros(rows * width, np.uint8)
    padded[: len(classes)] = classes
    grid = padded.reshape(rows, width)
    used = np.flatnonzero(grid.any(axis=1))
    shown = used if len(used) else np.arange(min(rows, 1))
    image = grid[shown]
    figure = new_figure(9, float(np.clip(2.2 + len(shown) / 90, 3.0, 14.0)))
    axes = figure.subplots()
    colours = ListedColormap([colour for _, colour in MAP_CLASSES])
    axes.imshow(
        image,
        cmap=colours,
        vmin=0,
        vmax=len(MAP_CLASSES) - 1,
        aspect="auto",
        interpolation="nearest",
    )
    ticks = np.unique(np.linspace(0, len(shown) - 1, 8).astype(int))
    axes.set_yticks(ticks, [f"{first_pfn + int(shown[t]) * width:#x}" for t in ticks])
    axes.set_xlabel(f"page within a row of {width} (2 MiB); rows with no page in use are left out")
    axes.set_ylabel("pfn")
    axes.set_title(title, fontsize=10, loc="left")
    counts = np.bincount(classes, minlength=len(MAP_CLASSES))
    handles = [
        Patch(facecolor=colour, edgecolor="#999999", label=f"{name}: {int(counts[i]):,}")
        for i, (name, colour) in enumerate(MAP_CLASSES)
        if counts[i] and i
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save(figure, path)

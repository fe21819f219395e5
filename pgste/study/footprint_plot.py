# SPDX-License-Identifier: MIT
"""Picture of a footprint: what is held over time, and how much of the free memory came back."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgste.study.figure import line_style, new_figure, save
from pgste.units import PAGE_BYTES, format_bytes

if TYPE_CHECKING:  # only the shape of it
    from matplotlib.axes import Axes

__all__ = ["plot_footprint"]

_SMALL = 8.5
_TEXT = "#333333"
_MIB_PAGES = (1 << 20) // PAGE_BYTES
_COLOURS = {
    "none": "#000000", "page": "#0072b2", "reporting": "#cc79a7", "hyperalloc": "#d55e00",
    "balloon": "#009e73", "virtio-mem": "#e69f00", "proactive": "#56b4e9",
}  # fmt: skip
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def plot_footprint(found: Any, path: str | os.PathLike[str]) -> None:
    """Above, a line for each mechanism: what the host holds over time; grey is what is in use.

    Below, the part of the free memory that blocks of each size can give back, for both sizes of
    host pages.  ``path`` ends in .png, .svg or .pdf; ArgumentError otherwise.
    """
    figure = new_figure(8.5, 8)
    above, below = figure.subplots(2, 1, height_ratios=(3, 2))
    _held(above, found)
    _granules(below, found)
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        textwrap.fill(finding(found), 78), fontsize=11, fontweight="bold", x=0.01, ha="left"
    )
    figure.supxlabel(
        textwrap.fill(_below(found), 110), fontsize=_SMALL, color=_TEXT, x=0.01, ha="left"
    )
    save(figure, path)


def _held(axes: Axes, found: Any) -> None:
    gib = max(int(line.held.max()) for line in found.lines) >= 4096 * _MIB_PAGES
    scale, unit = (_MIB_PAGES * 1024, "GiB") if gib else (_MIB_PAGES, "MiB")
    axes.fill_between(found.times, found.used / scale, color="#dddddd", label="in use")
    nr = dict.fromkeys(_COLOURS, 0)
    none = next((line for line in found.lines if line.mechanism == "none"), None)
    for line in found.lines:
        same = none is not None and line is not none and (line.held == none.held).all()
        dashes = _DASHES[nr[line.mechanism] % len(_DASHES)]
        nr[line.mechanism] += 1
        axes.plot(
            found.times,
            line.held / scale if not same else [float("nan")] * len(line.held),
            color=_COLOURS[line.mechanism],
            linestyle=dashes,
            linewidth=3.5 if line is none else 1.5,
            label=f"{line.name}: {'as none' if same else f'{line.part:.0%}'}",
        )
    axes.set_xlim(0, max(float(found.times[-1]), 1e-9))
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"held by the host ({unit})")
    axes.set_xlabel("seconds of the trace")
    axes.legend(
        frameon=False, fontsize=_SMALL, loc="center left", bbox_to_anchor=(1, 0.5),
        title="given back\nof free memory", title_fontsize=_SMALL,
    )  # fmt: skip


def _granules(axes: Axes, found: Any) -> None:
    orders = list(found.granules)
    for i, pages in enumerate(found.granules[orders[0]]):
        parts = [100 * found.granules[order][pages] for order in orders]
        axes.plot(orders, parts, label=f"host pages of {pages}", **line_style(pages, i))
    axes.set_xticks(orders, [format_bytes(PAGE_BYTES << order) for order in orders])
    axes.tick_params(axis="x", labelsize=7.5)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("% of free memory")
    axes.set_xlabel("blocks that come back at once when they are wholly free")
    axes.legend(frameon=False, fontsize=_SMALL)


def finding(found: Any) -> str:
    """What the footprint shows, in a sentence."""
    best: dict[str, float] = {}
    for line in found.lines:
        if line.mechanism != "none":
            best[line.mechanism] = max(line.part, best.get(line.mechanism, line.part))
    if not best:
        return f"In use on average: {format_bytes(found.used_mean * PAGE_BYTES)}"
    ranked = sorted(best.items(), key=lambda one: -one[1])
    return "Given back of the free memory: " + ", ".join(f"{n} {part:.0%}" for n, part in ranked)


def _below(found: Any) -> str:
    free = found.unnamed == "free"
    return (
        f"{Path(found.trace).name}, host pages of {found.host_pages}, placement {found.placement}. "
        f"Pages in no event count as {'free all the time' if free else 'in use, and are left out'}."
    )

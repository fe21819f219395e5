# SPDX-License-Identifier: MIT
"""Picture of a curve: swap traffic and faults over the size of the host."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pgste.study.figure import line_style, new_figure, save
from pgste.units import PAGE_BYTES

if TYPE_CHECKING:  # only the shape of it
    from matplotlib.axes import Axes

__all__ = ["plot_curve"]

_SMALL = 8.5
_TEXT = "#333333"
_MIB_PAGES = (1 << 20) // PAGE_BYTES


def plot_curve(curve: Any, path: str | os.PathLike[str]) -> None:
    """A line for each mechanism: swap traffic above, page faults below, over host memory.

    Dotted: the guests' peak of pages in use.  ``path`` ends in .png, .svg or .pdf; ArgumentError
    otherwise.
    """
    figure = new_figure(8.5, 7.5)
    most = max(len(curve.sizes) // 12, 1)  # sizes from one marker of a line to the next
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    gib = float(curve.sizes[-1]) >= 4096 * _MIB_PAGES
    scale, unit = (_MIB_PAGES * 1024.0, "GiB") if gib else (float(_MIB_PAGES), "MiB")
    at = curve.sizes / scale
    peak = curve.guests * curve.summary["peak_in_use"] / scale
    for axes, name, per in ((above, "swap_traffic", scale), (below, "faults", 1000.0)):
        for i, line in enumerate(curve.lines):
            marks = (i * most // len(curve.lines), most)  # not on one another
            _draw(axes, at, getattr(line, name) / per, line.mechanism, marks)
        axes.axvline(peak, color="black", linewidth=0.8, linestyle="dotted")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, at[-1])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    above.set_ylabel(f"written to and read from swap ({unit})")
    below.set_ylabel("page faults (thousands)")
    below.set_xlabel(f"host memory ({unit})")
    above.legend(frameon=False, fontsize=_SMALL)
    above.text(
        peak, 0.98, " most that is in use at once", transform=above.get_xaxis_transform(),
        fontsize=_SMALL, color=_TEXT, va="top",
    )  # fmt: skip
    title = textwrap.fill(curve.finding(), 78)
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(
        textwrap.fill(_below(curve), 110), fontsize=_SMALL, color=_TEXT, x=0.01, ha="left"
    )
    save(figure, path)


def _draw(
    axes: Axes,
    at: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    name: str,
    marks: tuple[int, int],
) -> None:
    axes.plot(
        at,
        values,
        markevery=marks,
        markersize=4.5,
        linewidth=1.8,
        label=name,
        **line_style(name, 0),
    )


def _below(curve: Any) -> str:
    guests = "1 guest" if curve.guests == 1 else f"{curve.guests} guests"
    return f"{Path(curve.trace).name}, {guests}.  {curve.error_text()}."

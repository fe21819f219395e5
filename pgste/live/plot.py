# SPDX-License-Identifier: MIT
"""Picture of a replay on real memory, with the model's prediction beside it."""

from __future__ import annotations

import os
from pathlib import Path

from pgste.live.replay import PAGE_BYTES, LiveReplay
from pgste.study.figure import new_figure, save

__all__ = ["plot_live_replay"]

_MIB_PAGES = (1 << 20) / PAGE_BYTES
_KERNEL, _MODEL = "#0072b2", "#d55e00"


def plot_live_replay(result: LiveReplay, path: str | os.PathLike[str]) -> None:
    """Memory and swap over the events: a column for each mechanism, kernel and model as lines.

    ``path`` ends in .png, .svg or .pdf; ArgumentError otherwise.  MissingPackageError without
    matplotlib.
    """
    names = list(result.kernel)
    figure = new_figure(4 + 3 * len(names), 6)
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    limit = result.limit_pages / _MIB_PAGES
    for column, name in enumerate(names):
        memory, swap = grid[0][column], grid[1][column]
        for run, colour, dashes, label in (
            (result.kernel[name], _KERNEL, "solid", "kernel"),
            (result.model[name], _MODEL, (0, (5, 2)), "model"),
        ):
            style = {"color": colour, "linestyle": dashes, "linewidth": 1.5, "label": label}
            percent = run.position * 100
            memory.plot(percent, run.resident / _MIB_PAGES, **style)
            swap.plot(percent, run.swapped / _MIB_PAGES, **style)
        memory.axhline(limit, color="#888888", linewidth=0.8, linestyle="dotted")
        memory.set_title(name, fontsize=10, loc="left")
        swap.set_xlabel("events replayed (%)")
        for axes in (memory, swap):
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylim(bottom=0)
    grid[1][0].set_ylim(bottom=0)
    grid[0][0].set_ylabel("in memory (MiB)")
    grid[1][0].set_ylabel("in swap (MiB)")
    figure.suptitle(
        f"{Path(result.trace).name}: real memory under a limit of {limit:.0f} MiB (dotted), "
        "and the model with as many frames",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    figure.legend(
        *grid[0][0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    save(figure, path)

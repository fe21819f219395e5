# SPDX-License-Identifier: MIT
"""Picture of a replay on real memory, with the model's prediction beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pgste.live.replay import PAGE_BYTES, LiveReplay
from pgste.study.figure import new_figure, save

__all__ = ["plot_live_replay"]

_MIB_PAGES = (1 << 20) / PAGE_BYTES
_KERNEL, _MODEL = "#0072b2", "#d55e00"


def plot_live_replay(result: LiveReplay, path: str | os.PathLike[str]) -> None:
    """Memory and swap over the events: a column for each mechanism, a line for each run.

    ``path`` ends in .png, .svg or .pdf; ArgumentError otherwise.  MissingPackageError without
    matplotlib.
    """
    names = list(result.mechanisms)
    figure = new_figure(4 + 3 * len(names), 6)
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    limit = result.limit_pages / _MIB_PAGES
    for column, name in enumerate(names):
        memory, swap = grid[0][column], grid[1][column]
        one = result.mechanisms[name]
        kernel = 1.5 if len(one.runs) == 1 else 0.8
        model = one.model
        for run in (*one.runs, *([model] if model else [])):
            style: dict[str, Any] = {"color": _KERNEL, "linewidth": kernel}
            if run is model:
                style = {"color": _MODEL, "linewidth": 1.5, "linestyle": (0, (5, 2))}
            if run is model or run is one.runs[0]:
                style["label"] = "model" if run is model else "kernel"
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
        "and the model with the frames that were held",
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

# SPDX-License-Identifier: MIT
"""The chart of a result: the numbers to reach, and time a page over the size of the guest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result

Lines = dict[str, dict[int, float]]

PANELS: dict[str, dict[str, str]] = {
    "Whole tables and ranges": {
        "plain read": "limit",
        "zap scan": "own",
        "count states": "own",
        "dirty search": "own",
        "ESSA range, resident": "own",
        "memset of states and results": "limit",
    },
    "Random pages": {
        "bare update": "limit",
        "ESSA random, resident": "own",
        "ESSA random, absent": "own",
        "two words": "peer",
        "two words, prefetch": "peer",
        "NumPy, bytes": "peer",
        "NumPy, two words": "peer",
        "Numba, two words": "peer",
    },
}
STYLES: dict[str, dict[str, Any]] = {
    "own": {"linewidth": 2.2, "marker": "o", "markersize": 5},
    "limit": {"linewidth": 1.6, "linestyle": (0, (5, 2))},
    "peer": {"linewidth": 1.3, "marker": "s", "markersize": 3.5},
}
COLOURS = {
    "plain read": "#111111",
    "bare update": "#111111",
    "zap scan": "#0072b2",
    "count states": "#009e73",
    "dirty search": "#56b4e9",
    "ESSA range, resident": "#d55e00",
    "ESSA random, resident": "#0072b2",
    "ESSA random, absent": "#d55e00",
    "two words": "#8c6d31",
    "two words, prefetch": "#c9a227",
    "NumPy, bytes": "#cc79a7",
    "NumPy, two words": "#882255",
    "Numba, two words": "#888888",
    "memset of states and results": "#777777",
}


def chart_lines(results: Sequence[Result]) -> Lines:
    """Time a page in ns by number of pages, for every series and every limit beside one."""
    lines: Lines = {}
    for result in results:
        info = result.info
        if not info.get("series"):
            continue
        lines.setdefault(info["series"], {})[info["pages"]] = info["ns"]
        for name, own in info["limits"].items():
            lines.setdefault(name, {}).setdefault(info["pages"], own["ns"])
    return lines


def spread_labels(heights: Sequence[float], least: float) -> list[float]:
    """Heights moved as little as it takes for neighbours to be `least` apart."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    places = [heights[i] for i in order]
    for _ in range(100):
        for i in range(len(places) - 1):
            overlap = least - (places[i + 1] - places[i])
            if overlap > 1e-9:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
    moved = [0.0] * len(heights)
    for i, place in zip(order, places, strict=True):
        moved[i] = place
    return moved


def draw(results: Sequence[Result], path: Path, caption: str) -> None:
    """The chart: time a page over the size of the guest, with the limits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = chart_lines(results)
    figure, panels = pyplot.subplots(1, len(PANELS), figsize=(13, 5.4))
    for axes, (title, kinds) in zip(panels, PANELS.items(), strict=True):
        draw_panel(axes, title, {name: lines[name] for name in kinds if name in lines}, kinds)
    figure.suptitle("Time a page over the size of the guest", fontsize=14, x=0.02, ha="left")
    figure.text(0.02, 0.015, caption.replace("`", ""), fontsize=7.5, color="#555555")
    figure.tight_layout(rect=(0, 0.035, 1, 0.99), w_pad=2)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def draw_panel(axes: Any, title: str, lines: Lines, kinds: Mapping[str, str]) -> None:
    """One panel; each line has its name at its right end."""
    import math

    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("pages of the guest (4 KiB each)")
    axes.set_ylabel("ns a page")
    axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
    axes.grid(True, which="minor", axis="y", color="#eeeeee", linewidth=0.5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not lines:
        axes.text(0.5, 0.5, "not in this result", transform=axes.transAxes, ha="center")
        return
    ends = {}
    for name, points in lines.items():
        sizes = sorted(points)
        style = {"color": COLOURS.get(name), **STYLES[kinds[name]]}
        (line,) = axes.plot(sizes, [points[size] for size in sizes], **style)
        ends[name] = (sizes[-1], points[sizes[-1]], line.get_color())
    right = max(size for size, _, _ in ends.values())
    left = min(min(points) for points in lines.values())
    axes.set_xlim(left / 1.3, right * (right / left) ** 0.45 * 2)
    axes.set_xticks(sorted({size for points in lines.values() for size in points}))
    bottom, top = (math.log10(limit) for limit in axes.get_ylim())
    heights = [math.log10(height) for _, height, _ in ends.values()]
    places = spread_labels(heights, (top - bottom) / 22)
    for (name, (size, height, colour)), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            name,
            (size, height),
            xytext=(right * (right / left) ** 0.06, 10**place),
            color=colour,
            fontsize=8.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 3},
        )

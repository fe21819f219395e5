# SPDX-License-Identifier: MIT
"""The chart of a result: the numbers to reach, and time a page over the size of the guest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import Result, bar_text, by_topic, with_unit


@dataclass(frozen=True)
class Margin:
    """A number to reach: its row, quartiles as multiples of the bar, and both as text."""

    row: str
    reached: Sequence[float]
    shown: str
    passes: bool


LEAST, MOST = 0.4, 10.0  # of a bar; what lies beyond is drawn there
LEFT = -1.36  # where the rows' names start, in widths of the panel

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


def margins(results: Sequence[Result]) -> list[tuple[str, list[Margin]]]:
    """The numbers to reach by topic: how far each was reached, 1 is the bar and more is better."""
    found = []
    for title, members in by_topic(results).items():
        rows = []
        for bar in (bar for result in members for bar in result.info["bars"]):
            low, median, high = bar["measured"]
            if bar["at_least"] is not None:
                reached = [value / bar["at_least"] for value in (low, median, high)]
            else:  # a size may be 0
                reached = [bar["at_most"] / max(value, 1e-9) for value in (high, median, low)]
            shown = f"{with_unit(median, bar['unit'])}, {bar_text(bar)}"
            rows.append(Margin(bar["row"], reached, shown, bar["pass"]))
        if rows:
            found.append((title, rows))
    return found


def draw(results: Sequence[Result], path: Path, caption: str) -> None:
    """The chart: numbers to reach on top; below, time a page over the size of the guest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    topics = margins(results)
    rows = sum(len(members) + 1 for _, members in topics)
    tall = 0.21 * rows + 1.0 if rows else 0.0
    figure = pyplot.figure(figsize=(13, tall + 6))
    lower: Any = figure
    if rows:
        parts: Any = figure.subfigures(2, 1, height_ratios=[tall, 6])
        upper, lower = parts
        draw_margins(upper, topics)
    panels = lower.subplots(1, len(PANELS))
    lines = chart_lines(results)
    for axes, (title, kinds) in zip(panels, PANELS.items(), strict=True):
        draw_panel(axes, title, {name: lines[name] for name in kinds if name in lines}, kinds)
    lower.suptitle("Time a page over the size of the guest", fontsize=14, x=0.02, ha="left")
    lower.subplots_adjust(left=0.07, right=0.985, top=0.87, bottom=0.13, wspace=0.16)
    lower.text(0.02, 0.02, caption.replace("`", ""), fontsize=7.5, color="#555555")
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def draw_margins(figure: Any, topics: Sequence[tuple[str, Sequence[Margin]]]) -> None:
    """A line for each number to reach: median, quartiles, and what was asked for."""
    axes = figure.subplots()
    bars = [each for _, rows in topics for each in rows]
    reached = sum(each.passes for each in bars)
    figure.suptitle(
        f"Numbers to reach: {reached} of {len(bars)} reached", fontsize=14, x=0.02, ha="left"
    )
    place = 0
    for title, rows in topics:
        axes.text(
            LEFT, place, title, transform=axes.get_yaxis_transform(), va="center", weight="bold"
        )
        for each in rows:
            place += 1
            colour = "#009e73" if each.passes else "#d55e00"
            low, median, high = (min(max(value, LEAST), MOST) for value in each.reached)
            axes.plot([1, median], [place, place], color=colour, linewidth=1.2, alpha=0.45)
            axes.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.45)
            beyond = each.reached[1] > MOST
            axes.plot(median, place, ">" if beyond else "o", color=colour, markersize=5)
            for x, text, align in ((LEFT + 0.015, each.row, "left"), (1.01, each.shown, "left")):
                axes.text(
                    x, place, text, transform=axes.get_yaxis_transform(), va="center", ha=align,
                    fontsize=8.5, color="#222222" if each.passes else colour,
                )  # fmt: skip
        place += 1
    axes.axvline(1, color="#111111", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(LEAST * 0.95, MOST * 1.1)
    axes.set_ylim(place - 0.5, -0.7)
    axes.set_yticks([])
    axes.set_xticks([0.5, 1, 2, 4, 8], ["half", "bar", "2 times", "4 times", "8 times"])
    axes.minorticks_off()
    axes.grid(True, axis="x", color="#dddddd", linewidth=0.7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    height = (
        figure.get_figure().get_size_inches()[1] * figure.bbox.height / figure.figure.bbox.height
    )
    figure.subplots_adjust(left=0.455, right=0.78, top=1 - 0.5 / height, bottom=0.3 / height)


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

# SPDX-License-Identifier: MIT
"""Turns a result of the benchmark suite into a Markdown table and a chart, or compares two.

``pytest benchmarks --benchmark-json=RESULT.json`` makes a result;
``python benchmarks/report.py RESULT.json`` prints the table and draws RESULT.png;
``python benchmarks/report.py OLD.json NEW.json`` tells what got slower or faster.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A change smaller than this is none, however narrow the quartiles are.
NOISE = 0.05
PREFIXES = {1e9: "G", 1e6: "M", 1e3: "k"}


class ReportError(Exception):
    """A file that is no result of this suite."""


@dataclass(frozen=True)
class Result:
    """One benchmark: its name, and what `harness.Measure` found (see there for the keys)."""

    name: str
    info: Mapping[str, Any]

    @property
    def basis(self) -> str | None:
        """The limit that a comparison of two runs is made by, if there is one."""
        return next(iter(self.info["limits"]), None)


def load(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """The whole file, and its benchmarks; ReportError says what is wrong with it."""
    try:
        data = json.loads(path.read_text())
        results = [Result(each["name"], each["extra_info"]) for each in data["benchmarks"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ReportError(f"{path}: not a result of pytest-benchmark: {error}") from error
    for result in results:
        missing = {"ns", "ns_iqr", "limits", "bars", "unit"} - set(result.info)
        if missing:
            raise ReportError(f"{path}: {result.name} has no {', '.join(sorted(missing))}")
    if not results:
        raise ReportError(f"{path}: no benchmarks in it")
    return data, results


# ---- numbers as text --------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits: 0.0251, 1.25, 43.1 M."""
    for size, prefix in PREFIXES.items():
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"


def with_unit(value: float, unit: str) -> str:
    """A number as a bar has it: "1.07 x", "43.1 M events/s"."""
    text = number(value)
    return f"{text}{'' if text[-1:].isalpha() else ' '}{unit}"


def bar_text(bar: Mapping[str, Any]) -> str:
    """What a bar asks for."""
    if bar["at_least"] is not None:
        return f"at least {with_unit(bar['at_least'], bar['unit'])}"
    return f"at most {with_unit(bar['at_most'], bar['unit'])}"


def verdict(bar: Mapping[str, Any]) -> str:
    """Pass, or by how much a bar was missed."""
    if bar["pass"]:
        return "pass"
    median = bar["measured"][1]
    if bar["at_least"] is not None:
        return f"**short** by {1 - median / bar['at_least']:.0%}"
    return f"**short** by {median / bar['at_most'] - 1:.0%}"


# ---- tables -----------------------------------------------------------------------------


def markdown(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return lines


def facts(data: Mapping[str, Any], results: Sequence[Result]) -> list[str]:
    """On what, from what and when."""
    info = results[0].info
    commit = data.get("commit_info") or {}
    dirty = " with changes" if commit.get("dirty") else ""
    return [
        f"{info.get('machine')}; CPU variant `{info.get('isa')}`; {info.get('compiler')},"
        f" `{str(info.get('flags')).strip()}`; Python {info.get('python')};"
        f" commit {str(commit.get('id'))[:10]}{dirty}; {str(data.get('datetime'))[:16]}"
    ]


def bars_table(results: Sequence[Result]) -> list[str]:
    """The numbers to reach: bar, measured, verdict."""
    rows = []
    for result in results:
        for bar in result.info["bars"]:
            low, median, high = bar["measured"]
            shown = with_unit(median, bar["unit"])
            if low != high:
                shown += f" ({number(low)} to {number(high)})"
            rows.append((bar["row"], bar_text(bar), shown, verdict(bar)))
    return markdown(rows, ("what", "bar", "measured: median (quartiles)", ""))


def all_table(results: Sequence[Result]) -> list[str]:
    """Every benchmark with every limit that it was held against."""
    rows = []
    for result in results:
        info = result.info
        low, high = info["ns_iqr"]
        against = "; ".join(
            f"{number(own['speed'][1])} of {name}" for name, own in info["limits"].items()
        )
        rate = with_unit(1e9 / info["ns"], f"{info['unit']}s/s")
        article = "an" if info["unit"][0] in "aeiou" else "a"
        time = f"{number(info['ns'])} ns ({number(low)} to {number(high)})"
        rows.append((f"`{result.name}`", f"{time} {article} {info['unit']}", rate, against))
    return markdown(rows, ("benchmark", "median (quartiles)", "rate", "speed, as a share"))


def report(data: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The whole report as Markdown."""
    bars = [bar for result in results for bar in result.info["bars"]]
    reached = sum(bar["pass"] for bar in bars)
    lines = facts(data, results)
    if bars:
        lines += ["", f"{reached} of {len(bars)} numbers reached.", "", *bars_table(results)]
    lines += ["", "<details><summary>All benchmarks</summary>", "", *all_table(results)]
    lines += ["", "</details>"]
    return "\n".join(lines)


# ---- two results ------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """How a benchmark changed: `ratio` above 1 is slower; `beyond` noise, or within it."""

    name: str
    ratio: float
    beyond: bool
    basis: str


def time_of(result: Result, basis: str | None) -> list[float]:
    """Quartiles of the time of an item, in times of a limit's if there is one, else in ns."""
    if basis is None:
        low, high = result.info["ns_iqr"]
        return [low, result.info["ns"], high]
    return [1 / speed for speed in reversed(result.info["limits"][basis]["speed"])]


def changes(old: Sequence[Result], new: Sequence[Result]) -> list[Change]:
    """Every benchmark that is in both, what got slower most first.

    Times are taken as multiples of the first limit's, which saw the same machine.  Beyond
    noise is a change of the median by more than NOISE whose quartiles do not overlap.
    """
    before = {result.name: result for result in old}
    found = []
    for result in new:
        if result.name not in before:
            continue
        was = before[result.name]
        basis = result.basis if result.basis in was.info["limits"] else None
        low, median, high = time_of(result, basis)
        old_low, old_median, old_high = time_of(was, basis)
        apart = low > old_high or high < old_low
        ratio = median / old_median
        beyond = apart and not 1 - NOISE <= ratio <= 1 + NOISE
        found.append(Change(result.name, ratio, beyond, basis or "time"))
    return sorted(found, key=lambda change: -change.ratio)


def comparison(old: Sequence[Result], new: Sequence[Result]) -> str:
    """What got slower and faster beyond noise, as Markdown."""
    all_changes = changes(old, new)
    beyond = [change for change in all_changes if change.beyond]
    slower = [change for change in beyond if change.ratio > 1]
    names = {result.name for result in old} ^ {result.name for result in new}
    lines = [
        f"{len(all_changes)} benchmarks in both: {len(slower)} slower,"
        f" {len(beyond) - len(slower)} faster, the others within noise"
        f" (quartiles overlap, or less than {NOISE:.0%})."
    ]
    if names:
        lines.append(f"In one of the two only: {', '.join(sorted(names))}.")
    if beyond:
        rows = [
            (
                f"`{change.name}`",
                "slower" if change.ratio > 1 else "faster",
                f"{change.ratio:.2f}",
                change.basis,
            )
            for change in beyond
        ]
        lines += ["", *markdown(rows, ("benchmark", "", "time, new / old", "measured against"))]
    return "\n".join(lines)


# ---- chart ------------------------------------------------------------------------------

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


# ---- command line -----------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of one result, or the comparison of two: 0, or 1 if that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    parser.add_argument("--chart", type=Path, help="picture to write (.png, .svg, .pdf)")
    options = parser.parse_args(arguments)
    if len(options.results) > 2:
        parser.error("one result, or two to compare")
    try:
        data, results = load(options.results[-1])
        if len(options.results) == 2:
            print(comparison(load(options.results[0])[1], results))
        else:
            print(report(data, results))
            chart = options.chart or options.results[0].with_suffix(".png")
            draw(results, chart, facts(data, results)[0])
    except (ReportError, OSError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

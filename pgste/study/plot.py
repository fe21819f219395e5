# SPDX-License-Identifier: MIT
"""Pictures: host memory and swap over time, and the map of page states."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pgste.enums import State, Usage
from pgste.study.figure import Axes, ListedColormap, Patch, new_figure, rc_context, save
from pgste.units import PAGE_BYTES, format_bytes

__all__ = ["MAP_CLASSES", "classify", "finding", "plot_comparison", "plot_map"]

_MIB_PAGES = (1 << 20) // PAGE_BYTES
# Told apart by lightness and pattern too, so that the picture survives a black-and-white printer.
_USED, _KEPT, _TEXT = "#a8c5da", "#c05000", "#333333"
_ENDED = "#b00020"
_SMALL = 8.5


class Ended(Protocol):
    """Where a replay ended: a `pgste.study.result.OutOfMemory` has it."""

    @property
    def seconds(self) -> float: ...


class Held(Protocol):
    """What a panel shows: a `pgste.study.result.MechanismResult` has it."""

    @property
    def mechanism(self) -> str: ...
    @property
    def values(self) -> Mapping[str, float]: ...
    @property
    def seconds(self) -> npt.NDArray[np.float64]: ...
    @property
    def pages_in_use(self) -> npt.NDArray[np.uint64]: ...
    @property
    def frames_used(self) -> npt.NDArray[np.uint64]: ...
    @property
    def swap_used(self) -> npt.NDArray[np.uint64]: ...
    @property
    def out_of_memory(self) -> Ended | None: ...


class Panels(Protocol):
    """Panels and what they have in common: a `pgste.Comparison` has it."""

    @property
    def trace(self) -> str: ...
    @property
    def guests(self) -> int: ...
    @property
    def host_frames(self) -> int: ...
    @property
    def host_frames_reason(self) -> str: ...
    @property
    def results(self) -> Sequence[Held]: ...


def plot_comparison(comparison: Panels, path: str | os.PathLike[str]) -> None:
    """What each mechanism holds beside what the guests use, a panel each; and swap traffic.

    In a panel: the pages that the guests use, filled; host memory, solid; host memory and swap
    together, dashed.  What lies between the filled area and the dashed line is content that is
    kept although its page is free.  (A page in the swap cache has a frame and a slot, so it
    counts twice.)  The last panel has the pages written to swap and read back.
    ``path`` ends in .png, .svg or .pdf; ValueError otherwise.
    """
    results = comparison.results
    columns = 2 if len(results) in (1, 3) else 3
    rows = -(-(len(results) + 1) // columns)
    figure = new_figure(3 * columns, 0.9 + 2.35 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    top = max(float(np.maximum(_held(r), r.pages_in_use).max()) for r in results)
    top = max(top, float(comparison.host_frames), 1.0)
    last = max(float(result.seconds[-1]) for result in results)
    scale, unit = _unit(top)
    for number, (axes, result) in enumerate(zip(grid, results, strict=False)):
        _draw_held(axes, comparison, result, scale)
        axes.set_ylim(0, top / scale * 1.12)
        axes.set_xlim(0, last or 1.0)
        if number % columns == 0:
            axes.set_ylabel(unit)
        else:
            axes.tick_params(labelleft=False)
        if number + columns >= len(results):
            axes.set_xlabel("trace time (s)")
    whole = [n for n, result in enumerate(results) if not result.out_of_memory]
    clearest = max(whole or range(len(results)), key=lambda n: _kept(results[n]))
    _label_areas(grid[clearest], results[clearest], scale)
    _draw_traffic(grid[len(results)], comparison)
    for axes in grid[len(results) + 1 :]:
        axes.set_visible(False)
    title = textwrap.fill(finding(comparison), 29 * columns)
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    setting = textwrap.fill(_setting(comparison), 45 * columns)
    figure.supxlabel(setting, fontsize=_SMALL, color=_TEXT, x=0.01, ha="left")
    save(figure, path)


def _unit(pages: float) -> tuple[float, str]:
    """Pages in one unit of an axis that reaches so far, and the unit's name."""
    return (_MIB_PAGES * 1024.0, "GiB") if pages >= 4096 * _MIB_PAGES else (_MIB_PAGES, "MiB")


def _mean(result: Held, pages: npt.NDArray[np.float64]) -> float:
    """Mean over trace time of what was sampled; each sample holds until the next."""
    spans = np.diff(result.seconds)
    if not spans.sum():
        return float(pages[-1])
    return float((pages[:-1] * spans).sum() / spans.sum())


def _held(result: Held) -> npt.NDArray[np.float64]:
    """Host frames and swap slots in use, together."""
    return result.frames_used.astype(np.float64) + result.swap_used


def _kept(result: Held) -> float:
    """Mean of what is held and not in use, in pages."""
    return max(_mean(result, _held(result) - result.pages_in_use), 0.0)


def _draw_held(axes: Axes, comparison: Panels, result: Held, scale: float) -> None:
    """One mechanism: what the guests use, and what is held for them."""
    at = result.seconds
    used, held = result.pages_in_use / scale, _held(result) / scale
    axes.fill_between(at, used, color=_USED, linewidth=0)
    with rc_context({"hatch.linewidth": 0.7}):
        axes.fill_between(
            at, used, np.maximum(held, used), facecolor="none", edgecolor=_KEPT, hatch="///", lw=0
        )
    axes.plot(at, held, color="black", linewidth=1.0, linestyle=(0, (4, 1.5)))
    axes.plot(at, result.frames_used / scale, color="black", linewidth=1.8)
    axes.axhline(comparison.host_frames / scale, color="black", linewidth=0.7, linestyle="dotted")
    axes.margins(x=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_SMALL)
    axes.set_title(result.mechanism, fontsize=10, fontweight="bold", loc="left", pad=16)
    below = f"free but kept: {format_bytes(_kept(result) * PAGE_BYTES)} on average"
    if result.out_of_memory:
        axes.axvline(result.out_of_memory.seconds, color=_ENDED, linewidth=1.8)
        below = str(result.out_of_memory)
    colour = _ENDED if result.out_of_memory else _TEXT
    axes.text(0, 1.03, below, transform=axes.transAxes, fontsize=_SMALL, color=colour)


def _label_areas(axes: Axes, result: Held, scale: float) -> None:
    """Name the areas and lines of one panel, where there is room."""
    at = result.seconds
    used, held, memory = result.pages_in_use / scale, _held(result) / scale, result.frames_used
    line_height = axes.get_ylim()[1] * 0.09
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": _SMALL}

    def label(text: str, share: float, low: Any, high: Any) -> None:
        x = float(at[0] + share * (at[-1] - at[0]))
        ends = float(np.interp(x, at, low)), float(np.interp(x, at, high))
        if low is high or ends[1] - ends[0] > line_height * 1.5:
            on_plain = low is not high and high is used
            axes.text(x, sum(ends) / 2, text, bbox=None if on_plain else box, **style)

    frames = memory / scale
    label("in use", _highest(at, used), np.zeros_like(used), used)
    label("host memory", 0.7, frames, frames)
    if float(np.interp(at[0] + 0.7 * (at[-1] - at[0]), at, held - frames)) > line_height * 1.5:
        label("free but kept", 0.7, np.maximum(used, frames), held)
        label("memory + swap", 0.7, held, held)
    else:
        label("free but kept", 0.7, used, frames)


def _highest(seconds: npt.NDArray[np.float64], heights: npt.NDArray[np.float64]) -> float:
    """Share of the axis around which ``heights`` stays highest; a label fills a quarter."""
    shares = (seconds - seconds[0]) / max(float(seconds[-1] - seconds[0]), 1e-9)
    middles = np.linspace(0.15, 0.85, 29)
    room = [float(heights[np.abs(shares - m) <= 0.12].min(initial=np.inf)) for m in middles]
    return float(middles[int(np.argmax([0 if r == np.inf else r for r in room]))])


def _draw_traffic(axes: Axes, comparison: Panels) -> None:
    """Pages written to swap and read back, a pair of bars for each mechanism."""
    results = comparison.results
    whole = [result for result in results if not result.out_of_memory]
    most = max((max(r.values["swap_outs"], r.values["swap_ins"]) for r in whole), default=0)
    for row, result in enumerate(results):
        if result.out_of_memory:
            ended = f"{result.mechanism}: out of memory"
            axes.text(0, row - 0.11, ended, fontsize=_SMALL, color=_ENDED)
            continue
        written, read = result.values["swap_outs"], result.values["swap_ins"]
        axes.barh(row + 0.08, written, 0.24, color=_KEPT)
        axes.barh(row + 0.36, read, 0.24, facecolor="white", edgecolor=_KEPT)
        axes.text(
            0,
            row - 0.11,
            f"{result.mechanism}: {format_bytes(written * PAGE_BYTES)} written, "
            f"{format_bytes(read * PAGE_BYTES)} read",
            fontsize=_SMALL,
        )
    axes.set_ylim(max(len(results), 4) - 0.5, -0.5)
    axes.set_xlim(0, max(most, 1) * 1.02)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title("swap traffic", fontsize=10, fontweight="bold", loc="left", pad=16)


def finding(comparison: Panels) -> str:
    """What the comparison shows, in one sentence: best of all against ``none``, or the worst."""
    ended = [result for result in comparison.results if result.out_of_memory]
    whole = [result for result in comparison.results if not result.out_of_memory]
    if not whole:
        return "Every mechanism runs out of memory"
    if not ended:
        return _finding(whole)
    names = [result.mechanism for result in ended]
    named = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"Out of memory with {named}.  Else: {_finding(whole)}"


def _finding(results: Sequence[Held]) -> str:

    def outs(result: Held) -> float:
        return result.values["swap_outs"]

    def held(result: Held) -> float:
        return _mean(result, _held(result))

    def size(pages: float) -> str:
        return format_bytes(pages * PAGE_BYTES)

    base = max(results, key=lambda r: (r.mechanism == "none", outs(r)))
    best, small = min(results, key=outs), min(results, key=held)
    if len(results) == 1:
        return f"{base.mechanism} writes {size(outs(base))} to swap and holds {size(held(base))}"
    if outs(base) == 0:
        swap = "Nothing is written to swap"
    elif outs(best) < outs(base):
        swap = f"Swap writes fall from {size(outs(base))} ({base.mechanism}) to "
        swap += f"{size(outs(best))} ({best.mechanism})"
    else:
        swap = f"No mechanism writes less to swap than {base.mechanism} ({size(outs(base))})"
    if held(small) >= held(base):
        return f"{swap}; no mechanism holds less than {base.mechanism} ({size(held(base))})"
    fall = f"from {size(held(base))} to {size(held(small))} ({small.mechanism})"
    return f"{swap}; memory and swap held fall {fall}"


def _setting(comparison: Panels) -> str:
    """Trace, guests and host in one line."""
    guests = "1 guest" if comparison.guests == 1 else f"{comparison.guests} guests"
    host = format_bytes(comparison.host_frames * PAGE_BYTES)
    return (
        f"{Path(comparison.trace).name}, {guests}.  Dotted: host memory of {host} "
        f"({comparison.host_frames_reason})."
    )


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

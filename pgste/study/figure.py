# SPDX-License-Identifier: MIT
"""What all pictures share: matplotlib, a figure, and the file that it goes to.

Only this module imports matplotlib, so that there is one error where that is not installed.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from pgste.errors import MissingPackageError
from pgste.files import saving
from pgste.study.picture import NO_MATPLOTLIB, check_picture

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
    from matplotlib.text import Text
except ModuleNotFoundError as error:
    raise MissingPackageError(NO_MATPLOTLIB) from error

__all__ = [
    "Axes",
    "FancyBboxPatch",
    "Figure",
    "ListedColormap",
    "Patch",
    "Rectangle",
    "line_style",
    "new_figure",
    "rc_context",
    "save",
]


# Colour, dashes, mark: told apart in black and white, and by all eyes.
_LINES: dict[str, tuple[str, Any, str]] = {
    "none": ("#000000", "solid", "o"),
    "cmma": ("#0072b2", "solid", "s"),
    "madv_dontneed": ("#d55e00", (0, (5, 2)), "^"),
    "madv_free": ("#009e73", (0, (1, 1)), "v"),
    "reporting": ("#cc79a7", (0, (3, 1, 1, 1)), "D"),
}
_OTHERS = ("#56b4e9", "#e69f00", "#8a4fa0", "#5a8f29", "#777777")


def line_style(name: str, nr: int) -> dict[str, Any]:
    """How a line is drawn: a mechanism's the same in every picture, others by their number."""
    if name in _LINES:
        colour, dashes, mark = _LINES[name]
    else:
        colour, dashes, mark = _OTHERS[nr % len(_OTHERS)], (0, (5, 1, 1, 1, 1, 1)), "xP*hp"[nr % 5]
    return {"color": colour, "linestyle": dashes, "marker": mark}


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the picture, whole or not at all; OSError if it cannot be written."""
    check_picture(path)
    suffix = Path(path).suffix.lower()
    smaller: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if suffix == ".png" else {}
    for text in figure.findobj(Text):
        # names of files are no formulas, and may hold bytes that are no characters
        text.set_parse_math(False)
        text.set_text(text.get_text().encode(errors="backslashreplace").decode())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        saving.save(path, lambda file: figure.savefig(file, format=suffix[1:], dpi=150, **smaller))

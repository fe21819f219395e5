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
    "new_figure",
    "rc_context",
    "save",
]


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

# SPDX-License-Identifier: MIT
"""What all pictures share: a figure, and the file that it goes to."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pgste.errors import ArgumentError
from pgste.files import saving

__all__ = ["new_figure", "save"]


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the picture, whole or not at all; OSError if it cannot be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg", ".pdf"):
        raise ArgumentError(f"path: {os.fspath(path)!r} must end in .png, .svg or .pdf")
    smaller: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if suffix == ".png" else {}
    for text in figure.findobj(Text):
        # names of files are no formulas, and may hold bytes that are no characters
        text.set_parse_math(False)
        text.set_text(text.get_text().encode(errors="backslashreplace").decode())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        saving.save(path, lambda file: figure.savefig(file, format=suffix[1:], dpi=150, **smaller))

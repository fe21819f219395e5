# SPDX-License-Identifier: MIT
"""What all pictures share: a figure, and the file that it goes to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pgste.errors import ArgumentError

__all__ = ["new_figure", "save"]


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg", ".pdf"):
        raise ArgumentError(f"path: {os.fspath(path)!r} must end in .png, .svg or .pdf")
    smaller: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if suffix == ".png" else {}
    figure.savefig(path, dpi=150, **smaller)

# SPDX-License-Identifier: MIT
"""What a picture needs, to be asked before any work is done for it.

matplotlib draws the pictures.  It is an extra of this package, as most uses need none.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from pgste.errors import ArgumentError, MissingPackageError

__all__ = ["NO_MATPLOTLIB", "check_picture"]

NO_MATPLOTLIB = "pictures need matplotlib, which is not installed: pip install 'pgste[plot]'"


def check_picture(path: str | os.PathLike[str], name: str = "path") -> None:
    """That a picture can be drawn into this file.

    Parameters
    ----------
    path : str or path
        The file, which need not be there.
    name : str
        What the argument is called in errors.

    Raises
    ------
    ArgumentError
        The name does not end in .png, .svg or .pdf.
    MissingPackageError
        matplotlib is not installed.
    """
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ArgumentError(f"{name}: {os.fspath(path)!r} must end in .png, .svg or .pdf")
    if find_spec("matplotlib") is None:
        raise MissingPackageError(NO_MATPLOTLIB)

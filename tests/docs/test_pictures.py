# SPDX-License-Identifier: MIT
"""Pictures of the documents that a command beside them draws are what it draws today."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import __version__ as version
from matplotlib.image import imread

from docs.blocks import blocks_of
from docs.test_blocks import run

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Of a trace, the host's memory or the machine: other pictures need more than a command.
COMMAND = re.compile(r"pgste guarantees .*--plot (\S+\.png)")


def drawn_by() -> dict[str, str]:
    """Picture, and the command that draws it."""
    found = {}
    for document in sorted(DOCS.glob("*.md")):
        for block in blocks_of(document.name, document.read_text()):
            if block.is_console:
                for command, _ in block.commands():
                    if match := COMMAND.fullmatch(command):
                        found[match[1]] = command
    return found


@pytest.mark.skipif(not DOCS.is_dir(), reason="no documents beside the tests")
def test_pictures_are_those_of_today(tmp_path: Path) -> None:
    pictures = drawn_by()
    assert pictures
    for name, command in pictures.items():
        text = (DOCS / name).read_bytes()
        assert f"]({name})" in "".join(page.read_text() for page in DOCS.glob("*.md"))
        if f"Matplotlib version{version}".encode() not in text:
            pytest.skip(f"{name} was drawn by another matplotlib")
        status, printed = run(command, tmp_path)
        assert status == 0, printed
        assert np.array_equal(imread(tmp_path / name), imread(DOCS / name)), f"draw {name} again"

# SPDX-License-Identifier: MIT
"""docs/architecture.md says of the rooms what the tables of the other tests say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rules import test_imports, test_includes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
TOP = {"enums", "errors", "units", "moved", "_c", "_checks", "_threads", "__init__"}

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="no documents beside the tests")


def rows(heading: str) -> dict[str, set[str]]:
    """Of the table below a heading: room, and the rooms it may use."""
    text = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `/"): set(re.findall(r"`(\w+)`", row[2])) for row in table}


def test_rooms_of_src_c() -> None:
    expected = {room: used for room, used in test_includes.ALLOWED.items() if room != "pgste"}
    assert rows("src_c") == expected


def test_rooms_of_pgste() -> None:
    hidden = {"_checks", "_threads"}  # told in a sentence, not a column
    expected = {
        room: set(used.split()) - hidden
        for room, used in test_imports.ALLOWED.items()
        if room not in TOP
    }
    told = rows("pgste")
    assert told.pop("cli") == {"files"}  # "all but"
    assert expected.pop("cli") == set(expected) - {"files"} | {"enums", "errors", "units"}
    assert told == expected


def test_every_file_it_names_is_there() -> None:
    names = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", PAGE.read_text()))
    assert len(names) > 30
    for name in names:
        assert any((ROOT / half / name).exists() for half in ("", "src_c", "pgste")), name

# SPDX-License-Identifier: MIT
"""Brackets in names and in what files say: text, and no markup of the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgste import Trace
from pgste.cli import main
from pgste.traces import pgt

COST = {"median": 1, "q1": 1, "q3": 1, "rounds": 3, "unit": "", "meaning": ""}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder "[" whose files are thus called "[/b].pgt" and so on from above."""
    trace = Trace.from_arrays([0, 1], [5, 5], [0, 0])
    about = {"format": "[/f]", "counters": {"[/c]": 3}}
    (tmp_path / "[").mkdir()
    pgt.write(tmp_path / "[" / "b].pgt", trace.events, trace.time, about)
    profile = {
        "format": "pgste-costs", "version": 1, "machine": {"cpu": "[/m]", "kernel": ["[/k]"]},
        "date": "[/d]", "seconds": 1, "costs": {"[/n]": COST}, "skipped": {"[/s]": "[/w]"},
    }  # fmt: skip
    (tmp_path / "[" / "p]").write_text(json.dumps(profile))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("info [/b].pgt --save [/s].pgt", ["[/b].pgt: [/f]", "[/c] 3", "saved: [/s].pgt"]),
        ("compare [/b].pgt --costs [/p] --plot [/o].png", ["[/p]", "[/m]", "drawn: [/o].png"]),
        ("map [/b].pgt --output [/o].png --host-frames 10", ["b].pgt", "drawn: [/o].png"]),
    ],
)
def test_brackets_are_shown(
    words: str, shown: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert [text for text in shown if text not in out] == []

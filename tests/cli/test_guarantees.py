# SPDX-License-Identifier: MIT
"""`pgste guarantees`: its formats, the explanation of an answer, and refusals."""

from __future__ import annotations

import json

import pytest

from pgste.cli import main
from pgste.guarantees import QUESTIONS


def test_table_has_every_question(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["guarantees", "--mechanisms", "none,madv_dontneed"]) == 0
    shown = capsys.readouterr().out
    assert all(question.text in shown for question in QUESTIONS)
    assert "states searched" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_column_is_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    wanted = "none,cmma_zvm,madv_free_dirty,madv_dontneed"
    assert main(["guarantees", "--mechanisms", wanted]) == 0
    words = capsys.readouterr().out.split()
    assert {"none", "z/VM", "v6.15", "DONTNEED"} <= set(words)


def test_markdown_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guarantees", "--mechanisms", "madv_dontneed", "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| | MADV_DONTNEED |"
    assert "| zero right after free? | yes |" in lines
    assert main(["guarantees", "--mechanisms", "madv_dontneed", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["mechanisms"]["madv_dontneed"]["zapped"] == "at once"


def test_explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["guarantees", "--explain", "cmma_zvm", "touch-while-free"]) == 0
    shown = capsys.readouterr().out
    assert "program interruption 0x0005" in shown
    assert main(["guarantees", "--explain", "none", "stale-after-zero"]) == 0
    assert "It is so in all" in capsys.readouterr().out
    assert main(["guarantees", "--explain", "none", "stale", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    # the guest stores to a page (zero fill, model.md section 3) and frees it
    assert [moment["pte"] for moment in data["moments"]] == ["0x400", "0x13f", "0x13f"]
    assert data["moments"][-1]["reads"] == "store 1"


@pytest.mark.parametrize(
    "wrong",
    [["--mechanisms", "xen"], ["--explain", "xen", "stale"], ["--explain", "none", "why"]],
)
def test_unknown_names(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guarantees", *wrong]) == 1
    assert "is not one of" in capsys.readouterr().err

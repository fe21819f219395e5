# SPDX-License-Identifier: MIT
"""`pgste guarantees`: its formats, the explanation of an answer, and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pgste.cli import main
from pgste.guarantees import MECHANISMS, QUESTIONS, SYSTEMS
from pgste.guarantees.result import named
from pgste.guarantees.systems import STATES


def test_table_has_every_question(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["guarantees", "--mechanisms", "none,madv_dontneed"]) == 0
    shown = capsys.readouterr().out
    assert all(question.text in shown for question in QUESTIONS)
    assert "states searched" in shown
    assumed = "private anonymous memory (--backing memfd), no mlock (--mlock), no VFIO (--pinned),"
    assert assumed in " ".join(shown.split())
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
    ("mechanism", "question"),
    [
        ("madv_free_dirty", "lost-racing"),
        ("MADV_FREE v6.15", "… while the host is told?"),
        ("MADV FREE v6.15", "Store lost: made while the host is told?"),  # as a table breaks it
        ("madv-free V6.15", "... WHILE THE HOST IS TOLD"),
    ],
)
def test_names_as_they_are_printed(
    mechanism: str, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guarantees", "--explain", mechanism, question, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["mechanism"], data["question"]) == ("madv_free_dirty", "lost-racing")


def test_every_name_is_of_one_thing() -> None:
    for choices, names in (
        ([s.key for s in MECHANISMS], [s.title for s in MECHANISMS]),
        ([q.key for q in QUESTIONS], [q.text for q in QUESTIONS]),
        ([q.key for q in QUESTIONS], [q.whole for q in QUESTIONS]),
    ):
        table = {key: (name,) for key, name in zip(choices, names, strict=True)}
        for key, name in zip(choices, names, strict=True):
            assert named("name", name.upper(), table) == named("name", key, table) == key


def test_columns_by_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guarantees", "--mechanisms", "None,madv dontneed", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["mechanisms"]) == ["none", "madv_dontneed"]


def test_an_answer_without_a_run_says_where_it_was_searched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["guarantees", "--explain", "none", "stale-after-zero"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("Assumed:"))
    lines = lines[:at]
    searched = [system for system in SYSTEMS if system.fits(MECHANISMS[0])]
    assert [line.strip().partition(";")[0] for line in lines[-len(searched) :]] == [
        str(system) for system in searched
    ]
    states = sum(STATES["none", system] for system in searched)
    assert f"{states:,} states" in lines[-len(searched) - 1]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("colours", [False, True])
def test_what_is_no_promise_is_marked_without_colours(
    columns: int,
    colours: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["guarantees", "--mechanisms", "madv_dontneed"]) == 0
    shown = capsys.readouterr().out
    assert ("\x1b[" in shown) == colours
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    answers = [line for line in plain.splitlines() if re.search(r" (yes|no)\b", line)]
    bad = [line for line in answers if re.search(r" (yes|no)!", line)]
    # MADV_DONTNEED promises all but one thing (section J of the facts)
    assert [line.split("?")[0].strip() for line in bad] == ["… while the host is told"]
    assert "!: no promise" in plain
    assert main(["guarantees", "--explain", "madv_dontneed", "lost-racing"]) == 0
    assert "yes!" in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        picture = tmp_path / f"run{suffix}"
        assert main(["guarantees", "--explain", "none", "stale", "--plot", str(picture)]) == 0
        assert "drawn: " in capsys.readouterr().out
        assert picture.read_bytes().startswith(magic)
    nothing = tmp_path / "nothing.png"
    call = ["guarantees", "--explain", "none", "zap-harms", "--plot", str(nothing)]
    assert main(call) == 3
    assert "there is no run to show" in capsys.readouterr().out
    assert not nothing.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--plot", "x.png"],
        ["--mechanisms", "none", "--explain", "none", "stale"],
        ["--explain", "none", "stale", "--plot", "x.jpeg"],
    ],
)
def test_options_that_do_not_go_together(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guarantees", *wrong]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "wrong",
    [["--mechanisms", "xen"], ["--explain", "xen", "stale"], ["--explain", "none", "why"]],
)
def test_unknown_names(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guarantees", *wrong]) == 1
    assert "is not one of" in capsys.readouterr().err


def test_other_memory_behind_the_guest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = ["guarantees", "--explain", "MADV_FREE v4.12", "lost-after-alloc", "--pinned"]
    assert main(run) == 0
    shown = capsys.readouterr().out
    assert "with a VFIO device that has page 0 pinned" in shown
    (last,) = [line for line in shown.splitlines() if line.startswith("4  ")]
    assert last.split()[-3:] == ["store", "1", "zero"]
    assert main([*run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["assumptions"][2] == "a VFIO device that has page 0 pinned"
    assert [moment["device"] for moment in told["moments"]][-1] == "zero"
    assert main(["guarantees", "--mechanisms", "none,z/VM", "--backing", "memfd"]) == 0
    shown = capsys.readouterr().out
    assert "shared memory of a memfd" in shown
    assert "VM" not in shown.split("zero right after free?")[0]
    assert main(["guarantees", "--mechanisms", "z/VM", "--pinned"]) == 1
    assert "knows no backing" in capsys.readouterr().err


def test_locked_memory(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["guarantees", "--explain", "v7.0", "lost-after-alloc", "--mlock"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "lost: made after alloc? no CMMA on KVM" in shown
    assert "with memory that the host has locked (mlockall) It is so in all" in shown
    assert "2 pages, 2 frames" in shown
    assert main(["guarantees", "--kernels", "lost-after-alloc", "--mlock"]) == 0
    assert "lost: made after alloc?" in capsys.readouterr().out
    assert main(["guarantees", "--mechanisms", "none", "--mlock", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["assumptions"][1] == "memory that the host has locked (mlockall)"
    assert all(system[:7] in ("1 page,", "2 pages") for system in told["systems"])

# SPDX-License-Identifier: MIT
"""Without matplotlib everything works but pictures, and these are refused before any work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgste.errors import ArgumentError
from pgste.study.picture import check_picture

PACKAGE = Path(__file__).parents[2] / "pgste"
SMALL = str(Path(__file__).parents[1] / "golden/traces/small.trace.dat")
SENTENCE = "pictures need matplotlib, which is not installed: pip install 'pgste[plot]'"
WITHOUT = "import sys; sys.modules['matplotlib'] = None\n"
# The trace is not there, and no question has that name: who began the work would say so.
COMMANDS = [
    ("compare", "missing.trace", "--plot", "a.png"),
    ("map", "missing.trace", "--output", "a.svg"),
    ("guarantees", "--explain", "cmma", "nonsense", "--plot", "a.pdf"),
    ("live", "replay", "missing.trace", "--plot", "a.png"),
]


def without(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program that cannot import matplotlib."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + program, *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_picture_is_refused_before_the_work(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = without("from pgste.cli import main; sys.exit(main(sys.argv[1:]))", *command)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"pgste: {SENTENCE}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_another_kind_of_file_is_refused_before_the_work(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pgste.cli import main

    assert main([*command[:-1], "a.txt"]) == 1
    option = command[-2]
    assert capsys.readouterr().err == f"pgste: {option}: 'a.txt' must end in .png, .svg or .pdf\n"


def test_the_rest_of_a_verb_needs_no_matplotlib() -> None:
    program = "from pgste.cli import main; sys.exit(main(sys.argv[1:]))"
    for command in (["compare", SMALL, "--json"], ["info", SMALL], ["scenario", "crash-2019"]):
        done = without(program, *command)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "drawn",
    [
        "pgste.compare(pgste.sample_trace(), ['none']).plot('a.png')",
        "pgste.guarantees(['cmma']).cell('cmma', 'zero-after-free').plot('a.png')",
        "import pgste.study.plot",
        "import pgste.plot",
        "import pgste.live.plot",
        "import pgste.guarantees.timeline",
    ],
)
def test_the_library_says_what_to_install(drawn: str, tmp_path: Path) -> None:
    program = f"""import pgste
try:
    {drawn}
except pgste.MissingPackageError as error:
    assert isinstance(error, ImportError)
    print(error)
"""
    done = without(program)
    assert (done.stdout, done.stderr) == (SENTENCE + "\n", "")


def test_the_argument_has_the_name_of_the_caller() -> None:
    check_picture("a.PNG")
    with pytest.raises(ArgumentError, match=r"^path: 'a' must end in"):
        check_picture("a")


def test_one_module_imports_matplotlib() -> None:
    """Names that only annotations need are not imported when a program runs."""
    imports = re.compile(r"^\s*(?:from|import) matplotlib", re.M)
    for_types = re.compile(r"^if TYPE_CHECKING:.*\n(?:    .*\n)+", re.M)
    files = [
        file
        for file in PACKAGE.rglob("*.py")
        if imports.search(for_types.sub("", file.read_text()))
    ]
    assert [file.name for file in files] == ["figure.py"]

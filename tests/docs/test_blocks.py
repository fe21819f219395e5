# SPDX-License-Identifier: MIT
"""Every Python and console block of the documents runs, and prints what the document shows.

blocks.py says how a document marks what cannot be run here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.blocks import Block, blocks_of, matches, output_of, trimmed

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "pgste" / "traces" / "data" / "README.md",
]
TIMEOUT = 300

# What a machine decides, in the output of commands that match: masked on both sides.
MASKS = [
    (r"pgste compare\b", r"^events a second .*$"),
]


def collected() -> list[tuple[Block, Block | None]]:
    """Each block of every document with the next one of the same document."""
    found: list[tuple[Block, Block | None]] = []
    for path in DOCUMENTS:
        if path.is_file():
            blocks = blocks_of(str(path.relative_to(ROOT)), path.read_text())
            found += zip(blocks, [*blocks, None][1:], strict=True)
    return found


def name(pair: tuple[Block, Block | None]) -> str:
    block, _ = pair
    return f"{block.file}, {block.heading}, line {block.line}".replace("::", " ")


def run(command: list[str] | str, folder: Path, columns: int = 80) -> tuple[int, list[str]]:
    """Exit status and lines printed for so many columns; the venv's programs come first.

    What goes to standard error is told only if the command fails: else it is progress.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # the package of this run, also where that is found by PYTHONPATH or in the current folder
    where = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package_folder()]))
    result = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": where, "COLUMNS": str(columns)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    text = result.stdout + (result.stderr if result.returncode else "")
    return result.returncode, text.split("\n")


def package_folder() -> str:
    import pgste

    return str(Path(pgste.__file__).resolve().parents[1])


def masked(command: str, lines: list[str]) -> list[str]:
    for which, pattern in MASKS:
        if re.match(which, command):
            lines = [re.sub(pattern, "(masked)", line) for line in lines]
    return lines


def check_command(command: str, expected: list[str], folder: Path) -> None:
    # the terminal is as wide as the widest line that is shown
    status, printed = run(command, folder, max([80, *map(len, expected)]))
    expected, printed = masked(command, expected), masked(command, printed)
    if not matches(expected, printed):
        assert trimmed(printed) == trimmed(expected), command  # says where they differ
    refused = any(line.startswith("pgste: ") for line in expected)
    assert refused == (status != 0), f"{command}: exit status {status}"


def skip_if_it_cannot_run(block: Block) -> None:
    needs = block.comment("needs")
    if needs is not None:
        pytest.skip(f"needs {needs}")


ALL = collected()


@pytest.mark.parametrize("pair", [p for p in ALL if p[0].language == "python"], ids=name)
def test_python(pair: tuple[Block, Block | None], tmp_path: Path) -> None:
    block, following = pair
    skip_if_it_cannot_run(block)
    status, printed = run([sys.executable, "-c", "\n".join(block.lines)], tmp_path)
    assert status == 0, "\n".join(printed)
    assert trimmed(printed) == trimmed(output_of(block, following) or [])


@pytest.mark.parametrize("pair", [p for p in ALL if p[0].is_console], ids=name)
def test_console(pair: tuple[Block, Block | None], tmp_path: Path) -> None:
    block, _ = pair
    skip_if_it_cannot_run(block)
    commands = block.commands()
    assert commands
    for command, expected in commands:
        check_command(command, expected, tmp_path)


@pytest.mark.parametrize("pair", [p for p in ALL if p[0].language == "sh"], ids=name)
def test_shell(pair: tuple[Block, Block | None], tmp_path: Path) -> None:
    block, _ = pair
    skip_if_it_cannot_run(block)
    status, printed = run("set -e\n" + "\n".join(block.lines), tmp_path)
    assert status == 0, "\n".join(printed)


#: Rows of README's table, and what `pgste compare --json` calls them.
README_ROWS = {
    "pages written to swap": "swap_outs",
    "pages read from swap": "swap_ins",
    "page faults that need a zeroed frame": "zero_fills",
    "hints that the guest gave": "hints",
}


def test_the_table_of_the_readme(tmp_path: Path) -> None:
    if not (ROOT / "README.md").is_file():
        pytest.skip("no README.md beside the tests")
    rows = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for line in (ROOT / "README.md").read_text().splitlines()
        if len(cells := line.strip("|").split("|")) == 6
    }
    status, printed = run("pgste compare --json", tmp_path)
    assert status == 0
    mechanisms = json.loads("\n".join(printed))["mechanisms"]
    assert rows[""] == list(mechanisms)
    for title, key in README_ROWS.items():
        assert rows[title] == [f"{column[key]:,}" for column in mechanisms.values()], title


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_nothing_is_left_to_fill_in(path: Path) -> None:
    if path.is_file():
        assert not re.findall(r"@@|\bTODO\b|\bFIXME\b|\bXXX\b", path.read_text())


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_prose_has_100_columns(path: Path) -> None:
    if not path.is_file():
        return
    # blocks, tables, headings and comments are as they are; a picture's line cannot be broken
    prose = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "", path.read_text(), flags=re.M | re.S)
    lines = [
        line for line in prose.splitlines() if not line.startswith(("|", "#", "    ", "![", "[!["))
    ]
    assert [line for line in lines if len(line) > 100] == []


def test_documents_are_found() -> None:
    """In a clone; an installed package has fewer documents beside the tests."""
    if not (ROOT / "README.md").is_file():
        pytest.skip("no documents beside the tests")
    files = {block.file for block, _ in ALL}
    assert {"README.md", "docs/live.md", "docs/scenarios.md", "docs/guarantees.md"} <= files
    ran = [block for block, _ in ALL if block.language == "python" and not block.comment("needs")]
    assert len(ran) >= 3
    assert any(block.is_console and not block.comment("needs") for block, _ in ALL)


# ---- the collector itself ----------------------------------------------------------------------

TEXT = """# One

```python
print(1)
```

It prints:

```text
1
```

## Two

Prose.

<!-- needs: root -->

```console
$ a \\
  b
x
$ c
```
```
$ d
...
z
```
```json
{}
```
"""


def test_the_collector() -> None:
    blocks = blocks_of("f.md", TEXT)
    assert [(b.language, b.heading, b.line) for b in blocks] == [
        ("python", "One", 3),
        ("text", "One", 9),
        ("console", "Two", 19),
        ("", "Two", 25),
        ("json", "Two", 30),
    ]
    assert output_of(blocks[0], blocks[1]) == ["1"]
    assert output_of(blocks[1], blocks[2]) is None
    assert [b.comment("needs") for b in blocks] == [None, None, "root", None, None]
    assert blocks[2].commands() == [("a \\\n  b", ["x"]), ("c", [])]
    assert [b.is_console for b in blocks] == [False, False, True, True, False]
    assert blocks[3].commands() == [("d", ["...", "z"])]


def test_prose_between_is_no_announcement() -> None:
    text = TEXT.replace("It prints:", "Something else is in this block:")
    blocks = blocks_of("f.md", text)
    assert output_of(blocks[0], blocks[1]) is None


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a", "b "], ["a ", "b", ""], True),
        (["a"], ["a", "b"], False),
        (["a", "...", "d"], ["a", "b", "c", "d"], True),
        (["a", "...", "d"], ["a", "d"], True),
        (["a", "...", "d"], ["a", "b"], False),
        (["a.c"], ["abc"], False),
    ],
)
def test_matching(expected: list[str], printed: list[str], same: bool) -> None:
    assert matches(expected, printed) is same


def test_masks_are_for_the_machine_only() -> None:
    lines = ["swap-outs  1", "events a second  39.6 M/s"]
    assert masked("pgste compare x", lines) == ["swap-outs  1", "(masked)"]
    assert masked("pgste info x", lines) == lines

# SPDX-License-Identifier: MIT
"""Verbs print through pgste/cli/terminal.py, where foreign text is made harmless."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CLI = Path(__file__).resolve().parents[2] / "pgste" / "cli"
FILES = sorted(CLI.glob("*.py"))
VERBS = [file for file in FILES if file.name not in ("terminal.py", "words.py", "__init__.py")]

# What prints past the one place, and what text from outside would be read as.
FORBIDDEN = {
    r"\bprint\(": "print_json or console.print",
    r"(?<!def )\bConsole\(": "Screen",
    r"\b(?:Progress|TextColumn)\(": "progress_bar",
    r"\bjson\.dumps\(": "print_json",
    r"sys\.std(?:out|err)\.write\(": "console.print",
    r"markup=True": "Text with a style",
    r"highlight=True": "Text with a style",
    r"Text\.from_(?:markup|ansi)": "Text with a style",
    r"\[/?(?:bold|dim|red|green|yellow|cyan|italic)\b[^\]]*\]": "Text with a style",
    r"type=(?:int|float)\b": "whole_number or number",
}
# Names that users, files or the kernel choose: never in an f-string as they are.
FOREIGN = r"args\.(?:trace|stream|output|save|plot|costs|comm|perf|swap_directory|name|command)\b"


@pytest.mark.parametrize("file", VERBS, ids=lambda file: file.stem)
def test_verbs_print_through_the_one_place(file: Path) -> None:
    text = file.read_text()
    for pattern, instead in FORBIDDEN.items():
        found = [
            m[0]
            for m in re.finditer(pattern, text)
            if text[m.start() - 8 : m.start()] != "console."
        ]
        assert not found, f"{file.name}: {found}; use {instead}"


@pytest.mark.parametrize("file", VERBS, ids=lambda file: file.stem)
def test_foreign_names_are_printed_by_printable(file: Path) -> None:
    for line in file.read_text().splitlines():
        assert not re.search(r"f\".*\{" + FOREIGN, line), f"{file.name}: {line.strip()}"


def test_the_rules_find_something() -> None:
    assert len(VERBS) >= 9
    assert re.search(r"f\".*\{" + FOREIGN, 'f"saved: {args.output}"')
    assert re.search(list(FORBIDDEN)[8], 'f"[dim]{x}[/dim]"')
    assert not re.search(list(FORBIDDEN)[8], "list[str]")

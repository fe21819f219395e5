# SPDX-License-Identifier: MIT
"""How C files look: a check of lines, not a formatter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src_c", "tests/c", "tests/fuzz", "benchmarks/c")
COLUMNS = 100
TAB = 8
FILE_LINES = 400
FUNCTION_LINES = 60


def files(*suffixes: str) -> list[Path]:
    return sorted(
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes
    )


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def faults_of_lines(lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(TAB)) > COLUMNS:
            yield f"line {number}: {len(line.expandtabs(TAB))} columns"
        if line != line.rstrip():
            yield f"line {number}: blanks at the end"


def faults_of_indents(lines: list[str]) -> Iterator[str]:
    """Tabs first, then at most seven spaces; a comment of several lines begins with " *"."""
    for number, line in enumerate(lines, 1):
        indent = re.match(r"[ \t]*", line)
        assert indent
        tabs = indent[0].lstrip("\t")
        if "\t" in tabs or len(tabs) >= TAB:
            yield f"line {number}: spaces where tabs belong"
        elif indent[0] == tabs and tabs and not line.lstrip().startswith("*"):
            yield f"line {number}: indented by spaces"


def faults_of_functions(lines: list[str]) -> Iterator[str]:
    """Bodies are what stands between a { and a } that are alone in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            if number - start - 1 > FUNCTION_LINES:
                yield f"line {start}: a function of {number - start - 1} lines"
            start = None


def faults_of_fetches(text: str) -> Iterator[str]:
    """What only fetches has no effect that gcc knows of, so that it leaves out calls of it."""
    functions = re.finditer(r"^((?:\w+ )*void \w+\([^;{}]*\))\n{\n(.*?)^}", text, re.S | re.M)
    for signature, body in (found.groups() for found in functions):
        changes = any(
            re.search(r"[*\[]", parameter) and "const" not in parameter
            for parameter in signature.split(",")
        )
        fetches = re.search(r"fetch\w*\(", re.sub(r"\w*atomic_\w+", "", body))
        if fetches and not changes and "ALWAYS_INLINE" not in signature:
            yield f"{' '.join(signature.split())} fetches, and is not ALWAYS_INLINE"


def faults_of_c(text: str, suffix: str) -> list[str]:
    lines = text.split("\n")
    found = [] if re.fullmatch(r"/\* SPDX-License-Identifier: \S+ \*/", lines[0]) else ["no SPDX"]
    if not text.endswith("\n") or text.endswith("\n\n"):
        found.append("does not end in one newline")
    if suffix == ".c" and len(lines) - 1 > FILE_LINES:
        found.append(f"{len(lines) - 1} lines")
    found += [*faults_of_lines(lines), *faults_of_indents(lines), *faults_of_functions(lines)]
    found += faults_of_fetches(text)
    return found


@pytest.mark.parametrize("path", files(".c", ".h"), ids=name)
def test_c(path: Path) -> None:
    assert faults_of_c(path.read_text(), path.suffix) == []


@pytest.mark.parametrize("path", files(".pyx", ".pxd"), ids=name)
def test_width_of_cython(path: Path) -> None:
    assert list(faults_of_lines(path.read_text().split("\n"))) == []


def test_files_are_found() -> None:
    """In a clone; an installed package has no sources to look at."""
    if not (ROOT / "src_c").is_dir():
        pytest.skip("no sources beside the tests")
    assert len(files(".c", ".h")) > 50
    assert files(".pyx")


GOOD = """/* SPDX-License-Identifier: MIT */
/*
 * Text.
 */
int f(void)
{
@return g(1,
@@ 2);
}

static ALWAYS_INLINE void h(const int *a, int *b)
{
@__builtin_prefetch(a);
}
""".replace("@", "\t")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("/* SPDX-License-Identifier: MIT */\n", "", "no SPDX"),
        ("return", "  return", ""),
        ("\treturn", "    return", "indented by spaces"),
        ("\t\t 2", "\t         2", "spaces where tabs belong"),
        ("\t\t 2", " \t\t2", "spaces where tabs belong"),
        ("Text.", "Text. ", "blanks at the end"),
        ("Text.", 98 * "x", "101 columns"),
        ("\t\t 2);", "\t\t 2);" + 78 * "x", ""),
        ("\t\t 2);", "\t\t 2);" + 81 * "x", "101 columns"),
        ("(a);\n}\n", "(a);\n}", "does not end"),
        ("(a);\n}\n", "(a);\n}\n\n", "does not end"),
        ("\treturn", "\tx();\n" * 58 + "\treturn", ""),
        ("\treturn", "\tx();\n" * 59 + "\treturn", "a function of 61 lines"),
        (" * Text.\n", " * Text.\n" * 387, ""),
        (" * Text.\n", " * Text.\n" * 388, "401 lines"),
        ("ALWAYS_INLINE ", "", ""),  # it may change *b
        ("static ALWAYS_INLINE void h(const int *a, int *b)", "static void h(const int *a)", "h("),
        (
            "static ALWAYS_INLINE void h(const int *a, int *b)",
            "void h(const int *a,\n\t int b)",
            "h(",
        ),
        ("ALWAYS_INLINE void h(const int *a, int *b)", "ALWAYS_INLINE void h(const int *a)", ""),
    ],
)
def test_the_check_itself(old: str, new: str, fault: str) -> None:
    assert faults_of_c(GOOD, ".c") == []
    assert GOOD.count(old) == 1
    found = faults_of_c(GOOD.replace(old, new), ".c")
    assert len(found) == bool(fault)
    assert not fault or fault in found[0]

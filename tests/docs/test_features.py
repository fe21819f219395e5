# SPDX-License-Identifier: MIT
"""docs/features.md: the calls and tests that it names are there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import pgste

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "features.md").read_text()
CODE = re.compile(r"`([^`]+)`")


def rows() -> list[list[str]]:
    """Cells of all tables but their heads."""
    found = []
    for line in TEXT.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return [row for row in found if row[0] not in ("kernel", "short")]


FILES = {CODE.findall(row[0])[0]: CODE.findall(row[1])[0] for row in rows() if len(row) == 2}
FUNCTIONS = [row for row in rows() if len(row) == 3]


def test_there_are_tables() -> None:
    assert len(FILES) >= 15
    assert len(FUNCTIONS) >= 80


@pytest.mark.parametrize("path", FILES.values())
def test_files_of_tests_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row[0][:40])
def test_calls_and_tests_are_there(row: list[str]) -> None:
    kernel, here, tests = row
    assert CODE.findall(kernel), "no function of the kernel is named"
    for call in CODE.findall(here):
        assert exists(call), call
    named = CODE.findall(tests)
    assert named or here.startswith("not modelled: "), "neither a test nor why there is none"
    for test in named:
        short, _, function = test.partition(": ")
        if function:
            text = (ROOT / FILES[short]).read_text()
            assert re.search(rf"^def {function}\(", text, re.MULTILINE), test
        else:
            assert short in FILES


def exists(call: str) -> bool:
    """A method of Guest, of a class that is named, or an argument (`name=`)."""
    if call.endswith("="):
        guest = pgste.Guest
        calls = [getattr(guest, name) for name in dir(guest)]
        texts = [
            str(getattr(each, what, ""))
            for each in (guest, *calls)
            for what in ("__doc__", "__text_signature__")
        ]
        return any(re.search(rf"\b{call[:-1]}\b", text) for text in texts)
    owner, _, name = call.rpartition(".")
    return hasattr(getattr(pgste, owner) if owner else pgste.Guest, name)


def test_no_test_is_named_in_vain() -> None:
    """Each short name occurs in a table."""
    used = {test.partition(": ")[0] for row in FUNCTIONS for test in CODE.findall(row[2])}
    assert used == set(FILES)


def test_a_wrong_name_would_be_seen() -> None:
    assert not exists("set_storage_keys")
    assert not exists("Host.no_key")
    assert not exists("no_argument=")
    assert exists("interpretation=")
    assert inspect.ismethoddescriptor(pgste.Guest.essa)

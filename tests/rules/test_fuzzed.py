# SPDX-License-Identifier: MIT
"""Each public function of the core is called by a harness, or is in a list that says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ROOT / "src_c" / "pgste"
HARNESSES = ROOT / "tests" / "fuzz"

#: Functions that no harness calls, by pattern, and why.
LEFT_OUT = {
    r"pgste_live_\w+": "changes this machine; tests/robust/test_live_memory.py",
    r"pgste_(action_name|question|action_words)": "tables of the search, walked by its tests",
    r"pgste_(decode_stats|trace_summary)_name": "names in the order of a struct, by a macro",
}

pytestmark = pytest.mark.skipif(not PUBLIC.is_dir(), reason="no sources beside the tests")


def without_comments(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def declared() -> set[str]:
    text = "".join(map(without_comments, sorted(PUBLIC.glob("*.h"))))
    return set(re.findall(r"\b(pgste_[a-z0-9_]+)\(", text))


def called() -> set[str]:
    text = "".join(map(without_comments, sorted(HARNESSES.rglob("*.c"))))
    return set(re.findall(r"\b(pgste_[a-z0-9_]+)\b", text))


def test_each_function_is_fuzzed_or_left_out_for_a_reason() -> None:
    missing = declared() - called()
    known = {name for name in missing if any(re.fullmatch(p, name) for p in LEFT_OUT)}
    assert not missing - known, f"in no harness: {sorted(missing - known)}"


def test_the_list_is_not_longer_than_it_must_be() -> None:
    missing = declared() - called()
    for pattern in LEFT_OUT:
        assert any(re.fullmatch(pattern, name) for name in missing), pattern


def test_each_field_of_a_search_is_drawn() -> None:
    header = without_comments(PUBLIC / "search.h")
    found = re.search(r"struct pgste_search_config \{(.*?)^\};", header, re.DOTALL | re.MULTILINE)
    assert found is not None
    fields = set(re.findall(r"\b(\w+)(?:\)\([^;]*)?;", found[1]))
    assert {"mechanism", "revision", "threads", "go_on"} <= fields
    harness = without_comments(HARNESSES / "search.c")
    drawn = set(re.findall(r"\bc(?:\.|->)(\w+) = |(?<=\{ )\.(\w+) = take", harness))
    missing = fields - {name for names in drawn for name in names}
    assert not missing, f"tests/fuzz/search.c draws no {sorted(missing)}"


def test_there_are_functions_to_look_for() -> None:
    assert len(declared()) > 150

# SPDX-License-Identifier: MIT
"""A command imports what its verb needs, and nothing of other verbs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pgste.cli import VERBS

SMALL = str(Path(__file__).parents[1] / "golden/traces/small.trace.dat")
ROOMS = {"traces", "study", "guarantees", "freepath", "live", "migration"}
# The rooms that each verb needs; packages that are slow to import and that it needs.
NEEDS = {
    "compare": ("traces study", "rich"),
    "curve": ("traces study", "rich"),
    "footprint": ("traces study", "rich"),
    "size": ("traces study", "rich"),
    "sweep": ("traces study", "rich multiprocessing concurrent.futures"),
    "guarantees": ("guarantees", "rich concurrent.futures"),
    "info": ("traces", "rich"),
    "map": ("traces study", "rich matplotlib numpy.ma"),
    "live": ("traces live", "rich multiprocessing"),
    "calibrate": ("traces live study", "rich"),
    "record": ("traces live", "rich"),
    "scenario": ("freepath", "rich"),
    "cmma": ("migration", "rich"),
}
SLOW = {"rich", "matplotlib", "multiprocessing", "concurrent.futures", "numpy.ma"}
PROGRAM = """
import json, sys
from pgste.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print()
print(json.dumps(sorted(sys.modules)))
"""


def imported(*arguments: str) -> set[str]:
    """The modules that are there when the command is done."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_no_verb_no_imports(option: str) -> None:
    modules = imported(option)
    assert not modules & SLOW
    inside = {name.split(".")[1] for name in modules if name.startswith("pgste.")}
    assert inside == {"_engine", "cli", "enums", "errors", "moved"}
    assert not {name for name in modules if name.startswith("pgste.cli.")}


def test_every_verb_is_tested() -> None:
    assert set(NEEDS) == set(VERBS)


@pytest.mark.parametrize(
    "command",
    [
        *((verb, "--help") for verb in NEEDS),
        ("compare", SMALL),
        ("compare", SMALL, "--json"),
        ("curve", SMALL),
        ("footprint", SMALL),
        ("size", SMALL, "--no-swap"),
        ("info", SMALL),
        ("map", SMALL),
        ("scenario", "crash-2019"),
        ("scenario", "--order", "v5.3"),
    ],
    ids=lambda command: " ".join(command[:1] + command[-1:]),
)
def test_a_verb_imports_nothing_of_others(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb = command[0]
    modules = imported(*command)
    rooms, packages = NEEDS[verb]
    shared = {"pgste.cli.common", "pgste.cli.terminal", "pgste.cli.words"}
    assert {name for name in modules if name.startswith("pgste.cli.")} - shared == {
        f"pgste.cli.{verb}"
    }
    assert {name for name in ROOMS if f"pgste.{name}" in modules} <= set(rooms.split())
    assert modules & SLOW <= set(packages.split())
    assert "--help" not in command or "matplotlib" not in modules

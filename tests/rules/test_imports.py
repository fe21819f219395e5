# SPDX-License-Identifier: MIT
"""Which room of pgste/ may import which, and that no files import one another in a circle.

A room is a folder of pgste/, or a module that lies in pgste/ itself.  Every import counts: of
Python and of Cython, those inside functions and those for type checkers too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "pgste"
ALLOWED = {
    "enums": "",
    "errors": "",
    "moved": "",
    "units": "errors",
    "_engine": "enums errors",
    "_c": "_engine",
    "_checks": "errors _engine",
    "kernels": "errors",
    "_threads": "_checks _engine",
    "files": "errors units",
    "migration": "errors _checks _engine files",
    "traces": "enums errors units _engine files",
    "study": "enums errors units _checks _engine _threads files traces",
    "guarantees": "enums errors units _checks _engine _threads kernels study",
    "freepath": "enums errors units _engine kernels",
    "live": "enums errors units _engine files traces study",
    "cli": "enums errors units _engine kernels traces study guarantees freepath live migration",
    "__init__": "enums errors moved _engine traces study guarantees",
}
FILES = [file for kind in ("py", "pyi", "pyx", "pxd") for file in PACKAGE.rglob(f"*.{kind}")]
MODULES = {".".join(("pgste", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in FILES}
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?c?import[ \t]+(\([^)]*\)|.*)", re.M)


def _imports() -> dict[str, set[str]]:
    """The modules of pgste that each of them imports; one may have files for code and types."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in FILES:
        module = ".".join(("pgste", *file.relative_to(PACKAGE).with_suffix("").parts))
        for package, names in IMPORT.findall(re.sub(r"#.*", "", file.read_text())):
            assert not package.startswith("."), f"{file}: say where from, not {package}"
            for name in filter(None, re.split(r"[\s,()]+", re.sub(r" as \w+", "", names))):
                full = f"{package}.{name}" if package else name
                near = next((one for one in (full, package) if one in MODULES), None)
                if full.partition(".")[0] == "pgste":
                    found[module].add(near or f"{package or name}.__init__")
    return found


def test_rooms_import_only_what_the_table_allows() -> None:
    room = {module: module.split(".")[1] for module in MODULES}
    pairs = {(room[a], room[b], f"{a} -> {b}") for a, those in _imports().items() for b in those}
    assert len(pairs) > 100
    assert {room[module] for module in MODULES} == set(ALLOWED)
    assert [which for a, b, which in pairs if a != b and b not in ALLOWED[a].split()] == []


def test_no_circles_of_rooms_or_files() -> None:
    TopologicalSorter({room: allowed.split() for room, allowed in ALLOWED.items()}).prepare()
    TopologicalSorter(_imports()).prepare()  # CycleError names the files


def test_few_modules_lie_in_pgste_itself() -> None:
    assert len({module for module in MODULES if module.count(".") == 1}) <= 8

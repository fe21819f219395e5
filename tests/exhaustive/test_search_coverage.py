# SPDX-License-Identifier: MIT
"""How much of the rules the search gets to; docs/guarantees.md, "What was reached"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exhaustive.mutant import CC, CORE
from pgste._engine.watch import Progress
from pgste.guarantees import MECHANISMS, SYSTEMS, Subject
from pgste.guarantees.search import _search

if TYPE_CHECKING:
    from pgste._engine.search import SearchResult

# State bytes by hand: usage stable (0) or unused (1), ZERO (4), PTE none, valid (0x40) or swap
# (0x80).  One that is neither is a page of which the host has nothing, or an aged one.
ALL = {u | z | p for u, z, p in product((0, 1), (0, 4), (0, 0x40, 0x80))}
REACHED = {
    # one table: reclaim drops unused pages, and free sets ZERO of those on swap
    "cmma": ALL - {0x81},
    "cmma_7_0": ALL,
    # ZERO goes as a page is mapped
    "cmma_7_1_5": ALL - {0x44, 0x45},
}
# Lines of the rules that the search gets to, of those that there are, in per cent, at least.  The
# shared zero page and the swap cache of reclaim "lru", which no search has, are in fault, host_pte
# and pte.
LINES = {
    "guest/zap.c": 84,
    "guest/cbrl.c": 78,
    "memory/evict.c": 92,
    "memory/fault.c": 90,
    "memory/host_pte.c": 85,
    "memory/madvise.c": 83,
    "memory/pte.c": 76,
    "memory/reclaim.c": 95,
    "host/swap.c": 95,
    "mech/reporting.c": 84,
}
SMALL = tuple(system for system in SYSTEMS if system.pages < 3 and system.frames == 1)


def results(key: str) -> list[SearchResult]:
    subject: Subject = next(subject for subject in MECHANISMS if subject.key == key)
    return [_search(subject, y, Progress()) for y in SMALL if y.fits(subject)]


@pytest.mark.parametrize("key", REACHED)
def test_state_bytes_and_entries_of_essa(key: str) -> None:
    """Each state byte that can be, and each of them under both requests of the hooks."""
    found = results(key)
    for name in ("seen", "met_unused", "met_stable"):
        assert {state for each in found for state in each[name]} == REACHED[key]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """Lines run and lines there are, of each file, by a core that counts."""
    folder = tmp_path_factory.mktemp("coverage")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-fvisibility=hidden", "-pthread"]
    sources = sorted(CORE.glob("*/*.c"))
    objects = []
    for source in sources:
        made = folder / f"{source.parent.name}-{source.stem}.o"
        # counting costs the search five times its time: only where it is asked for
        counting = ["--coverage"] if str(source.relative_to(CORE)) in LINES else []
        command = [*CC, *flags, *counting, f"-I{CORE}", "-c", str(source), "-o", str(made)]
        subprocess.run(command, check=True)
        objects.append(str(made))
    library = folder / "libpgste.so"
    command = [*CC, "-shared", "-pthread", "--coverage", *objects, "-o", str(library)]
    subprocess.run(command, check=True)
    script = (
        "from pgste.guarantees import MECHANISMS, SYSTEMS, guarantees\n"
        "small = [y for y in SYSTEMS if y.pages < 3 and y.frames == 1]\n"
        "guarantees(systems=small)\n"
        "kvm = [subject.key for subject in MECHANISMS if subject.generation != 'zvm']\n"
        "guarantees(kvm, systems=small[:2], backing='memfd', pinned=True)\n"
    )
    where = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    subprocess.run([sys.executable, "-c", script], check=True, env=where)
    found = {}
    for file in LINES:
        made = folder / (file.replace("/", "-").removesuffix(".c") + ".o")
        told = subprocess.run(
            ["gcov", "--stdout", "--json-format", str(made)],
            check=True,
            capture_output=True,
            text=True,
            cwd=folder,
        )
        found[file] = count(json.loads(told.stdout), file)
    return found


def count(report: dict[str, list[dict[str, object]]], file: str) -> tuple[int, int]:
    for each in report["files"]:
        if Path(str(each["file"])).match(file):
            there = each["lines"]
            assert isinstance(there, list)
            return sum(line["count"] > 0 for line in there), len(there)
    raise AssertionError(f"gcov tells nothing of {file}")


@pytest.mark.parametrize("file", LINES)
def test_lines_of_the_rules(lines: dict[str, tuple[int, int]], file: str) -> None:
    run, there = lines[file]
    assert 100 * run >= LINES[file] * there, f"{run} of {there} lines"

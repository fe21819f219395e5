# SPDX-License-Identifier: MIT
"""Modules by their old names, and the functions that share a name with a module."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from itertools import permutations

import pytest

from pgste.moved import MOVED

# What each module had in __all__, or was imported for, when it had its old name.
NAMES = {
    "_live": "Mapping RefusedCall Replay swap_on swap_off mount unmount LAZYFREE",
    "_search": "ACTIONS GENERATIONS QUESTIONS search",
    "_trace": "RingDecoder TextDecoder summarize",
    "batch": "MAX_THREADS run_all",
    "calibrate": "LENGTHS Cost ESTIMATE_ROWS Estimate Profile calibrate estimate machine",
    "cli": "main",
    "compare": "ROWS Comparison MechanismResult Row compare guest_pages kernel_watermarks",
    "conformance": "BATCH Divergence Result Run check flags_allowed one_cpu random_sequence shrink",
    "conformance_sides": "NONE PRESENT SWAPPED Bits Kernel Model Op Pages",
    "enums": "Content Orc PgsteBits PteBits State Usage",
    "events": "FREE MAX_ORDER MAX_PFN Words check_events check_times integers",
    "guarantees": "DEEP_SYSTEMS MECHANISMS QUESTIONS SYSTEMS Cell Guarantees Question Subject"
    " System cell_text guarantees",
    "judge": "Finding judge",
    "live": "HINTS Advice Counts Memory Refused State Stats why_refused",
    "live_replay": "CHUNK_PAGES LiveReplay Run Scaled live_replay scale",
    "pagecache": "COLD_PAGES POLICIES ColdPage PageIo cold_page file_accesses replay",
    "path": "NOT_ASKED_FOR ORDERS POISON STEPS AllocatorPath Boot Order PageView Stage Step"
    " StepResult Touch describe poison_report view",
    "plot": "MAP_CLASSES classify plot_comparison plot_map",
    "plot_live": "plot_live_replay",
    "pressure": "Hierarchy MemoryLimit SwapFile find_hierarchy swap_bytes",
    "record": "Recording import_perf record",
    "scenarios": "SCENARIOS Act Line Outcome Report Scenario run_scenario",
    "trace": "Trace sample_trace",
    "trace_dat": "MAGIC TraceDat merge parse ring_layout",
    "trace_read": "Progress Recording read",
    "tracefile": "MAGIC parse write",
    "tracefs": "Instance TraceFs mounted_at",
    "units": "PAGE_BYTES format_bytes format_count format_rate parse_frames",
    "witness": "Moment Poison Step play",
}


@pytest.mark.parametrize("old", NAMES)
def test_a_module_by_its_old_name_is_the_very_same(old: str) -> None:
    module = import_module(f"pgste.{old}")
    assert module is import_module(f"pgste.{MOVED.get(old, old)}")
    assert [name for name in NAMES[old].split() if not hasattr(module, name)] == []
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__


def test_every_old_name_is_tested() -> None:
    assert set(MOVED) <= set(NAMES)


# Ways to come by what has a name that is a function's and a module's.
WAYS = {
    "compare": (
        "import pgste.compare",
        "from pgste.compare import ROWS",
        "import pgste.study.compare",
        "from pgste import compare",
        "pgste.compare",
        "import pgste.cli.compare",
    ),
    "guarantees": (
        "import pgste.guarantees",
        "from pgste.guarantees import QUESTIONS",
        "import pgste.guarantees.search",
        "from pgste import guarantees",
        "pgste.guarantees",
        "import pgste.cli.guarantees",
    ),
}
# Each order in a process that has imported nothing of pgste; NumPy is there to save time.
IN_ORDER = """
import os, sys, types
import numpy
name, *orders = sys.argv[1:]
for order in orders:
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0, order
        continue
    import pgste
    for way in order.split("; "):
        exec(way)
        function = getattr(pgste, name)
        if type(function) is not types.FunctionType or function.__name__ != name:
            os._exit(1)
    os._exit(0)
"""


@pytest.mark.parametrize("name", WAYS)
def test_functions_win_over_modules_of_their_name(name: str) -> None:
    orders = [*permutations(WAYS[name], 2), WAYS[name], WAYS[name][::-1]]
    program = [sys.executable, "-W", "ignore", "-c", IN_ORDER, name]
    done = subprocess.run(
        [*program, *map("; ".join, orders)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

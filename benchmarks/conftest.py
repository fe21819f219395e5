# SPDX-License-Identifier: MIT
"""Options of the benchmark suite, and the `measure` fixture."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

import pytest

from benchmarks.harness import Measure

FULL = "16,20,24,28"
SHORT = "16,18"
MIN_EXPONENT, MAX_EXPONENT = 16, 30  # workloads.TILE pages at the least


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pgste")
    group.addoption(
        "--pgste-sizes",
        help=f"sizes as exponents of 2, by default {FULL} (or the variable PGSTE_BENCH_SIZES)",
    )
    group.addoption("--pgste-rounds", type=int, help="rounds of each benchmark, by default 15")
    group.addoption(
        "--short", action="store_true", help=f"3 rounds, sizes {SHORT}: a check that all runs"
    )


def _sizes(config: pytest.Config) -> list[int]:
    short = config.getoption("--short")
    text = config.getoption("--pgste-sizes") or os.environ.get("PGSTE_BENCH_SIZES", "")
    sizes = []
    for word in (text or (SHORT if short else FULL)).split(","):
        if not word.strip().isdecimal() or not MIN_EXPONENT <= int(word) <= MAX_EXPONENT:
            raise pytest.UsageError(
                f"sizes: {word!r} is no exponent in {MIN_EXPONENT} .. {MAX_EXPONENT}"
            )
        sizes.append(int(word))
    return sizes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "exponent" in metafunc.fixturenames:
        most = next((mark.args[0] for mark in metafunc.definition.iter_markers("most")), 99)
        sizes = [size for size in _sizes(metafunc.config) if size <= most]
        metafunc.parametrize("exponent", sizes, ids=[f"2^{size}" for size in sizes])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "most(exponent): sizes above 2^exponent are left out")


@cache
def commit() -> dict[str, object]:
    """Commit of the source tree, and whether it has changes."""
    utils: Any = import_module("pytest_benchmark.utils")
    found = utils.get_commit_info()
    return {"commit": found["id"], "dirty": found["dirty"]}


@pytest.fixture
def short(request: pytest.FixtureRequest) -> bool:
    """Whether this is a short run."""
    return bool(request.config.getoption("--short"))


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any, short: bool) -> Measure:
    """Times a `harness.Plan`; in the group of its file."""
    rounds = request.config.getoption("--pgste-rounds") or (3 if short else 15)
    benchmark.group = request.path.stem.removeprefix("bench_")
    return Measure(benchmark, rounds, commit())

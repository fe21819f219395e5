# SPDX-License-Identifier: MIT
"""Every CPU variant gives what the portable one gives, and that is what the words say."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pgste
from exhaustive import scan_workload

VARIANTS = dict(pgste.isa_variants())


@functools.cache
def answers(variant: str) -> list[str]:
    """The lines that the workload prints with this variant forced."""
    run = subprocess.run(
        [sys.executable, str(Path(scan_workload.__file__)), "check"],
        env={
            **os.environ,
            "PGSTE_ISA": variant,
            "PYTHONPATH": str(Path(pgste.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    name, *lines = run.stdout.splitlines()
    assert json.loads(name) == variant
    return lines


def test_portable_is_always_there() -> None:
    assert VARIANTS["portable"]
    assert pgste.isa_name() in VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant(variant: str) -> None:
    if not VARIANTS[variant]:
        pytest.skip(f"this CPU cannot run {variant}")
    expected = answers("portable")
    assert len(expected) > len(scan_workload.SIZES)
    for line, same in zip(answers(variant), expected, strict=True):
        assert line == same


@pytest.mark.parametrize("name", ["sse9", "Portable", "avx2 "])
def test_unknown_variant_is_refused(name: str) -> None:
    before = pgste.isa_name()
    with pytest.raises(pgste.UnknownNameError):
        pgste.isa_select(name)
    assert pgste.isa_name() == before
    run = subprocess.run(
        [sys.executable, "-c", "import pgste; pgste.Guest(1).count_states()"],
        env={
            **os.environ,
            "PGSTE_ISA": name,
            "PYTHONPATH": str(Path(pgste.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert f"PGSTE_ISA: no CPU variant {name!r}" in run.stderr

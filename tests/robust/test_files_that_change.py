# SPDX-License-Identifier: MIT
"""Trace files that another program writes to or truncates: an error or what was read, no signal.

Each case runs in a process of its own, which a touch of a map without a file would end.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TRACES = Path(__file__).parents[1] / "golden" / "traces"
PROLOGUE = """
import os, sys, threading
import numpy as np
import pgste
from pgste import Guest, Replay, Trace

N = 1 << 16
PATH = sys.argv[1]


def some_trace(nr):
    random = np.random.default_rng(2019)
    return Trace.from_arrays(random.integers(0, 2, nr), random.integers(0, N, nr), [0] * nr)
"""


def run(program: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(program), str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"
    return done.stdout


@pytest.mark.parametrize(
    "harm", ["os.truncate(PATH, 0)", "open(PATH, 'r+b').write(b'\\xff' * size)"]
)
def test_a_file_that_changes_after_it_was_opened(harm: str, tmp_path: Path) -> None:
    run(
        f"""
        some_trace(300_000).save(PATH)
        size = os.stat(PATH).st_size
        trace = Trace.open(PATH)
        {harm}
        assert trace == some_trace(300_000)
        guest = Guest(N)
        assert Replay(guest, trace.events).run() == 300_000
        guest.host.validate()
        trace.summary()
        """,
        tmp_path / "a.pgt",
    )


@pytest.mark.parametrize("kind", ["pgt", "text", "trace.dat"])
def test_a_file_that_changes_while_it_is_opened(kind: str, tmp_path: Path) -> None:
    """Truncated, written to and restored all the time: whole traces or errors come out."""
    path = tmp_path / "trace"
    if kind == "text":
        path.write_bytes((TRACES / "cut.ftrace.txt").read_bytes() * 100)
    elif kind == "trace.dat":
        path.write_bytes((TRACES / "small.trace.dat").read_bytes())
    out = run(
        f"""
        if {kind == "pgt"}:
            some_trace(100_000).save(PATH)
        good = open(PATH, "rb").read()
        expected = Trace.open(PATH)
        stop = threading.Event()

        def harm():
            fd = os.open(PATH, os.O_RDWR)
            while not stop.is_set():
                os.ftruncate(fd, len(good) // 3)
                os.pwrite(fd, b"\\xff" * 4096, len(good) // 2)
                os.pwrite(fd, good, 0)

        thread = threading.Thread(target=harm)
        thread.start()
        opened = refused = 0
        for _ in range(60):
            try:
                trace = Trace.open(PATH)
                opened += 1
                assert {kind != "pgt"} or trace == expected  # the others have no checksums
            except pgste.TraceError:
                refused += 1
        stop.set()
        thread.join()
        print(opened + refused)
        """,
        path,
    )
    assert out == "60\n"

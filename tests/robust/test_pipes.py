# SPDX-License-Identifier: MIT
"""Pipes and devices as input: what can be read from a file can be read from them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pgste import Trace
from pgste.errors import TraceError

TRACES = Path(__file__).parents[1] / "golden" / "traces"
NAMES = ["cut.ftrace.txt", "small.trace.dat", "small.trace-cmd.txt.xz", "a.pgt", "a.pgt.xz"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    import lzma

    trace = Trace.open(TRACES / "cut.ftrace.txt")
    trace.save(tmp_path / "a.pgt")
    found = {name: (TRACES / name).read_bytes() for name in NAMES[:3]}
    found["a.pgt"] = (tmp_path / "a.pgt").read_bytes()
    found["a.pgt.xz"] = lzma.compress(found["a.pgt"])
    return found


@pytest.mark.parametrize("step", [1 << 16, 997])
@pytest.mark.parametrize("name", NAMES)
def test_fifo(name: str, step: int, files: dict[str, bytes], tmp_path: Path) -> None:
    plain, fifo, data = tmp_path / "plain", tmp_path / "fifo", files[name]
    plain.write_bytes(data)
    os.mkfifo(fifo)

    def feed() -> None:
        with open(fifo, "wb", buffering=0) as out:
            for at in range(0, len(data), step):
                out.write(data[at : at + step])

    thread = threading.Thread(target=feed)
    thread.start()
    calls: list[tuple[int, int]] = []
    trace = Trace.open(fifo, lambda done, total: calls.append((done, total)))
    thread.join()
    expected = Trace.open(plain)
    assert trace == expected
    assert (trace.format, trace.compression) == (expected.format, expected.compression)
    assert trace.counters == expected.counters
    assert calls[-1] == (len(data), len(data))


@pytest.mark.parametrize("name", NAMES)
def test_fifo_that_ends_early(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    half = files[name][: len(files[name]) // 2 + 1]
    thread = threading.Thread(target=lambda: fifo.write_bytes(half))
    thread.start()
    with pytest.raises(TraceError, match="cut off"):
        Trace.open(fifo)
    thread.join()


@pytest.mark.parametrize("path", ["-", "/dev/stdin", "/proc/self/fd/0"])
@pytest.mark.parametrize("name", NAMES)
def test_standard_input(name: str, path: str, files: dict[str, bytes]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgste.cli", "info", "--json", path],
        input=files[name],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b'"alloc_events"' in done.stdout


def test_standard_input_that_is_closed() -> None:
    command = f"exec {sys.executable} -m pgste.cli info - <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip().startswith(b"pgste: ")

# SPDX-License-Identifier: MIT
"""Memory: a new guest, a comparison as a whole, and a large trace file."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from benchmarks import limits
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Host
from pgste.study.sizes import guest_pages
from pgste.traces import Trace

PAGES = 1 << 28
CHILD = Path(__file__).with_name("child.py")
TRACES = "PGSTE_TRACES"

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def resident_bytes() -> int:
    """Resident memory of this process, from /proc."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def child(*arguments: object) -> dict[str, Any]:
    """What child.py prints."""
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def bench_new_guest(measure: Measure) -> None:
    """A guest of 2^28 pages on a host with a frame and a slot for each of them."""
    kept: list[Guest] = []
    host = Host(PAGES, PAGES)
    kept.append(Guest(PAGES, host))
    kept.clear()
    before = resident_bytes()
    kept.append(Guest(PAGES, host))
    resident = resident_bytes() - before
    per_page = kept[0].bytes_per_page
    kept.clear()

    def check(guest: Guest) -> None:
        assert guest.pages == PAGES
        assert int(guest.pgste(PAGES - 1)[0]) == 0

    measure(
        Plan(
            lambda: Guest(PAGES, host),
            items=1,
            unit="guest",
            pages=PAGES,
            check=check,
            limits={
                "a map of as many bytes": Limit(
                    lambda: mmap.mmap(-1, int(PAGES * per_page)).close(), 1
                )
            },
            bars=[
                Bar("time to make a guest of 2^28 pages", at_most=0.01, value="seconds", unit="s"),
                Bar(
                    "resident memory of a new guest of 2^28 pages",
                    at_most=float(1 << 20),
                    value=float(resident),
                    unit="bytes",
                ),
                Bar("bytes a page", at_most=12, value=per_page, unit="bytes"),
            ],
            facts={"resident_bytes": resident, "bytes_per_page": per_page},
            sizes={"resident": resident, "tables": PAGES * per_page},
        )
    )


def largest_trace() -> Path | None:
    """Of the folder that the variable PGSTE_TRACES names."""
    folder = os.environ.get(TRACES)
    files = [path for path in Path(folder or "/nowhere").glob("*") if path.suffix != ".md"]
    return max(files, key=lambda path: path.stat().st_size, default=None)


@pytest.mark.parametrize("name", ["sample", "largest", "largest as pgt"])
def bench_compare_command(measure: Measure, name: str, short: bool, tmp_path: Path) -> None:
    """`pgste compare` as a command; against `pgste --version`."""
    path = None if name == "sample" else largest_trace()
    if name != "sample" and (short or path is None):
        pytest.skip(f"{TRACES} names no folder of traces, or a short run")
    trace = pgste.sample_trace() if path is None else Trace.open(path)
    if name == "largest as pgt":
        path = tmp_path / "largest.pgt"
        trace.save(path)
    expected = pgste.compare(trace)
    _, pages = guest_pages(trace.summary())
    per_page = Guest(pages).bytes_per_page
    peaks: list[int] = []
    starts: list[int] = []

    def subject() -> dict[str, Any]:
        return child("compare", *([] if path is None else [path]))

    def check(answer: dict[str, Any]) -> None:
        assert answer["code"] == 0
        for result in expected.results:
            assert f"{int(result.values['swap_outs']):,}" in answer["output"]
        peaks.append(answer["VmHWM"])
        starts.append(answer["start"])

    def version() -> None:
        subprocess.run(
            [sys.executable, "-m", "pgste.cli", "--version"], capture_output=True, check=True
        )

    check(subject())
    measure(
        Plan(
            subject,
            items=len(trace),
            unit="event",
            pages=pages,
            check=check,
            limits={"starting Python": Limit(version, len(trace))},
            facts={"trace": path.name if path else "sample"},
            sizes={
                "most resident": max(peaks),
                "resident after the imports": max(starts),
                "decoded trace": 16 * len(trace),
                "tables of one guest": pages * per_page,
                "tables, for all mechanisms": pages * per_page * len(expected.results),
            },
            rounds=1 if short else 5,
        )
    )


def bench_large_file(measure: Measure, short: bool, tmp_path: Path) -> None:
    """Opening a .pgt of 512 MiB and a pass over it, with room for its bytes and 16 MiB more.

    The file is read into private memory, once, and checked there.
    """
    nr = 1 << (21 if short else 25)
    room = 1 << 24
    step = np.arange(nr, dtype=np.uint64)
    events = (step & np.uint64(0xFFFF)) << np.uint64(8) | (step >> np.uint64(16)) & np.uint64(1)
    path = tmp_path / "large.pgt"
    Trace._trusted(events, step * np.uint64(100)).save(path)
    file_bytes = path.stat().st_size
    room += file_bytes
    word = int(np.bitwise_xor.reduce(events))
    del step, events
    data = np.memmap(path, np.uint8, "r")
    bare = limits.load()
    answers = [child("open", path, room)]

    def check(answer: dict[str, Any]) -> None:
        assert answer["events"] == nr
        assert answer["word"] == word
        assert answer["own"] < room
        assert answer["mapped"] < 1 << 24

    check(answers[0])
    measure(
        Plan(
            lambda: child("open", path, room),
            items=nr,
            unit="event",
            bytes=file_bytes,
            check=check,
            limits={
                "plain read": Limit(lambda: bare.read(data), nr),
                "zlib's checksum": Limit(lambda: zlib.crc32(data.data), nr),
            },
            sizes={
                "file": file_bytes,
                "own memory, growth": answers[0]["own"],
                "room for own memory": room,
                "pages of files that are mapped": answers[0]["mapped"],
            },
            rounds=1 if short else 5,
        )
    )

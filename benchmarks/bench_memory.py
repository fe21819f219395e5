# SPDX-License-Identifier: MIT
"""What a guest costs: bytes a page, time and resident memory of a new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.harness import Bar, Measure, Plan
from pgste import Guest, Host

PAGES = 1 << 28


def resident_bytes() -> int:
    """Resident memory of this process, from /proc."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
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
        )
    )

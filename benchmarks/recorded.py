# SPDX-License-Identifier: MIT
"""What a recording costs the program that is recorded: python benchmarks/recorded.py [ROUNDS].

In turn: the program alone, recorded, and recorded with accesses.  Its wall and CPU time, medians,
and medians of the ratios within a round.  Takes root, and DAMON for the accesses.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

from pgste.live.record import record

ROUNDS = 15
PROGRAM = """
import mmap
for _ in range(60):
    m = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for _ in range(4):
        m[::4096] = bytes(64 << 8)
    m.close()
"""
"""It takes and gives back 983,040 pages, and stores to each four times."""
KINDS = ("alone", "recorded", "with accesses")
PAIRS = (("recorded", "alone"), ("with accesses", "recorded"), ("with accesses", "alone"))


def timed(kind: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run of the program."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", PROGRAM]
    if kind == "alone":
        subprocess.run(command, check=True)
        wall = time.monotonic() - started
    else:
        wall = record(command, access=kind == "with accesses").seconds
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    found = [{kind: timed(kind) for kind in KINDS} for _ in range(rounds)]
    for i, what in enumerate(("wall", "CPU")):
        for kind in KINDS:
            print(f"{what} {kind}: {statistics.median(one[kind][i] for one in found):.2f} s")
        for kind, other in PAIRS:
            ratios = sorted(one[kind][i] / one[other][i] for one in found)
            low, high = ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]
            middle = statistics.median(ratios)
            print(f"{what} {kind} / {other}: {middle:.3f} (quartiles {low:.3f}, {high:.3f})")


if __name__ == "__main__":
    main()

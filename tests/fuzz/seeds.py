# SPDX-License-Identifier: MIT
"""What the corpora started from: small files and calls that reach far into each harness.

``python -m fuzz.seeds FOLDER`` writes a folder for each harness.  The corpus in the repository
is what the fuzzers made of it, minimised.
"""

from __future__ import annotations

import io
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fuzz.formats import ALLOC, FREE, FREE_BATCHED, Machine, compress, dat_v6, dat_v7, pgt
from pgste import Guest, Host, migration
from pgste.migration import Flag, wire

TRACES = Path(__file__).parents[1] / "golden" / "traces"

# The numbers that tests/fuzz/api/api.c gives to calls.
CALL_GUEST_NEW, CALL_HOST_NEW = 55, 59
# Calls that stand for many: slots, the CMMA log, keys, the PTE layer, the host's table.
FAMILIES = (3, 28, 11, 8, 17)
OPTIONS = 96  # a generation from there on is followed by two bytes of options


def texts() -> Iterator[bytes]:
    """A few lines from the start and the middle of each golden text, and odd lines."""
    for path in sorted(TRACES.glob("cut.*.txt")):
        lines = path.read_bytes().splitlines(keepends=True)
        for start in (0, len(lines) // 2):
            yield b"".join(lines[start : start + 14])
            yield b"".join(lines[start : start + 3])
    event = b"          <idle>-0     [001] d.s2.  5.123456789: mm_page_free: "
    yield (
        event + b"page=0000 pfn=0x1f order=39\n" + b"CPU:1 [LOST 403 EVENTS]\nCPU:2 [LOST EVENTS]\n"
    )
    yield b"cpus=2\n" + event.replace(b": mm", b":  mm") + b"pfn=5 order=0\n"
    yield b"CPU:0 [7 EVENTS DROPPED]\nCPU:0 [EVENTS DROPPED]\n" + event + b"\x01\x01\x9a\n"
    yield b"perf  1 [001] 5.1: kmem:mm_page_alloc: pfn=0x0 order=0 migratetype=1 gfp_flags=G\n"
    yield b"perf  1/2 [001] 5.1: PERF_RECORD_LOST lost 7\n\tffff8 function\n => function\n"


def rings() -> Iterator[bytes]:
    """Layout bytes as ring.c takes them, then a page."""
    for big_endian in (False, True):
        for commit_bytes in (8, 4):
            machine = Machine(big_endian, 192, commit_bytes)
            records = b"".join(
                machine.record(number, 0x1234 + i, i % 3) for i, number in enumerate((2, 3, 4, 9))
            )
            flags = 1 | big_endian << 1 | (commit_bytes == 4) << 2
            for lost in (0, 1 << 31, 3 << 30):
                page = machine.page(records, flags=lost if commit_bytes == 8 else 0)
                yield bytes([flags, 40]) + page
                yield bytes([flags & 6, 40]) + bytes(16) + page


def summaries() -> Iterator[bytes]:
    choose = random.Random(3)
    for nr in (1, 10, 60):
        yield bytes(choose.choice((0, 1, 2, 3, 0x12, 0x23)) if i % 2 == 0 else choose.randrange(40)
                    for i in range(2 * nr))  # fmt: skip
    yield b"\x80" + struct.pack("<Q", 5 << 8 | 2 << 2) + b"\x80" + struct.pack("<Q", 5 << 8 | 1)


def searches() -> Iterator[bytes]:
    for mechanism in range(5):
        for generation in range(3):
            yield bytes([mechanism, generation, 0, 0, 2, 1, 1, 1, generation & 1, 0x90, 1])


def apis() -> Iterator[bytes]:
    """A host, some guests, then calls by chance."""
    yield from apis_of_families()
    choose = random.Random(7)
    for seed in range(120):
        data = bytearray([choose.choice((0, 1, 5, 7, 3))])
        data += bytes([CALL_HOST_NEW, 0, choose.choice((0, 1, 2, 3, 9))])
        data += choose.randbytes(2)
        for _ in range(1 + seed % 3):
            pages = choose.randrange(128)
            data += bytes([CALL_GUEST_NEW, 0, pages, choose.randrange(250), choose.randrange(256)])
            data += bytes([choose.randrange(3), 0])
        data += bytes(
            choose.randrange(256) if choose.random() < 0.8 else choose.randrange(8)
            for _ in range(choose.randrange(40, 500))
        )
        yield bytes(data)


def apis_of_families() -> Iterator[bytes]:
    """Guests with slots, keys, two tables and several vcpus, and the calls about these."""
    choose = random.Random(11)
    for seed in range(120):
        data = bytearray([choose.choice((0, 1, 5, 7, 3)), CALL_HOST_NEW, 0, choose.choice((0, 1))])
        data += choose.randbytes(2)
        for _ in range(1 + seed % 2):
            generation = OPTIONS + seed % 3 + 3 * choose.randrange(40)
            numbers = choose.choice((0, 9, 3, 7))  # of vcpus, and of entries of the list
            data += bytes([CALL_GUEST_NEW, 0, choose.randrange(8, 128), choose.choice((1, 1, 3))])
            data += bytes([numbers, generation, choose.choice((0, 16, 16, 1, 21, 4))])
            slots = bytes(choose.randrange(254) for _ in range(9))
            data += bytes([choose.choice((0, 0, 1, 2, 4, 6, 9))])
            if choose.random() < 0.5:
                data[-1] |= 16
                data += bytes([2]) + slots[:6]
            data += bytes(1)
        for _ in range(choose.randrange(10, 90)):
            family = choose.choice(FAMILIES) if seed % 4 else FAMILIES[seed // 4 % 5]
            other = choose.randrange(CALL_GUEST_NEW)
            data += bytes([family if choose.random() < 0.7 else other])
            data += bytes(choose.randrange(250) for _ in range(choose.randrange(3, 14)))
        yield bytes(data[:1500])


def pgts() -> Iterator[bytes]:
    words = [7 << 8, 7 << 8 | 1, 8 << 8 | 3 << 2]
    for text in (b"{}", b'{"format": "ftrace", "counters": {"lines": 3, "lost": 0}}', b"[1]"):
        for nr in (0, 3):
            data = pgt(words[:nr], range(nr), text)
            yield data
            for name in ("xz", "gz", "bz2"):
                yield compress(name, data)
    yield pgt(words, [3, 2, 1], b"{}")
    yield pgt([2, 40 << 2, 1 << 63], [1, 2, 3], b"{}")
    touched = [7 << 8 | 2, 8 << 8 | 3]
    yield pgt(words, range(3), b"{}", touched, [0, 3])
    yield compress("xz", pgt(words, range(3), b"{}", touched, [1, 1]))
    yield pgt(words, range(3), b"{}", touched, [1, 4])
    yield pgt([], [], b"{}", [1, 7 << 8 | 6], [1, 0])


def dats() -> Iterator[bytes]:
    for machine in (Machine(), Machine(True), Machine(commit_bytes=4)):
        records = b"".join(
            machine.record(number, 0x99, 1) for number in (ALLOC, FREE, FREE_BATCHED, 1)
        )
        cpus = [machine.page(records) + machine.full_page(), b"", machine.page(b"")]
        yield dat_v6(machine, cpus)
        yield dat_v7(machine, cpus, packed=False)
        yield dat_v7(machine, cpus, packed=True)
        yield dat_v7(machine, cpus, packed=True, level=0)
        for name in ("xz", "gz", "bz2"):
            yield compress(name, dat_v7(machine, cpus, packed=False))


def streams() -> Iterator[bytes]:
    """Saved by guests with a hole and without, framed and not; the last byte tells the guest."""
    for generation in ("pgtable", "dat"):
        for slots in ([(0, 40, 100, True), (50, 30, 500, True)], None):
            for framed in (True, False):
                guest = Guest(80, Host(8, 8), generation=generation, slots=slots, nodat=True)
                guest.essa(2, range(0, 40, 3))
                guest.essa(7, range(50, 60))
                for rate_limit in (None, 1):
                    file = io.BytesIO()
                    migration.save(guest, file, framed=framed, rate_limit=rate_limit, iterations=3)
                    yield file.getvalue()
    words = (wire.word(flag) for flag in (Flag.EOS, Flag.DONE, Flag.EOS))
    yield b"".join(words)
    yield wire.word(Flag.EOS) + wire.word(Flag.ERROR)
    yield wire.more(0, np.zeros(0, np.uint8)) + wire.word(Flag.DONE) + wire.word(Flag.EOS)


SEEDS = {
    "text": texts,
    "ring": rings,
    "summary": summaries,
    "search": searches,
    "api": apis,
    "pgt": pgts,
    "dat": dats,
    "stream": streams,
}


def write(folder: Path) -> None:
    for harness, make in SEEDS.items():
        (folder / harness).mkdir(parents=True, exist_ok=True)
        for i, data in enumerate(make()):
            (folder / harness / f"seed-{i:03}").write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

# SPDX-License-Identifier: MIT
"""Small files that ask for much: refused within the budget, by an error that says how to raise it.

Each is read in a process of its own, whose address space and time are limited.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from pgste import Fleet, Member, Trace, compare, sample_trace
from pgste._engine.trace import summarize
from pgste.errors import ArgumentError, ArgumentTypeError, ModelMemoryError, TraceError
from pgste.files.texts import MAX_DEPTH, load_json
from pgste.study.costs import Profile
from pgste.traces import Budget
from pgste.traces.dat import ring_layout

MIB = 1 << 20
# The sanitizers take terabytes of address space, and some ten times as long.
SANITIZED = "PGSTE_SANITIZED" in os.environ
SECONDS = 120 if SANITIZED else 20  # far above what any takes, and below what most took
HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\n\tfield: local_t commit;\toffset:8;\tsize:8;\n"
)
HEADER_PAGE += "\tfield: char data;\toffset:16;\tsize:4080;\n"
FORMAT = (
    "name: mm_page_free\nID: 7\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\n"
    "\tfield:unsigned long pfn;\toffset:8;\tsize:8;\n"
    "\tfield:unsigned int order;\toffset:16;\tsize:4;\n"
)


def line(kind: str, pfn: int, order: int) -> str:
    rest = " migratetype=0 gfp_flags=GFP_KERNEL" if kind == "alloc" else ""
    return (
        f"            bash-1     [000] d..1. 1.000001: mm_page_{kind}: page=0 pfn=0x{pfn:x} "
        f"order={order}{rest}\n"
    )


def cli(
    *words: str, room: int = 1600 * MIB, stdin: IO[bytes] | None = None
) -> tuple[int, str, int]:
    """Exit status, what it says, and peak of resident KiB of the command line within limits.

    That is standard error, or, if there is nothing, what is printed.

    With the sanitizers neither is limited, and the peak is 0.
    """
    program = (
        "import resource, sys; from pgste.cli import main; status = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); "
        "sys.exit(status)"
    )
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (room, room))
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        stdin=stdin,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=None if SANITIZED else limit,
    )
    error = done.stderr.decode()
    assert "Traceback" not in error
    *message, peak = error.strip().splitlines()
    told = "\n".join(message) or " ".join(done.stdout.decode().split())
    return done.returncode, told, 0 if SANITIZED else int(peak)


def section(content: bytes) -> bytes:
    return struct.pack("<HHIQ", 0, 0, 0, len(content)) + content


def trace_dat(
    formats: str = FORMAT,
    cpus: int = 1,
    chunk: bytes = bytes(4096),
    stated: int | None = None,
    repeated: int = 1,
) -> bytes:
    """A packed trace.dat of version 7 whose CPUs all name the same chunk."""
    info = b"header_page\0" + struct.pack("<Q", len(HEADER_PAGE)) + HEADER_PAGE.encode()
    info += b"header_event\0" + struct.pack("<Q", 0)
    texts = (
        struct.pack("<I", 1) + b"kmem\0" + struct.pack("<IQ", 1, len(formats)) + formats.encode()
    )
    data = bytearray(b"\x17\x08\x44tracing7\0\0\x08" + struct.pack("<I", 4096) + b"zlib\x001\0")
    at_first = len(data)
    data += bytes(8)

    def put(content: bytes) -> int:
        data.extend(content)
        return len(data) - len(content)

    at_info, at_formats = put(section(info)), put(section(texts))
    packed = zlib.compress(chunk, 9)
    size = len(chunk) if stated is None else stated
    at_pages = put(struct.pack("<III", 1, len(packed), size) + packed)
    buffer = bytes(8) + b"\0local\0" + struct.pack("<II", 4096, cpus)
    buffer += struct.pack("<IQQ", 0, at_pages, 12 + len(packed)) * cpus
    options = (
        struct.pack("<HIQ", 16, 8, at_info) + struct.pack("<HIQ", 18, 8, at_formats) * repeated
    )
    options += struct.pack("<HI", 3, len(buffer)) + buffer + struct.pack("<HIQ", 0, 8, 0)
    data[at_first : at_first + 8] = struct.pack("<Q", put(section(options)))
    return bytes(data)


def pgt_of(nr: int) -> bytes:
    """A .pgt of so many events that are all 0, by its parts; above 4 Mi only its header.

    The header is checked before the rest is read, so that there need not be a rest.
    """
    description = b"{}"
    words = 8 * nr
    at_times = -(-(128 + words) // 64) * 64
    at_text = -(-(at_times + words) // 64) * 64
    at_sums = at_text + 64
    body = bytes(at_text - 128) + description + bytes(62) if nr <= 4 * MIB else b""
    sums = b"".join(
        struct.pack("<I", zlib.crc32(body[at : at + MIB])) for at in range(0, len(body), MIB)
    )
    fields = (at_sums - 4 * (-(at_sums - 128) // MIB), nr, 128, at_times, at_text, 2, at_sums, MIB)
    header = b"\x89PGT\r\n\x1a\n" + struct.pack("<II8Q40xI", 1, 128, *fields, zlib.crc32(sums))
    return header + struct.pack("<I", zlib.crc32(header)) + body + sums


def test_packed_the_same_by_its_parts(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(lzma.compress(pgt_of(1000)))
    assert len(Trace.open(tmp_path / "a")) == 1000
    (tmp_path / "b").write_bytes(trace_dat())
    assert len(Trace.open(tmp_path / "b")) == 0


def lzma_of(chunk: bytes, times: int) -> bytes:
    packer = lzma.LZMACompressor(preset=0)
    return b"".join([*(packer.compress(chunk) for _ in range(times)), packer.flush()])


SMALL_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "order 39": (lambda: (line("alloc", 1 << 39, 39)).encode(), "counting the pages"),
    "order 39, a free": (lambda: (line("free", 1 << 39, 39)).encode(), "counting the pages"),
    "order 30": (lambda: line("alloc", 1 << 30, 30).encode(), "a table of the pages"),
    "order 26, 60 times": (lambda: line("alloc", 1 << 26, 26).encode() * 60, "counting the pages"),
    "pgt.xz": (lambda: lzma.compress(pgt_of(200 * MIB), preset=0), "a trace of 3,355,"),
    "pgt.gz": (lambda: gzip.compress(pgt_of(200 * MIB), 1), "a trace of 3,355,"),
    "pgt.bz2": (lambda: bz2.compress(pgt_of(200 * MIB), 1), "a trace of 3,355,"),
    "comments.xz": (lambda: lzma_of(b"#\n" * MIB, 250), "unpacking|lines and more"),
    "trace.dat.xz": (
        lambda: lzma_of(b"\x17\x08\x44tracing7\0" + bytes(16 * MIB), 66),
        "unpacked bytes|unpacking",
    ),
    "a large chunk": (lambda: trace_dat(stated=1 << 31), "unpacking 2,147,483,648 bytes"),
    "a chunk that lies": (lambda: trace_dat(chunk=bytes(256 * MIB), stated=4096), "than the 4096"),
    "many CPUs": (
        lambda: trace_dat(cpus=2000, chunk=bytes(64 * MIB)),
        "unpacking|decoding this many pages",
    ),
    "formats many times": (
        lambda: trace_dat(FORMAT + " " * MIB, repeated=60_000),
        "what trace.dat says of itself",
    ),
}


VERBS = {
    "info": ["info", "{}"],
    "compare": ["compare", "{}"],
    "accesses": ["compare", "{}", "--touch", "uniform:1"],
    "fleet": ["compare", "{}", "{}*2@+1s"],
    "curve": ["curve", "{}"],
    "size": ["size", "{}", "--no-swap"],
    "sweep": ["sweep", "{}.toml"],
    "sweep, mixed": ["sweep", "{}.mixed.toml"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_small_file_that_asks_for_much(name: str, verb: str, tmp_path: Path) -> None:
    if verb != "info" and not name.startswith("order"):
        pytest.skip("read by the same code")
    make, reason = SMALL_FILES[name]
    path = tmp_path / "trace"
    path.write_bytes(make())
    assert path.stat().st_size < 9 * MIB
    grid = 'traces = ["trace"]\n[grid]\nmechanism = "none"\n'
    Path(f"{path}.toml").write_text(grid)
    Path(f"{path}.mixed.toml").write_text(grid + "seeds = 1\n")
    status, error, peak = cli(*(word.replace("{}", str(path)) for word in VERBS[verb]))
    assert status == (3 if verb.startswith("sweep") else 1)  # cells that failed are told as such
    if verb == "accesses":
        reason += "|a table of the pages of all events"
    assert any(part in error for part in reason.split("|")), error
    assert "a chunk that lies" in name or ("budget" in error and "--budget" in error), error
    assert peak < 1200 * 1024


@pytest.mark.parametrize("name", ["order 20", "pgt"])
def test_the_budget_can_be_raised_and_lowered(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    if name == "pgt":
        path.write_bytes(lzma.compress(pgt_of(MIB), preset=0))
    else:
        path.write_bytes(line("alloc", 1 << 20, 20).encode() * 2)
    small, large = Budget(MIB), Budget(64 * MIB)
    with pytest.raises(TraceError, match=r"budget: .* --budget SIZE") as caught:
        Trace.open(path, budget=small).summary()
    assert caught.value.path == str(path)
    assert Trace.open(path, budget=large).summary()["unique_pages"] in (1, 1 << 20)
    assert cli("info", str(path), "--budget", "1M")[0] == 1
    if name == "order 20":
        (tmp_path / "grid.toml").write_text('traces = ["trace"]\n[grid]\nmechanism = "none"\n')
        for words in (["sweep", str(tmp_path / "grid.toml")], ["compare", str(path), str(path)],
                      ["curve", str(path), "--replays", "0"]):  # fmt: skip
            assert "that it may take" in cli(*words, "--budget", "1M")[1]
            assert "that it may take" not in cli(*words, "--budget", "1G")[1]
    assert cli("info", str(path), "--budget", "64M")[0] == 0
    assert Trace.open(path, budget=small if name != "pgt" else large).summary(large)


def test_a_fleet_takes_what_a_summary_does(tmp_path: Path) -> None:
    """Pages are not taken apart: 2^24 of them took 50 bytes each, and no budget was asked."""
    path = tmp_path / "trace"
    path.write_bytes(line("alloc", 1 << 22, 22).encode() * 4)
    trace = Trace.open(path, budget=Budget(64 * MIB))
    fleet = Fleet([trace, Member(trace, shift=1)])
    tracemalloc.start()
    assert fleet.peak_of_sum() == 1 << 23
    assert tracemalloc.get_traced_memory()[1] < MIB
    tracemalloc.stop()
    short = Trace.from_arrays([0, 1, 1, 0], [4, 5, 4, 6], [0, 0, 0, 0])
    assert short._in_use().tolist() == [2, 1, 0, 1]
    path.write_bytes(line("alloc", 1 << 22, 22).encode() * 4)
    trace = Trace.open(path, budget=Budget(4 * MIB, 1 << 32))
    with pytest.raises(TraceError, match=r"a table of the pages .* more than the 4 MiB of memory"):
        trace._in_use()


def test_a_bad_budget() -> None:
    for value in (0, -1, 1 << 63):
        with pytest.raises(ArgumentError, match="memory_bytes"):
            Budget(value)
    with pytest.raises(ArgumentTypeError, match="work: an integer, not 'x'"):
        Budget(work="x")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="budget"):
        Trace.open("x", budget=5)  # type: ignore[arg-type]


def test_a_large_file_has_room_for_its_own_bytes(tmp_path: Path) -> None:
    """A plain file takes what it has, whatever the budget; one of 2 MiB within 1 MiB."""
    trace = (
        Trace.from_arrays(np.zeros(MIB // 8), np.arange(MIB // 8), np.zeros(MIB // 8))
        if 0
        else None
    )
    words = np.arange(MIB // 8, dtype=np.uint64)
    trace = Trace.from_arrays(words * np.uint64(0), words, words * np.uint64(0))
    trace.save(tmp_path / "a.pgt")
    assert Trace.open(tmp_path / "a.pgt", budget=Budget(1, 1)) == trace


def test_one_line_is_read_once(tmp_path: Path) -> None:
    """64 KiB that look like the start of an event at every "-" took 0.2 s a line."""
    path = tmp_path / "trace"
    path.write_bytes(line("free", 1, 0).encode() + (b"-1[1]" * 13_000 + b"\n") * 200)
    status, error, _ = cli("info", str(path))
    assert status == 1
    assert "line 2: " in error


@pytest.mark.parametrize(
    "text",
    [
        "field:" * 200_000,
        "field:" + "a" * 10**6,
        "field: " + "x[" * 500_000,
        "field:a" + ";" * 10**6,
    ],
)
def test_formats_are_parsed_in_one_pass(text: str) -> None:
    """A regular expression took 46 s for 32 KiB."""
    program = (
        "import sys; from pgste.traces.dat import ring_layout; "
        "ring_layout(sys.stdin.readline(), [sys.stdin.read()], big_endian=False)"
    )
    page = HEADER_PAGE.replace("\n", " ") + "\n"
    subprocess.run(
        [sys.executable, "-c", program], input=page + text, text=True, timeout=SECONDS, check=True
    )


def test_numbers_of_formats_are_bounded() -> None:
    for bad in (
        FORMAT.replace("ID: 7", "ID: " + "7" * 5000),
        FORMAT.replace("8;", "8" * 5000 + ";"),
    ):
        with pytest.raises(TraceError):
            ring_layout(HEADER_PAGE, [bad], big_endian=False)


def profile_text(**changes: object) -> bytes:
    cost = {"median": 1.0, "q1": 1.0, "q3": 1.0, "rounds": 3, "unit": "ns a page", "meaning": "x"}
    data = {
        "format": "pgste-costs", "version": 1, "machine": {}, "date": "today", "seconds": 1.0,
        "costs": {"free_page": cost}, "skipped": {},
    }  # fmt: skip
    return json.dumps(data | changes).encode()


DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LONG = b'{"counters": {"lines": ' + b"9" * 5000 + b"}}"


@pytest.mark.parametrize("text", [DEEP, LONG], ids=["deep", "long"])
def test_json_that_is_deep_or_has_long_numbers(text: bytes, tmp_path: Path) -> None:
    body = text + bytes(-len(text) % 64)
    sums = struct.pack("<I", zlib.crc32(body))
    at_sums = 128 + len(body)
    fields = (at_sums + 4, 0, 128, 128, 128, len(text), at_sums, MIB)
    header = b"\x89PGT\r\n\x1a\n" + struct.pack("<II8Q40xI", 1, 128, *fields, zlib.crc32(sums))
    path = tmp_path / "a.pgt"
    path.write_bytes(header + struct.pack("<I", zlib.crc32(header)) + body + sums)
    with pytest.raises(TraceError, match=r"nested 100001 deep|an integer of 5000 digits"):
        Trace.open(path)
    (tmp_path / "costs").write_bytes(text)
    with pytest.raises(ArgumentError, match=r"costs is no cost profile: (nested|an integer of)"):
        Profile.load(tmp_path / "costs")
    for words in (["info", str(path)], ["compare", "--costs", str(tmp_path / "costs")]):
        assert cli(*words)[0] == 1


def test_depth_counts_brackets_outside_of_strings_only() -> None:
    many = MAX_DEPTH + 5
    for text in (
        b'"' + b"[" * many + b'"',
        b'["\\"' + b"[{" * many + b'\\\\"]',
        b"[[]" + b",[]" * many + b"]",
    ):
        assert load_json(text) == json.loads(text)
    for text in (b"[" * many, b'["\\\\"' + b",[" * many, b'["a\\"b\\\\", ' + b"{" * many):
        with pytest.raises(ValueError, match="nested"):
            load_json(text)
    assert load_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": []},
        {"machine": "x"},
        {"date": 5},
        {"seconds": "x"},
        {"seconds": True},
        {"skipped": []},
        {"skipped": {"a": 1}},
        {"costs": []},
        {"costs": {"free_page": []}},
        {"costs": {"free_page": {"median": 1}}},
        {
            "costs": {
                "free_page": dict.fromkeys(("median", "q1", "q3", "rounds", "unit", "meaning"))
            }
        },
        {"version": 2},
        {"more": 1},
    ],
)
def test_profiles_of_wrong_types(changes: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "costs"
    path.write_bytes(profile_text())
    assert Profile.load(path).date == "today"
    path.write_bytes(profile_text(**changes))
    with pytest.raises(ArgumentError, match="costs is no cost profile"):
        Profile.load(path)


def test_files_without_an_end() -> None:
    for path, verb in (("/dev/zero", ["info"]), ("/dev/zero", ["compare", "--costs"])):
        status, error, peak = cli(*verb, path)
        assert (status, path in error) == (1, True)
        # a child counts what its parent had in memory when it was started
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert peak < max(200 * 1024, ours + 1024)


@pytest.mark.skipif(SANITIZED, reason="no limit of address space with the sanitizers")
def test_no_memory_to_read_a_file(tmp_path: Path) -> None:
    """The machine itself may have less than the budget."""
    path = tmp_path / "a.pgt.xz"
    path.write_bytes(lzma.compress(pgt_of(60 * MIB), preset=0))
    status, error, _ = cli("info", str(path), room=800 * MIB)
    assert status == 1
    assert error.endswith("a.pgt.xz: there is no memory to read it")


SPARSE = line("alloc", 1, 0) + line("alloc", (1 << 38) - 1, 0)


@pytest.mark.parametrize("verb", ["compare", "map"])
def test_few_events_that_ask_for_a_large_guest(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(SPARSE)
    assert cli("info", str(path))[0] == 0
    status, error, peak = cli(verb, str(path))
    assert status == 1
    assert "a guest of 274,877,906,944 pages, of which events name 2, takes more" in error
    assert "--budget" in error
    assert peak < 400 * 1024
    path.write_text(SPARSE.replace(hex((1 << 38) - 1), hex((1 << 41) - 1)))
    status, error, _ = cli(verb, str(path))
    assert status == 1
    assert "pages: " in error


def test_a_large_guest_that_the_budget_has_room_for(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(SPARSE.replace(hex((1 << 38) - 1), hex(1 << 30)))
    assert cli("compare", str(path), "--mechanisms", "none,cmma", room=1 << 36)[0] == 0
    trace = Trace.open(path, budget=Budget(MIB))
    with pytest.raises(TraceError, match="budget: a guest of 1,073,741,825 pages") as caught:
        compare(trace)
    assert caught.value.path == str(path)


def test_more_guests_than_memory_holds() -> None:
    """Each of them is small, and their host has few frames: swap and tables fill the memory."""
    trace = sample_trace()
    with pytest.raises(ModelMemoryError, match=r"guests: 65,535 of .* this machine has"):
        compare(trace, host_frames=1 << 16, guests=65535)
    status, error, peak = cli("compare", "--guests", "65535", "--host-frames", "65536")
    assert status == 1
    assert "guests: 65,535 of" in error
    assert peak < 800 * 1024
    # guests that are sparse take memory by what is named, not by their size
    spread = Trace.from_arrays([0, 0], [0, 1 << 34], [0, 0])
    assert compare(spread, ["none"], guests=3).guests == 3
    many = np.arange(1 << 17) << 18
    with pytest.raises(ModelMemoryError, match="guests: 1 of 34,359,476,225 pages"):
        compare(Trace.from_arrays(many * 0, many, many * 0), ["none"])


def test_an_event_that_is_none_is_told_before_what_others_would_take() -> None:
    """Whatever is asked for by it, and by those before it."""
    huge = 39 << 2
    for events in (
        [huge | ((1 << 56) - 1) << 8],  # a block that ends above 2^56
        [huge | 2],
        [huge, huge, 1 << 8 | 3],
        [huge, 40 << 2],
    ):
        with pytest.raises(ValueError, match="kind above 1, order above 39 or block above"):
            summarize(np.array(events, np.uint64), 1 << 62, 1 << 62)
        with pytest.raises(ValueError, match="kind above 1"):
            summarize(np.array(events, np.uint64), 0, 0)
    with pytest.raises(MemoryError):
        summarize(np.array([huge], np.uint64), 1 << 62, 1 << 62)


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (b"#\n" * 4096, "lines and more"),
        (b"#" * 65_000 + b"\n", "bytes and more, of a pipe"),
        (line("free", 1, 0).encode() * 512, "this many events"),
        (b"\0" * 4096, "line 1"),
    ],
    ids=["short lines", "long lines", "events", "zeros"],
)
def test_a_pipe_without_an_end(chunk: bytes, reason: str) -> None:
    """What it is read from goes on writing for ever."""
    program = (
        "import os, sys; chunk = sys.stdin.buffer.read()\n"
        "try:\n    while True: os.write(1, chunk)\nexcept OSError: pass"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        writer.stdin.write(chunk)
        writer.stdin.close()
        status, error, peak = cli("info", "-", "--budget", "64M", stdin=writer.stdout)
        assert writer.stdout is not None
        writer.stdout.close()
    assert status == 1
    assert reason in error
    assert ("--budget" in error) == (reason != "line 1")
    assert peak < 300 * 1024

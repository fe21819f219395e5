"""The text decoder against one of regular expressions, on recorded lines and damaged ones."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgste._engine.trace import TextDecoder
from pgste.errors import TraceError

TRACES = Path(__file__).parents[2] / "golden" / "traces"
CUTS = sorted(path.name for path in TRACES.glob("cut.*"))
SMALL = sorted(path.name for path in TRACES.glob("small.*.xz"))
FORMATS = {"ftrace": "ftrace", "trace-pipe": "ftrace", "perf-script": "perf"}

Event = tuple[int, int, int, int]  # kind, order, pfn, time in ns

# Whole lines as the tools print them; the task name is what is in the first 16 columns.
HEADER = (
    r"^.{16}(?:-| )(?P<pid>[ \d]+?)\s*(?:\([ \d-]+\) )?\[(?P<cpu>\d+)\] +(?:[^\d\s]\S* +)?"
    r"(?P<sec>\d+)\.(?P<usec>\d{6}): +(?:kmem:)?"
)
ALLOC = re.compile(
    HEADER + r"mm_page_alloc: +page=\S+ pfn=0x(?P<pfn>[0-9a-f]+) order=(?P<order>\d+) "
    r"migratetype=\d+ gfp_flags=\S+$"
)
FREE = re.compile(
    HEADER + r"mm_page_free: +page=\S+ pfn=0x(?P<pfn>[0-9a-f]+) order=(?P<order>\d+)$"
)
BATCHED = re.compile(HEADER + r"mm_page_free_batched: page=\S+ pfn=0x[0-9a-f]+ order=0$")
LOST = re.compile(r"^CPU:\d+ \[LOST (\d+) EVENTS\]$")


def read(name: str) -> bytes:
    data = (TRACES / name).read_bytes()
    return lzma.decompress(data) if name.endswith(".xz") else data


def oracle(text: str) -> tuple[list[Event], dict[str, int]]:
    events: list[Event] = []
    count = dict.fromkeys(("lines", "comments", "batched", "lost", "lost_lines"), 0)
    for line in text.splitlines():
        count["lines"] += 1
        if match := ALLOC.match(line) or FREE.match(line):
            time = int(match["sec"]) * 10**9 + int(match["usec"]) * 1000
            kind = int("mm_page_free:" in line)
            events.append((kind, int(match["order"]), int(match["pfn"], 16), time))
        elif BATCHED.match(line):
            count["batched"] += 1
        elif match := LOST.match(line):
            count["lost"] += int(match[1])
            count["lost_lines"] += 1
        else:
            assert line.startswith(("#", "cpus=")), line
            count["comments"] += 1
    return events, count


def decode(data: bytes, piece_bytes: int | None = None) -> tuple[list[Event], TextDecoder]:
    decoder = TextDecoder()
    events: list[Event] = []
    start, stop = 0, 0
    while True:
        stop = len(data) if piece_bytes is None else min(stop + piece_bytes, len(data))
        words, times, used = decoder.feed(data[start:stop], stop == len(data))
        for word, time in zip(words.tolist(), times.tolist(), strict=True):
            events.append((word & 3, word >> 2 & 63, word >> 8, time))
        start += used
        if stop == len(data):
            assert start == stop
            return events, decoder


@pytest.mark.parametrize("name", CUTS + SMALL)
def test_recorded(name: str) -> None:
    data = read(name)
    expected, count = oracle(data.decode())
    assert len(expected) > 300
    events, decoder = decode(data)
    assert events == expected
    got = decoder.counters
    assert {key: got[key] for key in count} == count
    assert got["events"] == len(expected)
    assert got["other"] == got["failed"] == got["backwards"] == 0
    kinds = [value for key, value in FORMATS.items() if key in name]
    assert decoder.format == (kinds[0] if kinds else "trace-cmd")


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 4096])
def test_pieces(name: str, piece_bytes: int) -> None:
    data = b"".join(read(name).splitlines(keepends=True)[:60])
    assert decode(data, piece_bytes)[0] == oracle(data.decode())[0]


@pytest.mark.parametrize("name", CUTS)
def test_every_cut(name: str) -> None:
    """Text that ends anywhere but behind a line is an error that names the line."""
    lines = read(name).splitlines(keepends=True)
    data = b"".join(lines[:14])
    for end in range(1, len(data) + 1):
        part = data[:end]
        if part.endswith(b"\n"):
            assert decode(part)[0] == oracle(part.decode())[0]
            continue
        with pytest.raises(TraceError, match="cut off") as caught:
            decode(part)
        assert caught.value.line == part.count(b"\n") + 1


@pytest.mark.parametrize("name", CUTS)
def test_lines_that_are_no_events(name: str) -> None:
    """Lines of the other event and of others in between are counted, each as what it is."""
    lines = read(name).decode().splitlines(keepends=True)
    expected, count = oracle("".join(lines))
    allocs = [line for line in lines if "mm_page_alloc:" in line][:7]
    batched = [
        re.sub(r"mm_page_alloc: +(page=\S+ pfn=\S+) .*", r"mm_page_free_batched: \1 order=0", line)
        for line in allocs
    ]
    other = [line.replace("mm_page_alloc:", "mm_page_alloc_zone_locked:") for line in allocs[:5]]
    events, decoder = decode("".join([*lines, *batched, *other]).encode())
    got = decoder.counters
    assert len(batched) == 7
    assert len(other) == 5
    assert events == expected
    assert (got["batched"], got["other"], got["failed"]) == (count["batched"] + 7, 5, 0)
    assert got["lines"] == count["lines"] + 12
    assert oracle("".join(batched))[1]["batched"] == 7


def test_crlf_and_decimal() -> None:
    text = read("cut.ftrace.txt").decode()
    expected = oracle(text)[0]
    assert decode(text.replace("\n", "\r\n").encode())[0] == expected
    older = re.sub(r"pfn=0x([0-9a-f]+)", lambda match: f"pfn={int(match[1], 16)}", text)
    assert older != text
    assert decode(older.encode())[0] == expected


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=15)


@given(NAMES, st.integers(0, 4194304), st.sampled_from(["ftrace", "trace-cmd", "perf"]))
def test_task_names(name: str, pid: int, tool: str) -> None:
    """A task may have any name of 15 bytes; the tools pad it to 16 columns."""
    form = {
        "ftrace": "{:>16}-{:<7d} [001] d..1.  2500.774098: mm_page_free: page=0 pfn=0x7 order=2\n",
        "trace-cmd": "{:>16}-{:<5d} [001]  2500.774098: mm_page_free:         page=0x7 pfn=0x7 "
        "order=2\n",
        "perf": "{:>16} {:>5d} [001]  2500.774098: kmem:mm_page_free: page=0x7 pfn=0x7 order=2\n",
    }[tool]
    events, decoder = decode(form.format(name, pid).encode())
    assert events == [(1, 2, 7, 2500774098000)]
    assert decoder.format == tool


@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    """Whatever comes in: events, or an error with a line of the input."""
    failed_at = None
    try:
        decode(data)
    except TraceError as error:
        failed_at = error.line or -1
    assert failed_at is None or 1 <= failed_at <= data.count(b"\n") + 1


@given(st.data())
def test_changed_byte(data: st.DataObject) -> None:
    """A changed byte is an error, or what the tools could have printed: never a crash."""
    text = bytearray(b"".join(read("cut.ftrace.txt").splitlines(keepends=True)[:20]))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    failed_at = None
    try:
        events, decoder = decode(bytes(text))
    except TraceError as error:
        failed_at = error.line or -1
    if failed_at is not None:
        assert 1 <= failed_at <= 21
        return
    counters = decoder.counters
    assert len(events) == counters["events"]
    skipped = ("comments", "batched", "other", "failed", "lost_lines")
    assert counters["lines"] == len(events) + sum(counters[key] for key in skipped)

# SPDX-License-Identifier: MIT
"""Accesses of a trace: made by hand, made up, cut and saved; against plain loops."""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import pgste
from pgste.errors import ArgumentError, ArgumentTypeError, TraceError
from pgste.traces import Trace, sample_trace
from pgste.traces.touch import touched

LOAD, STORE = 2, 3


def small() -> Trace:
    """Pages 8 .. 11 and 20; page 20 is in use at the start."""
    return Trace.from_arrays([0, 1, 1, 0], [8, 20, 8, 20], [2, 0, 2, 0], [10, 20, 20, 30])


def accesses_of(trace: Trace) -> list[tuple[int, int, int]]:
    return [
        (word & 3, word >> 8, place)
        for word, place in zip(trace.accesses.tolist(), trace.places.tolist(), strict=True)
    ]


def test_by_hand() -> None:
    trace = small().with_accesses([11, 20, 9, 12, 8], [9, 10, 20, 25, 99], [True] * 4 + [False])
    # page 12 is in no event; an access comes behind the events of its time
    assert accesses_of(trace) == [(STORE, 11, 0), (STORE, 20, 1), (STORE, 9, 3), (LOAD, 8, 4)]
    assert trace.counters == {"accesses_left_out": 1}
    assert trace != small()
    assert trace == small().with_accesses([11, 20, 9, 8], [9, 10, 20, 99], [True] * 3 + [False])
    assert small().with_accesses([8], [9]).accesses.tolist() == [8 << 8 | LOAD]
    assert not trace.accesses.flags.writeable


def test_blocks_that_lie_unevenly_name_their_pages() -> None:
    trace = Trace.from_arrays([0, 0], [3, 40], [2, 0], [0, 1])
    assert trace.with_accesses(list(range(12)), [0] * 12).accesses.tolist() == [
        pfn << 8 | LOAD for pfn in (3, 4, 5, 6)
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([8], [1, 2]), ArgumentError, "time: 2 values for 1 pages"),
        (([8], [1], [True, True]), ArgumentError, "store: 2 values for 1 pages"),
        (([8], [1], [1]), ArgumentTypeError, "store: dtype"),
        (([8, 8], [2, 1]), ArgumentError, "time: 1 at position 1 is before 2"),
        (([1 << 56], [1]), ArgumentError, "pfn"),
        (([0.5], [1]), ArgumentTypeError, "pfn"),
    ],
)
def test_bad_accesses(arguments: tuple[object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        small().with_accesses(*arguments)  # type: ignore[call-arg,arg-type]


@pytest.mark.parametrize(
    ("accesses", "places", "text"),
    [
        ([8 << 8], [0], "no load or store"),
        ([8 << 8 | LOAD | 4], [0], "no load or store"),
        ([8 << 8 | LOAD], [5], "more than the 4 events"),
        ([8 << 8 | LOAD] * 2, [2, 1], "1 at position 1 is before 2"),
        ([8 << 8 | LOAD], [], "0 values for 1 accesses"),
    ],
)
def test_bad_words(accesses: list[int], places: list[int], text: str) -> None:
    trace = small()
    with pytest.raises(ArgumentError, match=text):
        Trace(trace.events, trace.time, accesses=accesses, places=places)


@pytest.mark.parametrize("seed", range(20))
def test_slices_have_the_accesses_between_their_events(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = np.sort(rng.integers(0, 5, 30))
    words = np.full(30, 8 << 8 | LOAD) + (np.arange(30) << 20)
    trace = Trace(small().events, small().time, accesses=words, places=places)
    first, end = sorted(rng.integers(0, 5, 2).tolist())
    part = trace[first:end]
    expected = [
        (word, place - first)
        for word, place in zip(words.tolist(), places.tolist(), strict=True)
        if first <= place < end or (place == end == 4)
    ]
    assert list(zip(part.accesses.tolist(), part.places.tolist(), strict=True)) == expected
    Trace(part.events, part.time, accesses=part.accesses, places=part.places)


# ---- made up ----


def random_trace(rng: np.random.Generator) -> Trace:
    order = rng.choice([0, 0, 0, 1, 2], size=300)
    pfn = rng.integers(0, 64, size=300) >> order << order
    return Trace.from_arrays(rng.integers(0, 2, size=300), pfn, order)


@pytest.mark.parametrize("touch", ["uniform:2", "uniform:0.25", "zipf:1.2"])
@pytest.mark.parametrize("seed", range(6))
def test_every_access_is_of_a_page_in_use(touch: str, seed: int) -> None:
    trace = random_trace(np.random.default_rng(seed))
    made = touched(trace, touch, seed)
    assert made == touched(trace, touch, seed)
    rate = float(touch.partition(":")[2]) if touch.startswith("uniform") else 1.0
    assert 0.9 * rate * 300 <= len(made.accesses) <= rate * 300
    blocks = [
        (kind, range(pfn, pfn + (1 << order)))
        for kind, pfn, order in zip(
            trace.kind.tolist(), trace.pfn.tolist(), trace.order.tolist(), strict=True
        )
    ]
    in_use: dict[int, bool] = {}
    for kind, pages in blocks:
        for page in pages:
            in_use.setdefault(page, kind == 1)
    queue = accesses_of(made)
    for place in range(301):
        while queue and queue[0][2] == place:
            assert in_use[queue.pop(0)[1]]
        if place < 300:
            kind, pages = blocks[place]
            in_use.update(dict.fromkeys(pages, kind == 0))
    assert not queue


def test_shares_are_as_said() -> None:
    nr = 400
    trace = Trace.from_arrays([0] * nr, range(nr), [0] * nr)
    late = Trace(np.tile(trace.events, 50), np.arange(nr * 50))  # all of them in use at the end
    even = touched(late, "uniform:3")
    kinds = Counter(kind for kind, _, _ in accesses_of(even))
    assert kinds[STORE] / len(even.accesses) == pytest.approx(0.25, abs=0.01)
    pages = np.array(list(Counter(page for _, page, _ in accesses_of(even)).values()))
    assert len(pages) == nr
    assert 0.85 < pages.std() / pages.mean() ** 0.5 < 1.15, "as chance has it"
    ranked = sorted(Counter(p for _, p, _ in accesses_of(touched(late, "zipf:1"))).values())[::-1]
    total = sum(1 / r for r in range(1, nr + 1))
    for rank in (1, 2, 4, 10):
        assert ranked[rank - 1] / sum(ranked) == pytest.approx(1 / rank / total, rel=0.15)


def test_none_and_recorded() -> None:
    made = touched(sample_trace()[:1000], "uniform:1")
    assert touched(made, "recorded") is made
    assert len(touched(made, "none").accesses) == 0
    with pytest.raises(ArgumentError, match="the trace has no accesses"):
        touched(sample_trace()[:10], "recorded")


@pytest.mark.parametrize(
    "touch", ["", "uniform", "uniform:", "uniform:x", "uniform:0", "uniform:101", "zipf:nan",
              "zipf:11", "zipf:-1", "often:3", "none:1"],
)  # fmt: skip
def test_bad_touch(touch: str) -> None:
    with pytest.raises(ArgumentError, match="touch: "):
        touched(small(), touch)


def test_a_block_without_end_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(TraceError, match="budget"):
        touched(Trace.from_arrays([0], [0], [39]), "uniform:1")
    with pytest.raises(ArgumentTypeError, match="touch"):
        touched(small(), 3)  # type: ignore[arg-type]


# ---- saved ----


def assemble(trace: Trace, version: int = 2) -> bytes:
    """A file of version 2, put together from docs/trace-format.md alone."""
    text = json.dumps({"counters": {}, "format": "arrays"}).encode()
    offsets, body = [], b""
    columns = (trace.events, trace.time, trace.accesses, trace.places)
    for part in [struct.pack(f"<{len(words)}Q", *words.tolist()) for words in columns] + [text]:
        offsets.append(128 + len(body))
        body += part + bytes(-len(part) % 64)
    sums = struct.pack("<I", zlib.crc32(body))
    at_sums = 128 + len(body)
    fields = (at_sums + 4, len(trace), offsets[0], offsets[1], offsets[4], len(text), at_sums,
              1 << 20, len(trace.accesses))  # fmt: skip
    header = b"\x89PGT\r\n\x1a\n" + struct.pack(
        "<II9Q32xI", version, 128, *fields, zlib.crc32(sums)
    )
    return header + struct.pack("<I", zlib.crc32(header)) + body + sums


def test_round_trip_of_version_2(tmp_path: Path) -> None:
    trace = touched(random_trace(np.random.default_rng(1)), "uniform:1.5")
    path = tmp_path / "a.pgt"
    trace.save(path)
    assert path.read_bytes() == assemble(trace)
    back = Trace.open(path)
    assert back == trace
    assert len(back.accesses) > 400


def test_without_accesses_it_is_version_1(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    small().save(path)
    assert path.read_bytes()[8] == 1


def test_a_version_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    with_some = small().with_accesses([8], [9])
    for trace, version in ((with_some, 1), (small(), 2), (with_some, 3)):
        path.write_bytes(assemble(trace, version))
        with pytest.raises(TraceError, match=f"version {version}"):
            Trace.open(path)


def test_every_damaged_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    data = assemble(small().with_accesses([8, 20], [9, 9]))
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(TraceError):
            Trace.open(path)
        path.write_bytes(data[:i])
        with pytest.raises(TraceError):
            Trace.open(path)


def test_wrong_words_in_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pgt"
    for accesses, places in (([8 << 8 | 1, 2], [0, 0]), ([2, 2], [1, 0]), ([2, 2], [0, 5])):
        bad = small().with_accesses([8, 20], [9, 9])
        bad._accesses = np.array(accesses, np.uint64)
        bad._places = np.array(places, np.uint64)
        path.write_bytes(assemble(bad))
        with pytest.raises(TraceError, match=r"accesses|places"):
            Trace.open(path)


# ---- who replays them ----


def test_what_would_leave_them_out_refuses_them() -> None:
    trace = touched(sample_trace()[:1000], "uniform:1")
    for refused in (
        lambda: pgste.curve(trace, ["none"]),
        lambda: pgste.sweep([trace], {"mechanism": ["none"]}),
    ):
        with pytest.raises(ArgumentError, match="has accesses"):
            refused()


def test_compare_replays_them() -> None:
    trace = touched(sample_trace()[:20000], "uniform:1")
    stats = pgste.compare(trace, ["none"])["none"].replay_stats
    assert stats["loads"] + stats["stores"] == len(trace.accesses)
    assert stats["ignored_accesses"] == 0

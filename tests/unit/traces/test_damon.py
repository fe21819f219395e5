"""What DAMON recorded: damo's formats read whole or refused, accesses drawn as the model says."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgste.errors import ArgumentError, ArgumentTypeError, TraceError
from pgste.traces import Budget, Trace
from pgste.traces.damon import Regions, read_damo, with_damo, with_regions

PAGE = 4096
MS = 1_000_000
Snapshot = tuple[int, int, list[tuple[int, int, int]]]
"""Begin, end in ns; regions: first page, pages, samples."""
TWO: list[Snapshot] = [
    (100 * MS, 200 * MS, [(16, 8, 20), (24, 8, 0), (64, 16, 5)]),
    (200 * MS, 300 * MS, [(16, 12, 1), (64, 16, 0)]),
]
# As the kernel of this machine printed them (6.18.44, trace_clock mono).
FTRACE = b"""# tracer: nop
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
       kdamond.0-77      [001] .....  6483.362263: damon_aggregated: target_id=0 nr_regions=5 4322160640-4324020224: 0 6
       kdamond.0-77      [001] .....  6483.362263: damon_aggregated: target_id=0 nr_regions=5 4324020224-4324540416: 0 6
       kdamond.0-77      [001] .....  6483.362263: damon_aggregated: target_id=0 nr_regions=5 4324540416-4324548608: 7 0
       kdamond.0-77      [000] .....  6488.370001: damon_aggregated: target_id=0 nr_regions=5 4322160640-4324552704: 3 0
CPU:1 [LOST 12 EVENTS]
       kdamond.0-77      [000] .....  6488.370002: damon_aggregated: target_id=0 nr_regions=5 4324552704-4324556800: 10 0
"""  # noqa: E501


def damo_json(snapshots: list[Snapshot], intervals: bool = True, commas: bool = False) -> bytes:
    """As damo's json writes records; old versions have commas in numbers and no intervals."""

    def number(value: int) -> str:
        return f"{value:,}" if commas else str(value)

    def region(start: int, pages: int, samples: int) -> dict[str, Any]:
        return {
            "start": number(start * PAGE),
            "end": number((start + pages) * PAGE),
            "nr_accesses": {"samples": samples, "percent": None},
            "age": {"usec": None, "aggr_intervals": number(3)},
        }

    record: dict[str, Any] = {
        "kdamond_idx": 0,
        "context_idx": 0,
        "intervals": {"sample_us": "5000", "aggr_us": "100000", "ops_update_us": "1000000"},
        "scheme_idx": None,
        "target_id": 0,
        "snapshots": [
            {
                "start_time": number(begin),
                "end_time": number(end),
                "regions": [region(*one) for one in regions],
                "total_bytes": None,
            }
            for begin, end, regions in snapshots
        ],
    }
    if not intervals:
        record["intervals"] = None
    return json.dumps([record], indent=4).encode()


def perf_script(snapshots: list[Snapshot], age: bool = True) -> bytes:
    lines = [
        f"kdamond.0  4452 [000] {end / 1e9:.6f}: damon:damon_aggregated:"
        f" target_id=18446623435582458880 nr_regions={len(regions)}"
        f" {start * PAGE}-{(start + pages) * PAGE}: {samples}" + (" 3" if age else "")
        for _, end, regions in snapshots
        for start, pages, samples in regions
    ]
    return "\n".join(["bash 7 [001] 0.150000: kmem:mm_page_free: page=0x1", *lines, ""]).encode()


FORMATS = {
    "json": damo_json(TWO),
    "commas": damo_json(TWO, commas=True),
    "compressed": zlib.compress(damo_json(TWO)),
    "fast": zlib.compress(damo_json(TWO), 1),
    "gz": gzip.compress(damo_json(TWO)),
    "script": perf_script(TWO),
    "early script": perf_script(TWO, age=False),
}


def rows(regions: Regions) -> list[tuple[int, ...]]:
    columns = (regions.start, regions.end, regions.samples, regions.begin_ns, regions.end_ns)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def expected(snapshots: list[Snapshot]) -> list[tuple[int, ...]]:
    return [
        (start * PAGE, (start + pages) * PAGE, samples, begin, end)
        for begin, end, regions in snapshots
        for start, pages, samples in regions
        if samples
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_says_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / "damon.data").write_bytes(FORMATS[name])
    regions = read_damo(tmp_path / "damon.data")
    assert rows(regions) == expected(TWO)
    assert (regions.snapshots, regions.told) == (2, 5)
    assert regions.most == (None if "script" in name else 20)


def test_lines_of_the_kernel(tmp_path: Path) -> None:
    """The first snapshot came in the middle, lines were lost, and the length is the distance."""
    (tmp_path / "trace").write_bytes(FTRACE)
    regions = read_damo(tmp_path / "trace")
    first, second = 6483_362263000, 6488_370001000
    assert rows(regions) == [
        (4324540416, 4324548608, 7, 2 * first - second, first),
        (4322160640, 4324552704, 3, first, second),
        (4324552704, 4324556800, 10, first, second),
    ]
    assert (regions.snapshots, regions.told) == (2, 5)


def test_targets_are_kept_apart(tmp_path: Path) -> None:
    one = perf_script(TWO).splitlines()
    other = [line.replace(b"18446623435582458880", b"7") for line in one]
    mixed = b"\n".join(line for pair in zip(one, other, strict=True) for line in pair)
    (tmp_path / "x").write_bytes(mixed)
    assert sorted(rows(read_damo(tmp_path / "x"))) == sorted(expected(TWO) * 2)


def test_damos_mark_for_no_snapshot(tmp_path: Path) -> None:
    """damo puts a region 0-0 of -1 behind a snapshot that is alone, to say how long it was."""
    fake = b"kdamond.x xxxx xxxx 0.300000: damon:damon_aggregated: target_id=0 nr_regions=1 "
    fake += b"0-0: -1 -1\n"
    only = (
        perf_script(TWO[:1]).replace(b"18446623435582458880", b"0").replace(b".0  4452 [", b".x [")
    )
    (tmp_path / "x").write_bytes(only + fake)
    regions = read_damo(tmp_path / "x")
    assert rows(regions) == expected(TWO[:1])
    assert regions.told == 3


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "perf.data": (b"PERFILE2" + bytes(100), "perf script"),
    "no records": (b"[]", "no list of records"),
    "another": (b"hello\nworld\n", "neither JSON"),
    "no snapshots": (b'[{"target_id": 1}]', "record 0: there is no snapshots"),
    "units": (
        damo_json(TWO).replace(b'"100000000"', b'"100 ms"'),
        "record 0, snapshot 0: start_time is '100 ms', no number",
    ),
    "a float that is none": (damo_json(TWO).replace(b'"100000000"', b"NaN"), "is nan, no number"),
    "backwards": (damo_json(TWO[::-1]), "record 0, snapshot 1: the time 200000000 ns goes back"),
    "an interval turned round": (
        damo_json([(300 * MS, 200 * MS, [])]),
        "an interval ends at 200000000 ns, before its begin",
    ),
    "a region turned round": (damo_json([(1, 2, [(8, -2, 1)])]), "a region from 32768 to 24576"),
    "no accesses": (damo_json(TWO).replace(b'"samples": 5', b'"samples": null'), "no number"),
    "intervals": (damo_json(TWO).replace(b'"5000"', b'"500000"'), "500000 us of 100000 us"),
    "deep": (b"[" * 1000 + b"]" * 1000, "nested 1000 deep"),
    "long": (b"[" + b"9" * 1000 + b"]", "1000 digits"),
    "cut zlib": (FORMATS["compressed"][:-9], "cut off"),
    "damaged zlib": (FORMATS["compressed"][:200] + b"\xff" * 90, "damaged"),
    "behind zlib": (FORMATS["compressed"] + b"x", "behind the end"),
    "one alone": (perf_script(TWO[:1]), "one snapshot alone"),
    "script back": (perf_script(TWO[::-1]), "goes back"),
    "a long line": (b"kdamond.0 1 [000] 1.000000: damon_aggregated: " + b"x" * 3_000_000, "longer"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(TraceError) as caught:
        read_damo(tmp_path / "bad")
    assert words in str(caught.value)
    assert str(tmp_path / "bad") in str(caught.value)


def sound(regions: Regions) -> None:
    assert (regions.start < regions.end).all()
    assert (regions.samples > 0).all()
    assert (regions.begin_ns <= regions.end_ns).all()
    assert regions.most is None or regions.most > 0


def changed(good: bytes, rng: random.Random) -> bytes:
    """With a few bytes overwritten, left out or repeated."""
    data = bytearray(good)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        kind = rng.randrange(3)
        if kind == 0:
            data[at] = rng.choice(b'0123456789-[]{}",:. \n\xff')
        elif kind == 1:
            del data[at : at + rng.randint(1, 40)]
        else:
            data[at:at] = data[at : at + rng.randint(1, 40)]
    return bytes(data)


@pytest.mark.parametrize("name", ["json", "compressed", "script"])
def test_any_damage_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    """Cut at every place, a byte changed at every place, and 1000 of several changes."""
    good, path, rng = FORMATS[name], tmp_path / "x", random.Random(7)
    files = [good[:i] for i in range(0, len(good), max(1, len(good) // 400))]
    for i in range(0, len(good), max(1, len(good) // 400)):
        files.append(good[:i] + bytes([rng.randrange(256)]) + good[i + 1 :])
    files += [changed(good, rng) for _ in range(1000)]
    outcomes = Counter[str]()
    trace = one_page_each(96, 0, 400 * MS)
    for data in files:
        path.write_bytes(data)
        try:
            regions = read_damo(path, budget=Budget(memory_bytes=1 << 24))
            sound(regions)
            with_regions(trace, regions, most=20)
            outcomes["read"] += 1
        except TraceError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 100
    assert name == "compressed" or outcomes["read"] > 50


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: zlib.compress(bytes(300 << 20), 1), "unpacking"),
        (lambda: zlib.compress(b"[" + b"{}," * 20_000_000 + b"{}]", 1), "bytes of JSON"),
        (lambda: gzip.compress(b"kdamond.0\n" + b"\n" * (1 << 26), 1), "lines"),
    ],
)  # fmt: skip
def test_a_small_file_that_asks_for_much(make: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(make())
    with pytest.raises(TraceError, match="budget") as caught:
        read_damo(tmp_path / "x", budget=Budget(memory_bytes=1 << 27))
    assert words in str(caught.value)


# ---- accesses of a trace ----


def one_page_each(pages: int, first_ns: int, last_ns: int) -> Trace:
    """Pages 0 .. are allocated at the first time; page 0 is freed at the last."""
    return Trace.from_arrays(
        [0] * pages + [1], [*range(pages), 0], [0] * (pages + 1), [first_ns] * pages + [last_ns]
    )


def of(snapshots: list[Snapshot], most: int | None = 20) -> Regions:
    columns = list(zip(*expected(snapshots), strict=True))
    start, end = (np.array(column, np.uint64) for column in columns[:2])
    rest = [np.array(column, np.int64) for column in columns[2:]]
    return Regions(start, end, rest[0], rest[1], rest[2], most, len(snapshots), len(columns[0]))


def drawn(trace: Trace) -> Counter[int]:
    assert (trace.accesses & np.uint64(3) == 2).all(), "loads only"
    return Counter((trace.accesses >> np.uint64(8)).tolist())


def test_a_region_that_every_sample_found_gives_each_page_one_load() -> None:
    trace = one_page_each(64, 0, 400 * MS)
    found = with_regions(trace, of([(100 * MS, 200 * MS, [(16, 8, 20), (60, 100, 20)])]))
    assert drawn(found) == Counter([*range(16, 24), *range(60, 64)])
    assert found.places.tolist() == [64] * 12
    assert found.counters == {"accesses_left_out": 0}
    assert np.array_equal(found.events, trace.events)
    assert with_regions(trace, of([(0, MS, [(1, 2, 21)])])).accesses.size == 2, "20 of 20 is most"


def test_as_many_pages_as_samples_say() -> None:
    trace = one_page_each(40_000, 0, 400 * MS)
    regions = of([(100 * MS, 200 * MS, [(0, 20_000, 5)]), (200 * MS, 300 * MS, [(0, 40_000, 1)])])
    found = with_regions(trace, regions)
    counts = drawn(found)
    # 20,000 at 1/4 and 40,000 at 1/20: four standard deviations
    first = sum(counts[page] for page in range(20_000))
    assert abs(first - 6000) < 4 * (20_000 * (3 / 16 + 19 / 400)) ** 0.5
    assert abs(counts.total() - first - 1000) < 4 * (20_000 * 19 / 400) ** 0.5
    assert max(counts.values()) == 2, "once in an interval"
    both = sum(n == 2 for n in counts.values())
    assert abs(both - 20_000 / 80) < 4 * (20_000 / 80) ** 0.5
    assert with_regions(trace, regions) == found
    assert with_regions(trace, regions, seed=2) != found


def test_times_are_spread_over_the_interval() -> None:
    nr = 30_000
    # one event each 10 us: its number is the time
    trace = Trace.from_arrays([0] * nr, range(nr), [0] * nr, range(0, nr * 10_000, 10_000))
    found = with_regions(trace, of([(100 * MS, 200 * MS, [(0, 5000, 20)])]))
    assert len(found.places) == 5000
    assert 10_000 < found.places.min() < 10_100
    quarters = np.histogram(found.places, bins=4, range=(10_000, 20_001))[0]
    assert (abs(quarters - 1250) < 130).all()
    later = with_regions(trace, of([(100 * MS, 200 * MS, [(0, 5000, 20)])]), offset_ns=50 * MS)
    assert 15_000 < later.places.min() < 15_100


def test_pages_not_in_use_and_times_outside_are_left_out() -> None:
    # page 5 is in use before 150 ms, page 6 from then on, page 7 before its free at 150 ms
    trace = Trace.from_arrays(
        [0, 1, 0, 1, 0], [5, 5, 6, 7, 90], [0] * 5, [0, 150 * MS, 150 * MS, 150 * MS, 180 * MS]
    )
    early = with_regions(trace, of([(10 * MS, 149 * MS, [(0, 90, 20)])]))
    assert drawn(early) == Counter([5, 7])
    assert early.counters["accesses_left_out"] == 1
    late = with_regions(trace, of([(151 * MS, 179 * MS, [(0, 90, 20)])]))
    assert drawn(late) == Counter([6])
    after = with_regions(trace, of([(181 * MS, 190 * MS, [(0, 90, 20)])]))
    assert (len(after.accesses), after.counters["accesses_left_out"]) == (0, 0)


def test_regions_that_are_no_whole_pages_are_of_all_they_touch() -> None:
    trace = one_page_each(8, 0, 400 * MS)
    regions = of([(MS, 2 * MS, [(1, 2, 20)])])
    odd = Regions(
        regions.start + np.uint64(4095), regions.end + np.uint64(1), regions.samples,
        regions.begin_ns, regions.end_ns, 20, 1, 1,
    )  # fmt: skip
    assert drawn(with_regions(trace, odd)) == Counter([1, 2, 3])


def test_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "damon.data").write_bytes(FORMATS["script"])
    trace = one_page_each(96, 0, 400 * MS)
    with pytest.raises(ArgumentError, match="most: the regions do not say"):
        with_damo(trace, tmp_path / "damon.data")
    found = with_damo(trace, tmp_path / "damon.data", most=20)
    assert set(range(16, 24)) <= set(drawn(found))
    found.save(tmp_path / "both.pgt")
    assert Trace.open(tmp_path / "both.pgt") == found


def test_virtual_addresses_are_found_out() -> None:
    trace = one_page_each(8, 0, 400 * MS)
    with pytest.raises(TraceError, match=r"physical.*--ops paddr"):
        with_regions(trace, of([(0, MS, [(0x7F00_0000_0, 8, 20)])]))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"most": 0}, ArgumentError, "most: 0 is not in"),
        ({"most": True}, ArgumentTypeError, "most: True is not an int"),
        ({"most": 2.0}, ArgumentTypeError, "most: 2.0"),
        ({"offset_ns": 1 << 62}, ArgumentError, "offset_ns"),
        ({"offset_ns": "1"}, ArgumentTypeError, "offset_ns"),
        ({"seed": -1}, ArgumentError, "seed: -1"),
        ({"seed": None}, ArgumentTypeError, "seed: None"),
        ({"trace": 5}, ArgumentTypeError, "trace: 5 is not a Trace"),
        ({"regions": ()}, ArgumentTypeError, "regions"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments = {"trace": one_page_each(8, 0, MS), "regions": of([(0, MS, [(0, 8, 20)])])}
    with pytest.raises(error, match=words):
        with_regions(**{**arguments, **options})


def test_bad_budget(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="budget"):
        read_damo(tmp_path, budget=5)  # type: ignore[arg-type]

# SPDX-License-Identifier: MIT
"""benchmarks/report.py and its parts: tables, verdicts, comparisons of two results, the chart."""

from __future__ import annotations

import copy
import json
import statistics
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> Any:
    """A module of the folder benchmarks/, which is in no package."""
    sys.path.insert(0, str(ROOT))
    try:
        return import_module(f"benchmarks.{name}")
    finally:
        sys.path.remove(str(ROOT))


report, results, tables, compared, chart = map(
    load, ("report", "results", "tables", "compared", "chart")
)


def bar(measured: list[float], passes: bool, **limits: float | None) -> dict[str, Any]:
    return {
        "row": "scan | whole table",
        "limit": "plain read",
        "at_least": limits.get("at_least"),
        "at_most": limits.get("at_most"),
        "unit": "x",
        "measured": measured,
        "pass": passes,
    }


def benchmark(name: str, ns: float, speed: float | None, pages: int = 1 << 20) -> dict[str, Any]:
    """A benchmark whose quartiles lie 1 % around the median."""
    limits = {}
    if speed is not None:
        limits["plain read"] = {
            "ns": ns * speed,
            "speed": [speed * 0.99, speed, speed * 1.01],
        }
    return {
        "name": name,
        "extra_info": {
            "ns": ns,
            "ns_iqr": [ns * 0.99, ns * 1.01],
            "unit": "page",
            "pages": pages,
            "series": "zap scan",
            "limits": limits,
            "bars": [],
            "isa": "avx2",
            "machine": "a machine",
            "compiler": "a compiler",
            "flags": "-O3",
            "python": "3.12.0",
        },
    }


def result(*benchmarks: dict[str, Any]) -> dict[str, Any]:
    return {
        "benchmarks": list(benchmarks),
        "commit_info": {"id": "0123456789abcdef", "dirty": True},
        "datetime": "2026-01-02T03:04:05.678",
    }


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0251, "0.0251"),
        (1.25, "1.25"),
        (999.0, "999"),
        (1000.0, "1 k"),
        (43.14e6, "43.1 M"),
        (12.0e9, "12 G"),
        (0.0, "0"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert results.number(value) == text


def test_bars_say_pass_or_by_how_much_they_were_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = benchmark("bench_scan[2^20]", 0.05, 0.95)
    one["extra_info"]["bars"] = [
        bar([0.94, 0.95, 0.96], True, at_least=0.9),
        bar([0.44, 0.45, 0.46], False, at_least=0.9),
        bar([2.4, 2.5, 2.6], False, at_most=1.25),
        bar([1.2, 1.2, 1.2], True, at_most=1.25),
    ]
    path = write(tmp_path / "r.json", result(one))
    assert report.main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 of 4 numbers reached." in lines
    row = "| scan \\| whole table"
    assert f"{row} | at least 0.9 x | 0.95 x (0.94 to 0.96) | pass |" in lines
    assert f"{row} | at least 0.9 x | 0.45 x (0.44 to 0.46) | **short** by 50% |" in lines
    assert f"{row} | at most 1.25 x | 2.5 x (2.4 to 2.6) | **short** by 100% |" in lines
    assert f"{row} | at most 1.25 x | 1.2 x | pass |" in lines
    assert lines[0].startswith("a machine; CPU variant `avx2`; a compiler, `-O3`; Python 3.12.0;")
    assert "commit 0123456789 with changes; 2026-01-02T03:04" in lines[0]


def test_every_benchmark_is_listed_with_its_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "r.json", result(benchmark("bench_a", 0.05, 0.5)))
    assert report.main([str(path)]) == 0
    expected = (
        "| `bench_a` | 0.05 ns (0.0495 to 0.0505) a page | 20 Gpages/s"
        " | 0.5 (0.495 to 0.505) of plain read |"
    )
    assert expected in capsys.readouterr().out.splitlines()


def test_the_report_goes_by_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of TOPICS, whatever the order of the file; unknown groups come last."""
    some = [benchmark(f"bench_{i}", 1.0, 0.9) for i in range(4)]
    for each, group in zip(some, ("memory", "scans", "more", "memory"), strict=True):
        each["group"] = group
        each["extra_info"]["bars"] = [bar([1.0, 1.0, 1.0], True, at_least=0.9)]
    some[0]["extra_info"]["sizes"] = {"resident": 3 << 20, "file": 5 << 30, "entry": 12.5}
    some[1]["extra_info"]["gauges"] = {"cores for two threads": [1.8, 1.9, 1.95]}
    assert report.main([str(write(tmp_path / "r.json", result(*some)))]) == 0
    out = capsys.readouterr().out
    titles = [line for line in out.splitlines() if line.startswith(("<details>", "| **"))]
    assert titles == [
        "| **Whole-table scans** |  |  |  |",
        "| **Memory** |  |  |  |",
        "| **more** |  |  |  |",
        "<details><summary>Whole-table scans: 1 benchmarks</summary>",
        "<details><summary>Memory: 2 benchmarks</summary>",
        "<details><summary>more: 1 benchmarks</summary>",
    ]
    assert "| `bench_0` | resident: 3 MiB; file: 5 GiB; entry: 12.5 bytes |" in out
    assert "; the machine: 1.9 (1.8 to 1.95) cores for two threads |" in out


def test_every_file_of_benchmarks_has_a_topic() -> None:
    stems = {path.stem.removeprefix("bench_") for path in ROOT.glob("benchmarks/bench_*.py")}
    assert stems == set(results.TOPICS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.31e-05, "s", "13.1 µs"),
        (0.01, "s", "10 ms"),
        (2.0, "s", "2 s"),
        (1 << 20, "bytes", "1 MiB"),
        (0, "bytes", "0 bytes"),
        (43.1e6, "events/s", "43.1 Mevents/s"),
        (1.25, "x", "1.25 x"),
    ],
)
def test_numbers_with_units(value: float, unit: str, text: str) -> None:
    assert results.with_unit(value, unit) == text


def test_a_bar_that_is_missed_by_a_hair() -> None:
    missed = bar([1.5, 1.501, 1.51], False, at_most=1.5)
    assert results.verdict(missed) == "**short** by less than 1%"


@pytest.mark.parametrize(("name", "magic"), [("chart.png", b"\x89PNG"), ("chart.svg", b"<?xml")])
def test_the_chart_is_a_picture(tmp_path: Path, name: str, magic: bytes) -> None:
    both = result(
        benchmark("bench_a[2^16]", 0.02, 0.9, 1 << 16), benchmark("bench_a[2^20]", 0.05, 0.9)
    )
    path = write(tmp_path / "r.json", both)
    assert report.main([str(path), "--chart", str(tmp_path / name)]) == 0
    content = (tmp_path / name).read_bytes()
    assert content.startswith(magic)
    assert len(content) > 10_000


def test_the_chart_has_series_and_limits_by_size() -> None:
    both = [
        results.Result(each["name"], each["extra_info"])
        for each in (benchmark("a", 0.02, 0.5, 1 << 16), benchmark("b", 0.05, 0.8))
    ]
    assert chart.chart_lines(both) == {
        "zap scan": {1 << 16: 0.02, 1 << 20: 0.05},
        "plain read": {1 << 16: pytest.approx(0.01), 1 << 20: pytest.approx(0.04)},
    }


def test_the_chart_has_margins_of_the_bars() -> None:
    one = benchmark("a", 1.0, 0.9)
    one["extra_info"]["bars"] = [
        bar([0.45, 0.9, 1.8], True, at_least=0.9),
        bar([1.0, 2.0, 4.0], False, at_most=1.0),
    ]
    ((title, rows),) = chart.margins([results.Result("a", one["extra_info"], "scans")])
    assert title == "Whole-table scans"
    assert [list(row.reached) for row in rows] == [[0.5, 1.0, 2.0], [0.25, 0.5, 1.0]]
    assert [row.shown for row in rows] == ["0.9 x, at least 0.9 x", "2 x, at most 1 x"]
    assert [row.passes for row in rows] == [True, False]


def test_labels_move_apart_but_keep_their_order() -> None:
    moved = chart.spread_labels([0.0, 0.01, 5.0, -0.01], 1.0)
    assert moved[3] < moved[0] < moved[1] < moved[2]
    assert moved[0] - moved[3] == pytest.approx(1, abs=0.01)
    assert moved[1] - moved[0] == pytest.approx(1, abs=0.01)
    assert moved[2] == 5.0


def compare(old: dict[str, Any], new: dict[str, Any], tmp_path: Path, capsys: Any) -> list[str]:
    paths = write(tmp_path / "old.json", old), write(tmp_path / "new.json", new)
    assert report.main([str(path) for path in paths]) == 0
    lines: list[str] = capsys.readouterr().out.splitlines()
    return lines


def test_a_slower_benchmark_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = result(benchmark("a", 1.0, 0.9), benchmark("b", 1.0, None), benchmark("c", 1.0, 0.9))
    new = result(benchmark("a", 1.0, 0.45), benchmark("b", 3.0, None), benchmark("c", 1.0, 0.9))
    lines = compare(old, new, tmp_path, capsys)
    assert lines[0].startswith("3 benchmarks in both: 2 slower, 0 faster")
    assert lines[-2:] == ["| `b` | slower | 3.00 | time |", "| `a` | slower | 2.00 | plain read |"]


def test_a_machine_that_got_slower_is_no_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Subject and limit took twice the time: the ratio says that nothing changed."""
    lines = compare(
        result(benchmark("a", 1.0, 0.9)), result(benchmark("a", 2.0, 0.9)), tmp_path, capsys
    )
    assert lines[0].startswith("1 benchmarks in both: 0 slower, 0 faster")
    assert len(lines) == 1


def test_noise_is_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Less than 5 %; or more, but the quartiles overlap."""
    small = benchmark("small", 1.04, None)
    small["extra_info"]["ns_iqr"] = [1.039, 1.041]
    wide = benchmark("wide", 1.3, None)
    wide["extra_info"]["ns_iqr"] = [1.0, 1.6]
    old = result(benchmark("small", 1.0, None), benchmark("wide", 1.0, None))
    lines = compare(old, result(small, wide), tmp_path, capsys)
    assert lines[0].startswith("2 benchmarks in both: 0 slower, 0 faster, 2 within noise")


def with_rounds(name: str, speeds: list[float]) -> dict[str, Any]:
    """A benchmark of these rounds, each a speed in multiples of the limit's."""
    found = benchmark(name, 1.0, statistics.median(speeds))
    found["extra_info"]["limits"]["plain read"]["rounds"] = speeds
    return found


@pytest.mark.parametrize(
    ("new_speeds", "slower"),
    [
        ([0.5, 0.52, 0.48, 0.5, 0.51], 1),
        ([0.5, 0.52, 0.48, 0.5, 0.93], 0),  # one of the rounds is as the old ones were
        ([0.5, 0.52, 0.48, 0.5] * 3 + [0.93], 1),  # a tenth of the rounds may be odd
    ],
)
def test_rounds_must_not_overlap(
    new_speeds: list[float], slower: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = result(with_rounds("a", [0.9, 0.95, 0.9, 0.91, 0.92] * 2))
    lines = compare(old, result(with_rounds("a", new_speeds)), tmp_path, capsys)
    assert lines[0].startswith(f"1 benchmarks in both: {slower} slower, 0 faster")


def test_few_rounds_tell_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = with_rounds("a", [0.9, 0.91, 0.92, 0.9]), with_rounds("a", [0.3, 0.3, 0.3, 0.3])
    lines = compare(result(old), result(new), tmp_path, capsys)
    assert lines[0].startswith("1 benchmarks in both: 0 slower, 0 faster, 0 within noise")
    assert lines[1:] == ["Not judged, fewer than 5 rounds: 1 benchmarks: a."]


def test_noise_comes_from_the_spread_of_all_rows() -> None:
    """Rows that all differ by some 10 % are noise, one that differs by far more is not."""
    speeds = [0.9 * 1.1 ** (i % 3 - 1) for i in range(20)]
    old = [with_rounds(f"b{i}", [0.9] * 7) for i in range(21)]
    new = [with_rounds(f"b{i}", [speed] * 7) for i, speed in enumerate([*speeds, 0.2])]
    both = [
        [results.Result(each["name"], each["extra_info"]) for each in side] for side in (old, new)
    ]
    all_changes = compared.changes(*both)
    assert 0.4 < compared.noise(all_changes) < 0.7
    assert [change.name for change in compared.beyond_noise(all_changes)] == ["b20"]


def test_everything_slower_is_told() -> None:
    """The spread is taken around the median change, so that a change of all rows is none of it."""
    old = [with_rounds(f"b{i}", [0.9] * 7) for i in range(12)]
    new = [with_rounds(f"b{i}", [0.6] * 7) for i in range(12)]
    both = [
        [results.Result(each["name"], each["extra_info"]) for each in side] for side in (old, new)
    ]
    assert len(compared.beyond_noise(compared.changes(*both))) == 12


def test_another_machine_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = with_rounds("a", [1.9] * 9), with_rounds("a", [1.0] * 9)
    for each, cores in ((old, 1.95), (new, 1.02)):
        each["extra_info"]["gauges"] = {"cores for two threads": [cores] * 3}
    lines = compare(result(old), result(new), tmp_path, capsys)
    assert lines[0].startswith("1 benchmarks in both: 0 slower")
    assert lines[1] == "Not judged, the machine had other cores for two threads: 1 benchmarks: a."


def test_the_same_name_in_two_groups_is_two_benchmarks() -> None:
    old = [results.Result("a", benchmark("a", 1.0, 0.9)["extra_info"], group) for group in "xy"]
    new = [results.Result("a", benchmark("a", 1.0, 0.9)["extra_info"], group) for group in "yz"]
    assert len(compared.changes(old, new)) == 1


def test_benchmarks_of_one_result_only_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = result(benchmark("a", 1.0, None), benchmark("gone", 1.0, None))
    new = result(benchmark("a", 0.5, None), benchmark("new", 1.0, None))
    lines = compare(old, new, tmp_path, capsys)
    assert lines[0].startswith("1 benchmarks in both: 0 slower, 1 faster")
    assert lines[1] == "In one of the two only: gone, new."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no json", "not a result of pytest-benchmark"),
        ("[]", "not a result of pytest-benchmark"),
        ('{"benchmarks": []}', "no benchmarks in it"),
        ('{"benchmarks": [{"name": "x", "extra_info": {"ns": 1}}]}', "x has no bars, limits"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    assert report.main([str(path)]) == 1
    assert f"{path}: {reason}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def test_three_results_are_too_many(tmp_path: Path) -> None:
    path = str(write(tmp_path / "r.json", result(benchmark("a", 1.0, None))))
    with pytest.raises(SystemExit):
        report.main([path, path, path])


def test_input_is_not_changed() -> None:
    info = benchmark("a", 1.0, 0.5)
    kept = copy.deepcopy(info)
    found = [results.Result(info["name"], info["extra_info"])]
    tables.report(result(info), found)
    compared.comparison(found, found)
    chart.margins(found)
    assert info == kept

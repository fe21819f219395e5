# SPDX-License-Identifier: MIT
"""The command line as a user runs it: output, exit status, errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.blocks import matches

import pgste


def run(*arguments: str, columns: int = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgste.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": str(columns), "PYTHONPATH": ":".join(sys.path)},
    )


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A short piece of the sample in the project's own format."""
    path = tmp_path_factory.mktemp("traces") / "piece.pgt"
    pgste.sample_trace()[:20000].save(path)
    return str(path)


def test_compare_prints_one_table(trace: str) -> None:
    result = run("compare", trace)
    assert result.returncode == 0, result.stderr
    header = next(line for line in result.stdout.splitlines() if "madv_dontneed" in line)
    assert header.split() == list(pgste.mechanisms())
    assert "75 % of the guests' peak" in " ".join(result.stdout.split())
    assert "events a second" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "order 9 and more, 2 s after a free" in " ".join(result.stdout.split())


def test_compare_says_what_free_page_reporting_was_set_to(trace: str) -> None:
    options = ("--report-order", "4", "--report-delay", "0.02", "--report-unseen", "free")
    result = run("compare", trace, "--mechanisms", "reporting", *options)
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert "order 4 and more, 0.02 s after a free" in told
    assert "no event names count as free" in told
    assert "zones" not in told
    assert run("compare", trace, "--report-order", "11").returncode == 1
    assert run("compare", trace, "--report-delay", "-1").returncode == 1


def test_compare_takes_zones_by_their_first_page_frames(trace: str) -> None:
    """Those that lie outside the guest are no zones of it; the result has gfns."""
    opened = pgste.Trace.open(trace)
    base = opened.summary()["lowest_pfn"] >> 10 << 10
    middle = (opened.summary()["lowest_pfn"] + opened.summary()["highest_pfn"]) // 2
    pfns = f"{base // 2},{middle},{1 << 50}"
    options = ("--mechanisms", "reporting", "--report-zones", pfns)
    result = run("compare", trace, *options, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["reporting"]["zones"] == [0, middle - base]
    assert "as in use; 2 zones" in " ".join(run("compare", trace, *options).stdout.split())
    for bad in ("", "a", "3,", "-1", "5,5", "7,3", "1" * 30):
        failed = run("compare", trace, f"--report-zones={bad}")
        assert failed.returncode == 1
        assert "--report-zones" in failed.stderr


def test_compare_json_is_what_python_gives(trace: str) -> None:
    result = run("compare", trace, "--json", "--host-frames", "500", "--mechanisms", "none,cmma")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    expected = pgste.compare(pgste.Trace.open(trace), ["none", "cmma"], host_frames=500)
    for name in ("none", "cmma"):
        for key, value in expected[name].values.items():
            if key != "events_per_second":
                assert data["mechanisms"][name][key] == value, key


def test_compare_draws(trace: str, tmp_path: Path) -> None:
    picture = tmp_path / "c.png"
    result = run("compare", trace, "--plot", str(picture), "--guests", "2")
    assert result.returncode == 0, result.stderr
    assert "2 guests" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_info_tells_the_summary(trace: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pgt"
    result = run("info", trace, "--json", "--save", str(copy))
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["summary"]["alloc_events"] + data["summary"]["free_events"] == 20000
    assert pgste.Trace.open(copy) == pgste.Trace.open(trace)
    text = run("info", trace).stdout
    assert f"{data['summary']['unique_pages']:,}" in text


def test_map_draws(trace: str, tmp_path: Path) -> None:
    picture = tmp_path / "m.png"
    result = run("map", trace, "--output", str(picture), "--at", "1")
    assert result.returncode == 0, result.stderr
    assert "in use, resident" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["compare", "/nowhere/trace"], 1, "/nowhere/trace"),
        (["compare", "--mechanisms", "balloon"], 1, "balloon"),
        (["compare", "--host-frames", "lots"], 1, "lots"),
        (["compare", "--guests", "0"], 1, "0"),
        (["map", "--at", "2"], 1, "--at"),
        (["frobnicate"], 2, "frobnicate"),
        ([], 2, "VERB"),
    ],
)
def test_errors_go_to_stderr(arguments: list[str], status: int, says: str) -> None:
    result = run(*arguments)
    assert result.returncode == status
    assert result.stdout == ""
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_damaged_trace(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("cpus=2\n  x-1 [000]  1.000001: mm_page_alloc:  page=0x1 pfn=0x1 order=\n")
    result = run("info", str(path))
    assert result.returncode == 1
    assert "line 2" in result.stderr


def test_version() -> None:
    assert run("--version").stdout.split() == ["pgste", pgste.__version__]


def test_scenario_tells_the_crash_and_the_fix() -> None:
    result = run("scenario", "crash-2019")
    assert result.returncode == 0, result.stderr
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    ends = [line for line in lines if line.startswith("=> ")]
    assert len(ends) == 2
    assert ends[0].startswith("=> panic: addressing exception (0x0005)")
    assert ends[1].startswith("=> passes")
    assert max(map(len, lines)) <= 100


def test_scenario_lists_and_speaks_json() -> None:
    listed = json.loads(run("scenario", "--list", "--format", "json").stdout)
    plain = run("scenario", "--list").stdout
    assert {"crash-2019", "kvm-2019", "page-poison", "stale-data"} <= set(listed)
    for name in listed:
        assert name in plain
        report = json.loads(run("scenario", name, "--format", "json").stdout)
        assert report["question"] == listed[name]
        assert report["acts"]
        assert all(act["lines"] for act in report["acts"])


def test_scenario_judges_orders() -> None:
    named = run("scenario", "--order", "v5.3").stdout
    assert "zero_on_free writes content after arch_free_page" in named
    free = "check,zero_on_free,debug_unmap,arch_free_page"
    assert "nothing is wrong" in run("scenario", "--free", free).stdout
    alloc = "poison_check,arch_alloc_page,debug_map"
    data = json.loads(run("scenario", "--alloc", alloc, "--format", "json").stdout)
    assert data["alloc"] == alloc.split(",")
    problems = {finding["step"]: finding["problem"] for finding in data["findings"]}
    assert problems["poison_check"] == "reads content before arch_alloc_page and debug_map"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "one of NAME"),
        (("crash-2019", "--list"), "one of NAME"),
        (("crash-2020",), "crash-2020"),
        (("--free", "check,boil"), "boil"),
    ],
)
def test_scenario_refuses(options: tuple[str, ...], message: str) -> None:
    result = run("scenario", *options)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_the_scenarios_page_shows_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
    shown = re.findall(r"```console\n\$ pgste (.*?)\n(.*?)```", page, re.DOTALL)
    assert len(shown) >= 3
    for command, expected in shown:
        result = run(*command.split(), columns=80)
        # "..." stands for lines that the page leaves out
        assert matches(expected.split("\n"), result.stdout.split("\n")), command

"""The verbs on the real kernel as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgste.live.pressure import swap_bytes

pytestmark = pytest.mark.usefixtures("machine")

SMALL = str(Path(__file__).parents[1] / "golden/traces/small.trace.dat")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgste.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": str(columns), "PYTHONPATH": ":".join(sys.path)},
    )


def fits(text: str, columns: int = 80) -> bool:
    return max(map(len, text.splitlines())) <= columns and "…" not in text


def test_check_says_what_it_did_or_why_not() -> None:
    done = run("live", "check", "--ops", "3000", "--swap", "both")
    skipped = done.stdout.count("skipped with swap")
    assert done.returncode == {0: 0, 1: 3, 2: 1}[skipped], done.stderr
    assert fits(done.stdout)
    assert os.uname().release in done.stdout
    for swap in ("on", "off"):
        ran = any(line.split()[:2] == ["madv_free", swap] for line in done.stdout.splitlines())
        assert ran or f"skipped with swap {swap}:" in done.stdout


def test_check_as_json() -> None:
    done = run("live", "check", "--ops", "3000", "--mechanism", "madv_free", "--json")
    data = json.loads(done.stdout)
    assert data["kernel"] == os.uname().release
    assert len(data["runs"]) + len(data["skipped"]) == 2
    for result in data["runs"]:
        assert result["page_ops"] >= 3000
        assert result["divergence"] is None


def test_check_that_can_do_nothing_fails(tmp_path: Path) -> None:
    if swap_bytes()[0]:
        pytest.skip("this machine has swap of its own on")
    nowhere = str(tmp_path / "nowhere")
    done = run("live", "check", "--swap", "on", "--swap-directory", nowhere)
    assert "skipped" in done.stdout or "nowhere" in done.stderr
    assert done.returncode == 1


@ROOT
def test_replay_prints_the_model_beside_the_kernel(tmp_path: Path) -> None:
    picture = tmp_path / "replay.png"
    costs = tmp_path / "costs.json"
    assert run("calibrate", "--seconds", "1", "-o", str(costs)).returncode == 0
    done = run(
        "live", "replay", SMALL, "--mechanism", "madv_free", "--runs", "2", "--plot", str(picture),
        "--costs", str(costs),
    )  # fmt: skip
    if "cgroup" in done.stderr or "swapon" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    for word in ("spread", "verdict", "swap-outs", "measured"):
        assert done.stdout.split().count(word) == 1, word
    assert "given" in done.stdout
    assert picture.stat().st_size > 10_000


@ROOT
def test_replay_of_a_part_as_json() -> None:
    done = run(
        "live", "replay", SMALL, "--mechanism", "none", "--most", "16M", "--runs", "1", "--json"
    )
    if "cgroup" in done.stderr or "swapon" in done.stderr:
        pytest.skip(done.stderr.strip())
    data = json.loads(done.stdout)
    assert data["peak_pages"] <= 4096
    assert 0 < data["share"] < 1
    assert set(data["mechanisms"]) == {"none"}
    assert len(data["mechanisms"]["none"]["kernel"]) == 1


def test_calibrate_prints_and_saves(tmp_path: Path) -> None:
    profile = tmp_path / "costs.json"
    done = run("calibrate", "--seconds", "1", "--no-swap", "-o", str(profile))
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    assert "skipped: swap: left out on request" in done.stdout
    trace = tmp_path / "piece.pgt"
    assert run("info", SMALL, "--save", str(trace)).returncode == 0
    compared = run("compare", str(trace), "--costs", str(profile))
    assert compared.returncode == 0, compared.stderr
    assert fits(compared.stdout)
    assert "estimated time, ms" in compared.stdout
    assert f"Linux {os.uname().release}" in compared.stdout
    data = json.loads(run("compare", str(trace), "--costs", str(profile), "--json").stdout)
    times = data["mechanisms"]["madv_dontneed"]["estimated_seconds"]
    assert times["hints"] > 0
    assert times["faults"] > 0
    assert data["mechanisms"]["cmma"]["estimated_seconds"]["hints"] is None


def test_compare_without_costs_says_so() -> None:
    done = run("compare", SMALL)
    assert "no cost profile was given" in done.stdout
    assert "estimated time" not in done.stdout


def test_compare_with_a_profile_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text("{}")
    done = run("compare", SMALL, "--costs", str(path))
    assert done.returncode == 1
    assert "is no cost profile" in done.stderr
    assert "Traceback" not in done.stderr


def test_record_needs_something_to_wait_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgste.cli", "record"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "COMMAND" in done.stderr


def test_record_then_compare(tracing: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "mine.pgt")
    program = "import mmap; m = mmap.mmap(-1, 8 << 20); m[::4096] = bytes(2048)"
    done = run("record", "-o", out, "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout, 80 + len(out))
    assert "no event was lost" in done.stdout
    compared = run("compare", out)
    assert compared.returncode == 0, compared.stderr
    assert "madv_dontneed" in compared.stdout

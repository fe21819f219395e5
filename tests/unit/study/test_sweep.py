# SPDX-License-Identifier: MIT
"""Sweeps: cells against `compare`, workers that die, results on disk, and bad arguments."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste.cli import main
from pgste.cli.sweep import sweep_table
from pgste.cli.terminal import Screen
from pgste.files import saving
from pgste.study import store
from pgste.study.cell import VALUES
from pgste.study.mixture import draw
from pgste.study.result import LRU_ROWS
from pgste.study.workers import WorkerDied, Workers


def trace(seed: int, events: int = 2000) -> pgste.Trace:
    """Each page allocated and freed twice, in random order, an event a microsecond."""
    rng = np.random.default_rng(seed)
    pfn = np.tile(rng.permutation(events // 4), 4)
    kind = np.repeat([0, 1, 0, 1], events // 4)
    return pgste.Trace.from_arrays(kind, pfn, np.zeros(events, int), np.arange(events) * 1000)


TRACES = {"one": trace(1), "two": trace(2)}
GRID = {"mechanism": ["none", "cmma"], "host_memory": ["50%", 300], "seeds": 10, "window": 1e-3}
HERE = ThreadPoolExecutor(1)
MIDDLE = pgste.sample_trace()[20000:60000]
LRU_KEYS = {row.key for row in LRU_ROWS}
LRU = ("readaheads", "readahead_hits")


def figures(sweep: pgste.Sweep) -> list[dict[str, Any]]:
    return [{**record, "seconds": 0.0} for record in sweep.records]


def test_cells_are_what_compare_tells() -> None:
    settings = {"order": [0, 2], "delay_ns": 9000}
    grid = {"host_memory": ["50%", 300], "guests": [1, 2], "reporting": settings}
    sweep = pgste.sweep(TRACES, grid, HERE)
    assert len(sweep.records) == 2 * 2 * 2 * (4 + 2)  # two settings of reporting only
    for record in sweep.records:
        source = TRACES[record["trace"]]
        guests = record["guests"]
        peak = guests * source.summary()["peak_in_use"]
        frames = 300 if record["host_memory"] == "300" else peak // 2
        settings = json.loads(record["reporting"] or "{}")
        told = pgste.compare(source, [record["mechanism"]], frames, guests, reporting=settings)
        assert record["status"] == "done"
        assert record["host_frames"] == frames
        for name in set(VALUES) - {"pages_allocated", *LRU}:
            assert record[name] == told.results[0].values[name], name
    reported = [r["hints"] for r in sweep.records if r["mechanism"] == "reporting"]
    assert len(set(reported)) > 1


def test_ways_of_reclaim_are_those_of_compare() -> None:
    ways = ["simple", "lru", "mglru"]
    grid = {"mechanism": ["none", "cmma"], "host_memory": "50%", "reclaim": ways}
    for record in pgste.sweep(TRACES, grid, HERE).records:
        source, way = TRACES[record["trace"]], record["reclaim"]
        told = pgste.compare(source, [record["mechanism"]], record["host_frames"], reclaim=way)
        for name in set(VALUES) - {"pages_allocated", *(LRU if way == "simple" else ())}:
            assert record[name] == told.results[0].values[name], name


@pytest.mark.parametrize(
    ("mechanism", "reclaim"),
    [*((name, "simple") for name in pgste.mechanisms()), ("none", "lru"), ("none", "mglru")],
)
def test_a_mixture_of_one_guest_is_what_compare_tells(mechanism: str, reclaim: str) -> None:
    one = pgste.sample_trace()[20000:] if reclaim == "lru" else MIDDLE
    frames = 30000 if reclaim == "lru" else 9000
    assert (one.seconds > 2) == (reclaim == "lru")  # statistics are flushed
    grid = {"mechanism": mechanism, "host_memory": frames, "seeds": [7], "window": 100}
    [record] = pgste.sweep(one, {**grid, "reclaim": reclaim}, HERE).records
    values = pgste.compare(one, [mechanism], frames, reclaim=reclaim).results[0].values
    without = {"pages_allocated", "frames_mean", "swap_mean", *(LRU if reclaim == "simple" else ())}
    for name in set(VALUES) - without:
        assert record[name] == values[name], name
    for name in ("frames_mean", "swap_mean"):  # sampled each turn, integrated there
        assert record[name] == pytest.approx(values[name], rel=0.01, abs=1)


def test_out_of_memory_is_a_result() -> None:
    grid = {"mechanism": ["none"], "host_memory": [100, 600], "swap_slots": [0, 1000]}
    sweep = pgste.sweep({"one": TRACES["one"]}, grid, HERE)
    told = [(r["host_memory"], r["swap_slots"], r["status"], r["end_event"]) for r in sweep.records]
    assert told == [
        ("100", 0, "out of memory", 100),  # the trace begins with 500 allocs
        ("100", 1000, "done", None),
        ("600", 0, "done", None),
        ("600", 1000, "done", None),
    ]
    assert (sweep.count("done"), sweep.count("out of memory")) == (3, 1)


def test_first_guests_of_a_seed_stay_when_more_come() -> None:
    traces = list(TRACES.values())
    few, many = (draw(traces, 3, guests, 2e-4) for guests in (2, 5))
    for part, same in zip(few, many[:2], strict=True):
        assert part.trace == same.trace
        assert part.start_ns == same.start_ns
    assert len({part.start_ns for part in many}) == 5
    for part in many:
        assert 0 < len(part.trace) <= 201
        assert part.start_ns <= part.trace.time[0] <= part.trace.time[-1] < part.start_ns + 200_001


def test_drawn_evenly() -> None:
    """Of 400 draws from two traces, and of moments: within 5 standard deviations of the half."""
    traces = list(TRACES.values())
    parts = [part for seed in range(100) for part in draw(traces, seed, 4, 2e-4)]
    first = sum(part.trace == traces[0][slice(*_where(traces[0], part))] for part in parts)
    early = sum(part.start_ns < 900_000 for part in parts)
    for count in (first, early):
        assert abs(count - 200) < 50


def _where(source: pgste.Trace, part: Any) -> tuple[int, int]:
    begin = int(np.searchsorted(source.time, part.start_ns))
    return begin, begin + len(part.trace)


# ---- workers


def test_processes_of_its_own_give_the_same() -> None:
    sweep = pgste.sweep(TRACES, GRID, workers=2)
    assert figures(sweep) == figures(pgste.sweep(TRACES, GRID, HERE))
    assert len(sweep.records) == 40


def test_a_worker_that_dies_loses_its_cell_only(tmp_path: Path) -> None:
    expected = figures(pgste.sweep(TRACES, GRID, HERE))
    seen: list[str] = []
    with Workers(2) as workers:

        def kill_one(done: int, cells: int, record: Any) -> None:
            if done == 5 and not seen:
                seen.append("killed")
                os.kill(workers.pids()[0], signal.SIGKILL)

        sweep = pgste.sweep(TRACES, GRID, workers, progress=kill_one)
        # the signal may have come between two calls, and then nothing was lost
        assert sweep.retried <= 1
    assert seen
    assert figures(sweep) == expected


def test_a_pool_that_breaks_loses_nothing() -> None:
    expected = figures(pgste.sweep(TRACES, GRID, HERE))
    seen: list[str] = []

    def kill_one(done: int, cells: int, record: Any) -> None:
        if done == 5 and not seen:
            seen.append("killed")
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)

    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(2, context) as pool,
        pytest.warns(RuntimeWarning, match=r"ProcessPoolExecutor is broken"),
    ):
        sweep = pgste.sweep(TRACES, GRID, pool, progress=kill_one)
    assert figures(sweep) == expected


class Deadly(Executor):
    """An executor of which each call for one mechanism kills the worker."""

    def __init__(self, mechanism: str, times: int) -> None:
        self.mechanism, self.left, self.calls = mechanism, times, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args[0].mechanism == self.mechanism and self.left:
            self.left -= 1
            self.calls += 1
            future.set_exception(WorkerDied("its process ended"))
        else:
            future.set_result(fn(*args))
        return future


def test_a_cell_that_always_kills_its_worker_fails_alone() -> None:
    grid = {"mechanism": ["none", "cmma"], "host_memory": 300}
    deadly = Deadly("cmma", 1000)
    sweep = pgste.sweep({"one": TRACES["one"]}, grid, deadly, tries=4)
    assert [record["status"] for record in sweep.records] == ["done", "failed"]
    assert deadly.calls == 4
    assert "tried 4 times, WorkerDied: its process ended" in sweep.records[1]["error"]
    assert sweep.records[1]["swap_outs"] is None
    once = pgste.sweep({"one": TRACES["one"]}, grid, Deadly("cmma", 1))
    assert (once.count("done"), once.retried) == (2, 1)


def test_workers_answer_and_fail_as_calls_do() -> None:
    with Workers(2) as workers:
        assert [f.result() for f in [workers.submit(divmod, n, 2) for n in range(9)]] == [
            divmod(n, 2) for n in range(9)
        ]
        with pytest.raises(ZeroDivisionError):
            workers.submit(divmod, 1, 0).result()
        with pytest.raises(WorkerDied, match="exit status 3"):
            workers.submit(os._exit, 3).result()
        with pytest.raises(Exception, match="pickle"):
            workers.submit(lambda: 1).result()
        assert workers.submit(divmod, 1, 1).result() == (1, 0)
        pids = workers.pids()
    assert workers.pids() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="shut down"):
        workers.submit(divmod, 1, 1)


def test_a_process_that_died_is_followed_by_another() -> None:
    with Workers(1) as workers:
        for status in (1, 2):
            with pytest.raises(WorkerDied, match=f"exit status {status}"):
                workers.submit(os._exit, status).result()
            assert workers.submit(divmod, 1, 1).result() == (1, 0)


def test_workers_end_at_once_when_asked() -> None:
    workers = Workers(1)
    slow = workers.submit(time.sleep, 600)
    waiting = workers.submit(time.sleep, 600)
    while not workers.pids():
        time.sleep(0.01)
    begin = time.monotonic()
    workers.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 30
    assert isinstance(slow.exception(), WorkerDied)
    assert waiting.cancelled()


def test_ctrl_c_leaves_no_process_and_keeps_results(tmp_path: Path) -> None:
    def interrupt(done: int, cells: int, record: Any) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pgste.sweep(TRACES, GRID, progress=interrupt, workers=2, results=tmp_path / "r")
    sweep = pgste.sweep(TRACES, GRID, HERE, results=tmp_path / "r")
    assert sweep.found == 4
    assert figures(sweep) == figures(pgste.sweep(TRACES, GRID, HERE))


SLOW = """
import pgste
pgste.sweep(pgste.sample_trace(), {"guests": list(range(100, 400))}, workers=2)
"""


def slow_sweep(place: Path) -> tuple[subprocess.Popen[bytes], Path, list[int]]:
    """A sweep that takes long, its folder and its workers."""
    before = set(place.glob("pgste-sweep-*"))
    environment = {**os.environ, "TMPDIR": str(place)}
    process = subprocess.Popen([sys.executable, "-c", SLOW], env=environment)
    deadline = time.monotonic() + 120
    workers: list[int] = []
    while len(workers) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        workers = [pid for pid in map(int, children(process.pid)) if is_at_work(pid)]
    (folder,) = set(place.glob("pgste-sweep-*")) - before
    return process, folder, workers


def children(pid: int) -> list[str]:
    """Those of its main thread and of the others."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for path in found for child in path.read_text().split()]


def is_at_work(pid: int) -> bool:
    """Whether it takes more time than Python does to begin."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) > 1.2 * os.sysconf("SC_CLK_TCK")


def test_what_a_killed_sweep_leaves_the_next_one_removes(tmp_path: Path) -> None:
    alive, its, _ = slow_sweep(tmp_path)
    try:
        dead, folder, workers = slow_sweep(tmp_path)
        dead.kill()
        dead.wait()
        assert list(folder.iterdir())
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline, "workers of a sweep that is dead go on"
            time.sleep(0.05)
        head, pid, start, where, number = folder.name.rsplit("-", 4)
        kept = [its, tmp_path / f"{head}-{pid}-{start}-{int(where) + 1}-{number}"]  # a container's
        kept += [tmp_path / "pgste-sweep-x", tmp_path / f"{folder.name}8"]
        for path in kept[1:]:
            path.mkdir()
        kept[-1].rmdir()
        kept[-1].symlink_to(its)
        if os.geteuid() == 0:
            kept.append(tmp_path / f"{folder.name}9")
            kept[-1].mkdir()
            os.chown(kept[-1], 12345, -1)  # another user's
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        script = SLOW.replace("range(100, 400)", "[1]")
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)
        assert sorted(tmp_path.glob("pgste-*")) == sorted(kept)
        assert list(its.iterdir())
        assert alive.poll() is None
    finally:
        alive.kill()
        alive.wait()


# ---- results on disk

FORMATS = ["lines"] + (["parquet"] if find_spec("pyarrow") else [])
needs_pyarrow = pytest.mark.skipif(
    not find_spec("pyarrow"), reason="pyarrow is not installed: pip install 'pgste[parquet]'"
)


@pytest.fixture(params=["lines", pytest.param("parquet", marks=needs_pyarrow)])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Path:
    if request.param == "lines":
        monkeypatch.setattr("pgste.study.store.find_spec", lambda name: None)
    return tmp_path / "results"


def test_results_are_found_again(folder: Path) -> None:
    small = {**GRID, "seeds": 4}
    first = pgste.sweep(TRACES, small, HERE, results=folder)
    assert (first.found, len(first.records)) == (0, 16)
    again = pgste.sweep(TRACES, small, None, results=folder)
    assert again.found == 16
    assert again.records == first.records
    larger = pgste.sweep(TRACES, GRID, HERE, results=folder)
    assert (larger.found, len(larger.records)) == (16, 40)
    assert figures(larger) == figures(pgste.sweep(TRACES, GRID, HERE))


def test_a_cell_that_failed_is_run_again(folder: Path) -> None:
    grid = {"mechanism": ["none", "cmma"], "host_memory": 300}
    one = {"one": TRACES["one"]}
    assert pgste.sweep(one, grid, Deadly("cmma", 9), results=folder).count("failed") == 1
    again = pgste.sweep(one, grid, HERE, results=folder)
    assert (again.found, again.count("done")) == (1, 2)
    assert pgste.sweep(one, grid, HERE, results=folder).found == 2


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("pgste.study.store.find_spec", lambda name: None)
    first = pgste.sweep(TRACES, GRID, HERE, results=tmp_path / "r")
    file = tmp_path / "r" / "cells.jsonl"
    os.truncate(file, file.stat().st_size - 10)
    again = pgste.sweep(TRACES, GRID, HERE, results=tmp_path / "r")
    assert again.found == 39
    assert figures(again) == figures(first)
    assert pgste.sweep(TRACES, GRID, HERE, results=tmp_path / "r").found == 40


@needs_pyarrow
def test_parquet_has_the_same_types_in_every_part(tmp_path: Path) -> None:
    import importlib

    dataset = importlib.import_module("pyarrow.dataset")
    pgste.sweep(TRACES, {"mechanism": "none", "host_memory": 100}, HERE, results=tmp_path / "r")
    grid = {"mechanism": "none", "host_memory": 100, "swap_slots": 0}
    pgste.sweep(TRACES, grid, HERE, results=tmp_path / "r")
    table = dataset.dataset(sorted((tmp_path / "r").glob("*.parquet"))).to_table()
    assert table.num_rows == 4
    assert table.column("end_event").to_pylist().count(None) == 2


def test_a_folder_of_another_sweep_is_refused(folder: Path, tmp_path: Path) -> None:
    pgste.sweep({"one": TRACES["one"]}, {"mechanism": "none"}, HERE, results=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(pgste.ArgumentError, match="of another sweep"):
        pgste.sweep({"one": TRACES["two"]}, {"mechanism": "none"}, HERE, results=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(pgste.ArgumentError, match="other files"):
        pgste.sweep(TRACES, GRID, HERE, results=tmp_path / "other")


def test_two_sweeps_do_not_write_to_one_folder(folder: Path) -> None:
    def another(done: int, cells: int, record: Any) -> None:
        if done == 1:
            with pytest.raises(pgste.ArgumentError, match="another sweep writes"):
                pgste.sweep(TRACES, GRID, HERE, results=folder)
            told.append(done)

    told: list[int] = []
    pgste.sweep(TRACES, GRID, HERE, results=folder, progress=another)
    assert told


# ---- what is told


def test_two_sweeps_that_begin_at_once_do_not_share_a_new_folder(
    tmp_path: Path, monkeypatch: Any
) -> None:
    tried: list[str] = []

    def save_late(path: Path, write: Any) -> None:
        if not tried:  # while the folder has nothing yet
            tried.append(path.name)
            with pytest.raises(pgste.ArgumentError, match="another sweep writes"):
                store.Store(tmp_path / "r", {"one": "1"})
        saving.save(path, write)

    monkeypatch.setattr(store, "save", save_late)
    with contextlib.closing(store.Store(tmp_path / "r", {"one": "1"})):
        assert tried == ["sweep.json"]


BAD_RECORDS: dict[str, str | tuple[str, Any]] = {
    "deep": "[" * 100_000,
    "digits": '{"status": ' + "9" * 5000 + "}",
    "a number": "5",
    "nothing": "{}",
    "not UTF-8": "\udcff",
    "a text for a number": ("swap_outs", "many"),
    "a number for a text": ("error", 5),
    "a flag": ("guests", True),
    "no status": ("status", "fine"),
    "no mechanism": ("mechanism", None),
    "no time": ("seconds", None),
    "one more": ("another", 1),
}


@pytest.mark.parametrize("how", BAD_RECORDS)
def test_what_others_wrote_into_the_results(how: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("pgste.study.store.find_spec", lambda name: None)
    grid = {"mechanism": "none", "host_memory": 100}
    pgste.sweep(TRACES, grid, HERE, results=tmp_path)
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()
    told = BAD_RECORDS[how]
    bad = told if isinstance(told, str) else json.dumps({**json.loads(lines[0]), told[0]: told[1]})
    before = "\n".join([*lines, bad, ""]).encode(errors="surrogateescape")
    (tmp_path / "cells.jsonl").write_bytes(before)
    with pytest.raises(pgste.ArgumentError, match=r"cells.jsonl is damaged"):
        pgste.sweep(TRACES, grid, HERE, results=tmp_path)
    assert (tmp_path / "cells.jsonl").read_bytes() == before
    (tmp_path / "sweep.json").write_bytes(before)
    with pytest.raises(pgste.ArgumentError, match="of another sweep"):
        pgste.sweep(TRACES, grid, HERE, results=tmp_path)


@pytest.mark.parametrize("name", ["sweep.json", "cells.jsonl"])
def test_a_pipe_among_the_results_is_not_waited_for(name: str, tmp_path: Path) -> None:
    pgste.sweep(TRACES, {"mechanism": "none"}, HERE, results=tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    with pytest.raises(pgste.ArgumentError, match="no regular file"):
        pgste.sweep(TRACES, {"mechanism": "none"}, HERE, results=tmp_path)


@pytest.mark.parametrize("grid", [{"reclaim": "simple"}, {"seeds": 2, "window": 1e-3}])
def test_every_figure_is_shown_and_drawn_or_said_to_be_none(
    grid: dict[str, Any], tmp_path: Path
) -> None:
    grid = {"host_memory": [300, 400], **grid}
    sweep = pgste.sweep(TRACES["one"], {"mechanism": "none", **grid}, HERE)
    for name in VALUES:
        missing = {record[name] for record in sweep.records} == {None}
        assert missing == (grid.get("reclaim") == "simple" and name in LRU_KEYS), name
        console = Screen()
        with console.capture() as shown:
            console.print(sweep_table(sweep, name))
        assert (" -\n" in shown.get()) == missing
        sweep.plot(tmp_path / "x.png", name)


def test_most_is_the_last_of_those_that_fit() -> None:
    records = tuple(
        {"trace": None, "seed": seed, "mechanism": "none", "guests": guests, "status": status,
         "swap_outs": outs}
        for seed, guests, status, outs in [
            (0, 1, "done", 0), (0, 3, "done", 9), (0, 2, "done", 1), (0, 4, "done", 0),
            (1, 1, "done", 0), (1, 2, "done", 0), (1, 3, "done", 0), (1, 4, "out of memory", None),
            (2, 1, "failed", None), (2, 2, "done", 0),
        ]
    )  # fmt: skip
    sweep = pgste.Sweep(records, ("one",))
    assert sweep.most("guests", lambda r: r["swap_outs"] < 5) == {"none": [2, 3, 0]}
    assert sweep.most("guests", lambda r: True, by=("mechanism", "trace")) == {
        ("none", None): [4, 3, 0]
    }


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ([], ["grid", "[]"]),
        ({"mechanisms": ["none"]}, ["grid", "'mechanisms'"]),
        ({"mechanism": ["nothing"]}, ["mechanism", "'nothing'"]),
        ({"mechanism": []}, ["mechanism", "no values"]),
        ({"mechanism": ["none", "none"]}, ["mechanism", "'none'", "twice"]),
        ({"mechanism": {"none": 1}}, ["mechanism", "none"]),
        ({"trace": ["three"]}, ["trace", "'three'", "one, two"]),
        ({"host_memory": ["a lot"]}, ["host_memory", "'a lot'"]),
        ({"host_memory": [0]}, ["host_memory", "0"]),
        ({"host_memory": [1.5]}, ["host_memory", "1.5"]),
        ({"guests": [70000]}, ["guests", "70000"]),
        ({"guests": [True]}, ["guests", "True"]),
        ({"swap_slots": [-1]}, ["swap_slots", "-1"]),
        ({"reclaim": ["best"]}, ["reclaim", "'best'"]),
        ({"seeds": 0}, ["seeds", "0"]),
        ({"seeds": [1, -2]}, ["seeds", "-2"]),
        ({"seeds": 1.5}, ["seeds", "1.5"]),
        ({"seeds": 2, "trace": "one"}, ["trace", "seeds"]),
        ({"window": 1}, ["window", "1"]),
        ({"seeds": 2, "window": 0}, ["window", "0"]),
        ({"seeds": 2, "window": "1"}, ["window", "'1'"]),
        ({"reporting": ["order"]}, ["reporting", "order"]),
        ({"reporting": {"ordre": 1}}, ["reporting", "ordre"]),
        ({"reporting": {"order": [0, 99]}}, ["reporting", "order", "99"]),
        ({"reporting": {"order": ["x"]}}, ["reporting", "order", "'x'"]),
        ({"seeds": 10_000_000, "guests": [1, 2]}, ["cells", "100,000,000"]),
    ],
)
def test_bad_grids(grid: Any, words: list[str]) -> None:
    with pytest.raises((pgste.ArgumentError, pgste.ArgumentTypeError, pgste.UnknownNameError)) as e:
        pgste.sweep(TRACES, grid, Deadly("none", 0))
    for word in words:
        assert word in str(e.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"traces": []}, ["traces", "none"]),
        ({"traces": 3}, ["traces", "3"]),
        ({"traces": [3]}, ["traces[0]", "3"]),
        ({"traces": {1: TRACES["one"]}}, ["traces", "1"]),
        ({"traces": [TRACES["one"][:0]]}, ["no events"]),
        ({"executor": 3}, ["executor", "3"]),
        ({"workers": 0}, ["workers", "0"]),
        ({"workers": 2, "executor": HERE}, ["workers"]),
        ({"tries": 0}, ["tries", "0"]),
        ({"progress": 3}, ["progress", "3"]),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    given = {"traces": TRACES, "grid": {"mechanism": "none"}, **arguments}
    with pytest.raises((pgste.ArgumentError, pgste.ArgumentTypeError)) as error:
        pgste.sweep(**given, results=tmp_path / "r")
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "r").exists()


# ---- the command line


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    TRACES["one"].save(tmp_path / "one.pgt")
    file = tmp_path / "grid.toml"
    file.write_text(
        'traces = ["one.pgt"]\n[grid]\nmechanism = ["none", "cmma"]\n'
        'host_memory = ["50%", "75%"]\nswap_slots = [0, 1000]\n'
    )
    return file


def test_the_verb_tells_and_draws(grid_file: Path, capsys: Any, tmp_path: Path) -> None:
    options = ["--workers", "1", "--results", str(tmp_path / "r")]
    assert main(["sweep", str(grid_file), *options, "--plot", str(tmp_path / "p.svg")]) == 0
    text = capsys.readouterr().out
    assert "8 cells of one.pgt" in text
    assert text.count("out of memory") == 4
    told = pgste.compare(TRACES["one"], ["cmma"], 250).results[0].values["swap_outs"]
    assert f" {told:,}" in text
    assert "swap-outs" in (tmp_path / "p.svg").read_text()
    assert main(["sweep", str(grid_file), *options, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["cells"], data["found"], data["out_of_memory"]) == (8, 8, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[grid", ["no grid in TOML"]),
        ("axes = 1", ["'axes'"]),
        ("traces = 1", ["traces", "1"]),
        ('traces = ["none.pgt"]', ["none.pgt"]),
        ("grid = 1", ["grid", "1"]),
        ("[grid]\nguests = 2020-01-01", ["guests", "2020"]),
    ],
)
def test_bad_files(text: str, words: list[str], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "g.toml").write_text(text)
    assert main(["sweep", str(tmp_path / "g.toml")]) == 1
    told = capsys.readouterr().err
    assert "internal error" not in told
    for word in words:
        assert word in told


@pytest.mark.skipif(find_spec("distributed") is not None, reason="Dask is installed")
def test_a_scheduler_needs_dask(grid_file: Path, capsys: Any) -> None:
    assert main(["sweep", str(grid_file), "--scheduler", "tcp://127.0.0.1:1"]) == 1
    assert "pip install 'pgste[dask]'" in capsys.readouterr().err

# SPDX-License-Identifier: MIT
"""A sweep on a Dask cluster: scheduler and workers are processes on the loopback interface."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste

distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed: pip install 'pgste[dask]'"
)

GRID = {"mechanism": ["none", "cmma"], "host_memory": ["50%"], "seeds": 60, "window": 1e-3}
SECONDS = 60
# else the others ask a worker that is dead for what it had, for half a minute
TIMEOUT = "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"


def trace(seed: int, events: int = 4000) -> pgste.Trace:
    """Pages allocated and freed at random."""
    rng = np.random.default_rng(seed)
    pfn = np.tile(rng.permutation(events // 4), 4)
    kind = np.repeat([0, 1, 0, 1], events // 4)
    return pgste.Trace.from_arrays(kind, pfn, np.zeros(events, int), np.arange(events) * 1000)


TRACES = {"one": trace(1), "two": trace(2)}


class Cluster:
    """A scheduler and workers without a nanny, which nobody starts again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show")
        self.wait_for(self.file.exists)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        package = str(Path(pgste.__file__).parents[1])
        with open(self.folder / f"{what}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + what, *options,
                 "--scheduler-file", str(self.file), "--no-dashboard"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": package, TIMEOUT: "1s"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )  # fmt: skip
        self.started.append(process)
        return process

    def add_worker(self) -> subprocess.Popen[bytes]:
        process = self.start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny")
        self.workers.append(process)
        return process

    def wait_for(self, done: Any) -> None:
        until = time.monotonic() + SECONDS
        while not done():
            assert time.monotonic() < until, (self.folder / "worker.log").read_text()
            time.sleep(0.05)

    def end(self) -> None:
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Any]:
    made = distributed.Client(scheduler_file=str(cluster.file), timeout=SECONDS)
    try:
        yield made
    finally:
        made.close(timeout=1)


def figures(sweep: pgste.Sweep) -> list[dict[str, Any]]:
    return [{**record, "seconds": 0.0} for record in sweep.records]


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    return figures(pgste.sweep(TRACES, GRID, workers=1))


def test_same_grid_on_a_cluster(
    cluster: Cluster, client: Any, expected: list[dict[str, Any]]
) -> None:
    cluster.add_worker()
    client.wait_for_workers(1, timeout=SECONDS)
    for executor in (client, client.get_executor(pure=False)):
        assert figures(pgste.sweep(TRACES, GRID, executor)) == expected


def test_a_worker_is_killed_midway(
    cluster: Cluster, client: Any, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    cluster.add_worker()
    cluster.add_worker()
    client.wait_for_workers(2, timeout=SECONDS)
    killed: list[subprocess.Popen[bytes]] = []

    def kill_one(done: int, cells: int, record: Any) -> None:
        if done == cells // 4 and not killed:
            killed.append(cluster.workers[0])
            cluster.workers[0].kill()

    sweep = pgste.sweep(TRACES, GRID, client, progress=kill_one, results=tmp_path / "results")
    assert killed[0].wait() < 0
    assert len(client.scheduler_info()["workers"]) == 1
    assert figures(sweep) == expected


def test_all_workers_are_killed_and_a_new_one_comes(
    cluster: Cluster, client: Any, expected: list[dict[str, Any]]
) -> None:
    """What was sent to them is lost with them, and sent again."""
    cluster.add_worker()
    client.wait_for_workers(1, timeout=SECONDS)

    def replace(done: int, cells: int, record: Any) -> None:
        if done == cells // 4 and len(cluster.workers) == 1:
            cluster.workers[0].kill()
            cluster.add_worker()

    assert figures(pgste.sweep(TRACES, GRID, client, progress=replace)) == expected
    assert len(cluster.workers) == 2


def test_the_command_line_takes_a_scheduler(cluster: Cluster, client: Any, tmp_path: Path) -> None:
    cli = importlib.import_module("pgste.cli")
    cluster.add_worker()
    client.wait_for_workers(1, timeout=SECONDS)
    TRACES["one"].save(tmp_path / "one.pgt")
    (tmp_path / "grid.toml").write_text('traces = ["one.pgt"]\n[grid]\nmechanism = "none"\n')
    address = client.scheduler.address
    results = tmp_path / "results"
    status = cli.main(
        ["sweep", str(tmp_path / "grid.toml"), "--scheduler", address, "--results", str(results)]
    )
    assert status == 0
    assert pgste.sweep({"one.pgt": TRACES["one"]}, {"mechanism": "none"}, results=results).found

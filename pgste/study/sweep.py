# SPDX-License-Identifier: MIT
"""Many replays over a grid of settings, on the CPUs of this machine or of a cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pgste._checks import check_callable, count_of, items_of, name_of_file
from pgste._engine.names import shown
from pgste.errors import ArgumentError, ArgumentTypeError
from pgste.files.owned import clean_folders, new_folder
from pgste.study.cell import DONE, FAILED, OUT_OF_MEMORY, failed, run_cell
from pgste.study.grid import Cell, cells_of
from pgste.study.sizes import check_no_accesses
from pgste.study.store import Store
from pgste.study.workers import MAX_WORKERS, Workers
from pgste.traces.budget import Budget
from pgste.traces.trace import Trace

__all__ = ["DONE", "FAILED", "OUT_OF_MEMORY", "Sweep", "sweep"]

Progress = Callable[[int, int, "dict[str, Any] | None"], object]
Record = dict[str, Any]

_AT_ONCE = 4096
"""Cells that an executor has at a time: enough for a cluster, and little to lose."""
MAX_TRACES = 4096
MAX_TRIES = 100


@dataclass(frozen=True)
class Sweep:
    """The result of `sweep`: a record for each cell, in the order of the grid."""

    records: tuple[Record, ...]
    traces: tuple[str, ...]
    found: int = 0
    """Cells that the folder of results had already."""
    retried: int = 0
    """Calls that gave no answer, as their worker had died, and were made again."""

    def count(self, status: str) -> int:
        """Records with this status (`DONE`, `OUT_OF_MEMORY`, `FAILED`)."""
        return sum(record["status"] == status for record in self.records)

    def varying(self) -> list[str]:
        """Axes in which the records differ."""
        return [
            name
            for name in ("trace", "seed", "host_memory", "guests", "swap_slots", "reclaim",
                         "mechanism", "reporting")
            if len({record[name] for record in self.records}) > 1
        ]  # fmt: skip

    def line(self, record: Mapping[str, Any]) -> str:
        """What tells a record's column or line: its mechanism, and settings of it that vary."""
        if record["reporting"] is None or "reporting" not in self.varying():
            return str(record["mechanism"])
        told = json.loads(record["reporting"])
        return "\n".join([record["mechanism"], *(f"{n} {value}" for n, value in told.items())])

    def most(
        self, axis: str, fits: Callable[[Record], bool], by: Sequence[str] = ("mechanism",)
    ) -> dict[Any, list[int]]:
        """For each mechanism and seed, the largest value of an axis at which a host is enough.

        Parameters
        ----------
        axis : str
            A column of whole numbers, such as "guests".
        fits : callable
            Whether a record of status "done" is good enough; others never are.
        by : sequence of str
            Columns that make a line each; the key is their value, or a tuple of them.

        Returns
        -------
        dict
            By key, a value for each seed (or trace) in order: the largest such that it and every
            smaller one of the grid fit; 0 if the smallest does not.
        """
        lines: dict[Any, dict[Any, list[tuple[int, bool]]]] = {}
        for record in self.records:
            key = tuple(record[name] for name in by)
            one = lines.setdefault(key[0] if len(key) == 1 else key, {})
            good = record["status"] == DONE and fits(record)
            one.setdefault((record["trace"], record["seed"]), []).append((record[axis], good))
        return {
            key: [_last_good(points) for points in those.values()] for key, those in lines.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "traces": list(self.traces),
            "cells": len(self.records),
            "done": self.count(DONE),
            "out_of_memory": self.count(OUT_OF_MEMORY),
            "failed": self.count(FAILED),
            "found": self.found,
            "retried": self.retried,
            "records": list(self.records),
        }

    def plot(self, path: str | os.PathLike[str], value: str = "swap_outs") -> None:
        """Draw a figure of the records over the axis of numbers with most values."""
        from pgste.study.sweep_plot import sweep_plot  # matplotlib is slow to import

        sweep_plot(self, path, value)


def _last_good(points: Sequence[tuple[int, bool]]) -> int:
    best = 0
    for value, good in sorted(points):
        if not good:
            break
        best = value
    return best


def sweep(
    traces: Any,
    grid: Mapping[str, Any],
    executor: Any = None,
    *,
    workers: int | None = None,
    results: str | os.PathLike[str] | None = None,
    tries: int = 3,
    progress: Progress | None = None,
) -> Sweep:
    """Replay every cell of a grid; docs/sweep.md has examples.

    Parameters
    ----------
    traces : Trace, path, or sequence or mapping of these
        The keys of a mapping are the names; else a file's name is.
    grid : mapping
        By axis a value or a list of them: ``mechanism``, ``host_memory`` (frames, "75%" of the
        guests' peak, or a size), ``guests``, ``swap_slots``, ``trace`` (names), ``reclaim``,
        ``reporting`` (a mapping of settings, each a value or a list), ``seeds`` (how many, or a
        list) and ``window`` (seconds).  Each trace is lived through by all guests in step, as in
        `compare`; with ``seeds``, each guest lives through a window of its own, drawn.
    executor : Executor or dask.distributed.Client, optional
        What runs the cells; by default processes of this machine, which map the traces.
    workers : int, optional
        How many processes, if no executor is given; by default one a CPU.
    results : path, optional
        A folder that gets the records as they come.  Cells that it has are not run again, but
        for those that failed.
    tries : int
        How often a cell is begun whose worker dies, 1 .. 100.
    progress : callable, optional
        Called with (cells done, cells, the last record or None).

    Returns
    -------
    Sweep
        A cell that runs out of memory is a result, and so is one that fails.

    Raises
    ------
    ArgumentError, ArgumentTypeError, UnknownNameError
        Before anything is run.
    OSError
        A trace cannot be read, or a result not be written.
    KeyboardInterrupt
        What was done is in the folder of results.
    """
    named = _traces(traces)
    cells = cells_of(grid, tuple(named))
    tries = count_of("tries", tries, MAX_TRIES)
    check_callable("progress", progress)
    if workers is not None:
        workers = count_of("workers", workers, MAX_WORKERS)
        if executor is not None:
            raise ArgumentError("workers: they are the executor's")
    executor = _executor_of(executor)
    kept = None if results is None else os.fsdecode(name_of_file("results", results))
    digests = {name: _digest(trace) for name, trace in named.items()}
    with contextlib.ExitStack() as stack:
        store = None
        if kept is not None:
            store = stack.enter_context(contextlib.closing(Store(kept, digests)))
        clean_folders("sweep")  # of sweeps that were killed
        folder = new_folder("sweep")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        files = {}
        for i, (name, trace) in enumerate(named.items()):
            files[name] = str(folder / f"{i}.pgt")
            trace.save(files[name])
        budgets = {name: trace._budget for name, trace in named.items()}
        run = _Run(cells, executor, workers, files, digests, budgets, store, tries, progress)
        stack.callback(run.end)
        run.all()
    return Sweep(
        tuple(run.records[cell.key] for cell in cells), tuple(named), run.found, run.retried
    )


def _traces(given: Any) -> dict[str, Trace]:
    """Traces by name, opened, none without events."""
    if isinstance(given, (Trace, str, os.PathLike)):
        given = [given]
    pairs: list[tuple[Any, Any]]
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        pairs = [(None, one) for one in items_of("traces", given, object, "traces", MAX_TRACES)]
    found: dict[str, Trace] = {}
    for i, (name, one) in enumerate(pairs):
        if isinstance(one, (str, os.PathLike)):
            one = Trace.open(os.fsdecode(name_of_file(f"traces[{i}]", one)))
        if not isinstance(one, Trace):
            raise ArgumentTypeError(f"traces[{i}]: {shown(one)} is not a Trace or a path")
        check_no_accesses(one, f"traces[{i}]")
        if name is None:
            name = Path(os.fsdecode(one.path)).name if one.path else f"trace {i}"
        if not isinstance(name, str):
            raise ArgumentTypeError(f"traces: the name {shown(name)} is not a str")
        if name in found:
            raise ArgumentError(f"traces: {shown(name)} is the name of two; give a mapping")
        if len(one) == 0:
            raise ArgumentError(f"traces: {shown(name)} has no events")
        found[name] = one
    if not found:
        raise ArgumentError("traces: there are none")
    return found


def _digest(trace: Trace) -> str:
    digest = hashlib.sha256(trace.events.data)
    digest.update(trace.time.data)
    return digest.hexdigest()


def _executor_of(given: Any) -> Executor | None:
    if given is None or isinstance(given, Executor):
        return given
    if callable(getattr(given, "get_executor", None)) and callable(getattr(given, "scatter", None)):
        made: Executor = given.get_executor(pure=False)
        return made
    raise ArgumentTypeError(f"executor: {shown(given)} is not an Executor or a Dask client")


class _Run:
    """The cells that are left, those that run, and the records."""

    def __init__(
        self,
        cells: Sequence[Cell],
        executor: Executor | None,
        workers: int | None,
        files: Mapping[str, str],
        digests: Mapping[str, str],
        budgets: Mapping[str, Budget | None],
        store: Store | None,
        tries: int,
        progress: Progress | None,
    ) -> None:
        self.given, self.workers, self.files, self.digests = executor, workers, files, digests
        self.budgets = budgets
        self.store, self.tries, self.progress = store, tries, progress
        self.own: Workers | None = None
        self.records: dict[str, Record] = {}
        there = {_key(record): record for record in (store.records if store else ())}
        for cell in cells:
            record = there.get(cell.key)
            if record and record["status"] != FAILED:
                self.records[cell.key] = record
        self.found, self.retried, self.total = len(self.records), 0, len(cells)
        self.left = deque(cell for cell in cells if cell.key not in self.records)
        self.running: dict[Future[Record], Cell] = {}
        self.finished: SimpleQueue[Future[Record]] = SimpleQueue()
        self.begun: dict[str, int] = {}
        self.shipped: dict[str, Any] = {}

    def all(self) -> None:
        """Run what is left to its end."""
        self._tell(None)
        while self.left or self.running:
            while self.left and len(self.running) < _AT_ONCE:
                self._submit(self.left.popleft())
            future = self.finished.get()
            self._take(future, self.running.pop(future))

    def _submit(self, cell: Cell) -> None:
        names = [cell.trace] if cell.trace is not None else list(self.files)
        if not self.shipped:
            self.shipped = _shipped(self._executor(), self.files)
        which = [(self.digests[name], self.budgets[name]) for name in names]
        try:
            future = self._executor().submit(
                run_cell, cell, which, *(self.shipped[name] for name in names)
            )
        except BrokenExecutor as error:
            self._goes_on_alone(error)
            self._submit(cell)
            return
        self.running[future] = cell
        future.add_done_callback(self.finished.put)

    def _take(self, future: Future[Record], cell: Cell) -> None:
        try:
            record = future.result()
        except BrokenExecutor as error:
            # a pool whose processes ended all at once: nobody can say which cell it was
            self._goes_on_alone(error)
            self.left.append(cell)
            self.retried += 1
            return
        except (CancelledError, Exception) as error:
            self.begun[cell.key] = self.begun.get(cell.key, 0) + 1
            if self.begun[cell.key] < self.tries:
                self.retried += 1
                self.left.append(cell)
                return
            times = f"tried {self.tries} times, " if self.tries > 1 else ""
            record = failed(cell, f"{times}{type(error).__name__}: {error}")
        self.records[cell.key] = record
        if self.store:
            self.store.add(record)
        self._tell(record)

    def _tell(self, record: Record | None) -> None:
        if self.progress:
            self.progress(len(self.records), self.total, record)

    def _executor(self) -> Executor:
        if self.given is not None:
            return self.given
        if self.own is None:
            self.own = Workers(self.workers)
        return self.own

    def _goes_on_alone(self, error: BrokenExecutor) -> None:
        """An executor that is broken takes nothing more: processes of this package do the rest."""
        if self.given is not None:
            warnings.warn(
                f"executor: {type(self.given).__name__} is broken ({error}); the sweep goes on"
                " with processes of its own",
                RuntimeWarning,
                stacklevel=2,
            )
            self.given, self.shipped = None, {}

    def end(self) -> None:
        """Leave nothing running."""
        for future in self.running:
            future.cancel()
        if self.own:
            self.own.shutdown(cancel_futures=True)


def _key(record: Mapping[str, Any]) -> str:
    names = ("trace", "seed", "window", "mechanism", "host_memory", "guests", "swap_slots",
             "reclaim", "reporting")  # fmt: skip
    return json.dumps({name: record[name] for name in names}, sort_keys=True)


def _shipped(executor: Executor, files: Mapping[str, str]) -> dict[str, Any]:
    """How workers get each trace: as a file to map, or over the network if it is Dask.

    Not scattered: scattered bytes are lost with the workers that have them, and cells that need
    them then wait for ever.  The result of a task is made again.
    """
    if not type(executor).__module__.startswith("distributed."):
        return dict(files)
    client = executor._client  # type: ignore[attr-defined]  # as get_executor() has made it
    dask = import_module("dask")
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": 1 << 62}):
        return {
            name: client.submit(bytes, Path(path).read_bytes(), pure=False)
            for name, path in files.items()
        }

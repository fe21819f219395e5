# SPDX-License-Identifier: MIT
"""The verb sweep: a grid of settings, replayed on all CPUs or on a cluster."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from pgste.cli.common import PARTLY, add_budget
from pgste.cli.terminal import Grid, print_json, progress_bar
from pgste.cli.words import printable, whole_number
from pgste.errors import ArgumentError, MissingPackageError
from pgste.study.cell import DONE, FAILED, OUT_OF_MEMORY, VALUES
from pgste.study.grid_file import read_grid
from pgste.study.picture import check_picture
from pgste.study.result import ROWS
from pgste.study.sweep import Sweep, sweep
from pgste.units import format_count

__all__ = ["add_arguments", "run"]

_MEANINGS = {row.key: f"{row.title}, {row.meaning}" for row in ROWS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "grid",
        metavar="GRID",
        help="a TOML file (- is standard input): traces (paths; none is the sample) and a table "
        "[grid] of axes, each a value or a list",
    )
    add_budget(parser)
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        help="keep results there as they come; cells that it has are not run again",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run on the Dask cluster of this scheduler (tcp://HOST:PORT); needs pgste[dask]",
    )
    parser.add_argument(
        "--workers", type=whole_number, metavar="N", help="processes here (default: one a CPU)"
    )
    parser.add_argument(
        "--tries",
        type=whole_number,
        default=3,
        metavar="N",
        help="how often a cell is begun whose worker dies (default 3)",
    )
    parser.add_argument(
        "--value",
        choices=VALUES,
        default="swap_outs",
        metavar="NAME",
        help="the figure that is shown and drawn: a key of docs/compare.md (default swap_outs)",
    )
    parser.add_argument("--json", action="store_true", help="print every record as JSON")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the figure for each mechanism (.png, .svg, .pdf)"
    )


@contextlib.contextmanager
def _client(address: str | None) -> Iterator[Any]:
    """A client of a Dask scheduler; None without an address."""
    if address is None:
        yield None
        return
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise MissingPackageError("--scheduler needs Dask: pip install 'pgste[dask]'") from None
    client = distributed.Client(address, timeout=30, set_as_default=False)
    try:
        yield client
    finally:
        client.close(timeout=5)


def _cell(records: list[dict[str, Any]], name: str) -> Text:
    """Over seeds the median, and quartiles if they differ; and what did not come to its end."""
    done = [record[name] for record in records if record["status"] == DONE]
    values = [value for value in done if value is not None]
    cell = Text("-" if done and not values else "")  # not counted there: see docs/compare.md
    if values:
        low, middle, high = (round(float(q)) for q in np.quantile(values, [0.25, 0.5, 0.75]))
        cell.append(format_count(middle), style="" if middle else "dim")
        if low != high:
            cell.append(f"\n{format_count(low)}..{format_count(high)}", style="dim")
    for status in (OUT_OF_MEMORY, FAILED):
        count = sum(record["status"] == status for record in records)
        if count:
            cell.append("\n" if cell else "")
            cell.append(status if count == len(records) else f"{status}: {count}", style="bold red")
    return cell


def sweep_table(result: Sweep, name: str) -> Grid:
    """One figure: a column for each mechanism, a row for each point of the other axes."""
    axes = [axis for axis in result.varying() if axis not in ("seed", "mechanism", "reporting")]
    table = Grid(labels=max(len(axes), 1), dense=True)
    for axis in axes or [""]:
        table.add_column(axis.replace("_", " "))
    points: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = {}
    columns: dict[str, None] = {}
    for record in result.records:
        point = tuple("default" if record[axis] is None else str(record[axis]) for axis in axes)
        column = result.line(record)
        columns.setdefault(column)
        points.setdefault(point, {}).setdefault(column, []).append(record)
    for column in columns:
        table.add_column(column, justify="right")
    for point, those in points.items():
        cells = (_cell(those.get(column, []), name) for column in columns)
        table.add_row(*(point or ("",)), *cells)
    return table


def _told(result: Sweep, value: str) -> str:
    cells = len(result.records)
    line = f"{format_count(cells)} cells of {', '.join(map(printable, result.traces))}"
    if result.found:
        line += f"; {format_count(result.found)} were in the results already"
    if result.retried:
        line += f"; {format_count(result.retried)} began again, as their worker had died"
    ways = sorted({record["reclaim"] for record in result.records})
    line += f"; reclaim {', '.join(ways)}"
    line += f"\n{_MEANINGS.get(value, value.replace('_', ' '))}"
    if "seed" in result.varying():
        line += "; median over seeds, quartiles below"
    return line


def run(args: argparse.Namespace, console: Console) -> int:
    if args.plot is not None:
        check_picture(args.plot, "--plot")
    traces, grid = read_grid(args.grid, args.budget)
    if args.scheduler is not None and args.workers is not None:
        raise ArgumentError("--workers: with --scheduler, they are the cluster's")
    with progress_bar() as progress, _client(args.scheduler) as client:
        task = progress.add_task("cells", total=None)

        def advance(done: int, cells: int, record: object) -> None:
            progress.update(task, completed=done, total=cells)

        result = sweep(
            traces,
            grid,
            client,
            workers=args.workers,
            results=args.results,
            tries=args.tries,
            progress=advance,
        )
    if args.plot is not None:
        result.plot(args.plot, args.value)
    if args.json:
        print_json(result.to_dict())
    else:
        console.print(_told(result, args.value))
        console.print()
        console.print(sweep_table(result, args.value))
        for error in list(
            dict.fromkeys(r["error"] for r in result.records if r["status"] == FAILED)
        )[:5]:
            console.print(f"\nfailed: {printable(error)}")
        if args.plot is not None:
            console.print(f"\ndrawn: {printable(args.plot)}")
    return PARTLY if result.count(FAILED) else 0

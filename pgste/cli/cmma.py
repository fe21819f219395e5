# SPDX-License-Identifier: MIT
"""The verb cmma: what a migration stream of page states holds."""

from __future__ import annotations

import argparse
import re
from typing import Any

import numpy as np
from rich.console import Console

from pgste.cli.terminal import Grid, print_json
from pgste.cli.words import printable, whole_number
from pgste.errors import StreamError
from pgste.migration import Flag, Record, records
from pgste.units import format_count

__all__ = ["add_arguments", "run"]

_SHOWN = 40
_MOST_ROWS = 1 << 20
_STATES = ("stable", "unused", "potentially_volatile", "volatile")
_HEADS = ("stable", "unused", "pot. vol.", "volatile", "no-DAT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "stream",
        metavar="STREAM",
        help="what pgste.migration.save wrote, or sections s390-storage_attributes of QEMU; "
        "- is standard input",
    )
    parser.add_argument("--summary", action="store_true", help="without the table of records")
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"every record, not only the first {_SHOWN}; with --json, too",
    )
    parser.add_argument(
        "--page",
        type=_page,
        metavar="GFN",
        help="the values that the target gets from this page on, as QEMU's `info cmma`",
    )
    parser.add_argument(
        "--count", type=whole_number, default=8, metavar="N", help="values to show (default 8)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _page(text: str) -> int:
    """A page number, decimal or, as they are printed, with 0x."""
    return int(text, 16) if re.fullmatch("0x[0-9a-fA-F]{1,16}", text) else whole_number(text)


class _Window:
    """The values of a few pages at the end of a stream; None where no record has the page."""

    def __init__(self, gfn: int, count: int) -> None:
        if not 0 <= gfn < 1 << 52:
            raise ValueError(f"--page: {gfn} is not in 0 .. 2^52 - 1")
        if not 1 <= count <= _MOST_ROWS:
            raise ValueError(f"--count: {count} is not in 1 .. {_MOST_ROWS}")
        self.gfn = gfn
        self.values = np.full(count, -1, np.int16)

    def add(self, record: Record) -> None:
        low = max(self.gfn, record.gfn)
        high = min(self.gfn + len(self.values), record.gfn + len(record.values))
        if low < high:
            at, there = low - self.gfn, low - record.gfn
            self.values[at : at + high - low] = record.values[there : there + high - low]

    def listed(self) -> list[int | None]:
        return [None if value < 0 else int(value) for value in self.values]


def run(args: argparse.Namespace, console: Console) -> int:
    window = None if args.page is None else _Window(args.page, args.count)
    shown: list[dict[str, Any]] = []
    total = np.zeros(5, np.int64)
    nr = nr_values = sections = pages = highest = 0
    complete = False
    fault: StreamError | None = None
    keep = 0 if args.summary else None if args.all else _SHOWN
    try:
        for record in records("/dev/stdin" if args.stream == "-" else args.stream):
            counts = _counts(record)
            total += counts
            nr += 1
            if record.flag == Flag.MORE:
                nr_values += 1
                pages += len(record.values)
                highest = max(highest, record.gfn + len(record.values))
                if window is not None:
                    window.add(record)
            sections += record.flag == Flag.EOS
            if keep is None or len(shown) < keep:
                shown.append(_described(record, counts))
        complete = True
    except StreamError as error:
        if not nr:
            raise  # it is no stream at all
        fault = error
    summary = {
        "sections": sections,
        "records": nr,
        "records_with_values": nr_values,
        "pages": pages,
        "end_of_pages": highest,
        **dict(zip((*_STATES, "no_dat"), total.tolist(), strict=True)),
        "complete": complete,
    }
    if args.json:
        data: dict[str, Any] = {"stream": args.stream, "summary": summary}
        if not args.summary:
            data["records"] = shown
            data["records_left_off"] = nr - len(shown)
        if window is not None:
            data["page"], data["values"] = window.gfn, window.listed()
        data["error"] = None if fault is None else {"offset": fault.offset, "reason": fault.reason}
        print_json(data)
    else:
        _print(console, args.stream, summary, shown, keep != 0)
        if window is not None:
            _print_window(console, window)
    if fault is not None:
        raise fault
    return 0


def _counts(record: Record) -> np.ndarray:
    usage = np.bincount(record.values & 3, minlength=4)
    return np.append(usage, np.count_nonzero(record.values & 0x40))


def _described(record: Record, counts: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {
        "offset": record.offset,
        "section": record.section,
        "record": (record.flag.name or "").lower(),
    }
    if record.flag == Flag.MORE:
        row |= {"page": record.gfn, "pages": len(record.values)}
        row |= dict(zip((*_STATES, "no_dat"), counts.tolist(), strict=True))
    return row


def _print(
    console: Console,
    name: str,
    summary: dict[str, Any],
    shown: list[dict[str, Any]],
    with_records: bool,
) -> None:
    console.print(
        f"{printable(name)}: {format_count(summary['sections'])} sections, "
        f"{format_count(summary['records'])} records, {format_count(summary['pages'])} values, "
        + ("complete" if summary["complete"] else "DAMAGED")
    )
    console.print()
    if with_records:
        grid = Grid()
        for title in ("byte", "section"):
            grid.add_column(title, justify="right")
        grid.add_column("record")
        for title in ("page", "pages", *_HEADS):
            grid.add_column(title, justify="right")
        for row in shown:
            cells = [format_count(row["offset"]), str(row["section"]), row["record"]]
            if "page" in row:
                cells.append(f"{row['page']:#x}")
                cells += [format_count(row[key]) for key in ("pages", *_STATES, "no_dat")]
            else:
                cells += [""] * 7
            grid.add_row(*cells)
        console.print(grid)
        if len(shown) < summary["records"]:
            more = summary["records"] - len(shown)
            console.print(f"and {format_count(more)} records more (--all shows them)")
        console.print()
    table = Grid(head=None)
    table.add_column("")
    table.add_column("", justify="right")
    for title, key in zip(_HEADS, (*_STATES, "no_dat"), strict=True):
        table.add_row(f"values {title}", format_count(summary[key]))
    table.add_row("page behind the last one sent", f"{summary['end_of_pages']:#x}")
    console.print(table)


def _print_window(console: Console, window: _Window) -> None:
    console.print()
    console.print(f"CMMA attributes, pages {window.gfn:#x}+{len(window.values)}:")
    cells = ["--" if value is None else f"{value:02x}" for value in window.listed()]
    for at in range(0, len(cells), 8):
        console.print(" ".join(cells[at : at + 8]))

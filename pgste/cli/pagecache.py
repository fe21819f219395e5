# SPDX-License-Identifier: MIT
"""What `pgste compare --flavour zvm` adds: volatile pages, as I/O counted on the engine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from pgste.cli.terminal import Grid
from pgste.study.pagecache import COLD_PAGES, POLICIES, PageIo, cold_page, file_accesses, replay
from pgste.units import format_count

__all__ = ["measure", "print_tables"]

_PAGES = 1000
_ACCESSES, _FILE_PAGES, _CACHE_PAGES, _HOST_FRAMES = 60_000, 4_000, 2_000, 1_000
_PARTS = ("host_writes", "host_reads", "guest_writes", "guest_reads", "total")
_TITLES = ("page-outs", "page-ins", "disk writes", "disk reads", "I/O in all")


def measure() -> dict[str, Any]:
    """Run both workloads: I/O a cold page by its fate, and a page cache over time by policy."""
    accesses = file_accesses(_ACCESSES, _FILE_PAGES)
    return {
        "cold_page": {
            fate.key: {part: value / _PAGES for part, value in _parts(cold_page(fate, _PAGES))}
            for fate in COLD_PAGES
        },
        "page_cache": {
            "accesses": _ACCESSES,
            "file_pages": _FILE_PAGES,
            "cache_pages": _CACHE_PAGES,
            "host_frames": _HOST_FRAMES,
            "policies": {
                policy: dict(_parts(replay(policy, accesses, _CACHE_PAGES, _HOST_FRAMES)))
                for policy in POLICIES
            },
        },
    }


def _parts(io: PageIo) -> list[tuple[str, int]]:
    return [*asdict(io).items(), ("total", io.total)]


def _table(first: str) -> Grid:
    table = Grid()
    table.add_column(first)
    for title in _TITLES:
        table.add_column(title, justify="right")
    return table


def print_tables(console: Console, measured: dict[str, Any]) -> None:
    console.print(f"I/O a cold page, over {format_count(_PAGES)} of them:")
    console.print()
    table = _table("page")
    for fate in COLD_PAGES:
        io = measured["cold_page"][fate.key]
        table.add_row(fate.key, *(f"{io[part]:g}" for part in _PARTS))
    console.print(table)
    for fate in COLD_PAGES:
        console.print(Text(f"{fate.key}: {fate.meaning}", style="dim"))
    cache = measured["page_cache"]
    console.print(
        f"\nA page cache: {format_count(cache['accesses'])} reads of {cache['file_pages']:,} file"
        f" pages, some more popular than others;\nroom for {cache['cache_pages']:,} pages in the"
        f" guest, for {cache['host_frames']:,} in the host:\n"
    )
    table = _table("cache pages")
    for policy, io in cache["policies"].items():
        table.add_row(policy, *(format_count(io[part]) for part in _PARTS))
    console.print(table)

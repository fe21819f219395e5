# SPDX-License-Identifier: MIT
"""A result of the benchmark suite as a file, and its numbers as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = {"ns", "ns_iqr", "limits", "bars", "unit"}
# Files of benchmarks, which are pytest-benchmark's groups, in the order of the report.
TOPICS = {
    "essa": "ESSA on many pages",
    "dtypes": "Gfns of every integer dtype",
    "access": "Calls on arrays of gfns",
    "scalar": "One call from Python",
    "scans": "Whole-table scans",
    "words": "Kernel-format words",
    "zap": "Intercepts, zap, swap-out, faults",
    "ptes": "The PTE layer and storage keys",
    "log": "The CMMA log and memory slots",
    "replay": "Replay",
    "scale": "As guests grow, in pages and in number",
    "curve": "Curves over all host sizes",
    "decode": "Trace decoding",
    "files": "Trace files",
    "guarantees": "Search for guarantees",
    "threads": "Two virtual CPUs, and what the machine has for two threads",
    "parallel": "threads=2",
    "memory": "Memory",
}
PREFIXES = {1e9: "G", 1e6: "M", 1e3: "k"}


class ReportError(Exception):
    """A file that is no result of this suite."""


@dataclass(frozen=True)
class Result:
    """One benchmark: its name, and what `harness.Measure` found (see there for the keys)."""

    name: str
    info: Mapping[str, Any]
    group: str = ""

    @property
    def basis(self) -> str | None:
        """The limit that a comparison of two runs is made by, if there is one."""
        return next(iter(self.info["limits"]), None)


def load(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """The whole file, and its benchmarks; ReportError says what is wrong with it."""
    try:
        data = json.loads(path.read_text())
        results = [
            Result(each["name"], each["extra_info"], each.get("group") or "")
            for each in data["benchmarks"]
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ReportError(f"{path}: not a result of pytest-benchmark: {error}") from error
    for result in results:
        missing = KEYS - set(result.info)
        if missing:
            raise ReportError(f"{path}: {result.name} has no {', '.join(sorted(missing))}")
    if not results:
        raise ReportError(f"{path}: no benchmarks in it")
    return data, results


def by_topic(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Titles of TOPICS, in their order, and the results of each; the unknown ones last."""
    found: dict[str, list[Result]] = {}
    order = list(TOPICS)
    for result in sorted(
        results, key=lambda each: order.index(each.group) if each.group in order else len(order)
    ):
        found.setdefault(TOPICS.get(result.group, result.group or "Others"), []).append(result)
    return found


# ---- numbers as text --------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits: 0.0251, 1.25, 43.1 M."""
    for size, prefix in PREFIXES.items():
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"


def size(nr_bytes: float) -> str:
    """Bytes in binary units: 64 MiB."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if abs(nr_bytes) >= 1 << power:
            return f"{nr_bytes / (1 << power):.3g} {unit}"
    return f"{number(nr_bytes)} bytes"


def seconds(value: float) -> str:
    """13.1 µs, 1.5 ms, 2 s."""
    for power, unit in ((1.0, "s"), (1e-3, "ms")):
        if value >= power:
            return f"{value / power:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def with_unit(value: float, unit: str) -> str:
    """A number as a bar has it: "1.07 x", "43.1 Mevents/s", "1 MiB"."""
    if unit in ("bytes", "s"):
        return size(value) if unit == "bytes" else seconds(value)
    text = number(value)
    return f"{text}{'' if text[-1:].isalpha() else ' '}{unit}"


def with_quartiles(quartiles: Sequence[float], unit: str) -> str:
    """Median and, if they differ from it, quartiles: "1.07 x (1.02 to 1.1)"."""
    low, median, high = quartiles
    text = with_unit(median, unit) if unit else number(median)
    if low == high:
        return text
    ends = [with_unit(each, unit) if unit == "s" else number(each) for each in (low, high)]
    return f"{text} ({' to '.join(ends)})"


def bar_text(bar: Mapping[str, Any]) -> str:
    """What a bar asks for."""
    if bar["at_least"] is not None:
        return f"at least {with_unit(bar['at_least'], bar['unit'])}"
    return f"at most {with_unit(bar['at_most'], bar['unit'])}"


def verdict(bar: Mapping[str, Any]) -> str:
    """Pass, or by how much a bar was missed."""
    if bar["pass"]:
        return "pass"
    median = bar["measured"][1]
    if bar["at_least"] is not None:
        missed = 1 - median / bar["at_least"]
    else:
        missed = median / bar["at_most"] - 1
    return f"**short** by {missed:.0%}" if missed >= 0.005 else "**short** by less than 1%"

# SPDX-License-Identifier: MIT
"""One result as Markdown: the numbers to reach, and every benchmark by topic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.results import (
    Result,
    bar_text,
    by_topic,
    number,
    size,
    verdict,
    with_quartiles,
    with_unit,
)


def markdown(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return lines


def facts(data: Mapping[str, Any], results: Sequence[Result]) -> list[str]:
    """On what, from what and when."""
    info = results[0].info
    commit = data.get("commit_info") or {}
    dirty = " with changes" if commit.get("dirty") else ""
    return [
        f"{info.get('machine')}; CPU variant `{info.get('isa')}`; {info.get('compiler')},"
        f" `{str(info.get('flags')).strip()}`; Python {info.get('python')};"
        f" commit {str(commit.get('id'))[:10]}{dirty}; {str(data.get('datetime'))[:16]}"
    ]


def bars_table(results: Sequence[Result]) -> list[str]:
    """The numbers to reach: bar, measured, verdict; a row in bold opens each topic."""
    rows = []
    for title, members in by_topic(results).items():
        bars = [bar for result in members for bar in result.info["bars"]]
        if bars:
            rows.append((f"**{title}**", "", "", ""))
        for bar in bars:
            measured = with_quartiles(bar["measured"], bar["unit"])
            rows.append((bar["row"], bar_text(bar), measured, verdict(bar)))
    return markdown(rows, ("what", "bar", "measured: median (quartiles)", ""))


def all_table(results: Sequence[Result]) -> list[str]:
    """Benchmarks with every limit that each was held against."""
    rows = []
    for result in results:
        info = result.info
        low, high = info["ns_iqr"]
        against = "; ".join(
            f"{with_quartiles(own['speed'], '')} of {name}" for name, own in info["limits"].items()
        )
        for name, quartiles in info.get("gauges", {}).items():
            against += f"; the machine: {with_quartiles(quartiles, '')} {name}"
        rate = with_unit(1e9 / info["ns"], f"{info['unit']}s/s")
        article = "an" if info["unit"][0] in "aeiou" else "a"
        time = f"{number(info['ns'])} ns ({number(low)} to {number(high)})"
        rows.append((f"`{result.name}`", f"{time} {article} {info['unit']}", rate, against))
    heads = ("benchmark", "median (quartiles)", "rate", "speed, as a share: median (quartiles)")
    return markdown(rows, heads)


def sizes_table(results: Sequence[Result]) -> list[str]:
    """Memory that benchmarks measured beside the times."""
    rows = [
        (f"`{result.name}`", "; ".join(f"{what}: {size(nr)}" for what, nr in sizes.items()))
        for result in results
        if (sizes := result.info.get("sizes"))
    ]
    return markdown(rows, ("benchmark", "memory")) if rows else []


def report(data: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The whole report as Markdown."""
    bars = [bar for result in results for bar in result.info["bars"]]
    reached = sum(bar["pass"] for bar in bars)
    lines = facts(data, results)
    if bars:
        lines += ["", f"{reached} of {len(bars)} numbers reached.", "", *bars_table(results)]
    for title, members in by_topic(results).items():
        lines += ["", f"<details><summary>{title}: {len(members)} benchmarks</summary>", ""]
        lines += all_table(members)
        sizes = sizes_table(members)
        lines += ["", *sizes] if sizes else []
        lines += ["", "</details>"]
    return "\n".join(lines)

# SPDX-License-Identifier: MIT
"""Turns a result of the benchmark suite into a Markdown table and a chart, or compares two.

``pytest benchmarks --benchmark-json=RESULT.json`` makes a result;
``python benchmarks/report.py RESULT.json`` prints the table and draws RESULT.png;
``python benchmarks/report.py OLD.json NEW.json`` tells what got slower or faster.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.chart import draw
from benchmarks.compared import comparison
from benchmarks.results import ReportError, load
from benchmarks.tables import facts, report


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of one result, or the comparison of two: 0, or 1 if that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    parser.add_argument("--chart", type=Path, help="picture to write (.png, .svg, .pdf)")
    options = parser.parse_args(arguments)
    if len(options.results) > 2:
        parser.error("one result, or two to compare")
    try:
        data, results = load(options.results[-1])
        if len(options.results) == 2:
            print(comparison(load(options.results[0])[1], results))
        else:
            print(report(data, results))
            chart = options.chart or options.results[0].with_suffix(".png")
            draw(results, chart, facts(data, results)[0])
    except (ReportError, OSError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

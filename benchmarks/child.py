# SPDX-License-Identifier: MIT
"""Runs in a process of its own, for its memory to be measured: prints a JSON object.

Memory is what /proc says of this process.  The rusage of a child would not do: in it Linux
counts what the process had in memory before exec, which is the parent's.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
from pathlib import Path


def status(*names: str) -> dict[str, int]:
    """Lines of /proc/self/status, in bytes: VmHWM is the most that was ever resident."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0][:-1]: int(line[1]) << 10 for line in lines if line and line[0][:-1] in names}


def compare(*arguments: str) -> dict[str, object]:
    """`pgste compare` with these arguments."""
    import pgste.cli.compare  # so that what is imported counts as there at the start

    start = status("VmRSS")["VmRSS"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = pgste.cli.main(["compare", *arguments])
    return {"code": code, "output": out.getvalue(), "start": start, **status("VmHWM")}


def open_trace(path: str, room: str) -> dict[str, object]:
    """`Trace.open` with room for this many more bytes of own data, then a pass over the events.

    RLIMIT_DATA bounds what a process has of private memory that can be written, which the trace
    is read into.
    """
    import numpy as np

    import pgste

    pgste.sample_trace()  # what is imported or allocated once only
    before = status("VmData", "RssAnon", "RssFile")
    resource.setrlimit(resource.RLIMIT_DATA, (before["VmData"] + int(room),) * 2)
    trace = pgste.Trace.open(path)
    opened = status("RssAnon", "RssFile")
    word = int(np.bitwise_xor.reduce(trace.events))
    after = status("RssAnon")
    return {
        "events": len(trace),
        "word": word,
        "own": max(opened["RssAnon"], after["RssAnon"]) - before["RssAnon"],
        "mapped": opened["RssFile"] - before["RssFile"],
    }


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(open_trace(*arguments) if verb == "open" else compare(*arguments)))

# SPDX-License-Identifier: MIT
"""Modules by the names that they had before they moved: `MOVED` says where each is now.

``import pgste.trace_dat`` gives the very module `pgste.traces.dat`, so its classes are the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "_live": "_engine.live",
    "_search": "_engine.search",
    "_trace": "_engine.trace",
    "batch": "study.batch",
    "calibrate": "live.calibrate",
    "compare": "study.compare",
    "conformance": "live.check",
    "conformance_sides": "live.sides",
    "events": "traces.events",
    "judge": "freepath.judge",
    "live_replay": "live.replay",
    "pagecache": "study.pagecache",
    "path": "freepath",
    "plot": "study.plot",
    "plot_live": "live.plot",
    "pressure": "live.pressure",
    "record": "live.record",
    "scenarios": "freepath.scenarios",
    "trace": "traces",
    "trace_dat": "traces.dat",
    "trace_read": "traces.reading",
    "tracefile": "traces.pgt",
    "tracefs": "live.tracefs",
    "witness": "guarantees.witness",
}


class _Finder:
    """Finder and loader, without the base classes of importlib.abc: that is slow to import."""

    def find_spec(self, fullname: str, *where: object) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        known = package == "pgste" and name in MOVED
        return ModuleSpec(fullname, self) if known else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        package, _, name = module.__name__.rpartition(".")
        sys.modules[module.__name__] = import_module(f"{package}.{MOVED[name]}")


sys.meta_path.insert(0, _Finder())  # before files: those of an older build may lie about

# SPDX-License-Identifier: MIT
"""The trace that comes with the package."""

from __future__ import annotations

import os

from pgste.traces.trace import Trace

__all__ = ["sample_trace"]

_FILE = os.path.join(os.path.dirname(__file__), "data", "sample.pgt.xz")


def sample_trace() -> Trace:
    """The trace that comes with the package; pgste/traces/data/README.md says what it holds."""
    return Trace.open(_FILE)

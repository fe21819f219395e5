# SPDX-License-Identifier: MIT
"""Page allocator traces: what was recorded, and the files it is kept in.

============= =========================================================================
`trace`       `Trace`: the events, in order
`events`      packed events: what is right in them
`reading`     what a file is, unpacking it, and text
`dat`         trace.dat of trace-cmd
`pgt`         the package's own format
`sample`      the trace that comes with the package (`data/`)
============= =========================================================================
"""

from pgste.traces.sample import sample_trace
from pgste.traces.trace import Trace

__all__ = ["Trace", "sample_trace"]

# SPDX-License-Identifier: MIT
"""Page allocator traces: what was recorded, and the files it is kept in.

============= =========================================================================
`trace`       `Trace`: the events, in order
`events`      packed events: what is right in them
`budget`      the memory and work that reading may take
`source`      the bytes of a file, unpacked piece by piece
`reading`     what a file is, and text
`dat`         trace.dat of trace-cmd
`dat_parts`   numbers, strings and packed parts of it
`pgt`         the package's own format
`touch`       accesses that are made up
`damon`       accesses from what DAMON recorded
`sample`      the trace that comes with the package (`data/`)
============= =========================================================================
"""

from pgste.traces.budget import Budget
from pgste.traces.sample import sample_trace
from pgste.traces.trace import Trace

__all__ = ["Budget", "Trace", "sample_trace"]

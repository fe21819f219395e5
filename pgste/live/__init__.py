# SPDX-License-Identifier: MIT
"""The real kernel of this machine: memory, pressure, recordings, and the model beside it.

============= =========================================================================
`memory`      `Memory`: the guest's verbs over real memory and the real ``madvise(2)``
`refused`     `Refused`: what the kernel refused, and why
`check`       the model held against the kernel, page by page
`sequences`   random operations for it, and the shortest that show a divergence
`sides`       one operation on the model, and on the kernel's memory
`replay`      a trace on real memory under a real limit
`pressure`    swap files and memory limits
`calibrate`   what hints, faults and swap cost here
`alone`       one live run at a time on a machine
`ending`      what is set up is taken away, by signals too
`leftovers`   what is set up is named, found and removed: a table of its kinds
`record`      the page allocator's events of this machine
`tracefs`     a tracing instance of our own
`damon`       accesses of this machine, by DAMON
`mglru`       whether this kernel reclaims in a way that is not modelled
`plot`        a picture of a replay
============= =========================================================================
"""

from pgste.live.memory import (
    HINTS,
    Advice,
    Counts,
    Memory,
    State,
    Stats,
)
from pgste.live.refused import EHWPOISON, Refused, why_refused

__all__ = [
    "EHWPOISON",
    "HINTS",
    "Advice",
    "Counts",
    "Memory",
    "Refused",
    "State",
    "Stats",
    "why_refused",
]

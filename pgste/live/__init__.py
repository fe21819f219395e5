# SPDX-License-Identifier: MIT
"""The real kernel of this machine: memory, pressure, recordings, and the model beside it.

============= =========================================================================
`memory`      `Memory`: the guest's verbs over real memory and the real ``madvise(2)``
`check`       the model held against the kernel, page by page
`sides`       one operation on the model, and on the kernel's memory
`replay`      a trace on real memory under a real limit
`pressure`    swap files and memory limits
`calibrate`   what hints, faults and swap cost here
`record`      the page allocator's events of this machine
`tracefs`     a tracing instance of our own
`plot`        a picture of a replay
============= =========================================================================
"""

from pgste.live.memory import (
    EHWPOISON,
    HINTS,
    Advice,
    Counts,
    Memory,
    Refused,
    State,
    Stats,
    why_refused,
)

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

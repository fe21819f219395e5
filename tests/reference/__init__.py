# SPDX-License-Identifier: MIT
"""Reference model of guest page states: short, slow, and independent of the C core.

Written from docs/model.md and the kernel facts it cites, and from nothing else.  It shares
no code, table or layout with `src_c/`: pages are plain 64-bit words, every rule is spelled
out where it applies, and a call that fails is undone from a copy of everything.

    words      bits of PGSTE and PTE, predicates
    essa       what one ESSA does to one page
    host       frames, swap slots, reclaim
    lru        the same as Linux does it without MGLRU
    mglru      the same with MGLRU
    zvm        the states of guest page hinting on z/VM
    guest      pages, faults, CBRL, zap, free and alloc
    reporting  a buddy allocator's view of the guest, and free page reporting
    replay     a trace through guests
    summary    what a trace holds
"""

from reference.errors import (
    ForeignPage,
    GfnError,
    ModelError,
    OutOfFrames,
    OutOfSwap,
    ProgramInterruption,
    StateError,
)
from reference.guest import Guest
from reference.host import Host
from reference.lru import LruHost
from reference.mglru import MglruHost
from reference.replay import Replay
from reference.summary import summarize

__all__ = [
    "ForeignPage",
    "GfnError",
    "Guest",
    "Host",
    "LruHost",
    "MglruHost",
    "ModelError",
    "OutOfFrames",
    "OutOfSwap",
    "ProgramInterruption",
    "Replay",
    "StateError",
    "summarize",
]

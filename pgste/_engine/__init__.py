# SPDX-License-Identifier: MIT
"""The binding of the C core (src_c/pgste.h): hosts, guests and replays as Python objects.

It checks arguments, lets go of the GIL for array work, and turns error codes into
exceptions (`pgste.errors`).  It models nothing; docs/model.md says what the calls do.

============= =========================================================================
`unit`        a host and its guests as what one call at a time may use
`member`      one C guest of a unit: its life, its calls, their errors
`pagetable`   words and states of a guest's pages, counts and searches over them
`ptes`        the PTE layer and storage keys
`reporting`   a guest's clock and free page reporting
`slots`       memory slots, controls of a virtual machine, and the CMMA log
`guest`       `Guest`: all of these, and what a guest and its hypervisor do
`host`        `Host`: a unit's frames and swap slots
`replay`      `Replay`: events of a page allocator, through guests of one host
`arguments`   checks of numbers, names, arrays and `gfns`
`names`       names and sentences that the core tells, its variants for CPUs
`trace`       decoders of recorded events, and the summary of a trace
`curve`       one pass over a trace for hosts of all sizes
`footprint`   what a host with room for all holds for a guest, by how memory comes back
`search`      the search of all states for what a mechanism guarantees
`watch`       long calls without the GIL: signals, and calls that end together
`live`        real memory of this process: madvise(2), residency, swap
============= =========================================================================

Threads
-------
Every object may be used from any thread.  A host and its guests form one unit, which one
call at a time may use; other calls wait their turn, in order.  Only `Guest.essa`,
`Guest.free`, `Guest.alloc` and their forms for one page run at once, for one ``cmma`` guest
with more than one vcpu, on different vcpus.  An array that another thread changes during a
call is read as it is found, or ends the call with `ChangedError`.

Signals and forks
-----------------
A long call looks for signals a few times a second.  A handler that raises, as Ctrl-C does, ends
it early: what it did so far is done, and its objects stay usable.  The handler itself may use
other hosts; the one of the call raises `HostBusyError`.  After a fork the child may use every
host that nobody was using; one that another thread was using raises `GuestClosedError`.
"""

from pgste._engine.guest import Guest
from pgste._engine.host import Host, zone_watermarks
from pgste._engine.names import (
    ERROR_LAST,
    VERSION,
    flavour_of,
    generation_of,
    generations,
    isa_name,
    isa_select,
    isa_variants,
    mechanisms,
    strerror,
)
from pgste._engine.replay import Replay
from pgste._engine.slots import CmmaBits, Slot

__all__ = [
    "ERROR_LAST",
    "VERSION",
    "CmmaBits",
    "Guest",
    "Host",
    "Replay",
    "Slot",
    "flavour_of",
    "generation_of",
    "generations",
    "isa_name",
    "isa_select",
    "isa_variants",
    "mechanisms",
    "strerror",
    "zone_watermarks",
]

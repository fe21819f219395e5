# SPDX-License-Identifier: MIT
"""What the kernel counts of swap: for a memory cgroup where it does, else for the whole machine.

Facts: memcg_stat_item and memcg_vm_event_stat of the kernel's mm/memcontrol.c (memory.stat of
version 2), mm/memcontrol-v1.c (version 1, which has few of them), and /proc/vmstat.
"""

from __future__ import annotations

from pathlib import Path

from pgste.live.pressure import MemoryLimit

__all__ = ["COUNTERS", "GROUP", "MACHINE", "Counters", "stat_of_machine"]

GROUP, MACHINE = "group", "whole machine"

COUNTERS = {
    "swap_outs": "pswpout",
    "pages_read": "pswpin",
    "readahead_pages": "swap_ra",
    "readahead_hits": "swap_ra_hit",
    "lazyfree_discards": "pglazyfreed",
    "refaults": "workingset_refault_anon",
}
"""What a counter is called here, and by the kernel, in memory.stat as in /proc/vmstat."""


def stat_of_machine(text: str | None = None) -> dict[str, int]:
    """All of /proc/vmstat. text: its content, for tests."""
    text = Path("/proc/vmstat").read_text() if text is None else text
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


class Counters:
    """The counters of a group as of now and later; `scope` says for each whose it is."""

    def __init__(self, limit: MemoryLimit) -> None:
        self._limit = limit
        group = limit.stat()
        self.scope = {
            key: GROUP if name in group else MACHINE
            for key, name in COUNTERS.items()
            if name in group or name in stat_of_machine()
        }
        self._before = self._read()

    def _read(self) -> dict[str, int]:
        group, machine = self._limit.stat(), stat_of_machine()
        return {
            key: (group if scope == GROUP else machine)[COUNTERS[key]]
            for key, scope in self.scope.items()
        }

    def since(self) -> dict[str, int]:
        """By how much each has grown since this was made."""
        return {key: value - self._before[key] for key, value in self._read().items()}

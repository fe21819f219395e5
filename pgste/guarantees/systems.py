# SPDX-License-Identifier: MIT
"""The systems that are searched: how large host and guest are."""

from __future__ import annotations

from dataclasses import dataclass

from pgste.guarantees.columns import Subject

__all__ = ["DEEP_SYSTEMS", "STATES", "SYSTEMS", "System"]


@dataclass(frozen=True)
class System:
    """A system that is searched; `obedient`: pages but the first keep to free and alloc.

    With two `vcpus` each has a list; mechanisms without lists are not searched for it.
    `two_tables`: only columns of the dat generation, whose hosts do more, are searched on it
    (True), or only others (False).
    """

    pages: int
    frames: int
    swap_slots: int
    cbrl_entries: int
    obedient: bool = False
    vcpus: int = 1
    two_tables: bool | None = None

    def fits(self, subject: Subject) -> bool:
        """Whether the system has nothing that the mechanism knows nothing of."""
        lists = subject.mechanism == "cmma" and subject.generation != "zvm"
        has_two = subject.generation == "dat"
        return (self.vcpus == 1 or lists) and self.two_tables in (None, has_two)

    def __str__(self) -> str:
        pages = f"{self.pages} page{'s' * (self.pages > 1)}"
        frames = f"{self.frames} frame{'s' * (self.frames > 1)}"
        slots = f"{self.swap_slots} swap slot{'s' * (self.swap_slots > 1)}"
        lists = "list" if self.vcpus == 1 else f"{self.vcpus} lists"
        entries = f"{lists} of {self.cbrl_entries}"
        return f"{pages}, {frames}, {slots}, {entries}"


#: From the smallest; a witness comes from the first that has a shortest one.
SYSTEMS = (
    System(1, 1, 1, 1),
    System(2, 1, 2, 1),
    System(2, 1, 2, 2, two_tables=False),
    System(2, 1, 1, 2, two_tables=False),
    System(2, 1, 2, 1, vcpus=2, two_tables=False),
    System(2, 2, 2, 2, two_tables=False),
    System(2, 2, 2, 1, obedient=True, two_tables=True),
    System(3, 1, 3, 2, obedient=True, two_tables=False),
)

#: One frame fewer than three pages need: minutes and gigabytes, and the same answers.
DEEP_SYSTEMS = (*SYSTEMS, System(3, 2, 3, 1, obedient=True))

#: How many states a column has on each of `SYSTEMS` that it fits, for progress; a test counts them.
STATES: dict[tuple[str, System], int] = {}

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
    """

    pages: int
    frames: int
    swap_slots: int
    cbrl_entries: int
    obedient: bool = False
    vcpus: int = 1

    def fits(self, subject: Subject) -> bool:
        """Whether the system has nothing that the mechanism knows nothing of."""
        lists = subject.mechanism == "cmma" and subject.generation != "zvm"
        return self.vcpus == 1 or lists

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
    System(2, 1, 2, 2),
    System(2, 1, 1, 2),
    System(3, 1, 3, 2, obedient=True),
)

#: One frame fewer than three pages need: minutes and gigabytes, and the same answers.
DEEP_SYSTEMS = (*SYSTEMS, System(3, 2, 3, 1, obedient=True))

#: How many states a mechanism has on each of `SYSTEMS`, for progress; a test counts them.
STATES = {
    (mechanism, system): states
    for mechanism, counts in {
        "none": (57, 570, 570, 294, 4212),
        "cmma": (410, 13148, 34306, 21586, 917934),
        "cmma_dat": (536, 16470, 41185, 23700, 864326),
        "cmma_zvm": (126, 3168, 3168, 2664, 46656),
        "madv_free": (333, 6876, 6876, 4596, 66192),
        "madv_free_dirty": (228, 4224, 4224, 2808, 24144),
        "madv_dontneed": (45, 660, 660, 384, 3228),
        "reporting": (217, 6830, 6830, 3990, 205093),
        "reporting_poison": (201, 3505, 3505, 1813, 89985),
    }.items()
    for system, states in zip(SYSTEMS, counts, strict=True)
}

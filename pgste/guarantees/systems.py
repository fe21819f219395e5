# SPDX-License-Identifier: MIT
"""The systems that are searched: how large host and guest are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEEP_SYSTEMS", "STATES", "SYSTEMS", "System"]


@dataclass(frozen=True)
class System:
    """A system that is searched; `obedient`: pages but the first keep to free and alloc."""

    pages: int
    frames: int
    swap_slots: int
    cbrl_entries: int
    obedient: bool = False

    def __str__(self) -> str:
        pages = f"{self.pages} page{'s' * (self.pages > 1)}"
        frames = f"{self.frames} frame{'s' * (self.frames > 1)}"
        slots = f"{self.swap_slots} swap slot{'s' * (self.swap_slots > 1)}"
        entries = f"list of {self.cbrl_entries}"
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
        "madv_free": (279, 5808, 5808, 4092, 54696),
        "madv_free_dirty": (1389, 45264, 45264, 18516, 360000),
        "madv_free_alone": (204, 3840, 3840, 2616, 22128),
        "madv_dontneed": (45, 660, 660, 384, 3228),
        "reporting": (217, 6830, 6830, 3990, 205093),
        "reporting_madv_free": (452, 13998, 13998, 10742, 473612),
        "reporting_init": (159, 4498, 4498, 2139, 51937),
        "reporting_poison": (125, 2033, 2033, 765, 21474),
    }.items()
    for system, states in zip(SYSTEMS, counts, strict=True)
}

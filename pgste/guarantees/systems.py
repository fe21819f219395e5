# SPDX-License-Identifier: MIT
"""The systems that are searched: how large host and guest are."""

from __future__ import annotations

from dataclasses import dataclass

from pgste.guarantees.columns import MECHANISMS, Subject

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
        if subject.mlock and self.frames < self.pages:
            return False
        # what two folios may be in at once makes 6.1 million states
        if subject.busy and self.frames > 1:
            return False
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

_COUNTS = {
    "none": (93, 507, 507, 267, 10107, 3129),
    "cmma": (918, 22844, 56864, 32636, 89804, 1338684, 496650),
    "cmma_7_0": (3300, 248432, 1392714),
    "cmma_7_0_shifted": (3300, 250208, 1423742),
    "cmma_7_1": (2836, 230568, 1113490),
    "cmma_7_1_5": (2010, 139976, 735892),
    "cmma_7_1_5_left": (2836, 230568, 1113490),
    "cmma_zvm": (126, 1986, 1986, 1680, 31114, 24288),
    "madv_free_4_12": (1458, 17046, 17046, 8748, 105642),
    "madv_free": (300, 2496, 2496, 1884, 107256, 18288),
    "madv_free_dirty": (1458, 17046, 17046, 8748, 105642),
    "madv_free_alone": (213, 1611, 1611, 1167, 64419, 6234),
    "madv_dontneed": (66, 438, 438, 222, 7542, 1140),
    "reporting": (327, 9302, 9302, 4840, 156990, 145855),
    "reporting_madv_free": (624, 15785, 15785, 10853, 365727, 313385),
    "reporting_init": (257, 7635, 7635, 3559, 165821, 57750),
    "reporting_poison": (207, 3658, 3658, 1469, 159828, 27813),
}
#: How many states a column has on each of `SYSTEMS` that it fits, for progress; a test counts them.
STATES = {
    (subject.key, system): states
    for subject in MECHANISMS
    for system, states in zip(
        [each for each in SYSTEMS if each.fits(subject)], _COUNTS[subject.key], strict=True
    )
}

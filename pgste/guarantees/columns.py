# SPDX-License-Identifier: MIT
"""The columns of the table: mechanisms as some hypervisor has them."""

from __future__ import annotations

from dataclasses import dataclass

from pgste.guarantees.witness import Advice, Backing, Poison

__all__ = ["ASSUMPTIONS", "MECHANISMS", "Subject"]

#: What every column takes for granted of the guest's memory, and the switch that changes it.
ASSUMPTIONS = {
    "private anonymous memory": "--backing memfd",
    "no mlock": "--mlock",
    "no VFIO": "--pinned",
    "no userfaultfd": "",
    "pages of 4 KiB": "",
}


@dataclass(frozen=True)
class Subject:
    """A column: a mechanism as some hypervisor has it.

    `revision` is of generation "dat", and so are the next two.  `notifiers`: what operations of
    the host do to its own PTE between notifier start and end (`Guest.notifier_unmap`); empty: there
    are none.  `shifted`: the memory slot's host addresses are a page above the guest's.
    """

    key: str
    title: str
    meaning: str
    mechanism: str
    generation: str = "pgtable"
    rearm: str = "referenced"
    poison: Poison = "none"
    revision: str = "7.2"
    notifiers: tuple[str, ...] = ()
    shifted: bool = False
    advice: Advice = "madv_dontneed"
    busy: bool = False  # folios may be locked, under writeback, mapped by a child
    backing: Backing = "anonymous"
    pinned: bool = False  # a device has page 0 pinned from the start
    mlock: bool = False  # the host has the guest's memory locked

    @property
    def world(self) -> tuple[Backing, bool, bool]:
        """The memory behind the guest: `backing`, `pinned`, `mlock`."""
        return self.backing, self.pinned, self.mlock

    @property
    def can_change(self) -> bool:
        """Whether the host is one of which another `world` can be asked: not z/VM."""
        return self.generation != "zvm"

    @property
    def assumed(self) -> tuple[str, ...]:
        """What is taken for granted of the guest's memory."""
        memfd = self.backing == "memfd"
        other = {
            "private anonymous memory": "shared memory of a memfd" if memfd else "",
            "no mlock": "memory that the host has locked (mlockall)" if self.mlock else "",
            "no VFIO": "a VFIO device that has page 0 pinned" if self.pinned else "",
        }
        return tuple(other.get(each) or each for each in ASSUMPTIONS)


MECHANISMS = (
    Subject("none", "none", "the guest says nothing about free pages", "none"),
    Subject("cmma", "cmma", "CMMA on KVM, Linux v4.13 to v6.19", "cmma"),
    Subject(
        "cmma_7_0",
        "v7.0",
        "CMMA on KVM, Linux v7.0 as released",
        "cmma",
        "dat",
        revision="7.0",
        notifiers=("xchg", "set"),
    ),
    Subject(
        "cmma_7_0_shifted",
        "v7.0 shifted",
        "CMMA on KVM, Linux v7.0, a memory slot whose host addresses are a page above the guest's",
        "cmma",
        "dat",
        revision="7.0",
        notifiers=("xchg", "set"),
        shifted=True,
    ),
    Subject(
        "cmma_7_1",
        "v7.1",
        "CMMA on KVM, Linux v7.1 to v7.1.4: ZERO and the list's addresses are mended"
        " (9029496abfae, ca42c16638d5), UNUSED is not",
        "cmma",
        "dat",
        revision="7.1",
        notifiers=("xchg", "set"),
    ),
    Subject(
        "cmma_7_1_5",
        "v7.1.5",
        "CMMA on KVM, Linux v7.1.5 (fda07c8e4b54) and v7.2 (d4bb00704a66), as intended:"
        " operations of the host write its PTE",
        "cmma",
        "dat",
        revision="7.1.5",
        notifiers=("xchg",),
    ),
    Subject(
        "cmma_7_1_5_left",
        "v7.1.5 PTE left",
        "the same, and an operation of the host may leave its PTE alone",
        "cmma",
        "dat",
        revision="7.1.5",
        notifiers=("xchg", "none"),
    ),
    Subject("cmma_zvm", "z/VM", "CMMA on z/VM", "cmma", "zvm"),
    Subject(
        "madv_free_4_12",
        "MADV_FREE v4.12",
        "MADV_FREE, Linux v4.12 to v5.17: reclaim drops a clean page whatever refers to it"
        " (802a3a92ad7a)",
        "madv_free",
        rearm="discard",
        busy=True,
    ),
    Subject(
        "madv_free",
        "MADV_FREE v5.18",
        "MADV_FREE, Linux v5.18 to v6.14: reclaim re-arms dirty and referenced pages"
        " (6c8e2a256915)",
        "madv_free",
    ),
    Subject(
        "madv_free_dirty",
        "MADV_FREE v6.15",
        "MADV_FREE, Linux v6.15 on: reclaim re-arms dirty pages only (faeb2831b517)",
        "madv_free",
        rearm="dirty",
        busy=True,
    ),
    Subject(
        "madv_free_alone",
        "MADV_FREE v6.15 alone",
        "MADV_FREE, Linux v6.15 on, of folios that are unshared, not under writeback, lock free",
        "madv_free",
        rearm="dirty",
    ),
    Subject("madv_dontneed", "MADV_DONTNEED", "madvise(MADV_DONTNEED)", "madv_dontneed"),
    Subject(
        "reporting",
        "FPR",
        "free page reporting to QEMU, which discards (MADV_DONTNEED)",
        "reporting",
    ),
    Subject(
        "reporting_madv_free",
        "FPR MADV_FREE",
        "free page reporting to a hypervisor that uses MADV_FREE where QEMU uses MADV_DONTNEED",
        "reporting",
        advice="madv_free",
    ),
    Subject(
        "reporting_init",
        "FPR zeroed",
        "free page reporting by a guest with init_on_free, negotiated: QEMU discards",
        "reporting",
        poison="init_on_free",
    ),
    Subject(
        "reporting_poison",
        "FPR poison",
        "free page reporting by a guest with page_poison (0xaa), negotiated: QEMU acks and keeps",
        "reporting",
        poison="page_poison",
    ),
)

# SPDX-License-Identifier: MIT
"""The columns of the table: mechanisms as some hypervisor has them."""

from __future__ import annotations

from dataclasses import dataclass

from pgste.guarantees.witness import Advice, Poison

__all__ = ["MECHANISMS", "Subject"]


@dataclass(frozen=True)
class Subject:
    """A column: a mechanism as some hypervisor has it."""

    key: str
    title: str
    meaning: str
    mechanism: str
    generation: str = "pgtable"
    rearm: str = "referenced"
    poison: Poison = "none"
    advice: Advice = "madv_dontneed"
    busy: bool = False  # folios may be locked, under writeback, mapped by a child


MECHANISMS = (
    Subject("none", "none", "the guest says nothing about free pages", "none"),
    Subject("cmma", "cmma", "CMMA on KVM, Linux v4.13 to v6.19", "cmma"),
    Subject("cmma_dat", "cmma v7", "CMMA on KVM, Linux v7.0 on", "cmma", "dat"),
    Subject("cmma_zvm", "z/VM", "CMMA on z/VM", "cmma", "zvm"),
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

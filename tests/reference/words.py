# SPDX-License-Identifier: MIT
"""PGSTE and PTE: the bits that the model gives a meaning (arch/s390 pgtable.h, dat.h)."""

from __future__ import annotations

MASK = (1 << 64) - 1

PGSTE_PCL = 1 << 55
PGSTE_GC = 1 << 49
PGSTE_UC = 1 << 47  # pgtable
PGSTE_ZERO = 1 << 31
PGSTE_NODAT = 1 << 30
PGSTE_USAGE = 3 << 24
PGSTE_CMMA_D = 1 << 15  # dat

STABLE, UNUSED, POT_VOLATILE, VOLATILE = range(4)

PTE_INVALID = 0x400
PTE_PROTECT = 0x200
PTE_WRITE = 0x020
PTE_DIRTY = 0x008
PTE_YOUNG = 0x004
PTE_SOFT_DIRTY = 0x002
PTE_PRESENT = 0x001
PTE_NONE = 0x400


def usage(pgste: int) -> int:
    return (pgste & PGSTE_USAGE) >> 24


def with_usage(pgste: int, value: int) -> int:
    return pgste & ~PGSTE_USAGE | value << 24


def is_none(pte: int) -> bool:
    return pte == PTE_NONE


def is_present(pte: int) -> bool:
    return bool(pte & PTE_PRESENT)


def is_swap(pte: int) -> bool:
    return bool(pte & PTE_PROTECT) and not is_present(pte)


def is_valid(pte: int) -> bool:
    return not pte & PTE_INVALID


def swap_entry(slot: int) -> int:
    return 0x600 | slot << 12


def swap_type(pte: int) -> int:
    return pte >> 2 & 0x1F


def swap_offset(pte: int) -> int:
    return pte >> 12


def frame_number(pte: int) -> int:
    return pte >> 12

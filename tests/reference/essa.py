# SPDX-License-Identifier: MIT
"""One ESSA on one page: pgste_perform_essa (pgtable), dat_perform_essa (dat)."""

from __future__ import annotations

from reference.words import (
    PGSTE_CMMA_D,
    PGSTE_GC,
    PGSTE_NODAT,
    PGSTE_ZERO,
    POT_VOLATILE,
    STABLE,
    UNUSED,
    VOLATILE,
    is_valid,
    usage,
    with_usage,
)

RESULT_NODAT = 0x20
RESULT_EXCEPTION = 0x10
RESIDENT, PRESERVED, ZEROED = 0, 2, 3


def content(pgste: int, pte: int) -> int:
    """Block content state: what the host has for the page."""
    if is_valid(pte):
        return RESIDENT
    return ZEROED if pgste & PGSTE_ZERO else PRESERVED


def result_byte(pgste: int, pte: int) -> int:
    nodat = RESULT_NODAT if pgste & PGSTE_NODAT else 0
    return usage(pgste) << 2 | content(pgste, pte) | nodat


def perform_essa(generation: str, orc: int, pgste: int, pte: int) -> tuple[int, int, bool]:
    """Result byte (of the state before), the new PGSTE, and whether the page is appended."""
    result = result_byte(pgste, pte)
    valid = is_valid(pte)
    append = False
    match orc:
        case 0:
            pass
        case 1:
            pgste = with_usage(pgste, STABLE) & ~PGSTE_NODAT
        case 2:
            pgste = with_usage(pgste, UNUSED)
            append = not valid
        case 3:
            pgste = with_usage(pgste, VOLATILE)
            append = not valid
        case 4:
            if valid:
                pgste = with_usage(pgste, POT_VOLATILE)
            elif pgste & PGSTE_ZERO:
                pgste = with_usage(pgste, VOLATILE)
            elif not pgste & PGSTE_GC:
                pgste = with_usage(pgste, VOLATILE)
                append = True
            elif generation == "pgtable":
                pgste = with_usage(pgste, STABLE)
        case 5:
            pgste = with_usage(pgste, STABLE)
        case 6:
            if valid:
                pgste = with_usage(pgste, STABLE)
        case 7:
            pgste = with_usage(pgste, STABLE) | PGSTE_NODAT
        case _:
            raise ValueError(orc)
    if generation == "dat":
        pgste &= ~PGSTE_ZERO
        if orc != 0:
            pgste |= PGSTE_CMMA_D
    if append:
        pgste |= PGSTE_ZERO
    return result, pgste, append

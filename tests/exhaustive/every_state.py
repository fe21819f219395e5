# SPDX-License-Identifier: MIT
"""Words for each of the 256 combinations of the eight bits that ESSA and the zap read.

State number n has its bits where `pgste.State` has them; page n of a table is in state n.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

STATES = range(256)
USAGE, ZERO, NODAT, GC, DIRTY, VALID, SWAP = 0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80

PGSTE_PCL = 0x0080_0000_0000_0000
PGSTE_READ_BITS = 0x0002_0000_C300_8000  # GC, ZERO, NODAT, USAGE, CMMA_D
PTE_INVALID, PTE_PROTECT, PTE_PRESENT = 0x400, 0x200, 0x001
PTE_READ_BITS = PTE_INVALID | PTE_PROTECT | PTE_PRESENT


@dataclass(frozen=True)
class Words:
    pgste: list[int]
    pte: list[int]


def pgste_word(state: int, others: int) -> int:
    """The PGSTE of a state; `others` gives the bits that no operation reads."""
    word = (state & USAGE) << 24
    word |= bool(state & ZERO) << 31
    word |= bool(state & NODAT) << 30
    word |= bool(state & GC) << 49
    word |= bool(state & DIRTY) << 15
    return word | others & ~PGSTE_READ_BITS & ~PGSTE_PCL


def pte_word(state: int, others: int) -> int:
    """A PTE that is valid or not, a swap entry or not, as the state says.

    A word that is neither present nor swap is among them; `others` decides which it is.
    """
    valid, swap = bool(state & VALID), bool(state & SWAP)
    word = others & ~PTE_READ_BITS
    if not valid:
        word |= PTE_INVALID
    if swap:
        return word | PTE_PROTECT
    if others & PTE_PRESENT:
        return word | PTE_PRESENT | others & PTE_PROTECT
    return word


def words(others: str) -> Words:
    """Words of all states in order, with the bits nobody reads as named."""
    random = Random(2019)
    pgste, pte = [], []
    for state in STATES:
        match others:
            case "clear":
                bits = 0
            case "set":
                bits = 2**64 - 1
            case "random":
                bits = random.getrandbits(64)
            case _:
                raise ValueError(others)
        pgste.append(pgste_word(state, bits))
        pte.append(pte_word(state, bits))
    return Words(pgste, pte)

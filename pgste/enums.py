# SPDX-License-Identifier: MIT
"""Names for the numbers of the model: operation request codes, states, bits of the words.

The values are those of `pgste.h`, which are those of the Linux kernel
(arch/s390/include/asm/pgtable.h, arch/s390/include/asm/page-states.h, arch/s390/kvm/dat.h).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["Content", "Orc", "PgsteBits", "PteBits", "State", "Usage"]


class Orc(IntEnum):
    """Operation request code of ESSA."""

    GET_STATE = 0
    SET_STABLE = 1
    SET_UNUSED = 2
    SET_VOLATILE = 3
    SET_POT_VOLATILE = 4
    SET_STABLE_RESIDENT = 5
    SET_STABLE_IF_RESIDENT = 6
    SET_STABLE_NODAT = 7


class Usage(IntEnum):
    """Usage state of a page as the guest declared it: bits 2-3 of an ESSA result."""

    STABLE = 0
    UNUSED = 1
    POT_VOLATILE = 2
    VOLATILE = 3


class Content(IntEnum):
    """What the host has of a page: bits 0-1 of an ESSA result."""

    RESIDENT = 0
    PRESERVED = 2
    ZERO = 3


class State(IntFlag):
    """The packed state byte of `Guest.states` and `Guest.find`.

    ``USAGE`` is a mask of two bits, which hold a `Usage`; the others are one bit each.
    """

    USAGE = 0x03
    ZERO = 0x04
    NODAT = 0x08
    GC = 0x10
    DIRTY = 0x20
    VALID = 0x40
    SWAP = 0x80


class PgsteBits(IntFlag):
    """Bits of a PGSTE.

    ``ACC`` (storage key) and ``USAGE`` (a `Usage`, shifted left by 24) are fields of more
    than one bit.  ``UC``, ``IN`` and ``VSIE`` exist in the ``pgtable`` generation only,
    ``CMMA_D`` and the names that begin with ``DAT`` in ``dat`` only.
    """

    ACC = 0xF000000000000000
    FP = 0x0800000000000000
    PCL = 0x0080000000000000
    HR = 0x0040000000000000
    HC = 0x0020000000000000
    GR = 0x0004000000000000
    GC = 0x0002000000000000
    UC = 0x0000800000000000
    IN = 0x0000400000000000
    VSIE = 0x0000200000000000
    ZERO = 0x0000000080000000
    NODAT = 0x0000000040000000
    USAGE = 0x0000000003000000
    CMMA_D = 0x0000000000008000
    DAT_PREFIX = 0x0000000000004000
    DAT_VSIE = 0x0000000000002000
    DAT_VSIE_GMEM = 0x0000000000001000


class PteBits(IntFlag):
    """Bits of a PTE.

    ``PFRA`` is the frame (or the swap slot), shifted left by 12.  A PTE is *none* when it
    equals ``INVALID``, a *swap entry* when ``PROTECT`` is set and ``PRESENT`` clear.
    """

    PFRA = 0xFFFFFFFFFFFFF000
    LARGE = 0x800
    INVALID = 0x400
    PROTECT = 0x200
    NOEXEC = 0x100
    UNUSED = 0x080
    SPECIAL = 0x040
    WRITE = 0x020
    READ = 0x010
    DIRTY = 0x008
    YOUNG = 0x004
    SOFT_DIRTY = 0x002
    PRESENT = 0x001

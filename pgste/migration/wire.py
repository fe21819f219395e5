# SPDX-License-Identifier: MIT
"""The bytes of QEMU's section s390-storage_attributes (hw/s390x/s390-stattrib.c), version 0.

A record is a word of 64 bits, big-endian: page number << 12, with one flag in the low 12 bits.
After MORE come a count of 64 bits and as many values, a byte a page: usage in bits 0-1, no-DAT in
bit 6.

    section   MORE* EOS, and in the last one MORE* DONE EOS
    stream    setup section (EOS alone), a section for each iteration, the last section

Framed as migration/savevm.c frames sections, each is between a head and a footer:

    file      "QEVM" u32 version 3, START PART* END, byte 0
    START     byte 1, u32 id, byte length, name, u32 instance, u32 version, section, footer
    PART      byte 2, u32 id, section, footer
    END       byte 3, u32 id, section, footer
    footer    byte 0x7e, u32 id
"""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BLOCK",
    "END",
    "EOF",
    "FOOTER",
    "LEGAL",
    "MAGIC",
    "NAME",
    "NO_VALUES",
    "PAGE_SHIFT",
    "PART",
    "START",
    "VERSION",
    "Flag",
    "Record",
    "more",
    "word",
]

MAGIC, VERSION = b"QEVM", 3
EOF, START, PART, END, FOOTER = 0, 1, 2, 3, 0x7E
NAME = b"s390-storage_attributes"
BLOCK = 512 << 10
"""Values in a record at most, as QEMU writes it: 2 GiB of the guest."""
LEGAL = 0x43
"""The bits of a value that a kernel sends: usage and no-DAT."""
PAGE_SHIFT = 12
NO_VALUES: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
NO_VALUES.flags.writeable = False


class Flag(IntFlag):
    """What a record is; a record has exactly one."""

    EOS = 1
    MORE = 2
    ERROR = 4
    DONE = 8


class Record(NamedTuple):
    """A record of a stream.

    ``offset`` is where its word begins, in bytes from the start of the stream; ``section`` counts
    from 0, the setup.  ``values`` (uint8, one a page from ``gfn`` on) are there after MORE only.
    """

    offset: int
    section: int
    flag: Flag
    gfn: int = 0
    values: npt.NDArray[np.uint8] = NO_VALUES


def word(flag: Flag, gfn: int = 0) -> bytes:
    """The word of a record."""
    return struct.pack(">Q", gfn << PAGE_SHIFT | flag)


def more(gfn: int, values: npt.NDArray[np.uint8]) -> bytes:
    """A whole record of values."""
    return struct.pack(">QQ", gfn << PAGE_SHIFT | Flag.MORE, len(values)) + values.tobytes()

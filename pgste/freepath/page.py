# SPDX-License-Identifier: MIT
"""A page as the engine has it, and its content in words.

Content is a 32-bit tag a page: 0 is a page of zeroes, `POISON` one that is 0xaa all over; any
other tag is read as a first word in a page that is 0xaa otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgste._engine import Guest
from pgste.enums import PgsteBits, PteBits, Usage

__all__ = ["POISON", "PageView", "describe", "poison_report", "view"]

#: Content of a poisoned page (PAGE_POISON, 0xaa in every byte).
POISON = 0xAAAAAAAA
_PAGE_BYTES = 4096
_TAG_BYTES = 4


@dataclass(frozen=True)
class PageView:
    """A page as the engine has it: usage, where its content is, and the content."""

    usage: str
    backing: str
    content: int
    pgste: int
    pte: int


def view(guest: Guest, gfn: int) -> PageView:
    """What the engine says of a page; nothing changes."""
    pgste, pte = int(guest.pgste(gfn)[0]), int(guest.pte(gfn)[0])
    usage = Usage((pgste & PgsteBits.USAGE) >> 24).name.lower()
    if pte & PteBits.PRESENT:
        backing = "resident"
    else:
        backing = "swapped" if pte & PteBits.PROTECT else "nothing"
    return PageView(usage, backing, int(guest.peek(gfn)[0]), pgste, pte)


def _bytes_of(tag: int, pattern: int) -> bytes:
    if tag == 0:
        return bytes(_PAGE_BYTES)
    return tag.to_bytes(_TAG_BYTES, "big") + bytes([pattern]) * (_PAGE_BYTES - _TAG_BYTES)


def poison_report(tag: int, pattern: int = 0xAA) -> str | None:
    """What ``check_poison_mem`` (mm/page_poison.c) prints of a page, None if it is sound.

    `pattern`: the byte that poisons, 0 with CONFIG_PAGE_POISONING_ZERO; a page with another
    first word has it in all others.
    """
    wrong = [i for i, byte in enumerate(_bytes_of(tag, pattern)) if byte != pattern]
    if not wrong:
        return None
    flipped = _bytes_of(tag, pattern)[wrong[0]] ^ pattern
    if len(wrong) == 1 and flipped & (flipped - 1) == 0:
        return "pagealloc: single bit error"
    return "pagealloc: memory corruption"


def describe(tag: int) -> str:
    """A page's content in words."""
    if tag == 0:
        return "zeroes"
    return "0xaa all over" if tag == POISON else f"data {tag:#x}"

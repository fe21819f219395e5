# SPDX-License-Identifier: MIT
"""Changes to trace files that a checksum or a compression does not stop at once.

A change is made to what is inside: a compressed file is unpacked, changed and packed again, the
sizes and checksums of a .pgt are made to fit, a packed section of a trace.dat is packed anew in
its place.  Now and then the outside is changed instead.
"""

from __future__ import annotations

import bz2
import lzma
import random
import struct
import zlib
from collections.abc import Callable

from fuzz.formats import DAT_MAGIC, PGT_MAGIC, compress, repair_pgt

Raw = Callable[[bytes, int], bytes]

MOST_UNPACKED = 1 << 16
_INTERESTING = (0, 1, 2, 7, 8, 16, 31, 39, 40, 63, 64, 127, 128, 200, 254, 255)
_NUMBERS = (0, 1, 2, 128, 4096, 1 << 27, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63)
_MAGIC = {b"\xfd7zXZ\0": "xz", b"\x1f\x8b": "gz", b"BZh": "bz2"}


def plain_change(data: bytes, max_size: int, choose: random.Random) -> bytes:
    """One change without knowledge of what the bytes are, for where there is no libFuzzer."""
    out = bytearray(data)
    if not out:
        return bytes(choose.randrange(256) for _ in range(min(8, max_size)))
    at = choose.randrange(len(out))
    run = min(1 + choose.randrange(24), len(out) - at)
    which = choose.randrange(7)
    if which == 0:
        out[at] ^= 1 << choose.randrange(8)
    elif which == 1:
        out[at] = choose.choice(_INTERESTING)
    elif which == 2:
        size = choose.choice((2, 4, 8))
        number = choose.choice(_NUMBERS) & (1 << 8 * size) - 1
        out[at : at + size] = number.to_bytes(size, choose.choice(("little", "big")))
    elif which == 3:
        out[at:at] = out[at : at + run]
    elif which == 4:
        del out[at : at + run]
    elif which == 5:
        to = choose.randrange(len(out))
        out[to : to + run] = out[at : at + run]
    elif choose.randrange(8) == 0:
        del out[at:]
    return bytes(out[:max_size])


def _unpack(name: str, data: bytes) -> bytes | None:
    """At most MOST_UNPACKED bytes, or None."""
    try:
        if name == "xz":
            return lzma.LZMADecompressor().decompress(data, MOST_UNPACKED)
        if name == "bz2":
            return bz2.BZ2Decompressor().decompress(data, MOST_UNPACKED)
        return zlib.decompressobj(31).decompress(data, MOST_UNPACKED)
    except (lzma.LZMAError, OSError, zlib.error, EOFError):
        return None


def _streams(data: bytes) -> list[tuple[int, int, str]]:
    """Packed parts of a trace.dat: where, how long, in which byte order their sizes are."""
    found = []
    at = data.find(b"\x78")
    while at >= 0:
        for order in "<>":
            if at < 8:
                continue
            (size,) = struct.unpack_from(order + "I", data, at - 8)
            if 2 < size <= len(data) - at and data[at + 1] in (0x01, 0x5E, 0x9C, 0xDA):
                found.append((at, size, order))
        at = data.find(b"\x78", at + 1)
    return found


class Mutator:
    """Changes a file; ``raw`` changes bytes of which nothing is known."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def __call__(self, data: bytes, max_size: int, seed: int) -> bytes:
        choose = random.Random(seed)
        name = next((n for magic, n in _MAGIC.items() if data.startswith(magic)), None)
        inner = _unpack(name, data) if name else None
        if inner is None or choose.randrange(12) == 0:
            changed = self._inside(data, max_size, choose) if not name else None
            changed = changed or self.raw(data, max_size)
        else:
            changed = compress(name or "gz", self._inside(inner, MOST_UNPACKED, choose))
        if choose.randrange(64) == 0:
            changed = compress(choose.choice(("xz", "gz", "bz2")), inner or changed)
        return changed if len(changed) <= max_size else self.raw(data, max_size)

    def _inside(self, data: bytes, max_size: int, choose: random.Random) -> bytes:
        if data.startswith(PGT_MAGIC):
            changed = self.raw(data, max_size)
            return repair_pgt(changed) if choose.randrange(8) else changed
        if data.startswith(DAT_MAGIC) and choose.randrange(2):
            return self._in_stream(data, choose) or self.raw(data, max_size)
        return self.raw(data, max_size)

    def _in_stream(self, data: bytes, choose: random.Random) -> bytes | None:
        """A packed part of a trace.dat, changed in its place; it may become shorter."""
        streams = _streams(data)
        if not streams:
            return None
        at, size, order = choose.choice(streams)
        try:
            inner = zlib.decompressobj().decompress(data[at : at + size], MOST_UNPACKED)
        except zlib.error:
            return None
        small = zlib.compress(self.raw(inner, MOST_UNPACKED), choose.choice((0, 9)))
        if len(small) > size:
            return None
        head = struct.pack(order + "I", len(small) if choose.randrange(4) else size)
        return data[: at - 8] + head + data[at - 4 : at] + small.ljust(size, b"\0") + (
            data[at + size :]
        )  # fmt: skip

# SPDX-License-Identifier: MIT
"""Inputs of which it is known that a reader once spent far too much on them, or fell over.

``python -m fuzz.known`` writes them into the corpus as ``known-*``: each is small, and each is
made by one function here, which says what it does to the readers of November 2026.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from fuzz.formats import (
    FORMATS,
    FREE,
    Dat7,
    Machine,
    compress,
    dat_v7,
    event_formats,
    header_info,
    pgt,
)

CORPUS = Path(__file__).parent / "corpus"
MACHINE = Machine(page_bytes=4096)


# ---- .pgt -----------------------------------------------------------------------------------


def xz_bomb() -> bytes:
    """125 MB of zeros behind a whole file: all of it is unpacked before its header is read."""
    return compress("xz", pgt([], [], b"{}") + bytes(125 << 20))


def bz2_bomb() -> bytes:
    """The same by bzip2, which packs a gigabyte of zeros into less than a kilobyte."""
    return compress("bz2", pgt([], [], b"{}") + bytes(1 << 30))


def deep_json() -> bytes:
    """A description nested 9,000 deep: RecursionError."""
    return pgt([], [], b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}")


def newlines() -> bytes:
    """A gigabyte of empty lines in less than a kilobyte: text, half a minute long."""
    return compress("bz2", b"\n" * (1 << 30))


# ---- trace.dat ------------------------------------------------------------------------------


def _packed() -> Dat7:
    dat = Dat7(MACHINE, packed=True)
    dat.point(16, header_info(MACHINE))
    dat.point(18, event_formats(MACHINE))
    return dat


def zlib_bomb() -> bytes:
    """A section packed a thousandfold: 2 GB and more from a megabyte, and here 18 MB of format
    text, of which there are then three copies, from 19 kB."""
    dat = Dat7(MACHINE, packed=True)
    dat.point(16, header_info(MACHINE))
    dat.point(18, event_formats(MACHINE, [*FORMATS, bytes(18 << 20)]))
    dat.buffer([dat.pages(MACHINE.page(MACHINE.record(FREE, 5, 0)))])
    return dat.finish()


def cpus_on_one_chunk() -> bytes:
    """500 CPUs whose pages are the same packed chunk, which is unpacked 500 times."""
    dat = _packed()
    place = dat.pages(MACHINE.full_page() * 1000)
    dat.buffer([place] * 500)
    return dat.finish()


def options_on_one_section() -> bytes:
    """600 options that name the same packed section, which is unpacked 600 times."""
    dat = _packed()
    text = MACHINE.header_page().ljust(8 << 20)
    info = b"header_page\0" + struct.pack("<Q", len(text)) + text
    info += b"header_event\0" + struct.pack("<Q", 0)
    at = dat.section(16, info)
    dat.options += [(16, struct.pack("<Q", at))] * 600
    dat.buffer([dat.pages(MACHINE.page(MACHINE.record(FREE, 5, 0)))])
    return dat.finish()


def slow_regex() -> bytes:
    """A format text of 32 KiB without a semicolon, for which the search for its fields takes
    a time that grows with the third power of its length."""
    text = FORMATS[0] + b"field:" * 5400
    dat = Dat7(MACHINE, packed=True)
    dat.point(16, header_info(MACHINE))
    dat.point(18, event_formats(MACHINE, [text]))
    dat.buffer([dat.pages(MACHINE.page(MACHINE.record(FREE, 5, 0)))])
    return dat.finish()


def bz2_of_all() -> bytes:
    """A trace.dat with a gigabyte of zeros behind it, by bzip2."""
    small = Machine()
    return compress("bz2", dat_v7(small, [small.full_page()], packed=False) + bytes(1 << 30))


KNOWN: dict[str, dict[str, Callable[[], bytes]]] = {
    "pgt": {
        "known-xz-bomb.pgt.xz": xz_bomb,
        "known-bz2-bomb.pgt.bz2": bz2_bomb,
        "known-deep-json.pgt": deep_json,
        "known-newlines.txt.bz2": newlines,
    },
    "dat": {
        "known-zlib-bomb.trace.dat": zlib_bomb,
        "known-cpus-on-one-chunk.trace.dat": cpus_on_one_chunk,
        "known-options-on-one-section.trace.dat": options_on_one_section,
        "known-slow-regex.trace.dat": slow_regex,
        "known-bz2-bomb.trace.dat.bz2": bz2_of_all,
    },
}


def main() -> None:
    for harness, files in KNOWN.items():
        folder = CORPUS / harness
        folder.mkdir(parents=True, exist_ok=True)
        for name, make in files.items():
            data = make()
            (folder / name).write_bytes(data)
            print(f"{harness}/{name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()

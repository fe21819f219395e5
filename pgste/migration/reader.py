# SPDX-License-Identifier: MIT
"""Reading a stream: its records one by one, or all of them into a guest.

What a stream says is believed only as far as its bytes go: a count is held against a limit before
memory is taken, and memory is taken as values come in.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import IO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pgste._checks import count_of, path_of
from pgste._engine.guest import Guest
from pgste._engine.names import shown
from pgste.errors import ArgumentTypeError, StreamError
from pgste.migration import wire
from pgste.migration.wire import Flag, Record

__all__ = ["Loaded", "load", "records"]

_PIECE = 1 << 20
_GFNS = 1 << 52
_SET = 1 << 19
"""Values that QEMU gives to one KVM_S390_SET_CMMA_BITS."""
_ALL = 2**64 - 1
_PARTS = {wire.START: "START", wire.PART: "PART", wire.END: "END"}


class Loaded(NamedTuple):
    """What `load` read and set."""

    sections: int
    records: int  #: with values
    pages: int  #: values in them; a page that was sent twice counts twice
    pages_set: int  #: pages of the guest's slots, or 0 if there was no record with values


class _Source:
    """A file that is read to the byte, and knows where it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.offset = 0

    def some(self, size: int) -> bytes:
        data = self._file.read(size)
        if data is None:
            raise BlockingIOError("the stream would block: give a file that waits for its bytes")
        if not isinstance(data, bytes):
            raise ArgumentTypeError(f"file: read() gives {type(data).__name__}, not bytes")
        if len(data) > size:
            raise ArgumentTypeError(f"file: read({size}) gives {len(data)} bytes")
        self.offset += len(data)
        return data

    def exactly(self, size: int, what: str) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.some(min(size - len(data), _PIECE))
            if not piece:
                raise StreamError(
                    f"cut off in {what}: {len(data)} of its {size} bytes are there", self.offset
                )
            data += piece
        return bytes(data)

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.exactly(size, what), "big")

    def expect(self, size: int, wanted: int, what: str) -> None:
        at = self.offset
        found = self.number(size, what)
        if found != wanted:
            raise StreamError(f"{what} is {found:#x}, not {wanted:#x}", at)


def records(file: str | os.PathLike[str] | IO[bytes], *, most: int = 1 << 26) -> Iterator[Record]:
    """The records of a stream, framed or not, one after the other.

    Parameters
    ----------
    file : path or binary file
        A file is read from where it stands to the end of the stream and no byte further; from a
        path, the stream has to be all that is there.
    most : int
        Values that a record may have, and so bytes that it may take.

    Raises
    ------
    StreamError
        With the offset of what is damaged or missing, after the records before it.
    """
    return _records(file, _GFNS, count_of("most", most, _GFNS, least=0))


def _records(file: str | os.PathLike[str] | IO[bytes], pages: int, most: int) -> Iterator[Record]:
    path = path_of("file", file, "read")
    if path is not None:
        with open(path, "rb") as opened:
            source = _Source(opened)
            yield from _stream(source, pages, most)
            at = source.offset
            if source.some(1):
                raise StreamError("bytes after the end of the stream", at)
    else:
        yield from _stream(_Source(cast("IO[bytes]", file)), pages, most)


def _stream(source: _Source, pages: int, most: int) -> Iterator[Record]:
    start = source.exactly(4, "the first word")
    section, done = 0, False
    if start != wire.MAGIC:
        while not done:
            done = yield from _section(source, section, pages, most, start)
            section, start = section + 1, b""
        return
    source.expect(4, wire.VERSION, "the version of the file")
    identity = None
    while not done:
        at = source.offset
        part = source.number(1, "the type of a section")
        if part not in _PARTS or (part == wire.START) != (section == 0):
            expected = "PART or END" if section else "START"
            raise StreamError(
                f"type of section {part:#x}, where {expected} of {wire.NAME.decode()} should be",
                at,
            )
        at = source.offset
        number = source.number(4, "the number of a section")
        if section == 0:
            identity = number
            at = source.offset
            name = source.exactly(source.number(1, "the length of a name"), "a name")
            if name != wire.NAME:
                raise StreamError(
                    f"a section of {name!r}, not of {wire.NAME!r}; sections have no length, so "
                    "that others cannot be passed over",
                    at,
                )
            source.number(4, "the instance")
            source.expect(4, 0, "the version of the section")
        elif number != identity:
            raise StreamError(f"section {number}, not {identity} as at the start", at)
        done = yield from _section(source, section, pages, most)
        if done != (part == wire.END):
            why = "DONE before the last section" if done else "the last section without DONE"
            raise StreamError(why, source.offset - 8)
        source.expect(1, wire.FOOTER, "the footer of a section")
        source.expect(4, number, "the number in a footer")
        section += 1
    source.expect(1, wire.EOF, "the end of the file")


def _section(
    source: _Source, section: int, pages: int, most: int, start: bytes = b""
) -> Generator[Record, None, bool]:  # returns whether there was DONE
    done = False
    while True:
        at = source.offset - len(start)
        value = int.from_bytes(start + source.exactly(8 - len(start), "a record's word"), "big")
        start = b""
        gfn, bits = value >> wire.PAGE_SHIFT, value & 0xFFF
        if bits == Flag.ERROR:
            raise StreamError("the source says that its data are incomplete (ERROR)", at)
        if bits not in (Flag.EOS, Flag.MORE, Flag.DONE):
            raise StreamError(f"unknown flags {bits:#x} in the word {value:#x}", at)
        flag = Flag(bits)
        if flag != Flag.MORE and gfn:
            raise StreamError(f"{flag.name} with page {gfn:#x}: it has none", at)
        if done and flag != Flag.EOS:
            raise StreamError(f"{flag.name} after DONE", at)
        if flag == Flag.MORE:
            yield _values(source, Record(at, section, flag, gfn), pages, most)
            continue
        yield Record(at, section, flag)
        if flag == Flag.EOS:
            return done
        done = True


def _values(source: _Source, record: Record, pages: int, most: int) -> Record:
    at = source.offset
    count = source.number(8, "a record's count")
    if record.gfn + count > pages:
        raise StreamError(
            f"values for pages {record.gfn:#x} + {count:#x}, and there are {pages:#x} pages", at
        )
    if count > most:
        raise StreamError(f"{count:,} values in a record, and {most:,} are allowed", at)
    at = source.offset
    values = np.frombuffer(source.exactly(count, "a record's values"), np.uint8)
    strange = (values & ~np.uint8(wire.LEGAL)) != 0
    if strange.any():
        first = int(strange.argmax())
        raise StreamError(
            f"value {values[first]:#04x} of page {record.gfn + first:#x}: only the bits of "
            f"{wire.LEGAL:#x} have a meaning",
            at + first,
        )
    return record._replace(values=values)


def load(guest: Guest, file: str | os.PathLike[str] | IO[bytes]) -> Loaded:
    """Read a stream, and set what it holds in a guest: the target of a migration.

    Values are collected, and set when the whole stream has been read and has no fault, in every
    slot of the guest (QEMU: at DONE).  A page of a slot that no record names becomes stable, as in
    QEMU; a record for pages between slots is read and sets nothing there.

    Parameters
    ----------
    guest : Guest
        With CMMA enabled.
    file : path or binary file
        As for `records`.

    Raises
    ------
    StreamError
        With the offset of what is damaged or missing; the guest is as it was.
    NoCmmaError
        CMMA is not enabled.
    KvmFaultError
        "dat" guests: a slot begins behind the start of a page table (256 pages) that no other
        slot has the start of.  The guest is as it was, but for `uses_cmm`.

    Notes
    -----
    Takes two bytes for each page of the guest, and one record.
    """
    if not isinstance(guest, Guest):
        raise ArgumentTypeError(f"guest: {shown(guest)} is not a Guest")
    guest.set_cmma_bits(0, b"", 0)  # refuses as the real calls would, before a byte is read
    pages = guest.pages
    incoming = np.zeros(pages, np.uint8)
    last = Record(0, 0, Flag.EOS)
    nr_records = nr_values = 0
    for last in _records(file, pages, pages):
        if last.flag == Flag.MORE:
            incoming[last.gfn : last.gfn + len(last.values)] = last.values
            nr_records += 1
            nr_values += len(last.values)
    nr_set = _set(guest, incoming) if nr_records else 0
    return Loaded(last.section + 1, nr_records, nr_values, nr_set)


def _set(guest: Guest, incoming: npt.NDArray[np.uint8]) -> int:
    """Set all of it or nothing: what was there before comes back if a call is refused."""
    before: list[tuple[int, npt.NDArray[np.uint8]]] = []
    try:
        for slot in guest.slots.values():
            end = slot.base + slot.pages
            for start in range(slot.base, end, _SET):
                values = incoming[start : min(start + _SET, end)]
                old = guest.get_cmma_bits(start, len(values), peek=True).values
                if not guest.uses_cmm:  # the kernel answers nothing then
                    old = np.zeros(len(values), np.uint8)
                before.append((start, old))  # before it is set, and whatever comes in between
                guest.set_cmma_bits(start, values, _ALL)
    except BaseException:  # such as Ctrl-C
        for start, old in before:
            guest.set_cmma_bits(start, old, _ALL)
        raise
    return sum(len(old) for _, old in before)

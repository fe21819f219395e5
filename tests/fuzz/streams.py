# SPDX-License-Identifier: MIT
"""Fuzzes the reader of migration streams: `pgste.migration.records` and `load`.

    python -m fuzz.streams [options of fuzz.readers] [FOLDER or FILE...]

Promised is, for any bytes whatever:

- records, or `pgste.StreamError` with an offset within the file; no other exception;
- no more than MEMORY_BYTES of memory and CPU_SECONDS of time, for files of at most 20 kB and
  guests of PAGES pages: two bytes a page, and one record;
- records that are, put together again, the bytes that were read;
- that `load` sets what a plain loop over the records says, or leaves the guest as it was.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

atheris: Any = None
if __name__ == "__main__":  # tests that import this are not to be instrumented
    with contextlib.suppress(ImportError):
        atheris = importlib.import_module("atheris")

NOTHING = contextlib.nullcontext()
with atheris.instrument_imports(include=["pgste.migration"]) if atheris else NOTHING:
    import pgste
    from fuzz.readers import Finding, budget, fuzz
    from pgste import migration
    from pgste.migration import Flag, wire

PAGES = 600
SLOTS = [(0, 300, 1000, True), (310, 200, 5000, True)]  # a hole between them, and one behind
MEMORY_BYTES = 16 << 20


def _again(records: Iterable[migration.Record]) -> bytes:
    """The words, counts and values of records, which are all that a stream without frames has."""
    data = bytearray()
    for record in records:
        if record.flag == Flag.MORE:
            data += wire.more(record.gfn, record.values)
        else:
            data += wire.word(record.flag, record.gfn)
    return bytes(data)


def _check_error(error: pgste.StreamError, size: int) -> None:
    if error.offset is None or not 0 <= error.offset <= size or not str(error):
        raise Finding(f"an error without a place or a reason: {error!r}")


def _check_records(data: bytes) -> list[migration.Record] | None:
    """All records of the bytes, if there is no fault in them."""
    found: list[migration.Record] = []
    try:
        with budget(MEMORY_BYTES):
            for record in migration.records(io.BytesIO(data), most=1 << 20):
                found.append(record)
    except pgste.StreamError as error:
        _check_error(error, len(data))
        return None
    if not data.startswith(wire.MAGIC) and not data.startswith(_again(found)):
        raise Finding("records that are not what was read")
    offsets = [record.offset for record in found]
    if offsets != sorted(set(offsets)) or offsets[-1] > len(data):
        raise Finding("records out of order, or behind the end")
    return found


class Target:
    """Each input is read, and loaded into a guest that holds something."""

    def __init__(self) -> None:
        self.guests = [
            pgste.Guest(PAGES, pgste.Host(16, 16), generation=generation, slots=slots, nodat=True)
            for generation in ("pgtable", "dat")
            for slots in (SLOTS, None)
        ]

    def close(self) -> None:
        for guest in self.guests:
            guest.host.close()

    def __call__(self, data: bytes) -> None:
        records = _check_records(data)
        guest = self.guests[len(data) % len(self.guests)]
        guest.reset_cmma()
        guest.essa(2, range(0, 300, 7))
        before = guest.states()
        try:
            with budget(MEMORY_BYTES):
                loaded = migration.load(guest, io.BytesIO(data))
        except pgste.StreamError as error:
            _check_error(error, len(data))
            if records is not None and all(r.gfn + len(r.values) <= PAGES for r in records):
                raise Finding(f"records without a fault, refused: {error}") from error
            loaded = None
        except pgste.KvmFaultError as error:
            if guest.generation != "dat" or len(guest.slots) == 1:
                raise Finding(f"a fault: {error}") from error
            loaded = None
        if loaded is None:
            if (guest.states() != before).any():
                raise Finding("refused, but the guest is not as it was")
        elif records is None:
            raise Finding("a stream with a fault was loaded")
        else:
            self._check(guest, before.tolist(), records, loaded)
        guest.host.validate()

    def _check(
        self,
        guest: pgste.Guest,
        before: list[int],
        records: list[migration.Record],
        loaded: migration.Loaded,
    ) -> None:
        """Against a plain loop; of a page, usage and no-DAT are set and nothing else."""
        incoming = [0] * PAGES
        with_values = [record for record in records if record.flag == Flag.MORE]
        for record in with_values:
            for i, value in enumerate(record.values.tolist()):
                incoming[record.gfn + i] = value
        expected = list(before)
        for slot in guest.slots.values():
            for gfn in range(slot.base, slot.base + slot.pages) if with_values else ():
                value = incoming[gfn]
                expected[gfn] = before[gfn] & ~0x0B | value & 3 | (8 if value & 0x40 else 0)
        # dat: what is set becomes attribute-dirty or not by the kernel's rules, not asked here
        mask = 0x0F
        found = guest.states().tolist()
        if [state & mask for state in found] != [state & mask for state in expected]:
            raise Finding("the guest is not what the records say")
        if loaded.records != len(with_values):
            raise Finding(f"{loaded.records} records of {len(with_values)}")


if __name__ == "__main__":
    sys.exit(fuzz(Target(), sys.argv, atheris, Path(__file__).parent / "load"))

# SPDX-License-Identifier: MIT
"""Writing a stream: what QEMU's source does (cmma_save_setup, cmma_save, cmma_save_cleanup)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from types import TracebackType
from typing import IO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pgste._checks import check_callable, check_flag, count_of, path_of
from pgste._engine.guest import Guest
from pgste._engine.names import shown
from pgste._engine.slots import CmmaBits
from pgste.errors import ArgumentTypeError, KvmError, KvmFaultError, StateError
from pgste.files import saving
from pgste.migration import wire
from pgste.migration.wire import Flag

__all__ = ["Pass", "Saved", "Saver", "save"]


class Pass(NamedTuple):
    """What one section had."""

    section: int
    records: int
    pages: int
    bytes: int
    remaining: int  #: dirty pages that the kernel still counts


class Saved(NamedTuple):
    """What `save` wrote."""

    iterations: int
    records: int
    pages: int  #: values sent; a page that was sent twice counts twice
    bytes: int
    remaining: int  #: what the kernel still counted after the last section


class Saver:
    """The source of a migration, step by step: `setup`, `iterate` as often as wanted, `complete`.

    As a context manager it ends migration mode at the end of the block, whatever happens.

    Parameters
    ----------
    guest : Guest
        With CMMA enabled, dirty logging on in every slot, and not in migration mode.
    file : binary file
        Gets the bytes.
    rate_limit : int, optional
        Bytes that an iteration may write; it is asked before each record, as QEMU does, so that
        an iteration goes beyond it by less than one record.  None: no limit.
    framed : bool
        With the heads and footers of a QEMU migration file, else the sections alone.
    as_qemu : bool
        Send exactly what QEMU sends, with what it loses (docs/stream.md).  Otherwise a pass
        that finds nothing although the kernel counts dirty pages looks once more from page 0, and
        clean pages inside a record have their values, which Linux does not give from v7.0 on.
    """

    def __init__(
        self,
        guest: Guest,
        file: IO[bytes],
        *,
        rate_limit: int | None = None,
        framed: bool = True,
        as_qemu: bool = False,
    ) -> None:
        if not isinstance(guest, Guest):
            raise ArgumentTypeError(f"guest: {shown(guest)} is not a Guest")
        if path_of("file", file, "write") is not None:
            raise ArgumentTypeError(f"file: {shown(file)} is a path, not a binary file")
        if rate_limit is not None:
            rate_limit = count_of("rate_limit", rate_limit)
        check_flag("framed", framed)
        check_flag("as_qemu", as_qemu)
        self._guest, self._file = guest, file
        self._rate_limit, self._framed, self._as_qemu = rate_limit, framed, as_qemu
        self._gfn = 0
        self._sections = 0
        self._state = "new"

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.cleanup()

    def setup(self) -> Pass:
        """Enter migration mode and write the first section.

        Raises the errors of `Guest.start_migration`, NoCmmaError if CMMA is not enabled, and
        StateError for a guest in migration mode: pages that someone took from its log would
        be missing.
        """
        self._expect("new")
        self._guest.set_cmma_bits(0, b"", 0)  # refused without CMMA; sets nothing
        if self._guest.migration_mode:
            raise StateError("guest: it is in migration mode already; stop_migration() first")
        self._state = "running"  # before it is, or Ctrl-C in between would leave the mode on
        try:
            self._guest.start_migration()
        except KvmError:
            self._state = "new"
            raise
        head = wire.MAGIC + struct.pack(">I", wire.VERSION) if self._framed else b""
        return self._write_section(wire.START, head, None)

    def iterate(self) -> Pass:
        """Write records up to the rate limit, or as long as pages are dirty: one section."""
        self._expect("running")
        return self._write_section(wire.PART, b"", self._rate_limit)

    def complete(self) -> Pass:
        """Write all that is dirty, and the end.  Nobody may change the guest any more."""
        self._expect("running")
        self._state = "complete"
        return self._write_section(wire.END, b"", None)

    def cleanup(self) -> None:
        """End migration mode, if this saver began it."""
        if self._state in ("running", "complete"):
            self._guest.stop_migration()
        self._state = "over"

    def _expect(self, state: str) -> None:
        if self._state != state:
            raise StateError(f"saver: it is {self._state}, and should be {state}")

    def _write_section(self, part: int, head: bytes, limit: int | None) -> Pass:
        nr_records = nr_pages = 0
        if self._framed:
            head += struct.pack(">BI", part, 0)
            if part == wire.START:
                head += struct.pack(">B", len(wire.NAME)) + wire.NAME + struct.pack(">II", 0, 0)
        size = self._write(head)
        rest = self._guest.dirty_count
        if part != wire.START:
            written, again = 0, not self._as_qemu
            while limit is None or written < limit:
                bits = self._guest.get_cmma_bits(self._gfn, wire.BLOCK)
                rest = bits.remaining
                self._gfn = bits.start_gfn + bits.count
                if not bits.count:
                    if not (again and rest):
                        break
                    self._gfn, again = 0, False
                    continue
                written += self._write(wire.more(bits.start_gfn, self._values(bits)))
                nr_records += 1
                nr_pages += bits.count
                if not rest:
                    break
            size += written
        end = (wire.word(Flag.DONE) if part == wire.END else b"") + wire.word(Flag.EOS)
        if self._framed:
            end += struct.pack(">BI", wire.FOOTER, 0)
            end += bytes([wire.EOF]) if part == wire.END else b""
        size += self._write(end)
        section, self._sections = self._sections, self._sections + 1
        return Pass(section, nr_records, nr_pages, size, rest)

    def _values(self, bits: CmmaBits) -> npt.NDArray[np.uint8]:
        """The values of a block, those of its clean pages too.

        From Linux v7.0 on the kernel writes those of dirty pages only.  Values are read once more
        after the log was cleaned: a page that changes in between is dirty again, and sent again.
        """
        if self._as_qemu or self._guest.log_revision == "pgtable":
            return bits.values
        values = bits.values.copy()
        end = bits.start_gfn + bits.count
        for slot in self._guest.slots.values():
            low, high = max(bits.start_gfn, slot.base), min(end, slot.base + slot.pages)
            if low < high:
                at = low - bits.start_gfn
                with contextlib.suppress(KvmFaultError):  # the slot is gone meanwhile, or a part
                    now = self._guest.get_cmma_bits(low, high - low, peek=True)
                    values[at : at + now.count] = now.values
        return values

    def _write(self, data: bytes) -> int:
        """Write all of it: an unbuffered file may take less than it is given."""
        view = memoryview(data)
        while view:
            taken = self._file.write(view)
            if not taken:
                raise BlockingIOError("the file takes nothing: give one that waits")
            view = view[taken:]
        return len(data)


def save(
    guest: Guest,
    file: str | os.PathLike[str] | IO[bytes],
    *,
    rate_limit: int | None = None,
    iterations: int = 30,
    between: Callable[[Pass], object] | None = None,
    stop: Callable[[], object] | None = None,
    framed: bool = True,
    as_qemu: bool = False,
) -> Saved:
    """Write the attributes of a guest's pages as QEMU's section s390-storage_attributes.

    Setup; iterations until the log is empty, or `iterations` of them; `stop`; completion.  The
    guest is in migration mode meanwhile and not afterwards.

    Parameters
    ----------
    guest, rate_limit, framed, as_qemu
        As for `Saver`.
    file : path or binary file
        A path is written whole or not at all.
    iterations : int
        Iterations at most: a guest that changes pages all the time never comes to an end.
    between : callable, optional
        Called with what each iteration wrote, before the next; the guest may run meanwhile.
    stop : callable, optional
        Called before the completion: stops whoever changes the guest.

    Raises
    ------
    KvmError, StateError
        As `Saver.setup`.  Nothing is written.
    """
    iterations = count_of("iterations", iterations)
    check_callable("between", between)
    check_callable("stop", stop)
    totals = [0, 0, 0, 0, 0]

    def write(stream: IO[bytes]) -> None:
        with Saver(guest, stream, rate_limit=rate_limit, framed=framed, as_qemu=as_qemu) as saver:
            passes = [saver.setup()]
            while len(passes) <= iterations:
                passes.append(saver.iterate())
                if between is not None:
                    between(passes[-1])
                if not guest.dirty_count:
                    break
            if stop is not None:
                stop()
            passes.append(saver.complete())
        totals[:] = [
            len(passes) - 2,
            *(sum(one[field] for one in passes) for field in (1, 2, 3)),
            passes[-1].remaining,
        ]

    path = path_of("file", file, "write")
    if path is None:
        write(cast("IO[bytes]", file))
    else:
        saving.save(os.fsdecode(path), write)
    return Saved(*totals)

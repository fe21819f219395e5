# SPDX-License-Identifier: MIT
"""The exceptions of the package: one for each error code of the C core.

Every exception derives from `PgsteError` and from the built-in exception that fits, so
``except IndexError`` and ``except PgsteError`` both catch a gfn outside the guest.  A call
that raises has changed nothing, unless its documentation says what it changed.

======================== ================== ===========================================
exception                also a             raised for
======================== ================== ===========================================
`ArgumentError`          `ValueError`       a value outside its documented range
`ArgumentTypeError`      `TypeError`        a value of a type that is not taken
`UnknownNameError`       `ValueError`       an unknown mechanism, generation, list, CPU variant
`GfnError`               `IndexError`       a gfn, or the end of a block, outside the guest
`StateError`             `RuntimeError`     strict guest: free of a free page and the like
`OutOfFramesError`       `MemoryError`      no free host frame and nothing to reclaim
`OutOfSwapError`         `MemoryError`      no free swap slot
`ForeignPteError`        `RuntimeError`     access through a PTE that names nothing of the host
`ModelMemoryError`       `MemoryError`      no memory for the model itself
`ChangedError`           `RuntimeError`     an array that changed while a call read it
`MissingPackageError`    `ImportError`      a picture without matplotlib, Parquet without pyarrow
`CancelledError`         `RuntimeError`     a call that another thread told to end early
`HostBusyError`          `RuntimeError`     a host in the middle of a call of this thread
`GuestClosedError`       `RuntimeError`     a guest or host that was closed, or lost in a fork
`TraceError`             `ValueError`       a damaged trace file
`StreamError`            `ValueError`       a damaged migration stream
`ValidationError`        `AssertionError`   `Host.validate` found a broken invariant
`ProgramInterruption`    `RuntimeError`     ESSA, load or store refused as the machine refuses it
`KvmError`               `OSError`          what KVM refuses with an errno, and for each errno:
`NoCmmaError`            `OSError`          ENXIO: CMMA is not there, or not enabled
`KvmArgumentError`       `OSError`          EINVAL
`KvmFaultError`          `OSError`          EFAULT: a page outside every memory slot
`VcpusExistError`        `OSError`          EBUSY: a virtual CPU exists
`SlotsOverlapError`      `OSError`          EEXIST: memory slots would overlap
======================== ================== ===========================================
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import ClassVar

__all__ = [
    "BY_CODE",
    "AddressingException",
    "ArgumentError",
    "ArgumentTypeError",
    "CancelledError",
    "ChangedError",
    "DiscardException",
    "ErrorCode",
    "ForeignPteError",
    "GfnError",
    "GuestClosedError",
    "HostBusyError",
    "KvmArgumentError",
    "KvmError",
    "KvmFaultError",
    "MissingPackageError",
    "ModelMemoryError",
    "NoCmmaError",
    "OperationException",
    "OutOfFramesError",
    "OutOfSwapError",
    "PgsteError",
    "PrivilegedOperationException",
    "ProgramInterruption",
    "SlotsOverlapError",
    "SpecificationException",
    "StateError",
    "StreamError",
    "TraceError",
    "UnknownNameError",
    "ValidationError",
    "VcpusExistError",
]


class PgsteError(Exception):
    """Base of every exception that this package raises on purpose."""


class ChangedError(PgsteError, RuntimeError):
    """An array was changed by another thread or program while a call read it.

    What the call did before it came to the change is done.
    """


class MissingPackageError(PgsteError, ImportError):
    """A call needs a package that is not installed; nothing was done."""


class CancelledError(PgsteError, RuntimeError):
    """A call was told to end early, because the work that it is a part of was given up.

    What the call did before is done, and its objects stay usable.
    """


class ModelMemoryError(PgsteError, MemoryError):
    """This machine has no memory for the model itself."""


class ArgumentError(PgsteError, ValueError):
    """An argument has a value outside its documented range."""


class ArgumentTypeError(PgsteError, TypeError):
    """An argument has a type, or an array a dtype, that is not taken."""


class UnknownNameError(PgsteError, ValueError):
    """No such mechanism, generation or frame list, or no such CPU variant here."""


class GfnError(PgsteError, IndexError):
    """A gfn, or the end of a block or range, lies outside the guest."""


class StateError(PgsteError, RuntimeError):
    """A strict guest freed a page that is free, or allocated one that is in use."""


class OutOfFramesError(PgsteError, MemoryError):
    """The host has no free frame, and nothing that reclaim could take."""


class OutOfSwapError(PgsteError, MemoryError):
    """The host has no free swap slot."""


class ForeignPteError(PgsteError, RuntimeError):
    """The PTE of a page was loaded by `Guest.set_words` and names nothing of the host."""


class HostBusyError(PgsteError, RuntimeError):
    """A host is in the middle of a call of the same thread, so that waiting would be for ever.

    A signal handler that runs during a long call may not use the host of that call.
    """


class GuestClosedError(PgsteError, RuntimeError):
    """Use of a guest that was closed or whose host is gone, or of a host that was closed.

    After a fork the child has a copy of every host; one that was in use by another thread of
    the parent at that moment is half changed, and refused like this.
    """


class TraceError(PgsteError, ValueError):
    """A trace file that is damaged, cut off, or of no known format.

    ``path`` names the file, ``line`` (text) or ``offset`` (binary, in bytes) the place, as far
    as they are known; ``reason`` says what is wrong there.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | None = None,
        line: int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.line = line
        self.offset = offset

    def __str__(self) -> str:
        where = [] if self.path is None else [self.path]
        if self.line is not None:
            where.append(f"line {self.line}")
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        return ": ".join([", ".join(where), self.reason]) if where else self.reason

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.reason, self.path, self.line, self.offset)


def _rebuild(reason: str, path: str | None, line: int | None, offset: int | None) -> TraceError:
    return TraceError(reason, path=path, line=line, offset=offset)


class StreamError(PgsteError, ValueError):
    """A migration stream that is damaged, cut off, or of another device.

    Attributes
    ----------
    reason : str
    offset : int or None
        Bytes from the start of the stream to what is wrong.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return self.reason if self.offset is None else f"byte {self.offset}: {self.reason}"


class ValidationError(PgsteError, AssertionError):
    """An invariant of a host and its guests does not hold."""


class ProgramInterruption(PgsteError, RuntimeError):
    """ESSA was refused with a program interruption (`handle_essa`, arch/s390/kvm/priv.c),
    or, on z/VM, a load or store was.

    Attributes
    ----------
    code : int
        The program interruption code of the z/Architecture: 1, 2, 5, 6 or 0x1a.
    address : int or None
        Absolute address of the page that a load or store was refused for.
    """

    code: ClassVar[int] = 0
    address: int | None = None


class OperationException(ProgramInterruption):
    """Operation exception (0x0001): CMMA is off for this guest."""

    code = 0x0001


class PrivilegedOperationException(ProgramInterruption):
    """Privileged-operation exception (0x0002): the vcpu is in problem state."""

    code = 0x0002


class AddressingException(ProgramInterruption, IndexError):
    """Addressing exception (0x0005): a page outside every memory slot, or unused on z/VM."""

    code = 0x0005


class SpecificationException(ProgramInterruption, ValueError):
    """Specification exception (0x0006): there is no such operation request code."""

    code = 0x0006


class DiscardException(ProgramInterruption):
    """Discard fault (0x001a) of z/VM: the host dropped the volatile page."""

    code = 0x001A


class KvmError(PgsteError, OSError):
    """A call that KVM refuses with an errno (arch/s390/kvm/kvm-s390.c, virt/kvm/kvm_main.c).

    Attributes
    ----------
    errno : int
    """

    number: ClassVar[int] = 0  # what errno is
    errno: int

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.errno = self.number
        self.strerror = reason

    def __str__(self) -> str:
        return str(self.args[0])


class NoCmmaError(KvmError):
    """ENXIO: CMMA is not enabled for the virtual machine, or its hardware has none."""

    number = errno.ENXIO


class KvmArgumentError(KvmError):
    """EINVAL: flags, a count, a slot or a state of the machine that the call does not take."""

    number = errno.EINVAL


class KvmFaultError(KvmError):
    """EFAULT: a page outside every memory slot.

    Attributes
    ----------
    result : int
        What the ioctl returned: -EFAULT, or 5 (the code of an addressing exception, as Linux
        v7.0 has it).
    """

    number = errno.EFAULT
    result: int = -errno.EFAULT


class VcpusExistError(KvmError):
    """EBUSY: the call must come before the virtual machine has a virtual CPU."""

    number = errno.EBUSY


class SlotsOverlapError(KvmError):
    """EEXIST: the memory slot would overlap another one."""

    number = errno.EEXIST


class ErrorCode(IntEnum):
    """The error codes of the C core (`enum pgste_error` in pgste.h)."""

    NOMEM = -1
    ARG = -2
    GFN = -3
    STATE = -4
    NO_FRAME = -5
    NO_SWAP = -6
    FOREIGN = -7
    BUSY = -8
    NAME = -9
    FORMAT = -10
    PGM_OPERATION = -11
    PGM_PRIVILEGED = -12
    PGM_ADDRESSING = -13
    PGM_SPECIFICATION = -14
    PGM_DISCARD = -15
    CHANGED = -16
    CANCELLED = -17
    KVM_NXIO = -18
    KVM_INVAL = -19
    KVM_FAULT = -20
    KVM_BUSY = -21
    KVM_EXIST = -22


#: The exception for each error code.
BY_CODE: dict[int, type[PgsteError]] = {
    ErrorCode.NOMEM: ModelMemoryError,
    ErrorCode.ARG: ArgumentError,
    ErrorCode.GFN: GfnError,
    ErrorCode.STATE: StateError,
    ErrorCode.NO_FRAME: OutOfFramesError,
    ErrorCode.NO_SWAP: OutOfSwapError,
    ErrorCode.FOREIGN: ForeignPteError,
    ErrorCode.BUSY: HostBusyError,
    ErrorCode.NAME: UnknownNameError,
    ErrorCode.FORMAT: TraceError,
    ErrorCode.PGM_OPERATION: OperationException,
    ErrorCode.PGM_PRIVILEGED: PrivilegedOperationException,
    ErrorCode.PGM_ADDRESSING: AddressingException,
    ErrorCode.PGM_SPECIFICATION: SpecificationException,
    ErrorCode.PGM_DISCARD: DiscardException,
    ErrorCode.CHANGED: ChangedError,
    ErrorCode.CANCELLED: CancelledError,
    ErrorCode.KVM_NXIO: NoCmmaError,
    ErrorCode.KVM_INVAL: KvmArgumentError,
    ErrorCode.KVM_FAULT: KvmFaultError,
    ErrorCode.KVM_BUSY: VcpusExistError,
    ErrorCode.KVM_EXIST: SlotsOverlapError,
}

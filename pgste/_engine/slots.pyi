# SPDX-License-Identifier: MIT
"""Memory slots, controls of the virtual machine, and the CMMA log (KVM only, not z/VM).

Errors named EINVAL and so on are the `KvmError` with that errno: exceptions that are `OSError`s
too.  A call that raises one has changed nothing, unless it says so.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from pgste._engine.arguments import Flag, Gfns
from pgste._engine.reporting import Reporting

class Slot(NamedTuple):
    """Guest pages ``base .. base + pages - 1``, which are host pages from `host` on.

    `host` None, as an argument, is the same page number as `base`.
    """

    base: int
    pages: int
    host: int | None = None
    log_dirty: bool = False

#: What Guest(slots=...) takes: (base, pages), with host and log_dirty after them if wanted.
SlotLike: TypeAlias = Slot | tuple[int | None, ...]

class CmmaBits(NamedTuple):
    """What KVM_S390_GET_CMMA_BITS answers."""

    start_gfn: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    remaining: int
    #: ndarray of uint8, one for each page: usage in bits 0-1, no-DAT in bit 6 (0x40)
    values: npt.NDArray[np.uint8]

class Slots(Reporting):
    # Guest(pages, ..., slots=None, cmma=None, interpretation=False, log_revision=None):
    #   slots        None: one slot of all pages, at its own address, with dirty logging.
    #                A sequence (an empty one is a machine without memory): ids 0, 1, ...
    #                `pages` stays the size of the table: the machine's memory limit.
    #   cmma         None: as mechanism "cmma" says, enabled before the vcpus came, which are there.
    #                False (mechanism "cmma" only): not enabled yet, and no vcpu is there yet.
    #   interpretation  every ESSA is carried out by the host at once, not migrating, too.
    #   log_revision "pgtable" (v6.4 to v6.19), "dat" (v7.0 and v7.1), "dat_new" (v7.2);
    #                None: "pgtable", or that of revision=.

    # ---- slots (KVM_SET_USER_MEMORY_REGION)

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The slots by id, a new dict in ascending order of base; hosts are numbers."""
    def add_slot(
        self,
        base: SupportsIndex,
        pages: SupportsIndex,
        host: SupportsIndex | None = None,
        log_dirty: Flag = False,
    ) -> int:
        """A new slot: its id, the lowest that is free.  EINVAL, EEXIST (overlap).

        Ends migration mode unless it logs dirty pages.
        """
    def move_slot(self, slot: SupportsIndex, base: SupportsIndex) -> None:
        """Move a slot to another guest address; its host memory goes with it."""
    def delete_slot(self, slot: SupportsIndex) -> None:
        """Take a slot away.  EINVAL: there is none with this id."""
    def set_dirty_logging(self, slot: SupportsIndex, on: Flag) -> None:
        """KVM_MEM_LOG_DIRTY_PAGES of a slot; off ends migration mode."""
    def host_gfn(self, gfns: Gfns) -> npt.NDArray[np.uint64]:
        """Host page of each guest page; 2**64 - 1 for one outside every slot."""

    # ---- controls (KVM_S390_VM_MEM_CTRL, KVM_S390_VM_MIGRATION)

    @property
    def cmma_enabled(self) -> bool: ...
    @property
    def uses_cmm(self) -> bool:
        """Whether an ESSA was executed outside migration mode, or attributes were set."""
    @property
    def vcpus_created(self) -> bool: ...
    def create_vcpus(self) -> None:
        """What the first use of a vcpu does too; a second call does nothing."""
    def enable_cmma(self) -> None:
        """ENXIO: another mechanism; EBUSY: the vcpus are there."""
    def clear_cmma(self) -> None:
        """`reset_cmma` as the ioctl.  ENXIO: another mechanism; EINVAL: not enabled."""
    @property
    def interpretation(self) -> bool: ...
    @property
    def log_revision(self) -> str: ...
    @property
    def migration_mode(self) -> bool: ...
    @migration_mode.setter
    def migration_mode(self, on: bool) -> None: ...
    def start_migration(self) -> None:
        """EINVAL: no slot, or one without dirty logging.  Nothing if it is on."""
    def stop_migration(self) -> None:
        """Nothing if it is off."""

    # ---- the log (KVM_S390_GET_CMMA_BITS, KVM_S390_SET_CMMA_BITS)

    def get_cmma_bits(
        self,
        start: SupportsIndex,
        count: SupportsIndex,
        peek: Flag = False,
        flags: SupportsIndex | None = None,
    ) -> CmmaBits:
        """A block of the log, which is clean then; or any values, with peek (flag 1).

        `start` 0 .. 2**52 - 1; `count` 0 .. 2**32 - 1, of which the kernel takes 2**20.
        ENXIO: CMMA is not enabled.  EINVAL: flags, or not migrating.  EFAULT: peek in a hole.
        """
    def set_cmma_bits(
        self,
        start: SupportsIndex,
        values: bytes | bytearray | memoryview | npt.NDArray[np.uint8] | Iterable[int],
        mask: SupportsIndex,
        flags: SupportsIndex = 0,
    ) -> None:
        """Attributes of pages from `start` on; `mask` has PGSTE bits, such as ``~0`` (2**64 - 1).

        ENXIO, EINVAL (flags, more than 2**20 values).  EFAULT: a page outside every slot; those
        before it are set in "pgtable", none are in "dat" and "dat_new".
        """
    def set_log(self, gfns: Gfns) -> None:
        """Make these pages dirty in the log and every other page clean; EINVAL as `mark_dirty`."""
    def mark_dirty(self, gfns: Gfns) -> None:
        """Make these pages dirty in the log.  EINVAL: "pgtable" has none unless migrating."""
    @property
    def dirty_count(self) -> int:
        """The kernel's counter of dirty pages (cmma_dirty_pages)."""

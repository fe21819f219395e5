# SPDX-License-Identifier: MIT
"""Memory slots, controls of the virtual machine, and the CMMA log (docs/migration.md)."""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from pgste._engine._c cimport (
    PGSTE_CMMA_MAX,
    PGSTE_CMMA_PEEK,
    PGSTE_E_ARG,
    PGSTE_E_GFN,
    PGSTE_E_KVM_FAULT,
    PGSTE_E_NOMEM,
    PGSTE_MAX_HOST_PAGE,
    PGSTE_MAX_SLOTS,
    PGSTE_NO_HOST_PAGE,
    pgste_clear_cmma,
    pgste_cmma_dirty_count,
    pgste_cmma_enabled,
    pgste_cmma_log,
    pgste_create_vcpus,
    pgste_enable_cmma,
    pgste_get_cmma_bits,
    pgste_get_migration,
    pgste_host_gfns,
    pgste_log_revision_name,
    pgste_mark_cmma_dirty,
    pgste_set_cmma_bits,
    pgste_set_cmma_log,
    pgste_set_migration,
    pgste_slot_add,
    pgste_slot_delete,
    pgste_slot_log,
    pgste_slot_move,
    pgste_slots,
    pgste_start_migration,
    pgste_stop_migration,
    pgste_uses_cmm,
    pgste_vcpus_created,
)
from pgste._engine.arguments cimport (
    Gfns,
    boolean,
    choice,
    gfns_argument,
    integer,
    integer_array,
    new_array,
    of_dtype,
)
from pgste._engine.names cimport names_of, shown, strerror
from pgste._engine.reporting cimport Reporting
from pgste._engine.unit cimport PyThreadState

from collections import namedtuple

import numpy as np

from pgste.errors import (
    BY_CODE,
    ArgumentError,
    ArgumentTypeError,
    GfnError,
    ModelMemoryError,
)

cdef tuple REVISIONS = names_of(pgste_log_revision_name)

Slot = namedtuple("Slot", ("base", "pages", "host", "log_dirty"), defaults=(None, False))
Slot.__doc__ = """Guest pages ``base .. base + pages - 1``, which are host pages from `host` on.

`host` None, as an argument, is the same page number as `base`.
"""
CmmaBits = namedtuple("CmmaBits", ("start_gfn", "count", "remaining", "values"))
CmmaBits.__doc__ = """What KVM_S390_GET_CMMA_BITS answers.

`values` is an ndarray of uint8, one for each page: usage in bits 0-1, no-DAT in bit 6.
"""


cdef int slot_of(pgste_slot *to, object base, object pages, object host, object log_dirty,
                 str name) except -1:
    """Arguments of one slot; the core says what KVM makes of them."""
    to.base = integer(base, f"{name}base", 0, PGSTE_MAX_HOST_PAGE - 1)
    to.pages = integer(pages, f"{name}pages", 0, PGSTE_MAX_HOST_PAGE)
    to.host = to.base
    if host is not None:
        to.host = integer(host, f"{name}host", 0, PGSTE_MAX_HOST_PAGE - 1)
    to.log_dirty = boolean(log_dirty, f"{name}log_dirty")
    return 0


cdef pgste_slot *slots_argument(object slots, uint32_t *nr) except? NULL:
    """Slots of a new guest, which the caller frees."""
    cdef pgste_slot *made
    cdef Py_ssize_t i
    if not isinstance(slots, (list, tuple)):
        raise ArgumentTypeError(f"slots: {shown(slots)} is not a list or tuple of slots")
    cdef list given = list(slots)
    if len(given) > PGSTE_MAX_SLOTS:
        raise ArgumentError(f"slots: {len(given)} slots; at most {PGSTE_MAX_SLOTS}")
    made = <pgste_slot *>calloc(max(len(given), 1), sizeof(pgste_slot))
    if made == NULL:
        raise ModelMemoryError(f"slots: {strerror(PGSTE_E_NOMEM)}")
    try:
        for i in range(len(given)):
            if not isinstance(given[i], (tuple, list)) or not 2 <= len(given[i]) <= 4:
                raise ArgumentTypeError(
                    f"slots[{i}]: {shown(given[i])} is not (base, pages, host, log_dirty),"
                    " of which the last two may be left out"
                )
            slot = Slot(*given[i])
            slot_of(
                &made[i], slot.base, slot.pages, slot.host, slot.log_dirty, f"slots[{i}]."
            )
    except BaseException:
        free(made)
        raise
    nr[0] = <uint32_t>len(given)
    return made


cdef str log_revision_argument(object revision, str generation, str release):
    """The name of a log revision that the generation has; by default that of its release."""
    if revision is None:
        if generation != "dat":
            return "pgtable"
        return "dat_new" if release == "7.2" else "dat"
    revision = REVISIONS[choice(revision, "log_revision", REVISIONS)]
    if (revision == "pgtable") == (generation == "dat"):
        raise ArgumentError(f"log_revision: {revision!r} is not one of generation {generation!r}")
    return revision


@cython.no_gc_clear
cdef class Slots(Reporting):
    """The part of `Guest` that is about memory slots, KVM's controls, and the CMMA log."""

    cdef int kvm(self, int64_t result, str what) except -1:
        """Raise the exception for what a call returned, if that is an error code."""
        if result < 0:
            raise BY_CODE[<int>result](f"{what}: {strerror(<int>result)}")
        return 0

    cdef uint32_t slot_argument(self, object slot) except? 0xFFFFFFFF:
        return <uint32_t>integer(slot, "slot", 0, UINT32_MAX - 1)

    # ---- slots

    @property
    def slots(self):
        """The memory slots by id, a new dict of `Slot` in ascending order of base."""
        cdef pgste_slot *slots
        cdef uint32_t i, nr
        cdef dict found = {}
        self.begin(0)
        nr = pgste_slots(self.c, NULL, 0)
        slots = <pgste_slot *>calloc(nr + 1, sizeof(pgste_slot))
        if slots != NULL:
            pgste_slots(self.c, slots, nr)
        self.end(NULL)
        if slots == NULL:
            raise ModelMemoryError(f"slots: {strerror(PGSTE_E_NOMEM)}")
        for i in range(nr):
            found[slots[i].id] = Slot(
                slots[i].base, slots[i].pages, slots[i].host, bool(slots[i].log_dirty)
            )
        free(slots)
        return found

    def add_slot(self, base, pages, host=None, log_dirty=False):
        """A new memory slot (`KVM_SET_USER_MEMORY_REGION`).

        Without dirty logging it ends migration mode.

        Parameters
        ----------
        base, pages : int
            Guest pages ``base .. base + pages - 1``.
        host : int, optional
            Host page of the first one; default: `base`.
        log_dirty : bool
            KVM_MEM_LOG_DIRTY_PAGES.

        Returns
        -------
        int
            Its id, the lowest that is free.

        Raises
        ------
        KvmArgumentError
            No pages, or beyond the guest's.
        SlotsOverlapError
            A page is in another slot.
        ArgumentError
            A host page is another slot's: KVM allows it, the model has no tables for it.
        """
        cdef pgste_slot slot
        cdef int error
        slot_of(&slot, base, pages, host, log_dirty, "")
        cdef PyThreadState *ts = self.begin(slot.pages)
        error = pgste_slot_add(self.c, &slot)
        self.end(ts)
        if error == PGSTE_E_ARG:
            raise ArgumentError(
                f"host: pages {slot.host} .. {slot.host + slot.pages - 1} are those of another"
                f" slot, or beyond {PGSTE_MAX_HOST_PAGE - 1}"
            )
        self.kvm(error, f"slot of {pages} pages at {base}")
        return slot.id

    def move_slot(self, slot, base):
        """Move a slot to another guest address; its host memory goes with it.

        Raises
        ------
        KvmArgumentError
            There is no such slot, or it would be beyond the guest's pages.
        SlotsOverlapError
        """
        cdef uint32_t number = self.slot_argument(slot)
        cdef uint64_t to = integer(base, "base", 0, PGSTE_MAX_HOST_PAGE - 1)
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_slot_move(self.c, number, to)
        self.end(ts)
        self.kvm(error, f"slot {number} to {to}")

    def delete_slot(self, slot):
        """Take a slot away.

        Raises
        ------
        KvmArgumentError
            There is no such slot.
        """
        cdef uint32_t number = self.slot_argument(slot)
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_slot_delete(self.c, number)
        self.end(ts)
        self.kvm(error, f"slot {number}")

    def set_dirty_logging(self, slot, on):
        """Dirty logging of a slot (KVM_MEM_LOG_DIRTY_PAGES); off ends migration mode.

        Raises
        ------
        KvmArgumentError
            There is no such slot.
        """
        cdef uint32_t number = self.slot_argument(slot)
        cdef bint value = boolean(on, "on")
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_slot_log(self.c, number, value)
        self.end(ts)
        self.kvm(error, f"slot {number}")

    def host_gfn(self, gfns):
        """The host page of each guest page (`gfn_to_hva`).

        Returns
        -------
        ndarray of uint64
            2**64 - 1 for a page outside every slot.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef int error
        hosts = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(hosts)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        error = pgste_host_gfns(self.c, &pages.c, data)
        self.end(ts)
        self.check(error, pages)
        return hosts

    # ---- controls

    @property
    def cmma_enabled(self):
        """Whether CMMA is enabled for the virtual machine (`use_cmma`)."""
        cdef bint on
        self.begin(0)
        on = pgste_cmma_enabled(self.c)
        self.end(NULL)
        return on

    @property
    def uses_cmm(self):
        """Whether an ESSA was executed outside migration mode, or attributes were set."""
        cdef bint on
        self.begin(0)
        on = pgste_uses_cmm(self.c)
        self.end(NULL)
        return on

    @property
    def vcpus_created(self):
        """Whether the virtual CPUs exist."""
        cdef bint on
        self.begin(0)
        on = pgste_vcpus_created(self.c)
        self.end(NULL)
        return on

    def create_vcpus(self):
        """The virtual CPUs come to be, as at the first use of one."""
        self.begin(0)
        pgste_create_vcpus(self.c)
        self.end(NULL)

    def enable_cmma(self):
        """Enable CMMA (`KVM_S390_VM_MEM_ENABLE_CMMA`).

        Raises
        ------
        NoCmmaError
            The guest has another mechanism.
        VcpusExistError
            Too late.
        """
        cdef int error
        self.begin(0)
        error = pgste_enable_cmma(self.c)
        self.end(NULL)
        self.kvm(error, "enable_cmma")

    def clear_cmma(self):
        """`reset_cmma` as the control has it (`KVM_S390_VM_MEM_CLR_CMMA`).

        Raises
        ------
        NoCmmaError
            The guest has another mechanism.
        KvmArgumentError
            CMMA is not enabled.
        """
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_clear_cmma(self.c)
        self.end(ts)
        self.kvm(error, "clear_cmma")

    @property
    def migration_mode(self):
        """Whether every ESSA is interpreted (`KVM_S390_VM_MIGRATION`).

        True is `start_migration`, False is `stop_migration`.
        """
        cdef bint on
        self.begin(0)
        on = pgste_get_migration(self.c)
        self.end(NULL)
        return on

    @migration_mode.setter
    def migration_mode(self, on):
        cdef bint value = boolean(on, "migration_mode")
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_set_migration(self.c, value)
        self.end(ts)
        self.kvm(error, "migration_mode")

    def start_migration(self):
        """Start migration mode (`kvm_s390_vm_start_migration`): every page becomes dirty.

        Raises
        ------
        KvmArgumentError
            There is no slot, or one without dirty logging.
        """
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_start_migration(self.c)
        self.end(ts)
        self.kvm(error, "start_migration")

    def stop_migration(self):
        """Stop migration mode (`kvm_s390_vm_stop_migration`)."""
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_stop_migration(self.c)
        self.end(ts)
        self.kvm(error, "stop_migration")

    # ---- the log

    def get_cmma_bits(self, start, count, peek=False, flags=None):
        """Read the CMMA log (`kvm_s390_get_cmma_bits`).

        Parameters
        ----------
        start : int
            Page to begin at, 0 .. 2**52 - 1.
        count : int
            Room for values, 0 .. 2**32 - 1, of which the kernel uses at most 2**20.
        peek : bool
            Any values instead of a block of dirty pages, which is clean then.
        flags : int, optional
            Flags of the call, beside the one of `peek`, which is 1.

        Returns
        -------
        CmmaBits
            start_gfn, count, remaining, values.

        Raises
        ------
        NoCmmaError
            CMMA is not enabled.
        KvmArgumentError
            Flags but `peek`, or not migrating and not `peek`.
        KvmFaultError
            `peek`, and no value could be read.
        """
        cdef pgste_cmma_log log
        cdef int error
        cdef uint32_t room
        log.start_gfn = integer(start, "start", 0, PGSTE_MAX_HOST_PAGE - 1)
        log.count = <uint32_t>integer(count, "count", 0, UINT32_MAX)
        log.flags = PGSTE_CMMA_PEEK if boolean(peek, "peek") else 0
        log.remaining = 0
        if flags is not None:
            log.flags |= <uint32_t>integer(flags, "flags", 0, UINT32_MAX)
        room = min(log.count, PGSTE_CMMA_MAX)
        values = new_array(room, cnp.NPY_UINT8)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(values)
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_get_cmma_bits(self.c, &log, data)
        self.end(ts)
        self.kvm(error, f"get_cmma_bits from {start}")
        values = values[:log.count]
        if log.count < room // 2:
            values = values.copy()
        return CmmaBits(log.start_gfn, log.count, log.remaining, values)

    def set_cmma_bits(self, start, values, mask, flags=0):
        """Set attributes of pages (`kvm_s390_set_cmma_bits`).

        Parameters
        ----------
        start : int
            The first page, 0 .. 2**52 - 1.
        values : bytes or array of int
            One for each page: usage in bits 0-1, no-DAT in bit 6; other bits are not looked at.
        mask : int
            Bits of a PGSTE that are to be set, such as ``2**64 - 1``.
        flags : int
            The kernel knows none.

        Raises
        ------
        NoCmmaError
        KvmArgumentError
            Flags, or more than 2**20 values.
        KvmFaultError
            A page outside every slot.  Those before it are set in log revision "pgtable", none
            in others.  In "dat", `result` is 5: v7.0 returns that.
        """
        cdef uint64_t first = integer(start, "start", 0, PGSTE_MAX_HOST_PAGE - 1)
        cdef uint64_t bits = integer(mask, "mask", 0, UINT64_MAX)
        cdef uint32_t flag = <uint32_t>integer(flags, "flags", 0, UINT32_MAX)
        cdef cnp.ndarray array = values_argument(values)
        cdef uint64_t nr = cnp.array_dim(array, 0)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(array)
        cdef int error
        cdef PyThreadState *ts = self.begin(nr)
        error = pgste_set_cmma_bits(
            self.c, first, <uint32_t>min(nr, <uint64_t>UINT32_MAX), flag, bits, data
        )
        self.end(ts)
        if error == PGSTE_E_KVM_FAULT:
            fault = BY_CODE[error](f"set_cmma_bits from {start}: {strerror(error)}")
            if self.log_revision == "dat":
                fault.result = 5
            raise fault
        self.kvm(error, f"set_cmma_bits from {start}")

    def set_log(self, gfns):
        """Make these pages dirty in the log, and every other one clean.

        Raises
        ------
        NoCmmaError
        KvmArgumentError
            Log revision "pgtable" has none unless migrating.
        GfnError
            A page outside every slot.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef int error
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        error = pgste_set_cmma_log(self.c, &pages.c)
        self.end(ts)
        self.log_check(error, pages)

    def mark_dirty(self, gfns):
        """Make these pages dirty in the log; otherwise as `set_log`."""
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef int error
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        error = pgste_mark_cmma_dirty(self.c, &pages.c)
        self.end(ts)
        self.log_check(error, pages)

    cdef int log_check(self, int error, Gfns pages) except -1:
        if error == PGSTE_E_GFN:
            raise GfnError(self.no_memory(pages, 0, "gfns"))
        return self.check(error, pages)

    @property
    def dirty_count(self):
        """The kernel's counter of dirty pages (`cmma_dirty_pages`)."""
        cdef uint64_t count
        self.begin(0)
        count = pgste_cmma_dirty_count(self.c)
        self.end(NULL)
        return count


cdef cnp.ndarray values_argument(object values):
    """An array of bytes, not copied if it is one."""
    if isinstance(values, (bytes, bytearray, memoryview)):
        try:
            array = np.frombuffer(values, dtype=np.uint8)
        except (ValueError, BufferError) as error:
            raise ArgumentTypeError(f"values: {shown(values)} has no bytes to read") from error
    else:
        array = integer_array(values, "values", 255)
    return of_dtype(array, "values", np.uint8, 255)

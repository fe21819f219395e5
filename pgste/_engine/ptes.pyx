# SPDX-License-Identifier: MIT
"""The PTE layer and storage keys of a guest (docs/pte.md)."""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.stdint cimport UINT64_MAX, int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from pgste._engine._c cimport (
    PGSTE_E_ARG,
    PGSTE_E_GFN,
    PGSTE_E_STATE,
    pgste_age,
    pgste_check_supervisor,
    pgste_clear_soft_dirty,
    pgste_cond_set_storage_key,
    pgste_enable_storage_keys,
    pgste_entries,
    pgste_entry,
    pgste_force_prot,
    pgste_get_storage_key,
    pgste_gfns,
    pgste_guest,
    pgste_insert_storage_key,
    pgste_map_pte,
    pgste_modify_prot_commit,
    pgste_modify_prot_start,
    pgste_notifications,
    pgste_prot,
    pgste_reset_reference,
    pgste_reset_storage_keys,
    pgste_set_notify,
    pgste_set_pgste_bits,
    pgste_set_pte_at,
    pgste_set_storage_key,
    pgste_shadow_pte,
    pgste_soft_dirty,
    pgste_test_and_clear_dirty,
    pgste_unmap_pte,
    pgste_unshadow_pte,
    pgste_allows_cow_sharing,
    pgste_uses_storage_keys,
    pgste_xchg_pte,
    pgste_zap_key,
)
from pgste._engine.arguments cimport Gfns, boolean, gfns_argument, integer, new_array, values_for
from pgste._engine.names cimport shown
from pgste._engine.pagetable cimport PageTable
from pgste._engine.unit cimport PyThreadState

import numpy as np

from pgste.errors import ArgumentError, ArgumentTypeError, StateError

cdef object ENTRY = np.dtype(
    {"names": ["type", "offset"], "formats": ["u4", "u8"], "offsets": [8, 0], "itemsize": 16}
)


cdef object entries_array(pgste_entries *entries, uint64_t room):
    """An array of swap entries for a call to fill."""
    array = np.zeros(room, dtype=ENTRY)
    entries.at = <pgste_entry *>cnp.array_data(array)
    entries.room = room
    entries.nr = 0
    return array


cdef int keys_function(pgste_guest *guest, const pgste_gfns *gfns, KeysCall *call) noexcept nogil:
    if call.function == KEYS_SET:
        return pgste_set_storage_key(guest, gfns, call.keys, call.step, call.nq)
    if call.function == KEYS_GET:
        return pgste_get_storage_key(guest, gfns, call.out)
    if call.function == KEYS_INSERT:
        return pgste_insert_storage_key(guest, gfns, call.out)
    if call.function == KEYS_RESET_REFERENCE:
        return pgste_reset_reference(guest, gfns, call.out)
    return pgste_cond_set_storage_key(
        guest, gfns, call.keys, call.step, call.mr, call.mc, call.nq, call.out, call.old
    )


@cython.no_gc_clear
cdef class Ptes(PageTable):
    """The part of `Guest` that is a kernel's functions on PTEs, and storage keys."""

    cdef int layer(self, int error, Gfns pages, str what, bint open=True) except -1:
        """Raise the exception for what a call returned, if that is an error code."""
        if error == PGSTE_E_ARG:
            raise ArgumentError(f"generation: {self.generation!r} has no {what}")
        if error == PGSTE_E_STATE:
            why = "is between modify_prot_start and modify_prot_commit"
            twice = ", or one is named twice" if what.startswith("modify_prot") else ""
            raise StateError(f"gfns: a page {'' if open else 'is not one that '}{why}{twice}")
        return self.check(error, pages)

    # ---- PTEs

    def set_pte_at(self, gfns, words):
        """Set PTEs (`set_pte_at`, `ptep_set_pte_at`).

        Clears ZERO; drops UNUSED of present words; a valid word takes the storage key out of the
        PGSTE into its frame; a writable one sets UC.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        words : int or array of int
            PTEs in the kernel's format (`PteBits`), one for each gfn or one for all.  What they
            name and what they replace is owned as `set_words` has it.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        array = values_for(words, "words", pages.c.nr, cnp.NPY_UINT64, &step)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(array)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_set_pte_at(self.c, &pages.c, data, step)
        self.end(ts)
        self.layer(error, pages, "set_pte_at")

    def xchg_pte(self, gfns, words, lazy=False):
        """Exchange PTEs (`ptep_xchg_direct`, `ptep_xchg_lazy`); arguments as of `set_pte_at`.

        Fires notifications, and moves the storage key to where the new word wants it.

        Parameters
        ----------
        lazy : bool
            Which of the two; they differ in when TLBs are flushed, and so in nothing here.

        Returns
        -------
        ndarray of uint64
            The PTEs before, with UNUSED where a page of usage unused became invalid.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef bint is_lazy = boolean(lazy, "lazy")
        cdef unsigned step = 0
        array = values_for(words, "words", pages.c.nr, cnp.NPY_UINT64, &step)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(array)
        old = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint64_t *was = <uint64_t *>cnp.array_data(old)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_xchg_pte(self.c, &pages.c, data, step, is_lazy, was)
        self.end(ts)
        self.layer(error, pages, "xchg_pte")
        return old

    def age(self, gfns):
        """Make present PTEs old (`ptep_test_and_clear_young`).

        Returns
        -------
        (ndarray of bool, ndarray of uint64)
            Whether each page was young, and its PTE before, as `xchg_pte` reports it.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        young = new_array(pages.c.nr, cnp.NPY_BOOL)
        before = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint8_t *is_young = <uint8_t *>cnp.array_data(young)
        cdef uint64_t *was = <uint64_t *>cnp.array_data(before)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_age(self.c, &pages.c, is_young, was)
        self.end(ts)
        self.layer(error, pages, "age")
        return young, before

    def map_pte(self, gfns, words):
        """The guest maps pages (``dat``: `gmap_link`); arguments as of `set_pte_at`."""
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        array = values_for(words, "words", pages.c.nr, cnp.NPY_UINT64, &step)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(array)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_map_pte(self.c, &pages.c, data, step)
        self.end(ts)
        self.layer(error, pages, "map_pte")

    def unmap_pte(self, gfns):
        """The guest's mappings go (``dat``: `_gmap_unmap_pte`).

        Returns
        -------
        ndarray of uint64
            The host's own PTEs after it.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        host = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(host)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_unmap_pte(self.c, &pages.c, data)
        self.end(ts)
        self.layer(error, pages, "unmap_pte")
        return host

    def modify_prot_start(self, gfns):
        """Begin to change PTEs (`ptep_modify_prot_start`).

        Until `modify_prot_commit` they are invalid and their PGSTEs locked (PCL).

        Returns
        -------
        ndarray of uint64
            The PTEs before.

        Raises
        ------
        StateError
            A page is so already, or named twice.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        old = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint64_t *was = <uint64_t *>cnp.array_data(old)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_modify_prot_start(self.c, &pages.c, was)
        self.end(ts)
        self.layer(error, pages, "modify_prot_start")
        return old

    def modify_prot_commit(self, gfns, words):
        """End what `modify_prot_start` began (`ptep_modify_prot_commit`).

        Raises
        ------
        StateError
            A page for which nothing was begun, or that is named twice.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        array = values_for(words, "words", pages.c.nr, cnp.NPY_UINT64, &step)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(array)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_modify_prot_commit(self.c, &pages.c, data, step)
        self.end(ts)
        self.layer(error, pages, "modify_prot_commit", False)

    # ---- tracking of changes

    def test_and_clear_dirty(self, gfns):
        """Read a memory slot's log of dirty pages (`ptep_test_and_clear_uc`).

        Returns
        -------
        ndarray of bool
            Whether each page may have been stored to since the last call.  Those that are mapped
            become read only, so that the next store is seen.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        dirty = new_array(pages.c.nr, cnp.NPY_BOOL)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(dirty)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_test_and_clear_dirty(self.c, &pages.c, data)
        self.end(ts)
        self.layer(error, pages, "test_and_clear_dirty")
        return dirty

    def soft_dirty(self, gfns=None):
        """Soft dirty bits of PTEs, as /proc/PID/pagemap tells them; None is every page.

        Returns
        -------
        ndarray of bool
        """
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        dirty = new_array(pages.c.nr, cnp.NPY_BOOL)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(dirty)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_soft_dirty(self.c, &pages.c, data)
        self.end(ts)
        self.layer(error, pages, "soft_dirty")
        return dirty

    def clear_soft_dirty(self, gfns):
        """Clear soft dirty as /proc/PID/clear_refs does (`clear_soft_dirty`, fs/proc)."""
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_clear_soft_dirty(self.c, &pages.c)
        self.end(ts)
        self.layer(error, pages, "clear_soft_dirty")

    # ---- bits, access, notifications

    def set_pgste_bits(self, gfns, mask, value):
        """Set the bits of `mask` in PGSTEs to those of `value` (`set_pgste_bits`); not PCL."""
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef uint64_t bits = integer(mask, "mask", 0, UINT64_MAX)
        cdef uint64_t values = integer(value, "value", 0, UINT64_MAX)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_set_pgste_bits(self.c, &pages.c, bits, values)
        self.end(ts)
        self.layer(error, pages, "set_pgste_bits")

    def force_prot(self, gfns, prot, bit=0):
        """Restrict the guest's access to pages (`ptep_force_prot`).

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        prot : int
            What is left: 0 nothing, 1 loads (PROT_READ), 2 all (PROT_WRITE).
        bit : int
            Notification bits that the PGSTE gets, as for `set_notify`; 0 is none.

        Returns
        -------
        ndarray of int8
            0, or -11 (-EAGAIN): such a page must be faulted in first, and is unchanged.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef int left = <int>integer(prot, "prot", 0, 2)
        cdef uint64_t bits = integer(bit, "bit", 0, UINT64_MAX)
        results = new_array(pages.c.nr, cnp.NPY_INT8)
        cdef int8_t *data = <int8_t *>cnp.array_data(results)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_force_prot(self.c, &pages.c, <pgste_prot>left, bits, data)
        self.end(ts)
        self.layer(error, pages, f"force_prot with bit {bits:#x}")
        return results

    def set_notify(self, gfns, bits):
        """Have the next change of each PTE told (`ptep_set_notify`).

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        bits : int
            One or more of IN and VSIE (``pgtable``), PREFIX and VSIE (``dat``), see `PgsteBits`.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef uint64_t wanted = integer(bits, "bits", 1, UINT64_MAX)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_set_notify(self.c, &pages.c, wanted)
        self.end(ts)
        self.layer(error, pages, f"set_notify of {wanted:#x}")

    def notifications(self):
        """Take the notifications that fired (`ptep_notify`).

        Returns
        -------
        (ndarray of uint64, ndarray of uint64)
            Pages, and the bits that their PGSTEs lost, oldest first.
        """
        cdef int64_t nr
        self.begin(0)
        try:
            nr = pgste_notifications(self.c, NULL, NULL, 0)
            gfns = new_array(nr, cnp.NPY_UINT64)
            bits = new_array(nr, cnp.NPY_UINT64)
            pgste_notifications(
                self.c, <uint64_t *>cnp.array_data(gfns), <uint64_t *>cnp.array_data(bits), nr
            )
        finally:
            self.end(NULL)
        return gfns, bits

    def shadow_pte(self, gfns, shadow, targets, words):
        """Map frames of this guest in a shadow table (`ptep_shadow_pte`).

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages of this guest, whose PGSTEs get VSIE.
        shadow : Guest
            A guest of the same host that stands for the shadow table.
        targets : int, range, slice or array of int
            Its pages, one for each gfn.
        words : int or array of int
            What the nested guest's own PTEs allow: with PROTECT the target is read only.

        Returns
        -------
        ndarray of int8
            1 done; 0 the target is mapped already; -11 (-EAGAIN) the source does not allow it.
        """
        cdef Ptes table
        if not isinstance(shadow, Ptes):
            raise ArgumentTypeError(f"shadow: {shown(shadow)} is not a Guest")
        table = <Ptes>shadow
        if table.host is not self.host:
            raise ArgumentError("shadow: a guest of another host")
        if table.generation != self.generation:
            raise ArgumentError(f"shadow: a guest of generation {table.generation!r}")
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef Gfns places = gfns_argument(targets, table.nr_pages, True, "targets")
        if places.c.nr != pages.c.nr:
            raise ArgumentError(f"targets: {places.c.nr} pages for {pages.c.nr} gfns")
        cdef unsigned step = 0
        array = values_for(words, "words", pages.c.nr, cnp.NPY_UINT64, &step)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(array)
        results = new_array(pages.c.nr, cnp.NPY_INT8)
        cdef int8_t *done = <int8_t *>cnp.array_data(results)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef bint closed = table.c == NULL
        cdef int error = 0
        if not closed:
            error = pgste_shadow_pte(
                self.c, &pages.c, table.c, &places.c, data, step, done
            )
        self.end(ts)
        if closed:
            table.raise_closed()
        if error == PGSTE_E_GFN and places.array is not None:
            bad = (places.array < 0) | (places.array >= table.nr_pages)
            if bad.any():
                table.check(error, places, "targets")
        self.layer(error, pages, "shadow_pte")
        return results

    def unshadow_pte(self, gfns):
        """Take pages of a shadow table away (`ptep_unshadow_pte`); this is the shadow table."""
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_unshadow_pte(self.c, &pages.c)
        self.end(ts)
        self.layer(error, pages, "unshadow_pte")

    # ---- storage keys

    @property
    def uses_storage_keys(self):
        """Whether the guest uses storage keys (`mm_uses_skeys`)."""
        cdef bint uses
        self.begin(0)
        uses = pgste_uses_storage_keys(self.c)
        self.end(NULL)
        return uses

    @property
    def allow_cow_sharing(self):
        """Whether loads may map the shared zero page (`mm_forbids_zeropage` is the contrary)."""
        cdef bint allowed
        self.begin(0)
        allowed = pgste_allows_cow_sharing(self.c)
        self.end(NULL)
        return allowed

    def enable_storage_keys(self):
        """The guest uses storage keys from now on (`s390_enable_skey`).

        Every page's key becomes 0 with R and C set.  SSKE, ISKE and RRBE do this for themselves.
        Pages that map the shared zero page get frames of their own, and no more are mapped to it.

        Raises
        ------
        OutOfFramesError
            There are not enough frames for these pages; nothing has changed.
        """
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        cdef int error = pgste_enable_storage_keys(self.c)
        self.keyed = self.end_alone(ts)
        self.layer(error, None, "storage keys")

    def reset_storage_keys(self):
        """Set every page's key to what `enable_storage_keys` makes it."""
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        cdef int error = pgste_reset_storage_keys(self.c)
        self.keyed = self.end_alone(ts)
        self.layer(error, None, "storage keys")

    cdef int keys_call(self, KeysCall *call, Gfns pages, object vcpu) except -1:
        """A call on storage keys, beside those of other vcpus once the guest uses keys.

        A vcpu of None is the hypervisor, which has a claim of its own.
        """
        cdef bint executes = vcpu is not None
        cdef uint32_t cpu = self.vcpu_argument(vcpu) if executes else self.nr_vcpus
        cdef bint alone = not self.keyed
        cdef bint refused = False
        cdef int error = 0
        cdef PyThreadState *ts = (
            self.begin(pages.c.nr) if alone else self.begin_vcpu(cpu, pages.c.nr)
        )
        if executes:
            error = pgste_check_supervisor(self.c, cpu)
            refused = error != 0
        if not error:
            error = keys_function(self.c, &pages.c, call)
        if not alone:
            self.end_vcpu(cpu, ts)
        else:
            self.keyed = self.end_alone(ts)
        if refused:
            self.fail(error, None, "vcpu", 0, cpu)
        return self.layer(error, pages, "storage keys")

    cdef bint end_alone(self, PyThreadState *ts) except -1:
        """The end of a call that may have enabled keys: whether the guest uses them."""
        cdef bint keyed = pgste_uses_storage_keys(self.c)
        self.end(ts)
        return keyed

    def set_storage_key(self, gfns, keys, nq=False, *, vcpu=None):
        """Set storage keys (SSKE: `handle_sske`, `set_guest_storage_key`).  Enables keys.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        keys : int or array of int
            0 .. 255, one for each gfn or one for all: ACC 0xf0, F 0x08, R 0x04, C 0x02.
        nq : bool
            Do not quiesce other CPUs, which changes nothing here.
        vcpu : int, optional
            The virtual CPU that executes the instruction; None: the hypervisor sets keys.

        Raises
        ------
        PrivilegedOperationException
            The vcpu is in problem state.
        AddressingException
            A page outside every memory slot.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef bint quiet = boolean(nq, "nq")
        cdef unsigned step = 0
        array = values_for(keys, "keys", pages.c.nr, cnp.NPY_UINT8, &step)
        cdef KeysCall call
        memset(&call, 0, sizeof(call))
        call.function = KEYS_SET
        call.keys = <uint8_t *>cnp.array_data(array)
        call.step = step
        call.nq = quiet
        self.keys_call(&call, pages, vcpu)

    def get_storage_key(self, gfns):
        """The storage keys that the guest sees (`get_guest_storage_key`).  Enables nothing.

        Returns
        -------
        ndarray of uint8
        """
        return self.keys_of(gfns, None, False)

    def insert_storage_key(self, gfns, *, vcpu=None):
        """The same as an instruction of the guest (ISKE: `handle_iske`), which enables keys."""
        return self.keys_of(gfns, vcpu, True)

    cdef object keys_of(self, object gfns, object vcpu, bint insert):
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef KeysCall call
        keys = new_array(pages.c.nr, cnp.NPY_UINT8)
        memset(&call, 0, sizeof(call))
        call.function = KEYS_INSERT if insert else KEYS_GET
        call.out = <uint8_t *>cnp.array_data(keys)
        self.keys_call(&call, pages, vcpu)
        return keys

    def cond_set_storage_key(self, gfns, keys, mr, mc, nq=False, *, vcpu=None):
        """Set storage keys unless they are so (`cond_set_guest_storage_key`).  Enables keys.

        Parameters
        ----------
        gfns, keys, nq, vcpu
            As of `set_storage_key`.
        mr, mc : bool
            The reference bit, the change bit does not count as a difference.

        Returns
        -------
        (ndarray of uint8, ndarray of uint8)
            1 where the key was set, 0 where that was not needed; and the key before, where the
            kernel tells it (with `mr` or `mc`; ``dat``: always), else 0.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef bint without_r = boolean(mr, "mr")
        cdef bint without_c = boolean(mc, "mc")
        cdef bint quiet = boolean(nq, "nq")
        cdef unsigned step = 0
        array = values_for(keys, "keys", pages.c.nr, cnp.NPY_UINT8, &step)
        cdef KeysCall call
        rcs = new_array(pages.c.nr, cnp.NPY_UINT8)
        old = new_array(pages.c.nr, cnp.NPY_UINT8)
        memset(&call, 0, sizeof(call))
        call.function = KEYS_COND_SET
        call.keys = <uint8_t *>cnp.array_data(array)
        call.step = step
        call.mr = without_r
        call.mc = without_c
        call.nq = quiet
        call.out = <uint8_t *>cnp.array_data(rcs)
        call.old = <uint8_t *>cnp.array_data(old)
        self.keys_call(&call, pages, vcpu)
        return rcs, old

    def reset_reference(self, gfns, *, vcpu=None):
        """Reset reference bits (RRBE: `reset_guest_reference_bit`).  Enables keys.

        Returns
        -------
        ndarray of uint8
            Condition codes: R << 1 | C as they were.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        ccs = new_array(pages.c.nr, cnp.NPY_UINT8)
        cdef KeysCall call
        memset(&call, 0, sizeof(call))
        call.function = KEYS_RESET_REFERENCE
        call.out = <uint8_t *>cnp.array_data(ccs)
        self.keys_call(&call, pages, vcpu)
        return ccs

    def zap_key(self, gfns):
        """Storage keys of pages to 0 with R and C set (`ptep_zap_key`)."""
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_zap_key(self.c, &pages.c)
        self.end(ts)
        self.layer(error, pages, "zap_key")

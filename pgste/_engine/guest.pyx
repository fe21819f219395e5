# SPDX-License-Identifier: MIT
"""`Guest`: what a guest does to its pages, and what the hypervisor does for it."""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from pgste._engine._c cimport (
    PGSTE_CBRL_MAX,
    PGSTE_E_ARG,
    PGSTE_GEN_DAT,
    PGSTE_MAX_FRAMES,
    PGSTE_MAX_ORDER,
    PGSTE_MAX_PAGES,
    PGSTE_MAX_VCPUS,
    pgste_alloc,
    pgste_alloc_page,
    pgste_cbrl,
    pgste_essa,
    pgste_entries,
    pgste_essa_page,
    pgste_free,
    pgste_free_page,
    pgste_generation,
    pgste_guest_config,
    pgste_guest_get_stats,
    pgste_guest_reset_stats,
    pgste_guest_stats,
    pgste_guest_stats_name,
    pgste_intercept,
    pgste_intercept_entries,
    pgste_log_revision,
    pgste_log_revision_name,
    pgste_mechanism_allowed,
    pgste_peek,
    pgste_poke,
    pgste_read,
    pgste_reset_cmma,
    pgste_revision,
    pgste_set_changed,
    pgste_set_problem_state,
    pgste_slot,
    pgste_write,
    pgste_zap,
    pgste_zap_entries,
    pgste_zap_scan,
    pgste_zap_scan_entries,
)
from pgste._engine.arguments cimport (
    Gfns,
    boolean,
    choice,
    gfns_argument,
    integer,
    is_integer,
    new_array,
    out_array,
    quick_uint64,
    threads_argument,
    values_for,
)
from pgste._engine.host cimport Host
from pgste._engine.names cimport names_of, shown, with_names
from pgste._engine.ptes cimport entries_array
from pgste._engine.slots cimport Slots, log_revision_argument, slots_argument
from pgste._engine.unit cimport KEEP_GIL, PyThreadState

import os

from pgste._engine.names import (
    GENERATIONS,
    RECLAIM_MODELS,
    REVISIONS,
    flavour_of,
    generation_of,
    mechanisms,
)
from pgste.errors import ArgumentError, ArgumentTypeError, ModelMemoryError

# Of gfns that are not the guest's: half of this machine's memory, as for summaries.
cdef uint64_t MOST_RESULTS = os.sysconf("SC_PHYS_PAGES") // 2 * os.sysconf("SC_PAGE_SIZE")
cdef tuple STATS = names_of(pgste_guest_stats_name)
cdef tuple MECHANISMS = mechanisms()
cdef tuple LOG_REVISIONS = names_of(pgste_log_revision_name)


@cython.no_gc_clear
cdef class Guest(Slots):
    """A guest: pages with a PGSTE and a PTE each, vcpus with a CBRL each (arch/s390/kvm).

    A new guest's pages are all stable, in use (not free) and without a mapping.

    Arguments named `gfns` are page frame numbers, never addresses: an int, a range, a slice
    (over the guest's pages; open ends are those of the guest), or a one-dimensional array of
    any integer dtype, which is not copied if it is contiguous and of native byte order.  They
    are processed in order; a repeated gfn is processed once for each occurrence.  Results are
    arrays with one element for each gfn, for an int too.

    Parameters
    ----------
    pages : int
        Pages of 4 KiB, 1 .. 2**40.
    host : Host, optional
        Its frames and swap slots are used.  Default: a host of its own with a frame and a
        swap slot for each page (at most 2**32 - 2).
    mechanism : str
        What `free` and `alloc` tell the host, one of `mechanisms`.
    generation : {"pgtable", "dat", "zvm"}
        Whose rules hold: KVM's of Linux v4.13 to v6.19, KVM's of v7.0 on, or z/VM's.  On z/VM
        the whole of guest page hinting holds: volatile pages, addressing exceptions and discard
        faults; mechanisms ``none`` and ``cmma`` only, and words are those of ``pgtable``.
    nodat : bool
        Facility 147: ORC 7 exists, and `alloc` uses it.
    vcpus : int
        Virtual CPUs, 1 .. 1024.
    cbrl_entries : int
        Entries of each CBRL, 1 .. 511.
    strict : bool
        Free of a free page and alloc of one in use raise `StateError`, and are not counted.
    flavour : {"kvm", "zvm"}, optional
        The hypervisor: ``zvm`` alone says the same as generation ``zvm``.
    revision : {"7.2", "7.1.5", "7.1", "7.0"}, optional
        Which release of generation ``dat``, "7.2" by default (docs/dat.md); the others have none.
    slots : list or tuple of Slot or tuple, optional
        Memory slots (base, pages, host, log_dirty), the last two of which may be left out; their
        ids are 0, 1, ...  Default: one of all pages, at the same host pages, that logs dirty
        pages.  `pages` stays the size of the table: the limit of the machine's memory.
    cmma : bool, optional
        False, for mechanism ``cmma`` only: CMMA is not enabled yet, and no vcpu exists yet.
    interpretation : bool
        The host carries out every ESSA at once, as in migration mode.
    log_revision : {"pgtable", "dat", "dat_new"}, optional
        Which kernel's CMMA log: v6.4 to v6.19, v7.0 and v7.1, or v7.2 and on.  Default: that of
        `revision`, or ``pgtable``.  docs/migration.md has these.
    memory : {"host", "caller", "memfd"}
        ``caller``: frames and swap slots are the caller's, who changes PTEs by the PTE layer
        (docs/pte.md).  Every PTE is foreign then, costs the host nothing, and loads and stores
        raise `ForeignPteError`.  ``memfd``: a shared mapping of a file in memory.  A page that
        loses its frame leaves its content to the file, whose own memory is not counted, and
        finds it again; MADV_FREE is refused there, and reporting punches holes.
    mlock : bool
        The host has the guest's memory locked (mlockall, QEMU's -overcommit mem-lock=on): every
        page has a frame of zeros from the start, reclaim passes it over, MADV_DONTNEED, MADV_FREE
        and MADV_PAGEOUT are refused there; holes in a memfd are punched all the same.  Not with
        memory ``caller``, nor on hosts of "lru" and "mglru".
    storage_keys : bool
        The guest uses storage keys from the start (`mm_uses_skeys`); otherwise from its first
        instruction on keys, or `enable_storage_keys`.
    allow_cow_sharing : bool
        Loads of pages that have nothing map the shared zero page, as Linux v6.10 and later allow it
        until the guest uses storage keys; by default each gets a frame, as in v4.14 to v6.9.
        Memory of the host's only (docs/pte.md).

    Attributes
    ----------
    host : Host
    mechanism, generation, flavour : str
    revision : str or None

    Raises
    ------
    ArgumentError, ArgumentTypeError, UnknownNameError
    ModelMemoryError
    """

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(
        self, pages, host=None, mechanism="cmma", generation="pgtable", nodat=False, vcpus=1,
        cbrl_entries=511, strict=False, *, flavour=None, revision=None, slots=None, cmma=None,
        interpretation=False, log_revision=None, memory="host", storage_keys=False,
        allow_cow_sharing=False, mlock=False,
    ):
        cdef pgste_guest_config config
        cdef pgste_slot *given = NULL
        cdef Host home
        if self.host is not None:
            raise ArgumentError("pages: this guest exists already, it cannot be made again")
        memset(&config, 0, sizeof(config))
        config.nr_pages = integer(pages, "pages", 1, PGSTE_MAX_PAGES)
        if host is not None and not isinstance(host, Host):
            raise ArgumentTypeError(f"host: {shown(host)} is not a Host")
        mechanism = MECHANISMS[choice(mechanism, "mechanism", MECHANISMS)]
        encoded = mechanism.encode()
        config.mechanism = encoded
        generation = generation_of(generation, flavour)
        config.generation = <pgste_generation><int>GENERATIONS.index(generation)
        if not pgste_mechanism_allowed(config.generation, config.mechanism):
            raise ArgumentError(f"mechanism: {mechanism!r} is unknown to generation {generation!r}")
        config.nr_vcpus = integer(vcpus, "vcpus", 1, PGSTE_MAX_VCPUS)
        config.cbrl_entries = integer(cbrl_entries, "cbrl_entries", 1, PGSTE_CBRL_MAX)
        config.nodat = boolean(nodat, "nodat")
        config.strict = boolean(strict, "strict")
        if config.generation == PGSTE_GEN_DAT:
            wanted = REVISIONS[0] if revision is None else revision
            revision = REVISIONS[choice(wanted, "revision", REVISIONS)]
            config.revision = <pgste_revision><int>REVISIONS.index(revision)
        elif revision is not None:
            raise ArgumentError(
                f"revision: {shown(revision)} is given, which generation {generation!r} has not"
            )
        config.cmma_later = cmma is not None and not boolean(cmma, "cmma")
        if cmma is not None and mechanism != "cmma":
            raise ArgumentError(f"cmma: {cmma} with mechanism {mechanism!r}, which is not 'cmma'")
        config.interpretation = boolean(interpretation, "interpretation")
        log_revision = log_revision_argument(log_revision, generation, revision)
        config.log_revision = <pgste_log_revision><int>LOG_REVISIONS.index(log_revision)
        where = choice(memory, "memory", ("host", "caller", "memfd"))
        config.own_memory = where == 1
        config.memfd = where == 2
        config.mlock = boolean(mlock, "mlock")
        config.storage_keys = boolean(storage_keys, "storage_keys")
        config.allow_cow_sharing = boolean(allow_cow_sharing, "allow_cow_sharing")
        if config.own_memory and config.allow_cow_sharing:
            raise ArgumentError(
                "allow_cow_sharing: True with memory 'caller', whose zero page is the caller's"
            )
        if config.own_memory and config.mlock:
            raise ArgumentError("mlock: True with memory 'caller', which has no frame of the host")
        for name, wanted in (("slots", slots is not None), ("cmma", cmma is not None),
                             ("interpretation", interpretation), ("memory", where != 0),
                             ("storage_keys", storage_keys),
                             ("allow_cow_sharing", config.allow_cow_sharing),
                             ("mlock", config.mlock)):
            if wanted and generation == "zvm":
                raise ArgumentError(f"{name}: unknown to generation 'zvm'")
        if host is None:
            frames = min(config.nr_pages, PGSTE_MAX_FRAMES)
            home = Host(frames, frames)
        else:
            home = host
        if home.reclaim_model != RECLAIM_MODELS[0]:
            for name, wanted in (("memory: 'memfd'", config.memfd), ("mlock: True", config.mlock)):
                if wanted:
                    raise ArgumentError(f"{name} on a host of {home.reclaim_model!r}")
        self.mechanism = mechanism
        self.generation = generation
        self.flavour = flavour_of(generation)
        self.revision = revision
        self.interpretation = config.interpretation
        self.log_revision = log_revision
        if slots is not None:
            given = slots_argument(slots, &config.nr_slots)
            config.slots = given
        try:
            self.join(home, &config)
        finally:
            free(given)

    def __repr__(self):
        state = "" if self.c != NULL else ", closed"
        return (
            f"<pgste.Guest {self.guest_number}: {self.nr_pages} pages, {self.mechanism},"
            f" {self.generation}{state}>"
        )

    # ---- attributes

    @property
    def pages(self):
        """Number of pages."""
        return self.nr_pages

    @property
    def vcpus(self):
        """Virtual CPUs."""
        return self.nr_vcpus

    @property
    def number(self):
        """The number under which `Host.frame_info` names this guest."""
        return self.guest_number

    @property
    def bytes_per_page(self):
        """Bytes of the model's memory that one page costs."""
        return self.page_bits / 8

    def close(self):
        """Give every frame and swap slot back to the host; a second call does nothing."""
        self.close_guest()

    # ---- ESSA, free, alloc

    def essa(self, orc, gfns, vcpu=0, *, out=None):
        """ESSA on each page in order (`handle_essa`, arch/s390/kvm/priv.c).

        Parameters
        ----------
        orc : int
            Operation request code, an `Orc`.
        gfns : int, range, slice or array of int
            Pages.  In the ``dat`` generation they may lie outside the guest.
        vcpu : int
            The virtual CPU that executes it, and whose CBRL is used.
        out : ndarray of uint8, optional
            Takes the results instead of a new array, which saves the page faults of its
            memory: contiguous, one element for each gfn, apart from `gfns`.

        Returns
        -------
        ndarray of uint8
            `out`, or a new array, with the result byte for each gfn: ``usage << 2 | content``
            before the operation, and 0x20 if NODAT was set; 0x10 alone for a page outside the
            guest (``dat``).

        Raises
        ------
        ProgramInterruption
            As the machine refuses it; nothing has changed.
        ModelMemoryError
            There is no memory for so many results; nothing has changed.
        """
        cdef uint64_t page = 0, one_code = 0, one_cpu = 0
        cdef int error
        if out is None and self.is_essa_page(orc, gfns, vcpu, &one_code, &page, &one_cpu):
            results = new_array(1, cnp.NPY_UINT8)
            error = pgste_essa_page(self.c, <uint32_t>one_cpu, <unsigned>one_code, page)
            if error >= 0:
                (<uint8_t *>cnp.array_data(results))[0] = <uint8_t>error
                return results
        cdef uint64_t code = integer(orc, "orc", 0, UINT64_MAX)
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages, inside=False)
        cdef uint8_t *data = NULL
        cdef PyThreadState *ts
        results = None
        if out is not None:
            results = out_array(out, pages.c.nr, pages.array)
        # No results for a range that is refused: it may be longer than memory.
        elif self.dat and pages.array is None and pages.c.nr > max(self.nr_pages, MOST_RESULTS):
            raise ModelMemoryError(
                f"gfns: results of {pages.c.nr} gfns need more than half of this machine's memory"
            )
        elif self.dat or pages.array is not None or pages.c.nr <= self.nr_pages:
            results = new_array(pages.c.nr, cnp.NPY_UINT8)
        if results is not None:
            data = <uint8_t *>cnp.array_data(results)
        code = min(code, UINT32_MAX)
        ts = self.begin_vcpu(cpu, pages.c.nr)
        error = pgste_essa(self.c, cpu, <unsigned>code, &pages.c, data)
        self.end_vcpu(cpu, ts)
        if error < 0:
            self.fail(error, pages, "gfns", 0, cpu, <unsigned>code)
        return results

    def essa_page(self, orc, gfn, vcpu=0):
        """ESSA on one page: the result byte as an int; otherwise as `essa`."""
        cdef uint64_t code = 0, page = 0, cpu = 0
        cdef int result
        if self.is_essa_page(orc, gfn, vcpu, &code, &page, &cpu):
            result = pgste_essa_page(self.c, <uint32_t>cpu, <unsigned>code, page)
            if result >= 0:
                return result
        if not is_integer(gfn):
            raise ArgumentTypeError(f"gfn: {shown(gfn)} is not an integer")
        return int(self.essa(orc, gfn, vcpu)[0])

    def free(self, gfns, order=0, vcpu=0):
        """Free blocks of ``2**order`` pages (`arch_free_page`, arch/s390/mm/page-states.c).

        The host is told as the guest's mechanism has it.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            First page of each block.
        order : int
            0 .. 39.
        vcpu : int
            The virtual CPU that executes ESSA.

        Raises
        ------
        GfnError
            A block that passes the end of the guest included; nothing has changed.
        StateError
            Strict guest: a page is free already; nothing has changed.
        """
        cdef uint64_t page = 0
        if self.is_one(gfns, order, vcpu, &page) and pgste_free_page(self.c, 0, page) == 0:
            return None
        return self.block_pages(True, gfns, order, vcpu)

    def alloc(self, gfns, order=0, vcpu=0):
        """Allocate blocks of ``2**order`` pages (`arch_alloc_page`); otherwise as `free`."""
        cdef uint64_t page = 0
        if self.is_one(gfns, order, vcpu, &page) and pgste_alloc_page(self.c, 0, page) == 0:
            return None
        return self.block_pages(False, gfns, order, vcpu)

    cdef object block_pages(self, bint freeing, object gfns, object order, object vcpu):
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef unsigned block_order = <unsigned>integer(order, "order", 0, PGSTE_MAX_ORDER)
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef int error
        cdef uint64_t steps = min(pages.c.nr, <uint64_t>KEEP_GIL + 1) << block_order
        cdef PyThreadState *ts = self.begin_vcpu(cpu, steps)
        if freeing:
            error = pgste_free(self.c, cpu, &pages.c, block_order)
        else:
            error = pgste_alloc(self.c, cpu, &pages.c, block_order)
        self.end_vcpu(cpu, ts)
        if error < 0:
            self.fail(error, pages, "gfns", block_order, cpu, 0, freeing)
        return None

    @cython.binding(False)
    def free_page(self, gfn, /):
        """Free one page on vcpu 0: `free` of one gfn, fast."""
        cdef uint64_t page = 0
        if (
            self.gate[0] == 0
            and quick_uint64(gfn, &page)
            and pgste_free_page(self.c, 0, page) == 0
        ):
            return None
        return self.one_page(True, gfn)

    @cython.binding(False)
    def alloc_page(self, gfn, /):
        """Allocate one page on vcpu 0: `alloc` of one gfn, fast."""
        cdef uint64_t page = 0
        if (
            self.gate[0] == 0
            and quick_uint64(gfn, &page)
            and pgste_alloc_page(self.c, 0, page) == 0
        ):
            return None
        return self.one_page(False, gfn)

    cdef object one_page(self, bint freeing, object gfn):
        """One page with all checks: after waiting, or to raise what is wrong."""
        cdef Gfns page
        cdef int error
        if not is_integer(gfn):
            raise ArgumentTypeError(f"gfn: {shown(gfn)} is not an integer")
        page = gfns_argument(gfn, self.nr_pages, True, "gfn")
        self.begin_vcpu(0, 0)
        if freeing:
            error = pgste_free_page(self.c, 0, page.c.first)
        else:
            error = pgste_alloc_page(self.c, 0, page.c.first)
        self.end_vcpu(0, NULL)
        if error < 0:
            self.fail(error, page, "gfn", 0, 0, 0, freeing)
        return None

    # ---- content

    def write(self, gfns, tags):
        """Stores by the guest, faulting pages in (`do_anonymous_page`, `do_swap_page`).

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        tags : int or array of int
            Content of each page, or of all: 0 .. 2**32 - 1, where 0 is all zero.

        Raises
        ------
        OutOfFramesError, ForeignPteError, GfnError
        AddressingException, DiscardException
            On z/VM: a page is unused, or volatile and discarded.  Nothing has changed.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        cdef PyThreadState *ts
        cdef int error
        array = values_for(tags, "tags", pages.c.nr, cnp.NPY_UINT32, &step)
        cdef uint32_t *data = <uint32_t *>cnp.array_data(array)
        ts = self.begin(pages.c.nr)
        error = pgste_write(self.c, &pages.c, data, step)
        self.end(ts)
        self.check_touch(error, pages)

    def read(self, gfns):
        """Loads by the guest, faulting pages in (`do_anonymous_page`, `do_swap_page`).

        Returns
        -------
        ndarray of uint32
            The content of each page, 0 is all zero.

        Raises
        ------
        OutOfFramesError, ForeignPteError, GfnError
        AddressingException, DiscardException
            On z/VM: a page is unused, or volatile and discarded.  Nothing has changed.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        tags = new_array(pages.c.nr, cnp.NPY_UINT32)
        cdef uint32_t *data = <uint32_t *>cnp.array_data(tags)
        ts = self.begin(pages.c.nr)
        error = pgste_read(self.c, &pages.c, data)
        self.end(ts)
        self.check_touch(error, pages)
        return tags

    def peek(self, gfns):
        """What `read` would give, without the loads: nothing changes.

        Returns
        -------
        ndarray of uint32
            A page whose PTE is foreign gives 0.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        tags = new_array(pages.c.nr, cnp.NPY_UINT32)
        cdef uint32_t *data = <uint32_t *>cnp.array_data(tags)
        ts = self.begin(pages.c.nr)
        error = pgste_peek(self.c, &pages.c, data)
        self.end(ts)
        self.check(error, pages)
        return tags

    def poke(self, gfns, tags):
        """A device that has the pages' frames stores to them (DMA): no PTE hears of it.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages; those that are in no frame, nor in a file, are left alone.
        tags : int or array of int
            As for `write`.

        Returns
        -------
        int
            Pages that were there.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        cdef PyThreadState *ts
        cdef int64_t poked
        array = values_for(tags, "tags", pages.c.nr, cnp.NPY_UINT32, &step)
        cdef uint32_t *data = <uint32_t *>cnp.array_data(array)
        ts = self.begin(pages.c.nr)
        poked = pgste_poke(self.c, &pages.c, data, step)
        self.end(ts)
        self.check(poked, pages)
        return poked

    # ---- CBRL, zap, scans

    def cbrl(self, vcpu=0):
        """Pending entries of a vcpu's collaborative buffer list, in order.

        Returns
        -------
        ndarray of uint64
            gfns.
        """
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef uint64_t entries[PGSTE_CBRL_MAX]
        cdef int64_t nr
        self.begin_vcpu(cpu, 0)
        nr = pgste_cbrl(self.c, cpu, entries)
        self.end_vcpu(cpu, NULL)
        self.check(nr, None, "vcpu")
        gfns = new_array(nr, cnp.NPY_UINT64)
        memcpy(cnp.array_data(gfns), entries, nr * sizeof(uint64_t))
        return gfns

    def intercept(self, vcpu=0, entries=False):
        """Process a vcpu's CBRL now and reset it (`handle_essa`, `gmap_zap_unused`).

        Parameters
        ----------
        vcpu : int
            Whose list.
        entries : bool
            Return the swap entries that were given up.

        Returns
        -------
        int or ndarray
            Pages zapped; with `entries` an array of (type, offset), in order.
        """
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef int64_t zapped
        cdef pgste_entries told
        if boolean(entries, "entries"):
            array = entries_array(&told, PGSTE_CBRL_MAX + 1)
            self.begin(0)
            zapped = pgste_intercept_entries(self.c, cpu, &told)
            self.end(NULL)
            self.check(zapped, None, "vcpu")
            return array[: told.nr]
        self.begin_vcpu(cpu, 0)
        zapped = pgste_intercept(self.c, cpu)
        self.end_vcpu(cpu, NULL)
        self.check(zapped, None, "vcpu")
        return zapped

    def zap(self, gfn, entries=False):
        """Zap one page if it is swapped out and unused or zero (`ptep_zap_unused`).

        Returns
        -------
        bool or ndarray
            Whether it was zapped; with `entries` as `intercept` has it.
        """
        cdef Gfns page
        cdef int64_t zapped
        cdef pgste_entries told
        if not is_integer(gfn):
            raise ArgumentTypeError(f"gfn: {shown(gfn)} is not an integer")
        page = gfns_argument(gfn, self.nr_pages, True, "gfn")
        if boolean(entries, "entries"):
            array = entries_array(&told, 1)
            self.begin(0)
            zapped = pgste_zap_entries(self.c, page.c.first, &told)
            self.end(NULL)
            self.check(zapped, page, "gfn")
            return array[: told.nr]
        self.begin(0)
        zapped = pgste_zap(self.c, page.c.first)
        self.end(NULL)
        self.check(zapped, page, "gfn")
        return zapped != 0

    def zap_scan(self, threads=1, entries=False):
        """`zap` of every page, in ascending order.

        Parameters
        ----------
        threads : int
            How many threads may look for the pages, 1 .. 64; the result is the same.
        entries : bool
            As of `intercept`.

        Returns
        -------
        int or ndarray
            Pages zapped; with `entries` an array of (type, offset).
        """
        cdef unsigned nr_threads = threads_argument(threads)
        cdef int64_t zapped
        cdef pgste_entries told
        cdef PyThreadState *ts
        if boolean(entries, "entries"):
            array = None
            zapped = PGSTE_E_ARG
            # more pages may have become zappable when the array is there
            while zapped == PGSTE_E_ARG:
                array = entries_array(&told, self.count_zappable(threads))
                ts = self.begin(self.nr_pages)
                zapped = pgste_zap_scan_entries(self.c, nr_threads, &told)
                self.end(ts)
            self.check(zapped)
            return array[: told.nr]
        ts = self.begin_resting(self.nr_pages)
        zapped = pgste_zap_scan(self.c, nr_threads)
        self.end(ts)
        self.check(zapped)
        return zapped

    def set_changed(self, gfns, on):
        """Set the change bit of the guest's storage keys (GC), as SSKE does.

        On z/VM stores set it, and a potentially volatile page that has it is written to the
        paging device instead of being discarded; the guest clears it once it has written the
        page to where it comes from.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        on : bool
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef bint value = boolean(on, "on")
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_set_changed(self.c, &pages.c, value)
        self.end(ts)
        self.check(error, pages)

    def reset_cmma(self):
        """Usage stable and NODAT off for every page (`KVM_S390_VM_MEM_CLR_CMMA`).

        ZERO stays, nothing is zapped, lists stay.
        """
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        pgste_reset_cmma(self.c)
        self.end(ts)

    def set_problem_state(self, vcpu, on):
        """Put a vcpu into problem state, where ESSA is a privileged-operation exception."""
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef bint value = boolean(on, "on")
        cdef int error
        self.begin(0)
        error = pgste_set_problem_state(self.c, cpu, value)
        self.end(NULL)
        self.check(error, None, "vcpu")

    def stats(self):
        """Counts of events since the guest was made or `reset_stats`.

        Returns
        -------
        dict of str to int
            The names are those of `struct pgste_guest_stats`, see docs/model.md.
        """
        cdef pgste_guest_stats stats
        self.begin(0)
        pgste_guest_get_stats(self.c, &stats)
        self.end(NULL)
        return with_names(STATS, &stats)

    def reset_stats(self):
        """Zero the counts of `stats`."""
        self.begin(0)
        pgste_guest_reset_stats(self.c)
        self.end(NULL)

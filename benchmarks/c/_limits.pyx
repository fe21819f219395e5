# SPDX-License-Identifier: MIT
"""The bare loops of bare.c, empty methods, and the C core without the package's binding."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "bare.h" nogil:
    uint64_t bare_read(const uint8_t *, uint64_t)
    void bare_write(uint8_t *, uint64_t, uint64_t)
    void bare_change(uint8_t *, uint64_t)
    void bare_memset_blocks(uint8_t *, const int64_t *, uint64_t, uint64_t, int)
    uint64_t bare_lines(const char *, uint64_t)
    void bare_update(uint8_t *, const int64_t *, uint64_t)
    uint64_t bare_spin(uint64_t)
    uint64_t bare_visits(uint64_t, uint64_t)
    uint64_t bare_two_words(
        uint64_t *, const uint64_t *, unsigned, const int64_t *, uint64_t, uint8_t *, uint64_t *
    )
    uint64_t bare_kernel_words(
        uint64_t *, unsigned, const int64_t *, uint64_t, uint8_t *, uint64_t *
    )
    uint64_t bare_locked_words(
        uint64_t *, unsigned, const int64_t *, uint64_t, uint8_t *, uint64_t *
    )

cdef extern from "string.h" nogil:
    void *memset(void *, int, size_t)

cdef extern from "pgste.h" nogil:
    cdef struct pgste_host:
        pass
    cdef struct pgste_guest:
        pass
    cdef struct pgste_host_config:
        uint64_t nr_frames
        uint64_t nr_swap_slots
    cdef struct pgste_guest_config:
        uint64_t nr_pages
        const char *mechanism
        uint32_t nr_vcpus
        uint32_t cbrl_entries
    void pgste_host_defaults(pgste_host_config *)
    int pgste_host_new(const pgste_host_config *, pgste_host **)
    int pgste_host_free(pgste_host *)
    int pgste_guest_new(pgste_host *, const pgste_guest_config *, pgste_guest **)
    void pgste_guest_free(pgste_guest *)
    int pgste_free_page(pgste_guest *, uint32_t, uint64_t)
    int pgste_alloc_page(pgste_guest *, uint32_t, uint64_t)


def read(const uint8_t[::1] data, uint64_t repeat=1):
    """Plain sequential read."""
    cdef uint64_t total = 0
    cdef uint64_t i
    with nogil:
        for i in range(repeat):
            total ^= bare_read(&data[0], data.shape[0])
    return total


def write(uint8_t[::1] data, uint64_t word, uint64_t repeat=1):
    """Plain sequential write."""
    cdef uint64_t i
    with nogil:
        for i in range(repeat):
            bare_write(&data[0], data.shape[0], word + i)


def change(uint8_t[::1] data):
    """Each byte read, changed, written back, in order."""
    with nogil:
        bare_change(&data[0], data.shape[0])


def fill(uint8_t[::1] data, int value):
    """memset of it all."""
    with nogil:
        memset(&data[0], value, data.shape[0])


def fill_blocks(uint8_t[::1] data, const int64_t[::1] starts, uint64_t block_bytes, int value):
    """memset of blocks that begin at starts."""
    with nogil:
        bare_memset_blocks(&data[0], &starts[0], starts.shape[0], block_bytes, value)


def lines(const uint8_t[::1] text):
    """Lines of a text, found by memchr."""
    cdef uint64_t nr
    with nogil:
        nr = bare_lines(<const char *>&text[0], text.shape[0])
    return nr


def spin(uint64_t nr):
    """nr steps of arithmetic without memory."""
    cdef uint64_t last
    with nogil:
        last = bare_spin(nr)
    return last


def visits(uint64_t keys, uint64_t nr):
    """nr look-ups of random keys below keys: how many different ones came up."""
    cdef uint64_t found
    with nogil:
        found = bare_visits(keys, nr)
    if found == 0:
        raise MemoryError(f"keys: {keys}")
    return found


def update(uint8_t[::1] data, const int64_t[::1] gfns):
    """Read, change and write back a byte for each gfn, with prefetch."""
    with nogil:
        bare_update(&data[0], &gfns[0], gfns.shape[0])


def two_words(
    uint64_t[::1] pgste, const uint64_t[::1] pte, unsigned orc, const int64_t[::1] gfns,
    uint8_t[::1] results, uint64_t[::1] appended,
):
    """ESSA on an array of PGSTEs and one of PTEs: entries appended."""
    cdef uint64_t nr
    with nogil:
        nr = bare_two_words(
            &pgste[0], &pte[0], orc, &gfns[0], gfns.shape[0], &results[0], &appended[0]
        )
    return nr


def kernel_words(
    uint64_t[::1] tables, unsigned orc, const int64_t[::1] gfns, uint8_t[::1] results,
    uint64_t[::1] appended, bint locked,
):
    """ESSA on page tables of 256 PTEs and 256 PGSTEs, with or without their lock bit."""
    cdef uint64_t nr
    with nogil:
        if locked:
            nr = bare_locked_words(
                &tables[0], orc, &gfns[0], gfns.shape[0], &results[0], &appended[0]
            )
        else:
            nr = bare_kernel_words(
                &tables[0], orc, &gfns[0], gfns.shape[0], &results[0], &appended[0]
            )
    return nr


cdef class Empty:
    """Methods that do nothing: what a call from Python costs."""

    @cython.binding(False)
    def call(self, uint64_t gfn, /):
        """One integer argument, taken as a C integer."""

    def call_keyword(self, uint64_t gfn):
        """The same as Cython makes it if nothing is said."""


cdef class Core:
    """A guest of the C core, called from C."""

    cdef pgste_host *host
    cdef pgste_guest *guest

    def __cinit__(self, uint64_t pages):
        cdef pgste_host_config host
        cdef pgste_guest_config guest
        memset(&host, 0, sizeof(host))
        memset(&guest, 0, sizeof(guest))
        host.nr_frames = host.nr_swap_slots = pages
        pgste_host_defaults(&host)
        guest.nr_pages = pages
        guest.mechanism = b"cmma"
        guest.nr_vcpus = 1
        guest.cbrl_entries = 511
        if pgste_host_new(&host, &self.host) or pgste_guest_new(self.host, &guest, &self.guest):
            raise MemoryError(f"pages: {pages}")

    def __dealloc__(self):
        pgste_guest_free(self.guest)
        if self.host != NULL:
            pgste_host_free(self.host)

    def free_pages(self, const int64_t[::1] gfns):
        """pgste_free_page for each gfn: calls that succeeded."""
        cdef uint64_t done = 0
        cdef Py_ssize_t i
        with nogil:
            for i in range(gfns.shape[0]):
                done += pgste_free_page(self.guest, 0, gfns[i]) == 0
        return done

    def alloc_pages(self, const int64_t[::1] gfns):
        """pgste_alloc_page for each gfn: calls that succeeded."""
        cdef uint64_t done = 0
        cdef Py_ssize_t i
        with nogil:
            for i in range(gfns.shape[0]):
                done += pgste_alloc_page(self.guest, 0, gfns[i]) == 0
        return done

# SPDX-License-Identifier: MIT
"""What Cython code of others may use: `Host` and `Guest` with their C objects.

A C call on `Guest.c` or `Host.c` goes between `begin` and `end` of that object, which keep
every other thread out of the host and let go of the GIL when `n` is large.  No Python object
may be touched in between, apart from reading C fields.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from pgste._c cimport (
    pgste_block,
    pgste_gfns,
    pgste_guest,
    pgste_host,
    pgste_host_config,
    pgste_replay,
)


cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass


# One C guest of a host.
cdef struct Node:
    pgste_guest *c
    PyObject *owner  # its Guest, borrowed; NULL: that is gone, free c when the host is idle
    Node *prev
    Node *next


cdef class Gfns:
    """A checked `gfns` argument."""

    cdef pgste_gfns c
    cdef object array  # the array that c.data points into, None for a range
    cdef bint one  # was a single int

    cdef object at(self, uint64_t i)
    cdef str outside(self, uint64_t pages, unsigned order, str name)


cdef Gfns gfns_argument(object value, uint64_t pages, bint inside=*, str name=*)


cdef class Host:
    cdef pgste_host *c
    cdef pgste_host_config config
    cdef readonly str rearm
    # The gate: 0 nobody is in, EXCLUSIVE one call is in, n > 0: n calls of `sharer` are in,
    # each on a vcpu of its own.  Written with the GIL held only.
    cdef int busy
    cdef PyObject *sharer
    cdef list queue  # of Waiter; not empty only while busy
    cdef Node *nodes
    cdef bint orphans
    cdef object __weakref__

    cdef int lock(self) except -1
    cdef void unlock(self) noexcept
    cdef int wait(self, Guest guest, uint32_t vcpu) except -1
    cdef void grant(self) noexcept
    cdef void sweep(self) noexcept
    cdef PyThreadState *begin(self, uint64_t n) except? NULL
    cdef void end(self, PyThreadState *ts) noexcept
    cdef int raise_closed(self) except -1


cdef class Guest:
    cdef pgste_guest *c
    cdef const int *gate  # &host.busy, or a constant that is not 0 once the guest is closed
    cdef Node *node
    cdef uint8_t *claimed  # one byte a vcpu: a call is in on it; NULL if vcpus do not share
    cdef uint64_t nr_pages
    cdef uint32_t nr_vcpus
    cdef uint32_t guest_number
    cdef uint64_t page_bits
    cdef bint dat
    cdef bint nodat
    cdef readonly Host host
    cdef readonly str mechanism
    cdef readonly str generation
    cdef readonly str flavour
    cdef object __weakref__

    cdef void detach(self) noexcept
    cdef PyThreadState *begin(self, uint64_t n) except? NULL
    cdef void end(self, PyThreadState *ts) noexcept
    cdef PyThreadState *begin_vcpu(self, uint32_t vcpu, uint64_t n) except? NULL
    cdef void end_vcpu(self, uint32_t vcpu, PyThreadState *ts) noexcept
    cdef void release_vcpu(self, uint32_t vcpu) noexcept
    cdef int raise_closed(self) except -1
    cdef uint32_t vcpu_argument(self, object vcpu) except? 0xFFFFFFFF
    cdef object block_pages(self, bint freeing, object gfns, object order, object vcpu)
    cdef object one_page(self, bint freeing, object gfn)
    cdef object words(self, object gfns, bint pte)
    cdef int fail_touch(self, int error) except -1
    cdef int report_failed(self, int error) except -1
    cdef int64_t copy_blocks(self, int which, uint32_t i, pgste_block *to, uint64_t most) noexcept
    cdef list blocks(self, int which, uint32_t i)
    cdef str offender(self, Gfns gfns, unsigned order, bint freeing, str name)
    cdef int fail(
        self, int error, Gfns gfns, str name, unsigned order=*, uint32_t vcpu=*,
        unsigned orc=*, bint freeing=*
    ) except -1


cdef class Replay:
    cdef pgste_replay *c
    cdef tuple guests
    cdef Host host
    cdef object event_array
    cdef object time_array

    cdef int begin(self) except -1

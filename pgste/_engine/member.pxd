# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from pgste._engine._c cimport pgste_guest, pgste_guest_config
from pgste._engine.arguments cimport Gfns
from pgste._engine.unit cimport Node, PyThreadState, Unit


cdef class Member:
    cdef pgste_guest *c
    cdef const int *gate  # &host.busy, or a constant that is not 0 once the guest is closed
    cdef Node *node
    # One byte a vcpu, and one for the hypervisor: a call is in on it; NULL if vcpus do not share.
    cdef uint8_t *claimed
    cdef uint64_t nr_pages
    cdef uint32_t nr_vcpus
    cdef uint32_t guest_number
    cdef uint64_t page_bits
    cdef bint dat
    cdef bint nodat
    cdef bint keyed  # known to use storage keys; written with the GIL held only
    cdef readonly Unit host
    cdef readonly str mechanism
    cdef readonly str generation
    cdef readonly str flavour
    cdef readonly str revision
    cdef object __weakref__

    cdef int join(self, Unit host, const pgste_guest_config *config) except -1
    cdef int close_guest(self) except -1
    cdef void detach(self) noexcept
    cdef PyThreadState *begin(self, uint64_t n) except? NULL
    cdef PyThreadState *begin_resting(self, uint64_t n) except? NULL
    cdef PyThreadState *rests(self, uint64_t n, uint8_t *claim) noexcept
    cdef int end(self, PyThreadState *ts) except -1
    cdef PyThreadState *begin_vcpu(self, uint32_t vcpu, uint64_t n) except? NULL
    cdef int end_vcpu(self, uint32_t vcpu, PyThreadState *ts) except -1
    cdef int rest(self, uint8_t *claim) except -1
    cdef int raise_closed(self) except -1
    cdef uint32_t vcpu_argument(self, object vcpu) except? 0xFFFFFFFF
    cdef int check(self, int64_t result, Gfns gfns=*, str name=*) except -1
    cdef int check_touch(self, int error, Gfns gfns) except -1
    cdef int fail(
        self, int error, Gfns gfns, str name, unsigned order=*, uint32_t vcpu=*,
        unsigned orc=*, bint freeing=*
    ) except -1
    cdef int fail_touch(self, int error) except -1
    cdef str no_memory(self, Gfns gfns, unsigned order, str name)
    cdef str offender(self, Gfns gfns, unsigned order, bint freeing, str name)

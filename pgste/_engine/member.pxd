# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from pgste._engine._c cimport pgste_guest, pgste_guest_config
from pgste._engine.arguments cimport Gfns
from pgste._engine.unit cimport KEEP_GIL, Node, PyThreadState, Unit


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
    # A short call keeps the GIL to its end, so that it need not take the unit if nobody is in: from
    # its begin to its end there is one call of C, and nothing of Python.
    cdef inline PyThreadState *begin(self, uint64_t n) except? NULL:
        """Hold the unit for one call of about n steps."""
        if n - 1 < KEEP_GIL and self.gate[0] == 0:
            return NULL
        return self.take(n)

    cdef inline PyThreadState *begin_vcpu(self, uint32_t vcpu, uint64_t n) except? NULL:
        """Hold one vcpu for one call of about n steps, which rests."""
        if n - 1 < KEEP_GIL and self.gate[0] == 0:
            return NULL
        return self.take_vcpu(vcpu, n)

    cdef inline int end(self, PyThreadState *ts) except -1:
        """Raises what ended the call early, such as KeyboardInterrupt."""
        return 0 if ts == NULL and self.gate[0] == 0 else self.give(ts)

    cdef inline int end_vcpu(self, uint32_t vcpu, PyThreadState *ts) except -1:
        return 0 if ts == NULL and self.gate[0] == 0 else self.give_vcpu(vcpu, ts)

    cdef PyThreadState *take(self, uint64_t n) except? NULL
    cdef PyThreadState *take_vcpu(self, uint32_t vcpu, uint64_t n) except? NULL
    cdef int give(self, PyThreadState *ts) except -1
    cdef int give_vcpu(self, uint32_t vcpu, PyThreadState *ts) except -1
    cdef PyThreadState *begin_resting(self, uint64_t n) except? NULL
    cdef PyThreadState *rests(self, uint64_t n, uint8_t *claim) noexcept
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

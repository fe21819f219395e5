# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t

from pgste._engine._c cimport pgste_guest_config, pgste_slot
from pgste._engine.arguments cimport Gfns
from pgste._engine.reporting cimport Reporting


cdef class Slots(Reporting):
    cdef readonly bint interpretation
    cdef readonly str log_revision

    cdef int kvm(self, int64_t result, str what) except -1
    cdef int log_check(self, int error, Gfns pages) except -1
    cdef uint32_t slot_argument(self, object slot) except? 0xFFFFFFFF


cdef pgste_slot *slots_argument(object slots, uint32_t *nr) except? NULL
cdef str log_revision_argument(object revision, str generation, str release)

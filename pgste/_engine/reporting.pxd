# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t, uint64_t

from pgste._engine._c cimport pgste_block
from pgste._engine.ptes cimport Ptes


cdef class Reporting(Ptes):
    cdef int report_failed(self, int error) except -1
    cdef uint32_t zones(self) except 0
    cdef int64_t copy_free(self, unsigned order, int zone, int type, pgste_block *to,
                           uint64_t most) noexcept
    cdef int64_t copy_blocks(self, int which, uint32_t i, int zone, int type, pgste_block *to,
                             uint64_t most) noexcept
    cdef list blocks(self, int which, uint32_t i, int zone=*, int type=*)

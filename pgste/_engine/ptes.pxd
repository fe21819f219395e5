# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from pgste._engine._c cimport pgste_entries
from pgste._engine.gfns cimport Gfns
from pgste._engine.pagetable cimport PageTable


cdef class Ptes(PageTable):
    cdef int layer(self, int error, Gfns pages, str what, bint open=*) except -1
    cdef int supervisor(self, object vcpu) except -1
    cdef object keys_of(self, object gfns, object vcpu, bint insert)


cdef object entries_array(pgste_entries *entries, uint64_t room)

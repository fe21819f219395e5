# SPDX-License-Identifier: MIT
from pgste._engine.member cimport Member


cdef class PageTable(Member):
    cdef object words(self, object gfns, bint pte)
    cdef int two_tables(self) except -1

# SPDX-License-Identifier: MIT
from pgste._engine._c cimport pgste_gfns
from pgste._engine.arguments cimport Gfns
from pgste._engine.member cimport Member


cdef class PageTable(Member):
    cdef object words(self, object gfns, bint pte)
    cdef object words_of(self, const pgste_gfns *gfns, Gfns pages, bint pte)
    cdef int two_tables(self) except -1

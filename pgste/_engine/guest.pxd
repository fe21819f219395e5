# SPDX-License-Identifier: MIT
from pgste._engine.slots cimport Slots


cdef class Guest(Slots):
    cdef object block_pages(self, bint freeing, object gfns, object order, object vcpu)
    cdef object one_page(self, bint freeing, object gfn)

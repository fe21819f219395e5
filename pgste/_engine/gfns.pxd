# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from pgste._engine._c cimport pgste_gfns


cdef class Gfns:
    """A checked `gfns` argument."""

    cdef pgste_gfns c
    cdef object array  # the array that c.data points into, None for a range
    cdef bint one  # was a single int

    cdef object at(self, uint64_t i)
    cdef str outside(self, uint64_t pages, unsigned order, str name)


cdef Gfns gfns_argument(object value, uint64_t pages, bint inside=*, str name=*)

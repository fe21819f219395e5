# SPDX-License-Identifier: MIT
from pgste._engine.arguments cimport Gfns
from pgste._engine.member cimport Member
from pgste._engine.unit cimport Unit


cdef class Host(Unit):
    cdef readonly str rearm
    cdef readonly str reclaim_model

    cdef object generation(self, unsigned gen, bint lazyfree)
    cdef int frames_check(self, int error, Gfns which) except -1
    cdef Member guest_argument(self, object guest)

# SPDX-License-Identifier: MIT
from pgste._engine.member cimport Member
from pgste._engine.unit cimport Unit


cdef class Host(Unit):
    cdef readonly str rearm

    cdef Member guest_argument(self, object guest)

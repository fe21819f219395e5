# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from pgste._engine._c cimport PGSTE_NR_ORC
from pgste._engine.arguments cimport quick_uint64
from pgste._engine.slots cimport Slots


cdef class Guest(Slots):
    cdef inline bint is_one(self, object gfn, object order, object vcpu, uint64_t *page) noexcept:
        """Whether a call is that of one page on vcpu 0, and may be done at once."""
        cdef uint64_t other = 0
        return (
            self.gate[0] == 0
            and quick_uint64(gfn, page)
            and quick_uint64(order, &other)
            and other == 0
            and quick_uint64(vcpu, &other)
            and other == 0
        )

    cdef inline bint is_essa_page(
        self, object orc, object gfn, object vcpu, uint64_t *code, uint64_t *page, uint64_t *cpu
    ) noexcept:
        """Whether a call is ESSA on one page, and may be done at once."""
        return (
            self.gate[0] == 0
            and quick_uint64(orc, code)
            and quick_uint64(gfn, page)
            and quick_uint64(vcpu, cpu)
            and cpu[0] < self.nr_vcpus
            and code[0] < PGSTE_NR_ORC
        )

    cdef object block_pages(self, bint freeing, object gfns, object order, object vcpu)
    cdef object one_page(self, bint freeing, object gfn)

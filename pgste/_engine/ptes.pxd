# SPDX-License-Identifier: MIT
from libc.stdint cimport uint8_t, uint64_t

from pgste._engine._c cimport pgste_entries
from pgste._engine.arguments cimport Gfns
from pgste._engine.pagetable cimport PageTable
from pgste._engine.unit cimport PyThreadState


cdef enum KeysFunction:
    KEYS_SET
    KEYS_GET
    KEYS_INSERT
    KEYS_COND_SET
    KEYS_RESET_REFERENCE


# A call on storage keys: what the C function wants beside the guest and the gfns.
cdef struct KeysCall:
    KeysFunction function
    const uint8_t *keys
    unsigned step
    bint mr, mc, nq
    uint8_t *out
    uint8_t *old


cdef class Ptes(PageTable):
    cdef int layer(self, int error, Gfns pages, str what, bint open=*) except -1
    cdef int keys_call(self, KeysCall *call, Gfns pages, object vcpu) except -1
    cdef bint end_alone(self, PyThreadState *ts) except -1
    cdef object keys_of(self, object gfns, object vcpu, bint insert)


cdef object entries_array(pgste_entries *entries, uint64_t room)

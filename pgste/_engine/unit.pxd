# SPDX-License-Identifier: MIT
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint64_t

from pgste._engine._c cimport pgste_guest, pgste_host, pgste_host_config
from pgste._engine.watch cimport PyThreadState


cdef enum:
    # Up to this many elements a call keeps the GIL: letting go and taking it back costs more.
    KEEP_GIL = 64


# One C guest of a unit.
cdef struct Node:
    pgste_guest *c
    PyObject *owner  # its Member, borrowed; NULL: that is gone, free c when nobody is in
    Node *prev
    Node *next


cdef class Unit:
    cdef pgste_host *c
    cdef pgste_host_config config
    # 0 nobody is in, EXCLUSIVE one call is in, n > 0: n calls of `sharer` are in, each with a
    # claim of its own.  Written with the GIL held only.
    cdef int busy
    cdef PyObject *sharer
    # Forks of this process when the last call came in: its thread is gone if there were more.
    cdef unsigned forks
    cdef list queue  # of Waiter; not empty only while busy
    cdef int waiting  # how many; read without the GIL too
    cdef set threads  # that wait, or have their turn and do not know yet
    cdef Node *nodes
    cdef bint orphans  # there is a node without an owner
    cdef object __weakref__

    cdef PyThreadState *begin(self, uint64_t n) except? NULL
    cdef PyThreadState *begin_resting(self, uint64_t n) except? NULL
    cdef int end(self, PyThreadState *ts) except -1
    cdef int rest(self, object sharer, uint8_t *claim) except -1
    cdef int raise_closed(self) except -1
    cdef bint lost(self) noexcept
    cdef int raise_lost(self) except -1
    cdef int lock(self) except -1
    cdef void unlock(self) noexcept
    cdef int enter(self, object sharer, uint8_t *claim) except -1
    cdef void leave(self, uint8_t *claim) noexcept
    cdef bint fits(self, object sharer, uint8_t *claim) noexcept
    cdef void admit(self, object sharer, uint8_t *claim) noexcept
    cdef int wait(self, object sharer, uint8_t *claim) except -1
    cdef void grant(self) noexcept
    cdef void add(self, Node *node) noexcept
    cdef void remove(self, Node *node) noexcept
    cdef void sweep(self) noexcept

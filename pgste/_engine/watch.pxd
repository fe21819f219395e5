# SPDX-License-Identifier: MIT
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass


# Of a unit, and the guest and claim of a call of it that rests; -1: it is out, with an exception.
ctypedef int (*rest_function)(PyObject *unit, PyObject *member, uint8_t *claim) noexcept nogil

cdef void watch_rests_by(rest_function function) noexcept
cdef PyThreadState *watch_begin(PyObject *unit) noexcept
cdef PyThreadState *watch_begin_resting(
    PyObject *unit, const int *waiting, PyObject *member, uint8_t *claim
) noexcept
cdef bint watch_is_out() noexcept
cdef bint watch_end(PyThreadState *ts) noexcept
cdef int watch_raise() except -1
cdef bint watch_goes_on() noexcept nogil
cdef bint watch_interrupts(PyObject *unit) noexcept


cdef class Stop:
    cdef int stopped


cdef class Team:
    cdef object call, ended, error
    cdef list items, results
    cdef Stop stop
    cdef Py_ssize_t next
    cdef int running, busy
    cdef double late
    cdef bint failed


cdef class Progress:
    cdef readonly uint64_t searched
    cdef readonly uint64_t found

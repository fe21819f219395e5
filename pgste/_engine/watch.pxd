# SPDX-License-Identifier: MIT
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t


cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass


cdef PyThreadState *watch_begin(PyObject *unit) noexcept
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

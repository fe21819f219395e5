# SPDX-License-Identifier: MIT
"""Checks of arguments: numbers, names, arrays and gfns."""

cimport pgste._engine._numpy as cnp
from cpython.bool cimport PyBool_Check
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.long cimport PyLong_Check
from libc.stdint cimport UINT64_MAX, uint64_t

from pgste._engine._c cimport pgste_gfns


cdef extern from *:
    """
    /* The value of an int of one digit: 0 .. 2^30 - 1, which is nearly every gfn. */
    static inline int one_digit(PyObject *o, uint64_t *value)
    {
    #if PY_VERSION_HEX >= 0x030C0000
        if (!PyLong_CheckExact(o) || !PyUnstable_Long_IsCompact((PyLongObject *)o) ||
            PyUnstable_Long_CompactValue((PyLongObject *)o) < 0)
            return 0;
        *value = (uint64_t)PyUnstable_Long_CompactValue((PyLongObject *)o);
    #else
        if (!PyLong_CheckExact(o) || (size_t)Py_SIZE(o) > 1)
            return 0;
        *value = Py_SIZE(o) ? ((PyLongObject *)o)->ob_digit[0] : 0;
    #endif
        return 1;
    }
    """
    bint one_digit(object value, uint64_t *out) noexcept


cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLong(object value) noexcept


cdef inline bint quick_uint64(object value, uint64_t *out) noexcept:
    """Convert an int that fits; no exception, False for anything else, bools included."""
    if one_digit(value, out):
        return True
    if not PyLong_Check(value) or PyBool_Check(value):
        return False
    out[0] = PyLong_AsUnsignedLongLong(value)
    if out[0] == UINT64_MAX and PyErr_Occurred() != NULL:
        PyErr_Clear()
        return False
    return True


cdef bint is_integer(object value)
cdef object as_int(object value, str name)
cdef uint64_t integer(
    object value, str name, uint64_t low, uint64_t high
) except? 0xFFFFFFFFFFFFFFFF
cdef bint boolean(object value, str name) except -1
cdef Py_ssize_t choice(object value, str name, tuple choices) except -1
cdef unsigned threads_argument(object threads) except? 0xFFFFFFFF

cpdef object as_array(object value, str name)
cdef object integer_array(object value, str name, object most, object pages=*)
cdef object values_for(object value, str name, uint64_t nr, int typenum, unsigned *step)
cdef object of_dtype(cnp.ndarray array, str name, object dtype, object most)
cdef cnp.ndarray new_array(uint64_t nr, int typenum)
cdef object out_array(object out, uint64_t nr, object gfns)
cdef cnp.ndarray plain_array(object value, str name, int width)
cdef str not_a_page(str name, object gfn, object pages)


cdef class Gfns:
    """A checked `gfns` argument."""

    cdef pgste_gfns c
    cdef object array  # the array that c.data points into, None for a range
    cdef bint one  # was a single int

    cdef object at(self, uint64_t i)
    cdef str outside(self, uint64_t pages, unsigned order, str name)


cdef Gfns gfns_argument(object value, uint64_t pages, bint inside=*, str name=*)

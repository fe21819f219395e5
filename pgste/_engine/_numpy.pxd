# SPDX-License-Identifier: MIT
"""What the binding uses of NumPy's C interface, and no more.

NumPy's own declarations are long, and Cython reads them again for every module.  A module that
calls new functions of the table (PyArray_EMPTY, PyArray_ITEMSIZE) calls import_array() first.
"""


cdef extern from "numpy/arrayobject.h":
    ctypedef Py_ssize_t npy_intp

    ctypedef class numpy.ndarray [object PyArrayObject, check_size ignore]:
        pass

    cdef enum:
        NPY_BOOL
        NPY_INT8
        NPY_UINT8
        NPY_UINT32
        NPY_UINT64

    int import_array "_import_array"() except -1
    ndarray PyArray_EMPTY(int nd, npy_intp *dims, int typenum, int fortran)
    void *PyArray_DATA(ndarray array) nogil
    int PyArray_NDIM(ndarray array) nogil
    npy_intp PyArray_DIM(ndarray array, int i) nogil
    npy_intp PyArray_ITEMSIZE(ndarray array) nogil
    bint PyArray_ISSIGNED(ndarray array) nogil
    bint PyArray_ISCARRAY(ndarray array) nogil
    bint PyArray_ISCARRAY_RO(ndarray array) nogil

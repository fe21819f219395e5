# SPDX-License-Identifier: MIT
"""What the binding knows of NumPy in C: the head of an array, and how to make one.

NumPy's own headers are not needed, so that NumPy is none of the packages that a build installs.
What stands here is of NumPy's ABI, and the same in 1.x and 2.x; `numpy_functions` refuses a NumPy
with another ABI.  tests/cython/test_numpy_abi.py compares all of it with NumPy's headers.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer


cdef extern from *:
    """
    #ifndef PGSTE_NUMPY
    #define PGSTE_NUMPY
    /* PyArray_Descr, up to the number of the type */
    typedef struct {
        PyObject_HEAD
        PyTypeObject *type;
        char kind, letter, byteorder, flags;
        int number;
    } pgste_dtype;
    /* PyArrayObject, up to the flags */
    typedef struct {
        PyObject_HEAD
        char *data;
        int nd;
        Py_ssize_t *shape, *strides;
        PyObject *base;
        pgste_dtype *dtype;
        int flags;
    } pgste_array;
    /* Numbers of types: a bool, then integers of each C type, signed and unsigned. */
    enum {
        PGSTE_NPY_BOOL = 0,
        PGSTE_NPY_INT8 = 1,
        PGSTE_NPY_UINT8 = 2,
        PGSTE_NPY_UINT32 = 6,
        PGSTE_NPY_UINT64 = sizeof(long) == 8 ? 8 : 10,
        PGSTE_NPY_LAST_INTEGER = 10
    };
    enum { PGSTE_NPY_CONTIGUOUS = 0x1, PGSTE_NPY_ALIGNED = 0x100, PGSTE_NPY_WRITEABLE = 0x400 };
    /* Places in the table of functions, the number of the ABI that the first tells, the second. */
    enum { PGSTE_NPY_ABI = 0, PGSTE_NPY_NEW = 93 };
    enum { PGSTE_NPY_ABI_1 = 0x01000009, PGSTE_NPY_ABI_2 = 0x02000000 };
    typedef unsigned (*pgste_npy_abi)(void);
    typedef PyObject *(*pgste_npy_new)(PyTypeObject *type, int nd, const Py_ssize_t *shape,
                                       int number, const Py_ssize_t *strides, void *data,
                                       int bytes, int flags, PyObject *base);

    static inline void *pgste_array_data(const pgste_array *a) { return a->data; }
    static inline int pgste_array_nd(const pgste_array *a) { return a->nd; }
    static inline Py_ssize_t pgste_array_dim(const pgste_array *a, int i) { return a->shape[i]; }
    static inline char pgste_array_kind(const pgste_array *a) { return a->dtype->kind; }
    static inline int pgste_array_is_plain(const pgste_array *a)
    {
        const int plain = PGSTE_NPY_CONTIGUOUS | PGSTE_NPY_ALIGNED;
        const char swapped = PY_BIG_ENDIAN ? '<' : '>';

        return (a->flags & plain) == plain && a->dtype->byteorder != swapped;
    }
    static inline int pgste_array_is_writeable(const pgste_array *a)
    {
        return (a->flags & PGSTE_NPY_WRITEABLE) != 0;
    }
    /* Bytes of an integer of NumPy's own types, else 0. */
    static inline int pgste_array_width(const pgste_array *a)
    {
        static const unsigned char bytes[] = {sizeof(char), sizeof(short), sizeof(int),
                                              sizeof(long), sizeof(long long)};
        const int number = a->dtype->number;

        return number < 1 || number > PGSTE_NPY_LAST_INTEGER ? 0 : bytes[(number - 1) / 2];
    }
    #endif
    """
    ctypedef class numpy.ndarray [object pgste_array, check_size ignore]:
        pass

    enum:
        NPY_BOOL "PGSTE_NPY_BOOL"
        NPY_INT8 "PGSTE_NPY_INT8"
        NPY_UINT8 "PGSTE_NPY_UINT8"
        NPY_UINT32 "PGSTE_NPY_UINT32"
        NPY_UINT64 "PGSTE_NPY_UINT64"
        ABI "PGSTE_NPY_ABI"
        NEW "PGSTE_NPY_NEW"
        ABI_1 "PGSTE_NPY_ABI_1"
        ABI_2 "PGSTE_NPY_ABI_2"

    ctypedef unsigned (*pgste_npy_abi)()
    ctypedef ndarray (*pgste_npy_new)(
        type type, int nd, const Py_ssize_t *shape, int number, const Py_ssize_t *strides,
        void *data, int bytes, int flags, void *base
    )
    void *array_data "pgste_array_data"(ndarray array) nogil
    int array_nd "pgste_array_nd"(ndarray array) nogil
    Py_ssize_t array_dim "pgste_array_dim"(ndarray array, int i) nogil
    char array_kind "pgste_array_kind"(ndarray array) nogil
    int array_width "pgste_array_width"(ndarray array) nogil
    bint array_is_plain "pgste_array_is_plain"(ndarray array) nogil
    bint array_is_writeable "pgste_array_is_writeable"(ndarray array) nogil


cdef inline void **numpy_functions() except NULL:
    """NumPy's table of C functions; ImportError if its ABI is none that is known here."""
    try:
        from numpy._core._multiarray_umath import _ARRAY_API as capsule
    except ImportError:  # NumPy 1.x
        from numpy.core._multiarray_umath import _ARRAY_API as capsule
    cdef void **table = <void **>PyCapsule_GetPointer(capsule, NULL)
    cdef unsigned abi = (<pgste_npy_abi>table[ABI])()
    if abi not in (ABI_1, ABI_2):
        raise ImportError(f"NumPy has an ABI that this package does not know: {abi:#x}")
    return table

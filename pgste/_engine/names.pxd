# SPDX-License-Identifier: MIT
ctypedef const char *(*name_function)(unsigned) noexcept nogil


cdef tuple names_of(name_function name)
cdef dict with_names(tuple names, const void *values)
cpdef str strerror(int error)
cpdef str shown(object value)

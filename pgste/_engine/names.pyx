# SPDX-License-Identifier: MIT
"""Names, numbers and sentences that the C core tells."""

from libc.stdint cimport uint64_t

from pgste._engine._c cimport PGSTE_E_LAST, PGSTE_VERSION, pgste_mechanism_name, pgste_strerror

VERSION = PGSTE_VERSION.decode()
ERROR_LAST = <int>PGSTE_E_LAST

# In the order of enum pgste_rearm, and of enum pgste_poison.
REARM_RULES = ("referenced", "dirty")
POISONS = ("none", "init_on_free", "page_poison")


cdef tuple names_of(name_function name):
    """Every name that a C name function tells, in order."""
    cdef unsigned i = 0
    cdef list names = []
    while name(i) != NULL:
        names.append(name(i).decode())
        i += 1
    return tuple(names)


cdef dict with_names(tuple names, const void *values):
    """A C struct of uint64_t as a dict."""
    cdef const uint64_t *value = <const uint64_t *>values
    cdef Py_ssize_t i
    return {names[i]: value[i] for i in range(len(names))}


cdef tuple MECHANISMS = names_of(pgste_mechanism_name)


cpdef str strerror(int error):
    """The core's fixed sentence for an error code."""
    return pgste_strerror(error).decode()


def mechanisms() -> tuple:
    """Names of the free-page mechanisms that `Guest` takes, in the core's order."""
    return MECHANISMS

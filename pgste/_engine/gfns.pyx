# SPDX-License-Identifier: MIT
"""Checks of `gfns`: an int, a range, a slice or an array, as the struct that the core takes."""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.stdint cimport UINT64_MAX, uint64_t

from pgste._engine._c cimport PGSTE_GFN_I8, PGSTE_GFN_RANGE, PGSTE_GFN_U8, pgste_gfn_type
from pgste._engine.arguments cimport (
    as_int,
    integer,
    integer_array,
    is_integer,
    not_a_page,
    quick_uint64,
)
from pgste._engine.names cimport shown

import numpy as np

from pgste.errors import ArgumentError, ArgumentTypeError, GfnError


@cython.final
@cython.freelist(8)
cdef class Gfns:
    cdef object at(self, uint64_t i):
        """The i-th gfn."""
        return self.c.first + i if self.array is None else int(self.array[i])

    cdef str outside(self, uint64_t pages, unsigned order, str name):
        """A sentence on the first gfn whose block of 2^order pages is not all in the guest."""
        cdef object last = <object>pages - (<uint64_t>1 << order)  # of the gfns that would do
        cdef object i
        if self.array is None:
            i = max(last + 1 - self.c.first, 0)
        else:
            bad = np.flatnonzero((self.array < 0) | (self.array > last))
            i = bad[0] if bad.size else 0
        gfn = self.at(i)
        place = name if self.one else f"{name}[{i}]"
        if order and 0 <= gfn < pages:
            return f"{place}: the block of 2**{order} pages at {gfn} passes the end, {pages}"
        return not_a_page(place, gfn, pages)


cdef Gfns gfns_argument(object value, uint64_t pages, bint inside=True, str name="gfns"):
    """Check a `gfns` argument.

    Values are looked at where that costs nothing: an int and a range are in the guest
    afterwards if `inside`; the C core looks at those of an array.
    """
    cdef Gfns gfns = Gfns.__new__(Gfns)
    gfns.c.type = PGSTE_GFN_RANGE
    if quick_uint64(value, &gfns.c.first):
        pass
    elif is_integer(value):
        value = as_int(value, name)
        if not 0 <= value <= UINT64_MAX:
            raise GfnError(not_a_page(name, value, pages))
        gfns.c.first = value
    else:
        if isinstance(value, slice):
            value = range_of_slice(value, pages, name)
        if isinstance(value, range):
            set_range(gfns, value, pages, inside, name)
        else:
            set_array(gfns, integer_array(value, name, UINT64_MAX, pages))
        return gfns
    gfns.c.nr = 1
    gfns.one = True
    if inside and gfns.c.first >= pages:
        raise GfnError(not_a_page(name, gfns.c.first, pages))
    return gfns


cdef object range_of_slice(object value, uint64_t pages, str name):
    """The gfns of a slice of the guest's pages; ends count from 0 and are not cut off."""
    cdef object step = 1 if value.step is None else value.step
    for end, what in ((value.start, "start"), (value.stop, "stop")):
        if end is not None:
            integer(end, f"{name}.{what}", 0, pages)
    if not is_integer(step):
        raise ArgumentTypeError(f"{name}.step: {shown(step)} is not an integer")
    step = as_int(step, f"{name}.step")
    if step == 0:
        raise ArgumentError(f"{name}.step: 0, which never gets to the end")
    first, last = (0, <object>pages) if step > 0 else (<object>pages - 1, -1)
    return range(
        first if value.start is None else value.start,
        last if value.stop is None else value.stop,
        step,
    )


cdef int set_range(Gfns gfns, object value, uint64_t pages, bint inside, str name) except -1:
    """Take a range; one with a step is written out as an array."""
    if not value:
        return 0
    cdef object first = value[0], last = value[-1], step = value.step
    cdef object limit = <object>pages if inside else 1 << 63
    cdef object bad = None  # index of the first gfn that cannot be
    if not 0 <= first < limit:
        bad = 0
    elif last >= limit:
        bad = -((first - limit) // step)
    elif last < 0:
        bad = first // -step + 1
    if bad is not None:
        raise GfnError(not_a_page(f"{name}[{bad}]", value[bad], pages))
    if step == 1:
        gfns.c.first = first
        gfns.c.nr = last - first + 1
    else:
        beyond = last + (1 if step > 0 else -1)
        set_array(gfns, np.arange(first, beyond, step, dtype=np.int64))
    return 0


cdef int set_array(Gfns gfns, cnp.ndarray array) except -1:
    """Take an array as integer_array gives it."""
    cdef int size = cnp.array_width(array)
    cdef int width = 0 if size == 1 else 1 if size == 2 else 2 if size == 4 else 3
    cdef int base = PGSTE_GFN_I8 if cnp.array_kind(array) == b'i' else PGSTE_GFN_U8
    gfns.c.type = <pgste_gfn_type>(base + width)
    gfns.c.data = cnp.array_data(array)
    gfns.c.nr = cnp.array_dim(array, 0)
    gfns.array = array
    return 0

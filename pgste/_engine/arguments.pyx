# SPDX-License-Identifier: MIT
"""Checks of arguments, with exceptions that name the argument and what is wrong with it."""

cimport cython
cimport pgste._engine._numpy as cnp
from cpython.bool cimport PyBool_Check
from cpython.long cimport PyLong_Check
from cpython.number cimport PyIndex_Check
from libc.stdint cimport INT64_MAX, UINT32_MAX, UINT64_MAX, uint64_t

from pgste._engine._c cimport PGSTE_GFN_I8, PGSTE_GFN_RANGE, PGSTE_GFN_U8, pgste_gfn_type
from pgste._engine.names cimport shown

from operator import index as to_int

import numpy as np

from pgste.errors import (
    ArgumentError,
    ArgumentTypeError,
    GfnError,
    ModelMemoryError,
    UnknownNameError,
)

cdef cnp.pgste_npy_new new_ndarray = <cnp.pgste_npy_new>cnp.numpy_functions()[cnp.NEW]

# ---- one number or name ----------------------------------------------------------------


cdef bint is_integer(object value):
    """Whether this is one integer: int, NumPy integer or another type with __index__."""
    if PyLong_Check(value):
        return not PyBool_Check(value)
    return PyIndex_Check(value) and not isinstance(value, (np.bool_, np.ndarray))


cdef object as_int(object value, str name):
    """The int that __index__ gives."""
    try:
        return to_int(value)
    except TypeError as error:
        raise ArgumentTypeError(f"{name}: {shown(value)} is not an integer") from error


cdef uint64_t integer(
    object value, str name, uint64_t low, uint64_t high
) except? 0xFFFFFFFFFFFFFFFF:
    """An argument that is one integer in low .. high."""
    cdef uint64_t number = 0
    if quick_uint64(value, &number) and low <= number <= high:
        return number
    if not is_integer(value):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not an integer")
    value = as_int(value, name)
    if not low <= value <= high:
        raise ArgumentError(f"{name}: {shown(value)} is not in {low} .. {high}")
    return value


cdef bint boolean(object value, str name) except -1:
    """An argument that is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a bool")
    return bool(value)


cdef Py_ssize_t choice(object value, str name, tuple choices) except -1:
    """Index of an argument that is one of a few names."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a str")
    value = str.__str__(value)  # what a subclass holds, whatever its methods say
    if value not in choices:
        listed = ", ".join([repr(known) for known in choices])
        raise UnknownNameError(f"{name}: {shown(value)} is not one of {listed}")
    return choices.index(value)


cdef unsigned threads_argument(object threads) except? 0xFFFFFFFF:
    return <unsigned>integer(threads, "threads", 1, 64)


# ---- arrays ----------------------------------------------------------------------------


cpdef object as_array(object value, str name):
    """An array of what NumPy takes for one; its errors say little of the argument."""
    try:
        return np.asarray(value)
    except MemoryError as error:
        raise ModelMemoryError(f"{name}: {shown(value)} is too large") from error
    except (TypeError, ValueError, AttributeError, OverflowError, BufferError) as error:
        raise ArgumentTypeError(f"{name}: {shown(value)} is not an array of integers") from error


cdef object integer_array(object value, str name, object most, object pages=None):
    """A one-dimensional native contiguous array of some integer dtype: `value` or a copy.

    The values of an array are not looked at; those of a list or tuple must be in 0 .. most.
    They are gfns of a guest of so many pages, or plain numbers if `pages` is None.
    """
    cdef cnp.ndarray array
    cdef list numbers = []  # each item is asked once
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if not is_integer(item):
                raise ArgumentTypeError(f"{name}[{i}]: {shown(item)} is not an integer")
            item = as_int(item, name)
            if not 0 <= item <= most:
                if pages is not None:
                    raise GfnError(not_a_page(f"{name}[{i}]", item, pages))
                raise ArgumentError(f"{name}[{i}]: {shown(item)} is not in 0 .. {most}")
            numbers.append(item)
        return np.array(numbers, dtype=np.uint64)
    if isinstance(value, np.ndarray):
        array = value
    elif is_integer(value):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not an array of integers")
    elif value is None or isinstance(
        value, (bool, float, complex, str, bytes, dict, set, frozenset)
    ):
        raise ArgumentTypeError(f"{name}: {shown(value)} is neither an integer nor an array of integers")
    else:
        array = as_array(value, name)
    if cnp.array_width(array) == 0:
        what = f"{shown(value)}" if cnp.array_nd(array) == 0 else f"an array of dtype {array.dtype}"
        raise ArgumentTypeError(f"{name}: {what} is neither an integer nor an array of integers")
    if cnp.array_nd(array) > 1:
        shape = tuple([cnp.array_dim(array, i) for i in range(cnp.array_nd(array))])
        raise ArgumentError(f"{name}: an array of shape {shape}; it must have one dimension")
    if cnp.array_nd(array) == 0:
        array = array.reshape(1)
    if not cnp.array_is_plain(array):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return array


cdef object values_for(
    object value, str name, uint64_t nr, int typenum, unsigned *step
):
    """An argument of one value for each of nr gfns, or one for all (then step is 0)."""
    cdef object dtype = np.uint32 if typenum == cnp.NPY_UINT32 else np.uint64
    cdef object most = UINT32_MAX if typenum == cnp.NPY_UINT32 else UINT64_MAX
    if typenum == cnp.NPY_UINT8:
        dtype, most = np.uint8, 255
    cdef cnp.ndarray array
    if is_integer(value):
        step[0] = 0
        return np.array([integer(value, name, 0, most)], dtype=dtype)
    step[0] = 1
    array = integer_array(value, name, most)
    if <uint64_t>cnp.array_dim(array, 0) != nr:
        raise ArgumentError(
            f"{name}: {cnp.array_dim(array, 0)} values for {nr} gfns; one value, or one for each gfn"
        )
    return of_dtype(array, name, dtype, most)


cdef object of_dtype(cnp.ndarray array, str name, object dtype, object most):
    """An array of integers as one of an unsigned dtype, whose values are in 0 .. most."""
    if array.dtype == dtype:
        return array
    bad = np.flatnonzero((array < 0) | (array > most))
    if bad.size:
        raise ArgumentError(f"{name}[{bad[0]}]: {array[bad[0]]} is not in 0 .. {most}")
    return array.astype(dtype)


cdef cnp.ndarray new_array(uint64_t nr, int typenum):
    """An array for results."""
    cdef Py_ssize_t shape = <Py_ssize_t>nr
    if nr > <uint64_t>INT64_MAX:
        raise ModelMemoryError(f"gfns: no array can hold {nr} results")
    try:
        return new_ndarray(cnp.ndarray, 1, &shape, typenum, NULL, NULL, 0, 0, NULL)
    except MemoryError as error:
        raise ModelMemoryError(f"gfns: there is no memory for {nr} results") from error


cdef object out_array(object out, uint64_t nr, object gfns):
    """The argument `out` that takes one byte for each of nr gfns, which are in `gfns` if not None.

    Results that overwrote gfns after these were checked could lead out of the guest.
    """
    if not isinstance(out, np.ndarray):
        raise ArgumentTypeError(f"out: {shown(out)} is not an array")
    if out.dtype != np.uint8:
        raise ArgumentTypeError(f"out: an array of dtype {out.dtype}; results are uint8")
    if out.shape != (nr,):
        raise ArgumentError(f"out: an array of shape {out.shape}; there are {nr} gfns")
    if not (cnp.array_is_plain(<cnp.ndarray>out) and cnp.array_is_writeable(<cnp.ndarray>out)):
        raise ArgumentError("out: the array must be contiguous and writeable")
    if gfns is not None and np.may_share_memory(out, gfns):
        raise ArgumentError("out: the array shares memory with gfns")
    return out


cdef cnp.ndarray plain_array(object value, str name, int width):
    """`value`, if it is one contiguous row of unsigned integers of so many bytes."""
    cdef cnp.ndarray array
    if not isinstance(value, np.ndarray):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not an array")
    array = value
    if cnp.array_width(array) != width or cnp.array_kind(array) != b"u":
        raise ArgumentTypeError(f"{name}: an array of dtype {array.dtype}, not uint{8 * width}")
    if cnp.array_nd(array) != 1 or not cnp.array_is_plain(array):
        raise ArgumentError(f"{name}: the array must have one dimension and be contiguous")
    return array


cdef str not_a_page(str name, object gfn, object pages):
    return f"{name}: {shown(gfn)} is outside the pages of the guest, 0 .. {pages - 1}"


# ---- gfns: an int, a range, a slice or an array, as the struct that the core takes ------


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

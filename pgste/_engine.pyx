# SPDX-License-Identifier: MIT
"""The binding of the C core (src_c/pgste.h): hosts, guests and replays as Python objects.

It checks arguments, lets go of the GIL for array work, and turns error codes into
exceptions (`pgste.errors`).  It models nothing; docs/model.md says what the calls do.

Threads
-------
Every object may be used from any thread.  A host and its guests form one unit, which one
call at a time may use; other calls wait their turn, in order.  Only `Guest.essa`,
`Guest.free`, `Guest.alloc` and their forms for one page run at once, for one ``cmma`` guest
with more than one vcpu, on different vcpus.  Arrays that are passed in must not be changed
by another thread during the call.
"""

cimport cython
cimport numpy as cnp
from cpython.bool cimport PyBool_Check
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.long cimport PyLong_Check
from cpython.number cimport PyIndex_Check
from libc.stdint cimport INT64_MAX, UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from pgste._c cimport *

import os
from _thread import allocate_lock
from collections.abc import Sequence
from operator import index as to_int

import numpy as np

from pgste.errors import (
    BY_CODE,
    ArgumentError,
    ArgumentTypeError,
    GfnError,
    GuestClosedError,
    ModelMemoryError,
    StateError,
    UnknownNameError,
    ValidationError,
)

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
    PyThreadState *PyEval_SaveThread() noexcept nogil
    void PyEval_RestoreThread(PyThreadState *ts) noexcept nogil

cdef int EXCLUSIVE = -1
cdef int CLOSED = 1
# Up to this many elements a call keeps the GIL: letting go and taking it back costs more.
cdef uint64_t KEEP_GIL = 64

VERSION = PGSTE_VERSION.decode()
ERROR_LAST = <int>PGSTE_E_LAST


# ---- names and numbers from C ----------------------------------------------------------


ctypedef const char *(*name_function)(unsigned) noexcept nogil


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


cdef tuple HOST_STATS = names_of(pgste_host_stats_name)
cdef tuple GUEST_STATS = names_of(pgste_guest_stats_name)
cdef tuple REPLAY_STATS = names_of(pgste_replay_stats_name)
cdef tuple MECHANISMS = names_of(pgste_mechanism_name)
cdef tuple GENERATIONS = ("pgtable", "dat")
cdef tuple FLAVOURS = ("kvm", "zvm")
cdef tuple REARM_RULES = ("referenced", "dirty")
cdef tuple FRAME_LISTS = ("free", "active", "inactive", "lazyfree")
cdef tuple USAGES = ("stable", "unused", "pot_volatile", "volatile")
cdef tuple CONTENTS = ("resident", "preserved", "zero")
cdef tuple POISONS = ("none", "init_on_free", "page_poison")
cdef tuple REPORT_STATUSES = ("off", "idle", "requested", "active")


def strerror(int error) -> str:
    """The core's fixed sentence for an error code."""
    return pgste_strerror(error).decode()


def mechanisms() -> tuple:
    """Names of the free-page mechanisms that `Guest` takes, in the core's order."""
    return MECHANISMS


# ---- CPU variants ----------------------------------------------------------------------


def isa_name() -> str:
    """Name of the CPU variant of the scan kernels that is in force."""
    return pgste_isa_name().decode()


def isa_variants() -> list:
    """The CPU variants that are compiled in, best first, and whether this CPU runs them.

    Returns
    -------
    list of (str, bool)
    """
    cdef bool_t supported = False
    cdef unsigned i = 0
    cdef list variants = []
    while pgste_isa_list(i, &supported) != NULL:
        variants.append((pgste_isa_list(i, &supported).decode(), bool(supported)))
        i += 1
    return variants


def isa_select(str name not None):
    """Put a CPU variant of the scan kernels in force.

    Results do not depend on the variant, only speed does.  Not for use while other threads
    are inside a call of this package.

    Parameters
    ----------
    name : str
        One of `isa_variants`, or ``""`` for what the environment variable ``PGSTE_ISA``
        says, or for the best one if that is not set.

    Raises
    ------
    UnknownNameError
        Unknown here, or this CPU cannot run it; the variant in force stays.
    """
    if pgste_isa_select(name.encode()) < 0:
        raise UnknownNameError(f"name: {isa_refusal(name)}")


cdef str isa_refusal(str name):
    """Why a CPU variant is refused."""
    cdef list variants = isa_variants()
    choices = ", ".join(repr(known) for known, supported in variants if supported)
    if any(known == name for known, _ in variants):
        return f"this CPU cannot run the variant {name!r}; it can run {choices}"
    return f"no CPU variant {name!r}; this CPU can run {choices}"


if pgste_isa_select(NULL) < 0:
    raise ImportError(
        f"environment variable PGSTE_ISA: {isa_refusal(os.environ.get('PGSTE_ISA', ''))}"
    )


# ---- arguments: one number -------------------------------------------------------------


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


cdef bint is_integer(object value):
    """Whether this is one integer: int, NumPy integer or another type with __index__."""
    if PyLong_Check(value):
        return not PyBool_Check(value)
    return PyIndex_Check(value) and not isinstance(value, (np.bool_, np.ndarray))


cdef uint64_t integer(
    object value, str name, uint64_t low, uint64_t high
) except? 0xFFFFFFFFFFFFFFFF:
    """An argument that is one integer in low .. high."""
    cdef uint64_t number = 0
    if quick_uint64(value, &number) and low <= number <= high:
        return number
    if not is_integer(value):
        raise ArgumentTypeError(f"{name}: {value!r} is not an integer")
    value = to_int(value)
    if not low <= value <= high:
        raise ArgumentError(f"{name}: {value} is not in {low} .. {high}")
    return value


cdef bint boolean(object value, str name) except -1:
    """An argument that is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name}: {value!r} is not a bool")
    return bool(value)


cdef Py_ssize_t choice(object value, str name, tuple choices) except -1:
    """Index of an argument that is one of a few names."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name}: {value!r} is not a str")
    if value not in choices:
        listed = ", ".join(repr(known) for known in choices)
        raise UnknownNameError(f"{name}: {value!r} is not one of {listed}")
    return choices.index(value)


# ---- arguments: arrays -----------------------------------------------------------------


cdef object integer_array(object value, str name, object most, object pages=None):
    """A one-dimensional native contiguous array of some integer dtype: `value` or a copy.

    The values of an array are not looked at; those of a list or tuple must be in 0 .. most.
    They are gfns of a guest of so many pages, or plain numbers if `pages` is None.
    """
    cdef cnp.ndarray array
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if not is_integer(item):
                raise ArgumentTypeError(f"{name}[{i}]: {item!r} is not an integer")
            if not 0 <= to_int(item) <= most:
                if pages is not None:
                    raise GfnError(not_a_page(f"{name}[{i}]", to_int(item), pages))
                raise ArgumentError(f"{name}[{i}]: {to_int(item)} is not in 0 .. {most}")
        return np.array(value, dtype=np.uint64)
    if isinstance(value, np.ndarray):
        array = value
    elif is_integer(value):
        raise ArgumentTypeError(f"{name}: {value!r} is not an array of integers")
    elif value is None or isinstance(
        value, (bool, float, complex, str, bytes, dict, set, frozenset)
    ):
        raise ArgumentTypeError(f"{name}: {value!r} is neither an integer nor an array of integers")
    else:
        array = np.asarray(value)
    if array.dtype.kind not in "iu":
        what = f"{value!r}" if array.ndim == 0 else f"an array of dtype {array.dtype}"
        raise ArgumentTypeError(f"{name}: {what} is neither an integer nor an array of integers")
    if array.ndim > 1:
        raise ArgumentError(f"{name}: an array of shape {value.shape}; it must have one dimension")
    if array.ndim == 0:
        array = array.reshape(1)
    if not cnp.PyArray_ISCARRAY_RO(array):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return array


cdef object values_for(
    object value, str name, uint64_t nr, int typenum, unsigned *step
):
    """An argument of one value for each of nr gfns, or one for all (then step is 0)."""
    cdef object dtype = np.uint32 if typenum == cnp.NPY_UINT32 else np.uint64
    cdef object most = UINT32_MAX if typenum == cnp.NPY_UINT32 else UINT64_MAX
    cdef cnp.ndarray array
    if is_integer(value):
        step[0] = 0
        return np.array([integer(value, name, 0, most)], dtype=dtype)
    step[0] = 1
    array = integer_array(value, name, most)
    if <uint64_t>array.shape[0] != nr:
        raise ArgumentError(
            f"{name}: {array.shape[0]} values for {nr} gfns; one value, or one for each gfn"
        )
    if array.dtype == dtype:
        return array
    bad = np.flatnonzero((array < 0) | (array > most))
    if bad.size:
        raise ArgumentError(f"{name}[{bad[0]}]: {array[bad[0]]} is not in 0 .. {most}")
    return array.astype(dtype)


cdef str not_a_page(str name, object gfn, object pages):
    return f"{name}: {gfn} is outside the pages of the guest, 0 .. {pages - 1}"


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
        value = to_int(value)
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
        raise ArgumentTypeError(f"{name}.step: {step!r} is not an integer")
    step = to_int(step)
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
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int width = 0 if size == 1 else 1 if size == 2 else 2 if size == 4 else 3
    cdef int base = PGSTE_GFN_I8 if cnp.PyArray_ISSIGNED(array) else PGSTE_GFN_U8
    gfns.c.type = <pgste_gfn_type>(base + width)
    gfns.c.data = cnp.PyArray_DATA(array)
    gfns.c.nr = cnp.PyArray_DIM(array, 0)
    gfns.array = array
    return 0


cdef cnp.ndarray new_array(uint64_t nr, int typenum):
    """An array for results."""
    cdef cnp.npy_intp shape = <cnp.npy_intp>nr
    if nr > <uint64_t>INT64_MAX:
        raise ModelMemoryError(f"gfns: no array can hold {nr} results")
    return cnp.PyArray_EMPTY(1, &shape, typenum, 0)


cdef unsigned threads_argument(object threads) except? 0xFFFFFFFF:
    return <unsigned>integer(threads, "threads", 1, 64)


# ---- hosts -----------------------------------------------------------------------------


@cython.final
cdef class Waiter:
    """A call that waits for its turn at a host."""

    cdef object lock  # held until the turn has come
    cdef Guest guest  # whose vcpu it is for; None: for the host alone
    cdef uint32_t vcpu
    cdef bint granted


cdef class Host:
    """Frames and swap slots that guests share (mm/vmscan.c, mm/swapfile.c, simplified).

    Parameters
    ----------
    frames : int
        Frames of 4 KiB, 1 .. 2**32 - 2.
    swap_slots : int
        Swap slots of 4 KiB, 0 .. 2**32 - 2.
    low, high : int, optional
        Watermarks in frames: reclaim runs when at most `low` frames are free, until `high`
        are; ``low < high <= frames``.  Defaults: 0, and ``low + batch`` (at most `frames`).
    batch : int, optional
        Pages that reclaim moves from the active list at a time, 1 .. 2**32 - 1.  Default:
        ``min(32, max(1, frames // 64))``.
    rearm : {"referenced", "dirty"}
        What reclaim does with a clean lazyfree page that is pinned (`pin`): with
        "referenced" (v6.1) it becomes an ordinary page again, with "dirty" (2025) it stays
        lazyfree.

    Raises
    ------
    ArgumentError, ArgumentTypeError
    ModelMemoryError
    """

    def __cinit__(self, *args, **kwargs):
        self.queue = []

    def __init__(
        self, frames, swap_slots, low=None, high=None, batch=None, *, rearm="referenced"
    ):
        cdef pgste_host_config config
        cdef int error, rule
        if self.c != NULL:
            raise ArgumentError("frames: this host exists already, it cannot be made again")
        memset(&config, 0, sizeof(config))
        config.nr_frames = integer(frames, "frames", 1, PGSTE_MAX_FRAMES)
        config.nr_swap_slots = integer(swap_slots, "swap_slots", 0, PGSTE_MAX_FRAMES)
        pgste_host_defaults(&config)
        if batch is not None:
            config.batch = integer(batch, "batch", 1, UINT32_MAX)
        if low is not None:
            config.low = integer(low, "low", 0, config.nr_frames - 1)
        config.high = min(config.low + config.batch, config.nr_frames)
        if high is not None:
            config.high = integer(high, "high", config.low + 1, config.nr_frames)
        rule = choice(rearm, "rearm", REARM_RULES)
        error = pgste_host_new(&config, &self.c)
        if error < 0:
            raise BY_CODE[error](
                f"frames: {frames}, swap_slots: {swap_slots}: {strerror(error)}"
            )
        pgste_host_set_rearm(self.c, <pgste_rearm>rule)
        self.config = config
        self.rearm = rearm

    def __dealloc__(self):
        # Guests keep their host, so that none is left but those that could not be freed
        # while the host was busy.
        self.sweep()
        pgste_host_free(self.c)

    def __repr__(self):
        state = "" if self.c != NULL else ", closed"
        return f"<pgste.Host: {self.frames} frames, {self.swap_slots} swap slots{state}>"

    # ---- the gate

    cdef int lock(self) except -1:
        if self.busy == 0:
            self.busy = EXCLUSIVE
            return 0
        return self.wait(None, 0)

    cdef void unlock(self) noexcept:
        self.busy = 0
        if self.orphans:
            self.sweep()
        if self.queue:
            self.grant()

    cdef int wait(self, Guest guest, uint32_t vcpu) except -1:
        """Stand in the queue; the turn is handed over by the call that ends."""
        cdef Waiter waiter = Waiter.__new__(Waiter)
        waiter.guest = guest
        waiter.vcpu = vcpu
        waiter.lock = allocate_lock()
        waiter.lock.acquire()
        self.queue.append(waiter)
        self.grant()  # the allocations above may have let others finish
        try:
            waiter.lock.acquire()
        except BaseException:  # Ctrl-C, with or without the turn
            if not waiter.granted:
                self.queue.remove(waiter)
                self.grant()
            elif guest is None:
                self.unlock()
            else:
                guest.release_vcpu(vcpu)
            raise
        return 0

    cdef void grant(self) noexcept:
        """Let in those at the head of the queue who fit with those who are in."""
        cdef Waiter waiter
        while self.queue:
            waiter = self.queue[0]
            if waiter.guest is None:
                if self.busy != 0:
                    return
                self.busy = EXCLUSIVE
            elif self.busy == 0 or (
                self.sharer == <PyObject *>waiter.guest
                and self.busy != EXCLUSIVE
                and not waiter.guest.claimed[waiter.vcpu]
            ):
                self.busy += 1
                self.sharer = <PyObject *>waiter.guest
                waiter.guest.claimed[waiter.vcpu] = 1
            else:
                return
            del self.queue[0]
            waiter.granted = True
            waiter.lock.release()

    cdef void sweep(self) noexcept:
        """Free C guests whose Guest went away while the host was busy."""
        cdef Node *node = self.nodes
        cdef Node *next
        self.orphans = False
        while node != NULL:
            next = node.next
            if node.owner == NULL:
                free_node(self, node)
            node = next

    cdef PyThreadState *begin(self, uint64_t n) except? NULL:
        """Have the host for one call of about n steps."""
        self.lock()
        if self.c == NULL:
            self.unlock()
            self.raise_closed()
        return PyEval_SaveThread() if n > KEEP_GIL else NULL

    cdef void end(self, PyThreadState *ts) noexcept:
        if ts != NULL:
            PyEval_RestoreThread(ts)
        self.unlock()

    cdef int raise_closed(self) except -1:
        raise GuestClosedError("use of a host that was closed")

    # ---- for users

    @property
    def frames(self):
        """Frames in all."""
        return self.config.nr_frames

    @property
    def swap_slots(self):
        """Swap slots in all."""
        return self.config.nr_swap_slots

    @property
    def low(self):
        """Low watermark in frames."""
        return self.config.low

    @property
    def high(self):
        """High watermark in frames."""
        return self.config.high

    @property
    def batch(self):
        """Pages that reclaim moves from the active list at a time."""
        return self.config.batch

    def close(self):
        """Close the guests that are left, then the host; closing twice does nothing."""
        if self.c == NULL:
            return
        self.lock()
        self.sweep()
        while self.nodes != NULL:
            (<Guest>self.nodes.owner).detach()
        pgste_host_free(self.c)
        self.c = NULL
        self.unlock()

    def reclaim(self, n):
        """Free frames until `n` more are free, or nothing is left to take (`shrink_folio_list`).

        Returns
        -------
        int
            Frames freed.
        """
        cdef uint64_t goal = integer(n, "n", 0, UINT64_MAX)
        cdef PyThreadState *ts
        cdef int64_t freed
        goal = min(goal, self.config.nr_frames)
        ts = self.begin(goal)
        freed = pgste_host_reclaim(self.c, goal)
        self.end(ts)
        if freed < 0:
            raise BY_CODE[freed](f"n: {n}: {strerror(<int>freed)}")
        return freed

    def swap_out(self, Guest guest not None, gfns):
        """Reclaim exactly these pages now (`MADV_PAGEOUT`, mm/madvise.c).

        Unused pages are dropped, clean lazyfree pages discarded, others written to swap.
        Pages without a frame are skipped.

        Parameters
        ----------
        guest : Guest
            A guest of this host.
        gfns : int, range, slice or array of int
            Pages, taken in order; one that comes again is skipped then.

        Returns
        -------
        int
            Pages that lost their frame.

        Raises
        ------
        OutOfSwapError, ForeignPteError, GfnError
            Nothing has changed.
        """
        cdef Gfns pages
        cdef PyThreadState *ts
        cdef int64_t out
        if guest.host is not self:
            raise ArgumentError(f"guest: {guest!r} is not a guest of {self!r}")
        pages = gfns_argument(gfns, guest.nr_pages)
        ts = guest.begin(pages.c.nr)
        out = pgste_swap_out(guest.c, &pages.c)
        guest.end(ts)
        if out < 0:
            guest.fail(<int>out, pages, "gfns")
        return out

    def pin(self, Guest guest not None, gfns, on=True):
        """Hold, or let go of, a reference beside the mapping (`get_user_pages`).

        Reclaim leaves pinned pages alone; what it does with lazyfree ones is `rearm`.  The
        reference ends when the page loses its frame.

        Parameters
        ----------
        guest : Guest
            A guest of this host.
        gfns : int, range, slice or array of int
            Pages; those without a frame are skipped.
        on : bool

        Returns
        -------
        int
            Pages that were not so already.
        """
        cdef Gfns pages
        cdef PyThreadState *ts
        cdef bint value = boolean(on, "on")
        cdef int64_t changed
        if guest.host is not self:
            raise ArgumentError(f"guest: {guest!r} is not a guest of {self!r}")
        pages = gfns_argument(gfns, guest.nr_pages)
        ts = guest.begin(pages.c.nr)
        changed = pgste_set_pinned(guest.c, &pages.c, value)
        guest.end(ts)
        if changed < 0:
            guest.fail(<int>changed, pages, "gfns")
        return changed

    def stats(self):
        """Sizes of the lists now, and counts of events since the last `reset_stats`.

        Returns
        -------
        dict of str to int
            Pages, frames or slots; the names are those of `struct pgste_host_stats`.
        """
        cdef pgste_host_stats stats
        self.begin(0)
        pgste_host_get_stats(self.c, &stats)
        self.end(NULL)
        return with_names(HOST_STATS, &stats)

    def reset_stats(self):
        """Zero the event counts of the host (not those of its guests); peaks restart at now."""
        self.begin(0)
        pgste_host_reset_stats(self.c)
        self.end(NULL)

    def frame_info(self, frame):
        """What one frame holds.

        Parameters
        ----------
        frame : int
            Frame, 0 .. frames - 1.

        Returns
        -------
        dict
            ``list`` ("free", "active", "inactive", "lazyfree"), ``guest`` (`Guest.number`)
            and ``gfn`` of its page (None when free), ``tag`` (content), ``slot`` (swap slot
            of the swap cache, None when not in it), ``referenced``, ``dirty``, ``pinned``.
        """
        cdef pgste_frame_info info
        cdef uint64_t i = integer(frame, "frame", 0, self.config.nr_frames - 1)
        cdef int error
        self.begin(0)
        error = pgste_host_frame(self.c, i, &info)
        self.end(NULL)
        if error < 0:
            raise BY_CODE[error](f"frame: {frame}: {strerror(error)}")
        used = info.list != PGSTE_LIST_FREE
        return {
            "list": FRAME_LISTS[<int>info.list],
            "guest": info.guest if used else None,
            "gfn": info.gfn if used else None,
            "tag": info.tag,
            "slot": info.slot if info.slot != UINT32_MAX else None,
            "referenced": bool(info.referenced),
            "dirty": bool(info.dirty),
            "pinned": bool(info.pinned),
        }

    def slot_info(self, slot):
        """What one swap slot holds.

        Parameters
        ----------
        slot : int
            Swap slot, 0 .. swap_slots - 1.

        Returns
        -------
        dict
            ``count`` (uses by PTEs), ``frame`` (cached frame, None without), ``tag``.
        """
        cdef pgste_slot_info info
        cdef uint64_t i
        cdef int error
        if self.config.nr_swap_slots == 0:
            raise ArgumentError(f"slot: {slot!r}: the host has no swap slots")
        i = integer(slot, "slot", 0, self.config.nr_swap_slots - 1)
        self.begin(0)
        error = pgste_host_slot(self.c, i, &info)
        self.end(NULL)
        if error < 0:
            raise BY_CODE[error](f"slot: {slot}: {strerror(error)}")
        frame = info.frame if info.frame != UINT32_MAX else None
        return {"count": info.count, "frame": frame, "tag": info.tag}

    def frame_list(self, name):
        """Frames of a list that reclaim looks at, head (newest) first.

        Parameters
        ----------
        name : {"active", "inactive", "lazyfree"}

        Returns
        -------
        ndarray of uint32
        """
        cdef pgste_frame_list which = <pgste_frame_list>(
            PGSTE_LIST_ACTIVE + choice(name, "name", FRAME_LISTS[PGSTE_LIST_ACTIVE:])
        )
        cdef uint64_t room = 0
        cdef int64_t length
        cdef uint32_t *data = NULL
        cdef PyThreadState *ts
        frames = new_array(0, cnp.NPY_UINT32)
        while True:  # the list may have grown while the array was made
            data = <uint32_t *>cnp.PyArray_DATA(frames)
            ts = self.begin(room)
            length = pgste_host_list(self.c, which, data, room)
            self.end(ts)
            if length < 0:
                raise BY_CODE[length](f"name: {name!r}: {strerror(<int>length)}")
            if <uint64_t>length <= room:
                return frames[:length]
            room = length
            frames = new_array(room, cnp.NPY_UINT32)

    def validate(self):
        """Check every invariant of the host and its guests.  Slow: for tests.

        Raises
        ------
        ValidationError
            With a sentence on the first invariant that does not hold.
        """
        cdef const char *broken
        cdef PyThreadState *ts = self.begin(UINT64_MAX)
        broken = pgste_validate(self.c)
        self.end(ts)
        if broken != NULL:
            raise ValidationError(broken.decode())


cdef void free_node(Host host, Node *node) noexcept:
    """Free a C guest and take it off its host's list."""
    pgste_guest_free(node.c)
    if node.prev != NULL:
        node.prev.next = node.next
    else:
        host.nodes = node.next
    if node.next != NULL:
        node.next.prev = node.prev
    free(node)


# ---- guests ----------------------------------------------------------------------------


@cython.no_gc_clear  # __dealloc__ needs the host
cdef class Guest:
    """A guest: pages with a PGSTE and a PTE each, vcpus with a CBRL each (arch/s390/kvm).

    A new guest's pages are all stable, in use (not free) and without a mapping.

    Arguments named `gfns` are page frame numbers, never addresses: an int, a range, a slice
    (over the guest's pages; open ends are those of the guest), or a one-dimensional array of
    any integer dtype, which is not copied if it is contiguous and of native byte order.  They
    are processed in order, a gfn that comes twice twice.  Results are arrays with one element
    for each gfn, for an int too.

    Parameters
    ----------
    pages : int
        Pages of 4 KiB, 1 .. 2**40.
    host : Host, optional
        Whose frames and swap slots it uses.  Default: a host of its own with a frame and a
        swap slot for each page (at most 2**32 - 2).
    mechanism : str
        What `free` and `alloc` tell the host, one of `mechanisms`.
    generation : {"pgtable", "dat"}
        Whose rules hold: those of Linux v4.13 to v6.19, or v7.0 on.
    nodat : bool
        Facility 147: ORC 7 exists, and `alloc` uses it.
    vcpus : int
        Virtual CPUs, 1 .. 1024.
    cbrl_entries : int
        Entries of each CBRL, 1 .. 511.
    strict : bool
        Free of a free page and alloc of one in use raise `StateError`, and are not counted.
    flavour : {"kvm", "zvm"}
        The hypervisor.  On z/VM the whole of guest page hinting holds: volatile pages,
        addressing exceptions and discard faults; mechanisms ``none`` and ``cmma`` only, and
        words are those of ``pgtable``.

    Attributes
    ----------
    host : Host
    mechanism, generation, flavour : str

    Raises
    ------
    ArgumentError, ArgumentTypeError, UnknownNameError
    ModelMemoryError
    """

    def __cinit__(self, *args, **kwargs):
        self.gate = &CLOSED

    def __init__(
        self, pages, host=None, mechanism="cmma", generation="pgtable", nodat=False, vcpus=1,
        cbrl_entries=511, strict=False, *, flavour="kvm",
    ):
        cdef pgste_guest_config config
        cdef int error
        cdef Node *node
        cdef Host home
        if self.host is not None:
            raise ArgumentError("pages: this guest exists already, it cannot be made again")
        memset(&config, 0, sizeof(config))
        config.nr_pages = integer(pages, "pages", 1, PGSTE_MAX_PAGES)
        if host is not None and not isinstance(host, Host):
            raise ArgumentTypeError(f"host: {host!r} is not a Host")
        choice(mechanism, "mechanism", MECHANISMS)
        encoded = mechanism.encode()
        config.mechanism = encoded
        config.generation = <pgste_generation>choice(generation, "generation", GENERATIONS)
        if choice(flavour, "flavour", FLAVOURS) == 1:
            if generation != "pgtable":
                raise ArgumentError(f"generation: {generation!r} is one of KVM, not of z/VM")
            if mechanism not in ("none", "cmma"):
                raise ArgumentError(f"mechanism: {mechanism!r} is unknown to z/VM")
            config.generation = PGSTE_GEN_ZVM
        config.nr_vcpus = integer(vcpus, "vcpus", 1, PGSTE_MAX_VCPUS)
        config.cbrl_entries = integer(cbrl_entries, "cbrl_entries", 1, PGSTE_CBRL_MAX)
        config.nodat = boolean(nodat, "nodat")
        config.strict = boolean(strict, "strict")
        if host is None:
            frames = min(config.nr_pages, PGSTE_MAX_FRAMES)
            home = Host(frames, frames)
        else:
            home = host
        # Only cmma guests may be entered by several vcpus at once (pgste.h, Threads).
        if mechanism == "cmma" and config.nr_vcpus > 1:
            self.claimed = <uint8_t *>calloc(config.nr_vcpus, 1)
            if self.claimed == NULL:
                raise ModelMemoryError(f"vcpus: {vcpus}: {strerror(PGSTE_E_NOMEM)}")
        node = <Node *>calloc(1, sizeof(Node))
        if node == NULL:
            raise ModelMemoryError(f"pages: {pages}: {strerror(PGSTE_E_NOMEM)}")
        try:
            home.begin(0)
        except BaseException:
            free(node)
            raise
        error = pgste_guest_new(home.c, &config, &node.c)
        if error == 0:
            self.nr_pages = config.nr_pages
            self.nr_vcpus = config.nr_vcpus
            self.dat = config.generation == PGSTE_GEN_DAT
            self.nodat = config.nodat
            self.guest_number = pgste_guest_number(node.c)
            self.page_bits = pgste_guest_page_bits(node.c)
            self.host = home
            self.c = node.c
            self.node = node
            self.gate = &home.busy
            node.owner = <PyObject *>self
            node.next = home.nodes
            if home.nodes != NULL:
                home.nodes.prev = node
            home.nodes = node
        home.end(NULL)
        if error < 0:
            free(node)
            raise BY_CODE[error](f"pages: {pages}: {strerror(error)}")
        self.mechanism = mechanism
        self.generation = generation
        self.flavour = flavour

    def __dealloc__(self):
        if self.node != NULL:
            if self.host.busy:
                # A call on another guest is in; it frees this one when it ends.
                self.node.owner = NULL
                self.host.orphans = True
            else:
                free_node(self.host, self.node)
        free(self.claimed)

    def __repr__(self):
        state = "" if self.c != NULL else ", closed"
        return (
            f"<pgste.Guest {self.guest_number}: {self.nr_pages} pages, {self.mechanism},"
            f" {self.generation if self.flavour == 'kvm' else self.flavour}{state}>"
        )

    # ---- the gate

    cdef void detach(self) noexcept:
        """Free the C guest; the caller has the host."""
        free_node(self.host, self.node)
        self.node = NULL
        self.c = NULL
        self.gate = &CLOSED

    cdef PyThreadState *begin(self, uint64_t n) except? NULL:
        """Have the host for one call of about n steps."""
        if self.c == NULL:
            self.raise_closed()
        self.host.lock()
        if self.c == NULL:
            self.host.unlock()
            self.raise_closed()
        return PyEval_SaveThread() if n > KEEP_GIL else NULL

    cdef void end(self, PyThreadState *ts) noexcept:
        if ts != NULL:
            PyEval_RestoreThread(ts)
        self.host.unlock()

    cdef PyThreadState *begin_vcpu(self, uint32_t vcpu, uint64_t n) except? NULL:
        """Have one vcpu for one call of about n steps."""
        cdef Host host = self.host
        if self.claimed == NULL:
            return self.begin(n)
        if self.c == NULL:
            self.raise_closed()
        if host.busy == 0 or (
            host.sharer == <PyObject *>self
            and host.busy != EXCLUSIVE
            and not host.queue
            and not self.claimed[vcpu]
        ):
            host.busy += 1
            host.sharer = <PyObject *>self
            self.claimed[vcpu] = 1
        else:
            host.wait(self, vcpu)
        if self.c == NULL:
            self.release_vcpu(vcpu)
            self.raise_closed()
        return PyEval_SaveThread() if n > KEEP_GIL else NULL

    cdef void end_vcpu(self, uint32_t vcpu, PyThreadState *ts) noexcept:
        if ts != NULL:
            PyEval_RestoreThread(ts)
        if self.claimed == NULL:
            self.host.unlock()
        else:
            self.release_vcpu(vcpu)

    cdef void release_vcpu(self, uint32_t vcpu) noexcept:
        cdef Host host = self.host
        self.claimed[vcpu] = 0
        if host.busy == 1:
            host.unlock()
            return
        host.busy -= 1
        if host.queue:
            host.grant()

    cdef int raise_closed(self) except -1:
        if self.host is not None and self.host.c == NULL:
            raise GuestClosedError("use of a guest after its host is gone")
        raise GuestClosedError("use of a guest that was closed")

    # ---- errors

    cdef int fail(
        self, int error, Gfns gfns, str name, unsigned order=0, uint32_t vcpu=0,
        unsigned orc=0, bint freeing=False
    ) except -1:
        """Raise the exception for an error code, with the element that is at fault."""
        cdef str message = pgste_strerror(error).decode()
        if error == PGSTE_E_GFN:
            message = gfns.outside(self.nr_pages, order, name)
        elif error == PGSTE_E_PGM_ADDRESSING:
            message = f"addressing exception (0x0005): {gfns.outside(self.nr_pages, 0, name)}"
        elif error == PGSTE_E_PGM_OPERATION:
            message = f"operation exception (0x0001): no ESSA with mechanism {self.mechanism!r}"
        elif error == PGSTE_E_PGM_PRIVILEGED:
            message = f"privileged-operation exception (0x0002): vcpu {vcpu} is in problem state"
        elif error == PGSTE_E_PGM_SPECIFICATION:
            most = "7" if self.nodat else "6, and 7 with nodat=True only"
            message = f"specification exception (0x0006): orc {orc} is not in 0 .. {most}"
        elif error == PGSTE_E_STATE:
            message = self.offender(gfns, order, freeing, name)
        elif error == PGSTE_E_NO_FRAME:
            message = f"{message} (the host has {self.host.frames} frames)"
        elif error == PGSTE_E_NO_SWAP:
            message = f"{message} (the host has {self.host.swap_slots})"
        elif gfns is not None and gfns.one:
            message = f"{name}: {gfns.c.first}: {message}"
        elif gfns is not None:
            message = f"{name}: of {gfns.c.nr} pages: {message}"
        raise BY_CODE[error](message)

    cdef int fail_touch(self, int error) except -1:
        """Raise the exception for a load or store that z/VM refuses."""
        cdef object address = <object>pgste_fault_gfn(self.c) << 12
        why = "is unused" if error == PGSTE_E_PGM_ADDRESSING else "was discarded"
        name = "addressing exception" if error == PGSTE_E_PGM_ADDRESSING else "discard fault"
        exception = BY_CODE[error](
            f"{name} ({pgste_pgm_code(error):#06x}): the page at {address:#x} {why}"
        )
        exception.address = address
        raise exception

    cdef str offender(self, Gfns gfns, unsigned order, bint freeing, str name):
        """A sentence on the first page that a strict guest refused to free or allocate."""
        cdef pgste_gfns page
        cdef uint8_t is_free = 0
        cdef uint64_t i, gfn
        cdef set seen = set()
        memset(&page, 0, sizeof(page))
        page.nr = 1
        for i in range(gfns.c.nr):
            gfn = gfns.at(i)
            place = name if gfns.one else f"{name}[{i}]"
            for page.first in range(gfn, gfn + (<uint64_t>1 << order)):
                self.begin(0)
                pgste_get_free(self.c, &page, &is_free)
                self.end(NULL)
                if (is_free != 0) == freeing:
                    state = "free" if freeing else "in use"
                    return f"{place}: page {page.first} is {state} already"
                if page.first in seen:
                    return f"{place}: page {page.first} comes twice"
                seen.add(page.first)
        return f"{name}: {strerror(PGSTE_E_STATE)}"

    cdef uint32_t vcpu_argument(self, object vcpu) except? 0xFFFFFFFF:
        return <uint32_t>integer(vcpu, "vcpu", 0, self.nr_vcpus - 1)

    # ---- attributes

    @property
    def pages(self):
        """Pages in all."""
        return self.nr_pages

    @property
    def vcpus(self):
        """Virtual CPUs."""
        return self.nr_vcpus

    @property
    def number(self):
        """The number under which `Host.frame_info` names this guest."""
        return self.guest_number

    @property
    def bytes_per_page(self):
        """Bytes of the model's memory that one page costs."""
        return self.page_bits / 8

    @property
    def migration_mode(self):
        """Whether every ESSA is interpreted (`kvm_s390_vm_start_migration`).

        Switching it on makes every page attribute-dirty; off clears that in ``pgtable``.
        """
        cdef bint on
        self.begin(0)
        on = pgste_get_migration(self.c)
        self.end(NULL)
        return on

    @migration_mode.setter
    def migration_mode(self, on):
        cdef bint value = boolean(on, "migration_mode")
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        pgste_set_migration(self.c, value)
        self.end(ts)

    def close(self):
        """Give every frame and swap slot back to the host; closing twice does nothing."""
        if self.c == NULL:
            return
        self.host.lock()
        if self.c != NULL:
            self.detach()
        self.host.unlock()

    # ---- ESSA, free, alloc

    def essa(self, orc, gfns, vcpu=0):
        """ESSA on each page in order (`handle_essa`, arch/s390/kvm/priv.c).

        Parameters
        ----------
        orc : int
            Operation request code, an `Orc`.
        gfns : int, range, slice or array of int
            Pages.  In the ``dat`` generation they may lie outside the guest.
        vcpu : int
            The virtual CPU that executes it, and whose CBRL is used.

        Returns
        -------
        ndarray of uint8
            The result byte for each gfn: ``usage << 2 | content`` before the operation, and
            0x20 if NODAT was set; 0x10 alone for a page outside the guest (``dat``).

        Raises
        ------
        ProgramInterruption
            As the machine refuses it; nothing has changed.
        """
        cdef uint64_t code = integer(orc, "orc", 0, UINT64_MAX)
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages, inside=False)
        cdef uint8_t *data = NULL
        cdef PyThreadState *ts
        cdef int error
        results = None
        # No results for a range that is refused: it may be longer than memory.
        if self.dat or pages.array is not None or pages.c.nr <= self.nr_pages:
            results = new_array(pages.c.nr, cnp.NPY_UINT8)
            data = <uint8_t *>cnp.PyArray_DATA(results)
        code = min(code, UINT32_MAX)
        ts = self.begin_vcpu(cpu, pages.c.nr)
        error = pgste_essa(self.c, cpu, <unsigned>code, &pages.c, data)
        self.end_vcpu(cpu, ts)
        if error < 0:
            self.fail(error, pages, "gfns", 0, cpu, <unsigned>code)
        return results

    def essa_page(self, orc, gfn, vcpu=0):
        """ESSA on one page: the result byte as an int; otherwise as `essa`."""
        cdef uint64_t code = 0, page = 0, cpu = 0
        cdef int result
        if (
            self.gate[0] == 0
            and quick_uint64(orc, &code)
            and quick_uint64(gfn, &page)
            and quick_uint64(vcpu, &cpu)
            and cpu < self.nr_vcpus
            and code < PGSTE_NR_ORC
        ):
            result = pgste_essa_page(self.c, <uint32_t>cpu, <unsigned>code, page)
            if result >= 0:
                return result
        if not is_integer(gfn):
            raise ArgumentTypeError(f"gfn: {gfn!r} is not an integer")
        return int(self.essa(orc, gfn, vcpu)[0])

    def free(self, gfns, order=0, vcpu=0):
        """Free blocks of ``2**order`` pages (`arch_free_page`, arch/s390/mm/page-states.c).

        The host is told as the guest's mechanism has it.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            First page of each block.
        order : int
            0 .. 39.
        vcpu : int
            The virtual CPU that executes ESSA.

        Raises
        ------
        GfnError
            A block that passes the end of the guest included; nothing has changed.
        StateError
            Strict guest: a page is free already; nothing has changed.
        """
        return self.block_pages(True, gfns, order, vcpu)

    def alloc(self, gfns, order=0, vcpu=0):
        """Allocate blocks of ``2**order`` pages (`arch_alloc_page`); otherwise as `free`."""
        return self.block_pages(False, gfns, order, vcpu)

    cdef object block_pages(self, bint freeing, object gfns, object order, object vcpu):
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef unsigned block_order = <unsigned>integer(order, "order", 0, PGSTE_MAX_ORDER)
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef int error
        cdef uint64_t steps = min(pages.c.nr, KEEP_GIL + 1) << block_order
        cdef PyThreadState *ts = self.begin_vcpu(cpu, steps)
        if freeing:
            error = pgste_free(self.c, cpu, &pages.c, block_order)
        else:
            error = pgste_alloc(self.c, cpu, &pages.c, block_order)
        self.end_vcpu(cpu, ts)
        if error < 0:
            self.fail(error, pages, "gfns", block_order, cpu, 0, freeing)
        return None

    @cython.binding(False)
    def free_page(self, gfn, /):
        """Free one page on vcpu 0: `free` of one gfn, fast."""
        cdef uint64_t page = 0
        if (
            self.gate[0] == 0
            and quick_uint64(gfn, &page)
            and pgste_free_page(self.c, 0, page) == 0
        ):
            return None
        return self.one_page(True, gfn)

    @cython.binding(False)
    def alloc_page(self, gfn, /):
        """Allocate one page on vcpu 0: `alloc` of one gfn, fast."""
        cdef uint64_t page = 0
        if (
            self.gate[0] == 0
            and quick_uint64(gfn, &page)
            and pgste_alloc_page(self.c, 0, page) == 0
        ):
            return None
        return self.one_page(False, gfn)

    cdef object one_page(self, bint freeing, object gfn):
        """One page with all checks: after waiting, or to raise what is wrong."""
        cdef Gfns page
        cdef int error
        if not is_integer(gfn):
            raise ArgumentTypeError(f"gfn: {gfn!r} is not an integer")
        page = gfns_argument(gfn, self.nr_pages, True, "gfn")
        self.begin_vcpu(0, 0)
        if freeing:
            error = pgste_free_page(self.c, 0, page.c.first)
        else:
            error = pgste_alloc_page(self.c, 0, page.c.first)
        self.end_vcpu(0, NULL)
        if error < 0:
            self.fail(error, page, "gfn", 0, 0, 0, freeing)
        return None

    # ---- content

    def write(self, gfns, tags):
        """Stores by the guest, faulting pages in (`do_anonymous_page`, `do_swap_page`).

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        tags : int or array of int
            Content of each page, or of all: 0 .. 2**32 - 1, where 0 is all zero.

        Raises
        ------
        OutOfFramesError, ForeignPteError, GfnError
        AddressingException, DiscardException
            On z/VM: a page is unused, or volatile and discarded.  Nothing has changed.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        cdef PyThreadState *ts
        cdef int error
        array = values_for(tags, "tags", pages.c.nr, cnp.NPY_UINT32, &step)
        cdef uint32_t *data = <uint32_t *>cnp.PyArray_DATA(array)
        ts = self.begin(pages.c.nr)
        error = pgste_write(self.c, &pages.c, data, step)
        self.end(ts)
        if error < 0:
            if pgste_pgm_code(error):
                self.fail_touch(error)
            self.fail(error, pages, "gfns")

    def read(self, gfns):
        """Loads by the guest, faulting pages in (`do_anonymous_page`, `do_swap_page`).

        Returns
        -------
        ndarray of uint32
            The content of each page, 0 is all zero.

        Raises
        ------
        OutOfFramesError, ForeignPteError, GfnError
        AddressingException, DiscardException
            On z/VM: a page is unused, or volatile and discarded.  Nothing has changed.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        tags = new_array(pages.c.nr, cnp.NPY_UINT32)
        cdef uint32_t *data = <uint32_t *>cnp.PyArray_DATA(tags)
        ts = self.begin(pages.c.nr)
        error = pgste_read(self.c, &pages.c, data)
        self.end(ts)
        if error < 0:
            if pgste_pgm_code(error):
                self.fail_touch(error)
            self.fail(error, pages, "gfns")
        return tags

    def peek(self, gfns):
        """What `read` would give, without the loads: nothing changes.

        Returns
        -------
        ndarray of uint32
            A page whose PTE is foreign gives 0.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        tags = new_array(pages.c.nr, cnp.NPY_UINT32)
        cdef uint32_t *data = <uint32_t *>cnp.PyArray_DATA(tags)
        ts = self.begin(pages.c.nr)
        error = pgste_peek(self.c, &pages.c, data)
        self.end(ts)
        if error < 0:
            self.fail(error, pages, "gfns")
        return tags

    # ---- words and states

    def pgste(self, gfns=None):
        """PGSTEs in the kernel's format (`PgsteBits`); None is every page.

        Returns
        -------
        ndarray of uint64
        """
        return self.words(gfns, False)

    def pte(self, gfns=None):
        """PTEs in the kernel's format (`PteBits`); None is every page.

        Returns
        -------
        ndarray of uint64
        """
        return self.words(gfns, True)

    cdef object words(self, object gfns, bint pte):
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        words = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint64_t *data = <uint64_t *>cnp.PyArray_DATA(words)
        ts = self.begin(pages.c.nr)
        error = pgste_get_words(self.c, &pages.c, NULL if pte else data, data if pte else NULL)
        self.end(ts)
        if error < 0:
            self.fail(error, pages, "gfns")
        return words

    def set_words(self, gfns, pgste=None, pte=None):
        """Load words in the kernel's format; see "Foreign PTEs" in docs/model.md.

        What a PTE that changes held is given back to the host.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        pgste, pte : int or array of int, optional
            A word for each gfn, or one for all, 0 .. 2**64 - 1; None leaves them as they
            are.  PCL in a PGSTE is dropped.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned pgste_step = 0, pte_step = 0
        cdef uint64_t *pgste_data = NULL
        cdef uint64_t *pte_data = NULL
        cdef PyThreadState *ts
        cdef int error
        if pgste is not None:
            pgste = values_for(pgste, "pgste", pages.c.nr, cnp.NPY_UINT64, &pgste_step)
            pgste_data = <uint64_t *>cnp.PyArray_DATA(pgste)
        if pte is not None:
            pte = values_for(pte, "pte", pages.c.nr, cnp.NPY_UINT64, &pte_step)
            pte_data = <uint64_t *>cnp.PyArray_DATA(pte)
        ts = self.begin(pages.c.nr)
        error = pgste_set_words(
            self.c, &pages.c, pgste_data, pgste_step, pte_data, pte_step
        )
        self.end(ts)
        if error < 0:
            self.fail(error, pages, "gfns")

    def states(self, gfns=None):
        """Packed state bytes (`State`); None is every page.

        Returns
        -------
        ndarray of uint8
        """
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        states = new_array(pages.c.nr, cnp.NPY_UINT8)
        cdef uint8_t *data = <uint8_t *>cnp.PyArray_DATA(states)
        ts = self.begin(pages.c.nr)
        error = pgste_get_states(self.c, &pages.c, data)
        self.end(ts)
        if error < 0:
            self.fail(error, pages, "gfns")
        return states

    def is_free(self, gfns=None):
        """Whether the guest's allocator has each page free; None is every page.

        Returns
        -------
        ndarray of bool
        """
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        is_free = new_array(pages.c.nr, cnp.NPY_BOOL)
        cdef uint8_t *data = <uint8_t *>cnp.PyArray_DATA(is_free)
        ts = self.begin(pages.c.nr)
        error = pgste_get_free(self.c, &pages.c, data)
        self.end(ts)
        if error < 0:
            self.fail(error, pages, "gfns")
        return is_free

    # ---- the clock, free page reporting

    @property
    def now_ns(self):
        """The guest's clock in nanoseconds, 0 for a new guest."""
        cdef uint64_t now
        self.begin(0)
        now = pgste_now(self.c)
        self.end(NULL)
        return now

    def advance(self, ns):
        """Let `ns` nanoseconds pass, with what the mechanism does by the clock on the way."""
        cdef uint64_t time = integer(ns, "ns", 0, PGSTE_MAX_NS)
        cdef int error
        cdef PyThreadState *ts = self.begin(UINT64_MAX)
        error = pgste_advance(self.c, time)
        self.end(ts)
        if error < 0:
            raise ArgumentError(f"ns: {ns}: the clock would pass {PGSTE_MAX_NS}")

    cdef int report_failed(self, int error) except -1:
        if error == PGSTE_E_NAME:
            raise UnknownNameError(f"mechanism: {self.mechanism!r} is not 'reporting'")
        if error == PGSTE_E_BUSY:
            raise StateError("settings change before the first free only, and at time 0")
        raise BY_CODE[error](strerror(error))

    def set_reporting(
        self, *, order=None, max_order=None, parked_order=None, parked_high=None,
        parked_batch=None, capacity=None, delay_ns=None, ack_ns=None, min=None, low=None,
        spare=None, poison=None, negotiated=None, inhibited=None,
    ):
        """Change settings of free page reporting; those left None stay (mm/page_reporting.c).

        Only for mechanism ``reporting``, before anything was freed and at time 0.
        docs/model.md section 11 has the defaults.

        Parameters
        ----------
        order : int
            Smallest order of a free block that is reported, 0 .. `max_order`.
        max_order : int
            Largest order of a block in the buddy allocator, 0 .. 39.
        parked_order, parked_high, parked_batch : int
            Blocks up to this order are parked on the vcpu that frees them; at this many
            pages, the oldest `parked_batch` (1 or more) leave for the buddy.
        capacity : int
            Blocks in one call, 1 .. 32.
        delay_ns, ack_ns : int
            From a request to its pass, and what a call takes, in nanoseconds.
        min, low : int
            Watermarks of the zone, in pages.
        spare : int
            Free pages of the zone that the view does not show; they count for watermarks.
        poison : {"none", "init_on_free", "page_poison"}
            What the guest does to free pages.
        negotiated : bool
            The device has PAGE_POISON.
        inhibited : bool
            The host acks reports and does not discard.

        Raises
        ------
        UnknownNameError
            The guest has another mechanism, or `poison` is not known.
        StateError
            Too late.
        """
        cdef pgste_report_state state
        cdef int error
        self.begin(0)
        error = pgste_report_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        cdef pgste_report_config *to = &state.config
        if max_order is not None:
            to.max_order = <uint32_t>integer(max_order, "max_order", 0, PGSTE_MAX_ORDER)
        if order is not None:
            to.order = <uint32_t>integer(order, "order", 0, to.max_order)
        if parked_order is not None:
            to.parked_order = <uint32_t>integer(parked_order, "parked_order", 0, to.max_order)
        if to.order > to.max_order or to.parked_order > to.max_order:
            raise ArgumentError(
                f"max_order: {to.max_order} is less than order {to.order} or"
                f" parked_order {to.parked_order}"
            )
        if parked_high is not None:
            to.parked_high = integer(parked_high, "parked_high", 0, PGSTE_MAX_PAGES)
        if parked_batch is not None:
            to.parked_batch = <uint32_t>integer(parked_batch, "parked_batch", 1, UINT32_MAX)
        if capacity is not None:
            to.capacity = <uint32_t>integer(capacity, "capacity", 1, PGSTE_REPORT_CAPACITY)
        if delay_ns is not None:
            to.delay_ns = integer(delay_ns, "delay_ns", 0, PGSTE_MAX_NS)
        if ack_ns is not None:
            to.ack_ns = integer(ack_ns, "ack_ns", 0, PGSTE_MAX_NS)
        if min is not None:
            to.min = integer(min, "min", 0, PGSTE_MAX_PAGES)
        if low is not None:
            to.low = integer(low, "low", 0, PGSTE_MAX_PAGES)
        if spare is not None:
            to.spare = integer(spare, "spare", 0, PGSTE_MAX_PAGES)
        if poison is not None:
            to.poison = <pgste_poison>choice(poison, "poison", POISONS)
        if negotiated is not None:
            to.negotiated = boolean(negotiated, "negotiated")
        if inhibited is not None:
            to.inhibited = boolean(inhibited, "inhibited")
        self.begin(0)
        error = pgste_report_configure(self.c, to)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)

    def reporting(self):
        """Settings and state of free page reporting.

        Returns
        -------
        dict
            Every setting of `set_reporting`, and: "status" ("off", "idle", "requested" or
            "active"), "due_ns" (when the worker runs next, or None), "pages_free",
            "pages_parked", "pages_isolated", "blocks_isolated", "passes", "passes_skipped"
            (for want of free memory), "blocks_reported".
        """
        cdef pgste_report_state state
        cdef int error
        self.begin(0)
        error = pgste_report_get_state(self.c, &state)
        self.end(NULL)
        if error < 0:
            self.report_failed(error)
        return {
            "order": state.config.order,
            "max_order": state.config.max_order,
            "parked_order": state.config.parked_order,
            "parked_high": state.config.parked_high,
            "parked_batch": state.config.parked_batch,
            "capacity": state.config.capacity,
            "delay_ns": state.config.delay_ns,
            "ack_ns": state.config.ack_ns,
            "min": state.config.min,
            "low": state.config.low,
            "spare": state.config.spare,
            "poison": POISONS[<int>state.config.poison],
            "negotiated": bool(state.config.negotiated),
            "inhibited": bool(state.config.inhibited),
            "status": REPORT_STATUSES[<int>state.status],
            "due_ns": None if state.due_ns == UINT64_MAX else state.due_ns,
            "pages_free": state.pages_free,
            "pages_parked": state.pages_parked,
            "pages_isolated": state.pages_isolated,
            "blocks_isolated": state.blocks_isolated,
            "passes": state.passes,
            "passes_skipped": state.passes_skipped,
            "blocks_reported": state.blocks_reported,
        }

    def free_blocks(self, order):
        """Free blocks of one order in the buddy view of mechanism ``reporting``.

        Returns
        -------
        list of (int, int, bool)
            First gfn, order, whether it is Reported; head of the list first.
        """
        cdef unsigned o = <unsigned>integer(order, "order", 0, PGSTE_MAX_ORDER)
        return self.blocks(0, o)

    def parked_blocks(self, vcpu=0):
        """Blocks parked on a vcpu's list, oldest first, as `free_blocks` gives them."""
        return self.blocks(1, self.vcpu_argument(vcpu))

    def isolated_blocks(self):
        """Blocks in the report call under way, in order of isolation, as `free_blocks`."""
        return self.blocks(2, 0)

    cdef int64_t copy_blocks(self, int which, uint32_t i, pgste_block *to, uint64_t most) noexcept:
        if which == 0:
            return pgste_report_free_list(self.c, i, to, most)
        if which == 1:
            return pgste_report_parked(self.c, i, to, most)
        return pgste_report_isolated(self.c, to, most)

    cdef list blocks(self, int which, uint32_t i):
        cdef pgste_block *found = NULL
        cdef uint64_t room = 0
        cdef int64_t nr, k
        self.begin(0)
        nr = self.copy_blocks(which, i, NULL, 0)
        if nr > 0:
            room = nr
            found = <pgste_block *>malloc(room * sizeof(pgste_block))
            if found == NULL:
                nr = PGSTE_E_NOMEM
            else:
                self.copy_blocks(which, i, found, room)
        self.end(NULL)
        try:
            if nr < 0:
                self.report_failed(<int>nr)
            return [(found[k].gfn, found[k].order, bool(found[k].reported)) for k in range(nr)]
        finally:
            free(found)

    # ---- CBRL, zap, scans

    def cbrl(self, vcpu=0):
        """Pending entries of a vcpu's collaborative buffer list, in order.

        Returns
        -------
        ndarray of uint64
            gfns.
        """
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef uint64_t entries[PGSTE_CBRL_MAX]
        cdef int64_t nr
        self.begin(0)
        nr = pgste_cbrl(self.c, cpu, entries)
        self.end(NULL)
        if nr < 0:
            self.fail(<int>nr, None, "vcpu")
        gfns = new_array(nr, cnp.NPY_UINT64)
        memcpy(cnp.PyArray_DATA(gfns), entries, nr * sizeof(uint64_t))
        return gfns

    def intercept(self, vcpu=0):
        """Process a vcpu's CBRL now and reset it (`handle_essa`, `gmap_zap_unused`).

        Returns
        -------
        int
            Pages zapped.
        """
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef int64_t zapped
        self.begin(0)
        zapped = pgste_intercept(self.c, cpu)
        self.end(NULL)
        if zapped < 0:
            self.fail(<int>zapped, None, "vcpu")
        return zapped

    def zap(self, gfn):
        """Zap one page if it is swapped out and unused or zero (`ptep_zap_unused`).

        Returns
        -------
        bool
            Whether it was zapped.
        """
        cdef Gfns page
        cdef int64_t zapped
        if not is_integer(gfn):
            raise ArgumentTypeError(f"gfn: {gfn!r} is not an integer")
        page = gfns_argument(gfn, self.nr_pages, True, "gfn")
        self.begin(0)
        zapped = pgste_zap(self.c, page.c.first)
        self.end(NULL)
        if zapped < 0:
            self.fail(<int>zapped, page, "gfn")
        return zapped != 0

    def zap_scan(self, threads=1):
        """`zap` of every page, in ascending order.

        Parameters
        ----------
        threads : int
            How many threads may look for the pages, 1 .. 64; the result is the same.

        Returns
        -------
        int
            Pages zapped.
        """
        cdef unsigned nr_threads = threads_argument(threads)
        cdef int64_t zapped
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        zapped = pgste_zap_scan(self.c, nr_threads)
        self.end(ts)
        if zapped < 0:
            self.fail(<int>zapped, None, "")
        return zapped

    def count_zappable(self, threads=1):
        """Pages that `zap_scan` would zap now; `threads` as there."""
        cdef unsigned nr_threads = threads_argument(threads)
        cdef uint64_t zappable
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        zappable = pgste_count_zappable(self.c, nr_threads)
        self.end(ts)
        return zappable

    def count_states(self, threads=1):
        """Pages in each state.

        Parameters
        ----------
        threads : int
            How many threads may count, 1 .. 64; the result is the same.

        Returns
        -------
        dict
            For each usage ("stable", "unused", "pot_volatile", "volatile") a dict of
            "resident", "preserved" and "zero", the content as ESSA tells it; these add up to
            all pages.  And over all of them: "nodat", "dirty" (attribute-dirty), "swap" (the
            PTE is a swap entry), "zappable".
        """
        cdef unsigned nr_threads = threads_argument(threads)
        cdef pgste_state_counts counts
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        pgste_count_states(self.c, nr_threads, &counts)
        self.end(ts)
        states = {
            usage: {content: counts.pages[i][j] for j, content in enumerate(CONTENTS)}
            for i, usage in enumerate(USAGES)
        }
        return {
            **states,
            "nodat": counts.nodat,
            "dirty": counts.dirty,
            "swap": counts.swap,
            "zappable": counts.zappable,
        }

    def find(self, mask, value, start=0, limit=None, threads=1):
        """Pages whose packed state byte has the bits `value` under `mask`.

        Parameters
        ----------
        mask, value : int
            Bits of `State`; `value` has none outside `mask`.
        start : int
            First gfn to look at, 0 .. pages.
        limit : int, optional
            At most so many; default all.
        threads : int
            How many threads may search, 1 .. 64; the result is the same.

        Returns
        -------
        ndarray of uint64
            gfns, ascending.
        """
        cdef uint8_t bits = <uint8_t>integer(mask, "mask", 0, 255)
        cdef uint8_t wanted = <uint8_t>integer(value, "value", 0, 255)
        cdef uint64_t at = integer(start, "start", 0, self.nr_pages)
        cdef unsigned nr_threads = threads_argument(threads)
        cdef uint64_t most = self.nr_pages
        cdef uint64_t nr = 0, room = 0
        cdef uint64_t *found = NULL
        cdef uint64_t *larger
        cdef int64_t more = 0
        cdef PyThreadState *ts
        if wanted & ~bits:
            raise ArgumentError(f"value: {wanted:#x} has bits outside the mask {bits:#x}")
        if limit is not None:
            most = min(most, integer(limit, "limit", 0, UINT64_MAX))
        ts = self.begin(self.nr_pages)
        # No array is made in here: a finalizer that ran then could want this host.
        while nr < most and at < self.nr_pages:
            # threads search the whole table at once, and need room for all of it
            room = most if nr_threads > 1 else min(most, max(room * 4, <uint64_t>4096))
            larger = <uint64_t *>realloc(found, room * sizeof(uint64_t))
            if larger == NULL:
                more = PGSTE_E_NOMEM
                break
            found = larger
            more = pgste_find(
                self.c, nr_threads, at, bits, wanted, found + nr, room - nr
            )
            if more < 0:
                break
            nr += more
            if nr < room:
                break
            at = found[nr - 1] + 1
        self.end(ts)
        try:
            if more < 0:
                self.fail(<int>more, None, "mask")
            gfns = new_array(nr, cnp.NPY_UINT64)
            if nr:
                memcpy(cnp.PyArray_DATA(gfns), found, nr * sizeof(uint64_t))
            return gfns
        finally:
            free(found)

    def set_changed(self, gfns, on):
        """Set the change bit of the guest's storage keys (GC), as SSKE does.

        On z/VM stores set it, and a potentially volatile page that has it is written to the
        paging device instead of being discarded; the guest clears it once it has written the
        page to where it comes from.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        on : bool
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef bint value = boolean(on, "on")
        cdef PyThreadState *ts = self.begin(pages.c.nr)
        cdef int error = pgste_set_changed(self.c, &pages.c, value)
        self.end(ts)
        if error < 0:
            self.fail(error, pages, "gfns")

    def reset_cmma(self):
        """Usage stable and NODAT off for every page (`KVM_S390_VM_MEM_CLR_CMMA`).

        ZERO stays, nothing is zapped, lists stay.
        """
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        pgste_reset_cmma(self.c)
        self.end(ts)

    def set_problem_state(self, vcpu, on):
        """Put a vcpu into problem state, where ESSA is a privileged-operation exception."""
        cdef uint32_t cpu = self.vcpu_argument(vcpu)
        cdef bint value = boolean(on, "on")
        cdef int error
        self.begin(0)
        error = pgste_set_problem_state(self.c, cpu, value)
        self.end(NULL)
        if error < 0:
            self.fail(error, None, "vcpu")

    def stats(self):
        """Counts of events since the guest was made or `reset_stats`.

        Returns
        -------
        dict of str to int
            The names are those of `struct pgste_guest_stats`, see docs/model.md.
        """
        cdef pgste_guest_stats stats
        self.begin(0)
        pgste_guest_get_stats(self.c, &stats)
        self.end(NULL)
        return with_names(GUEST_STATS, &stats)

    def reset_stats(self):
        """Zero the counts of `stats`."""
        self.begin(0)
        pgste_guest_reset_stats(self.c)
        self.end(NULL)


# ---- replay ----------------------------------------------------------------------------


cdef class Replay:
    """Events of a page allocator, replayed through guests of one host (docs/model.md, 9).

    Making one does the setup: pages whose first event is a free are written, the others that
    occur are freed, and all counters are reset.

    Parameters
    ----------
    guests : Guest or sequence of Guest
        Different guests of one host; each event goes to each of them in turn.
    events : ndarray of uint64
        The whole trace, one word an event: kind (0 alloc, 1 free) in bits 0-1, order in bits
        2-7, pfn from bit 8.  It is not copied if it is contiguous and of native byte order,
        and must then not change while the replay is used.
    times : array of int, optional
        Time of each event in nanoseconds.
    base_pfn : int
        The pfn that is gfn 0.

    Raises
    ------
    ArgumentError
        Which event is no event, or lies outside the guests; nothing has changed.
    OutOfFramesError
        The guests are as far as the setup went.
    """

    def __init__(self, guests, events, times=None, base_pfn=0):
        cdef uint64_t base = integer(base_pfn, "base_pfn", 0, UINT64_MAX)
        cdef unsigned step = 0
        cdef pgste_guest **all_guests
        cdef const uint64_t *event_data
        cdef const uint64_t *time_data = NULL
        cdef uint64_t nr
        cdef Py_ssize_t i
        cdef int error
        cdef PyThreadState *ts
        if self.c != NULL:
            raise ArgumentError("guests: this replay exists already, it cannot be made again")
        self.guests = checked_guests(guests)
        self.host = (<Guest>self.guests[0]).host
        events = integer_array(events, "events", UINT64_MAX)
        nr = events.shape[0]
        self.event_array = values_for(events, "events", nr, cnp.NPY_UINT64, &step)
        event_data = <const uint64_t *>cnp.PyArray_DATA(self.event_array)
        if times is not None:
            times = integer_array(times, "times", UINT64_MAX)
            if <uint64_t>times.shape[0] != nr:
                raise ArgumentError(f"times: {times.shape[0]} times for {nr} events")
            self.time_array = values_for(times, "times", nr, cnp.NPY_UINT64, &step)
            time_data = <const uint64_t *>cnp.PyArray_DATA(self.time_array)
        all_guests = <pgste_guest **>malloc(len(self.guests) * sizeof(pgste_guest *))
        if all_guests == NULL:
            raise ModelMemoryError(f"guests: {strerror(PGSTE_E_NOMEM)}")
        try:
            self.begin()
            for i in range(len(self.guests)):
                all_guests[i] = (<Guest>self.guests[i]).c
            ts = PyEval_SaveThread()
            error = pgste_replay_new(
                all_guests, <unsigned>len(self.guests), base, event_data, time_data, nr, &self.c
            )
            PyEval_RestoreThread(ts)
            self.host.unlock()
        finally:
            free(all_guests)
        if error == PGSTE_E_ARG:
            raise ArgumentError(wrong_event(self.event_array, self.guests, base_pfn))
        if error < 0:
            raise BY_CODE[error](f"events: during the setup: {strerror(error)}")

    def __dealloc__(self):
        pgste_replay_free(self.c)

    cdef int begin(self) except -1:
        """Have the host; every guest is alive until it is unlocked."""
        cdef Guest guest
        self.host.lock()
        for guest in self.guests:
            if guest.c == NULL:
                self.host.unlock()
                guest.raise_closed()
        return 0

    def run(self, n=None):
        """Replay the next `n` events, or as many as are left; None is all that are left.

        Returns
        -------
        int
            Events replayed; 0 at the end.

        Raises
        ------
        OutOfFramesError
            The events before `position` are done, the one there is not.
        """
        cdef uint64_t most = UINT64_MAX if n is None else integer(n, "n", 0, UINT64_MAX)
        cdef PyThreadState *ts
        cdef int64_t done
        if self.c == NULL:
            raise ArgumentError("a replay that was never made cannot run")
        most = min(most, <uint64_t>INT64_MAX)
        self.begin()
        ts = PyEval_SaveThread()
        done = pgste_replay_run(self.c, most)
        PyEval_RestoreThread(ts)
        self.host.unlock()
        if done < 0:
            raise BY_CODE[done](f"events[{self.position}]: {strerror(<int>done)}")
        return done

    @property
    def position(self):
        """Index of the next event."""
        cdef uint64_t position = 0
        if self.c != NULL:
            self.host.lock()
            position = pgste_replay_position(self.c)
            self.host.unlock()
        return position

    def stats(self):
        """What happened so far, over all guests.

        Returns
        -------
        dict
            Counts (int) as named in `struct pgste_replay_stats`, and ``frame_seconds`` and
            ``swap_seconds`` (float): frames and swap slots in use, integrated over the time
            of the trace, of which ``seconds`` (float) have passed.
        """
        cdef pgste_replay_stats stats
        memset(&stats, 0, sizeof(stats))
        if self.c != NULL:
            self.host.lock()
            pgste_replay_get_stats(self.c, &stats)
            self.host.unlock()
        return {
            **with_names(REPLAY_STATS, &stats),
            "frame_seconds": stats.frame_seconds,
            "swap_seconds": stats.swap_seconds,
            "seconds": stats.seconds,
        }


cdef tuple checked_guests(object value):
    """The guests of a replay: at least one, all different, all of one host."""
    cdef Py_ssize_t i
    if isinstance(value, Guest):
        value = (value,)
    if not isinstance(value, Sequence):
        raise ArgumentTypeError(f"guests: {value!r} is neither a Guest nor a sequence of guests")
    value = tuple(value)
    if not value:
        raise ArgumentError("guests: none, at least one is needed")
    for i, guest in enumerate(value):
        if not isinstance(guest, Guest):
            raise ArgumentTypeError(f"guests[{i}]: {guest!r} is not a Guest")
        if guest.host is None:
            (<Guest>guest).raise_closed()
        if guest.host is not value[0].host:
            raise ArgumentError(f"guests[{i}]: {guest!r} has another host than the first guest")
        if any(guest is other for other in value[:i]):
            raise ArgumentError(f"guests[{i}]: {guest!r} is there twice")
    return value


cdef str wrong_event(cnp.ndarray events, tuple guests, object base_pfn):
    """A sentence on the first word that is no event or lies outside a guest."""
    cdef const uint64_t *words = <const uint64_t *>cnp.PyArray_DATA(events)
    cdef uint64_t base = base_pfn
    cdef uint64_t pages = min(guest.pages for guest in guests)
    cdef uint64_t pfn, i
    cdef unsigned kind, order
    for i in range(<uint64_t>events.shape[0]):
        kind = PGSTE_EVENT_KIND(words[i])
        order = PGSTE_EVENT_ORDER(words[i])
        pfn = PGSTE_EVENT_PFN(words[i])
        if kind > PGSTE_EVENT_FREE:
            return f"events[{i}]: kind {kind} is neither 0 (alloc) nor 1 (free)"
        if order > PGSTE_MAX_ORDER:
            return f"events[{i}]: order {order} is not in 0 .. {PGSTE_MAX_ORDER}"
        if pfn < base or pfn - base >= pages or pages - (pfn - base) < <uint64_t>1 << order:
            return (
                f"events[{i}]: the block of 2**{order} pages at pfn {pfn} is not inside the"
                f" {pages} pages from base_pfn {base}"
            )
    return f"events: {strerror(PGSTE_E_ARG)}"

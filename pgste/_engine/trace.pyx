# SPDX-License-Identifier: MIT
"""Bindings of src_c/trace_*.c: text decoder, ring-buffer pages, summary of a trace."""

cimport cython
cimport pgste._engine._numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from pgste._engine._c cimport (
    PGSTE_E_ARG,
    PGSTE_E_NOMEM,
    PGSTE_LIMIT_BYTES,
    PGSTE_LIMIT_PAGES,
    PGSTE_MIN_EVENT_LINE,
    PGSTE_OK,
    pgste_decode_stats,
    pgste_decode_stats_name,
    pgste_decoder,
    pgste_decoder_error,
    pgste_decoder_feed,
    pgste_decoder_format,
    pgste_decoder_free,
    pgste_decoder_get_stats,
    pgste_decoder_new,
    pgste_ring_decode,
    pgste_ring_format,
    pgste_trace_dense,
    pgste_trace_limits,
    pgste_trace_share,
    pgste_trace_summarize_within,
    pgste_trace_summary,
    pgste_trace_summary_name,
)
from pgste._engine.arguments cimport plain_array
from pgste._engine.names cimport names_of, with_names
from pgste._engine.watch cimport PyThreadState, watch_begin, watch_end, watch_raise

import numpy as np

from pgste.errors import ChangedError, TraceError

cdef tuple DECODE_STATS = names_of(pgste_decode_stats_name)
cdef tuple SUMMARY = names_of(pgste_trace_summary_name)
cdef tuple FORMATS = (None, "ftrace", "trace-cmd", "perf")


cdef inline uint64_t *words(cnp.ndarray array):
    return <uint64_t *>cnp.array_data(array)


@cython.final
cdef class _Bytes:
    """The bytes of an object that has some, held as long as this lives; BufferError, TypeError."""

    cdef Py_buffer view
    cdef bint held
    cdef const unsigned char *data
    cdef size_t nr

    def __cinit__(self, value):
        PyObject_GetBuffer(value, &self.view, PyBUF_SIMPLE)
        self.held = True
        self.data, self.nr = <const unsigned char *>self.view.buf, self.view.len

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef class TextDecoder:
    """Streaming decoder of ftrace, perf script and trace-cmd report text (pgste_decoder)."""

    cdef pgste_decoder *_decoder

    def __cinit__(self):
        if pgste_decoder_new(&self._decoder) != PGSTE_OK:
            raise MemoryError

    def __dealloc__(self):
        pgste_decoder_free(self._decoder)

    @property
    def format(self):
        """"ftrace", "trace-cmd", "perf", or None as long as nothing tells."""
        return FORMATS[<int>pgste_decoder_format(self._decoder)]

    @property
    def counters(self):
        """Counters so far, by the names of struct pgste_decode_stats."""
        cdef pgste_decode_stats stats
        pgste_decoder_get_stats(self._decoder, &stats)
        return with_names(DECODE_STATS, &stats)

    def feed(self, data, bint end=False):
        """Decode all whole lines of ``data``; ``end`` says that no more will come.

        Returns (events, times, used): two uint64 arrays (packed events; ns) and the number of
        bytes taken.  The bytes from ``used`` on start the next call's data.
        Raises TraceError with the number and the reason of a damaged line.
        """
        cdef _Bytes text = _Bytes(data)
        cdef size_t used = 0
        cdef uint64_t room = text.nr // PGSTE_MIN_EVENT_LINE + 1, line = 0
        cdef int64_t nr
        cdef PyThreadState *ts
        cdef cnp.ndarray events = np.empty(room, np.uint64)
        cdef cnp.ndarray times = np.empty(room, np.uint64)
        ts = watch_begin(NULL)
        nr = pgste_decoder_feed(self._decoder, <const char *>text.data, text.nr, end, words(events),
                                words(times), room, &used)
        if watch_end(ts):
            watch_raise()
        if nr < 0:
            reason = pgste_decoder_error(self._decoder, &line)
            raise TraceError(reason.decode(), line=line)
        return events[:nr].copy(), times[:nr].copy(), used


cdef class RingDecoder:
    """Decoder of ring-buffer pages (pgste_ring_decode).

    ``layout`` has an int for each field of struct pgste_ring_format (pgste.traces.dat.ring_layout
    makes it); ValueError for one that is missing or makes no sense.
    """

    cdef pgste_ring_format _format
    cdef pgste_decode_stats _stats
    cdef cnp.ndarray _events, _times
    cdef readonly uint32_t page_bytes

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(self, layout):
        self._format = layout
        self.page_bytes = self._format.page_bytes
        if self.page_bytes > 1 << 27:
            raise ValueError(f"page_bytes: {self.page_bytes} is above 2^27")
        self._events = np.empty(self.page_bytes // 8 + 1, np.uint64)
        self._times = np.empty(self.page_bytes // 8 + 1, np.uint64)

    @property
    def counters(self):
        """Counters of all pages so far, by the names of struct pgste_decode_stats."""
        return with_names(DECODE_STATS, &self._stats)

    def decode(self, pages):
        """Decode whole pages, in order: (events, times), two uint64 arrays.

        ``pages`` has a multiple of page_bytes bytes (ValueError).  Times are those of the trace
        clock.  TraceError with the byte offset within ``pages`` of a damaged record.
        """
        cdef _Bytes ring = _Bytes(pages)
        cdef size_t nr_pages, i, offset = 0
        cdef int64_t nr = 0
        cdef uint64_t *events = words(self._events)
        cdef uint64_t *times = words(self._times)
        cdef uint64_t room = <uint64_t>cnp.array_dim(self._events, 0)
        if self.page_bytes == 0 or ring.nr % self.page_bytes:
            raise ValueError(f"pages: {ring.nr} bytes are no multiple of {self.page_bytes}")
        nr_pages = ring.nr // self.page_bytes
        all_events = []
        all_times = []
        for i in range(nr_pages):
            PyErr_CheckSignals()  # Ctrl-C
            with nogil:
                nr = pgste_ring_decode(&self._format, ring.data + i * self.page_bytes, events,
                                       times, room, &self._stats, &offset)
            if nr == PGSTE_E_ARG:
                raise ValueError(f"layout: {self._format} makes no sense")
            if nr < 0:
                raise TraceError("damaged ring-buffer page",
                                 offset=i * self.page_bytes + offset)
            all_events.append(self._events[:nr].copy())
            all_times.append(self._times[:nr].copy())
        if not all_events:
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        return np.concatenate(all_events), np.concatenate(all_times)


def summarize(events, uint64_t most_pages, uint64_t most_bytes, in_use=None):
    """Figures of packed events (pgste_trace_summarize_within), by the names of its struct; "pages"
    or "bytes" if it would take more than these.

    ``alloc_orders`` and ``free_orders`` are dicts {order: events}, without zeros.  ``in_use``, a
    uint64 array as long as the events, gets how many pages more are in use after each than before
    the first, as int64.
    ValueError for an event that is none; MemoryError.
    """
    cdef pgste_trace_summary summary
    cdef pgste_trace_limits most
    cdef cnp.ndarray array = plain_array(events, "events", sizeof(uint64_t))
    cdef uint64_t nr = <uint64_t>cnp.array_dim(array, 0)
    cdef const uint64_t *first = words(array)
    cdef cnp.ndarray room
    cdef int64_t *after = NULL
    cdef unsigned i = 0
    cdef int error
    most.pages, most.bytes = most_pages, most_bytes
    if in_use is not None:
        room = plain_array(in_use, "in_use", sizeof(int64_t))
        if <uint64_t>cnp.array_dim(room, 0) != nr:
            raise ValueError(f"in_use: {len(in_use)} numbers for {nr} events")
        after = <int64_t *>cnp.array_data(room)
    cdef PyThreadState *ts = watch_begin(NULL)
    error = pgste_trace_summarize_within(first, nr, &most, &summary, after)
    if watch_end(ts):
        watch_raise()
    if error == PGSTE_LIMIT_PAGES:
        return "pages"
    if error == PGSTE_LIMIT_BYTES:
        return "bytes"
    if error == PGSTE_E_NOMEM:
        raise MemoryError("the pages of the trace need more than half of this machine's memory")
    if error:
        raise ValueError("events: kind above 1, order above 39 or block above pfn 2^56")
    result = with_names(SUMMARY, &summary)
    result["alloc_orders"] = {i: summary.alloc_orders[i] for i in range(64)
                              if summary.alloc_orders[i]}
    result["free_orders"] = {i: summary.free_orders[i] for i in range(64)
                             if summary.free_orders[i]}
    return result


def dense(events, accesses, uint64_t base, uint64_t pages):
    """Events and accesses without pages that no event names, and how many pages there are then.

    pgste_trace_dense in trace.h says which stay.  The arrays are new.
    All of them are of the ``pages`` from pfn ``base`` on: ChangedError if not; MemoryError.
    """
    cdef cnp.ndarray array = plain_array(events, "events", sizeof(uint64_t))
    cdef cnp.ndarray touches = plain_array(accesses, "accesses", sizeof(uint64_t))
    cdef cnp.ndarray new_events = np.empty(len(array), np.uint64)
    cdef cnp.ndarray new_touches = np.empty(len(touches), np.uint64)
    cdef uint64_t left = 0
    cdef int error
    cdef PyThreadState *ts = watch_begin(NULL)
    error = pgste_trace_dense(words(array), <uint64_t>len(array), words(touches),
                              <uint64_t>len(touches), base, pages, words(new_events),
                              words(new_touches), &left)
    if watch_end(ts):
        watch_raise()
    if error == PGSTE_E_NOMEM:
        raise MemoryError("a bit for each page of the trace")
    if error:
        raise ChangedError("trace: its events were changed by another thread or program")
    return new_events, new_touches, left


def share_of(events, uint64_t share):
    """Events of a share (of 2^32) of the pages, page by page: (events of order 0, places).

    pgste_trace_share in trace.h says which; a place is how many events of the trace come before.
    ValueError for an event that is none, or a share; ChangedError.
    """
    cdef cnp.ndarray array = plain_array(events, "events", sizeof(uint64_t))
    cdef cnp.ndarray pages = np.empty(0, np.uint64)
    cdef cnp.ndarray places = np.empty(0, np.uint64)
    cdef uint64_t room = 0
    cdef int64_t nr
    cdef int turn
    cdef PyThreadState *ts
    for turn in range(2):  # first how many there are
        ts = watch_begin(NULL)
        nr = pgste_trace_share(words(array), <uint64_t>len(array), share, words(pages),
                               words(places), room)
        if watch_end(ts):
            watch_raise()
        if nr < 0:
            raise ValueError("events: one that is none, or a share that is not in 1 .. 2^32")
        if turn == 0:
            room = nr
            pages, places = np.empty(room, np.uint64), np.empty(room, np.uint64)
    if <uint64_t>nr != room:
        raise ChangedError("trace: its events were changed by another thread or program")
    return pages, places

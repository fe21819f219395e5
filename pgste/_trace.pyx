# SPDX-License-Identifier: MIT
"""Bindings of src_c/trace_*.c: text decoder, ring-buffer pages, summary of a trace."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import numpy as np

from pgste.errors import TraceError

cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "pgste.h" nogil:
    int PGSTE_OK
    int PGSTE_E_NOMEM
    int PGSTE_E_ARG
    unsigned PGSTE_MIN_EVENT_LINE

    struct pgste_decode_stats:
        uint64_t lines
    const char *pgste_decode_stats_name(unsigned i)

    struct pgste_decoder:
        pass
    enum pgste_text_format:
        pass
    int pgste_decoder_new(pgste_decoder **decoder)
    void pgste_decoder_free(pgste_decoder *decoder)
    int64_t pgste_decoder_feed(pgste_decoder *decoder, const char *bytes, size_t nr_bytes,
                               c_bool end, uint64_t *events, uint64_t *times_ns,
                               uint64_t max, size_t *used)
    pgste_text_format pgste_decoder_format(const pgste_decoder *decoder)
    void pgste_decoder_get_stats(const pgste_decoder *decoder, pgste_decode_stats *stats)
    const char *pgste_decoder_error(const pgste_decoder *decoder, uint64_t *line)

    struct pgste_ring_format:
        int32_t id_alloc, id_free, id_free_batched
        uint32_t common_type_offset, common_type_bytes
        uint32_t alloc_pfn_offset, alloc_pfn_bytes, alloc_order_offset, alloc_order_bytes
        uint32_t free_pfn_offset, free_pfn_bytes, free_order_offset, free_order_bytes
        uint32_t page_bytes, commit_offset, commit_bytes, data_offset
        c_bool big_endian
    int64_t pgste_ring_decode(const pgste_ring_format *format, const void *page,
                              uint64_t *events, uint64_t *times_ns, uint64_t max,
                              pgste_decode_stats *stats, size_t *error_offset)

    struct pgste_trace_summary:
        uint64_t alloc_events
        uint64_t *alloc_orders
        uint64_t *free_orders
    const char *pgste_trace_summary_name(unsigned i)
    int pgste_trace_summarize(const uint64_t *events, uint64_t nr,
                              pgste_trace_summary *summary)

_FORMATS = (None, "ftrace", "trace-cmd", "perf")


cdef dict _decode_stats(const pgste_decode_stats *stats):
    """The struct has uint64 fields only, in the order of the names."""
    cdef const uint64_t *field = <const uint64_t *>stats
    cdef unsigned i = 0
    result = {}
    while pgste_decode_stats_name(i) != NULL:
        result[pgste_decode_stats_name(i).decode()] = field[i]
        i += 1
    return result


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
        return _FORMATS[<int>pgste_decoder_format(self._decoder)]

    @property
    def counters(self):
        """Counters so far, by the names of struct pgste_decode_stats."""
        cdef pgste_decode_stats stats
        pgste_decoder_get_stats(self._decoder, &stats)
        return _decode_stats(&stats)

    def feed(self, const unsigned char[::1] data not None, bint end=False):
        """Decode all whole lines of ``data``; ``end`` says that no more will come.

        Returns (events, times, used): two uint64 arrays (packed events; ns) and the number of
        bytes taken.  The bytes from ``used`` on start the next call's data.
        Raises TraceError with the number and the reason of a damaged line.
        """
        cdef size_t nr_bytes = data.shape[0], used = 0
        cdef uint64_t room = nr_bytes // PGSTE_MIN_EVENT_LINE + 1, line = 0
        cdef int64_t nr
        events = np.empty(room, np.uint64)
        times = np.empty(room, np.uint64)
        cdef uint64_t[::1] events_view = events, times_view = times
        cdef const char *bytes = <const char *>&data[0] if nr_bytes else NULL
        with nogil:
            nr = pgste_decoder_feed(self._decoder, bytes, nr_bytes, end, &events_view[0],
                                    &times_view[0], room, &used)
        if nr < 0:
            reason = pgste_decoder_error(self._decoder, &line)
            raise TraceError(reason.decode(), line=line)
        return events[:nr].copy(), times[:nr].copy(), used


cdef class RingDecoder:
    """Decoder of ring-buffer pages (pgste_ring_decode).

    ``layout`` has an int for each field of struct pgste_ring_format (pgste.trace_dat.ring_layout
    makes it); ValueError for one that is missing or makes no sense.
    """

    cdef pgste_ring_format _format
    cdef pgste_decode_stats _stats
    cdef object _events, _times
    cdef readonly uint32_t page_bytes

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
        return _decode_stats(&self._stats)

    def decode(self, const unsigned char[::1] pages not None):
        """Decode whole pages, in order: (events, times), two uint64 arrays.

        ``pages`` has a multiple of page_bytes bytes (ValueError).  Times are those of the trace
        clock.  TraceError with the byte offset within ``pages`` of a damaged record.
        """
        cdef size_t nr_pages, i, offset = 0
        cdef int64_t nr = 0
        cdef uint64_t[::1] events = self._events, times = self._times
        if self.page_bytes == 0 or pages.shape[0] % self.page_bytes:
            raise ValueError(
                f"pages: {pages.shape[0]} bytes are no multiple of {self.page_bytes}"
            )
        nr_pages = pages.shape[0] // self.page_bytes
        all_events = []
        all_times = []
        for i in range(nr_pages):
            with nogil:
                nr = pgste_ring_decode(&self._format, &pages[i * self.page_bytes], &events[0],
                                       &times[0], events.shape[0], &self._stats, &offset)
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


def summarize(const uint64_t[::1] events not None):
    """Figures of packed events (pgste_trace_summarize), by the names of its struct.

    ``alloc_orders`` and ``free_orders`` are dicts {order: events}, without zeros.
    ValueError for an event that is none; MemoryError.
    """
    cdef pgste_trace_summary summary
    cdef const uint64_t *field = <const uint64_t *>&summary
    cdef uint64_t nr = events.shape[0]
    cdef const uint64_t *first = &events[0] if nr else NULL
    cdef unsigned i = 0
    cdef int error
    with nogil:
        error = pgste_trace_summarize(first, nr, &summary)
    if error == PGSTE_E_NOMEM:
        raise MemoryError("the pages of the trace need more than half of this machine's memory")
    if error:
        raise ValueError("events: kind above 1, order above 39 or block above pfn 2^56")
    result = {}
    while pgste_trace_summary_name(i) != NULL:
        result[pgste_trace_summary_name(i).decode()] = field[i]
        i += 1
    result["alloc_orders"] = {i: summary.alloc_orders[i] for i in range(64)
                              if summary.alloc_orders[i]}
    result["free_orders"] = {i: summary.free_orders[i] for i in range(64)
                             if summary.free_orders[i]}
    return result

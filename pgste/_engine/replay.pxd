# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint64_t

from pgste._engine._c cimport pgste_replay, pgste_replay_sample, pgste_replay_stops
from pgste._engine.unit cimport Unit
from pgste._engine.watch cimport PyThreadState


cdef class Replay:
    cdef pgste_replay *c
    cdef readonly tuple guests
    cdef readonly Unit host
    cdef object event_array
    cdef object time_array
    cdef object access_array
    cdef object place_array

    cdef int begin(self) except -1
    cdef int take_accesses(self, object accesses, object places, uint64_t base) except -1
    cdef object go_on(self, uint64_t most, bint by_time, uint64_t ns)
    cdef uint64_t go_to(self, pgste_replay_stops *stops, pgste_replay_sample *samples) except? 0
    cdef PyThreadState *set_out(self, uint64_t *slice) except NULL
    cdef int arrive(self, PyThreadState *ts, int64_t error) except -1
    cdef int raise_ended(self, uint64_t position) except -1

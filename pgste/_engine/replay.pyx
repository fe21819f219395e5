# SPDX-License-Identifier: MIT
"""`Replay`: events of a page allocator, through guests of one host."""

cimport cython
cimport pgste._engine._numpy as cnp
from cpython.ref cimport PyObject
from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pgste._engine._c cimport (
    PGSTE_ACCESS_LOAD,
    PGSTE_E_ARG,
    PGSTE_E_NOMEM,
    PGSTE_EVENT_FREE,
    PGSTE_EVENT_KIND,
    PGSTE_EVENT_ORDER,
    PGSTE_EVENT_PFN,
    PGSTE_MAX_ORDER,
    pgste_guest,
    pgste_replay_free,
    pgste_replay_get_stats,
    pgste_replay_new,
    pgste_replay_position,
    pgste_replay_run,
    pgste_replay_run_stops,
    pgste_replay_run_until,
    pgste_replay_sample,
    pgste_replay_set_accesses,
    pgste_replay_stats,
    pgste_replay_stats_name,
    pgste_replay_stops,
)
from pgste._engine.arguments cimport as_array, boolean, integer, integer_array, values_for
from pgste._engine.guest cimport Guest
from pgste._engine.names cimport names_of, shown, strerror, with_names
from pgste._engine.unit cimport PyThreadState
from pgste._engine.watch cimport watch_begin, watch_end, watch_goes_on, watch_raise

from collections.abc import Sequence

import numpy as np

from pgste.errors import BY_CODE, ArgumentError, ArgumentTypeError, ModelMemoryError

cdef tuple STATS = names_of(pgste_replay_stats_name)
cdef tuple SAMPLE = ("events", "frames", "swap_slots", "pages_allocated", "pages_freed")

cdef enum:
    SLICE = 1024  # events of all guests between two looks for signals


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
    accesses : ndarray of uint64, optional
        What the guests do with their pages beside the first store after an alloc: one word an
        access, kind 2 (load) or 3 (store), order 0, pfn.  Those of free pages are left out.
    places : ndarray of uint64
        For each access how many events come before it, ascending.

    Attributes
    ----------
    guests : tuple of Guest
    host : Host

    Raises
    ------
    ArgumentError
        Which event is no event, lies outside the guests, or has a page outside every memory slot
        of one; nothing has changed.
    OutOfFramesError
        The guests are as far as the setup went.
    """

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(self, guests, events, times=None, base_pfn=0, accesses=None, places=None):
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
        event_data = <const uint64_t *>cnp.array_data(self.event_array)
        if times is not None:
            times = integer_array(times, "times", UINT64_MAX)
            if <uint64_t>times.shape[0] != nr:
                raise ArgumentError(f"times: {times.shape[0]} times for {nr} events")
            self.time_array = values_for(times, "times", nr, cnp.NPY_UINT64, &step)
            time_data = <const uint64_t *>cnp.array_data(self.time_array)
        self.take_accesses(accesses, places, base)
        all_guests = <pgste_guest **>malloc(len(self.guests) * sizeof(pgste_guest *))
        if all_guests == NULL:
            raise ModelMemoryError(f"guests: {strerror(PGSTE_E_NOMEM)}")
        try:
            self.begin()
            for i in range(len(self.guests)):
                all_guests[i] = (<Guest>self.guests[i]).c
            ts = watch_begin(<PyObject *>self.host)
            error = pgste_replay_new(
                all_guests, <unsigned>len(self.guests), base, event_data, time_data, nr, &self.c
            )
            self.host.end(ts)
        finally:
            free(all_guests)
        if error == PGSTE_E_ARG:
            raise ArgumentError(wrong_event(self.event_array, self.guests, base))
        if error < 0:
            raise BY_CODE[error](f"events: during the setup: {strerror(error)}")
        if self.access_array is not None:
            self.begin()
            error = pgste_replay_set_accesses(
                self.c,
                <const uint64_t *>cnp.array_data(self.access_array),
                <const uint64_t *>cnp.array_data(self.place_array),
                <uint64_t>cnp.array_dim(self.access_array, 0),
            )
            self.host.unlock()
            if error < 0:  # changed since they were looked at
                raise ArgumentError(f"accesses: {strerror(error)}")

    cdef int take_accesses(self, object accesses, object places, uint64_t base) except -1:
        """Keep the accesses, once they have been checked; nothing has changed yet."""
        cdef unsigned step = 0
        cdef uint64_t nr
        cdef str wrong
        if (accesses is None) != (places is None):
            raise ArgumentError("accesses and places: one without the other")
        if accesses is None:
            return 0
        accesses = integer_array(accesses, "accesses", UINT64_MAX)
        places = integer_array(places, "places", UINT64_MAX)
        nr = accesses.shape[0]
        if <uint64_t>places.shape[0] != nr:
            raise ArgumentError(f"places: {places.shape[0]} places for {nr} accesses")
        self.access_array = values_for(accesses, "accesses", nr, cnp.NPY_UINT64, &step)
        self.place_array = values_for(places, "places", nr, cnp.NPY_UINT64, &step)
        wrong = wrong_access(
            self.access_array, self.place_array, cnp.array_dim(self.event_array, 0), self.guests, base
        )
        if wrong is not None:
            raise ArgumentError(wrong)
        return 0

    def __dealloc__(self):
        pgste_replay_free(self.c)

    cdef int begin(self) except -1:
        """Hold the host; every guest is alive until it is released."""
        cdef Guest guest
        self.host.lock()
        for guest in self.guests:
            if guest.c == NULL:
                self.host.unlock()
                guest.raise_closed()
        return 0

    def run(self, n=None):
        """Replay the next `n` events, or as many as are left; None is all that are left.

        Where it stops before the end, ``madv_dontneed`` and ``madv_free`` may hold the last run of
        frees back, to join it with the next: the pages are free, and the host was not yet
        advised.  A call that changes the guest, and `Host.reclaim`, has it advised first.  A call
        that only looks does not, so looking changes nothing.

        Returns
        -------
        int
            Events replayed; 0 at the end.

        Raises
        ------
        OutOfFramesError
            The events before `position` are done, the one there is not.
        GfnError
            The same: the event there has a page whose memory slot was taken away.
        KeyboardInterrupt
            The events before `position` are done, and `run` goes on from there.
        """
        return self.go_on(UINT64_MAX if n is None else integer(n, "n", 0, UINT64_MAX), False, 0)

    def run_until(self, ns):
        """Replay what happens up to time `ns` of the trace, events at that time included.

        What a mechanism does by the clock between two events is done as far as `ns`. (`run` lets
        all time pass up to the next event.)  The time of a trace begins with its first event and
        ends with its last.  Where `ns` has passed already, nothing happens.

        Parameters
        ----------
        ns : int
            In nanoseconds, as in `times`.

        Returns
        -------
        int
            Events replayed.

        Raises
        ------
        ArgumentError
            The replay has no times, or `ns` is out of range.
        OutOfFramesError, GfnError, KeyboardInterrupt
            As for `run`; after the last, `run_until` goes on from there.
        """
        cdef uint64_t until = integer(ns, "ns", 0, UINT64_MAX)
        if self.c != NULL and self.time_array is None:
            raise ArgumentError(f"ns: {until} is no time of a replay that was made without times")
        return self.go_on(UINT64_MAX, True, until)

    cdef object go_on(self, uint64_t most, bint by_time, uint64_t ns):
        """At most so many events, by_time: up to this time.  Signals are heard on the way."""
        cdef uint64_t slice, part, done = 0
        cdef PyThreadState *ts = self.set_out(&slice)
        cdef int64_t nr = 0
        most = min(most, <uint64_t>INT64_MAX)
        while True:
            part = min(slice, most - done)
            if by_time:
                nr = pgste_replay_run_until(self.c, ns, part)
            else:
                nr = pgste_replay_run(self.c, part)
            if nr <= 0:
                break
            done += nr
            if (<uint64_t>nr < part and by_time) or done >= most or not watch_goes_on():
                break
        self.arrive(ts, nr)
        return done

    def run_samples(self, at, flush=None, *, events=False):
        """Replay up to each of these moments in turn, and tell what memory is in use there.

        It does what `run_until`, `Host.flush_stats` and looks at counters do, but takes the GIL
        for none of them.  A moment that has passed already is looked at once more.

        Parameters
        ----------
        at : array of int
            Times in nanoseconds as for `run_until`, ascending.
        flush : array of bool, optional
            For each moment, whether `Host.flush_stats` is called there.
        events : bool
            `at` are numbers of events done instead, of a replay that may have no times.

        Returns
        -------
        dict
            Arrays of uint64 with an element for each moment: ``events`` done, ``frames`` and
            ``swap_slots`` in use, and ``pages_allocated`` and ``pages_freed`` by the first guest.
            They are shorter if the replay failed on the way: the next call raises why.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            Nothing was replayed.
        OutOfFramesError, GfnError
            As for `run`, before the first of the moments.
        KeyboardInterrupt
            As for `run`, whatever was looked at.
        """
        cdef pgste_replay_stops stops
        cdef unsigned step = 0
        cdef cnp.ndarray samples
        cdef uint64_t done
        cdef object times, flushes
        stops.by_time = not boolean(events, "events")
        if self.c != NULL and stops.by_time and self.time_array is None:
            raise ArgumentError("at: times, of a replay that was made without times")
        times = integer_array(at, "at", UINT64_MAX)
        stops.nr = times.shape[0]
        times = values_for(times, "at", stops.nr, cnp.NPY_UINT64, &step).copy()  # what is checked
        if (times[1:] < times[:-1]).any():
            raise ArgumentError("at: the moments do not ascend")
        stops.at = <const uint64_t *>cnp.array_data(times)
        stops.flush = NULL
        if flush is not None:
            flushes = as_array(flush, "flush")
            if flushes.dtype != np.bool_ or flushes.shape != times.shape:
                raise ArgumentError(
                    f"flush: {shown(flush)} is not an array of {stops.nr} bools, one for each moment"
                )
            flushes = flushes.copy()
            stops.flush = <const uint8_t *>cnp.array_data(flushes)
        samples = np.empty((len(SAMPLE), stops.nr + 1), np.uint64, order="F")
        done = self.go_to(&stops, <pgste_replay_sample *>cnp.array_data(samples))
        return {name: samples[i, :done].copy() for i, name in enumerate(SAMPLE)}

    cdef uint64_t go_to(self, pgste_replay_stops *stops, pgste_replay_sample *samples) except? 0:
        """From stop to stop; how many are reached.  Signals are heard on the way."""
        cdef uint64_t slice, next_stop = 0
        cdef PyThreadState *ts = self.set_out(&slice)
        cdef int64_t nr = 0
        while True:
            nr = pgste_replay_run_stops(self.c, stops, &next_stop, samples, slice)
            if nr < 0 or next_stop == stops.nr or not watch_goes_on():
                break
        self.arrive(ts, nr if next_stop == 0 else 0)
        return next_stop

    cdef PyThreadState *set_out(self, uint64_t *slice) except NULL:
        """Begin a long call, which `arrive` ends; slice: events between two looks for signals."""
        if self.c == NULL:
            raise ArgumentError("a replay that was never made cannot run")
        slice[0] = max(SLICE // <uint64_t>len(self.guests), <uint64_t>1)
        self.begin()
        return watch_begin(<PyObject *>self.host)

    cdef int arrive(self, PyThreadState *ts, int64_t error) except -1:
        """End the call; raise what a signal did, or the error, if it is below 0."""
        cdef uint64_t position = pgste_replay_position(self.c)
        cdef bint ended = watch_end(ts)
        self.host.unlock()
        if ended:
            self.raise_ended(position)
        if error < 0:
            raise BY_CODE[error](f"events[{position}]: {strerror(<int>error)}")
        return 0

    cdef int raise_ended(self, uint64_t position) except -1:
        try:
            watch_raise()
        except BaseException as error:
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(
                    f"the replay stands at event {position} of {len(self.event_array)},"
                    " from where run() and the like go on"
                )
            raise

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
            **with_names(STATS, &stats),
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
        raise ArgumentTypeError(f"guests: {shown(value)} is neither a Guest nor a sequence of guests")
    try:
        value = tuple(value)
    except (TypeError, ValueError, NotImplementedError, MemoryError) as error:
        raise ArgumentTypeError(f"guests: {shown(value)} is not a sequence of guests") from error
    if not value:
        raise ArgumentError("guests: none, at least one is needed")
    for i, guest in enumerate(value):
        if not isinstance(guest, Guest):
            raise ArgumentTypeError(f"guests[{i}]: {shown(guest)} is not a Guest")
        if guest.host is None:
            (<Guest>guest).raise_closed()
        if guest.host is not value[0].host:
            raise ArgumentError(f"guests[{i}]: {shown(guest)} has another host than the first guest")
        if guest in value[:i]:
            raise ArgumentError(f"guests[{i}]: {shown(guest)} is given twice")
    return value


cdef str wrong_event(cnp.ndarray events, tuple guests, uint64_t base):
    """A sentence on the first word that is no event or lies outside a guest."""
    cdef const uint64_t *words = <const uint64_t *>cnp.array_data(events)
    cdef uint64_t pages = min([guest.pages for guest in guests])
    cdef uint64_t pfn, i
    cdef unsigned kind, order
    for i in range(<uint64_t>cnp.array_dim(events, 0)):
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
        for guest in guests:
            if outside(guest.slots.values(), pfn - base, <uint64_t>1 << order):
                return (
                    f"events[{i}]: the block of 2**{order} pages at pfn {pfn}, gfn {pfn - base},"
                    f" has a page outside every memory slot of {shown(guest)}"
                )
    return f"events: {strerror(PGSTE_E_ARG)}"


cdef str wrong_access(
    cnp.ndarray accesses, cnp.ndarray places, uint64_t events, tuple guests, uint64_t base
):
    """A sentence on the first access or place that is wrong; None if all are right."""
    cdef const uint64_t *words = <const uint64_t *>cnp.array_data(accesses)
    cdef const uint64_t *at = <const uint64_t *>cnp.array_data(places)
    cdef uint64_t pages = min([guest.pages for guest in guests])
    cdef uint64_t pfn, i, before = 0
    cdef bint holes = any([
        sum([slot.pages for slot in guest.slots.values()]) != guest.pages for guest in guests
    ])
    for i in range(<uint64_t>cnp.array_dim(accesses, 0)):
        pfn = PGSTE_EVENT_PFN(words[i])
        if PGSTE_EVENT_KIND(words[i]) < PGSTE_ACCESS_LOAD or PGSTE_EVENT_ORDER(words[i]):
            return f"accesses[{i}]: {words[i]:#x} is not a load (2) or store (3) of one page"
        if pfn < base or pfn - base >= pages:
            return f"accesses[{i}]: pfn {pfn} is not inside the {pages} pages from base_pfn {base}"
        if at[i] > events:
            return f"places[{i}]: {at[i]} is more than the {events} events"
        if at[i] < before:
            return f"places[{i}]: {at[i]} is before {before}, the place above it"
        before = at[i]
        if holes:
            for guest in guests:
                if outside(guest.slots.values(), pfn - base, 1):
                    return f"accesses[{i}]: pfn {pfn} is outside every memory slot of {shown(guest)}"
    return None


cdef bint outside(object slots, uint64_t gfn, uint64_t pages):
    """Whether a page of a block is in none of these slots, which ascend."""
    cdef uint64_t end = gfn + pages
    for slot in slots:
        if slot.base <= gfn < slot.base + slot.pages:
            gfn = slot.base + slot.pages
    return gfn < end

# SPDX-License-Identifier: MIT
"""Long calls without the GIL: they look for signals, and for a `Stop` of their thread.

The core asks every few thousand steps whether a call goes on (pgste_set_watch).  The main
thread then takes the GIL a few times a second, and lets Python run the handlers of signals that
have come; if one raises, as Ctrl-C does, the call ends early and raises that.  A thread that
makes its calls in `reporting` has a function of its own called at the same moments.

Some calls rest: when others wait for the unit, they go out between two parts and stand in the
queue again (`Unit.rest`).
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t

from pgste._engine._c cimport PGSTE_E_CANCELLED, bool_t, pgste_set_watch, pgste_watch
from pgste._engine.names cimport strerror

import _thread
import os
import threading

from pgste.errors import CancelledError, ModelMemoryError


cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>

    /* The call that a thread is in, without the GIL. */
    struct watched {
        PyThreadState *ts;
        PyObject *unit;  /* borrowed: the call has it */
        const int *waiting;  /* how many wait for the unit; NULL: this call does not rest */
        PyObject *member;  /* of a call that rests: its guest, borrowed, or NULL */
        uint8_t *claim;  /* and its claim, or NULL */
        int out;  /* it went out and is not in again */
        PyObject *type, *value, *traceback;  /* what a handler raised */
        struct watched *outer;  /* the call that a handler runs in the middle of */
        double next_look;
        int ended;
    };
    typedef struct watched watched;
    static _Thread_local struct watched watched_call;
    static _Thread_local const int *watched_stop;
    static _Thread_local PyObject *watched_report;  /* borrowed: `reporting` has it */
    static unsigned long main_thread;

    static struct watched *watched_now(void) { return &watched_call; }
    static const int **stop_now(void) { return &watched_stop; }
    static PyObject **report_now(void) { return &watched_report; }
    static int stops(void)
    {
        return watched_stop && __atomic_load_n(watched_stop, __ATOMIC_RELAXED);
    }
    static int some_wait(const int *waiting)
    {
        return waiting && __atomic_load_n(waiting, __ATOMIC_RELAXED);
    }
    static void stop_set(int *stopped) { __atomic_store_n(stopped, 1, __ATOMIC_RELAXED); }
    static double seconds(void)
    {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }
    """
    ctypedef struct watched:
        PyThreadState *ts
        PyObject *unit
        const int *waiting
        PyObject *member
        uint8_t *claim
        bint out
        PyObject *type
        PyObject *value
        PyObject *traceback
        watched *outer
        double next_look
        bint ended

    unsigned long main_thread
    watched *watched_now() noexcept nogil
    const int **stop_now() noexcept nogil
    PyObject **report_now() noexcept nogil
    bint stops() noexcept nogil
    bint some_wait(const int *waiting) noexcept nogil
    void stop_set(int *stopped) noexcept nogil
    double seconds() noexcept nogil


cdef extern from "Python.h" nogil:
    PyThreadState *PyEval_SaveThread() noexcept
    void PyEval_RestoreThread(PyThreadState *ts) noexcept
    int PyErr_CheckSignals() noexcept
    void PyErr_Fetch(PyObject **type, PyObject **value, PyObject **traceback) noexcept
    void PyErr_Restore(PyObject *type, PyObject *value, PyObject *traceback) noexcept
    unsigned long PyThread_get_thread_ident() noexcept
    PyObject *PyObject_CallNoArgs(PyObject *function) noexcept
    void Py_XDECREF(PyObject *any) noexcept


# Seconds between two looks for signals: the GIL is taken so rarely that it costs nothing, and
# Ctrl-C seems to be instant.
cdef double LOOK = 0.05
# Seconds that a thread which was started is waited for when there is nothing left to do.
cdef double LATE = 1.0


cdef int call_report() noexcept nogil:
    """What `reporting` was given, with the GIL held; -1: it raised.  It may make long calls."""
    cdef PyObject *report = report_now()[0]
    cdef PyObject *result
    if report == NULL:
        return 0
    report_now()[0] = NULL
    result = PyObject_CallNoArgs(report)
    report_now()[0] = report
    if result == NULL:
        return -1
    Py_XDECREF(result)
    return 0


# How a call rests; set by the module that knows units.
cdef rest_function resting = NULL


cdef void watch_rests_by(rest_function function) noexcept:
    global resting
    resting = function


cdef void look(watched *call, bint rests) noexcept nogil:
    """Run the handlers of signals that have come, or rest; both may make calls of their own."""
    cdef watched outer = call[0]
    cdef PyObject *unit = outer.unit
    cdef const pgste_watch *asked = pgste_set_watch(NULL)
    call.outer = &outer
    PyEval_RestoreThread(outer.ts)
    if rests:
        outer.unit = NULL  # it is not in the middle of its own call while it waits to be in again
        outer.out = resting(unit, outer.member, outer.claim) < 0
        outer.unit = unit
    if outer.out or PyErr_CheckSignals() < 0 or call_report() < 0:
        PyErr_Fetch(&outer.type, &outer.value, &outer.traceback)
        outer.ended = True
    outer.ts = PyEval_SaveThread()
    outer.next_look = seconds() + LOOK
    call[0] = outer
    pgste_set_watch(asked)


cdef bint watch_goes_on() noexcept nogil:
    """Whether the call that this thread is in goes on."""
    cdef watched *call = watched_now()
    if not call.ended:
        if stops():
            call.ended = True
        elif seconds() >= call.next_look and (
            report_now()[0] != NULL or PyThread_get_thread_ident() == main_thread
        ):
            look(call, False)
    return not call.ended


cdef bool_t go_on(void *data) noexcept nogil:
    return watch_goes_on()


cdef bool_t rest(void *data) noexcept nogil:
    cdef watched *call = watched_now()
    if some_wait(call.waiting):
        look(call, True)
    return not call.ended


cdef pgste_watch WATCH
WATCH.go_on = go_on
WATCH.data = NULL
WATCH.rest = rest


cdef PyThreadState *watch_begin(PyObject *unit) noexcept:
    """Let go of the GIL for a long call, of a unit or NULL."""
    return watch_begin_resting(unit, NULL, NULL, NULL)


cdef PyThreadState *watch_begin_resting(
    PyObject *unit, const int *waiting, PyObject *member, uint8_t *claim
) noexcept:
    """The same for a call that rests when others wait."""
    cdef watched *call = watched_now()
    call.unit = unit
    call.waiting = waiting
    call.member = member
    call.claim = claim
    call.out = False
    call.ended = False
    call.type = NULL
    call.next_look = seconds() + LOOK
    pgste_set_watch(&WATCH)
    call.ts = PyEval_SaveThread()
    return call.ts


cdef bint watch_end(PyThreadState *ts) noexcept:
    """Take the GIL back; True: the call ended early, and watch_raise() is due."""
    cdef watched *call = watched_now()
    pgste_set_watch(NULL)
    PyEval_RestoreThread(ts)
    call.unit = NULL
    return call.ended


cdef bint watch_is_out() noexcept:
    """Whether the call that ended just now went out of its unit to rest, and did not come back."""
    return watched_now().out


cdef int watch_raise() except -1:
    """Raise what ended the call."""
    cdef watched *call = watched_now()
    call.ended = False
    if call.type == NULL:
        raise CancelledError(strerror(PGSTE_E_CANCELLED))
    PyErr_Restore(call.type, call.value, call.traceback)
    call.type = NULL
    return -1


cdef bint watch_interrupts(PyObject *unit) noexcept:
    """Whether this thread runs a signal handler in the middle of a call of this unit."""
    cdef watched *call = watched_now().outer
    while call != NULL:
        if call.unit == unit:
            return True
        call = call.outer
    return False


cdef class Stop:
    """Ends the calls of several threads: those that they make in `run`."""

    def set(self):
        """End the calls of all threads, now and later, with `CancelledError`."""
        stop_set(&self.stopped)

    def is_set(self):
        return self.stopped != 0

    def run(self, call, /, *args, **kwargs):
        """Make a call that `set` ends, whatever calls of this package it makes."""
        cdef const int *before = stop_now()[0]
        if self.stopped:
            raise CancelledError(strerror(PGSTE_E_CANCELLED))
        stop_now()[0] = &self.stopped
        try:
            return call(*args, **kwargs)
        finally:
            stop_now()[0] = before


def reporting(report, call, /):
    """Make a call, and have `report` called some twenty times a second meanwhile.

    It is called by this thread, in the middle of a long call; what it raises ends that call.
    """
    cdef PyObject *before = report_now()[0]
    report_now()[0] = <PyObject *>report
    try:
        return call()
    finally:
        report_now()[0] = before


cdef class Team:
    """A call for each of some items, by the threads that are there.

    Threads of `threading` are not used: when memory is short, one that cannot begin is waited
    for without end (`Thread.start`).  Here nobody waits for a thread to begin.  Each takes the
    next item until there is none, so one that never comes is not missed.
    """

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(self, call, list items not None):
        self.call = call
        self.items = items
        self.results = [None] * len(items)
        self.stop = Stop()
        self.ended = _thread.allocate_lock()
        self.ended.acquire()

    def start(self):
        """One thread more; False: this machine has none to give."""
        self.running += 1
        try:
            _thread.start_new_thread(self._run, ())
        except (RuntimeError, MemoryError):
            self.running -= 1
            return False
        return True

    def _run(self):
        """Of a new thread; whatever happens, it is counted as ended."""
        try:
            self.work()
        finally:
            self.running -= 1
            if self.running == 0 and self.ended.locked():
                self.ended.release()

    def work(self):
        """Take items until there are no more.  The first failure ends the calls of all."""
        cdef Py_ssize_t at
        cdef bint done
        while self.next < len(self.items) and not self.failed:
            at = self.next
            self.next += 1
            self.busy += 1
            done = False
            try:
                self.results[at] = self.stop.run(self.call, self.items[at])
                done = True
            except BaseException as error:
                self.fail(error)
            finally:
                self.busy -= 1
                if not done:  # also where there was no memory to say what it was
                    self.failed = True
                    self.stop.set()

    def fail(self, error):
        """End the calls of all threads; `finish` raises the first error."""
        self.failed = True
        self.stop.set()
        if self.error is None:
            self.error = error

    def wait(self, seconds):
        """Until the threads that were started have ended, or so long; whether they have.

        It asks now and then instead of relying on a message that may need memory.  A thread
        that has not begun a while after all is done never will, or finds nothing to do.
        """
        if self.running and self.late < LATE:
            self.ended.acquire(timeout=seconds)
        if self.busy == 0:
            self.late += seconds
        return self.running == 0 or (self.busy == 0 and self.late >= LATE)

    def finish(self):
        """The results in the order of the items, or what failed first."""
        if self.error is not None:
            raise self.error
        if self.failed:
            raise ModelMemoryError("a thread had no memory left")
        return self.results


cdef class Progress:
    """How far a search is: states searched, and states found; to be read while it runs."""


def _remember_the_main_thread():
    global main_thread
    main_thread = threading.main_thread().ident


_remember_the_main_thread()
os.register_at_fork(after_in_child=_remember_the_main_thread)

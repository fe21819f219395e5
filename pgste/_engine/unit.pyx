# SPDX-License-Identifier: MIT
"""A C host and its C guests as one unit, which one call at a time may use.

Calls wait their turn in order.  Calls of one guest that bring a claim each, a byte of a vcpu,
may be in together as long as their claims differ.  A long call that rests goes out between two
parts when others wait, and stands at the end of the queue: nobody waits longer than the calls
before him take that do not rest, and a part of each that does.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free

from pgste._engine._c cimport pgste_guest_free, pgste_host_free
from pgste._engine.watch cimport (
    watch_begin,
    watch_begin_resting,
    watch_end,
    watch_interrupts,
    watch_is_out,
    watch_raise,
)

import os
from _thread import allocate_lock, get_ident

from pgste.errors import GuestClosedError, HostBusyError

cdef enum:
    EXCLUSIVE = -1

# After a fork only the thread that forked is there.  A call of another one is never going to
# end in the child, and has left its unit half changed.
cdef unsigned forks_so_far = 0


def _forked():
    global forks_so_far
    forks_so_far += 1


os.register_at_fork(after_in_child=_forked)


@cython.final
cdef class Waiter:
    """A call that waits for its turn."""

    cdef object lock  # held until the turn has come
    cdef object sharer  # the guest that the claim is of
    cdef uint8_t *claim  # NULL: to be alone
    cdef bint granted


cdef class Unit:
    """A C host and its C guests; only a call whose turn it is may use any of them."""

    def __cinit__(self, *args, **kwargs):
        self.queue = []
        self.threads = set()

    def __dealloc__(self):
        # Guests keep their unit, so that none is left but those that could not be freed
        # while somebody was in.  Tables that are half changed cannot be walked: a unit that was
        # lost in a fork keeps its memory.
        if self.busy:
            return
        self.sweep()
        pgste_host_free(self.c)

    # ---- calls

    cdef PyThreadState *begin(self, uint64_t n) except? NULL:
        """Hold the unit for one call of about n steps."""
        self.lock()
        if self.c == NULL:
            self.unlock()
            self.raise_closed()
        return watch_begin(<PyObject *>self) if n > KEEP_GIL else NULL

    cdef PyThreadState *begin_resting(self, uint64_t n) except? NULL:
        """The same for a call that lets others go first between two parts."""
        self.begin(0)
        if n <= KEEP_GIL:
            return NULL
        return watch_begin_resting(<PyObject *>self, &self.waiting, NULL, NULL)

    cdef int end(self, PyThreadState *ts) except -1:
        """Raises what ended the call early, such as KeyboardInterrupt."""
        cdef bint ended = ts != NULL and watch_end(ts)
        if not (ended and watch_is_out()):
            self.unlock()
        return watch_raise() if ended else 0

    cdef int rest(self, object sharer, uint8_t *claim) except -1:
        """Go out, and in again after those who wait; after an exception the call is out."""
        if claim == NULL:
            self.unlock()
            self.lock()
        else:
            self.leave(claim)
            self.enter(sharer, claim)
        return 0

    cdef int raise_closed(self) except -1:
        raise GuestClosedError("use of a host that was closed")

    # ---- turns

    cdef bint lost(self) noexcept:
        """Whether a thread was in that is not in this process."""
        return self.busy != 0 and self.forks != forks_so_far

    cdef int raise_lost(self) except -1:
        raise GuestClosedError(
            "use of a host that was in use by another thread when this process was forked"
        )

    cdef int lock(self) except -1:
        """Be in alone."""
        if self.busy == 0:
            self.busy = EXCLUSIVE
            self.forks = forks_so_far
            return 0
        return self.wait(None, NULL)

    cdef void unlock(self) noexcept:
        self.busy = 0
        if self.forks != forks_so_far:  # a signal handler forked: those who waited stayed behind
            self.queue.clear()
            self.threads.clear()
            self.waiting = 0
        if self.orphans:
            self.sweep()
        if self.queue:
            self.grant()

    cdef int enter(self, object sharer, uint8_t *claim) except -1:
        """Be in, maybe beside other calls of `sharer`."""
        if not self.queue and not self.lost() and self.fits(sharer, claim):
            self.admit(sharer, claim)
            return 0
        return self.wait(sharer, claim)

    cdef void leave(self, uint8_t *claim) noexcept:
        claim[0] = 0
        if self.busy == 1:
            self.unlock()
            return
        self.busy -= 1
        if self.queue:
            self.grant()

    cdef bint fits(self, object sharer, uint8_t *claim) noexcept:
        """Whether a call may be in with those who are."""
        if self.busy == 0:
            return True
        return (
            claim != NULL
            and self.sharer == <PyObject *>sharer
            and self.busy != EXCLUSIVE
            and not claim[0]
        )

    cdef void admit(self, object sharer, uint8_t *claim) noexcept:
        self.forks = forks_so_far
        if claim == NULL:
            self.busy = EXCLUSIVE
            return
        self.busy += 1
        self.sharer = <PyObject *>sharer
        claim[0] = 1

    cdef int wait(self, object sharer, uint8_t *claim) except -1:
        """Stand in the queue; the turn is handed over by the call that ends."""
        cdef Waiter waiter
        cdef unsigned forks = forks_so_far
        thread = get_ident()
        # A turn that comes while a handler waits for another one is a turn that never ends.
        if watch_interrupts(<PyObject *>self) or thread in self.threads:
            raise HostBusyError("use of a host in a signal handler, in the middle of a call of it")
        if self.lost():
            self.raise_lost()
        waiter = Waiter.__new__(Waiter)
        waiter.sharer = sharer
        waiter.claim = claim
        waiter.lock = allocate_lock()
        waiter.lock.acquire()
        self.threads.add(thread)
        self.queue.append(waiter)
        self.waiting += 1
        self.grant()  # the allocations above may have let others finish
        try:
            # not for ever: a handler of a signal may fork, and then nobody hands the turn over
            while not waiter.lock.acquire(True, 1.0):
                if forks != forks_so_far:
                    self.raise_lost()
        except BaseException:  # Ctrl-C, with or without the turn
            if not waiter.granted:
                if waiter in self.queue:
                    self.queue.remove(waiter)
                    self.waiting -= 1
                self.grant()
            elif claim == NULL:
                self.unlock()
            else:
                self.leave(claim)
            raise
        finally:
            self.threads.discard(thread)
        return 0

    cdef void grant(self) noexcept:
        """Let in those at the head of the queue who fit with those who are in."""
        cdef Waiter waiter
        while self.queue:
            waiter = self.queue[0]
            if not self.fits(waiter.sharer, waiter.claim):
                return
            self.admit(waiter.sharer, waiter.claim)
            del self.queue[0]
            self.waiting -= 1
            waiter.granted = True
            waiter.lock.release()

    # ---- guests; the caller is in alone

    cdef void add(self, Node *node) noexcept:
        node.next = self.nodes
        if self.nodes != NULL:
            self.nodes.prev = node
        self.nodes = node

    cdef void remove(self, Node *node) noexcept:
        """Free a C guest and its node."""
        pgste_guest_free(node.c)
        if node.prev != NULL:
            node.prev.next = node.next
        else:
            self.nodes = node.next
        if node.next != NULL:
            node.next.prev = node.prev
        free(node)

    cdef void sweep(self) noexcept:
        """Free C guests whose Member went away while somebody was in."""
        cdef Node *node = self.nodes
        cdef Node *next
        self.orphans = False
        while node != NULL:
            next = node.next
            if node.owner == NULL:
                self.remove(node)
            node = next

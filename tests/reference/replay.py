# SPDX-License-Identifier: MIT
"""A trace through guests of one host: docs/model.md section 9."""

from __future__ import annotations

from collections.abc import Sequence

from reference.guest import Guest, joined

ALLOC, FREE, LOAD, STORE = 0, 1, 2, 3
Event = tuple[int, int, int]  # kind, order, pfn
Access = tuple[int, int, int]  # LOAD or STORE, pfn, how many events come before it


def first_kinds(events: Sequence[Event]) -> dict[int, int]:
    """For each page in an event, ascending: the kind of its first event."""
    first: dict[int, int] = {}
    for kind, order, pfn in events:
        for page in range(pfn, pfn + (1 << order)):
            first.setdefault(page, kind)
    return dict(sorted(first.items()))


class Replay:
    def __init__(
        self,
        guests: Sequence[Guest],
        base: int,
        events: Sequence[Event],
        times: Sequence[int] | None = None,
        accesses: Sequence[Access] = (),
    ) -> None:
        self.guests = list(guests)
        self.host = guests[0].host
        self.base = base
        self.events = list(events)
        self.times = [0] * len(events) if times is None else list(times)  # ns
        self.accesses = list(accesses)
        self.accesses_done = 0
        self.position = 0
        self.left: int | None = None  # of the time up to the next event, if that has not passed
        self.tag = 0
        # Consecutive frees that will be one madvise call, [start, end), for each guest.
        self.pending: list[tuple[int, int] | None] = [None] * len(guests)
        self.stats = dict.fromkeys(
            (
                "events",
                "stale_allocs",
                "stale_pages",
                "implied_frees",
                "ignored_frees",
                "loads",
                "stores",
                "ignored_accesses",
            ),
            0,
        )
        self.frame_ns = self.swap_ns = self.ns = 0
        self._setup()

    def next_tag(self) -> int:
        self.tag = self.tag % 0xFFFFFFFF + 1
        return self.tag

    def _setup(self) -> None:
        kinds = first_kinds(self.events)
        for guest in self.guests:
            guest.free([page - self.base for page in kinds if kinds[page] == ALLOC])
            for page in kinds:
                if kinds[page] == FREE:
                    guest.store(page - self.base, self.next_tag())
            for vcpu in range(len(guest.cbrl)):
                guest.intercept(vcpu)
            if guest.reporting is not None:
                guest.reporting.replay_starts()
        for guest in self.guests:
            guest.reset_stats()
        self.host.reset_stats()

    def run(self, n: int) -> int:
        """The next n events at most: how many were done.

        An event that fails may be half done; the replay is then over, at its position.
        """
        for done in range(n):
            if self.position == len(self.events):
                return done
            if self.left is not None:
                self._pass_time(self.left)
            self._step()
            if self.left is not None:
                self._pass_time(self.left)
            self.left = None
        return n

    def run_until(self, ns: int) -> int:
        """What happens up to this time of the trace, events at it included: how many were done."""
        before = self.position
        while self.position < len(self.events):
            at = self.times[self.position]
            if self.left is not None:
                now = at - self.left
                if ns < now:
                    break
                passes = min(self.left, ns - now)
                self._pass_time(passes)
                self.left = self.left - passes or None
                if self.left is not None:
                    break
            if at > ns:
                break
            self._step()
        return self.position - before

    def _access(self) -> None:
        """What comes before the next event; a page that is free has no owner to touch it."""
        while self.accesses_done < len(self.accesses):
            kind, pfn, before = self.accesses[self.accesses_done]
            if before > self.position:
                return
            for guest in self.guests:
                if guest.free_bit[pfn - self.base]:
                    self.stats["ignored_accesses"] += 1
                elif kind == LOAD:
                    guest.read([pfn - self.base])
                    self.stats["loads"] += 1
                else:
                    guest.write([pfn - self.base], [self.next_tag()])
                    self.stats["stores"] += 1
            self.accesses_done += 1

    def _step(self) -> None:
        self._access()
        for number, guest in enumerate(self.guests):
            self._event(number, guest, self.events[self.position])
            self.stats["events"] += 1
        self.position += 1
        if self.position == len(self.events):
            self._access()
            for number in range(len(self.guests)):
                self.issue(number)
        self.left = None
        if self.position < len(self.events):
            self.left = self.times[self.position] - self.times[self.position - 1]

    def _pass_time(self, left: int) -> None:
        """Until the next event; what falls due on the way happens at its time."""
        workers = [guest.reporting for guest in self.guests if guest.reporting is not None]
        while True:
            waits = [max(each.due - each.now, 0) for each in workers if each.due is not None]
            step = min([left, *waits])
            self.ns += step
            self.frame_ns += step * self.host.frames_in_use()
            self.swap_ns += step * self.host.slots_in_use()
            left -= step
            ready = [e for e in workers if e.due is not None and e.due - e.now <= step]
            for each in workers:
                each.now += step
            for each in ready:
                each.step()
            if not ready:
                return

    def _event(self, number: int, guest: Guest, event: Event) -> None:
        kind, order, pfn = event
        first = pfn - self.base
        pages = range(first, first + (1 << order))
        if kind == ALLOC:
            self.issue(number)
            self._alloc(guest, first, order, pages)
        else:
            self._free(number, guest, pages)

    def _alloc(self, guest: Guest, first: int, order: int, pages: range) -> None:
        for page in pages:
            if not guest.free_bit[page]:
                self.stats["implied_frees"] += 1
                guest.free([page])
        guest.alloc([first], order)
        stale = 0
        for page in pages:
            stale += guest.peek(page) != 0
            guest.store(page, self.next_tag())
        self.stats["stale_pages"] += stale
        self.stats["stale_allocs"] += stale > 0

    def _free(self, number: int, guest: Guest, pages: range) -> None:
        in_use = [page for page in pages if not guest.free_bit[page]]
        self.stats["ignored_frees"] += len(pages) - len(in_use)
        if len(in_use) == len(pages):
            blocks, order = [pages.start], len(pages).bit_length() - 1
        else:
            blocks, order = in_use, 0
        if guest.mechanism not in ("madv_dontneed", "madv_free"):
            guest.free(blocks, order)
            return
        guest.mark(in_use, 0, free=True)
        for start, end in joined(in_use, 1):
            waiting = self.pending[number]
            if waiting is not None and waiting[1] == start:
                self.pending[number] = (waiting[0], end)
            else:
                self.issue(number)
                self.pending[number] = (start, end)

    def issue(self, number: int) -> None:
        """The madvise call of a guest that is held back, if one is."""
        waiting = self.pending[number]
        if waiting is not None:
            self.guests[number].madvise(*waiting)
            self.pending[number] = None

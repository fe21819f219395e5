# SPDX-License-Identifier: MIT
"""The search of docs/guarantees.md over the reference model: slow, and written apart from
src_c/search/.  It counts the states of the smallest systems and plays witnesses."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from reference import Guest, Host, ModelError, ProgramInterruption
from reference.reporting import Reporting, Settings
from reference.words import is_none, is_present, is_swap

ZERO, NEW, OLD, POISON = 0, 1, 2, 3
PAGE_ACTIONS = (
    "write",
    "read",
    "swap_out",
    "swap_in",
    "free",
    "free_raced",
    "alloc",
    "take",
    "zap",
    "pin",
    "lock",
    "writeback",
    "fork",
)
FOLIO = {"pin": "pinned", "lock": "locked", "writeback": "writeback", "fork": "shared"}
OTHER_ACTIONS = ("reclaim", "intercept", "zap_scan", "reset_cmma", "migrate", "report")


@dataclass(frozen=True)
class Watched:
    """What the observer of page 0 knows."""

    phase: str = "in use"
    store: str = "none"
    read_zero: bool = False
    dropped: bool = False


@dataclass
class System:
    guest: Guest
    watched: Watched = Watched()
    poison: str = "none"
    busy: bool = False  # folios may be locked, under writeback, mapped by a child

    @property
    def host(self) -> Host:
        return self.guest.host


def new_system(
    mechanism: str,
    generation: str,
    rearm: str,
    poison: str,
    shape: tuple[int, ...],
    advice: str = "madv_dontneed",
    busy: bool = False,
) -> System:
    pages, frames, slots, entries = shape
    zvm = generation == "zvm"
    guest = Guest(
        pages,
        Host(frames, slots, rearm=rearm),
        mechanism=mechanism,
        generation="pgtable" if zvm else generation,
        flavour="zvm" if zvm else "kvm",
        cbrl_entries=entries,
    )
    if mechanism == "reporting":
        guest.reporting = Reporting(
            guest,
            Settings(
                min=0,
                low=0,
                parked_batch=1,
                parked_high=1,
                order=0,
                max_order=int(pages > 1),
                parked_order=0,
                capacity=1,
                delay_ns=1,
                ack_ns=1,
                spare=32,
                poison=poison,
                advice=advice,
            ),
        )
    return System(guest, poison=poison, busy=busy)


def actions_of(system: System) -> list[tuple[str, int]]:
    guest = system.guest
    left_out = set()
    if guest.mechanism != "cmma":
        left_out |= {"intercept", "zap", "zap_scan", "reset_cmma", "migrate"}
    if guest.flavour == "zvm":
        left_out |= {"intercept", "zap", "zap_scan", "migrate"}
    if guest.mechanism != "madv_free":
        left_out |= {"pin"}
    if guest.reporting is None:
        left_out |= {"report"}
    if not system.busy:
        left_out |= {"lock", "writeback", "fork"}
    pages = range(len(guest.pte))
    return [(name, gfn) for name in PAGE_ACTIONS for gfn in pages if name not in left_out] + [
        (name, 0) for name in OTHER_ACTIONS if name not in left_out
    ]


def has_content(guest: Guest, gfn: int) -> bool:
    return not is_none(guest.pte[gfn])


def relabel(guest: Guest) -> None:
    """What page 0 shows is no longer what its user stored last."""
    frame = guest.frame[0]
    holders: list[Any] = []
    if frame is not None:
        holders.append(guest.host.frames[frame])
        if holders[0].slot is not None:
            holders.append(guest.host.slots[holders[0].slot])
    elif is_swap(guest.pte[0]):
        holders.append(guest.host.slots[guest.pte[0] >> 12])
    for holder in holders:
        if holder.tag == NEW:
            holder.tag = OLD


def act(system: System, name: str, gfn: int) -> bool:
    """One action on a system, false if it does not apply (the system is then spoilt)."""
    guest, host, seen = system.guest, system.host, system.watched
    had = has_content(guest, 0)
    try:
        if gfn == 0 and name in ("write", "read", "free", "free_raced", "alloc", "take"):
            if not act_watched(system, name):
                return False
        elif name == "write":
            guest.write([gfn], [NEW])
        elif name == "read":
            guest.read([gfn])
        elif name == "free":
            fill(guest, gfn, system.poison)
            guest.free([gfn])
        elif name == "alloc":
            guest.alloc([gfn])
        elif name in ("free_raced", "take"):
            return False
        elif name == "swap_out":
            if not is_present(guest.pte[gfn]) or not guest.swap_out([gfn]):
                return False
        elif name == "swap_in":
            if not is_swap(guest.pte[gfn]):
                return False
            guest.read([gfn])
        elif name == "zap":
            if not guest.zap(gfn):
                return False
        elif name in FOLIO:
            if not flip(guest, name, gfn):
                return False
        elif name == "reclaim":
            host.reclaim(1)
        elif name == "intercept":
            guest.intercept()
        elif name == "zap_scan":
            guest.zap_scan()
        elif name == "report":
            if not report(guest):
                return False
        elif name == "reset_cmma":
            guest.reset_cmma()
        else:
            guest.set_migration(not guest.migration)
    except (ModelError, ProgramInterruption):
        return False
    seen = system.watched
    if had and not has_content(guest, 0):
        seen = replace(seen, dropped=True)
    refused = guest.flavour == "zvm" and guest.zvm_state(0) in ("Ur", "Uz", "Vz")
    if seen.store != "none" and guest.peek(0) != NEW and not refused:  # noqa: SIM102
        if seen.store != "free" or seen.phase == "in use":
            seen = replace(seen, store="none")
            relabel(guest)
    system.watched = seen
    return True


def flip(guest: Guest, name: str, gfn: int) -> int:
    """What a folio is in begins, or ends."""
    return guest.set_folio(gfn, FOLIO[name], True) or guest.set_folio(gfn, FOLIO[name], False)


def fill(guest: Guest, gfn: int, poison: str) -> None:
    """free_pages_prepare: what the guest stores to a page that it is about to free."""
    if poison != "none":
        guest.write([gfn], [POISON if poison == "page_poison" else ZERO])


def report(guest: Guest) -> bool:
    """Free page reporting: what is due next happens."""
    reporting = guest.reporting
    if reporting is None or reporting.due is None:
        return False
    reporting.advance(max(reporting.due - reporting.now, 0))
    return True


def waits_for_report(guest: Guest) -> bool:
    """Whether page 0 is free and its report not yet acked."""
    if guest.reporting is None:
        return False
    found = guest.reporting.find(0)
    return found is not None and found[1] not in guest.reporting.reported


def act_watched(system: System, name: str) -> bool:
    guest, seen = system.guest, system.watched
    if name in ("write", "free_raced"):
        if name == "free_raced" and seen.phase == "free":
            return False
        if name == "free_raced":
            fill(guest, 0, system.poison)
        relabel(guest)
        guest.write([0], [NEW])
        raced = seen.phase == "free" and waits_for_report(guest)
        system.watched = Watched(seen.phase, store="raced" if raced else seen.phase)
    if name == "read":
        value = guest.read([0])[0]
        if value == ZERO and seen.store == "none":
            system.watched = replace(seen, read_zero=True)
    if name == "free":
        fill(guest, 0, system.poison)
        relabel(guest)
    if name in ("free", "free_raced"):
        system.watched = Watched("free", store="raced" if name == "free_raced" else "none")
        guest.free([0])
    if name == "alloc":
        system.watched = replace(seen, phase="in use")
        guest.alloc([0])
    if name == "take":
        if seen.phase != "free":
            return False
        system.watched = replace(seen, phase="taken")
        if guest.reporting is not None:
            guest.alloc([0])
    return True


def key_of(system: System) -> tuple[Any, ...]:
    """The state without counters, and with frames and slots named by their pages."""
    guest, host = system.guest, system.host
    owner = {number: ("frame", frame.gfn) for number, frame in enumerate(host.frames)}
    pages = []
    for gfn, pte in enumerate(guest.pte):
        index = guest.frame[gfn]
        frame = None if index is None else host.frames[index]
        number = frame.slot if frame is not None else pte >> 12 if is_swap(pte) else None
        slot = None if number is None else host.slots[number]
        pages.append(
            (
                pte & 0xFFF,
                guest.pgste[gfn],
                guest.dirty_bit[gfn],
                guest.free_bit[gfn],
                frame and (frame.list, frame.tag, frame.referenced, frame.pinned),
                frame and (frame.locked, frame.writeback, frame.shared),
                # a frame that gets its slot only now is written, dirty or not
                frame
                and frame.dirty
                and (frame.slot is not None or frame.list == "lazyfree" or system.busy),
                slot and (slot.count, slot.frame is not None, slot.tag),
            )
        )
    lists = tuple(tuple(owner[f] for f in host.lists[name]) for name in sorted(host.lists))
    cbrl = tuple(guest.cbrl[0])
    return tuple(pages), lists, cbrl, guest.migration, system.watched, key_of_reporting(guest)


def key_of_reporting(guest: Guest) -> tuple[Any, ...]:
    r = guest.reporting
    if r is None:
        return ()
    where = (r.order, r.budget) if r.passing else ()
    blocks = tuple(tuple((block, block in r.reported) for block in each) for each in r.lists)
    return blocks, tuple(r.batch), r.state, r.due is not None, r.passing, r.calling, where


def count_states(system: System) -> int:
    """How many states can be reached."""
    seen = {key_of(system)}
    waiting = deque([system])
    while waiting:
        here = waiting.popleft()
        for name, gfn in actions_of(here):
            there = copy.deepcopy(here)
            if not act(there, name, gfn):
                continue
            key = key_of(there)
            if key not in seen:
                seen.add(key)
                waiting.append(there)
    return len(seen)

# SPDX-License-Identifier: MIT
"""The search of docs/guarantees.md over the reference model: slow, and written apart from
src_c/search/.  It counts the states of the smallest systems and plays witnesses."""

from __future__ import annotations

import pickle
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from reference import Guest, Host, ModelError, ProgramInterruption
from reference.guest import FilePage
from reference.host import Frame
from reference.reporting import Reporting, Settings
from reference.two_tables import PTE_UNUSED, DatGuest
from reference.words import (
    PGSTE_CMMA_D,
    PGSTE_UC,
    PGSTE_ZERO,
    PTE_NONE,
    PTE_YOUNG,
    UNUSED,
    is_none,
    is_present,
    is_swap,
    usage,
)

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
    "age",
    "dma_write",
    "free_elsewhere",
    "alloc_elsewhere",
    "notify_none",
    "notify_xchg",
    "notify_set",
    "notify_held",
    "swap_out_held",
    "notify_start",
    "end_none",
    "end_xchg",
    "end_set",
)
FOLIO = {"pin": "pinned", "lock": "locked", "writeback": "writeback", "fork": "shared"}
OTHER_ACTIONS = (
    "reclaim",
    "intercept",
    "zap_scan",
    "reset_cmma",
    "migrate",
    "report",
    "intercept_elsewhere",
    "intercept_held",
)


WATCHED_ACTIONS = (
    *("write", "read", "free", "free_raced", "alloc", "take", "dma_write"),
    *("free_elsewhere", "alloc_elsewhere"),
)


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
    notifiers: tuple[str, ...] = ()  # what operations of the host do to its PTE
    notified: int | None = None  # the page whose notifier has started
    shifted: bool = False
    poison: str = "none"
    busy: bool = False  # folios may be locked, under writeback, mapped by a child
    #: What a device has mapped of page 0 since the start (VFIO).
    device: Frame | FilePage | None = None

    @property
    def host(self) -> Host:
        return self.guest.host


def new_system(
    mechanism: str,
    generation: str,
    rearm: str,
    poison: str,
    shape: tuple[int, ...],
    revision: str = "7.2",
    notifiers: tuple[str, ...] = (),
    shifted: bool = False,
    advice: str = "madv_dontneed",
    busy: bool = False,
    memory: str = "host",
    pinned: bool = False,
    mlock: bool = False,
) -> System:
    """`shape`: pages, frames, swap slots, entries of a list, and virtual CPUs (1 if left out)."""
    pages, frames, slots, entries, *vcpus = shape
    host = Host(frames, slots, rearm=rearm)
    config: dict[str, Any] = {
        "mechanism": mechanism,
        "cbrl_entries": entries,
        "vcpus": vcpus[0] if vcpus else 1,
        "memory": memory,
        "mlock": mlock,
    }
    guest: Guest
    if generation == "dat":
        kind = ShiftedGuest if shifted else DatGuest
        guest = kind(pages, host, revision, **config)
    else:
        flavour = "zvm" if generation == "zvm" else "kvm"
        guest = Guest(pages, host, generation="pgtable", flavour=flavour, **config)
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
    system = System(guest, notifiers=notifiers, poison=poison, busy=busy)
    if pinned:  # VFIO_IOMMU_MAP_DMA: pin_user_pages faults the page in
        guest.read([0])
        if guest.file is not None:  # reclaim unmaps it, and the next fault finds it again
            system.device = guest.file[0]
        else:
            guest.pin(0, True)
            system.device = host.frames[guest.frame[0] or 0]
    return system


class ShiftedGuest(DatGuest):
    """_essa_clear_cbrl of v7.0 with one memory slot whose host address is a page above its own.

    It looks at the guest's own PTE of the entry, and hands the guest address to
    gmap_helper_zap_one_page as a host address: what lies there is the page below."""

    def intercept(self, vcpu: int = 0) -> int:
        assert self.revision == "7.0"
        zapped = 0
        for gfn in self.cbrl[vcpu]:
            below = gfn - 1
            unused = usage(self.pgste[gfn]) == UNUSED
            if self.guest_present(gfn) or not (unused or self.pgste[gfn] & PGSTE_ZERO):
                continue
            if below >= 0 and is_swap(self.pte[below]):
                self._give_back(below)
                self._store_pte(below, PTE_NONE)
                zapped += 1
        self.cbrl[vcpu] = []
        return zapped


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
    if guest.flavour == "zvm":
        left_out |= {"age"}
    if len(guest.cbrl) == 1:
        left_out |= {"free_elsewhere", "alloc_elsewhere", "intercept_elsewhere"}
    for rewrite in ("none", "xchg", "set"):
        if rewrite not in system.notifiers:
            left_out |= {f"notify_{rewrite}", f"end_{rewrite}"}
    if not system.notifiers:
        left_out |= {"notify_held", "swap_out_held", "notify_start", "intercept_held"}
    elif isinstance(guest, DatGuest) and guest.revision == "7.0":
        left_out |= {"intercept_held"}  # it waits for the lock
    if not system.busy:
        left_out |= {"lock", "writeback", "fork"}
    if guest.file is not None:  # a shared mapping: nothing is copied on write
        left_out |= {"fork"}
    if system.device is None:
        left_out |= {"dma_write"}
    else:  # what the device refers to is one reference; fork copies what is pinned for the child
        left_out |= {"pin", "fork"}
    pages = range(len(guest.pte))
    return [(name, gfn) for name in PAGE_ACTIONS for gfn in pages if name not in left_out] + [
        (name, 0) for name in OTHER_ACTIONS if name not in left_out
    ]


def has_content(guest: Guest, gfn: int) -> bool:
    """Whether the host keeps something: with two tables its own tells; a file keeps, too."""
    if guest.file is not None and guest.file[gfn] is not None:
        return True
    return not is_none(guest.host_word(gfn) if isinstance(guest, DatGuest) else guest.pte[gfn])


def relabel(system: System) -> None:
    """What page 0 shows, or a device sees, is no longer what was stored last."""
    guest = system.guest
    frame = guest.frame[0]
    holders: list[Any] = []
    if frame is not None:
        holders.append(guest.host.frames[frame])
        if holders[0].slot is not None:
            holders.append(guest.host.slots[holders[0].slot])
    elif is_swap(guest.pte[0]):
        holders.append(guest.host.slots[guest.pte[0] >> 12])
    if system.device is not None:
        holders.append(system.device)
    if guest.file is not None and guest.file[0] is not None:
        holders.append(guest.file[0])
    for holder in holders:
        if holder.tag == NEW:
            holder.tag = OLD


def act(system: System, name: str, gfn: int) -> bool | None:
    """One action on a system.

    False if it does not apply, and may have spoilt the system; None if it does not and has not.
    """
    guest, host, seen = system.guest, system.host, system.watched
    had = has_content(guest, 0)
    if system.notified == gfn and name in ("write", "read", "swap_in", "free_raced"):
        return None  # a fault waits for the end of the notifier
    try:
        if gfn == 0 and name in WATCHED_ACTIONS:
            if not act_watched(system, name):
                return False
        elif name in ("free_elsewhere", "alloc_elsewhere"):
            (guest.free if name == "free_elsewhere" else guest.alloc)([gfn], vcpu=1)
        elif name == "intercept_elsewhere":
            guest.intercept(1)
        elif name == "age":
            index = guest.frame[gfn]
            if index is None:
                return None
            host.age(index)
        elif name.startswith(("notify_", "end_")) or name.endswith("_held"):
            if not act_two_tables(system, name, gfn):
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
        elif name in ("free_raced", "take", "dma_write"):
            return None
        elif name == "swap_out":
            if not guest.has_page(gfn):
                return None
            if not guest.swap_out([gfn]):
                return False
        elif name == "swap_in":
            if not is_swap(guest.pte[gfn]):
                return None
            guest.read([gfn])
        elif name == "zap":
            if not guest.zap(gfn):
                return None
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
    kept = guest.peek(0) == NEW and (system.device is None or device_reads(system) == NEW)
    if seen.store not in ("none", "lost") and not kept and not refused:  # noqa: SIM102
        if seen.store != "free" or seen.phase == "in use":
            # to the guest or the device, the other may see it still
            seen = replace(seen, store="none" if system.device is None else "lost")
            relabel(system)
    system.watched = seen
    return True


def act_two_tables(system: System, name: str, gfn: int) -> bool:
    """MMU notifiers and locks that are held: mmu_notifier_invalidate_range_start unmaps the page
    from the guest, and what the operation then does to the host's PTE is the end's."""
    guest = system.guest
    assert isinstance(guest, DatGuest)
    match name.split("_"):
        case ["notify", "start"]:
            if system.notified is not None or not guest.guest_present(gfn):
                return False
            guest.notifier_unmap([gfn])
            system.notified = gfn
        case ["end", rewrite]:
            if system.notified != gfn:
                return False
            system.notified = None
            word = guest.host_word(gfn)
            if is_present(word) and rewrite == "set":
                guest.host_pte[gfn] = word & ~PTE_UNUSED
            elif is_present(word) and rewrite == "xchg":
                guest.set_pte_anew(gfn, word)
        case [*_, "held"]:
            guest.hold([gfn], True)
            if name == "intercept_held":
                guest.intercept()
            elif name == "swap_out_held":
                if not guest.has_page(gfn) or not guest.swap_out([gfn]):
                    return False
            else:
                least = "none" if "none" in system.notifiers else "xchg"
                guest.notifier_unmap([gfn], least)
            guest.hold([gfn], False)
        case [_, rewrite]:
            guest.notifier_unmap([gfn], rewrite)
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
    if name in ("write", "free_raced", "dma_write"):
        if name == "free_raced" and seen.phase == "free":
            return False
        if name == "free_raced":
            fill(guest, 0, system.poison)
        relabel(system)
        if name == "dma_write":
            device_stores(system, NEW)
        else:
            guest.write([0], [NEW])
        raced = seen.phase == "free" and waits_for_report(guest)
        system.watched = Watched(seen.phase, store="raced" if raced else seen.phase)
    if name == "read":
        value = guest.read([0])[0]
        if value == ZERO and seen.store == "none":
            system.watched = replace(seen, read_zero=True)
    vcpu = int(name.endswith("_elsewhere"))
    if name in ("free", "free_elsewhere"):
        fill(guest, 0, system.poison)
        relabel(system)
    if name in ("free", "free_raced", "free_elsewhere"):
        system.watched = Watched("free", store="raced" if name == "free_raced" else "none")
        guest.free([0], vcpu=vcpu)
    if name in ("alloc", "alloc_elsewhere"):
        system.watched = replace(seen, phase="in use")
        guest.alloc([0], vcpu=vcpu)
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
                # what only logs read decides nothing: user-dirty, and attribute-dirty
                guest.pgste[gfn] & ~(PGSTE_UC | PGSTE_CMMA_D),
                guest.free_bit[gfn] and guest.reporting is not None,
                key_of_host_pte(guest, gfn),
                frame and (frame.list, frame.tag, frame.referenced, frame.pinned),
                frame and (frame.locked, frame.writeback, frame.shared),
                # a frame that gets its slot only now is written, dirty or not
                frame
                and frame.dirty
                and (frame.slot is not None or frame.list == "lazyfree" or system.busy),
                slot and (slot.count, slot.frame is not None, slot.tag),
                guest.file is not None and frame is None and guest.file[gfn] and guest.peek(gfn),
            )
        )
    lists = tuple(tuple(owner[f] for f in host.lists[name]) for name in sorted(host.lists))
    lists_of_vcpus = tuple(tuple(entries) for entries in guest.cbrl)
    return (
        *(tuple(pages), lists, lists_of_vcpus, guest.migration, system.watched),
        *(system.notified, key_of_reporting(guest), key_of_device(system)),
    )


def key_of_device(system: System) -> int | None:
    """What it has where the guest does not see it."""
    return None if system.device is None or not is_apart(system) else system.device.tag


def is_apart(system: System) -> bool:
    """The page that the device has is no longer the guest's."""
    guest, index = system.guest, system.guest.frame[0]
    if guest.file is not None:
        return system.device is not guest.file[0]
    return index is None or system.host.frames[index] is not system.device


def device_stores(system: System, tag: int) -> None:
    assert system.device is not None
    if not is_apart(system):
        system.guest.poke(0, tag)
    system.device.tag = tag


def device_reads(system: System) -> int:
    assert system.device is not None
    return system.device.tag if is_apart(system) else system.guest.peek(0)


def key_of_host_pte(guest: Guest, gfn: int) -> tuple[bool, ...]:
    """Of the host's own PTE: UNUSED, and its age.  Nobody takes WRITE away from it here, and its
    other bits are asked for by nobody."""
    if not isinstance(guest, DatGuest) or guest.frame[gfn] is None:
        return ()
    word = guest.host_pte[gfn]
    return guest.is_apart(gfn), bool(word & PTE_UNUSED), bool(word & PTE_YOUNG)


def key_of_reporting(guest: Guest) -> tuple[Any, ...]:
    r = guest.reporting
    if r is None:
        return ()
    left = [order for _, kind, order in r.at or () if kind == "movable"]
    where = (tuple(left[:1]), r.budget) if r.passing else ()
    blocks = tuple(
        tuple((block, block in r.reported) for block in each) for each in r.lists.values() if each
    )
    return blocks, tuple(r.batch), r.state, r.due is not None, r.passing, r.calling, where


def mirrored(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The state of three pages in which 1 and 2 have changed places."""
    (first, second, third), lists, entries, migration, watched, notified, _, device = key
    other = {None: None, 0: 0, 1: 2, 2: 1}
    return (
        (first, third, second),
        tuple(tuple((what, other[gfn]) for what, gfn in each) for each in lists),
        tuple(tuple(other[gfn] for gfn in each) for each in entries),
        # a device has page 0
        *(migration, watched, other[notified], (), device),
    )


Packed = tuple[bytes, dict[str, Any], dict[str, int]]


def packed(system: System) -> Packed:
    """What a copy is made of, in a tenth of deepcopy's time: counters are no state, and shared."""
    guest, host = system.guest, system.host
    counts, of_host = guest.count, host.count
    guest.count, host.count = {}, {}
    data = pickle.dumps(system, pickle.HIGHEST_PROTOCOL)
    guest.count, host.count = counts, of_host
    return data, counts, of_host


def unpacked(kept: Packed) -> System:
    system: System = pickle.loads(kept[0])
    system.guest.count, system.host.count = kept[1:]
    return system


def count_states(system: System, alike: bool = False) -> int:
    """How many states can be reached; `alike`: pages 1 and 2 of three are not told apart."""

    def named(system: System) -> object:
        key = key_of(system)
        return frozenset((key, mirrored(key))) if alike else key

    seen = {named(system)}
    waiting = deque([system])
    while waiting:
        here = waiting.popleft()
        kept = packed(here)
        there = None
        for name, gfn in actions_of(here):
            there = there or unpacked(kept)
            done = act(there, name, gfn)
            if done is None:
                continue  # and the next action may have it
            found, there = there, None
            if not done:
                continue
            key = named(found)
            if key not in seen:
                seen.add(key)
                waiting.append(found)
    return len(seen)

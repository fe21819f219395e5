# SPDX-License-Identifier: MIT
"""Reclaim on a host above 1 GiB, where inactive_is_low has another ratio (mm/vmscan.c).

The reference is too slow to get there by itself: it takes over the engine's state, and both
reclaim from there.
"""

from __future__ import annotations

import reference
from reference.guest import snapshot as model_snapshot
from stateful.pair import engine_snapshot

import pgste

PAGES = 2**18 + 100  # gb = 1: the inactive list is low below a third of the active one


def take_over(host: pgste.Host, guest: pgste.Guest) -> reference.Guest:
    """A reference guest in the state of the engine's, alone on its host."""
    model = reference.Host(host.frames, host.swap_slots)
    twin = reference.Guest(guest.pages, model, guest.mechanism, guest.generation)
    twin.pgste, twin.pte = guest.pgste().tolist(), guest.pte().tolist()
    twin.count = guest.stats()
    for index, frame in enumerate(model.frames):
        info = host.frame_info(index)
        if info["list"] != "free":
            gfn = info["gfn"]
            assert gfn is not None
            frame.list, frame.gfn, frame.tag = info["list"], gfn, info["tag"]
            frame.slot = info["slot"]
            frame.referenced, frame.dirty = info["referenced"], info["dirty"]
            twin.frame[gfn] = index
    for index, slot in enumerate(model.slots):
        used = host.slot_info(index)
        slot.count, slot.frame, slot.tag = used["count"], used["frame"], used["tag"]
    model.lists = {
        "active": host.frame_list("active").tolist(),
        "inactive": host.frame_list("inactive").tolist(),
        "lazyfree": host.frame_list("lazyfree").tolist(),
        "lazyfree_active": [],
    }
    stats = host.stats()
    model.count = {name: stats[name] for name in model.count}
    model.frames_peak, model.swap_peak = stats["frames_peak"], stats["swap_peak"]
    model.free_slots = [n for n in model.free_slots if model.slots[n].is_free()]
    return twin


def test_inactive_is_low_above_a_gigabyte() -> None:
    host = pgste.Host(PAGES, PAGES)
    guest = pgste.Guest(PAGES, host=host, mechanism="none")
    guest.write(range(PAGES), 1)
    assert host.reclaim(1) == 1  # all are aged, and page 0 in frame 0 goes
    guest.read(range(1, PAGES))  # all are young again: the next look activates them
    assert host.reclaim(1) == 1
    twin = take_over(host, guest)
    model = twin.host
    free = [index for index, frame in enumerate(model.frames) if frame.list == "free"]
    assert free[0] == 0
    model.free_frames = free  # frame 0 went first: the other is on top
    assert model_snapshot(model, [twin]) == engine_snapshot(host, [guest])

    active, inactive = len(model.lists["active"]), len(model.lists["inactive"])
    assert 3 * (inactive - model.batch) <= active <= 3 * inactive
    assert model.reclaim(200) == host.reclaim(200) == 200
    assert len(model.lists["active"]) < active  # some were deactivated meanwhile
    assert model_snapshot(model, [twin]) == engine_snapshot(host, [guest])

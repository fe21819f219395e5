# SPDX-License-Identifier: MIT
"""Between runs of a replay the last run of frees may be held back, to join with the next one.

Calls that change the guest have it issued first, calls that only look leave it (replay.h).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import pgste
from pgste import Guest, Host, Replay

PAGES = 64


def _held_back(mechanism: str) -> tuple[Guest, Host, Replay]:
    """Pages 0 to 3 are allocated, written and freed one by one; the last free is still to come."""
    host = Host(PAGES, PAGES)
    guest = Guest(PAGES, host, mechanism=mechanism)
    words = [gfn << 8 | kind for kind in (0, 1) for gfn in range(4)]
    replay = Replay(guest, np.array([*words, 9 << 8], np.uint64))
    assert replay.run(7) == 7
    assert guest.stats()["hints"] == 0
    assert host.stats()["frames_free"] == PAGES - 4
    assert guest.is_free(range(3)).all()
    return guest, host, replay


LOOKS: dict[str, Callable[[Guest, Host], object]] = {
    "peek": lambda guest, _: guest.peek(slice(None)),
    "pgste": lambda guest, _: guest.pgste(),
    "pte": lambda guest, _: guest.pte(),
    "states": lambda guest, _: guest.states(),
    "is_free": lambda guest, _: guest.is_free(),
    "cbrl": lambda guest, _: guest.cbrl(),
    "find": lambda guest, _: guest.find(255, 0),
    "find, threads": lambda guest, _: guest.find(255, 0, threads=2),
    "count_states": lambda guest, _: guest.count_states(),
    "count_zappable": lambda guest, _: guest.count_zappable(),
    "stats": lambda guest, _: guest.stats(),
    "now_ns": lambda guest, _: guest.now_ns,
    "bytes_per_page": lambda guest, _: guest.bytes_per_page,
    "get_storage_key": lambda guest, _: guest.get_storage_key(slice(None)),
    "uses_storage_keys": lambda guest, _: guest.uses_storage_keys,
    "allow_cow_sharing": lambda guest, _: guest.allow_cow_sharing,
    "soft_dirty": lambda guest, _: guest.soft_dirty(),
    "notifications": lambda guest, _: guest.notifications(),
    "host stats": lambda _, host: host.stats(),
    "frame_info": lambda _, host: host.frame_info(0),
    "slot_info": lambda _, host: host.slot_info(0),
    "frame_list": lambda _, host: host.frame_list("active"),
    "validate": lambda _, host: host.validate(),
    "another guest": lambda _, host: Guest(8, host, mechanism="cmma").write(0, 1),
}

CHANGES: dict[str, Callable[[Guest, Host], object]] = {
    "write": lambda guest, _: guest.write(20, 5),
    "poke": lambda guest, _: guest.poke(0, 5),
    "read": lambda guest, _: guest.read(20),
    "free": lambda guest, _: guest.free(range(20, 22)),
    "alloc": lambda guest, _: guest.alloc(range(20, 22)),
    "free_page": lambda guest, _: guest.free_page(20),
    "alloc_page": lambda guest, _: guest.alloc_page(20),
    "set_words": lambda guest, _: guest.set_words(20, pgste=0),
    "set_pte_at": lambda guest, _: guest.set_pte_at(20, 0x400),
    "xchg_pte": lambda guest, _: guest.xchg_pte(20, 0x400),
    "age": lambda guest, _: guest.age(20),
    "modify_prot_start": lambda guest, _: guest.modify_prot_start(20),
    "test_and_clear_dirty": lambda guest, _: guest.test_and_clear_dirty(20),
    "clear_soft_dirty": lambda guest, _: guest.clear_soft_dirty(20),
    "set_pgste_bits": lambda guest, _: guest.set_pgste_bits(20, 1, 1),
    "force_prot": lambda guest, _: guest.force_prot(20, 0),
    "set_notify": lambda guest, _: guest.set_notify(20, pgste.PgsteBits.IN),
    "shadow_pte": lambda guest, _: guest.shadow_pte(20, guest, 21, 0),
    "unshadow_pte": lambda guest, _: guest.unshadow_pte(20),
    "zap_key": lambda guest, _: guest.zap_key(20),
    "set_storage_key": lambda guest, _: guest.set_storage_key(20, 0x30),
    "insert_storage_key": lambda guest, _: guest.insert_storage_key(20),
    "cond_set_storage_key": lambda guest, _: guest.cond_set_storage_key(20, 0x30, True, True),
    "reset_reference": lambda guest, _: guest.reset_reference(20),
    "enable_storage_keys": lambda guest, _: guest.enable_storage_keys(),
    "reset_storage_keys": lambda guest, _: guest.reset_storage_keys(),
    "set_changed": lambda guest, _: guest.set_changed(20, True),
    "zap": lambda guest, _: guest.zap(20),
    "zap_scan": lambda guest, _: guest.zap_scan(),
    "advance": lambda guest, _: guest.advance(5),
    "reset_cmma": lambda guest, _: guest.reset_cmma(),
    "migration_mode": lambda guest, _: setattr(guest, "migration_mode", True),
    "swap_out": lambda guest, host: host.swap_out(guest, 20),
    "pin": lambda guest, host: host.pin(guest, 20),
    "reclaim": lambda _, host: host.reclaim(0),
}


@pytest.mark.parametrize("mechanism", ["madv_dontneed", "madv_free"])
@pytest.mark.parametrize("name", LOOKS)
def test_looking_leaves_it_held_back(name: str, mechanism: str) -> None:
    guest, host, replay = _held_back(mechanism)
    before = guest.pte().tolist(), guest.states().tolist(), guest.peek(slice(None)).tolist()
    LOOKS[name](guest, host)
    assert guest.stats()["hints"] == 0
    now = guest.pte().tolist(), guest.states().tolist(), guest.peek(slice(None)).tolist()
    assert now == before
    assert replay.run() == 2
    assert (guest.stats()["hints"], guest.stats()["hint_pages"]) == (1, 4), "joined with the last"


@pytest.mark.parametrize("mechanism", ["madv_dontneed", "madv_free"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_issues_it_first(name: str, mechanism: str) -> None:
    guest, host, replay = _held_back(mechanism)
    CHANGES[name](guest, host)
    joined = int(name in ("free", "free_page"))
    assert guest.stats()["hints"] == 1 + joined
    if mechanism == "madv_dontneed":
        assert (guest.pte(range(3)) == 0x400).all()
        assert not guest.peek(range(3)).any()
    else:
        assert len(host.frame_list("lazyfree")) == 3
    replay.run()
    assert guest.stats()["hints"] == 2 + joined
    host.validate()


def test_counters_are_reset_as_of_the_calls_before() -> None:
    guest, _, replay = _held_back("madv_dontneed")
    guest.reset_stats()
    assert guest.stats()["hints"] == 0
    replay.run()
    assert guest.stats()["hint_pages"] == 1


def test_every_method_is_in_a_table() -> None:
    """A new method has to say which it is."""
    no_matter = {
        *("close", "essa", "essa_page", "flavour", "free_blocks", "generation", "host"),
        *("intercept", "isolated_blocks", "mechanism", "number", "pages", "parked_blocks"),
        *("reporting", "reset_stats", "set_problem_state", "set_reporting", "vcpus"),
        "migratetypes",
        # CMMA, which a guest that holds frees back does not have
        *("clear_cmma", "cmma_enabled", "enable_cmma", "get_cmma_bits", "set_cmma_bits"),
        *("interpretation", "log_revision", "mark_dirty", "set_log", "dirty_count", "uses_cmm"),
        *("start_migration", "stop_migration", "create_vcpus", "vcpus_created", "revision"),
        # two tables, which generation dat has
        *("hold_host_locks", "host_pte_stats", "host_ptes", "notifier_unmap"),
        *("set_contention", "set_host_ptes", "map_pte", "unmap_pte"),
        # needs modify_prot_start, which issues
        "modify_prot_commit",
        # slots, see test_slots.py
        *("add_slot", "delete_slot", "move_slot", "set_dirty_logging", "slots", "host_gfn"),
    }
    names = {name for name in dir(pgste.Guest) if not name.startswith("_")}
    assert names <= no_matter | set(LOOKS) | set(CHANGES)

# SPDX-License-Identifier: MIT
"""The shared zero page (host-and-guest.md E2): words, counts, and who gets a frame when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pgste
from pgste import Orc

FRAMES = 8
ZERO = FRAMES << 12  # the number behind the host's frames
GENERATIONS = ["pgtable", "dat"]


def guest_of(generation: str, frames: int = FRAMES, swap: int = 8, **options: Any) -> pgste.Guest:
    host = pgste.Host(frames, swap)
    return pgste.Guest(16, host, generation=generation, allow_cow_sharing=True, **options)


def in_use(guest: pgste.Guest) -> int:
    stats = guest.host.stats()
    return stats["frames"] - stats["frames_free"]


def test_a_load_maps_it_read_only_and_special_and_takes_no_frame() -> None:
    guest = guest_of("pgtable")
    assert guest.read(range(16)).tolist() == [0] * 16
    assert guest.pte().tolist() == [ZERO | 0x355] * 16
    assert in_use(guest) == 0
    stats = guest.stats()
    assert (stats["zero_page_maps"], stats["zero_fills"]) == (16, 0)
    assert guest.read(range(16)).tolist() == [0] * 16
    assert guest.stats()["zero_page_maps"] == 16
    assert guest.pgste().tolist() == [0] * 16  # no store was possible: UC stays off
    guest.host.validate()


def test_in_dat_the_guest_may_not_write_what_the_host_mapped() -> None:
    guest = guest_of("dat")
    guest.read(range(4))
    assert guest.pte()[:5].tolist() == [ZERO | 0x205] * 4 + [0x400]
    assert guest.host_ptes()[:5].tolist() == [ZERO | 0x355] * 4 + [0x400]
    assert in_use(guest) == 0
    guest.notifier_unmap(range(4))
    assert guest.pte()[0] == 0x400
    assert guest.host_ptes()[0] == ZERO | 0x355
    guest.read(0)
    assert guest.pte()[0] == ZERO | 0x205
    guest.host.validate()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_store_takes_a_frame(generation: str) -> None:
    guest = guest_of(generation)
    guest.read([0, 1])
    guest.write(0, 5)
    assert guest.read([0, 1]).tolist() == [5, 0]
    assert guest.pte()[0] == {"pgtable": 0x13F, "dat": 0x02D}[generation]
    assert guest.stats()["zero_fills"] == 1
    assert in_use(guest) == 1
    if generation == "dat":
        assert guest.host_ptes()[0] == 0x13F
        assert guest.host_pte_stats()["notifier_unmaps"] == 1
    guest.host.validate()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_by_default_a_load_takes_a_frame(generation: str) -> None:
    guest = pgste.Guest(4, pgste.Host(8, 8), generation=generation)
    guest.read(range(4))
    assert not guest.allow_cow_sharing
    assert in_use(guest) == 4
    assert guest.stats()["zero_page_maps"] == 0


@pytest.mark.parametrize("generation", GENERATIONS)
def test_keys_take_frames_for_those_that_are_mapped(generation: str) -> None:
    guest = guest_of(generation)
    guest.write(0, 1)
    guest.read(range(4))
    assert guest.allow_cow_sharing
    guest.set_storage_key(9, 0x30)
    assert not guest.allow_cow_sharing
    assert in_use(guest) == 4
    assert guest.stats()["zero_fills"] == 4
    if generation == "pgtable":  # neither writable nor dirty: only a store makes them so
        assert guest.pte()[1:4].tolist() == [frame << 12 | 0x315 for frame in (1, 2, 3)]
    else:  # of the host's table alone
        assert guest.pte()[1:4].tolist() == [0x400] * 3
        assert guest.host_ptes()[1:4].tolist() == [frame << 12 | 0x315 for frame in (1, 2, 3)]
        guest.read(1)
        assert guest.pte()[1] == 1 << 12 | 0x205
    guest.read(5)
    assert in_use(guest) == 5, "no zero page for a guest with keys"
    guest.write(1, 8)
    assert guest.read(range(6)).tolist() == [1, 8, 0, 0, 0, 0]
    guest.host.validate()


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("call", ["enable", "reset", "set", "insert"])
def test_too_few_frames_for_keys_change_nothing(generation: str, call: str) -> None:
    guest = guest_of(generation, frames=3, swap=0)
    guest.write(0, 7)
    guest.read(range(1, 5))
    calls: dict[str, Callable[[], object]] = {
        "enable": guest.enable_storage_keys,
        "reset": guest.reset_storage_keys,
        "set": lambda: guest.set_storage_key(0, 0x20),
        "insert": lambda: guest.insert_storage_key(0),
    }
    before = state(guest)
    with pytest.raises(pgste.OutOfFramesError):
        calls[call]()
    assert state(guest) == before
    assert guest.allow_cow_sharing
    assert not guest.uses_storage_keys
    guest.host.validate()


def test_soft_dirty_is_kept_when_a_page_is_unshared() -> None:
    for generation, table in (("pgtable", "pte"), ("dat", "host_ptes")):
        guest = guest_of(generation)
        guest.read([0, 1])
        if generation == "dat":
            guest.set_host_ptes(0, np.array([ZERO | 0x357], np.uint64))
        else:
            guest.set_words(0, pte=np.array([ZERO | 0x357], np.uint64))
        guest.enable_storage_keys()
        assert getattr(guest, table)([0, 1]).tolist() == [0x317, 0x1315]


def state(guest: pgste.Guest) -> list[object]:
    return [
        guest.pte().tobytes(), guest.pgste().tobytes(), guest.host_ptes().tobytes(),
        guest.stats(), guest.host_pte_stats(), guest.host.stats(),
        guest.host.frame_key(range(guest.host.stats()["frames"])).tobytes(),
    ]  # fmt: skip


@pytest.mark.parametrize("generation", GENERATIONS)
def test_reclaim_does_not_know_it(generation: str) -> None:
    guest = guest_of(generation, frames=2)
    guest.write(0, 1)
    guest.read(range(16))
    assert guest.host.swap_out(guest, range(1, 16)) == 0
    guest.host.reclaim(2)
    guest.host.reclaim(2)
    assert guest.pte()[1] == 2 << 12 | (0x355 if generation == "pgtable" else 0x205)
    assert guest.peek(range(2)).tolist() == [1, 0]
    assert guest.host.stats()["swap_outs"] <= 1


def test_essa_sees_a_resident_page_and_appends_nothing() -> None:
    guest = guest_of("pgtable")
    guest.read(0)
    assert guest.essa(Orc.SET_UNUSED, 0).tolist() == [0]
    assert guest.cbrl().tolist() == []
    assert guest.essa(Orc.GET_STATE, 0).tolist() == [4]
    assert guest.zap_scan() == 0
    guest.write(0, 3)
    assert guest.read(0).tolist() == [3]


def test_dropped_and_zapped_pages_come_back_as_the_zero_page() -> None:
    """E2 after 2024: a zapped page is backed with the zero page, as the thread of 2019 has it."""
    guest = guest_of("pgtable")
    guest.write(range(4), 9)
    guest.host.swap_out(guest, [2, 3])
    guest.free(range(4))
    guest.host.swap_out(guest, [0, 1])
    guest.intercept()
    assert guest.pte()[:4].tolist() == [0x400] * 4
    assert guest.read(range(4)).tolist() == [0] * 4
    assert in_use(guest) == 0
    # set by ptep_set_pte_at, which clears ZERO
    assert not (guest.states()[:4] & pgste.State.ZERO).any()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_madvise(generation: str) -> None:
    guest = guest_of(generation, mechanism="madv_free")
    guest.read(range(2))
    guest.free(range(2))
    # passed over; the notifier of dat is of the whole range
    kept = ZERO | 0x355 if generation == "pgtable" else 0x400
    assert guest.pte()[:2].tolist() == [kept] * 2
    gone = guest_of(generation, mechanism="madv_dontneed")
    gone.read(range(2))
    gone.free(range(2))
    assert gone.pte()[:2].tolist() == [0x400] * 2
    assert gone.host_ptes()[:2].tolist() == [0x400] * 2
    assert gone.stats()["hint_frames_freed"] == 0


def test_a_store_notifies_and_makes_user_dirty() -> None:
    guest = guest_of("pgtable")
    guest.read(0)
    guest.set_notify(0, pgste.PgsteBits.IN)
    assert guest.test_and_clear_dirty(0).tolist() == [False]
    guest.write(0, 1)
    gfns, _ = guest.notifications()
    assert gfns.tolist() == [0]
    assert guest.test_and_clear_dirty(0).tolist() == [True]


def test_loaded_words() -> None:
    """A word through which no store can go is the zero page; any other of its number is foreign."""
    guest = guest_of("pgtable")
    words = [ZERO | 0x215, ZERO | 0x615, ZERO | 0x015, ZERO | 0x235]
    guest.set_words(range(4), pte=np.array(words, np.uint64))
    assert guest.read([0, 1]).tolist() == [0, 0]
    assert guest.pte()[:2].tolist() == [ZERO | 0x215, ZERO | 0x215]
    for gfn in (2, 3):
        with pytest.raises(pgste.ForeignPteError):
            guest.read(gfn)
    guest.write(0, 4)
    assert guest.peek(range(3)).tolist() == [4, 0, 0]
    guest.host.validate()
    forbidden = pgste.Guest(2, pgste.Host(FRAMES, 0))
    forbidden.set_words(0, pte=np.array([ZERO | 0x355], np.uint64))
    with pytest.raises(pgste.ForeignPteError):
        forbidden.read(0)


def test_a_call_that_fails_puts_it_back() -> None:
    guest = guest_of("pgtable", frames=2, swap=0)
    guest.read(range(4))
    before = state(guest)
    with pytest.raises(pgste.OutOfFramesError):
        guest.write(range(4), 1)
    assert state(guest) == before
    guest.host.validate()
    guest.write(range(2), 1)
    assert guest.read(range(4)).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_it_moves_with_its_slot(generation: str) -> None:
    guest = guest_of(generation, slots=[(0, 4, 0, True)])
    guest.read(range(4))
    guest.move_slot(0, 8)
    assert guest.read(range(8, 12)).tolist() == [0] * 4
    assert in_use(guest) == 0
    guest.write(9, 2)
    assert in_use(guest) == 1
    guest.host.validate()


def test_migration_sees_no_difference() -> None:
    """The log and its values are of PGSTEs; reading all pages costs no frame (what QEMU does)."""
    guest = guest_of("pgtable")
    guest.essa(Orc.SET_UNUSED, [3, 4])
    guest.start_migration()
    guest.read(range(16))
    bits = guest.get_cmma_bits(0, 16)
    assert bits.values.tolist() == [0, 0, 0, 1, 1] + [0] * 11
    assert in_use(guest) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"generation": "zvm"}, "allow_cow_sharing"),
        ({"memory": "caller"}, "allow_cow_sharing"),
    ],
)
def test_refusals(options: dict[str, str], text: str) -> None:
    with pytest.raises(pgste.ArgumentError, match=text):
        pgste.Guest(4, allow_cow_sharing=True, **options)  # type: ignore[arg-type]


def test_keys_from_the_start_forbid_it() -> None:
    guest = pgste.Guest(4, allow_cow_sharing=True, storage_keys=True)
    assert not guest.allow_cow_sharing

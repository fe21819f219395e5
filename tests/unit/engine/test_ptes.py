# SPDX-License-Identifier: MIT
"""The PTE layer: what belongs to whom, refusals, steps that hang together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import pgste

IN, VSIE, PCL = 1 << 46, 1 << 45, 1 << 55
RW = 0x13F  # present, young, dirty, writable
NONE = 0x400


def swap(kind: int, offset: int) -> int:
    return 0x600 | offset << 12 | kind << 2


def test_a_guest_whose_memory_is_the_callers() -> None:
    host = pgste.Host(4, 4)
    guest = pgste.Guest(4, host, memory="caller")
    guest.set_pte_at(range(3), [2 << 12 | RW, swap(0, 1), swap(5, 2**52 - 1)])
    assert host.stats()["frames_free"] == 4
    assert host.stats()["swap_slots_free"] == 4
    for gfn in range(4):
        with pytest.raises(pgste.ForeignPteError):
            guest.write(gfn, 1)
        with pytest.raises(pgste.ForeignPteError):
            guest.read(gfn)
    guest.free(range(4))
    assert guest.intercept(entries=True).tolist() == [(0, 1), (5, 2**52 - 1)]
    assert guest.pte().tolist() == [2 << 12 | RW, NONE, NONE, NONE]
    # the usage tells the caller's reclaim that the page may go
    assert guest.xchg_pte(0, NONE).tolist() == [2 << 12 | RW | 0x80]
    host.validate()


def test_a_swap_entry_of_the_host_is_not_the_callers() -> None:
    """A slot that another guest uses keeps its uses, whatever the caller's words name."""
    host = pgste.Host(2, 2)
    other = pgste.Guest(1, host)
    other.write(0, 5)
    host.swap_out(other, 0)
    guest = pgste.Guest(1, host, memory="caller")
    guest.set_pte_at(0, other.pte()[0])
    assert host.slot_info(0)["count"] == 1
    guest.free(0)
    assert guest.zap_scan(entries=True).tolist() == [(0, 0)]
    assert guest.intercept() == 0
    assert host.slot_info(0)["count"] == 1
    assert other.read(0).tolist() == [5]


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_entries_of_each_kind_of_zap(generation: str) -> None:
    guest = pgste.Guest(600, generation=generation, memory="caller")
    guest.set_pte_at(range(600), [swap(gfn % 3, gfn) for gfn in range(600)])
    guest.set_pgste_bits(range(600), 3 << 24, 1 << 24)
    assert guest.zap(7, entries=True).tolist() == [(1, 7)]
    assert guest.zap(7, entries=True).tolist() == []
    guest.essa(pgste.Orc.SET_UNUSED, [9, 3, 5])
    found = guest.intercept(entries=True)
    assert found.tolist() == [(0, 9), (0, 3), (2, 5)]
    assert found["offset"].tolist() == [9, 3, 5]
    rest = [(gfn % 3, gfn) for gfn in range(600) if gfn not in (3, 5, 7, 9)]
    assert guest.zap_scan(threads=2, entries=True).tolist() == rest
    assert guest.zap_scan(entries=True).tolist() == []
    assert guest.stats()["zapped"] == 600


def test_entries_that_dat_leaves() -> None:
    """A page that the guest maps is none, nor is one whose lock is held, or that is in no slot."""
    guest = pgste.Guest(600, generation="dat", memory="caller", slots=[(0, 5), (5, 595)])
    guest.set_pte_at(range(6), [swap(gfn % 3, 100 + gfn) for gfn in range(6)])
    guest.essa(pgste.Orc.SET_UNUSED, [4, 0, 2, 5, 4])
    guest.set_pte_at(2, 7 << 12 | RW)
    guest.map_pte(2, 7 << 12 | RW)
    guest.delete_slot(1)
    # in this order, the second 4 finds nothing; 2 is mapped, 5 is in no slot any more
    assert guest.intercept(entries=True).tolist() == [(1, 104), (0, 100)]
    guest.essa(pgste.Orc.SET_UNUSED, [1, 3])
    guest.hold_host_locks(0)
    assert guest.intercept(entries=True).tolist() == []
    guest.hold_host_locks(0, False)
    assert guest.zap_scan(entries=True).tolist() == [(1, 101), (0, 103)]
    assert guest.stats()["zapped"] == 4


def test_frames_of_the_host_are_given_back() -> None:
    host = pgste.Host(4, 4)
    guest = pgste.Guest(2, host)
    guest.write([0, 1], 7)
    word = int(guest.pte()[0])
    guest.set_pte_at(0, word | 0x80)  # UNUSED does not survive set_pte_at of a present word
    assert guest.pte()[0] == word
    assert guest.read(0)[0] == 7
    assert guest.xchg_pte(0, NONE)[0] == word
    assert host.stats()["frames_free"] == 3
    assert guest.read(0)[0] == 0
    host.validate()


def test_lazy_is_no_other_result() -> None:
    guests = [pgste.Guest(4, memory="caller") for _ in range(2)]
    for guest in guests:
        guest.set_pte_at(range(4), [RW, NONE, swap(0, 3), RW | 0x400])
    assert (
        guests[0].xchg_pte(range(4), NONE, lazy=True).tolist()
        == guests[1].xchg_pte(range(4), NONE).tolist()
    )


def test_ageing() -> None:
    guest = pgste.Guest(4, memory="caller")
    guest.set_pte_at(range(4), [RW, RW & ~4, swap(0, 3), NONE])
    guest.free(range(4))
    young, before = guest.age(range(4))
    assert young.tolist() == [True, False, False, False]
    assert before.tolist() == [RW | 0x80, RW & ~4 | 0x80, swap(0, 3), NONE]
    assert guest.pte().tolist() == [RW & ~4 | 0x400, RW & ~4 | 0x400, swap(0, 3), NONE]


def test_between_start_and_commit() -> None:
    guest = pgste.Guest(4, memory="caller")
    guest.set_pte_at(range(4), RW)
    assert guest.modify_prot_start([1, 2]).tolist() == [RW, RW]
    assert guest.pte().tolist() == [RW, RW | 0x400, RW | 0x400, RW]
    assert [bool(word & PCL) for word in guest.pgste().tolist()] == [False, True, True, False]
    calls: list[Callable[[], object]] = [
        lambda: guest.set_pte_at(range(4), NONE),
        lambda: guest.age([0, 1]),
        lambda: guest.set_storage_key(2, 1),
        lambda: guest.reset_storage_keys(),
        lambda: guest.set_pgste_bits(1, IN, IN),
        lambda: guest.modify_prot_start([3, 2]),
    ]
    before = (guest.pgste().tolist(), guest.pte().tolist())
    for call in calls:
        with pytest.raises(pgste.StateError, match="between modify_prot_start and"):
            call()
    with pytest.raises(pgste.StateError, match="not one that"):
        guest.modify_prot_commit([1, 3], RW)
    for twice in (
        lambda: guest.modify_prot_start([3, 0, 3]),
        lambda: guest.modify_prot_commit([1, 2, 1], RW),
    ):
        with pytest.raises(pgste.StateError, match="or one is named twice"):
            twice()
    assert (guest.pgste().tolist(), guest.pte().tolist()) == before
    guest.modify_prot_commit([1, 2], RW | 0x200)
    assert guest.pte().tolist() == [RW, RW | 0x200, RW | 0x200, RW]
    assert not any(word & PCL for word in guest.pgste().tolist())
    guest.set_pte_at(range(4), NONE)


def test_soft_dirty_and_the_dirty_log() -> None:
    """What /proc and KVM see of stores."""
    guest = pgste.Guest(4)
    guest.write([0, 1], 1)
    assert guest.soft_dirty().tolist() == [True, True, False, False]
    assert guest.test_and_clear_dirty(range(4)).tolist() == [True, True, False, False]
    guest.clear_soft_dirty(range(4))
    assert not guest.soft_dirty().any()
    assert not guest.test_and_clear_dirty(range(4)).any()
    guest.read(range(2))
    assert not guest.test_and_clear_dirty(range(2)).any()
    guest.write([1], 2)
    assert guest.soft_dirty().tolist() == [False, True, False, False]
    assert guest.test_and_clear_dirty(range(4)).tolist() == [False, True, False, False]


def test_force_prot() -> None:
    guest = pgste.Guest(3, memory="caller")
    guest.set_pte_at(range(3), [RW, RW | 0x200, NONE])
    assert guest.force_prot(range(3), 2, IN).tolist() == [0, -11, -11]
    assert guest.force_prot(range(3), 1, IN).tolist() == [0, 0, -11]
    assert guest.pte().tolist() == [RW | 0x200, RW | 0x200, NONE]
    assert guest.force_prot(range(3), 0, VSIE).tolist() == [0, 0, 0]
    assert guest.pte().tolist() == [RW | 0x600, RW | 0x600, NONE]
    guest.set_pte_at(range(3), NONE)  # does not tell: only an exchange does
    assert guest.notifications()[0].size == 0
    guest.xchg_pte(range(3), NONE)
    gfns, bits = guest.notifications()
    assert (gfns.tolist(), bits.tolist()) == ([0, 1, 2], [IN | VSIE, IN | VSIE, VSIE])


def test_a_host_that_reclaims_notifies() -> None:
    host = pgste.Host(4, 4)
    guest = pgste.Guest(2, host)
    guest.write([0, 1], 1)
    guest.set_notify([0, 1], IN)
    host.swap_out(guest, 1)
    assert [part.tolist() for part in guest.notifications()] == [[1], [IN]]
    host.swap_out(guest, [0, 1])
    assert [part.tolist() for part in guest.notifications()] == [[0], [IN]]


def test_shadow_tables() -> None:
    host = pgste.Host(8, 8)
    parent = pgste.Guest(4, host)
    table = pgste.Guest(4, host, memory="caller")
    parent.write([0, 1], 1)
    frames = [int(word >> 12) for word in parent.pte([0, 1])]
    assert parent.shadow_pte([0, 1, 2], table, [3, 1, 0], [0, 0x200, 0]).tolist() == [1, 1, -11]
    assert table.pte().tolist() == [NONE, frames[1] << 12 | 0x200, NONE, frames[0] << 12]
    assert parent.shadow_pte([1], table, [1], 0).tolist() == [0]
    parent.xchg_pte(0, NONE)
    gfns, bits = parent.notifications()
    assert (gfns.tolist(), bits.tolist()) == ([0], [VSIE])
    table.unshadow_pte(3)
    assert table.pte()[3] == NONE


def test_refusals() -> None:
    host = pgste.Host(8, 8)
    guest = pgste.Guest(4, host)
    zvm = pgste.Guest(4, host, generation="zvm")
    calls: list[Callable[[], object]] = [
        lambda: zvm.set_pte_at(0, NONE),
        lambda: zvm.xchg_pte(0, NONE),
        lambda: zvm.soft_dirty(),
        lambda: zvm.zap_key(0),
        lambda: zvm.set_pgste_bits(0, 1, 1),
        lambda: guest.map_pte(0, RW),
        lambda: guest.unmap_pte(0),
        lambda: guest.set_notify(0, 1 << 31),
        lambda: guest.set_notify(0, 0),
        lambda: guest.force_prot(0, 3),
        lambda: guest.force_prot(0, 1, 1),
        lambda: guest.shadow_pte([0, 1], guest, [0], 0),
        lambda: guest.shadow_pte(0, zvm, 0, 0),
        lambda: guest.shadow_pte(0, pgste.Guest(4), 0, 0),
        lambda: pgste.Guest(4, generation="zvm", memory="caller"),
        lambda: guest.set_pte_at(range(3), [1, 2]),
        lambda: guest.set_pte_at(0, 2**64),
    ]
    for call in calls:
        with pytest.raises(pgste.ArgumentError):
            call()
    with pytest.raises(pgste.UnknownNameError, match="memory: 'mine'"):
        pgste.Guest(4, memory="mine")
    with pytest.raises(pgste.ArgumentTypeError, match="shadow: 3"):
        guest.shadow_pte(0, 3, 0, 0)  # type: ignore[arg-type]
    with pytest.raises(pgste.GfnError, match=r"targets.*9"):
        guest.shadow_pte([0, 1], guest, [0, 9], 0)
    with pytest.raises(pgste.GfnError):
        guest.age([0, 4])
    closed = pgste.Guest(4, host)
    closed.close()
    with pytest.raises(pgste.GuestClosedError):
        guest.shadow_pte(0, closed, 0, 0)

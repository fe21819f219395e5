# SPDX-License-Identifier: MIT
"""Generation "dat" as released: two tables, UNUSED on the host's PTE, locks that are held.

Expected values are worked out from the kernel's text, docs/dat.md has where.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

import pgste
from pgste import Orc, PgsteBits

UNUSED = 0x080
FILLED = 0x13F  # the host's PTE after zero fill
CLEAN = 0x335  # after a load that swapped in
REVISIONS = ("7.0", "7.1", "7.1.5", "7.2")
Rewrite = Literal["none", "xchg", "set"]


def machine(pages: int = 4, frames: int = 8, **config: Any) -> tuple[pgste.Host, pgste.Guest]:
    host = pgste.Host(frames, frames)
    return host, pgste.Guest(pages, host=host, generation="dat", **config)


# ---- CVE-2026-72412: the UNUSED bit that lingers


def store_after_alloc(revision: str, rewrite: Rewrite) -> tuple[int, dict[str, int]]:
    """Five steps: store and free; a notifier; alloc; store; reclaim.  What the page then has."""
    host, guest = machine(revision=revision)
    guest.write(0, 1)
    guest.free(0)
    guest.notifier_unmap(0, rewrite)
    guest.alloc(0)
    guest.write(0, 2)
    host.swap_out(guest, 0)
    host.validate()
    return int(guest.read(0)[0]), guest.host_pte_stats()


@pytest.mark.parametrize("revision", ["7.0", "7.1"])
def test_v7_0_and_v7_1_lose_a_store_made_after_alloc(revision: str) -> None:
    """The operation rewrote the host's PTE by ptep_xchg_* or ptep_modify_prot_commit."""
    content, stats = store_after_alloc(revision, "xchg")
    assert content == 0
    assert stats["used_discards"] == 1


@pytest.mark.parametrize("revision", ["7.1.5", "7.2"])
def test_the_fix_keeps_it(revision: str) -> None:
    content, stats = store_after_alloc(revision, "xchg")
    assert content == 2
    assert stats["used_discards"] == 0


@pytest.mark.parametrize("revision", REVISIONS)
def test_set_ptes_cleared_the_bit_from_the_start(revision: str) -> None:
    assert store_after_alloc(revision, "set")[0] == 2


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_operation_that_leaves_the_pte_alone_loses_it_in_every_release(revision: str) -> None:
    """Open since 23 June 2026: the refault by fast get_user_pages sets no PTE."""
    content, stats = store_after_alloc(revision, "none")
    assert content == 0
    assert stats["used_discards"] == 1


@pytest.mark.parametrize("generation", ["pgtable", "zvm"])
def test_one_table_never_loses_it(generation: str) -> None:
    host = pgste.Host(8, 8)
    guest = pgste.Guest(4, host=host, generation=generation)
    guest.write(0, 1)
    guest.free(0)
    guest.alloc(0)
    guest.write(0, 2)
    host.swap_out(guest, 0)
    assert guest.read(0).tolist() == [2]


# ---- what reclaim makes of an unused page


def test_reclaim_drops_an_unused_page_that_the_guest_maps() -> None:
    host, guest = machine()
    guest.write(range(2), 1)
    guest.free(0)
    assert host.swap_out(guest, range(2)) == 2
    assert guest.pte(range(2)).tolist() == [0x400, 0x600]
    assert guest.host_ptes(range(2)).tolist() == guest.pte(range(2)).tolist()
    assert guest.stats()["unused_discards"] == 1
    assert guest.host_pte_stats()["unused_swap_outs"] == 0


def test_an_unused_page_whose_guest_pte_is_gone_is_written() -> None:
    host, guest = machine()
    guest.write(0, 1)
    assert guest.notifier_unmap(0) == 1
    guest.free(0)  # invalid: goes onto the list, and the list finds nothing on swap
    assert guest.cbrl().tolist() == [0]
    assert guest.intercept() == 0
    assert host.swap_out(guest, 0) == 1
    assert guest.stats()["unused_discards"] == 0
    assert guest.stats()["swap_outs"] == guest.host_pte_stats()["unused_swap_outs"] == 1
    assert guest.zap_scan() == 1


def test_an_unused_page_whose_lock_is_held_is_written() -> None:
    host, guest = machine(pages=600, frames=600)
    guest.write(slice(None), 1)
    guest.free(slice(None))
    guest.hold_host_locks(300)  # pages 256 to 511
    host.swap_out(guest, slice(None))
    assert guest.stats()["unused_discards"] == 600 - 256
    assert guest.host_pte_stats() == {
        "notifier_unmaps": 0,
        "lock_tries": 600,
        "lock_failures": 256,
        "unused_swap_outs": 256,
        "used_discards": 0,
    }
    swapped = np.flatnonzero(guest.states() & pgste.State.SWAP)
    assert swapped.tolist() == list(range(256, 512))


@pytest.mark.parametrize(
    ("rate", "written"),
    [(0, []), (1, list(range(12))), (0.25, [3, 7, 11]), (1 / 3, [3, 6, 9]), (0.75, None)],
)
def test_contention_is_deterministic_and_even(rate: float, written: list[int] | None) -> None:
    host, guest = machine(pages=12, frames=12)
    guest.write(slice(None), 1)
    guest.free(slice(None))
    guest.set_contention(rate)
    host.swap_out(guest, slice(None))
    swapped = np.flatnonzero(guest.states() & pgste.State.SWAP).tolist()
    assert len(swapped) == guest.host_pte_stats()["unused_swap_outs"]
    if written is None:
        assert len(swapped) == 9
    else:
        assert swapped == written


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_zap_under_a_held_lock(revision: str) -> None:
    """v7.0 waits for the lock, 7.1 and later pass the entry over."""
    host, guest = machine(revision=revision)
    guest.write(0, 1)
    host.swap_out(guest, 0)
    guest.free(0)
    guest.hold_host_locks(0)
    zapped = guest.intercept()
    assert zapped == (1 if revision == "7.0" else 0)
    assert guest.stats()["processed"] == 1
    guest.hold_host_locks(0, False)
    assert guest.zap(0) == (not zapped)


# ---- both tables


def test_the_host_keeps_a_page_that_a_notifier_takes_from_the_guest() -> None:
    host, guest = machine()
    guest.write(0, 7)
    frame = int(guest.pte(0)[0]) & ~0xFFF
    assert guest.host_ptes(0).tolist() == [frame | FILLED]
    assert guest.notifier_unmap(range(2)) == 1
    assert guest.pte(range(2)).tolist() == [0x400, 0x400]
    assert guest.host_ptes(range(2)).tolist() == [frame | FILLED, 0x400]
    assert guest.peek(0).tolist() == [7]
    assert guest.notifier_unmap(0) == 0
    host.validate()
    assert guest.read(0).tolist() == [7]  # mapped again, read only
    assert guest.pte(0).tolist() == [frame | 0x225]
    assert host.stats()["zero_fills"] == 1


def test_unused_is_set_on_the_host_pte_only_if_the_guest_had_one() -> None:
    _, guest = machine()
    guest.write(range(3), 7)
    guest.free(range(2))
    guest.notifier_unmap(1)
    guest.alloc(1)
    guest.read(1)
    guest.notifier_unmap(range(3))
    low = [word & 0xFFF for word in guest.host_ptes(range(3)).tolist()]
    assert low == [FILLED | UNUSED, FILLED | UNUSED, FILLED]


def test_a_load_that_swaps_in_leaves_the_hosts_pte_clean() -> None:
    host, guest = machine()
    guest.write(0, 7)
    host.swap_out(guest, 0)
    guest.read(0)
    assert guest.host_ptes(0).tolist() == [CLEAN]
    host.pin(guest, 0, True)
    host.reclaim(1)  # ages both
    assert guest.pte(0).tolist() == [0x621]
    assert guest.host_ptes(0).tolist() == [CLEAN & ~0x004 | 0x400]


def test_zap_wants_the_guests_pte_gone_and_the_hosts_on_swap() -> None:
    host, guest = machine()
    guest.write(range(2), 7)
    guest.free(range(2))
    guest.set_words(range(2), pgste=int(PgsteBits.ZERO))
    assert guest.zap(0) is False  # both map it
    guest.notifier_unmap(0)
    guest.set_words(0, pgste=int(PgsteBits.ZERO))
    assert guest.zap(0) is False  # the host has it
    host.swap_out(guest, 0)
    guest.set_words(0, pgste=int(PgsteBits.ZERO))
    assert guest.zap(0) is True


@pytest.mark.parametrize("revision", REVISIONS)
def test_zero_outlives_the_unmap_in_v7_0_only(revision: str) -> None:
    """_gmap_ptep_xchg clears ZERO since "Properly reset zero bit in PGSTE", v7.1."""
    host, guest = machine(revision=revision)
    guest.write(0, 7)
    host.swap_out(guest, 0)
    guest.essa(Orc.SET_VOLATILE, 0)
    assert int(guest.pgste(0)[0]) & PgsteBits.ZERO
    guest.read(0)
    assert bool(int(guest.pgste(0)[0]) & PgsteBits.ZERO) == (revision == "7.0")
    host.swap_out(guest, 0)
    # so in v7.0 the list takes a page that the guest came to use again without an ESSA
    assert guest.intercept() == (revision == "7.0")


@pytest.mark.parametrize("revision", REVISIONS)
def test_v7_0_zaps_the_page_at_the_guests_address(revision: str) -> None:
    """released.md B: a store to a page in use is lost in four steps."""
    host, guest = machine(revision=revision, slots=[(0, 2, 1), (2, 2, 10)])
    guest.write(range(2), [5, 6])
    host.swap_out(guest, range(2))
    guest.free(1)  # its guest address is the host address of page 0
    assert guest.intercept() == 1
    host.validate()
    assert guest.peek(range(2)).tolist() == ([0, 6] if revision == "7.0" else [5, 0])


@pytest.mark.parametrize("revision", REVISIONS)
def test_in_the_best_case_nothing_is_zapped(revision: str) -> None:
    host, guest = machine(revision=revision, slots=[(0, 2, 100)])
    guest.write(range(2), [5, 6])
    host.swap_out(guest, range(2))
    guest.free(1)
    assert guest.intercept() == (revision != "7.0")


def test_v7_0_leaves_a_page_that_is_in_memory_at_the_wrong_address() -> None:
    host, guest = machine(revision="7.0", slots=[(0, 2, 1), (2, 2, 10)])
    guest.write(range(2), [5, 6])
    host.swap_out(guest, 1)
    guest.free(1)
    assert guest.intercept() == 0
    assert guest.peek(range(2)).tolist() == [5, 6]
    host.validate()


def test_v7_0_passes_over_an_entry_whose_page_is_mapped_again() -> None:
    host, guest = machine(revision="7.0", slots=[(0, 2, 1), (2, 2, 10)])
    guest.write(range(2), [5, 6])
    host.swap_out(guest, range(2))
    guest.free(1)
    guest.read(1)
    assert guest.intercept() == 0
    assert guest.peek(0).tolist() == [5]


def test_a_store_outlives_the_notifier() -> None:
    """The frame of a clean page that was stored to knows it when the guest's PTE goes."""
    host, guest = machine()
    guest.write(0, 5)
    host.swap_out(guest, 0)
    guest.read(0)  # clean: the slot still holds it
    assert not host.frame_info(0)["dirty"]
    guest.write(0, 6)
    guest.notifier_unmap(0)
    assert host.frame_info(0)["dirty"]
    host.swap_out(guest, 0)
    assert guest.read(0).tolist() == [6]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_store_that_the_host_must_allow_writes_its_pte(revision: str) -> None:
    """wp_page_reuse ends in set_pte, which takes UNUSED off since the fix."""
    host, guest = machine(revision=revision)
    guest.write(0, 5)
    frame = int(guest.pte(0)[0]) & ~0xFFF
    guest.notifier_unmap(0)
    guest.set_host_ptes(0, frame | 0x395)  # read only, clean, UNUSED
    guest.read(0)
    assert guest.host_ptes(0).tolist() == [frame | 0x395]
    guest.notifier_unmap(0)
    guest.write(0, 6)
    lingers = revision in ("7.0", "7.1")
    bits = 0x1BF if lingers else 0x13F
    assert guest.host_ptes(0).tolist() == [frame | bits]
    host.swap_out(guest, 0)
    assert guest.read(0).tolist() == [0 if lingers else 6]


@pytest.mark.parametrize("revision", REVISIONS)
def test_madv_free_of_a_page_that_only_the_host_maps(revision: str) -> None:
    _, guest = machine(revision=revision, mechanism="madv_free")
    guest.write(0, 5)
    frame = int(guest.pte(0)[0]) & ~0xFFF
    guest.notifier_unmap(0)
    guest.set_host_ptes(0, frame | FILLED | UNUSED)
    guest.set_words(0, pgste=int(PgsteBits.ZERO))
    guest.free(0)
    assert guest.pte(0).tolist() == [0x400]
    assert guest.host_ptes(0).tolist() == [frame | 0x733]
    assert bool(int(guest.pgste(0)[0]) & PgsteBits.ZERO) == (revision == "7.0")


def test_a_call_that_fails_puts_both_tables_back() -> None:
    host = pgste.Host(2, 1)
    guest = pgste.Guest(4, host=host, generation="dat")
    guest.write(range(2), 5)
    guest.notifier_unmap(range(2))
    before = guest.host_ptes().tolist(), guest.host_pte_stats(), guest.pte().tolist()
    with pytest.raises(pgste.OutOfFramesError):
        guest.write(range(4), 6)
    assert before == (guest.host_ptes().tolist(), guest.host_pte_stats(), guest.pte().tolist())
    host.validate()


def test_a_slot_that_moves_takes_both_tables_along() -> None:
    host, guest = machine(pages=8, slots=[(0, 2, 100), (6, 2, 200)])
    guest.write(0, 5)
    guest.write(1, 6)
    guest.free(1)
    guest.notifier_unmap(1)
    words = guest.host_ptes(range(2)).tolist()
    guest.move_slot(0, 3)
    assert guest.host_ptes().tolist() == [0x400] * 3 + words + [0x400] * 3
    host.validate()


def test_ageing_makes_a_frame_dirty_that_could_be_stored_to() -> None:
    """gmap_clear_young_pte: DIRTY, or no PROTECT; but not SPECIAL."""
    for low, dirty in ((0x025, True), (0x22D, True), (0x225, False), (0x065, False)):
        host, guest = machine()
        guest.write(0, 5)
        host.swap_out(guest, 0)
        guest.read(0)
        frame = int(guest.pte(0)[0]) & ~0xFFF
        guest.set_words(0, pte=frame | low)
        young, before = guest.age(0)
        assert (young.tolist(), before.tolist()) == ([True], [frame | low])
        assert host.frame_info(0)["dirty"] == dirty
        assert guest.age(0)[0].tolist() == [False]


def test_set_host_ptes() -> None:
    host, guest = machine()
    guest.write(0, 7)
    frame = int(guest.pte(0)[0]) & ~0xFFF
    guest.set_host_ptes(0, frame | FILLED | UNUSED)
    assert guest.pte(0).tolist() == [frame | 0x2D]  # other bits alone: the guest keeps its PTE
    assert host.swap_out(guest, 0) == 1  # and reclaim looks at this bit
    assert guest.peek(0).tolist() == [0]
    guest.write(1, 8)
    host.swap_out(guest, 1)
    entry = int(guest.pte(1)[0])
    guest.set_host_ptes(2, entry)
    assert guest.read(2).tolist() == [8]
    guest.write(3, 9)
    guest.set_host_ptes(3, 0x400)
    assert guest.pte(3).tolist() == [0x400]
    assert guest.peek(3).tolist() == [0]
    guest.set_host_ptes(3, 0x1234567 << 12 | 1)  # nothing of the host's
    assert guest.pte(3).tolist() == [0x400]
    assert guest.host_ptes(3).tolist() == [0x1234567 << 12 | 1]
    with pytest.raises(pgste.ForeignPteError):
        guest.read(3)
    host.validate()


def test_bytes_of_the_second_table() -> None:
    assert machine()[1].bytes_per_page - pgste.Guest(4).bytes_per_page == 2


# ---- arguments


def test_one_table_has_no_second() -> None:
    guest = pgste.Guest(4)
    guest.write(0, 1)
    assert guest.host_ptes().tolist() == guest.pte().tolist()
    assert set(guest.host_pte_stats().values()) == {0}
    for call in (
        lambda: guest.set_host_ptes(0, 0x400),
        lambda: guest.notifier_unmap(0),
        lambda: guest.hold_host_locks(0),
        lambda: guest.set_contention(0.5),
    ):
        with pytest.raises(pgste.ArgumentError, match="generation: 'pgtable' has one table"):
            call()


def test_refusals() -> None:
    _, guest = machine()
    any_guest: Any = guest
    for call, error, text in (
        (lambda: guest.notifier_unmap(4), pgste.GfnError, "gfns: 4"),
        (lambda: any_guest.notifier_unmap(0, "move"), pgste.UnknownNameError, "rewrite: 'move'"),
        (lambda: guest.hold_host_locks([0, 9]), pgste.GfnError, r"gfns\[1\]: 9"),
        (lambda: any_guest.hold_host_locks(0, "yes"), pgste.ArgumentTypeError, "on: 'yes'"),
        (lambda: guest.set_contention(1.5), pgste.ArgumentError, "rate: 1.5 is not in 0 .. 1"),
        (lambda: guest.set_contention(float("nan")), pgste.ArgumentError, "rate: nan"),
        (lambda: any_guest.set_contention("half"), pgste.ArgumentTypeError, "rate: 'half'"),
        (lambda: guest.set_host_ptes(0, [1, 2]), pgste.ArgumentError, "words"),
        (lambda: guest.host_ptes(-1), pgste.GfnError, "gfns: -1"),
        (lambda: machine(revision="6.1"), pgste.UnknownNameError, "revision: '6.1'"),
        (lambda: machine(revision=""), pgste.UnknownNameError, "revision: ''"),
        (lambda: pgste.Guest(4, revision="7.0"), pgste.ArgumentError, "revision: '7.0'"),
    ):
        with pytest.raises(error, match=text):
            call()
    assert set(guest.host_pte_stats().values()) == {0}


def test_revision_is_told() -> None:
    assert machine()[1].revision == "7.2"
    assert machine(revision="7.1.5")[1].revision == "7.1.5"
    assert pgste.Guest(4).revision is None

# SPDX-License-Identifier: MIT
"""Memory slots and the controls of a virtual machine, refusals with their errno."""

from __future__ import annotations

import errno
from collections.abc import Callable

import numpy as np
import pytest

import pgste

ALL = 2**64 - 1
NO_PAGE = 2**64 - 1


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(pgste.KvmError) as caught:
        call()
    assert caught.value.errno == number
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_without_slots_there_is_one_of_all_pages(generation: str) -> None:
    guest = pgste.Guest(10, generation=generation)
    assert guest.slots == {0: pgste.Slot(0, 10, 0, True)}
    assert guest.host_gfn(slice(None)).tolist() == list(range(10))
    assert (guest.cmma_enabled, guest.uses_cmm, guest.vcpus_created) == (True, False, True)
    assert guest.log_revision == {"pgtable": "pgtable", "dat": "dat_new"}[generation]


def test_the_log_is_that_of_the_release() -> None:
    logs = {
        release: pgste.Guest(4, generation="dat", revision=release).log_revision
        for release in ("7.0", "7.1", "7.1.5", "7.2")
    }
    assert logs == {"7.0": "dat", "7.1": "dat", "7.1.5": "dat", "7.2": "dat_new"}
    assert pgste.Guest(4, generation="dat", log_revision="dat").revision == "7.2"
    assert pgste.Guest(4, generation="dat", revision="7.0", log_revision="dat_new")


def test_pages_outside_every_slot() -> None:
    slots: list[tuple[int, ...] | pgste.Slot] = [(2, 3, 100), pgste.Slot(7, 2)]
    old = pgste.Guest(10, slots=slots)
    new = pgste.Guest(10, generation="dat", slots=slots)
    assert new.essa(2, range(10)).tolist() == [16, 16, 2, 2, 2, 16, 16, 2, 2, 16]
    for gfns in (5, [3, 5], range(2, 6)):
        with pytest.raises(pgste.AddressingException, match="page 5 is outside every memory slot"):
            old.essa(2, gfns)
    assert old.essa(2, [3, 8]).tolist() == [2, 2]
    for guest in (old, new):
        with pytest.raises(pgste.AddressingException, match="outside every memory slot") as caught:
            guest.write([2, 9], 1)
        assert caught.value.address == 9 << 12
        with pytest.raises(pgste.GfnError, match="outside every memory slot"):
            guest.free([2, 3, 9])
        with pytest.raises(pgste.GfnError, match="outside every memory slot"):
            guest.alloc(4, order=1)
        with pytest.raises(pgste.GfnError):
            guest.alloc_page(0)
        guest.write([2, 4, 7, 8], 5)
        assert guest.read([2, 8]).tolist() == [5, 5]
        expected = [NO_PAGE, NO_PAGE, 100, 101, 102, NO_PAGE, NO_PAGE, 7, 8, NO_PAGE]
        assert guest.host_gfn(slice(None)).tolist() == expected


def test_refusals_of_slots() -> None:
    guest = pgste.Guest(100, slots=[(10, 10), (30, 10)])
    refused(errno.EINVAL, lambda: guest.add_slot(50, 0))
    refused(errno.EINVAL, lambda: guest.add_slot(95, 6))
    refused(errno.EINVAL, lambda: guest.add_slot(200, 6))
    refused(errno.EEXIST, lambda: guest.add_slot(19, 1))
    refused(errno.EEXIST, lambda: guest.add_slot(35, 80))
    refused(errno.EINVAL, lambda: guest.move_slot(2, 50))
    refused(errno.EEXIST, lambda: guest.move_slot(0, 25))
    refused(errno.EINVAL, lambda: guest.move_slot(0, 91))
    refused(errno.EINVAL, lambda: guest.delete_slot(2))
    refused(errno.EINVAL, lambda: guest.set_dirty_logging(2, True))
    with pytest.raises(pgste.ArgumentError, match=r"host: pages 15 \.\. 15"):
        guest.add_slot(60, 1, 15)
    assert guest.slots == {0: (10, 10, 10, False), 1: (30, 10, 30, False)}
    assert guest.add_slot(60, 5) == 2
    guest.delete_slot(0)
    assert guest.add_slot(0, 5, 700, True) == 0
    assert list(guest.slots) == [0, 1, 2]
    guest.move_slot(0, 90)
    assert list(guest.slots) == [1, 2, 0]


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_memory_goes_with_the_slot(generation: str) -> None:
    host = pgste.Host(6, 20)
    guest = pgste.Guest(40, host, generation=generation, slots=[(0, 10)])
    guest.write(range(10), range(1, 11))
    guest.essa(2, [3])
    host.validate()
    for base in (5, 25, 21, 0):
        guest.move_slot(0, base)
        host.validate()
        assert guest.peek(range(base, base + 10)).tolist() == list(range(1, 11))
        usage = int(guest.pgste(base + 3)[0]) >> 24 & 3
        # dat: the PGSTE is in the guest's table, and stays where it is
        assert usage == (1 if generation == "pgtable" or base == 0 else 0)
    frames = {host.frame_info(i)["gfn"] for i in range(6)}
    assert frames <= set(range(10))
    assert not guest.states(range(10, 40)).any()
    guest.essa(1, [3])
    guest.delete_slot(0)
    host.validate()
    assert guest.peek(range(10)).tolist() == list(range(1, 11))  # the host still has it
    guest.add_slot(0, 4)
    guest.add_slot(4, 4, 200)  # other memory
    assert guest.peek(range(8)).tolist() == [1, 2, 3, 4, 0, 0, 0, 0]
    assert guest.read(range(8)).tolist() == [1, 2, 3, 4, 0, 0, 0, 0]
    host.validate()


def test_enabling_cmma() -> None:
    guest = pgste.Guest(8, cmma=False)
    assert not guest.cmma_enabled
    assert not guest.vcpus_created
    refused(errno.ENXIO, lambda: guest.get_cmma_bits(0, 8))
    refused(errno.EINVAL, guest.clear_cmma)
    guest.enable_cmma()
    assert guest.cmma_enabled
    assert not guest.uses_cmm
    guest.essa(2, 1)
    assert guest.vcpus_created
    assert guest.uses_cmm
    refused(errno.EBUSY, guest.enable_cmma)
    guest.clear_cmma()
    assert not guest.states(1)[0] & 3

    late = pgste.Guest(8, cmma=False)
    with pytest.raises(pgste.OperationException):
        late.essa(2, 1)
    refused(errno.EBUSY, late.enable_cmma)
    late.free(range(4))
    assert late.is_free(range(4)).all()
    assert late.stats()["essa"] == 0
    late.start_migration()  # without CMMA there is nothing to log
    assert late.migration_mode
    assert not late.states().any()
    refused(errno.EBUSY, pgste.Guest(8).enable_cmma)
    none = pgste.Guest(8, mechanism="none")
    refused(errno.ENXIO, none.enable_cmma)
    refused(errno.ENXIO, none.clear_cmma)
    refused(errno.ENXIO, lambda: none.set_cmma_bits(0, [1], ALL))


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_migration_mode_and_slots(generation: str) -> None:
    guest = pgste.Guest(100, generation=generation, slots=[])
    refused(errno.EINVAL, guest.start_migration)
    guest.add_slot(0, 10)
    refused(errno.EINVAL, guest.start_migration)
    assert not guest.migration_mode
    guest.set_dirty_logging(0, True)
    guest.migration_mode = True
    assert guest.migration_mode
    assert guest.dirty_count == 10
    guest.add_slot(20, 10, log_dirty=True)
    assert guest.migration_mode
    assert guest.dirty_count == 10
    guest.add_slot(40, 10)
    assert not guest.migration_mode
    refused(errno.EINVAL, guest.start_migration)
    guest.set_dirty_logging(2, True)
    guest.start_migration()
    assert guest.dirty_count == 30
    guest.set_dirty_logging(1, False)
    assert not guest.migration_mode


def test_a_first_essa_while_migrating_is_not_noted() -> None:
    """handle_essa sets uses_cmm only where it would switch CMMA on: GET then answers zeros."""
    guest = pgste.Guest(8)
    guest.start_migration()
    guest.essa(2, [1, 2])
    assert not guest.uses_cmm
    assert guest.get_cmma_bits(0, 8)[:3] == (0, 0, 0)
    guest.set_cmma_bits(0, [0], ALL)
    assert guest.uses_cmm
    assert guest.get_cmma_bits(0, 8).count == 8


@pytest.mark.parametrize("pages", [8, 256])
@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_entries_of_the_list_outside_every_slot_are_passed_over(
    generation: str, pages: int
) -> None:
    guest = pgste.Guest(pages, generation=generation)
    guest.write([1, 2], 5)
    guest.host.swap_out(guest, [1, 2])
    guest.essa(pgste.Orc.SET_UNUSED, [1, 2])
    guest.delete_slot(0)
    assert guest.intercept() == 0
    assert guest.stats()["processed"] == 2
    assert not guest.zap(1)
    assert guest.count_zappable() == guest.zap_scan() == 0
    assert guest.count_states()["zappable"] == 0
    guest.add_slot(0, pages)
    # dat: a table went with the slot, and with its PGSTEs what would make it zap
    zappable = 0 if generation == "dat" and pages == 256 else 2
    assert guest.count_zappable(threads=2) == zappable
    assert guest.zap_scan() == zappable


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_interpretation(generation: str) -> None:
    guest = pgste.Guest(8, generation=generation, interpretation=True)
    guest.write([1, 2], 5)
    guest.host.reclaim(8)
    guest.host.swap_out(guest, [1, 2])
    guest.essa(2, [1, 2])
    stats = guest.stats()
    assert guest.interpretation
    assert not guest.migration_mode
    assert guest.uses_cmm
    assert (stats["intercepts"], stats["zapped"], guest.cbrl().size) == (2, 2, 0)
    assert guest.dirty_count == 0


def test_log_refusals() -> None:
    guest = pgste.Guest(8)
    refused(errno.EINVAL, lambda: guest.get_cmma_bits(0, 8))
    refused(errno.EINVAL, lambda: guest.get_cmma_bits(0, 8, flags=2))
    refused(errno.EINVAL, lambda: guest.get_cmma_bits(0, 8, peek=True, flags=0xFEEDC0FE))
    refused(errno.EINVAL, lambda: guest.set_cmma_bits(0, [1], ALL, flags=1))
    refused(errno.EINVAL, lambda: guest.set_cmma_bits(0, bytes(2**20 + 1), ALL))
    refused(errno.EINVAL, lambda: guest.mark_dirty(1))
    refused(errno.EINVAL, lambda: guest.set_log([]))
    assert guest.get_cmma_bits(0, 8, peek=True)[:3] == (0, 0, 0)
    guest.set_cmma_bits(0, b"", ALL)
    assert not guest.uses_cmm
    refused(errno.EFAULT, lambda: guest.set_cmma_bits(6, np.full(3, 0xFF, np.uint8), ALL))
    assert guest.uses_cmm
    values = guest.get_cmma_bits(0, 9, peek=True).values
    assert values.tolist() == [0, 0, 0, 0, 0, 0, 0x43, 0x43]
    refused(errno.EFAULT, lambda: guest.get_cmma_bits(8, 1, peek=True))


@pytest.mark.parametrize(("revision", "result"), [("dat", 5), ("dat_new", -errno.EFAULT)])
def test_what_set_returns_for_a_hole(revision: str, result: int) -> None:
    guest = pgste.Guest(600, generation="dat", log_revision=revision, slots=[(1, 500)])
    with pytest.raises(pgste.KvmFaultError) as caught:
        guest.set_cmma_bits(5, [1], ALL)  # page 0 of its page table is in a hole
    assert caught.value.result == result
    assert not guest.states().any()
    guest.set_cmma_bits(256, [1] * 250, ALL)  # the hole behind 500 is passed over
    assert int(guest.states(slice(None)).sum()) == 245


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"slots": [(0,)]}, pgste.ArgumentTypeError),
        ({"slots": 5}, pgste.ArgumentTypeError),
        ({"slots": [(0, 5, None, 1)]}, pgste.ArgumentTypeError),
        ({"slots": [(-1, 5)]}, pgste.ArgumentError),
        ({"slots": [(0, 11)]}, pgste.KvmArgumentError),
        ({"slots": [(0, 5), (4, 2)]}, pgste.SlotsOverlapError),
        ({"slots": [(0, 5), (5, 2, 0)]}, pgste.ArgumentError),
        ({"slots": [], "generation": "zvm"}, pgste.ArgumentError),
        ({"interpretation": True, "generation": "zvm"}, pgste.ArgumentError),
        ({"cmma": False, "mechanism": "none"}, pgste.ArgumentError),
        ({"cmma": 1}, pgste.ArgumentTypeError),
        ({"log_revision": "new"}, pgste.UnknownNameError),
        ({"log_revision": 1}, pgste.ArgumentTypeError),
        ({"log_revision": "dat"}, pgste.ArgumentError),
        ({"log_revision": "pgtable", "generation": "dat"}, pgste.ArgumentError),
    ],
    ids=str,
)
def test_arguments_of_guests(arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        pgste.Guest(10, **arguments)  # type: ignore[arg-type]


def test_arguments_of_calls() -> None:
    guest = pgste.Guest(10, slots=[(0, 5, None, True)])
    guest.start_migration()
    with pytest.raises(pgste.ArgumentError, match="start: "):
        guest.get_cmma_bits(2**52, 1)
    with pytest.raises(pgste.ArgumentError, match="count: "):
        guest.get_cmma_bits(0, 2**32)
    with pytest.raises(pgste.ArgumentError, match=r"values\[1\]: 256"):
        guest.set_cmma_bits(0, np.array([1, 256]), ALL)
    with pytest.raises(pgste.ArgumentTypeError, match="peek: "):
        guest.get_cmma_bits(0, 1, peek=1)  # type: ignore[arg-type]
    with pytest.raises(pgste.GfnError, match="page 7 is outside every memory slot"):
        guest.mark_dirty([1, 7])
    with pytest.raises(pgste.GfnError):
        guest.set_log([10])
    assert guest.dirty_count == 5


def test_zvm_has_no_log() -> None:
    guest = pgste.Guest(4, flavour="zvm")
    for call in (
        guest.start_migration,
        guest.enable_cmma,
        lambda: guest.get_cmma_bits(0, 1),
        lambda: guest.set_cmma_bits(0, [1], ALL),
        lambda: guest.mark_dirty(0),
        lambda: guest.delete_slot(0),
    ):
        refused(errno.ENXIO, call)
    guest.migration_mode = True
    assert guest.migration_mode


# ---- slots and the two tables of dat


def two_tables(guest: pgste.Guest) -> tuple[list[int], list[int]]:
    """PTEs of both tables, without the frames."""
    return (guest.pte() & np.uint64(0xFFF)).tolist(), guest.host_ptes().tolist()


@pytest.mark.parametrize("pages", [8, 256, 300])
def test_the_guests_ptes_go_with_their_slot(pages: int) -> None:
    """dat_set_slot empties them; the host's table does not change, nor the contents."""
    host = pgste.Host(pages, pages)
    guest = pgste.Guest(pages, host, generation="dat", storage_keys=True)
    guest.write(range(4), [1, 2, 3, 4])
    host.swap_out(guest, [2, 3])
    guest.read(3)
    guest.set_notify(range(2), pgste.PgsteBits.DAT_PREFIX)
    guest.set_storage_key([0, 5], 0x30)
    assert guest.pte(5)[0] == 0x402  # an empty PTE that is soft dirty, as its key changed
    before = guest.host_ptes()
    keys = host.frame_key(range(pages)).tolist()
    guest.delete_slot(0)
    host.validate()
    assert guest.host_ptes().tolist() == before.tolist()
    assert (guest.pte([0, 1, 3, 5]) == 0x400).all()
    assert not guest.states(slice(None))[[0, 1, 3]].any() & pgste.State.VALID
    assert guest.notifications()[0].size == 0  # it tells nobody
    assert host.frame_key(range(pages)).tolist() == keys  # and leaves keys in the frames
    guest.add_slot(0, pages)
    assert guest.host_ptes().tolist() == before.tolist()
    assert guest.peek(range(4)).tolist() == [1, 2, 3, 4]
    assert guest.essa(pgste.Orc.SET_UNUSED, range(4)).tolist() == [2] * 4  # none is mapped
    assert guest.cbrl().tolist() == [0, 1, 2, 3]
    guest.essa(pgste.Orc.SET_STABLE, range(4))
    assert guest.read(range(4)).tolist() == [1, 2, 3, 4]
    host.validate()


def test_a_store_is_not_lost_with_its_slot() -> None:
    """The guest's PTE alone knew that the page is dirty: a load mapped it, a store changed it."""
    host = pgste.Host(4, 4)
    guest = pgste.Guest(256, host, generation="dat")
    guest.write(0, 1)
    host.swap_out(guest, 0)
    guest.read(0)  # clean, its slot still has the content
    guest.write(0, 2)
    guest.delete_slot(0)
    guest.add_slot(0, 256)
    host.swap_out(guest, 0)
    assert guest.read(0).tolist() == [2]


@pytest.mark.parametrize("to", [3, 250, 259, 276, 500])
def test_the_hosts_ptes_move_with_the_memory(to: int) -> None:
    """Each page has other bits in the host's table: UNUSED, clean, aged, swapped, none."""
    host = pgste.Host(40, 40)
    guest = pgste.Guest(1024, host, generation="dat", revision="7.0", slots=[(256, 20, 1000, True)])
    guest.write(range(256, 270), range(1, 15))
    guest.free([256, 257])
    guest.notifier_unmap([256, 258], "none")
    guest.age([259, 260])
    host.swap_out(guest, [261, 262, 263])
    guest.read(262)
    guest.write(263, 20)
    before, content = guest.host_ptes(), guest.peek(range(256, 276)).tolist()
    assert len(set(before.tolist())) > 14
    assert before[256] & np.uint64(0x80)
    guest.move_slot(0, to)
    host.validate()
    after = guest.host_ptes()
    assert after[to : to + 20].tolist() == before[256:276].tolist()
    left = [gfn for gfn in range(1024) if not to <= gfn < to + 20]
    assert (after[left] == 0x400).all()
    assert guest.peek(range(to, to + 20)).tolist() == content
    assert not (guest.states() & pgste.State.VALID).any()
    guest.move_slot(0, 256)
    assert guest.host_ptes().tolist() == before.tolist()
    assert guest.host_gfn([256, 275]).tolist() == [1000, 1019]
    # the page that lost its PTE while it was unused has UNUSED on still, and v7.0 drops it
    guest.alloc([256, 257])
    guest.write([256, 257], 9)
    assert host.swap_out(guest, [256, 257, 258]) == 3
    assert guest.read([256, 257, 258]).tolist() == [0, 9, 3]


@pytest.mark.parametrize("release", ["7.1.5", "7.2"])
def test_pgstes_stay_in_tables_that_are_not_freed(release: str) -> None:
    """From v7.1 on a slot may end inside a page table of 256 pages."""
    guest = pgste.Guest(1024, generation="dat", revision=release, slots=[(100, 500)])
    word = int(pgste.PgsteBits.ZERO | pgste.PgsteBits.CMMA_D | pgste.PgsteBits.GC) | 0x71 << 24
    guest.set_words(range(1024), pgste=word)
    kept = word if release == "7.1.5" else word & ~int(pgste.PgsteBits.CMMA_D)

    def words(first: int, last: int) -> set[int]:
        return set(guest.pgste(range(first, last)).tolist())

    guest.delete_slot(0)
    assert words(0, 100) == words(600, 1024) == {word}  # no page of the slot
    assert words(256, 512) == {0}
    assert words(100, 256) == words(512, 600) == {kept}
    guest.set_words(range(1024), pgste=word)
    guest.add_slot(100, 500, 5000)  # other memory, the same tables
    assert words(256, 512) == {0}
    assert words(100, 256) == words(512, 600) == {kept}
    guest.set_words(range(1024), pgste=word)
    guest.move_slot(0, 110)
    assert words(256, 512) == {0}
    assert words(100, 256) == words(512, 610) == {kept}
    assert words(610, 1024) == {word}


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_walks_of_all_pages_pass_over_holes_in_dat(generation: str) -> None:
    """dat walks the guest's tables and ignores holes; pgtable walks the host's memory."""
    guest = pgste.Guest(64, generation=generation, slots=[(8, 16), (40, 8)])
    guest.set_words(range(64), pgste=0x41 << 24 | 0xF8 << 56)
    guest.reset_cmma()
    guest.reset_storage_keys()
    changed = [gfn for gfn in range(64) if 8 <= gfn < 24 or 40 <= gfn < 48]
    expected = np.full(64, 0x41 << 24 | 0xF8 << 56, np.uint64)
    expected[changed if generation == "dat" else slice(None)] = 0
    after = guest.pgste() & ~np.uint64(0x6 << 48)  # pgtable: R and C are on after a reset
    assert after.tolist() == expected.tolist()


def test_counts_are_of_pages_in_slots() -> None:
    guest = pgste.Guest(600_000, slots=[(5, 10), (300_000, 280_000)])
    guest.essa(pgste.Orc.SET_UNUSED, [*range(5, 15), 300_000])
    for threads in (1, 3):
        states = guest.count_states(threads)
        usages = (states["stable"], states["unused"], states["pot_volatile"], states["volatile"])
        pages = sum(each["resident"] + each["preserved"] + each["zero"] for each in usages)
        assert pages == 280_010
        assert states["unused"]["zero"] == 11


def test_host_pages_of_many_slots() -> None:
    """Against a table that is filled slot by slot."""
    rng = np.random.default_rng(1)
    guest = pgste.Guest(4096, slots=[])
    expected = np.full(4096, NO_PAGE, np.uint64)
    base = 0
    while base < 4000:
        pages = int(rng.integers(1, 60))
        at = 10_000 * (base + 1)
        guest.add_slot(base, pages, at)
        expected[base : base + pages] = np.arange(at, at + pages)
        base += pages + int(rng.integers(0, 3))
    assert guest.host_gfn(slice(None)).tolist() == expected.tolist()
    gone = list(guest.slots)[::3]
    for slot in gone:
        base, pages = guest.slots[slot][:2]
        guest.delete_slot(slot)
        expected[base : base + pages] = NO_PAGE
    assert guest.host_gfn(slice(None)).tolist() == expected.tolist()
    shuffled = rng.permutation(4096)
    assert guest.host_gfn(shuffled).tolist() == expected[shuffled].tolist()
    with pytest.raises(pgste.GfnError):
        guest.host_gfn([1, 4096])

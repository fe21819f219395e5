# SPDX-License-Identifier: MIT
"""What a folio is in beside its mapping: random runs of the engine against the reference model,
whole state after every step, and by hand what MADV_FREE and reclaim make of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from stateful.pair import Pair

import pgste

PAGES = 5
WHAT = ("pinned", "locked", "writeback", "shared")


def one_step(rng: random.Random, pair: Pair, what: tuple[str, ...]) -> None:
    gfn = rng.randrange(PAGES)
    match rng.choice(("write", "read", "free", "alloc", "swap_out", "reclaim", *what, *what)):
        case "write":
            pair.write(0, [gfn], [rng.randint(1, 9)])
        case "read":
            pair.read(0, [gfn])
        case "free":
            pair.free(0, [gfn], 0, 0)
        case "alloc":
            pair.alloc(0, [gfn], 0, 0)
        case "swap_out":
            pair.swap_out(0, [gfn])
        case "reclaim":
            pair.reclaim(1 + gfn % 3)
        case state:
            pair.set_folio(0, [gfn, rng.randrange(PAGES)], state, rng.random() < 0.6)


@pytest.mark.parametrize("rearm", ["referenced", "dirty", "discard"])
@pytest.mark.parametrize(
    ("mechanism", "generation"),
    [("madv_free", "pgtable"), ("madv_free", "dat"), ("cmma", "pgtable"), ("cmma", "dat")],
)
@pytest.mark.parametrize("seed", range(5))
def test_random_runs(seed: int, mechanism: str, generation: str, rearm: str) -> None:
    rng = random.Random(seed)
    pair = Pair(rng.choice((2, 3, 5)), rng.choice((0, 2, 3, 8)), rearm=rearm)
    pair.create(PAGES, mechanism=mechanism, generation=generation)
    what = WHAT if generation == "pgtable" else WHAT[:3]
    for _ in range(400):
        one_step(rng, pair, what)
        pair.check()


def machine(swapped: str = "") -> tuple[pgste.Host, pgste.Guest]:
    """A page with content; swapped: it came back from swap by this access."""
    host = pgste.Host(4, 8)
    guest = pgste.Guest(4, host, mechanism="madv_free")
    guest.write(0, 5)
    if swapped:
        assert host.swap_out(guest, 0) == 1
    if swapped == "load":
        guest.read(0)
    if swapped == "store":
        guest.write(0, 5)
    return host, guest


# madvise_free_pte_range: the lock is only wanted for a folio that is dirty (its slot was given
# up when it came back) or in the swap cache; a page that was never on swap is neither.
@pytest.mark.parametrize(
    ("what", "swapped", "lazyfree"),
    [
        ("locked", "", True),
        ("locked", "load", False),
        ("locked", "store", False),
        ("shared", "", True),
        ("shared", "load", False),
        ("shared", "store", False),
        ("writeback", "load", False),
        ("pinned", "load", True),
        ("pinned", "store", True),
    ],
)
def test_what_madv_free_passes_over(what: Any, swapped: str, lazyfree: bool) -> None:
    host, guest = machine(swapped)
    assert host.set_folio(guest, 0, what) == 1
    guest.free(0)
    host.set_folio(guest, 0, what, False)
    host.reclaim(4)
    assert host.stats()["lazyfree_discards"] == lazyfree
    assert guest.read(0).tolist() == [0 if lazyfree else 5]
    host.validate()


def test_pages_outside_the_swap_cache_are_not_written() -> None:
    host, guest = machine("store")
    assert host.set_folio(guest, range(4), "writeback") == 0


def test_reclaim_leaves_them_alone() -> None:
    for what, where in (("locked", "inactive"), ("writeback", "active"), ("pinned", "inactive")):
        host, guest = machine("load")
        host.set_folio(guest, 0, what)  # type: ignore[arg-type]
        assert host.swap_out(guest, 0) == 0
        guest.read(0)
        assert host.reclaim(1) == 0
        assert host.frame_info(0)[what] is True  # type: ignore[literal-required]
        host.set_folio(guest, 0, what, False)  # type: ignore[arg-type]
        assert host.reclaim(1) == 1, where
        host.validate()


def test_a_locked_lazyfree_page_stays_lazyfree() -> None:
    host, guest = machine()
    guest.free(0)
    host.set_folio(guest, 0, "locked")
    assert host.reclaim(1) == 0
    assert host.frame_info(0)["list"] == "lazyfree"
    host.set_folio(guest, 0, "locked", False)
    assert host.reclaim(1) == 1
    assert host.stats()["lazyfree_discards"] == 1


def test_a_store_to_a_shared_page_takes_a_copy() -> None:
    """Fork write-protects; the copy is the guest's alone, in no swap cache, pinned by nobody."""
    host, guest = machine("load")
    host.pin(guest, 0)
    host.set_folio(guest, 0, "shared")
    assert int(guest.pte(0)[0]) & pgste.PteBits.PROTECT
    assert guest.read(0).tolist() == [5]
    assert host.frame_info(0)["shared"]
    guest.write(0, 6)
    info = host.frame_info(0)
    assert (info["shared"], info["pinned"], info["slot"], info["dirty"]) == (False,) * 2 + (
        None,
        False,
    )
    assert not int(guest.pte(0)[0]) & pgste.PteBits.PROTECT
    guest.free(0)
    host.reclaim(4)
    assert guest.read(0).tolist() == [0]
    host.validate()


def test_a_child_that_is_gone() -> None:
    """The page is the guest's alone again, and a store needs no copy."""
    host, guest = machine("load")
    host.set_folio(guest, 0, "shared")
    host.set_folio(guest, 0, "shared", False)
    guest.write(0, 6)
    assert host.frame_info(0)["slot"] is not None  # the same folio, still in the swap cache
    host.validate()


def test_dontneed_takes_the_page_from_this_guest_only() -> None:
    host = pgste.Host(4, 8)
    guest = pgste.Guest(4, host, mechanism="madv_dontneed")
    guest.write(0, 5)
    host.set_folio(guest, 0, "shared")
    guest.free(0)
    assert guest.read(0).tolist() == [0]
    host.validate()


def test_a_rearmed_folio_is_dirty() -> None:
    """try_to_unmap_one takes the PTE's dirty bit over, so that the lock is wanted from then on."""
    host = pgste.Host(2, 0)  # no swap: reclaim looks at lazyfree pages only
    guest = pgste.Guest(2, host, mechanism="madv_free")
    guest.write(0, 5)
    guest.free(0)
    guest.write(0, 6)
    assert not host.frame_info(0)["dirty"]
    assert host.reclaim(1) == 0
    assert host.stats()["lazyfree_rearmed"] == 1
    assert host.frame_info(0)["dirty"]


def test_bad_arguments() -> None:
    host = pgste.Host(2, 4)
    guest = pgste.Guest(2, host=host)
    with pytest.raises(pgste.UnknownNameError, match="what: 'mlocked' is not one of"):
        host.set_folio(guest, 0, "mlocked")  # type: ignore[arg-type]
    with pytest.raises(pgste.GfnError, match="gfns: 2"):
        host.set_folio(guest, 2, "locked")
    with pytest.raises(pgste.ArgumentTypeError, match="on: 1"):
        host.set_folio(guest, 0, "locked", 1)  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentError, match="guest"):
        pgste.Host(2, 4).set_folio(guest, 0, "locked")
    dat = pgste.Guest(2, host=host, generation="dat")
    with pytest.raises(pgste.ArgumentError, match="what: 'shared' is not for guests"):
        host.set_folio(dat, 0, "shared")
    zvm = pgste.Guest(2, host=host, flavour="zvm")
    with pytest.raises(pgste.ArgumentError, match="what: 'locked' is not for guests"):
        host.set_folio(zvm, 0, "locked")
    assert host.set_folio(zvm, 0, "pinned") == 0

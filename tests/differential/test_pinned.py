# SPDX-License-Identifier: MIT
"""References beside the mapping, under both re-arm rules: random runs of the engine against the
reference model, whole state after every step."""

from __future__ import annotations

import random

import pytest
from reference import Guest as ReferenceGuest
from reference import Host as ReferenceHost
from reference import ModelError

import pgste

PAGES = 5
ACTIONS = ("write", "read", "free", "alloc", "swap_out", "pin", "unpin", "reclaim")


def on_engine(name: str, gfn: int, host: pgste.Host, guest: pgste.Guest) -> int | None:
    match name:
        case "write":
            guest.write(gfn, gfn + 7)
        case "read":
            return int(guest.read(gfn)[0])
        case "free":
            guest.free(gfn)
        case "alloc":
            guest.alloc(gfn)
        case "swap_out":
            return host.swap_out(guest, gfn)
        case "reclaim":
            return host.reclaim(1 + gfn % 3)
        case _:
            return host.pin(guest, gfn, name == "pin")
    return None


def on_reference(name: str, gfn: int, other: ReferenceGuest) -> int | None:
    match name:
        case "write":
            other.write([gfn], [gfn + 7])
        case "read":
            return other.read([gfn])[0]
        case "free":
            other.free([gfn])
        case "alloc":
            other.alloc([gfn])
        case "swap_out":
            return other.swap_out([gfn])
        case "reclaim":
            return other.host.reclaim(1 + gfn % 3)
        case _:
            return other.pin(gfn, name == "pin")
    return None


@pytest.mark.parametrize("rearm", ["referenced", "dirty", "discard"])
@pytest.mark.parametrize("mechanism", ["madv_free", "cmma", "none"])
@pytest.mark.parametrize("seed", range(6))
def test_random_runs(seed: int, mechanism: str, rearm: str) -> None:
    rng = random.Random(seed)
    frames, slots = rng.choice((2, 3, 5)), rng.choice((0, 2, 8))
    generation = rng.choice(("pgtable", "dat"))
    host = pgste.Host(frames, slots, rearm=rearm)
    guest = pgste.Guest(PAGES, host=host, mechanism=mechanism, generation=generation)
    reference_host = ReferenceHost(frames, slots, rearm=rearm)
    other = ReferenceGuest(PAGES, reference_host, mechanism=mechanism, generation=generation)
    for _ in range(400):
        name, gfn = rng.choice(ACTIONS), rng.randrange(PAGES)
        refused = ""
        try:
            expected = on_reference(name, gfn, other)
        except ModelError as error:
            refused = type(error).__name__ + "Error"
        if refused:
            with pytest.raises(pgste.PgsteError) as caught:
                on_engine(name, gfn, host, guest)
            assert type(caught.value).__name__ == refused
        else:
            assert on_engine(name, gfn, host, guest) == expected, name
        host.validate()
        assert guest.pgste().tolist() == other.pgste
        assert guest.pte().tolist() == other.pte
        assert guest.peek(slice(None)).tolist() == [other.peek(i) for i in range(PAGES)]
        assert guest.stats() == other.count
        assert host.stats() == reference_host.stats()
        for frame, info in enumerate(reference_host.frames):
            assert host.frame_info(frame)["pinned"] == info.pinned


def test_what_each_rule_does_with_a_clean_pinned_page() -> None:
    """C3: v6.1 makes it ordinary again, the newer code leaves it lazyfree; v5.17 drops it."""
    for rearm, where, rearmed in (
        ("referenced", "active", 1),
        ("dirty", "lazyfree", 0),
        ("discard", "free", 0),
    ):
        host = pgste.Host(2, 0, rearm=rearm)  # no swap: reclaim looks at lazyfree pages only
        guest = pgste.Guest(2, host=host, mechanism="madv_free")
        guest.write(0, 1)
        guest.free(0)
        assert host.pin(guest, 0) == 1
        assert host.pin(guest, 0) == 0
        assert host.reclaim(1) == (where == "free")
        assert host.frame_info(0)["list"] == where
        assert host.stats()["lazyfree_rearmed"] == rearmed
        assert host.rearm == rearm


def test_bad_arguments() -> None:
    host = pgste.Host(2, 4)
    guest = pgste.Guest(2, host=host)
    with pytest.raises(pgste.UnknownNameError, match="rearm: 'never'"):
        pgste.Host(2, 4, rearm="never")
    with pytest.raises(pgste.GfnError, match="gfns: 2"):
        host.pin(guest, 2)
    with pytest.raises(pgste.ArgumentError, match="guest"):
        pgste.Host(2, 4).pin(guest, 0)
    with pytest.raises(pgste.ArgumentTypeError, match="on: 1"):
        host.pin(guest, 0, 1)  # type: ignore[arg-type]
